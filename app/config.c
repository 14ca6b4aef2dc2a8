/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line: defaults, --help, getopt and what options must fit together. */
#include <getopt.h>
#include <inttypes.h>
#include <string.h>

#include <rte_common.h>
#include <rte_version.h>

#include "config.h"
#include "options.h"

#define OPTION_VALUE_BASE 256 /* getopt's value of long options: above every character */
#define OPTION_SHORT	  ":iah"

void
colo_config_defaults(struct colo_config *c)
{
	memset(c, 0, sizeof(*c));
	c->channels = 1;
	c->interval_ms = 500;
	c->codec = COLO_CODEC_RAW;
	c->zstd_level = -1;
	c->mtu = 4200;
	c->idle = COLO_IDLE_ADAPTIVE;
	c->on_peer_loss = COLO_PEER_LOSS_WAIT;
	c->peer_timeout_ms = 1000;
	c->hold_ms = 1000;
	c->connect_timeout_ms = 10000;
	c->precopy_threshold = 16384;
	c->precopy_rounds = 30;
	c->udp_port = 17990;
	c->rxd = 1024;
	c->txd = 1024;
	c->steering = COLO_STEER_AUTO;
	c->zero_copy = true;
	c->device_block_size = COLO_DEVICE_BLOCK_DEFAULT;
}

void
colo_config_print(const struct colo_config *c, FILE *f)
{
	for (unsigned int i = 0; i < colo_n_options; i++)
		if (colo_options[i].kind != OPTION_HEADING)
			colo_option_show(c, &colo_options[i], f);
}

/* ---- --help ---- */

static void
print_choices(const struct colo_option *o, FILE *f)
{
	for (int i = 0; o->choices[i] != NULL; i++)
		fprintf(f, "%s%s", i == 0 ? "" : "|", o->choices[i]);
}

/** The default as colo_option_show() prints it, without the name. @return NULL: none worth a word.
 */
static const char *
default_of(const struct colo_config *defaults, const struct colo_option *o, char *line, size_t size)
{
	FILE *memory = fmemopen(line, size, "w");

	if (memory == NULL)
		return NULL;
	colo_option_show(defaults, o, memory);
	fclose(memory);
	line[strcspn(line, "\n")] = '\0';
	if (o->kind == OPTION_FLAG || strlen(line) <= COLO_OPTION_NAME_WIDTH + 1 ||
		strcmp(&line[COLO_OPTION_NAME_WIDTH + 1], "none") == 0)
		return NULL;
	return &line[COLO_OPTION_NAME_WIDTH + 1];
}

static void
print_range(const struct colo_config *defaults, const struct colo_option *o, FILE *f)
{
	bool range = o->kind == OPTION_NUMBER || o->kind == OPTION_POWER;
	char line[128] = "";
	const char *text = default_of(defaults, o, line, sizeof(line));

	if (range)
		fprintf(f, " (%" PRIu64 " to %" PRIu64, o->min, o->max);
	if (text != NULL)
		fprintf(f, "%sdefault %s", range ? ", " : " (", text);
	if (range || text != NULL)
		fputc(')', f);
}

static void
print_help_of(const struct colo_config *defaults, const struct colo_option *o, FILE *f)
{
	if (o->kind == OPTION_HEADING) {
		fprintf(f, "\n%s:\n", o->help);
		return;
	}
	if (o->letter != 0)
		fprintf(f, "  -%c, --%s", o->letter, o->name);
	else
		fprintf(f, "  --%s", o->name);
	if (o->kind != OPTION_FLAG)
		fputc(' ', f);
	if (o->kind == OPTION_CHOICE)
		print_choices(o, f);
	else if (o->value != NULL)
		fputs(o->value, f);
	fprintf(f, "\n        %s", o->help);
	print_range(defaults, o, f);
	fputc('\n', f);
}

static int
print_help(struct colo_config *c, FILE *f)
{
	fputs("dpdk-colo keeps a second host's copy of a running VM one checkpoint behind the "
	      "first.\n\n"
	      "Usage: dpdk-colo [EAL options] -- --role primary|secondary|pair [options]\n",
		f);
	colo_config_defaults(c);
	for (unsigned int i = 0; i < colo_n_options; i++)
		print_help_of(c, &colo_options[i], f);
	fputs("  -h, --help\n        this text\n  --version\n        name and versions\n\n"
	      "SIZE is in bytes, or with suffix K, M, G or T.\n",
		f);
	return 1;
}

static int
print_version(void)
{
	printf("dpdk-colo %s (%s)\n", COLO_VERSION, rte_version());
	return 1;
}

/* ---- parse ---- */

static int
check_primary(const struct colo_config *c, struct colo_error *err)
{
	if (c->source[0] == '\0')
		return colo_error_set(err,
			"--role %s needs --source: synthetic,... or qmp,... is accepted",
			colo_role_name(c->role));
	if (c->role == COLO_ROLE_PRIMARY && c->connect.port == 0)
		return colo_error_set(err,
			"--role primary needs --connect ADDR:PORT, where the secondary listens");
	if (c->role == COLO_ROLE_PAIR && c->connect.port != 0)
		return colo_error_set(err,
			"--connect is accepted with --role primary only: a pair has both ends in "
			"itself");
	if (c->listen.port != 0)
		return colo_error_set(err, "--listen is accepted with --role secondary only");
	if (c->standby[0] != '\0')
		return colo_error_set(err, "--standby is accepted with --role secondary only");
	return 0;
}

static int
check_secondary(const struct colo_config *c, struct colo_error *err)
{
	if (c->listen.port == 0)
		return colo_error_set(err,
			"--role secondary needs --listen ADDR:PORT, where the primary connects");
	if (c->n_blocks == 0)
		return colo_error_set(
			err, "--role secondary needs at least one --block NAME,size=SIZE");
	if (c->connect.port != 0)
		return colo_error_set(err, "--connect is accepted with --role primary only");
	if (c->source[0] != '\0')
		return colo_error_set(err,
			"--source is accepted with --role primary or pair only: a secondary gets "
			"its pages from the primary");
	if (c->epochs != 0)
		return colo_error_set(err, "--epochs is accepted with --role primary or pair only");
	return 0;
}

static int
check_together(const struct colo_config *c, struct colo_error *err)
{
	if (c->role == COLO_ROLE_NONE)
		return colo_error_set(
			err, "--role is missing: primary, secondary or pair is accepted");
	if ((c->role == COLO_ROLE_SECONDARY ? check_secondary : check_primary)(c, err) != 0)
		return -1;
	if (c->on_peer_loss == COLO_PEER_LOSS_FAILOVER && c->standby[0] == '\0')
		return colo_error_set(err,
			"--on-peer-loss failover is accepted with --standby only: somebody has to "
			"take over");
	if (c->auto_start && !c->interactive)
		return colo_error_set(err, "--auto-start is accepted with --interactive only: "
					   "without it everything begins at once anyway");
	return 0;
}

#define OPTION_HELP    'h'
#define OPTION_VERSION 'V'

static void
make_getopt_table(struct option *table)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < colo_n_options; i++)
		if (colo_options[i].kind != OPTION_HEADING)
			table[n++] = (struct option){.name = colo_options[i].name,
				.has_arg = colo_options[i].kind == OPTION_FLAG ? no_argument
									       : required_argument,
				.val = OPTION_VALUE_BASE + i};
	table[n++] = (struct option){.name = "help", .val = OPTION_HELP};
	table[n++] = (struct option){.name = "version", .val = OPTION_VERSION};
	table[n] = (struct option){0};
}

static const struct colo_option *
option_by_value(int value)
{
	if (value >= OPTION_VALUE_BASE)
		return &colo_options[value - OPTION_VALUE_BASE];
	for (unsigned int i = 0; i < colo_n_options; i++)
		if (colo_options[i].letter != 0 && colo_options[i].letter == value)
			return &colo_options[i];
	return NULL;
}

/** What getopt answers '?' or ':' to. */
static int
explain_option(int answer, int value, const char *word, struct colo_error *err)
{
	if (answer == ':')
		return colo_error_set(err, "%s needs a value; --help lists what is accepted", word);
	if (value >= OPTION_VALUE_BASE || value == OPTION_HELP || value == OPTION_VERSION)
		return colo_error_set(err, "%s: this option takes no value", word);
	if (value != 0)
		return colo_error_set(
			err, "-%c: no such option; --help lists what is accepted", value);
	return colo_error_set(err,
		"%s: no such option, or short for several; --help lists what is accepted", word);
}

int
colo_config_parse(struct colo_config *c, int argc, char **argv, struct colo_error *err)
{
	struct option table[COLO_OPTIONS_MAX + 3]; /* with --help, --version and the end */
	const struct colo_option *o;
	int value;

	make_getopt_table(table);
	colo_config_defaults(c);
	opterr = 0;
	optind = 0; /* GNU: start afresh, EAL has used getopt before us */
	while ((value = getopt_long(argc, argv, OPTION_SHORT, table, NULL)) != -1) {
		if (value == OPTION_HELP)
			return print_help(c, stdout);
		if (value == OPTION_VERSION)
			return print_version();
		o = option_by_value(value);
		if (o == NULL)
			return explain_option(value, optopt, argv[optind - 1], err);
		if (colo_option_set(c, o, optarg, err) != 0)
			return -1;
	}
	if (optind < argc)
		return colo_error_set(err,
			"%s: not an option; only options are accepted, --help lists them",
			argv[optind]);
	return check_together(c, err);
}
