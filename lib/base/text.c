/* SPDX-License-Identifier: BSD-3-Clause */
/* From text to checked numbers, and key=value lists by tables of keys. */
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <rte_kvargs.h>

#include "text.h"

#define PERCENT_DECIMALS 4u

/* strtoull() alone would take blanks, signs and "0x". */
int
colo_parse_digits(const char *text, uint64_t *value)
{
	if (*text == '\0' || text[strspn(text, "0123456789")] != '\0')
		return -1;
	errno = 0;
	*value = strtoull(text, NULL, 10);
	return errno == 0 ? 0 : -1;
}

int
colo_parse_size(const char *text, uint64_t *size)
{
	static const char units[] = "kmgt"; /* each 1024 times the one before */
	char digits[24];
	size_t n = strspn(text, "0123456789");
	unsigned int shift = 0;
	const char *unit;
	uint64_t value;

	if (n >= sizeof(digits))
		return -1;
	memcpy(digits, text, n);
	digits[n] = '\0';
	if (text[n] != '\0') {
		unit = strchr(units, tolower((unsigned char)text[n]));
		if (unit == NULL || text[n + 1] != '\0')
			return -1;
		shift = 10 * (unsigned int)(unit - units + 1);
	}
	if (colo_parse_digits(digits, &value) != 0 || value > UINT64_MAX >> shift)
		return -1;
	*size = value << shift;
	return 0;
}

int
colo_parse_percent(const char *text, uint32_t max_percent, uint32_t *millionths)
{
	size_t whole = strspn(text, "0123456789"), decimals = 0;
	uint64_t value = 0;

	if (whole == 0 || whole > 3)
		return -1;
	if (text[whole] == '.') {
		decimals = strspn(text + whole + 1, "0123456789");
		if (decimals == 0 || decimals > PERCENT_DECIMALS)
			return -1;
	}
	if (text[whole + (decimals != 0 ? 1 + decimals : 0)] != '\0')
		return -1;
	for (size_t i = 0; i < whole; i++)
		value = value * 10 + (uint64_t)(text[i] - '0');
	for (size_t i = 0; i < PERCENT_DECIMALS; i++)
		value = value * 10 + (uint64_t)(i < decimals ? text[whole + 1 + i] - '0' : 0);
	if (value > (uint64_t)max_percent * 10000)
		return -1;
	*millionths = (uint32_t)value;
	return 0;
}

static int
unknown_key(const char *who, const char *name, const struct colo_key *keys, size_t n_keys,
	struct colo_error *err)
{
	char list[256] = "";
	size_t used = 0;

	for (size_t i = 0; i < n_keys && used < sizeof(list); i++)
		used += (size_t)snprintf(
			list + used, sizeof(list) - used, "%s%s", i == 0 ? "" : ", ", keys[i].name);
	return colo_error_set(err, "%s: there is no key %s; accepted are %s", who, name, list);
}

static const struct colo_key *
find_key(const struct colo_key *keys, size_t n_keys, const char *name)
{
	for (size_t i = 0; i < n_keys; i++)
		if (strcmp(keys[i].name, name) == 0)
			return &keys[i];
	return NULL;
}

static int
set_pair(const char *who, const struct rte_kvargs *list, unsigned int i,
	const struct colo_key *keys, size_t n_keys, void *target, struct colo_error *err)
{
	const char *name = list->pairs[i].key, *value = list->pairs[i].value;
	const struct colo_key *key = find_key(keys, n_keys, name);

	if (key == NULL)
		return unknown_key(who, name, keys, n_keys, err);
	for (unsigned int other = 0; other < i; other++)
		if (strcmp(list->pairs[other].key, name) == 0)
			return colo_error_set(err, "%s: %s is given twice", who, name);
	if (value == NULL || key->set(target, value) != 0)
		return colo_error_set(err, "%s: %s=%s; accepted is %s", who, name,
			value != NULL ? value : "", key->accepted);
	return 0;
}

int
colo_keys_parse(const char *who, const char *args, const struct colo_key *keys, size_t n_keys,
	void *target, struct colo_error *err)
{
	struct rte_kvargs *list;
	int result = 0;

	if (args == NULL || args[0] == '\0')
		return 0;
	list = rte_kvargs_parse(args, NULL);
	if (list == NULL)
		return colo_error_set(
			err, "%s: \"%s\" is not a list key=value,key=value", who, args);
	for (unsigned int i = 0; i < list->count && result == 0; i++)
		result = set_pair(who, list, i, keys, n_keys, target, err);
	rte_kvargs_free(list);
	return result;
}
