/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * What a polling core does when a turn found no work. The only place where a poll core may make a
 * system call, and only with --idle adaptive, which is for cores that are not dedicated.
 */
#ifndef COLO_CHANNEL_IDLE_H
#define COLO_CHANNEL_IDLE_H

#include <stdbool.h>
#include <stdint.h>

/** One per core, owned by it. */
struct colo_idler {
	bool adaptive;	/**< else spin */
	uint32_t turns; /**< without work, in a row */
};

/** Call at the end of each turn. */
void colo_idle(struct colo_idler *idler, bool worked);

/**
 * Call after a piece of a job: where cores are shared, the control core may be waiting for this
 * one to tell the peer of a commit, while the job behind it can wait.
 */
void colo_idle_share(struct colo_idler *idler);

#endif
