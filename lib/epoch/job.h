/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * Work on many 2 MiB pieces that all poll cores of an end do together: each claims the next piece
 * with one atomic add, does it, and looks at its queue again. Flush, undo, collect, digest and
 * pick are such jobs; the control core posts one at a time and sees when it is done.
 */
#ifndef COLO_EPOCH_JOB_H
#define COLO_EPOCH_JOB_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "block.h"
#include "counters.h"

struct colo_piece_ref {
	uint32_t piece;
	uint32_t block;
};

/** A list of pieces; room for every piece of every block, extra ones too, is allocated at start. */
struct colo_piece_list {
	struct colo_piece_ref *ref; /**< [n] */
	uint32_t n;
	uint32_t room;
};

/** @return 0 or -1 if out of memory. Main lcore, after all blocks are there. */
int colo_piece_list_init(struct colo_piece_list *l, const struct colo_blocks *b);
void colo_piece_list_fini(struct colo_piece_list *l);

/** Does one piece. Poll cores. @p counters are the calling core's. */
typedef void (*colo_piece_fn)(
	void *context, const struct colo_piece_ref *ref, struct colo_counters *counters);

struct colo_job {
	/* control core writes, poll cores read: */
	colo_piece_fn piece;
	void *context;
	struct colo_piece_list list;
	_Atomic uint32_t n;	 /**< pieces of the job: `list` changes while poll cores look */
	_Atomic uint32_t active; /**< number of the job in progress, 0: none */
	uint32_t last;		 /**< control core: number of the last job */
	/**
	 * Next piece to claim, every poll core adds; COLO_JOB_CLOSED or more while there is no job.
	 * Its store-release in colo_job_post() publishes the fields above.
	 */
	_Atomic uint32_t next __attribute__((aligned(64)));
	/** pieces done; add-release by poll cores pairs with the load-acquire in colo_job_done() */
	_Atomic uint32_t done __attribute__((aligned(64)));
};

#define COLO_JOB_CLOSED 0x80000000u /**< far above any list's length, far below wrapping */

void colo_job_init(struct colo_job *job);

/** Post the job over the pieces that are in @p job->list now. Control core; no job is active. */
void colo_job_post(struct colo_job *job, colo_piece_fn piece, void *context);

/** @return true once every piece is done; the job is over then. Control core. */
bool colo_job_done(struct colo_job *job);

/**
 * Nobody claims another piece; true once nobody is at one any more. Call until true.
 * Control core, for an abort.
 */
bool colo_job_cancel(struct colo_job *job);

/** Do one piece, if there is one. @return true if there was. Poll cores. */
bool colo_job_poll(struct colo_job *job, struct colo_counters *counters);

/** List every piece of every block. Control core. */
void colo_piece_list_all(struct colo_piece_list *l, const struct colo_blocks *b);

/** List the pieces of @p block that have a bit in @p summary (n words). Control core. */
void colo_piece_list_add(
	struct colo_piece_list *l, uint32_t block, const uint64_t *summary, uint32_t n_words);

#endif
