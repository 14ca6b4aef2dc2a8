/* SPDX-License-Identifier: BSD-3-Clause */
/* text.c: numbers at their limits, lists with everything wrong that can be. */
#include <string.h>

#include "text.h"
#include "ut.h"

static void
digits(void)
{
	uint64_t n = 5;

	CU_ASSERT(colo_parse_digits("0", &n) == 0 && n == 0);
	CU_ASSERT(colo_parse_digits("18446744073709551615", &n) == 0 && n == UINT64_MAX);
	CU_ASSERT_EQUAL(colo_parse_digits("18446744073709551616", &n), -1);
	CU_ASSERT_EQUAL(colo_parse_digits("", &n), -1);
	CU_ASSERT_EQUAL(colo_parse_digits("-1", &n), -1);
	CU_ASSERT_EQUAL(colo_parse_digits("+1", &n), -1);
	CU_ASSERT_EQUAL(colo_parse_digits(" 1", &n), -1);
	CU_ASSERT_EQUAL(colo_parse_digits("0x1", &n), -1);
}

static void
sizes(void)
{
	uint64_t n = 5;

	CU_ASSERT(colo_parse_size("0", &n) == 0 && n == 0);
	CU_ASSERT(colo_parse_size("16k", &n) == 0 && n == 16384);
	CU_ASSERT(colo_parse_size("2G", &n) == 0 && n == 2ull << 30);
	CU_ASSERT(colo_parse_size("16777215T", &n) == 0 && n == 16777215ull << 40);
	CU_ASSERT_EQUAL(colo_parse_size("16777216T", &n), -1);
	CU_ASSERT_EQUAL(colo_parse_size("", &n), -1);
	CU_ASSERT_EQUAL(colo_parse_size("k", &n), -1);
	CU_ASSERT_EQUAL(colo_parse_size("1 ", &n), -1);
	CU_ASSERT_EQUAL(colo_parse_size("1kb", &n), -1);
	CU_ASSERT_EQUAL(colo_parse_size("1x", &n), -1);
	CU_ASSERT(colo_parse_size("00000000000000000000001", &n) == 0 && n == 1);
	CU_ASSERT_EQUAL(colo_parse_size("000000000000000000000001", &n), -1);
}

static void
percents(void)
{
	uint32_t n = 5;

	CU_ASSERT(colo_parse_percent("0", 50, &n) == 0 && n == 0);
	CU_ASSERT(colo_parse_percent("50", 50, &n) == 0 && n == 500000);
	CU_ASSERT(colo_parse_percent("49.9999", 50, &n) == 0 && n == 499999);
	CU_ASSERT(colo_parse_percent("0.25", 50, &n) == 0 && n == 2500);
	CU_ASSERT_EQUAL(colo_parse_percent("50.0001", 50, &n), -1);
	CU_ASSERT_EQUAL(colo_parse_percent("51", 50, &n), -1);
	CU_ASSERT_EQUAL(colo_parse_percent("0.00001", 50, &n), -1);
	CU_ASSERT_EQUAL(colo_parse_percent("1.", 50, &n), -1);
	CU_ASSERT_EQUAL(colo_parse_percent(".5", 50, &n), -1);
	CU_ASSERT_EQUAL(colo_parse_percent("5%", 50, &n), -1);
	CU_ASSERT_EQUAL(colo_parse_percent("1.5x", 50, &n), -1);
	CU_ASSERT_EQUAL(colo_parse_percent("", 50, &n), -1);
	CU_ASSERT_EQUAL(colo_parse_percent("1000", 50, &n), -1);
}

struct target {
	uint64_t a, b;
};

static int
set_a(void *target, const char *value)
{
	return colo_parse_digits(value, &((struct target *)target)->a);
}

static int
set_b(void *target, const char *value)
{
	return colo_parse_size(value, &((struct target *)target)->b);
}

static const struct colo_key keys[] = {{"a", set_a, "a number"}, {"b", set_b, "a size"}};

static int
parse(const char *args, struct target *t, const char *says)
{
	struct colo_error err = {.text = ""};
	int result = colo_keys_parse("--source x", args, keys, 2, t, &err);

	CU_ASSERT_EQUAL(result == 0, err.text[0] == '\0');
	if (says != NULL && strcmp(says, err.text) != 0)
		printf("[%s]", err.text);
	if (says != NULL)
		CU_ASSERT_STRING_EQUAL(err.text, says);
	return result;
}

static void
lists(void)
{
	struct target t = {.a = 1, .b = 2};

	CU_ASSERT_EQUAL(parse("", &t, NULL), 0);
	CU_ASSERT_EQUAL(parse(NULL, &t, NULL), 0);
	CU_ASSERT(t.a == 1 && t.b == 2);
	CU_ASSERT_EQUAL(parse("b=2k,a=7", &t, NULL), 0);
	CU_ASSERT(t.a == 7 && t.b == 2048);
	CU_ASSERT_EQUAL(parse("a=8", &t, NULL), 0);
	CU_ASSERT_EQUAL(t.a, 8);
	CU_ASSERT_EQUAL(parse("c=1", &t, "--source x: there is no key c; accepted are a, b"), -1);
	CU_ASSERT_EQUAL(parse("a=1,a=1", &t, "--source x: a is given twice"), -1);
	CU_ASSERT_EQUAL(parse("a=x", &t, "--source x: a=x; accepted is a number"), -1);
	CU_ASSERT_EQUAL(parse("b", &t, "--source x: b=; accepted is a size"), -1);
	CU_ASSERT_EQUAL(parse("b=", &t, "--source x: b=; accepted is a size"), -1);
	CU_ASSERT_EQUAL(parse("a=1,=2", &t, NULL), -1);
	CU_ASSERT_EQUAL(parse("a=[1", &t, NULL), -1);
}

int
main(void)
{
	static const struct ut_case cases[] = {
		{"digits", digits},
		{"sizes", sizes},
		{"percents", percents},
		{"lists of keys", lists},
	};

	return UT_RUN("text", cases);
}
