/* SPDX-License-Identifier: BSD-3-Clause */
/* QEMU's pages: placed in staging once, then fed to the channel that sends them. */
#include <assert.h>
#include <string.h>

#include <rte_common.h>

#include "colo_pages.h"

int
colo_pages_init(
	struct colo_pages *p, struct colo_blocks *blocks, bool fresh, struct colo_error *err)
{
	p->blocks = blocks;
	for (unsigned int i = 0; i < blocks->n; i++) {
		const struct colo_block *b = &blocks->block[i];

		if (colo_dirty_init(&p->used[i], b->n_pages) != 0)
			return colo_error_set(err, "no memory for the bitmap of block %s", b->name);
		if (!fresh || (b->guest.path[0] != '\0' && !b->guest.created))
			colo_dirty_set_range(&p->used[i], 0, b->n_pages);
	}
	return 0;
}

void
colo_pages_fini(struct colo_pages *p)
{
	for (unsigned int i = 0; i < COLO_MAX_BLOCKS; i++)
		colo_dirty_fini(&p->used[i]);
}

static void
set_unused(struct colo_dirty *used, uint32_t page)
{
	used->words[page >> 6] &= ~(1ull << (page & 63));
}

static void
forget_piece(struct colo_pages *p, unsigned int block, uint32_t piece)
{
	const struct colo_memory *memory = &p->blocks->block[block].guest;
	const uint64_t *words = colo_dirty_piece(&p->used[block], piece);

	for (unsigned int w = 0; w < COLO_PIECE_WORDS; w++)
		for (uint64_t left = words[w]; left != 0; left &= left - 1)
			memset(colo_page_addr(memory, piece * COLO_PIECE_PAGES + w * 64 +
							      (uint32_t)__builtin_ctzll(left)),
				0, COLO_PAGE_SIZE);
	colo_dirty_clear_piece(&p->used[block], piece);
}

/*
 * Written, not given back to the host: a NIC may have the memory mapped, and would go on reading
 * the pages that were there before.
 */
bool
colo_pages_forget(struct colo_pages *p, const _Atomic bool *quit)
{
	for (unsigned int i = 0; i < p->blocks->n; i++) {
		struct colo_dirty *used = &p->used[i];

		for (uint32_t piece = 0; piece < used->n_pieces; piece++) {
			if (!(used->summary[piece >> 6] >> (piece & 63) & 1))
				continue;
			if (atomic_load_explicit(quit, memory_order_relaxed))
				return false;
			forget_piece(p, i, piece);
		}
		colo_dirty_clear(used);
	}
	return true;
}

void
colo_pages_end(struct colo_pages *p)
{
	for (unsigned int c = 0; c < COLO_MAX_CHANNELS; c++)
		p->batch[c].n = 0;
	p->feed = NULL;
	p->open = false;
}

void
colo_pages_begin(struct colo_pages *p, struct colo_feed *feed)
{
	colo_pages_end(p);
	for (unsigned int i = 0; i < p->blocks->n; i++)
		colo_dirty_clear(&p->blocks->block[i].todo);
	p->device_at = p->blocks->block[p->blocks->n - 1].n_pages;
	p->feed = feed;
	p->most = COLO_PAGES_AHEAD / feed->n_channels;
	p->fed = 0;
	p->open = true;
}

/* @return true if nothing waits for the channel any more. */
static bool
put(struct colo_pages *p, unsigned int channel)
{
	struct colo_pages_batch *b = &p->batch[channel];
	unsigned int waiting, n;

	if (b->n == 0)
		return true;
	waiting = rte_ring_count(p->feed->ring[channel]);
	if (waiting >= p->most)
		return false;
	n = RTE_MIN(b->n, p->most - waiting);
	n = colo_feed_put(p->feed, channel, b->page, n);
	b->n -= n;
	if (b->n > 0 && n > 0)
		memmove(b->page, b->page + n, b->n * sizeof(b->page[0]));
	return b->n == 0;
}

static bool
has_room(struct colo_pages *p, unsigned int channel, enum colo_pages_refusal *why)
{
	if (p->batch[channel].n < COLO_PAGES_BATCH)
		return true;
	put(p, channel);
	*why = COLO_PAGES_FULL;
	return p->batch[channel].n < COLO_PAGES_BATCH;
}

static bool
admit(struct colo_pages *p, unsigned int channel, unsigned int block, uint32_t page,
	enum colo_pages_refusal *why)
{
	if (!p->open)
		*why = COLO_PAGES_CLOSED;
	else if (colo_dirty_get(&p->blocks->block[block].todo, page))
		*why = COLO_PAGES_TWICE;
	else
		return has_room(p, channel, why);
	return false;
}

static void
feed(struct colo_pages *p, unsigned int channel, unsigned int block, uint32_t page, bool zero)
{
	struct colo_pages_batch *b = &p->batch[channel];

	assert(b->n < COLO_PAGES_ROOM);
	b->page[b->n++] =
		(struct colo_feed_page){.page = page, .block = (uint16_t)block, .zero = zero};
	p->fed++;
	if (b->n >= COLO_PAGES_BATCH)
		put(p, channel);
}

uint8_t *
colo_pages_place(struct colo_pages *p, unsigned int channel, unsigned int block, uint32_t page,
	enum colo_pages_refusal *why)
{
	if (!admit(p, channel, block, page, why))
		return NULL;
	colo_dirty_set(&p->used[block], page);
	return colo_page_addr(&p->blocks->block[block].guest, page);
}

bool
colo_pages_placed(struct colo_pages *p, unsigned int channel, unsigned int block, uint32_t page)
{
	struct colo_dirty *todo = &p->blocks->block[block].todo;

	if (colo_dirty_get(todo, page))
		return false;
	colo_dirty_set(todo, page);
	feed(p, channel, block, page, false);
	return true;
}

bool
colo_pages_zero(struct colo_pages *p, unsigned int channel, unsigned int block, uint32_t page,
	enum colo_pages_refusal *why)
{
	struct colo_block *b;

	if (!admit(p, channel, block, page, why))
		return false;
	b = &p->blocks->block[block];
	if (colo_dirty_get(&p->used[block], page)) {
		memset(colo_page_addr(&b->guest, page), 0, COLO_PAGE_SIZE);
		set_unused(&p->used[block], page);
	}
	colo_dirty_set(&b->todo, page);
	feed(p, channel, block, page, true);
	return true;
}

void
colo_pages_feed_device(struct colo_pages *p)
{
	p->device_at = 0;
}

/* All channels share the device state, page by page. @return true if all of it is fed. */
static bool
feed_device(struct colo_pages *p)
{
	unsigned int block = p->blocks->n - 1;
	const struct colo_block *b = &p->blocks->block[block];
	enum colo_pages_refusal why;

	for (; p->device_at < b->n_pages; p->device_at++) {
		unsigned int channel = p->device_at % p->feed->n_channels;

		if (!colo_dirty_get(&b->todo, p->device_at))
			continue;
		if (!has_room(p, channel, &why))
			return false;
		colo_dirty_set(&p->used[block], p->device_at);
		feed(p, channel, block, p->device_at, false);
	}
	return true;
}

bool
colo_pages_put(struct colo_pages *p)
{
	bool all;

	if (p->feed == NULL)
		return true;
	all = feed_device(p);
	for (unsigned int c = 0; c < p->feed->n_channels; c++)
		all &= put(p, c);
	return all;
}
