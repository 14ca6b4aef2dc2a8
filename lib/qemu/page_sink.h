/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * Where the pages of a COLO primary's streams go: the parsers (colo_stream.h, multifd.h) check and
 * decode, a sink owns the memory and knows which pages are still in use there.
 */
#ifndef COLO_QEMU_PAGE_SINK_H
#define COLO_QEMU_PAGE_SINK_H

#include <stdbool.h>
#include <stdint.h>

#include "bounds.h"
#include "colo_error.h"

#define COLO_STREAM_BLOCKS_MAX (COLO_MAX_BLOCKS - 1) /**< the device state's block is ours */

/** A block as the stream lists it, in the stream's order. */
struct colo_stream_block {
	char name[COLO_BLOCK_NAME_MAX + 1];
	uint64_t size; /**< used length in bytes, a multiple of 4096 */
};

/** Owned and filled by the main channel's parser, read-only once blocks() has returned. */
struct colo_stream_blocks {
	unsigned int n; /**< 0: not listed yet */
	struct colo_stream_block block[COLO_STREAM_BLOCKS_MAX];
};

/**
 * Called by a parser, on the thread that drives it; block numbers are indices of
 * colo_stream_blocks, pages are checked to be inside their block.
 */
struct colo_page_sink {
	void *owner; /**< handed to every call */
	/**
	 * All blocks are known now. Main channel only, once, before any page.
	 * @return 0, or -1 with @p err, which ends the stream.
	 */
	int (*blocks)(void *owner, const struct colo_stream_blocks *blocks, struct colo_error *err);
	/**
	 * Where the 4096 bytes of a page shall be put. They may be written until placed() is
	 * called, or until the stream is given up: then the page may be torn.
	 * @return NULL: not now; the parser reports "held" and asks again when it is next called.
	 */
	uint8_t *(*place)(void *owner, unsigned int block, uint32_t page);
	/** All bytes of a page are where place() said. */
	void (*placed)(void *owner, unsigned int block, uint32_t page);
	/** A page is all zeros. @return false: not now, as place() does. */
	bool (*zero)(void *owner, unsigned int block, uint32_t page);
};

/** @return the number of the block called @p name (@p length bytes, no NUL), or -1. */
int colo_stream_blocks_find(const struct colo_stream_blocks *b, const void *name, size_t length);

#endif
