/* SPDX-License-Identifier: BSD-3-Clause */
/* JSON in place: a cursor that skips checked values, and look-ups made of it. */
#include <string.h>

#include "json.h"

struct cursor {
	const char *p;
	const char *end;
	unsigned int depth;
};

static bool skip_value(struct cursor *c);

static void
skip_spaces(struct cursor *c)
{
	while (c->p < c->end && (*c->p == ' ' || *c->p == '\t' || *c->p == '\r' || *c->p == '\n'))
		c->p++;
}

static bool
skip_char(struct cursor *c, char wanted)
{
	skip_spaces(c);
	if (c->p == c->end || *c->p != wanted)
		return false;
	c->p++;
	return true;
}

static bool
skip_word(struct cursor *c, const char *word)
{
	size_t n = strlen(word);

	if ((size_t)(c->end - c->p) < n || memcmp(c->p, word, n) != 0)
		return false;
	c->p += n;
	return true;
}

static int
hex_digit(char ch)
{
	if (ch >= '0' && ch <= '9')
		return ch - '0';
	if (ch >= 'a' && ch <= 'f')
		return ch - 'a' + 10;
	if (ch >= 'A' && ch <= 'F')
		return ch - 'A' + 10;
	return -1;
}

/* The four digits of a \u escape. @return the code unit or -1. */
static int
take_hex4(struct cursor *c)
{
	int unit = 0;

	if (c->end - c->p < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		int digit = hex_digit(*c->p++);

		if (digit < 0)
			return -1;
		unit = unit << 4 | digit;
	}
	return unit;
}

/* What follows a backslash. */
static bool
skip_escape(struct cursor *c)
{
	if (c->p == c->end)
		return false;
	if (*c->p == 'u') {
		c->p++;
		return take_hex4(c) >= 0;
	}
	return *c->p != '\0' && strchr("\"\\/bfnrt", *c->p++) != NULL;
}

static bool
skip_string(struct cursor *c)
{
	if (!skip_char(c, '"'))
		return false;
	while (c->p < c->end) {
		unsigned char ch = (unsigned char)*c->p++;

		if (ch == '"')
			return true;
		if (ch < 0x20)
			return false;
		if (ch == '\\' && !skip_escape(c))
			return false;
	}
	return false;
}

static bool
skip_digits(struct cursor *c)
{
	const char *first = c->p;

	while (c->p < c->end && *c->p >= '0' && *c->p <= '9')
		c->p++;
	return c->p > first;
}

static bool
skip_number(struct cursor *c)
{
	const char *first;

	if (c->p < c->end && *c->p == '-')
		c->p++;
	first = c->p;
	if (!skip_digits(c) || (*first == '0' && c->p - first > 1))
		return false;
	if (c->p < c->end && *c->p == '.') {
		c->p++;
		if (!skip_digits(c))
			return false;
	}
	if (c->p < c->end && (*c->p == 'e' || *c->p == 'E')) {
		c->p++;
		if (c->p < c->end && (*c->p == '+' || *c->p == '-'))
			c->p++;
		return skip_digits(c);
	}
	return true;
}

/* Members or elements up to the closing bracket; the opening one is at the cursor. */
static bool
skip_list(struct cursor *c, char close, bool named)
{
	bool good = false;

	if (c->depth == COLO_JSON_DEPTH_MAX)
		return false;
	c->depth++;
	c->p++;
	if (skip_char(c, close)) {
		c->depth--;
		return true;
	}
	do {
		good = !named || (skip_string(c) && skip_char(c, ':'));
		good = good && skip_value(c);
	} while (good && skip_char(c, ','));
	c->depth--;
	return good && skip_char(c, close);
}

static bool
skip_value(struct cursor *c)
{
	skip_spaces(c);
	if (c->p == c->end)
		return false;
	switch (*c->p) {
	case '{':
		return skip_list(c, '}', true);
	case '[':
		return skip_list(c, ']', false);
	case '"':
		return skip_string(c);
	case 't':
		return skip_word(c, "true");
	case 'f':
		return skip_word(c, "false");
	case 'n':
		return skip_word(c, "null");
	default:
		return skip_number(c);
	}
}

/* The value at the cursor, and the cursor behind it. */
static bool
take_value(struct cursor *c, struct colo_json *value)
{
	skip_spaces(c);
	value->at = c->p;
	if (!skip_value(c))
		return false;
	value->length = (size_t)(c->p - value->at);
	return true;
}

/* A cursor behind the opening bracket, or false if the value has not that kind. */
static bool
enter(const struct colo_json *v, char open, struct cursor *c)
{
	if (v->at == NULL || v->length == 0 || *v->at != open)
		return false;
	*c = (struct cursor){.p = v->at + 1, .end = v->at + v->length};
	return true;
}

int
colo_json_parse(const char *text, size_t length, struct colo_json *value)
{
	struct cursor c = {.p = text, .end = text + length};

	if (take_value(&c, value)) {
		skip_spaces(&c);
		if (c.p == c.end)
			return 0;
	}
	*value = (struct colo_json){0};
	return -1;
}

bool
colo_json_member(const struct colo_json *object, const char *name, struct colo_json *value)
{
	size_t length = strlen(name);
	struct cursor c;

	if (!enter(object, '{', &c))
		return false;
	do {
		struct colo_json key;

		if (!take_value(&c, &key) || !skip_char(&c, ':') || !take_value(&c, value))
			return false;
		if (key.length == length + 2 && memcmp(key.at + 1, name, length) == 0)
			return true;
	} while (skip_char(&c, ','));
	return false;
}

bool
colo_json_element(const struct colo_json *array, unsigned int index, struct colo_json *value)
{
	struct cursor c;

	if (!enter(array, '[', &c))
		return false;
	do {
		if (!take_value(&c, value))
			return false;
		if (index-- == 0)
			return true;
	} while (skip_char(&c, ','));
	return false;
}

/* UTF-8 of one code point. @return bytes written to @p out. */
static size_t
encode_utf8(uint32_t point, char out[4])
{
	if (point < 0x80) {
		out[0] = (char)point;
		return 1;
	}
	if (point < 0x800) {
		out[0] = (char)(0xc0 | point >> 6);
		out[1] = (char)(0x80 | (point & 0x3f));
		return 2;
	}
	if (point < 0x10000) {
		out[0] = (char)(0xe0 | point >> 12);
		out[1] = (char)(0x80 | (point >> 6 & 0x3f));
		out[2] = (char)(0x80 | (point & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | point >> 18);
	out[1] = (char)(0x80 | (point >> 12 & 0x3f));
	out[2] = (char)(0x80 | (point >> 6 & 0x3f));
	out[3] = (char)(0x80 | (point & 0x3f));
	return 4;
}

/* A \u escape, or two of them that make a surrogate pair; a lone surrogate becomes U+FFFD. */
static size_t
decode_unicode(struct cursor *c, char out[4])
{
	int unit = take_hex4(c);
	int low;

	if (unit < 0xd800 || unit > 0xdfff)
		return encode_utf8((uint32_t)unit, out);
	if (unit > 0xdbff || c->end - c->p < 6 || c->p[0] != '\\' || c->p[1] != 'u')
		return encode_utf8(0xfffd, out);
	c->p += 2;
	low = take_hex4(c);
	if (low < 0xdc00 || low > 0xdfff) {
		c->p -= 6; /* an escape of its own */
		return encode_utf8(0xfffd, out);
	}
	return encode_utf8(
		0x10000u + ((uint32_t)(unit - 0xd800) << 10) + (uint32_t)(low - 0xdc00), out);
}

/* One character of a checked string. @return bytes written to @p out. */
static size_t
decode_char(struct cursor *c, char out[4])
{
	static const char escapes[] = "bfnrt";
	static const char meant[] = "\b\f\n\r\t";
	const char *found;

	out[0] = *c->p++;
	if (out[0] != '\\')
		return 1;
	out[0] = *c->p++;
	if (out[0] == 'u')
		return decode_unicode(c, out);
	found = strchr(escapes, out[0]);
	if (found != NULL)
		out[0] = meant[found - escapes];
	return 1;
}

int
colo_json_string(const struct colo_json *value, char *text, size_t size)
{
	size_t used = 0;
	struct cursor c;

	if (!enter(value, '"', &c))
		return -1;
	c.end--; /* the closing quote */
	while (c.p < c.end) {
		char ch[4];
		size_t n = decode_char(&c, ch);

		if (used + n >= size || ch[0] == '\0')
			return -1;
		memcpy(text + used, ch, n);
		used += n;
	}
	if (used >= size)
		return -1;
	text[used] = '\0';
	return (int)used;
}

int
colo_json_member_string(const struct colo_json *object, const char *name, char *text, size_t size)
{
	struct colo_json value;

	return colo_json_member(object, name, &value) ? colo_json_string(&value, text, size) : -1;
}

int
colo_json_u64(const struct colo_json *value, uint64_t *number)
{
	uint64_t n = 0;

	if (value->at == NULL || value->length == 0)
		return -1;
	for (size_t i = 0; i < value->length; i++) {
		unsigned int digit = (unsigned char)value->at[i] - '0';

		if (digit > 9 || n > (UINT64_MAX - digit) / 10)
			return -1;
		n = n * 10 + digit;
	}
	*number = n;
	return 0;
}

bool
colo_json_is_true(const struct colo_json *value)
{
	return value->at != NULL && value->length == 4 && memcmp(value->at, "true", 4) == 0;
}

/* One character of a string, escaped. @return bytes written to @p out. */
static size_t
encode_char(unsigned char ch, char out[6])
{
	static const char hex[] = "0123456789abcdef";

	if (ch < 0x20) {
		memcpy(out, "\\u00", 4);
		out[4] = hex[ch >> 4];
		out[5] = hex[ch & 15];
		return 6;
	}
	if (ch == '"' || ch == '\\') {
		out[0] = '\\';
		out[1] = (char)ch;
		return 2;
	}
	out[0] = (char)ch;
	return 1;
}

int
colo_json_quote(const char *text, char *out, size_t size)
{
	size_t used = 1;

	if (size < 3)
		return -1;
	out[0] = '"';
	for (; *text != '\0'; text++) {
		char ch[6];
		size_t n = encode_char((unsigned char)*text, ch);

		if (used + n + 2 > size) /* the closing quote and the NUL */
			return -1;
		memcpy(out + used, ch, n);
		used += n;
	}
	out[used++] = '"';
	out[used] = '\0';
	return (int)used;
}
