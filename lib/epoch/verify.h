/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * Compare whole blocks: both ends take the digest of every page of guest memory, by all their poll
 * cores, and the secondary compares the sums, block by block. In a pair both memories are at hand:
 * there nothing less than every byte will do.
 */
#ifndef COLO_EPOCH_VERIFY_H
#define COLO_EPOCH_VERIFY_H

#include "block.h"
#include "job.h"

struct colo_verify {
	struct colo_blocks *blocks;
	/** secondary: digest the cache, since a guest runs on guest memory and changes it */
	bool of_cache;
	/** pair: the other end's blocks, compared byte for byte as well; else NULL */
	const struct colo_blocks *peer;
	_Atomic uint64_t sum[COLO_MAX_BLOCKS];	  /**< every poll core adds, once a piece */
	_Atomic uint64_t differ[COLO_MAX_BLOCKS]; /**< pages whose bytes are not the peer's */
};

/** Begin anew. Control core, while no job is active. */
void colo_verify_reset(struct colo_verify *v);

/** A piece of the job. */
void colo_verify_piece(
	void *context, const struct colo_piece_ref *ref, struct colo_counters *counters);

#endif
