/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line: defaults, getopt, and which options must fit together. */
#include <getopt.h>
#include <string.h>

#include <rte_common.h>

#include "config.h"
#include "help.h"
#include "options.h"
#include "seal.h"

#define EXTRA_BLOCKS_DEFAULT (128ull << 20)

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
	c->rekey = 1u << COLO_SEAL_SHIFT_DEFAULT;
	c->reconnect_ms = 10000;
	c->connect_timeout_ms = 10000;
	c->precopy_threshold = 16384;
	c->precopy_rounds = 30;
	c->udp_port = 17990;
	c->rxd = 1024;
	c->txd = 1024;
	c->steering = COLO_STEER_AUTO;
	c->zero_copy = true;
	c->device_block_size = COLO_DEVICE_BLOCK_DEFAULT;
	c->extra_blocks = EXTRA_BLOCKS_DEFAULT;
}

void
colo_config_print(const struct colo_config *c, FILE *f)
{
	for (unsigned int i = 0; i < colo_n_options; i++)
		if (colo_options[i].kind != OPTION_HEADING)
			colo_option_show(c, &colo_options[i], f);
}

/* ---- parse ---- */

/** What would do nothing in another role is an error of whoever gives it. */
static int
check_roles(const struct colo_config *c, struct colo_error *err)
{
	static const struct {
		const char *option;
		enum colo_role other; /* not in this one */
		const char *accepted;
	} rules[] = {
		{"interval", COLO_ROLE_SECONDARY, "primary or pair"},
		{"codec", COLO_ROLE_SECONDARY, "primary or pair"},
		{"verify", COLO_ROLE_SECONDARY, "primary or pair"},
		{"precopy-threshold", COLO_ROLE_SECONDARY, "primary or pair"},
		{"precopy-rounds", COLO_ROLE_SECONDARY, "primary or pair"},
		{"reconnect", COLO_ROLE_SECONDARY, "primary or pair"},
		{"connect-timeout", COLO_ROLE_SECONDARY, "primary or pair"},
		{"rekey", COLO_ROLE_SECONDARY, "primary or pair"},
		{"on-peer-loss", COLO_ROLE_PRIMARY, "secondary"},
		{"on-peer-loss", COLO_ROLE_PAIR, "secondary"},
	};

	for (unsigned int i = 0; i < colo_n_options; i++)
		for (unsigned int r = 0; r < RTE_DIM(rules) && (c->given >> i & 1); r++)
			if (c->role == rules[r].other && colo_options[i].name != NULL &&
				strcmp(colo_options[i].name, rules[r].option) == 0)
				return colo_error_set(err, "--%s is accepted with --role %s only",
					rules[r].option, rules[r].accepted);
	return 0;
}

static int
check_primary(const struct colo_config *c, struct colo_error *err)
{
	if (c->source[0] == '\0')
		return colo_error_set(err,
			"--role %s needs --source: synthetic,..., qmp,... or colo,... is accepted",
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
	if (c->adapter[0] != '\0')
		return colo_error_set(err, "--adapter is accepted with --role secondary only");
	if (c->journal[0] != '\0' || c->recover)
		return colo_error_set(
			err, "--journal and --recover are accepted with --role secondary only");
	if (c->extra_blocks_given)
		return colo_error_set(err, "--extra-blocks is accepted with --role secondary only");
	return 0;
}

/** What is to outlive this process must be in files that have names. */
static int
check_journal(const struct colo_config *c, struct colo_error *err)
{
	if (c->recover && c->journal[0] == '\0')
		return colo_error_set(
			err, "--recover needs --journal FILE, which says what is there");
	if (c->journal[0] == '\0')
		return 0;
	for (unsigned int i = 0; i < c->n_blocks; i++)
		if (c->block[i].guest_path[0] == '\0' || c->block[i].cache_path[0] == '\0')
			return colo_error_set(err,
				"--journal needs guest=FILE and cache=FILE for each --block; %s "
				"lacks one",
				c->block[i].name);
	if (c->extra_blocks != 0)
		return colo_error_set(err,
			"--extra-blocks is 0 with --journal: what is to outlive this process must "
			"be a --block with files");
	return 0;
}

static bool
has_lockstep(const struct colo_config *c)
{
	return strncmp(c->adapter, "lockstep,", strlen("lockstep,")) == 0;
}

/** A guest that runs on guest memory has to map it, and changes it by itself. */
static int
check_adapter(const struct colo_config *c, struct colo_error *err)
{
	if (c->adapter[0] != '\0' && c->standby[0] != '\0')
		return colo_error_set(
			err, "--standby and --adapter: one of them is accepted, not both");
	if (!has_lockstep(c))
		return 0;
	if (c->journal[0] != '\0')
		return colo_error_set(err,
			"--journal is not accepted with --adapter lockstep: between checkpoints "
			"guest memory is what its own guest makes of it");
	for (unsigned int i = 0; i < c->n_blocks; i++)
		if (c->block[i].guest_path[0] == '\0')
			return colo_error_set(err,
				"--adapter lockstep needs guest=FILE for each --block, which the "
				"hypervisor maps; %s lacks it",
				c->block[i].name);
	if (c->extra_blocks != 0)
		return colo_error_set(err,
			"--extra-blocks is 0 with --adapter lockstep: what the hypervisor maps "
			"must be a --block with guest=FILE");
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
	return check_adapter(c, err) != 0 ? -1 : check_journal(c, err);
}

/** Two processes have a network between them, and whoever else is on it. */
static int
check_security(const struct colo_config *c, struct colo_error *err)
{
	if (c->insecure && c->psk_file[0] != '\0')
		return colo_error_set(err,
			"--psk-file and --insecure exclude each other: one of them is accepted");
	if (c->role != COLO_ROLE_PAIR && !c->insecure && c->psk_file[0] == '\0')
		return colo_error_set(err,
			"--role %s needs --psk-file FILE, the same key at both ends ((umask 077; "
			"openssl rand -hex 32 > FILE) makes one), or --insecure",
			colo_role_name(c->role));
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
	if (check_roles(c, err) != 0 || check_security(c, err) != 0)
		return -1;
	if (c->on_peer_loss == COLO_PEER_LOSS_FAILOVER && c->standby[0] == '\0' &&
		c->adapter[0] == '\0')
		return colo_error_set(err,
			"--on-peer-loss failover is accepted with --standby or --adapter only: "
			"somebody has to take over");
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
		if (value == OPTION_HELP || value == OPTION_VERSION) {
			(value == OPTION_HELP ? colo_help_print : colo_version_print)(stdout);
			return 1;
		}
		o = option_by_value(value);
		if (o == NULL)
			return explain_option(value, optopt, argv[optind - 1], err);
		if (colo_option_set(c, o, optarg, err) != 0)
			return -1;
		c->given |= UINT64_C(1) << (o - colo_options);
	}
	if (optind < argc)
		return colo_error_set(err,
			"%s: not an option; only options are accepted, --help lists them",
			argv[optind]);
	/* they have no files that could outlive this process, or be mapped by a hypervisor */
	if ((c->journal[0] != '\0' || has_lockstep(c)) && !c->extra_blocks_given)
		c->extra_blocks = 0;
	return check_together(c, err);
}
