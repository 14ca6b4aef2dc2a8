/* SPDX-License-Identifier: BSD-3-Clause */
/* The verbs of prompt and script: a table, and what each does. */
#include <inttypes.h>
#include <string.h>

#include <rte_common.h>

#include "config_value.h"
#include "console.h"
#include "show.h"

enum show_what {
	SHOW_CONFIG,
	SHOW_PORT,
	SHOW_CHANNEL,
	SHOW_BLOCK,
	SHOW_EPOCH,
	SHOW_STATS,
	SHOW_ALL
};

/** Verbs that are nothing but a request: the argument is its kind. */
static int
run_request(struct colo_console *c, const struct colo_verb *verb, const struct colo_words *w,
	struct colo_error *err)
{
	struct colo_request request = {.kind = verb->argument};

	RTE_SET_USED(w);
	if (c->only_check)
		return 0;
	return colo_control_post(c->control, &request, err);
}

static int
run_quit(struct colo_console *c, const struct colo_verb *verb, const struct colo_words *w,
	struct colo_error *err)
{
	if (run_request(c, verb, w, err) != 0)
		return -1;
	c->ended = !c->only_check;
	return 0;
}

static int
run_help(struct colo_console *c, const struct colo_verb *verb, const struct colo_words *w,
	struct colo_error *err)
{
	RTE_SET_USED(verb);
	RTE_SET_USED(w);
	RTE_SET_USED(err);
	for (unsigned int i = 0; !c->only_check && i < colo_n_verbs; i++)
		fprintf(c->out, "%-28s %s\n", colo_verbs[i].words, colo_verbs[i].help);
	return 0;
}

static int
run_show(struct colo_console *c, const struct colo_verb *verb, const struct colo_words *w,
	struct colo_error *err)
{
	RTE_SET_USED(w);
	RTE_SET_USED(err);
	if (c->only_check)
		return 0;
	switch (verb->argument) {
	case SHOW_CONFIG:
		colo_config_print(c->config, c->out);
		break;
	case SHOW_PORT:
		colo_show_ports(c->out);
		break;
	case SHOW_CHANNEL:
		colo_show_channels(c->control, c->config->channels, c->out);
		break;
	case SHOW_BLOCK:
		colo_show_blocks(c->control, c->out);
		break;
	case SHOW_EPOCH:
		colo_show_epoch(c->control, c->out);
		break;
	default:
		colo_show_stats(c->control, c->config->channels, &c->base,
			verb->argument == SHOW_ALL, c->out);
		break;
	}
	return 0;
}

static int
run_clear_stats(struct colo_console *c, const struct colo_verb *verb, const struct colo_words *w,
	struct colo_error *err)
{
	RTE_SET_USED(verb);
	RTE_SET_USED(w);
	RTE_SET_USED(err);
	if (!c->only_check)
		colo_stats_read(c->control, c->config->channels, &c->base);
	return 0;
}

/** colo_parse_number() for a word of a line: nobody typed dashes. */
static int
parse_word(const char *name, const char *word, uint64_t min, uint64_t max, uint64_t *value,
	struct colo_error *err)
{
	struct colo_error why;

	if (colo_parse_number(name, word, min, max, value, &why) == 0)
		return 0;
	return colo_error_set(err, "%s", why.text + strlen("--"));
}

static int
run_set_interval(struct colo_console *c, const struct colo_verb *verb, const struct colo_words *w,
	struct colo_error *err)
{
	struct colo_request request = {.kind = COLO_REQUEST_INTERVAL};
	uint64_t value = 0;

	RTE_SET_USED(verb);
	if (parse_word("interval", w->word[2], 0, COLO_INTERVAL_MAX_MS, &value, err) != 0)
		return -1;
	request.interval_ms = value;
	if (c->only_check)
		return 0;
	if (colo_control_post(c->control, &request, err) != 0)
		return -1;
	c->config->interval_ms = request.interval_ms;
	return 0;
}

static int
run_set_codec(struct colo_console *c, const struct colo_verb *verb, const struct colo_words *w,
	struct colo_error *err)
{
	struct colo_request request = {
		.kind = COLO_REQUEST_CODEC, .zstd_level = c->config->zstd_level};

	RTE_SET_USED(verb);
	if (colo_parse_codec(w->word[2], &request.codec, &request.zstd_level, err) != 0)
		return -1;
	if (c->only_check)
		return 0;
	if (colo_control_post(c->control, &request, err) != 0)
		return -1;
	c->config->codec = request.codec;
	c->config->zstd_level = request.zstd_level;
	return 0;
}

/* ---- wait ---- */

/** "wait state NAME [SECONDS]", "wait epochs N [SECONDS]", "wait seconds SECONDS". */
static int
run_wait(struct colo_console *c, const struct colo_verb *verb, const struct colo_words *w,
	struct colo_error *err)
{
	const char *limit = verb->argument == COLO_WAIT_TIME ? w->word[2] : w->word[3];
	struct colo_wait wait = {.kind = verb->argument};
	uint64_t seconds = COLO_WAIT_DEFAULT_S;
	struct colo_view view;

	if (wait.kind == COLO_WAIT_EPOCHS &&
		parse_word("epochs", w->word[2], 1, UINT32_MAX, &wait.left, err) != 0)
		return -1;
	if (limit[0] != '\0' &&
		parse_word("seconds", limit, 1, COLO_WAIT_MAX_S, &seconds, err) != 0)
		return -1;
	if (c->only_check)
		return 0;
	snprintf(wait.state, sizeof(wait.state), "%s", w->word[2]);
	colo_console_view(c, &view);
	wait.seen = view.checkpoints;
	wait.deadline_ms = colo_console_now_ms() + seconds * 1000;
	c->wait = wait;
	return 0;
}

const struct colo_verb colo_verbs[] = {
	{"start", "Begin to protect the guest (primary, pair).", run_request, COLO_REQUEST_START},
	{"stop", "End the session in order; the guest runs on unprotected.", run_request,
		COLO_REQUEST_STOP},
	{"checkpoint now", "Take a checkpoint without waiting for the interval.", run_request,
		COLO_REQUEST_CHECKPOINT},
	{"verify", "Compare all blocks of both ends after the next checkpoint.", run_request,
		COLO_REQUEST_VERIFY},
	{"failover", "Let the standby, or the guest here, take over (secondary).", run_request,
		COLO_REQUEST_FAILOVER},
	{"set interval MS", "From checkpoint to checkpoint, 0 to 3600000 ms.", run_set_interval, 0},
	{"set codec CODEC", "raw or zstd[:LEVEL], from the next epoch on.", run_set_codec, 0},
	{"show config", "The configuration in force.", run_show, SHOW_CONFIG},
	{"show port", "Ports: driver, link, queues, statistics.", run_show, SHOW_PORT},
	{"show channel", "Channels: lcore, queue, slots, counters.", run_show, SHOW_CHANNEL},
	{"show block", "Blocks: size and memory.", run_show, SHOW_BLOCK},
	{"show epoch", "State, counts and the last epoch.", run_show, SHOW_EPOCH},
	{"show stats", "Counters that are not 0, summed over channels.", run_show, SHOW_STATS},
	{"show stats all", "All counters.", run_show, SHOW_ALL},
	{"clear stats", "Let `show stats` count from here on.", run_clear_stats, 0},
	{"wait epochs N", "Take no line before N more checkpoints, within 60 s.", run_wait,
		COLO_WAIT_EPOCHS},
	{"wait epochs N SECONDS", "The same within SECONDS.", run_wait, COLO_WAIT_EPOCHS},
	{"wait state NAME", "Take no line before `show epoch` says NAME, within 60 s.", run_wait,
		COLO_WAIT_STATE},
	{"wait state NAME SECONDS", "The same within SECONDS.", run_wait, COLO_WAIT_STATE},
	{"wait seconds SECONDS", "Take no line for so long.", run_wait, COLO_WAIT_TIME},
	{"help", "This list.", run_help, 0},
	{"quit", "End everything in order.", run_quit, COLO_REQUEST_QUIT},
};

const unsigned int colo_n_verbs = RTE_DIM(colo_verbs);
