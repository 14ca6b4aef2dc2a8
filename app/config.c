/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line: one table of options, from which parsing, --help and `show config` follow. */
#include <getopt.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include <rte_common.h>
#include <rte_config.h>
#include <rte_version.h>

#include "config.h"
#include "config_value.h"
#include "wire.h"

/* Ports above the base are what channels get by RSS: there must be room for them. */
#define UDP_PORT_MIN	      1024u
#define UDP_PORT_MAX	      60000u
#define WINDOW_MIN	      64u
#define DESCRIPTORS_MIN	      64u
#define DESCRIPTORS_MAX	      4096u
#define DEVICE_BLOCK_SIZE_MAX (1ull << 30)
#define PRECOPY_THRESHOLD_MAX (COLO_MAX_BLOCK_SIZE >> COLO_PAGE_SHIFT)
#define SHOW_NAME_WIDTH	      20
#define SHOW_NAME	      "%-20s " /* of that width */
#define OPTION_VALUE_BASE     256      /* getopt's value of long options: above every character */
#define OPTION_SHORT	      ":iah"

enum option_kind {
	OPTION_HEADING, /* of a group, in --help */
	OPTION_FLAG,	/* bool, no value */
	OPTION_NUMBER,	/* uint32_t or uint16_t (by size) in [min, max] */
	OPTION_POWER,	/* the same, a power of two, or 0 where `zero` names what that means */
	OPTION_CHOICE,	/* an int-sized enum, one of choices */
	OPTION_TEXT,	/* char array */
	OPTION_OTHER,	/* set and show do it all */
};

struct option_def {
	enum option_kind kind;
	const char *name;
	const char *value; /* what stands for the value in --help */
	const char *help;
	char letter; /* 0: none */
	size_t offset, size;
	uint64_t min, max;
	const char *zero; /* POWER: what 0 is called; TEXT, OTHER: what not given means */
	const char *const *choices;
	int (*check)(const char *text, struct colo_error *err);			     /* TEXT */
	int (*set)(struct colo_config *c, const char *text, struct colo_error *err); /* OTHER */
	void (*show)(const struct colo_config *c, const char *name, FILE *f);	     /* OTHER */
};

static const char *const role_names[] = {"none", "primary", "secondary", "pair", NULL};
static const char *const idle_names[] = {"spin", "adaptive", NULL};
static const char *const peer_loss_names[] = {"wait", "failover", NULL};
static const char *const steering_names[] = {"auto", "rss", "flow", "paired", NULL};
static const char *const switch_names[] = {"off", "on", NULL};

const char *
colo_role_name(enum colo_role role)
{
	return role_names[role];
}

/* ---- options with a form of their own ---- */

static int
set_role(struct colo_config *c, const char *text, struct colo_error *err)
{
	int i = colo_parse_choice("role", text, &role_names[1], err);

	if (i < 0)
		return -1;
	c->role = i + 1;
	return 0;
}

static void
show_role(const struct colo_config *c, const char *name, FILE *f)
{
	fprintf(f, SHOW_NAME "%s\n", name, colo_role_name(c->role));
}

/** A file that two memories share would be two owners of the same bytes. */
static const char *
shared_file(const struct colo_block_spec *a, const struct colo_block_spec *b)
{
	const char *files[] = {b->guest_path, b->cache_path};

	for (unsigned int i = 0; i < RTE_DIM(files); i++)
		if (files[i][0] != '\0' && (strcmp(files[i], a->guest_path) == 0 ||
						   strcmp(files[i], a->cache_path) == 0))
			return files[i];
	return NULL;
}

static int
set_block(struct colo_config *c, const char *text, struct colo_error *err)
{
	struct colo_block_spec *spec = &c->block[c->n_blocks];
	const char *file;

	if (c->n_blocks == RTE_DIM(c->block))
		return colo_error_set(err, "--block %.80s: at most %zu blocks are accepted", text,
			RTE_DIM(c->block));
	if (colo_parse_block(text, spec, err) != 0)
		return -1;
	for (unsigned int i = 0; i < c->n_blocks; i++) {
		if (strcmp(c->block[i].name, spec->name) == 0)
			return colo_error_set(err,
				"--block %s: the name is given twice; each is accepted once",
				spec->name);
		file = shared_file(&c->block[i], spec);
		if (file != NULL)
			return colo_error_set(err,
				"--block %s: %.200s is also block %s's; a file of its own is "
				"accepted",
				spec->name, file, c->block[i].name);
	}
	c->n_blocks++;
	return 0;
}

static void
show_block(const struct colo_config *c, const char *name, FILE *f)
{
	const struct colo_block_spec *spec;
	char size[24];

	if (c->n_blocks == 0)
		fprintf(f, SHOW_NAME "none\n", name);
	for (unsigned int i = 0; i < c->n_blocks; i++) {
		spec = &c->block[i];
		fprintf(f, SHOW_NAME "%s,size=%s%s%s%s%s\n", name, spec->name,
			colo_format_size(spec->size, size, sizeof(size)),
			spec->guest_path[0] != '\0' ? ",guest=" : "", spec->guest_path,
			spec->cache_path[0] != '\0' ? ",cache=" : "", spec->cache_path);
	}
}

static void
show_endpoint(const struct colo_endpoint *e, const char *name, FILE *f)
{
	bool ipv6 = strchr(e->host, ':') != NULL;

	if (e->port == 0)
		fprintf(f, SHOW_NAME "none\n", name);
	else
		fprintf(f, SHOW_NAME "%s%s%s:%u\n", name, ipv6 ? "[" : "", e->host, ipv6 ? "]" : "",
			e->port);
}

static int
set_listen(struct colo_config *c, const char *text, struct colo_error *err)
{
	return colo_parse_endpoint("listen", text, &c->listen, err);
}

static void
show_listen(const struct colo_config *c, const char *name, FILE *f)
{
	show_endpoint(&c->listen, name, f);
}

static int
set_connect(struct colo_config *c, const char *text, struct colo_error *err)
{
	return colo_parse_endpoint("connect", text, &c->connect, err);
}

static void
show_connect(const struct colo_config *c, const char *name, FILE *f)
{
	show_endpoint(&c->connect, name, f);
}

static int
set_codec(struct colo_config *c, const char *text, struct colo_error *err)
{
	struct colo_error why;

	if (colo_parse_codec(text, &c->codec, &c->zstd_level, &why) != 0)
		return colo_error_set(err, "--%s", why.text);
	return 0;
}

static void
show_codec(const struct colo_config *c, const char *name, FILE *f)
{
	if (c->codec == COLO_CODEC_RAW)
		fprintf(f, SHOW_NAME "raw\n", name);
	else
		fprintf(f, SHOW_NAME "zstd:%d\n", name, c->zstd_level);
}

static int
set_ip(struct colo_config *c, const char *text, struct colo_error *err)
{
	return colo_parse_ip("ip", text, c->ip, sizeof(c->ip), err);
}

static void
show_ip(const struct colo_config *c, const char *name, FILE *f)
{
	fprintf(f, SHOW_NAME "%s\n", name, c->ip[0] != '\0' ? c->ip : "made from the MAC");
}

static int
set_device_size(struct colo_config *c, const char *text, struct colo_error *err)
{
	return colo_parse_pages_size("device-state-size", text, COLO_PAGE_SIZE,
		DEVICE_BLOCK_SIZE_MAX, &c->device_block_size, err);
}

static void
show_device_size(const struct colo_config *c, const char *name, FILE *f)
{
	char text[24];

	fprintf(f, SHOW_NAME "%s\n", name,
		colo_format_size(c->device_block_size, text, sizeof(text)));
}

/* ---- the table ---- */

#define FIELD(f) \
	.offset = offsetof(struct colo_config, f), .size = sizeof(((struct colo_config *)0)->f)
#define NUMBER(n, v, f, low, high, h)                                                            \
	{                                                                                        \
		.kind = OPTION_NUMBER, .name = n, .value = v, FIELD(f), .min = low, .max = high, \
		.help = h                                                                        \
	}
#define POWER(n, v, f, low, high, z, h)                                                         \
	{                                                                                       \
		.kind = OPTION_POWER, .name = n, .value = v, FIELD(f), .min = low, .max = high, \
		.zero = z, .help = h                                                            \
	}
#define CHOICE(n, f, list, h)                                                          \
	{                                                                              \
		.kind = OPTION_CHOICE, .name = n, FIELD(f), .choices = list, .help = h \
	}
#define TEXT(n, v, f, check_text, h)                                                       \
	{                                                                                  \
		.kind = OPTION_TEXT, .name = n, .value = v, FIELD(f), .check = check_text, \
		.help = h                                                                  \
	}
#define OTHER(n, v, set_text, show_text, h)                                                      \
	{                                                                                        \
		.kind = OPTION_OTHER, .name = n, .value = v, .set = set_text, .show = show_text, \
		.help = h                                                                        \
	}
#define FLAG(n, l, f, h)                                                         \
	{                                                                        \
		.kind = OPTION_FLAG, .name = n, .letter = l, FIELD(f), .help = h \
	}
#define HEADING(h)                                \
	{                                         \
		.kind = OPTION_HEADING, .help = h \
	}

static const struct option_def options[] = {
	HEADING("Role"),
	OTHER("role", "primary|secondary|pair", set_role, show_role,
		"primary sends its guest, secondary keeps the copy, pair is both in one process"),
	OTHER("connect", "ADDR:PORT", set_connect, show_connect,
		"primary: where the secondary listens; [ADDR]:PORT for IPv6"),
	OTHER("listen", "ADDR:PORT", set_listen, show_listen, "secondary: where to wait for it"),
	HEADING("Guest"),
	TEXT("source", "NAME,key=value,..", source, colo_check_source,
		"primary, pair: the guest; NAME is synthetic or qmp"),
	OTHER("block", "NAME,size=SIZE[,guest=FILE][,cache=FILE]", set_block, show_block,
		"a block of guest memory, and the files that hold it and its cache; repeatable"),
	TEXT("standby", "unix:PATH[,incoming=PATH]", standby, colo_check_standby,
		"secondary: QMP socket of the QEMU that takes over"),
	OTHER("device-state-size", "SIZE", set_device_size, show_device_size,
		"room for the device state, 4K to 1G"),
	HEADING("Checkpoints (primary, pair)"),
	NUMBER("interval", "MS", interval_ms, 0, COLO_INTERVAL_MAX_MS,
		"from checkpoint to checkpoint, ms"),
	NUMBER("epochs", "N", epochs, 0, UINT32_MAX,
		"end after so many checkpoints; 0 means never"),
	OTHER("codec", "raw|zstd[:LEVEL]", set_codec, show_codec,
		"how pages are sent; levels -7 to 19, -1 if not given"),
	FLAG("verify", 0, verify, "compare guest memory of both ends after each checkpoint"),
	NUMBER("precopy-threshold", "PAGES", precopy_threshold, 0, PRECOPY_THRESHOLD_MAX,
		"the first copy ends when fewer pages are left"),
	NUMBER("precopy-rounds", "N", precopy_rounds, 1, 1000, "or after so many rounds"),
	HEADING("When an end is lost"),
	CHOICE("on-peer-loss", on_peer_loss, peer_loss_names,
		"secondary: wait to be told, or let the standby take over"),
	NUMBER("peer-timeout", "MS", peer_timeout_ms, 50, 60000, "silence that means loss, ms"),
	NUMBER("hold", "MS", hold_ms, 10, 60000, "longest pause of the guest, ms"),
	NUMBER("connect-timeout", "MS", connect_timeout_ms, 0, 600000,
		"primary: how long to try to connect, ms"),
	HEADING("Datapath"),
	NUMBER("channels", "N", channels, 1, COLO_MAX_CHANNELS,
		"queue pairs, each with an lcore that polls it"),
	NUMBER("port", "ID", port, 0, RTE_MAX_ETHPORTS - 1, "ethdev port"),
	NUMBER("mtu", "BYTES", mtu, COLO_MTU_MIN, COLO_MTU_MAX, "largest IP packet"),
	OTHER("ip", "ADDR", set_ip, show_ip, "address on the datapath"),
	NUMBER("udp-port", "BASE", udp_port, UDP_PORT_MIN, UDP_PORT_MAX,
		"first UDP port; channels get ports from here on"),
	CHOICE("steering", steering, steering_names, "how channels find their queues"),
	POWER("window", "SLOTS", window, WINDOW_MIN, COLO_WINDOW_MAX, "auto",
		"packets a channel may have outstanding, or 0 for auto; a power of two"),
	POWER("rxd", "N", rxd, DESCRIPTORS_MIN, DESCRIPTORS_MAX, NULL,
		"receive descriptors of a queue, a power of two"),
	POWER("txd", "N", txd, DESCRIPTORS_MIN, DESCRIPTORS_MAX, NULL,
		"transmit descriptors of a queue, a power of two"),
	{.kind = OPTION_CHOICE,
		.name = "zero-copy",
		FIELD(zero_copy),
		.choices = switch_names,
		.help = "transmit from guest memory where the driver can"},
	CHOICE("idle", idle, idle_names, "spin always, or sleep when there is nothing to do"),
	TEXT("fault", "drop=P,dup=P,reorder=P,seed=N", fault, colo_check_fault,
		"for tests: percent of received frames to harm"),
	HEADING("Operator"),
	FLAG("interactive", 'i', interactive, "prompt; waits for `start` unless --auto-start"),
	FLAG("auto-start", 'a', auto_start, "with -i: begin at once"),
	TEXT("cmdline-file", "FILE", cmdline_file, NULL, "prompt commands to run at start"),
	TEXT("json", "FILE", json, NULL, "write each checkpoint and a summary there"),
};

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

/* ---- fields by offset ---- */

static void
store_number(struct colo_config *c, const struct option_def *o, uint64_t value)
{
	void *field = (uint8_t *)c + o->offset;

	if (o->size == sizeof(uint8_t))
		*(uint8_t *)field = value;
	else if (o->size == sizeof(uint16_t))
		*(uint16_t *)field = value;
	else
		*(uint32_t *)field = value;
}

static uint64_t
load_number(const struct colo_config *c, const struct option_def *o)
{
	const void *field = (const uint8_t *)c + o->offset;

	if (o->size == sizeof(uint8_t))
		return *(const uint8_t *)field;
	if (o->size == sizeof(uint16_t))
		return *(const uint16_t *)field;
	return *(const uint32_t *)field;
}

static int
set_power(
	struct colo_config *c, const struct option_def *o, const char *text, struct colo_error *err)
{
	uint64_t value = 0;

	if (colo_parse_number(o->name, text, 0, o->max, &value, NULL) != 0 ||
		(value == 0 ? o->zero == NULL : value < o->min || (value & (value - 1)) != 0))
		return colo_error_set(err,
			"--%s %s: a power of two from %" PRIu64 " to %" PRIu64 "%s is accepted",
			o->name, text, o->min, o->max, o->zero != NULL ? ", or 0," : "");
	store_number(c, o, value);
	return 0;
}

static int
set_text(
	struct colo_config *c, const struct option_def *o, const char *text, struct colo_error *err)
{
	if (o->check != NULL && o->check(text, err) != 0)
		return -1;
	return colo_copy_text(o->name, text, (char *)c + o->offset, o->size, err);
}

static int
set_option(
	struct colo_config *c, const struct option_def *o, const char *text, struct colo_error *err)
{
	uint64_t value = 1;
	int choice;

	switch (o->kind) {
	case OPTION_NUMBER:
		if (colo_parse_number(o->name, text, o->min, o->max, &value, err) != 0)
			return -1;
		break;
	case OPTION_CHOICE:
		choice = colo_parse_choice(o->name, text, o->choices, err);
		if (choice < 0)
			return -1;
		value = choice;
		break;
	case OPTION_POWER:
		return set_power(c, o, text, err);
	case OPTION_TEXT:
		return set_text(c, o, text, err);
	case OPTION_OTHER:
		return o->set(c, text, err);
	default:
		break;
	}
	store_number(c, o, value);
	return 0;
}

static void
show_option(const struct colo_config *c, const struct option_def *o, FILE *f)
{
	const char *text = (const char *)c + o->offset;

	if (o->kind == OPTION_OTHER) {
		o->show(c, o->name, f);
		return;
	}
	fprintf(f, SHOW_NAME, o->name);
	if (o->kind == OPTION_TEXT)
		fprintf(f, "%s\n", text[0] != '\0' ? text : "none");
	else if (o->kind == OPTION_FLAG)
		fprintf(f, "%s\n", switch_names[load_number(c, o)]);
	else if (o->kind == OPTION_CHOICE)
		fprintf(f, "%s\n", o->choices[load_number(c, o)]);
	else if (o->zero != NULL && load_number(c, o) == 0)
		fprintf(f, "%s\n", o->zero);
	else
		fprintf(f, "%" PRIu64 "\n", load_number(c, o));
}

void
colo_config_print(const struct colo_config *c, FILE *f)
{
	for (unsigned int i = 0; i < RTE_DIM(options); i++)
		if (options[i].kind != OPTION_HEADING)
			show_option(c, &options[i], f);
}

/* ---- --help ---- */

static void
print_choices(const struct option_def *o, FILE *f)
{
	for (int i = 0; o->choices[i] != NULL; i++)
		fprintf(f, "%s%s", i == 0 ? "" : "|", o->choices[i]);
}

/** The default as show_option() prints it, without the name. @return NULL: none worth a word. */
static const char *
default_of(const struct colo_config *defaults, const struct option_def *o, char *line, size_t size)
{
	FILE *memory = fmemopen(line, size, "w");

	if (memory == NULL)
		return NULL;
	show_option(defaults, o, memory);
	fclose(memory);
	line[strcspn(line, "\n")] = '\0';
	if (o->kind == OPTION_FLAG || strlen(line) <= SHOW_NAME_WIDTH + 1 ||
		strcmp(&line[SHOW_NAME_WIDTH + 1], "none") == 0)
		return NULL;
	return &line[SHOW_NAME_WIDTH + 1];
}

static void
print_range(const struct colo_config *defaults, const struct option_def *o, FILE *f)
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
print_help_of(const struct colo_config *defaults, const struct option_def *o, FILE *f)
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
	for (unsigned int i = 0; i < RTE_DIM(options); i++)
		print_help_of(c, &options[i], f);
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

	for (unsigned int i = 0; i < RTE_DIM(options); i++)
		if (options[i].kind != OPTION_HEADING)
			table[n++] = (struct option){.name = options[i].name,
				.has_arg = options[i].kind == OPTION_FLAG ? no_argument
									  : required_argument,
				.val = OPTION_VALUE_BASE + i};
	table[n++] = (struct option){.name = "help", .val = OPTION_HELP};
	table[n++] = (struct option){.name = "version", .val = OPTION_VERSION};
	table[n] = (struct option){0};
}

static const struct option_def *
option_by_value(int value)
{
	if (value >= OPTION_VALUE_BASE)
		return &options[value - OPTION_VALUE_BASE];
	for (unsigned int i = 0; i < RTE_DIM(options); i++)
		if (options[i].letter != 0 && options[i].letter == value)
			return &options[i];
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
	struct option table[RTE_DIM(options) + 3];
	const struct option_def *o;
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
		if (set_option(c, o, optarg, err) != 0)
			return -1;
	}
	if (optind < argc)
		return colo_error_set(err,
			"%s: not an option; only options are accepted, --help lists them",
			argv[optind]);
	return check_together(c, err);
}
