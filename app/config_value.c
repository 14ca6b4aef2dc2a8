/* SPDX-License-Identifier: BSD-3-Clause */
/* Values of options: from text to checked value. */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include <rte_common.h>

#include "config_value.h"
#include "lockstep_config.h"
#include "text.h"

#define ZSTD_LEVEL_MIN	   (-7)
#define ZSTD_LEVEL_MAX	   19
#define ZSTD_LEVEL_DEFAULT (-1)

static const char size_units[] = " kmgt"; /* each 1024 times the one before; bytes have none */
static const char *const source_names[] = {"synthetic", "qmp", "colo"};

int
colo_parse_number(const char *option, const char *text, uint64_t min, uint64_t max, uint64_t *value,
	struct colo_error *err)
{
	uint64_t n;

	if (colo_parse_digits(text, &n) != 0 || n < min || n > max)
		return colo_error_set(err,
			"--%s %s: a number from %" PRIu64 " to %" PRIu64 " is accepted", option,
			text, min, max);
	*value = n;
	return 0;
}

int
colo_parse_choice(
	const char *option, const char *text, const char *const *choices, struct colo_error *err)
{
	char list[128] = "";
	size_t used = 0;

	for (int i = 0; choices[i] != NULL; i++) {
		if (strcmp(text, choices[i]) == 0)
			return i;
		if (used < sizeof(list))
			used += snprintf(&list[used], sizeof(list) - used, "%s%s",
				i == 0			 ? ""
				: choices[i + 1] == NULL ? " or "
							 : ", ",
				choices[i]);
	}
	return colo_error_set(err, "--%s %s: %s is accepted", option, text, list);
}

const char *
colo_format_size(uint64_t size, char *text, size_t room)
{
	unsigned int unit = 0;

	while (size != 0 && size % 1024 == 0 && unit < sizeof(size_units) - 2) {
		size /= 1024;
		unit++;
	}
	if (unit == 0)
		snprintf(text, room, "%" PRIu64, size);
	else
		snprintf(text, room, "%" PRIu64 "%c", size, toupper(size_units[unit]));
	return text;
}

static int
parse_whole_pages(const char *text, uint64_t min, uint64_t max, uint64_t *size)
{
	uint64_t n;

	if (colo_parse_size(text, &n) != 0 || n < min || n > max || n % COLO_PAGE_SIZE != 0)
		return -1;
	*size = n;
	return 0;
}

int
colo_parse_pages_size(const char *option, const char *text, uint64_t min, uint64_t max,
	uint64_t *size, struct colo_error *err)
{
	char low[24], high[24];

	if (parse_whole_pages(text, min, max, size) == 0)
		return 0;
	return colo_error_set(err,
		"--%s %s: a multiple of %u bytes from %s to %s is accepted (suffix K, M, G or T)",
		option, text, COLO_PAGE_SIZE, colo_format_size(min, low, sizeof(low)),
		colo_format_size(max, high, sizeof(high)));
}

/** Copy @p text if it is neither empty nor longer than @p size - 1. @return 0 or -1. */
static int
copy_fitting(const char *text, char *dst, size_t size)
{
	size_t n = strlen(text);

	if (n == 0 || n >= size)
		return -1;
	memcpy(dst, text, n + 1);
	return 0;
}

int
colo_parse_codec(const char *text, enum colo_codec *codec, int *level, struct colo_error *err)
{
	const char *number = text + strlen("zstd:");
	long n = ZSTD_LEVEL_DEFAULT;
	char *end = NULL;

	if (strcmp(text, "raw") == 0) {
		*codec = COLO_CODEC_RAW;
		return 0;
	}
	if (strncmp(text, "zstd:", 5) == 0 && (*number == '-' || isdigit((unsigned char)*number)))
		n = strtol(number, &end, 10);
	else if (strcmp(text, "zstd") != 0)
		n = ZSTD_LEVEL_MAX + 1;
	if ((end != NULL && (*end != '\0' || end[-1] == '-')) || n < ZSTD_LEVEL_MIN ||
		n > ZSTD_LEVEL_MAX)
		return colo_error_set(err,
			"codec %s: raw, zstd or zstd:LEVEL with a level from %d to %d is accepted",
			text, ZSTD_LEVEL_MIN, ZSTD_LEVEL_MAX);
	*codec = COLO_CODEC_ZSTD;
	*level = n;
	return 0;
}

static bool
is_ip(int family, const char *text)
{
	uint8_t bytes[16];

	return inet_pton(family, text, bytes) == 1;
}

/* A host's own address: the other end refuses frames and a HELLO from any other. */
static bool
is_own(const char *text)
{
	static const uint8_t any[16];
	uint8_t bytes[16] = {0};

	if (inet_pton(AF_INET, text, bytes) == 1)
		return bytes[0] < 224 && memcmp(bytes, any, 4) != 0;
	return inet_pton(AF_INET6, text, bytes) == 1 && bytes[0] != 0xff &&
	       memcmp(bytes, any, sizeof(any)) != 0;
}

int
colo_parse_ip(const char *option, const char *text, char *ip, size_t size, struct colo_error *err)
{
	if (!is_own(text))
		return colo_error_set(err,
			"--%s %s: a numeric IPv4 or IPv6 unicast address is accepted", option,
			text);
	return colo_copy_text(option, text, ip, size, err);
}

/** Split at the last colon; brackets around IPv6 are required, or the port is ambiguous. */
static int
split_endpoint(const char *text, char *host, size_t size, const char **port)
{
	const char *colon = strrchr(text, ':');
	int family = AF_INET;
	size_t n;

	if (colon == NULL)
		return -1;
	n = colon - text;
	if (n >= 2 && text[0] == '[' && colon[-1] == ']') {
		family = AF_INET6;
		text++;
		n -= 2;
	}
	if (n == 0 || n >= size)
		return -1;
	memcpy(host, text, n);
	host[n] = '\0';
	*port = colon + 1;
	return is_ip(family, host) ? 0 : -1;
}

int
colo_parse_endpoint(const char *option, const char *text, struct colo_endpoint *endpoint,
	struct colo_error *err)
{
	const char *port = "";
	uint64_t n = 0;

	if (split_endpoint(text, endpoint->host, sizeof(endpoint->host), &port) != 0 ||
		colo_parse_digits(port, &n) != 0 || n < 1 || n > UINT16_MAX)
		return colo_error_set(err,
			"--%s %s: ADDR:PORT with a numeric IPv4 address or an IPv6 address in "
			"brackets and a port from 1 to 65535 is accepted",
			option, text);
	endpoint->port = n;
	return 0;
}

int
colo_copy_text(const char *option, const char *text, char *dst, size_t size, struct colo_error *err)
{
	if (copy_fitting(text, dst, size) == 0)
		return 0;
	return colo_error_set(err, "--%s %.64s%s: 1 to %zu characters are accepted", option,
		text[0] == '\0' ? "(empty)" : text, strlen(text) > 64 ? "..." : "", size - 1);
}

static int
parse_block_name(const char *name, struct colo_block_spec *spec, struct colo_error *err)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < n; i++)
		if (!isgraph((unsigned char)name[i]))
			n = 0;
	if (n == 0 || n > COLO_BLOCK_NAME_MAX)
		return colo_error_set(err,
			"--block: name '%.64s%s': 1 to %u printable characters without blanks are "
			"accepted",
			name, strlen(name) > 64 ? "..." : "", COLO_BLOCK_NAME_MAX);
	if (strcmp(name, COLO_DEVICE_BLOCK_NAME) == 0)
		return colo_error_set(err,
			"--block: name '%s' is reserved for the device state; any other is "
			"accepted",
			name);
	memcpy(spec->name, name, n + 1);
	return 0;
}

static int
set_block_size(void *target, const char *value)
{
	struct colo_block_spec *spec = target;

	return parse_whole_pages(value, COLO_PAGE_SIZE, COLO_MAX_BLOCK_SIZE, &spec->size);
}

static int
set_guest_path(void *target, const char *value)
{
	struct colo_block_spec *spec = target;

	return copy_fitting(value, spec->guest_path, sizeof(spec->guest_path));
}

static int
set_cache_path(void *target, const char *value)
{
	struct colo_block_spec *spec = target;

	return copy_fitting(value, spec->cache_path, sizeof(spec->cache_path));
}

static const struct colo_key block_keys[] = {
	{"size", set_block_size, "a multiple of 4096 bytes from 4K to 4T (suffix K, M, G or T)"},
	{"guest", set_guest_path, "a path of 1 to 4095 characters"},
	{"cache", set_cache_path, "a path of 1 to 4095 characters"},
};

int
colo_parse_block(const char *text, struct colo_block_spec *spec, struct colo_error *err)
{
	char *name = strdup(text), *args = name;
	char who[COLO_BLOCK_NAME_MAX + sizeof("--block ")];
	int rc;

	memset(spec, 0, sizeof(*spec));
	if (name == NULL)
		return colo_error_set(err, "--block: out of memory");
	strsep(&args, ",");
	rc = parse_block_name(name, spec, err);
	snprintf(who, sizeof(who), "--block %s", spec->name);
	if (rc == 0)
		rc = colo_keys_parse(who, args, block_keys, RTE_DIM(block_keys), spec, err);
	free(name);
	if (rc == 0 && spec->size == 0)
		rc = colo_error_set(err,
			"%s: size is missing; NAME,size=SIZE[,guest=FILE][,cache=FILE] is accepted",
			who);
	if (rc == 0 && spec->guest_path[0] != '\0' &&
		strcmp(spec->guest_path, spec->cache_path) == 0)
		rc = colo_error_set(err,
			"%s: guest and cache are accepted in two different files only, not both "
			"in %.200s",
			who, spec->guest_path);
	return rc;
}

/** Room for the path and its closing NUL, as the kernel has it. */
struct unix_path {
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
};

static int
set_unix_path(void *target, const char *value)
{
	struct unix_path *p = target;

	return copy_fitting(value, p->path, sizeof(p->path));
}

static const struct colo_key standby_keys[] = {
	{"incoming", set_unix_path, "the path of a unix socket, 1 to 107 characters"},
};

int
colo_check_standby(const char *text, struct colo_error *err)
{
	char *socket = strdup(text), *args = socket;
	struct unix_path qmp, incoming;
	int rc;

	if (socket == NULL)
		return colo_error_set(err, "--standby: out of memory");
	strsep(&args, ",");
	rc = strncmp(socket, "unix:", 5) == 0 ? set_unix_path(&qmp, socket + 5) : -1;
	if (rc != 0)
		colo_error_set(err,
			"--standby %.200s: unix:PATH[,incoming=PATH] with paths of 1 to %zu "
			"characters is accepted",
			text, sizeof(qmp.path) - 1);
	else
		rc = colo_keys_parse(
			"--standby", args, standby_keys, RTE_DIM(standby_keys), &incoming, err);
	free(socket);
	return rc;
}

int
colo_check_adapter(const char *text, struct colo_error *err)
{
	struct colo_lockstep_config lockstep;
	size_t n = strcspn(text, ",");
	const char *args = text[n] == ',' ? text + n + 1 : "";

	if (n == strlen("standby") && strncmp(text, "standby", n) == 0)
		return colo_check_standby(args, err);
	if (n == strlen("lockstep") && strncmp(text, "lockstep", n) == 0)
		return colo_lockstep_config_parse(&lockstep, args, err);
	return colo_error_set(err,
		"--adapter %.200s: standby,unix:PATH[,incoming=PATH] or "
		"lockstep,control=unix:PATH,dirty-log=FILE[,answer=MS] is accepted",
		text);
}

int
colo_check_source(const char *text, struct colo_error *err)
{
	size_t n = strcspn(text, ",");

	for (unsigned int i = 0; i < RTE_DIM(source_names); i++)
		if (strlen(source_names[i]) == n && strncmp(text, source_names[i], n) == 0)
			return 0;
	return colo_error_set(err,
		"--source %.200s: NAME,key=value,... with name synthetic, qmp or colo is accepted",
		text);
}
