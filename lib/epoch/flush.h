/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * Recorded pages: flushed (cache -> guest memory) after a commit, or undone (guest memory -> cache)
 * after an abort. Both are jobs of all poll cores of the secondary.
 */
#ifndef COLO_EPOCH_FLUSH_H
#define COLO_EPOCH_FLUSH_H

#include <stdatomic.h>

#include "block.h"
#include "job.h"

struct colo_flush {
	struct colo_blocks *blocks;
	unsigned int n_channels;
	/**
	 * [COLO_MAX_BLOCKS] adapter's dirty logs; NULL: no guest runs on guest memory. Then a flush
	 * also takes back what that guest has changed.
	 */
	_Atomic uint64_t *const *log;
};

/**
 * List the pieces that any channel recorded, or all where there are dirty logs, and clear the
 * summaries. Control core, while no poll core places (the gate is closed).
 */
void colo_flush_collect(struct colo_flush *f, struct colo_piece_list *list);

/**
 * Forget what was recorded. Control core, as above.
 * @return true if there was anything: the cache is no longer what was committed last.
 */
bool colo_flush_forget(struct colo_flush *f);

/** Forget what the guest has changed. Control core, while that guest stands still. */
void colo_flush_forget_log(struct colo_flush *f);

/**
 * A piece of the job: copy cache -> guest the pages that were recorded or are in the dirty log, and
 * forget both. A guest that runs on guest memory stands still.
 */
void colo_flush_piece(
	void *context, const struct colo_piece_ref *ref, struct colo_counters *counters);

/** The other way round: the cache is again what the last committed epoch made it. */
void colo_undo_piece(
	void *context, const struct colo_piece_ref *ref, struct colo_counters *counters);

#endif
