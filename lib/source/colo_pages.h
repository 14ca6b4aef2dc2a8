/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * Staging of source `colo`: where QEMU's pages are put (guest memory of the primary's blocks),
 * which of them this epoch has already, and how they are handed to the senders.
 *
 * Nothing here makes a system call. One thread, the source's.
 */
#ifndef COLO_SOURCE_COLO_PAGES_H
#define COLO_SOURCE_COLO_PAGES_H

#include "block.h"
#include "feed.h"

#define COLO_PAGES_BATCH 128u /**< pages that are put into a ring at once */
/**
 * Pages that may wait in all rings together, 32 MiB: they are still to be sent when the guest stops
 * for precopy's end, and QEMU does not know of them.
 */
#define COLO_PAGES_AHEAD 8192u
/** Every connection may have a packet of 128 places that was granted before the ring was full. */
#define COLO_PAGES_ROOM ((COLO_MAX_CHANNELS + 2) * COLO_PAGES_BATCH)

/** Why a page cannot be placed now. */
enum colo_pages_refusal {
	COLO_PAGES_CLOSED = 1, /**< no epoch is open */
	COLO_PAGES_TWICE,      /**< this epoch has the page: it stays as it is until committed */
	COLO_PAGES_FULL,       /**< the channel's ring is full */
};

/** Pages that are on their way to one channel's ring. */
struct colo_pages_batch {
	unsigned int n;
	struct colo_feed_page page[COLO_PAGES_ROOM] __attribute__((aligned(16)));
};

struct colo_pages {
	struct colo_blocks *blocks; /**< `todo`: pages that are fed in this epoch */
	struct colo_feed *feed;
	bool open;	   /**< an epoch takes pages */
	unsigned int most; /**< pages that may wait in one ring */
	uint64_t fed;	   /**< pages of this epoch */
	/** page of the device state's block that is looked at next; its n_pages: all are fed */
	uint32_t device_at;
	/** pages that may hold something else than zeros; of each block */
	struct colo_dirty used[COLO_MAX_BLOCKS];
	struct colo_pages_batch batch[COLO_MAX_CHANNELS];
};

/**
 * All @p blocks are made. @p fresh: their memory is zeros, but that of files which were there.
 * @return 0, or -1 with @p err; then colo_pages_fini() is still to be called.
 */
int colo_pages_init(
	struct colo_pages *p, struct colo_blocks *blocks, bool fresh, struct colo_error *err);
void colo_pages_fini(struct colo_pages *p);

/** Make staging zeros again, page by page. @return false: @p *quit was set meanwhile. */
bool colo_pages_forget(struct colo_pages *p, const _Atomic bool *quit);

/** A new epoch: no page is fed yet; from now on pages may be placed. */
void colo_pages_begin(struct colo_pages *p, struct colo_feed *feed);

/** No more pages are taken; what was not handed over yet never is. */
void colo_pages_end(struct colo_pages *p);

/** @return where a page goes, or NULL with @p why. @p channel: that will send it. */
uint8_t *colo_pages_place(struct colo_pages *p, unsigned int channel, unsigned int block,
	uint32_t page, enum colo_pages_refusal *why);

/** A page is whole. @return false: this epoch has it already, so it is torn. */
bool colo_pages_placed(
	struct colo_pages *p, unsigned int channel, unsigned int block, uint32_t page);

/** A page is zeros. @return false with @p why, as colo_pages_place() does. */
bool colo_pages_zero(struct colo_pages *p, unsigned int channel, unsigned int block, uint32_t page,
	enum colo_pages_refusal *why);

/**
 * The last block's `todo` has what changed in the device state: that is fed by colo_pages_put().
 */
void colo_pages_feed_device(struct colo_pages *p);

/** Hand over all that waits, as far as rings have room. @return true: nothing waits any more. */
bool colo_pages_put(struct colo_pages *p);

#endif
