/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * Recorded pages: flushed (cache -> guest memory) after a commit, or undone (guest memory -> cache)
 * after an abort. Both are jobs of all poll cores of the secondary.
 */
#ifndef COLO_EPOCH_FLUSH_H
#define COLO_EPOCH_FLUSH_H

#include "block.h"
#include "job.h"

struct colo_flush {
	struct colo_blocks *blocks;
	unsigned int n_channels;
};

/**
 * List the pieces that any channel recorded and clear the summaries. Control core, while no poll
 * core places (the gate is closed).
 */
void colo_flush_collect(struct colo_flush *f, struct colo_piece_list *list);

/** A piece of the job: copy the recorded pages cache -> guest, forget that they were recorded. */
void colo_flush_piece(
	void *context, const struct colo_piece_ref *ref, struct colo_counters *counters);

/** The other way round: the cache is again what the last committed epoch made it. */
void colo_undo_piece(
	void *context, const struct colo_piece_ref *ref, struct colo_counters *counters);

#endif
