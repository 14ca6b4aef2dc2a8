/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command line. The input: one argument a line. All lines together are a command line; each of
 * them is besides given to every parser of a value, and to that of a key's file.
 *
 * Checked: what is refused is so with a sentence; what is accepted is within its limits, and can be
 * shown; nothing is left allocated.
 */
#include "config_value.h"
#include "fault.h"
#include "fuzz.h"
#include "help.h"
#include "lockstep_config.h"
#include "colo_listener.h"
#include "psk.h"
#include "source.h"
#include "synthetic_config.h"
#include "wire.h"

#define ARGUMENTS_MAX 48u
#define ARGUMENT_MAX  8192u

/* help.c is left out: --help would fill the terminal. */
void
colo_help_print(FILE *f)
{
	(void)f;
}

void
colo_version_print(FILE *f)
{
	(void)f;
}

static void
check_refused(int result, const struct colo_error *err)
{
	size_t length = strnlen(err->text, sizeof(err->text));

	FUZZ_CHECK(result == 0 || result == -1);
	if (result != 0)
		FUZZ_CHECK(length > 0 && length < sizeof(err->text));
}

static void
check_config(const struct colo_config *c)
{
	char *shown = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&shown, &n);

	FUZZ_CHECK(c->role >= COLO_ROLE_PRIMARY && c->role <= COLO_ROLE_PAIR);
	FUZZ_CHECK(c->channels >= 1 && c->channels <= COLO_MAX_CHANNELS);
	FUZZ_CHECK(c->n_blocks < COLO_MAX_BLOCKS);
	FUZZ_CHECK(c->mtu >= COLO_MTU_MIN && c->mtu <= COLO_MTU_MAX);
	FUZZ_CHECK(c->zstd_level >= -7 && c->zstd_level <= 19);
	for (unsigned int i = 0; i < c->n_blocks; i++)
		FUZZ_CHECK(colo_block_check(c->block[i].name, c->block[i].size, NULL) == 0);
	FUZZ_CHECK(f != NULL);
	colo_config_print(c, f);
	fclose(f);
	FUZZ_CHECK(n > 0);
	free(shown);
}

static void
try_command_line(char **lines, unsigned int n)
{
	static struct colo_config config;
	char *argv[ARGUMENTS_MAX + 2] = {(char *)(uintptr_t) "dpdk-colo"};
	struct colo_error err = {""};
	int result;

	for (unsigned int i = 0; i < n; i++)
		argv[1 + i] = lines[i];
	result = colo_config_parse(&config, (int)n + 1, argv, &err);
	if (result == 0)
		check_config(&config);
	else if (result < 0)
		check_refused(result, &err);
}

static void
try_block(const char *line)
{
	struct colo_block_spec spec;
	struct colo_error err = {""};
	int result = colo_parse_block(line, &spec, &err);

	check_refused(result, &err);
	if (result == 0)
		FUZZ_CHECK(colo_block_check(spec.name, spec.size, NULL) == 0);
}

static void
try_numbers(const char *line)
{
	uint64_t value = 0, size = 4096;
	uint32_t millionths = 0;
	struct colo_error err = {""};
	char text[24];

	if (colo_parse_number("n", line, 5, 500, &value, &err) == 0)
		FUZZ_CHECK(value >= 5 && value <= 500);
	if (colo_parse_percent(line, 50, &millionths) == 0)
		FUZZ_CHECK(millionths <= 50 * 10000);
	if (colo_parse_pages_size("n", line, 4096, 1ull << 40, &size, &err) == 0) {
		FUZZ_CHECK(size >= 4096 && size <= 1ull << 40 && size % 4096 == 0);
		colo_format_size(size, text, sizeof(text));
		FUZZ_CHECK(colo_parse_size(text, &value) == 0 && value == size);
	}
}

static void
try_addresses(const char *line)
{
	struct colo_endpoint endpoint;
	struct colo_listener listener;
	struct colo_error err = {""};
	char ip[64];

	check_refused(colo_parse_endpoint("listen", line, &endpoint, &err), &err);
	check_refused(colo_parse_ip("ip", line, ip, sizeof(ip), &err), &err);
	memset(&listener, 0, sizeof(listener));
	if (colo_listener_parse(&listener, line) == 0)
		FUZZ_CHECK(listener.name[0] != '\0' &&
			   strnlen(listener.name, sizeof(listener.name)) < sizeof(listener.name));
}

static void
try_lists(const char *line)
{
	struct colo_synthetic_config synthetic;
	struct colo_lockstep_config lockstep;
	struct colo_fault_config fault;
	struct colo_error err = {""};
	const char *args;
	enum colo_codec codec;
	int level = 0;

	check_refused(colo_check_standby(line, &err), &err);
	check_refused(colo_check_adapter(line, &err), &err);
	check_refused(colo_check_source(line, &err), &err);
	check_refused(colo_lockstep_config_parse(&lockstep, line, &err), &err);
	check_refused(colo_synthetic_config_parse(&synthetic, line, &err), &err);
	if (colo_fault_parse(line, &fault, &err) == 0)
		FUZZ_CHECK(fault.drop <= 500000 && fault.dup <= 500000 && fault.flip <= 500000);
	if (colo_source_find(line, &args, &err) != NULL)
		FUZZ_CHECK(args > line && args <= line + strlen(line));
	if (colo_parse_codec(line, &codec, &level, &err) == 0)
		FUZZ_CHECK(level >= -7 && level <= 19);
}

/* A key's file is of one line, too. */
static void
try_key(const char *line)
{
	size_t n = strlen(line);
	uint8_t *text = fuzz_copy((const uint8_t *)line, n);
	struct colo_error err = {""};
	int length = colo_psk_parse(text, n, "/key", &err);

	FUZZ_CHECK(length == -1 || (length >= (int)COLO_PSK_MIN && length <= (int)COLO_PSK_MAX));
	check_refused(length < 0 ? -1 : 0, &err);
	free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), *rest = text, *line, *lines[ARGUMENTS_MAX];
	unsigned int n = 0;

	FUZZ_CHECK(text != NULL);
	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	while (n < ARGUMENTS_MAX && (line = strsep(&rest, "\n")) != NULL) {
		line[strnlen(line, ARGUMENT_MAX) == ARGUMENT_MAX ? ARGUMENT_MAX : strlen(line)] =
			'\0';
		lines[n++] = strdup(line);
	}
	for (unsigned int i = 0; i < n; i++) {
		try_block(lines[i]);
		try_numbers(lines[i]);
		try_addresses(lines[i]);
		try_lists(lines[i]);
		try_key(lines[i]);
	}
	try_command_line(lines, n);
	for (unsigned int i = 0; i < n; i++)
		free(lines[i]);
	free(text);
	return 0;
}
