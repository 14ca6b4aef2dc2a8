/* SPDX-License-Identifier: BSD-3-Clause */
/* What a stream's pages and block list mean to source `colo`. */
#include <string.h>

#include "colo_source.h"

/* One multifd channel feeds one channel; a main channel has all of them, by pieces. */
static unsigned int
feed_channel(const struct colo_caller *c, uint32_t page)
{
	const struct colo_feed *feed = c->owner->pages.feed;
	uint32_t which = c->multifd != NULL ? c->multifd->id : page / COLO_PIECE_PAGES;

	return feed != NULL ? which % feed->n_channels : 0;
}

static uint8_t *
place(void *owner, unsigned int block, uint32_t page)
{
	struct colo_caller *c = owner;

	c->owner->plain |= c->multifd == NULL;
	return colo_pages_place(&c->owner->pages, feed_channel(c, page), block, page, &c->refused);
}

static void
placed(void *owner, unsigned int block, uint32_t page)
{
	struct colo_caller *c = owner;

	if (!colo_pages_placed(&c->owner->pages, feed_channel(c, page), block, page))
		c->twice = true;
}

static bool
zero(void *owner, unsigned int block, uint32_t page)
{
	struct colo_caller *c = owner;

	return colo_pages_zero(&c->owner->pages, feed_channel(c, page), block, page, &c->refused);
}

static bool
same_list(const struct colo_stream_blocks *a, const struct colo_stream_blocks *b)
{
	for (unsigned int i = 0; i < a->n && a->n == b->n; i++)
		if (strcmp(a->block[i].name, b->block[i].name) != 0 ||
			a->block[i].size != b->block[i].size)
			return false;
	return a->n == b->n;
}

/* The first list is what our blocks are made from; then it stays. */
static int
blocks(void *owner, const struct colo_stream_blocks *list, struct colo_error *err)
{
	struct stream_source *q = ((struct colo_caller *)owner)->owner;

	if (!atomic_load_explicit(&q->listed, memory_order_relaxed)) {
		q->list = *list;
		atomic_store_explicit(&q->listed, true, memory_order_release);
	} else if (!same_list(&q->list, list)) {
		return colo_error_set(err,
			"this guest's RAM blocks are not those that dpdk-colo began with: restart "
			"dpdk-colo to protect it");
	}
	q->state = COLO_STREAM_STATE_LISTED;
	return 0;
}

const struct colo_page_sink colo_stream_sink = {
	.blocks = blocks, .place = place, .placed = placed, .zero = zero};
