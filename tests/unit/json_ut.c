/* SPDX-License-Identifier: BSD-3-Clause */
/* The JSON reader: what is accepted, what is not, and every prefix of a text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "ut.h"

/* In memory of exactly its size, so that a checker of memory sees a read beyond it. */
static int
parse(const char *text, size_t length, struct colo_json *v)
{
	static char *copy;

	free(copy);
	copy = malloc(length > 0 ? length : 1);
	memcpy(copy, text, length);
	return colo_json_parse(copy, length, v);
}

static bool
accepts(const char *text)
{
	struct colo_json v;

	return parse(text, strlen(text), &v) == 0;
}

static void
test_accepted(void)
{
	static const char *const good[] = {"{}", "[]", " { } ", "[1,2 , 3]\r\n", "true", "false",
		"null", "0", "-0", "-1.5e+10", "1E5", "0.25", "\"\"", "\"\\u00e9\\n\\/\"",
		"{\"a\":{\"b\":[1,{\"c\":null}]}}", "\"\xc3\xa9\""};

	for (unsigned int i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		CU_ASSERT_TRUE(accepts(good[i]));
}

static void
test_refused(void)
{
	static const char *const bad[] = {"", " ", "{", "}", "[1,]", "[,1]", "{\"a\"}", "{\"a\":}",
		"{a:1}", "{\"a\":1,}", "[1 2]", "tru", "truex", "nul", "01", "-", "1.", "1e", ".5",
		"+1", "\"", "\"\\\"", "\"\\x\"", "\"\\u12g4\"", "\"\\u123\"", "\"a\nb\"",
		"\"\001\"", "[1]]", "{} {}", "[}", "{]", "1 1", "'a'", "\"\\", "NaN", "{1:2}"};

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CU_ASSERT_FALSE(accepts(bad[i]));
	CU_ASSERT_FALSE(parse("\"a\0b\"", 5, &(struct colo_json){0}) == 0);
}

/* No beginning of an object is a whole one. */
static void
test_truncated(void)
{
	static const char text[] =
		"{\"a\":[1,-2.5e3,\"x\\u00e9\\n\",true,null],\"b\":{\"c\":\"d\"}}";
	struct colo_json v;

	for (size_t n = 0; n < sizeof(text) - 1; n++)
		CU_ASSERT_NOT_EQUAL(parse(text, n, &v), 0);
	CU_ASSERT_EQUAL(parse(text, sizeof(text) - 1, &v), 0);
}

static void
test_depth(void)
{
	char text[2 * COLO_JSON_DEPTH_MAX + 3];
	struct colo_json v;

	for (size_t depth = COLO_JSON_DEPTH_MAX - 1; depth <= COLO_JSON_DEPTH_MAX + 1; depth++) {
		memset(text, '[', depth);
		memset(text + depth, ']', depth);
		CU_ASSERT_EQUAL(parse(text, 2 * depth, &v), depth <= COLO_JSON_DEPTH_MAX ? 0 : -1);
	}
}

static void
test_lookup(void)
{
	static const char text[] =
		"{ \"return\" : [ 7, {\"x\":\"y\"}, \"z\" ], \"id\": 12, \"id\": 13,"
		"\"on\":true,\"off\":false, \"text\":\"true\"}";
	struct colo_json v, list, e, x;
	uint64_t n = 0;

	CU_ASSERT_EQUAL_FATAL(parse(text, strlen(text), &v), 0);
	CU_ASSERT_TRUE_FATAL(colo_json_member(&v, "return", &list));
	CU_ASSERT_TRUE(colo_json_element(&list, 0, &e) && colo_json_u64(&e, &n) == 0 && n == 7);
	CU_ASSERT_TRUE(colo_json_element(&list, 1, &e) && colo_json_member(&e, "x", &x));
	CU_ASSERT_TRUE(colo_json_element(&list, 2, &e));
	CU_ASSERT_FALSE(colo_json_element(&list, 3, &e));
	CU_ASSERT_FALSE(colo_json_element(&v, 0, &e));
	CU_ASSERT_FALSE(colo_json_member(&list, "x", &e));
	CU_ASSERT_TRUE(colo_json_member(&v, "id", &e) && colo_json_u64(&e, &n) == 0 && n == 12);
	CU_ASSERT_FALSE(colo_json_member(&v, "i", &e) || colo_json_member(&v, "idx", &e) ||
			colo_json_member(&v, "x", &e) || colo_json_member(&v, "", &e));
	CU_ASSERT_TRUE(colo_json_member(&v, "on", &e) && colo_json_is_true(&e));
	CU_ASSERT_TRUE(colo_json_member(&v, "off", &e) && !colo_json_is_true(&e));
	CU_ASSERT_TRUE(colo_json_member(&v, "text", &e) && !colo_json_is_true(&e));
	parse("[]", 2, &v);
	CU_ASSERT_FALSE(colo_json_element(&v, 0, &e));
	parse("{}", 2, &v);
	CU_ASSERT_FALSE(colo_json_member(&v, "", &e));
	v = (struct colo_json){0};
	CU_ASSERT_FALSE(colo_json_member(&v, "a", &e) || colo_json_element(&v, 0, &e));
	CU_ASSERT_EQUAL(colo_json_u64(&v, &n), -1);
}

static void
test_numbers(void)
{
	static const struct {
		const char *text;
		int result;
		uint64_t number;
	} cases[] = {{"0", 0, 0}, {"18446744073709551614", 0, UINT64_MAX - 1},
		{"18446744073709551615", 0, UINT64_MAX}, {"18446744073709551616", -1, 0},
		{"99999999999999999999", -1, 0}, {"-1", -1, 0}, {"1.0", -1, 0}, {"1e3", -1, 0},
		{"\"1\"", -1, 0}, {"true", -1, 0}};

	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct colo_json v;
		uint64_t n = 0;

		CU_ASSERT_EQUAL_FATAL(parse(cases[i].text, strlen(cases[i].text), &v), 0);
		CU_ASSERT_EQUAL(colo_json_u64(&v, &n), cases[i].result);
		CU_ASSERT_EQUAL(n, cases[i].number);
	}
}

static int
decode(const char *text, char *out, size_t size)
{
	struct colo_json v;

	CU_ASSERT_EQUAL_FATAL(parse(text, strlen(text), &v), 0);
	return colo_json_string(&v, out, size);
}

static void
test_strings(void)
{
	char out[64];

	CU_ASSERT_EQUAL(decode("\"a\\\"\\\\\\/\\b\\f\\n\\r\\tz\"", out, sizeof(out)), 10);
	CU_ASSERT_STRING_EQUAL(out, "a\"\\/\b\f\n\r\tz");
	CU_ASSERT_EQUAL(decode("\"\\u0041\\u00e9\\u20ac\\ud83d\\ude00\"", out, sizeof(out)), 10);
	CU_ASSERT_STRING_EQUAL(out, "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
	/* lone surrogates, and one before an escape of its own */
	CU_ASSERT_EQUAL(decode("\"\\ud83d\\u0041\"", out, sizeof(out)), 4);
	CU_ASSERT_STRING_EQUAL(out, "\xef\xbf\xbd"
				    "A");
	CU_ASSERT_EQUAL(decode("\"\\ude00\"", out, sizeof(out)), 3);
	CU_ASSERT_EQUAL(decode("\"\\ud83d\"", out, sizeof(out)), 3);
	CU_ASSERT_EQUAL(decode("\"\\u0000\"", out, sizeof(out)), -1);
	CU_ASSERT_EQUAL(decode("12", out, sizeof(out)), -1);
	CU_ASSERT_EQUAL(decode("\"\"", out, 0), -1);
	CU_ASSERT_EQUAL(decode("\"\"", out, 1), 0);
	CU_ASSERT_EQUAL(decode("\"abc\"", out, 3), -1);
	CU_ASSERT_EQUAL(decode("\"abc\"", out, 4), 3);
	CU_ASSERT_EQUAL(decode("\"\\u20ac\"", out, 3), -1);
	CU_ASSERT_EQUAL(decode("\"\\u20ac\"", out, 4), 3);
}

static void
test_quote(void)
{
	char out[32];

	CU_ASSERT_EQUAL(colo_json_quote("a\"b\\c\n", out, sizeof(out)), 15);
	CU_ASSERT_STRING_EQUAL(out, "\"a\\\"b\\\\c\\u000a\"");
	CU_ASSERT_EQUAL(colo_json_quote("", out, 2), -1);
	CU_ASSERT_EQUAL(colo_json_quote("", out, 3), 2);
	CU_ASSERT_EQUAL(colo_json_quote("ab", out, 4), -1);
	CU_ASSERT_EQUAL(colo_json_quote("ab", out, 5), 4);
	CU_ASSERT_EQUAL(colo_json_quote("\"", out, 4), -1);
	CU_ASSERT_EQUAL(colo_json_quote("\"", out, 5), 4);
	CU_ASSERT_EQUAL(colo_json_quote("\001", out, 8), -1);
	CU_ASSERT_EQUAL(colo_json_quote("\001", out, 9), 8);
	CU_ASSERT_STRING_EQUAL(out, "\"\\u0001\"");
}

/* Whatever bytes come, nothing outside them is read (run under a checker of memory). */
static void
test_mutations(void)
{
	static const char text[] =
		"{\"a\":[1,-2.5e3,\"x\\ud83d\\ude00\",true,null],\"b\":{\"c\":\"d\"}}";
	uint32_t seed = 7;
	unsigned int good = 0;

	for (unsigned int i = 0; i < 20000; i++) {
		char copy[sizeof(text)], out[16];
		struct colo_json v, member, element;

		memcpy(copy, text, sizeof(text));
		for (unsigned int k = 0; k < 2; k++) {
			seed = seed * 1664525 + 1013904223;
			copy[(seed >> 8) % (sizeof(text) - 1)] =
				"{}[]\",:\\u019ae-. tn\n"[seed >> 27 & 15];
		}
		if (parse(copy, sizeof(text) - 1, &v) != 0)
			continue;
		good++;
		if (colo_json_member(&v, "a", &member) && colo_json_element(&member, 2, &element))
			CU_ASSERT(colo_json_string(&element, out, sizeof(out)) < 16);
	}
	CU_ASSERT(good > 100 && good < 19000);
}

int
main(void)
{
	static const struct ut_case cases[] = {
		{"accepted", test_accepted},
		{"refused", test_refused},
		{"cut off anywhere", test_truncated},
		{"depth n-1, n, n+1", test_depth},
		{"members and elements", test_lookup},
		{"numbers at their limits", test_numbers},
		{"strings", test_strings},
		{"quoting", test_quote},
		{"changed bytes", test_mutations},
	};

	return UT_RUN("json", cases);
}
