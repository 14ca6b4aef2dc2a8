/* SPDX-License-Identifier: BSD-3-Clause */
/* Dirty bitmap of a block: making it, ranges, clearing and counting by way of the summary. */
#include <stdlib.h>
#include <string.h>

#include "dirty.h"

#define CACHE_LINE 64u

/* Zeroed, on cache lines of its own, so that two channels' bitmaps never share one. */
static uint64_t *
words_alloc(size_t n_words)
{
	size_t bytes = (n_words * sizeof(uint64_t) + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
	uint64_t *words = aligned_alloc(CACHE_LINE, bytes);

	if (words != NULL)
		memset(words, 0, bytes);
	return words;
}

int
colo_dirty_init(struct colo_dirty *d, uint32_t n_pages)
{
	uint32_t n_pieces = n_pages / COLO_PIECE_PAGES + (n_pages % COLO_PIECE_PAGES != 0);
	uint32_t n_summary = n_pieces / 64 + (n_pieces % 64 != 0);

	memset(d, 0, sizeof(*d));
	/* one cache line at least: a bitmap of no pages is legal and empty */
	d->words = words_alloc((size_t)(n_pieces != 0 ? n_pieces : 1) * COLO_PIECE_WORDS);
	d->summary = words_alloc(n_summary != 0 ? n_summary : 1);
	if (d->words == NULL || d->summary == NULL) {
		colo_dirty_fini(d);
		return -1;
	}
	d->n_pages = n_pages;
	d->n_pieces = n_pieces;
	d->n_summary = n_summary;
	return 0;
}

void
colo_dirty_fini(struct colo_dirty *d)
{
	free(d->words);
	free(d->summary);
	memset(d, 0, sizeof(*d));
}

/* Set bits [first, first + count) of an array of words; count > 0. */
static void
bits_set(uint64_t *words, uint32_t first, uint32_t count)
{
	uint32_t last = first + count - 1;
	uint64_t head = ~0ull << (first & 63);
	uint64_t tail = ~0ull >> (63 - (last & 63));
	uint32_t w = first >> 6;

	if (w == last >> 6) {
		words[w] |= head & tail;
		return;
	}
	words[w++] |= head;
	while (w < last >> 6)
		words[w++] = ~0ull;
	words[w] |= tail;
}

void
colo_dirty_set_range(struct colo_dirty *d, uint32_t first, uint32_t count)
{
	uint32_t first_piece = first / COLO_PIECE_PAGES;

	if (count == 0)
		return;
	bits_set(d->words, first, count);
	bits_set(d->summary, first_piece, (first + count - 1) / COLO_PIECE_PAGES - first_piece + 1);
}

void
colo_dirty_clear_piece(struct colo_dirty *d, uint32_t piece)
{
	memset(colo_dirty_piece(d, piece), 0, COLO_PIECE_WORDS * sizeof(uint64_t));
}

void
colo_dirty_clear(struct colo_dirty *d)
{
	for (uint32_t s = 0; s < d->n_summary; s++) {
		for (uint64_t left = d->summary[s]; left != 0; left &= left - 1)
			colo_dirty_clear_piece(d, s * 64 + (uint32_t)__builtin_ctzll(left));
		d->summary[s] = 0;
	}
}

void
colo_dirty_add(struct colo_dirty *to, const struct colo_dirty *from)
{
	for (uint32_t s = 0; s < from->n_summary; s++) {
		for (uint64_t left = from->summary[s]; left != 0; left &= left - 1) {
			uint32_t piece = s * 64 + (uint32_t)__builtin_ctzll(left);
			uint64_t *words = colo_dirty_piece(to, piece);

			for (unsigned int i = 0; i < COLO_PIECE_WORDS; i++)
				words[i] |= colo_dirty_piece(from, piece)[i];
		}
		to->summary[s] |= from->summary[s];
	}
}

static uint64_t
piece_count(const struct colo_dirty *d, uint32_t piece)
{
	const uint64_t *words = colo_dirty_piece(d, piece);
	uint64_t n = 0;

	for (unsigned int i = 0; i < COLO_PIECE_WORDS; i++)
		n += (uint64_t)__builtin_popcountll(words[i]);
	return n;
}

uint64_t
colo_dirty_count(const struct colo_dirty *d)
{
	uint64_t n = 0;

	for (uint32_t s = 0; s < d->n_summary; s++)
		for (uint64_t left = d->summary[s]; left != 0; left &= left - 1)
			n += piece_count(d, s * 64 + (uint32_t)__builtin_ctzll(left));
	return n;
}
