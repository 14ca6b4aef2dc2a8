/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * What a source at the primary does: it knows which pages changed, brackets an epoch by pausing
 * and resuming its guest, and keeps what is in a block's guest memory (or staging) still until the
 * epoch is committed.
 *
 * An epoch from a source's side, all requested by the control core:
 *
 *     ROUND (precopy, guest runs) or PAUSE (checkpoint, guest stands still)
 *       BUSY ... [COLLECT: poll cores call collect_piece() for every piece] ... DONE
 *     pages in `todo` are sent, picked and cleared by the poll cores
 *     RESUME   BUSY ... DONE     (staged sources: before the pages are sent; else: committed)
 *
 * A source that feeds (its guest streams to us) hands pages to the senders one by one while ROUND
 * or PAUSE is BUSY (feed.h), and leaves `todo` to itself. Its guest calls: it says called() when
 * one asks to be protected, and due() when it wants a checkpoint.
 *
 * RELEASE ends a session of such a source, in order or not: its guest runs, unprotected, and QEMU
 * is told that the secondary is lost. Of the others RESUME is asked.
 *
 * A source may block, so it works on a thread of its own; request() and poll() never block.
 */
#ifndef COLO_SOURCE_SOURCE_H
#define COLO_SOURCE_SOURCE_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "block.h"
#include "colo_error.h"
#include "feed.h"

enum colo_source_request {
	COLO_SOURCE_ROUND = 1, /**< make known what changed since the last; the guest runs on */
	COLO_SOURCE_PAUSE,     /**< stop the guest, make changes and device state known */
	COLO_SOURCE_RESUME,    /**< let the guest run; the epoch is committed, unless staged */
	COLO_SOURCE_RELEASE,   /**< session over: the guest runs unprotected; if it feeds */
};

enum colo_source_status {
	COLO_SOURCE_DONE = 0, /**< last request is carried out (also: nothing was requested) */
	COLO_SOURCE_BUSY,     /**< not yet */
	/**
	 * Not yet, but what the guest's memory holds may be collected from now on. The request is
	 * done when status() is DONE *and* the collection is; either may be first.
	 */
	COLO_SOURCE_COLLECT,
	COLO_SOURCE_FAILED, /**< request could not be carried out, guest is reachable; see error */
	COLO_SOURCE_GONE,   /**< guest is gone (QEMU died); see error */
};

struct colo_source;

struct colo_source_ops {
	const char *name; /**< as in --source NAME,... */
	/** Staged: what is sent is a copy, the guest may resume as soon as it is collected. */
	bool staged;
	/** What is sent is a copy, and stays as it is until the next request, RESUME not counted.
	 */
	bool copies;
	/** Pages go through `feed`; collect_piece is NULL, called() and due() are not. */
	bool feeds;
	/**
	 * Check @p args (what follows "NAME,", rte_kvargs), add blocks where there are none yet,
	 * connect, start the thread. Main lcore; may block for a bounded time.
	 */
	int (*start)(struct colo_source *s, const char *args, struct colo_error *err);
	/**
	 * Control core; never blocks. One request at a time, but RESUME and RELEASE may overtake
	 * one that is not done: that ends as soon as it can, and only the last one's outcome is
	 * reported.
	 */
	void (*request)(struct colo_source *s, enum colo_source_request request);
	/** Control core; never blocks. */
	enum colo_source_status (*poll)(struct colo_source *s);
	/**
	 * Poll cores, each piece exactly once between COLLECT and the end of the request: compare
	 * the guest with the staging copy, update it, set `todo`. NULL: the source sets `todo`
	 * alone. No lock, allocation, system call or log line.
	 */
	void (*collect_piece)(struct colo_source *s, unsigned int block, uint32_t piece);
	/** Control core, while no session is on; never blocks: a guest waits to be protected. */
	bool (*called)(struct colo_source *s);
	/** Control core, between checkpoints; never blocks: the guest asks for the next one. */
	bool (*due)(struct colo_source *s);
	/**
	 * Main lcore, at the end or when start() failed half-way. Must leave the guest running.
	 * Bounded time. Safe to call twice.
	 */
	void (*stop)(struct colo_source *s);
};

struct colo_source {
	const struct colo_source_ops *ops;
	struct colo_blocks *blocks; /**< primary's; the device state's block is always the last */
	/** blocks given by --block; the source may need them or make its own */
	const struct colo_block_spec *specs;
	unsigned int n_specs;
	uint64_t device_block_size; /**< the source adds that block last, after all others */
	int guardian;		    /**< handle of colo_guardian_start(), <= 0: none; qmp only */
	int keeper;		    /**< handle of colo_keeper_start(), <= 0: none; colo only */
	/** not NULL: start() gives up its wait for the guest once it is not 0; colo only */
	const volatile sig_atomic_t *interrupt;
	struct colo_feed *feed; /**< of a source that feeds; valid from the first request on */
	/**
	 * A source that feeds: precopy is over, what comes next is a checkpoint (the first one has
	 * precopy's device state). Set before the DONE of the last ROUND, false in one before.
	 */
	bool precopy_over;
	struct colo_error error; /**< valid when poll() says FAILED or GONE */
	/** Valid when poll() says FAILED: the guest is known to be gone; the next may call. */
	bool guest_gone;
	/**
	 * Time-stamp counter when the guest last stood still; cleared by the control core before it
	 * requests PAUSE, set by the source just before it stops the guest. What the guest still
	 * did between request and stop is no part of its pause.
	 */
	_Atomic uint64_t paused_tsc;
	void *state; /**< the source's own */
};

extern const struct colo_source_ops colo_source_synthetic;
extern const struct colo_source_ops colo_source_qmp;
extern const struct colo_source_ops colo_source_colo;

/** @return the source that @p spec ("NAME[,args]") names and its args, or NULL with @p err. */
const struct colo_source_ops *colo_source_find(
	const char *spec, const char **args, struct colo_error *err);

#endif
