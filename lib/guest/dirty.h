/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * Dirty bitmap of one block: one bit per 4 KiB page, one cache line (8 words) per 2 MiB piece, and
 * a summary bit per piece, so that whoever walks it pays for what is dirty, not for what exists.
 *
 * Not rte_bitmap, which has the same shape: a flush needs "the eight words of this piece" and
 * "clear this piece", and rte_bitmap offers neither.
 *
 * One writer at a time; whoever reads is ordered after the writer by an epoch's sync point.
 */
#ifndef COLO_GUEST_DIRTY_H
#define COLO_GUEST_DIRTY_H

#include <stdbool.h>
#include <stdint.h>

#include "bounds.h"

struct colo_dirty {
	uint64_t *words;   /**< [n_pieces * COLO_PIECE_WORDS], 64-byte aligned */
	uint64_t *summary; /**< [n_summary]; bit p: piece p has a page set */
	uint32_t n_pages;
	uint32_t n_pieces;
	uint32_t n_summary;
};

/** @return 0, or -1 if out of memory. */
int colo_dirty_init(struct colo_dirty *d, uint32_t n_pages);
void colo_dirty_fini(struct colo_dirty *d);

static inline bool
colo_dirty_get(const struct colo_dirty *d, uint32_t page)
{
	return d->words[page >> 6] >> (page & 63) & 1;
}

static inline void
colo_dirty_set(struct colo_dirty *d, uint32_t page)
{
	uint32_t piece = page / COLO_PIECE_PAGES;

	d->words[page >> 6] |= 1ull << (page & 63);
	d->summary[piece >> 6] |= 1ull << (piece & 63);
}

/** Set pages [first, first + count). */
void colo_dirty_set_range(struct colo_dirty *d, uint32_t first, uint32_t count);

/** Clear one piece's words; its summary bit stays until colo_dirty_clear(). */
void colo_dirty_clear_piece(struct colo_dirty *d, uint32_t piece);

/** Clear everything; costs what is dirty. */
void colo_dirty_clear(struct colo_dirty *d);

/** Set in @p to what is set in the pieces of @p from that its summary names; same size. */
void colo_dirty_add(struct colo_dirty *to, const struct colo_dirty *from);

/** Pages set. */
uint64_t colo_dirty_count(const struct colo_dirty *d);

static inline uint64_t *
colo_dirty_piece(const struct colo_dirty *d, uint32_t piece)
{
	return &d->words[piece * COLO_PIECE_WORDS];
}

#endif
