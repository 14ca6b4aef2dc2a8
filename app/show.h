/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * What the prompt's `show` prints. Main lcore; reads the control core's views, changes nothing.
 */
#ifndef COLO_APP_SHOW_H
#define COLO_APP_SHOW_H

#include <stdbool.h>
#include <stdio.h>

#include "control.h"

/** Every ethdev port: driver, link, queues, statistics. */
void colo_show_ports(FILE *f);

/** Every channel, both ends as far as they are here. */
void colo_show_channels(const struct colo_control *control, unsigned int n_channels, FILE *f);

/** Blocks of each role that is here. */
void colo_show_blocks(const struct colo_control *control, FILE *f);

/** Where each role that is here stands, and its last epoch. */
void colo_show_epoch(const struct colo_control *control, FILE *f);

/** All counters of the program. */
struct colo_stats {
	struct colo_counters channels[2]; /**< added up: [0] sending ends, [1] receiving ends */
	bool has_callers;
	struct colo_session_counters callers; /**< of the secondary, if it is here */
};

void colo_stats_read(
	const struct colo_control *control, unsigned int n_channels, struct colo_stats *stats);

/**
 * Counters, less @p base (what they were at the last `clear stats`); those that are 0 only with
 * @p all.
 */
void colo_show_stats(const struct colo_control *control, unsigned int n_channels,
	const struct colo_stats *base, bool all, FILE *f);

/** "send", "receive": ends of a channel, by `receive`. */
extern const char *const colo_end_name[2];

/** "raw", or "zstd:LEVEL". @return @p text. */
const char *colo_codec_name(enum colo_codec codec, int level, char *text, size_t size);

#endif
