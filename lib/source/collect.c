/* SPDX-License-Identifier: BSD-3-Clause */
/* Compares a guest's memory with our copy of it, piece by piece, on poll cores. */

#include "collect.h"
#include "page.h"

/* Pages of the piece: the last one of a block may be short. */
static uint32_t
pages_of(const struct colo_collect *c, uint32_t piece)
{
	uint32_t left = c->block->n_pages - piece * COLO_PIECE_PAGES;

	return left < COLO_PIECE_PAGES ? left : COLO_PIECE_PAGES;
}

/* The copy of this piece is all zeros: nothing of it need be read. */
static unsigned int
fill_untouched(struct colo_collect *c, uint32_t first, uint32_t n, uint64_t *changed)
{
	unsigned int found = 0;

	for (uint32_t i = 0; i < n; i++) {
		const uint8_t *theirs = c->guest + ((uint64_t)(first + i) << COLO_PAGE_SHIFT);

		if (colo_page.is_zero(theirs))
			continue;
		colo_page.copy(colo_page_addr(&c->block->guest, first + i), theirs);
		changed[i >> 6] |= 1ull << (i & 63);
		found++;
	}
	return found;
}

static unsigned int
compare_touched(struct colo_collect *c, uint32_t first, uint32_t n, uint64_t *changed)
{
	unsigned int found = 0;

	for (uint32_t i = 0; i < n; i++) {
		const uint8_t *theirs = c->guest + ((uint64_t)(first + i) << COLO_PAGE_SHIFT);
		uint8_t *ours = colo_page_addr(&c->block->guest, first + i);

		if (colo_page.equal(theirs, ours))
			continue;
		colo_page.copy(ours, theirs);
		changed[i >> 6] |= 1ull << (i & 63);
		found++;
	}
	return found;
}

/* The guest gave the piece back (a balloon): it reads as zeros, and reading would allocate it. */
static unsigned int
empty_touched(struct colo_collect *c, uint32_t first, uint32_t n, uint64_t *changed)
{
	unsigned int found = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint8_t *ours = colo_page_addr(&c->block->guest, first + i);

		if (colo_page.is_zero(ours))
			continue;
		colo_page.zero(ours);
		changed[i >> 6] |= 1ull << (i & 63);
		found++;
	}
	return found;
}

/*
 * The piece's words are this poll core's alone; a word of the summary is shared with those who
 * collect the pieces beside it, so its bit is set atomically. Whoever picks is ordered after the
 * collection by its control core.
 */
static void
publish(struct colo_dirty *todo, uint32_t piece, const uint64_t *changed)
{
	uint64_t *words = colo_dirty_piece(todo, piece);

	for (unsigned int i = 0; i < COLO_PIECE_WORDS; i++)
		words[i] |= changed[i];
	__atomic_fetch_or(&todo->summary[piece >> 6], 1ull << (piece & 63), __ATOMIC_RELAXED);
}

void
colo_collect_piece(struct colo_collect *c, uint32_t piece)
{
	uint64_t changed[COLO_PIECE_WORDS] = {0};
	uint32_t first = piece * COLO_PIECE_PAGES;
	uint32_t n = pages_of(c, piece);
	unsigned int found;

	if (!c->has_data[piece] && !c->touched[piece])
		return;
	if (!c->has_data[piece])
		found = empty_touched(c, first, n, changed);
	else if (!c->touched[piece])
		found = fill_untouched(c, first, n, changed);
	else
		found = compare_touched(c, first, n, changed);
	if (found == 0)
		return;
	c->touched[piece] = 1;
	publish(&c->block->todo, piece, changed);
	colo_page_fence();
}
