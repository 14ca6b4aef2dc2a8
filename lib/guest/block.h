/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * Blocks: QEMU's RAMBlocks, as either end keeps them.
 *
 * | memory | primary                              | secondary                    |
 * |--------|--------------------------------------|------------------------------|
 * | guest  | what a source sends from             | what a guest runs, or will   |
 * | cache  | -                                    | the COLO cache               |
 */
#ifndef COLO_GUEST_BLOCK_H
#define COLO_GUEST_BLOCK_H

#include "dirty.h"
#include "colo_error.h"
#include "bounds.h"
#include "guest_memory.h"

struct colo_block {
	char name[COLO_BLOCK_NAME_MAX + 1];
	uint64_t size; /**< used length in bytes, a multiple of 4096 */
	uint32_t n_pages;
	uint32_t n_pieces;
	bool extra; /**< secondary: made for a session, by its primary's list (extra.h) */
	struct colo_memory guest;
	struct colo_memory cache; /**< secondary */
	/**
	 * [n_pieces] secondary: 1 once any page of the piece was placed. Bytes, so that poll cores
	 * may set them without an atomic: all write the same value. A piece with 0 is all zeros in
	 * cache and guest memory, and a zero record for it costs nothing.
	 */
	uint8_t *touched;
	/** secondary: pages placed in this epoch; [c] is written by channel c's poll core only */
	struct colo_dirty recorded[COLO_MAX_CHANNELS];
	/**
	 * primary: pages to be sent in this epoch. Written by the source's thread or by the poll
	 * cores that collect (whole pieces each), read and cleared by the poll cores that pick.
	 */
	struct colo_dirty todo;
	/**
	 * primary: pages sent in the open checkpoint, kept until it is known to be committed; a
	 * session that resumes sends them again. Control core's.
	 */
	struct colo_dirty doubt;
};

/** Secondary: what a session may add to the blocks. Set by the main lcore at start. */
struct colo_extra_rules {
	/** neither number nor order may change: others know the blocks by their index */
	bool fixed;
	uint64_t max; /**< bytes of all extra blocks together; 0: none */
	unsigned int n_channels;
	int numa_node; /**< as for colo_blocks_add_secondary() */
};

/**
 * All blocks of one end, made at start; but for extra ones, made between two sessions. They outlive
 * every channel (invariant 8).
 */
struct colo_blocks {
	unsigned int n;
	struct colo_extra_rules rules;
	uint32_t changes; /**< +1 when a session made other blocks; for views */
	struct colo_block block[COLO_MAX_BLOCKS];
};

/** As an option or a hello describes a block. */
struct colo_block_spec {
	char name[COLO_BLOCK_NAME_MAX + 1];
	uint64_t size;
	char guest_path[PATH_MAX]; /**< empty: unnamed memory */
	char cache_path[PATH_MAX];
};

/** May a block have this name and this size? @return 0 or -1 with @p err. Any thread. */
int colo_block_check(const char *name, uint64_t size, struct colo_error *err);

/** Add a block to the primary's: guest memory and `todo`. @return 0 or -1 with @p err. */
int colo_blocks_add_primary(
	struct colo_blocks *b, const struct colo_block_spec *spec, struct colo_error *err);

/** Add a block to the secondary's: guest memory, cache (on @p numa_node), one bitmap a channel. */
int colo_blocks_add_secondary(struct colo_blocks *b, const struct colo_block_spec *spec,
	unsigned int n_channels, int numa_node, struct colo_error *err);

/** @return the block's index, or -1. */
int colo_blocks_find(const struct colo_blocks *b, const char *name);

/** A new session: cache and guest memory become zeros, bitmaps and `touched` empty. */
int colo_blocks_reset(struct colo_blocks *b, struct colo_error *err);

/** Free one block, the last ones move up. */
void colo_blocks_remove(struct colo_blocks *b, unsigned int index);

/** Free everything; files made by us are removed, guest memory's kept if @p keep_guest. */
void colo_blocks_free(struct colo_blocks *b, bool keep_guest);

static inline uint8_t *
colo_page_addr(const struct colo_memory *m, uint32_t page)
{
	return m->addr + ((uint64_t)page << COLO_PAGE_SHIFT);
}

#endif
