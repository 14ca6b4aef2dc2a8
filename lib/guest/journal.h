/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * What a secondary that was killed leaves for the next one to know: which checkpoint guest memory
 * holds, and whether its flush was under way. One page in a named file, beside the named files of
 * guest memory and cache.
 *
 * While a flush is under way the cache is exactly the committed checkpoint (no other epoch is open
 * then), so copying the whole cache finishes it. At every other moment guest memory itself is.
 * A checkpoint that was being received is in the cache only: --recover makes the cache what guest
 * memory is, so that a session may resume from there.
 *
 * (It outlives the process, not the host: the files may well be in memory.)
 */
#ifndef COLO_GUEST_JOURNAL_H
#define COLO_GUEST_JOURNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "block.h"
#include "colo_error.h"

#define COLO_JOURNAL_MAGIC   0x434f4c4f4a524e31ull /* "COLOJRN1" */
#define COLO_JOURNAL_VERSION 2u
#define COLO_JOURNAL_SIZE    4096u /**< bytes */

/** The file's contents, host byte order: it is read on the host that wrote it. */
struct colo_journal_page {
	uint64_t magic;
	uint32_t version;
	uint32_t n_blocks;
	uint64_t blocks_digest; /**< over names and sizes, in order */
	uint32_t crc;		/**< CRC-32 of what is above */
	uint32_t unused;
	/** the primary's run that the checkpoint is of; written while `commit` is 0 */
	_Atomic uint64_t instance;
	_Atomic uint64_t commit; /**< committed checkpoint << 1 | flush under way; 0: none */
};

/** Owner: main lcore at start and at the end, control core in between. */
struct colo_journal {
	struct colo_memory memory;
	struct colo_journal_page *page; /**< NULL: there is no journal, all calls do nothing */
};

/**
 * Open or create the journal at @p path for @p blocks, which are in named files.
 * @p recover: an existing one must fit the blocks, and a flush that was cut short is finished here
 * (main lcore; takes as long as copying the blocks). Without it one that names a checkpoint is
 * refused: an orderly end leaves none.
 * @return 0, or -1 with @p err.
 */
int colo_journal_open(struct colo_journal *j, const char *path, struct colo_blocks *blocks,
	bool recover, struct colo_error *err);

/** Checkpoint that guest memory holds, 0: none. */
uint32_t colo_journal_committed(const struct colo_journal *j);

/** The run of a primary that the checkpoint is of, 0: none. */
uint64_t colo_journal_instance(const struct colo_journal *j);

/**
 * Guest memory is about to become something that is no checkpoint: a session of the primary's run
 * @p instance begins with a full copy.
 */
void colo_journal_forget(struct colo_journal *j, uint64_t instance);

/** @p epoch is whole in the cache; its flush begins. Before the primary is told of the commit. */
void colo_journal_commit(struct colo_journal *j, uint32_t epoch);

/** The flush is done: guest memory holds the checkpoint. */
void colo_journal_flushed(struct colo_journal *j);

/** Close; an orderly end removes the file, unless @p keep. Safe to call twice. */
void colo_journal_close(struct colo_journal *j, bool keep);

#endif
