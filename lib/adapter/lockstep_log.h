/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * The dirty log: which pages the guest at the secondary has changed since it was rolled back last.
 * A file that we make and the guest's hypervisor maps; docs/lockstep.md is its specification.
 *
 * Page p of a block is bit p % 64 of word p / 64 of the block's bitmap. The hypervisor sets bits by
 * atomic or, each before the page is written, so that a page which was changed is in the log
 * whatever dies when. We take words by atomic exchange while the guest stands still.
 */
#ifndef COLO_ADAPTER_LOCKSTEP_LOG_H
#define COLO_ADAPTER_LOCKSTEP_LOG_H

#include <limits.h>
#include <stdatomic.h>
#include <stdint.h>

#include "block.h"
#include "colo_error.h"

#define COLO_LOCKSTEP_LOG_MAGIC	  0x434f4c4f444c4f47ull /* "COLODLOG" */
#define COLO_LOCKSTEP_LOG_VERSION 1u
#define COLO_LOCKSTEP_LOG_ALIGN	  4096u /**< bytes: of the header, and of each bitmap's offset */

/** One block. Host byte order, as everything here: the file is used on one host. */
struct colo_lockstep_log_block {
	char name[COLO_BLOCK_NAME_MAX + 1]; /**< NUL-terminated */
	uint64_t size;			    /**< bytes of the block */
	uint64_t offset;		    /**< of its bitmap in the file */
	uint64_t length;		    /**< bytes of its bitmap, a multiple of 64 */
};

/** The file's first COLO_LOCKSTEP_LOG_ALIGN bytes; what follows the blocks is zero. */
struct colo_lockstep_log_header {
	uint64_t magic;
	uint32_t version;
	uint32_t n_blocks;
	uint64_t length; /**< bytes of the file */
	struct colo_lockstep_log_block block[COLO_MAX_BLOCKS - 1];
};

/** Owner: main lcore at start and at the end; the bitmaps are the poll cores' in between. */
struct colo_lockstep_log {
	struct colo_lockstep_log_header *header; /**< the mapping; NULL: none */
	uint64_t length;
	char path[PATH_MAX]; /**< absolute */
};

/**
 * Make the file at @p path (0600) for the first @p n_blocks of @p blocks, and map it. One that an
 * earlier run left there is replaced; anything else is refused. @p words gets each bitmap.
 * @return 0, or -1 with @p err. Main lcore.
 */
int colo_lockstep_log_open(struct colo_lockstep_log *log, const char *path,
	const struct colo_blocks *blocks, unsigned int n_blocks, _Atomic uint64_t **words,
	struct colo_error *err);

/** Unmap and remove. Safe to call twice. */
void colo_lockstep_log_close(struct colo_lockstep_log *log);

#endif
