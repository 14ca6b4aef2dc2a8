/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * Feed: pages that a source hands to the senders one by one, while the epoch is on, one ring a
 * channel. (The other way is `todo`, where a source makes known at once what changed.)
 *
 * An epoch's pages may be put from when the source was asked for it until it says DONE; then the
 * control core closes the feed for that epoch, and a sender that finds it closed and its ring
 * empty has sent everything. One thread puts, poll core c takes from ring c.
 */
#ifndef COLO_CHANNEL_FEED_H
#define COLO_CHANNEL_FEED_H

#include <stdatomic.h>
#include <stdint.h>

#include <rte_ring_elem.h>

#include "bounds.h"
#include "colo_error.h"

#define COLO_FEED_RING 32768u /**< pages that may wait for a channel: 128 MiB of them */

/**
 * A page whose bytes are in its block, and stay as they are until the epoch is committed. Aligned:
 * rte_ring copies an element of 8 bytes as one word.
 */
struct colo_feed_page {
	uint32_t page;
	uint16_t block;
	uint16_t zero; /**< 1: all zeros, known without a look at it; else 0 */
} __attribute__((aligned(8)));

struct colo_feed {
	unsigned int n_channels;
	struct rte_ring *ring[COLO_MAX_CHANNELS];
	/**
	 * The epoch whose pages have all been put. Control core, store-release after the source's
	 * DONE; pairs with the load-acquire in colo_feed_is_closed().
	 */
	_Atomic uint32_t closed;
};

/** Main lcore, at start. @return 0 or -1 with @p err. */
int colo_feed_init(struct colo_feed *f, unsigned int n_channels, struct colo_error *err);
void colo_feed_fini(struct colo_feed *f);

/** A session begins: forget what the one before left. Control core; nobody puts or takes. */
void colo_feed_reset(struct colo_feed *f);

/** The source's thread. @return how many of @p n the channel's ring had room for, in order. */
static inline unsigned int
colo_feed_put(struct colo_feed *f, unsigned int channel, const struct colo_feed_page *pages,
	unsigned int n)
{
	return rte_ring_sp_enqueue_burst_elem(f->ring[channel], pages, sizeof(*pages), n, NULL);
}

/** Poll core of @p channel. @return how many pages were taken, up to @p n. */
static inline unsigned int
colo_feed_take(
	struct colo_feed *f, unsigned int channel, struct colo_feed_page *pages, unsigned int n)
{
	return rte_ring_sc_dequeue_burst_elem(f->ring[channel], pages, sizeof(*pages), n, NULL);
}

/** Poll cores: has the last page of @p epoch been put? Ask before the ring is found empty. */
static inline bool
colo_feed_is_closed(const struct colo_feed *f, uint32_t epoch)
{
	return atomic_load_explicit(&f->closed, memory_order_acquire) == epoch;
}

/** Control core. */
static inline void
colo_feed_close(struct colo_feed *f, uint32_t epoch)
{
	atomic_store_explicit(&f->closed, epoch, memory_order_release);
}

#endif
