/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * Compare whole blocks: both ends take the digest of every page of guest memory, by all their poll
 * cores, and the secondary compares the sums, block by block.
 */
#ifndef COLO_EPOCH_VERIFY_H
#define COLO_EPOCH_VERIFY_H

#include "block.h"
#include "job.h"

struct colo_verify {
	struct colo_blocks *blocks;
	_Atomic uint64_t sum[COLO_MAX_BLOCKS]; /**< every poll core adds, once a piece */
};

/** Begin anew. Control core, while no job is active. */
void colo_verify_reset(struct colo_verify *v);

/** A piece of the job. */
void colo_verify_piece(
	void *context, const struct colo_piece_ref *ref, struct colo_counters *counters);

#endif
