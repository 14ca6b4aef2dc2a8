/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of options, and how each kind is set and shown. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include <rte_common.h>
#include <rte_config.h>

#include "config_value.h"
#include "fault.h"
#include "options.h"
#include "seal.h"
#include "wire.h"

/* Ports above the base are what channels get by RSS: there must be room for them. */
#define UDP_PORT_MIN	      1024u
#define UDP_PORT_MAX	      60000u
#define WINDOW_MIN	      64u
#define DESCRIPTORS_MIN	      64u
#define DESCRIPTORS_MAX	      4096u
#define DEVICE_BLOCK_SIZE_MAX (1ull << 30)
#define EXTRA_BLOCKS_MAX      (1ull << 36)
#define PRECOPY_THRESHOLD_MAX (COLO_MAX_BLOCK_SIZE >> COLO_PAGE_SHIFT)

static const char *const role_names[] = {"none", "primary", "secondary", "pair", NULL};
static const char *const idle_names[] = {"spin", "adaptive", NULL};
static const char *const peer_loss_names[] = {"wait", "failover", NULL};
static const char *const privileges_names[] = {"drop", "keep", NULL};
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
	fprintf(f, COLO_OPTION_NAME "%s\n", name, colo_role_name(c->role));
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
		fprintf(f, COLO_OPTION_NAME "none\n", name);
	for (unsigned int i = 0; i < c->n_blocks; i++) {
		spec = &c->block[i];
		fprintf(f, COLO_OPTION_NAME "%s,size=%s%s%s%s%s\n", name, spec->name,
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
		fprintf(f, COLO_OPTION_NAME "none\n", name);
	else
		fprintf(f, COLO_OPTION_NAME "%s%s%s:%u\n", name, ipv6 ? "[" : "", e->host,
			ipv6 ? "]" : "", e->port);
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
		fprintf(f, COLO_OPTION_NAME "raw\n", name);
	else
		fprintf(f, COLO_OPTION_NAME "zstd:%d\n", name, c->zstd_level);
}

static int
set_ip(struct colo_config *c, const char *text, struct colo_error *err)
{
	return colo_parse_ip("ip", text, c->ip, sizeof(c->ip), err);
}

static void
show_ip(const struct colo_config *c, const char *name, FILE *f)
{
	fprintf(f, COLO_OPTION_NAME "%s\n", name, c->ip[0] != '\0' ? c->ip : "made from the MAC");
}

static int
check_fault(const char *text, struct colo_error *err)
{
	struct colo_fault_config fault;

	return colo_fault_parse(text, &fault, err);
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

	fprintf(f, COLO_OPTION_NAME "%s\n", name,
		colo_format_size(c->device_block_size, text, sizeof(text)));
}

static int
set_extra_blocks(struct colo_config *c, const char *text, struct colo_error *err)
{
	c->extra_blocks_given = true;
	return colo_parse_pages_size(
		"extra-blocks", text, 0, EXTRA_BLOCKS_MAX, &c->extra_blocks, err);
}

static void
show_extra_blocks(const struct colo_config *c, const char *name, FILE *f)
{
	char text[24];

	fprintf(f, COLO_OPTION_NAME "%s\n", name,
		colo_format_size(c->extra_blocks, text, sizeof(text)));
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

const struct colo_option colo_options[] = {
	HEADING("Role"),
	OTHER("role", "primary|secondary|pair", set_role, show_role,
		"primary sends its guest, secondary keeps the copy, pair is both in one process"),
	OTHER("connect", "ADDR:PORT", set_connect, show_connect,
		"primary: where the secondary listens; [ADDR]:PORT for IPv6"),
	OTHER("listen", "ADDR:PORT", set_listen, show_listen, "secondary: where to wait for it"),
	HEADING("Guest"),
	TEXT("source", "NAME,key=value,..", source, colo_check_source,
		"primary, pair: the guest; NAME is synthetic, qmp or colo"),
	OTHER("block", "NAME,size=SIZE[,guest=FILE][,cache=FILE]", set_block, show_block,
		"a block of guest memory, and the files that hold it and its cache; repeatable"),
	OTHER("extra-blocks", "SIZE", set_extra_blocks, show_extra_blocks,
		"secondary: room for blocks that only the primary names, all together, 0 to 64G"),
	TEXT("standby", "unix:PATH[,incoming=PATH]", standby, colo_check_standby,
		"secondary: QMP socket of the QEMU that takes over"),
	TEXT("adapter", "standby,..|lockstep,control=unix:PATH,dirty-log=FILE[,answer=MS]", adapter,
		colo_check_adapter,
		"secondary: who takes over; standby as with --standby, lockstep a guest that runs "
		"meanwhile"),
	TEXT("journal", "FILE", journal, NULL,
		"secondary: says what guest memory holds, should this process be killed"),
	FLAG("recover", 0, recover, "secondary: go on from the files that a killed one left"),
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
	NUMBER("reconnect", "MS", reconnect_ms, 0, 3600000,
		"primary: how long a lost secondary is called again, 0: not at all; ms"),
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
	TEXT("fault", "drop=P,burst=N,dup=P,reorder=P,flip=P,seed=N", fault, check_fault,
		"for tests: percent of received frames to harm"),
	HEADING("Security"),
	TEXT("psk-file", "FILE", psk_file, NULL,
		"key of both ends, 64 to 512 hexadecimal digits; mode 0600 or 0400"),
	POWER("rekey", "PACKETS", rekey, 1u << COLO_SEAL_SHIFT_MIN, 1u << COLO_SEAL_SHIFT_MAX, NULL,
		"primary: packets of a channel that are sealed with one key"),
	FLAG("insecure", 0, insecure, "neither authenticate nor encrypt: a network of one's own"),
	CHOICE("privileges", privileges, privileges_names,
		"drop capabilities and system calls that are not needed after the start"),
	HEADING("Operator"),
	FLAG("interactive", 'i', interactive, "prompt; waits for `start` unless --auto-start"),
	FLAG("auto-start", 'a', auto_start, "with -i: begin at once"),
	TEXT("cmdline-file", "FILE", cmdline_file, NULL, "prompt commands to run at start"),
	TEXT("json", "FILE", json, NULL, "write each checkpoint and a summary there"),
};

const unsigned int colo_n_options = RTE_DIM(colo_options);
static_assert(RTE_DIM(colo_options) <= COLO_OPTIONS_MAX, "options");

/* ---- fields by offset ---- */

static void
store_number(struct colo_config *c, const struct colo_option *o, uint64_t value)
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
load_number(const struct colo_config *c, const struct colo_option *o)
{
	const void *field = (const uint8_t *)c + o->offset;

	if (o->size == sizeof(uint8_t))
		return *(const uint8_t *)field;
	if (o->size == sizeof(uint16_t))
		return *(const uint16_t *)field;
	return *(const uint32_t *)field;
}

static int
set_power(struct colo_config *c, const struct colo_option *o, const char *text,
	struct colo_error *err)
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
set_text(struct colo_config *c, const struct colo_option *o, const char *text,
	struct colo_error *err)
{
	if (o->check != NULL && o->check(text, err) != 0)
		return -1;
	return colo_copy_text(o->name, text, (char *)c + o->offset, o->size, err);
}

int
colo_option_set(struct colo_config *c, const struct colo_option *o, const char *text,
	struct colo_error *err)
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

void
colo_option_show(const struct colo_config *c, const struct colo_option *o, FILE *f)
{
	const char *text = (const char *)c + o->offset;

	if (o->kind == OPTION_OTHER) {
		o->show(c, o->name, f);
		return;
	}
	fprintf(f, COLO_OPTION_NAME, o->name);
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
