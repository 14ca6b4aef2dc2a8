/* SPDX-License-Identifier: BSD-3-Clause */
/** @file What a poll core runs: the channels it has, and pieces of its ends' jobs. */
#ifndef COLO_APP_POLL_CORE_H
#define COLO_APP_POLL_CORE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "idle.h"
#include "job.h"
#include "receive.h"
#include "send.h"

/** Filled by the main lcore before launch; read-only, but for idler, afterwards. */
struct colo_poll_core {
	unsigned int lcore;
	unsigned int n_senders, n_receivers;
	struct colo_sender *sender[COLO_MAX_CHANNELS];
	struct colo_receiver *receiver[COLO_MAX_CHANNELS];
	struct colo_job *send_job, *receive_job; /**< NULL: that end is not in this process */
	struct colo_idler idler;
	_Atomic bool *stop;
	struct colo_counters counters; /**< of jobs, where the core has no receiver */
};

/** lcore_function_t: until *stop. @p arg is a struct colo_poll_core. */
int colo_poll_run(void *arg);

#endif
