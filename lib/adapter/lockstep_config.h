/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * What --adapter lockstep,... says, checked.
 */
#ifndef COLO_ADAPTER_LOCKSTEP_CONFIG_H
#define COLO_ADAPTER_LOCKSTEP_CONFIG_H

#include <limits.h>
#include <stdint.h>

#include "colo_error.h"
#include "wait.h"

#define COLO_LOCKSTEP_ANSWER_MIN_MS 20u
#define COLO_LOCKSTEP_ANSWER_MAX_MS 5000u
#define COLO_LOCKSTEP_ANSWER_MS	    1000u /**< default */

/** Written by the parser, read-only afterwards. */
struct colo_lockstep_config {
	char control[COLO_UNIX_PATH_MAX + 1]; /**< control=unix:PATH, where we listen */
	char dirty_log[PATH_MAX];	      /**< dirty-log=FILE, which we make */
	uint32_t answer_ms;		      /**< answer=MS: the hypervisor's time for a step */
};

/** Fill @p c from @p args ("key=value,..."). @return 0 or -1 with @p err. Any thread. */
int colo_lockstep_config_parse(
	struct colo_lockstep_config *c, const char *args, struct colo_error *err);

#endif
