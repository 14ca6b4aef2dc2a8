/* SPDX-License-Identifier: BSD-3-Clause */
/* Digest of every page of guest memory, a 2 MiB piece at a time. */
#include <rte_common.h>

#include "page.h"
#include "verify.h"
#include "wire.h"

void
colo_verify_reset(struct colo_verify *v)
{
	for (unsigned int i = 0; i < COLO_MAX_BLOCKS; i++) {
		atomic_store_explicit(&v->sum[i], 0, memory_order_relaxed);
		atomic_store_explicit(&v->differ[i], 0, memory_order_relaxed);
	}
}

static uint64_t
count_different(const struct colo_block *ours, const struct colo_block *theirs, uint32_t first,
	uint32_t end)
{
	uint64_t n = 0;

	for (uint32_t page = first; page < end; page++)
		n += !colo_page.equal(
			colo_page_addr(&ours->guest, page), colo_page_addr(&theirs->guest, page));
	return n;
}

void
colo_verify_piece(void *context, const struct colo_piece_ref *ref, struct colo_counters *counters)
{
	struct colo_verify *v = context;
	const struct colo_block *b = &v->blocks->block[ref->block];
	const struct colo_memory *m = v->of_cache ? &b->cache : &b->guest;
	uint32_t first = ref->piece * COLO_PIECE_PAGES;
	uint32_t end = RTE_MIN(first + COLO_PIECE_PAGES, b->n_pages);
	bool untouched = b->touched != NULL && b->touched[ref->piece] == 0;
	uint64_t sum = 0;

	(void)counters;
	for (uint32_t page = first; page < end; page++) {
		uint32_t crc = COLO_CRC32_ZERO_PAGE;

		if (!untouched)
			crc = colo_crc32(colo_page_addr(m, page), COLO_PAGE_SIZE);
		sum += colo_digest(ref->block, page, 0, crc);
	}
	atomic_fetch_add_explicit(&v->sum[ref->block], sum, memory_order_relaxed);
	if (v->peer != NULL)
		atomic_fetch_add_explicit(&v->differ[ref->block],
			count_different(b, &v->peer->block[ref->block], first, end),
			memory_order_relaxed);
}
