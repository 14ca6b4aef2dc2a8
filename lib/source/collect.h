/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * How a staged source finds what changed: it compares the guest's memory with its own copy, piece
 * by piece, and brings the copy up to date. The copy is what is sent.
 *
 * The guest may write while it is read. A page caught in the middle of a write is copied torn; the
 * copy then differs from what the page becomes, so the next collection finds it again.
 */
#ifndef COLO_SOURCE_COLLECT_H
#define COLO_SOURCE_COLLECT_H

#include <stdint.h>

#include "block.h"
#include "colo_error.h"

/** A guest's memory and our copy of it. Made by the source at start. */
struct colo_collect {
	const uint8_t *guest;	  /**< the guest's memory, read-only mapping of fd */
	uint64_t size;		  /**< bytes, the block's */
	int fd;			  /**< the guest's memory file, borrowed */
	struct colo_block *block; /**< its guest memory is our copy, `todo` takes what changed */
	/** [n_pieces] the file has data there; written by the source's thread before COLLECT */
	uint8_t *has_data;
	uint8_t *mapped; /**< [n_pieces] page tables are filled; the source's thread only */
	/**
	 * [n_pieces] the copy may hold something else than zeros; written by the poll core that
	 * collects the piece
	 */
	uint8_t *touched;
};

/**
 * @param copy_is_new  the block's memory has never been written
 * @return 0, or -1 with @p err. Main lcore.
 */
int colo_collect_init(struct colo_collect *c, struct colo_block *block, const uint8_t *guest,
	int fd, bool copy_is_new, struct colo_error *err);
void colo_collect_fini(struct colo_collect *c);

/**
 * Find out which pieces of the file have data (where its file system cannot tell: all), and map
 * those in, so that poll cores meet no page faults there. The source's thread.
 * @return 0, or -1 with @p err if memory of the file cannot be read (its file system is full, or it
 *         was cut): reading on would end in a SIGBUS.
 */
int colo_collect_look(struct colo_collect *c, struct colo_error *err);

/** Collect one piece. Poll core; each piece by one of them only. */
void colo_collect_piece(struct colo_collect *c, uint32_t piece);

#endif
