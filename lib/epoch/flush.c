/* SPDX-License-Identifier: BSD-3-Clause */
/* Recorded pages cache -> guest memory (flush), or back (undo), a 2 MiB piece at a time. */
#include <string.h>

#include <rte_common.h>

#include "flush.h"
#include "page.h"

/* Which pieces the guest wrote to only its log says, which the poll cores read, each a part. */
static void
collect_all(struct colo_flush *f, struct colo_piece_list *list)
{
	for (unsigned int i = 0; i < f->blocks->n; i++) {
		struct colo_block *b = &f->blocks->block[i];

		for (unsigned int c = 0; c < f->n_channels; c++)
			memset(b->recorded[c].summary, 0,
				b->recorded[c].n_summary * sizeof(b->recorded[c].summary[0]));
	}
	colo_piece_list_all(list, f->blocks);
}

void
colo_flush_collect(struct colo_flush *f, struct colo_piece_list *list)
{
	if (f->log != NULL) {
		collect_all(f, list);
		return;
	}
	list->n = 0;
	for (unsigned int i = 0; i < f->blocks->n; i++) {
		struct colo_block *b = &f->blocks->block[i];

		for (uint32_t w = 0; w < b->recorded[0].n_summary; w++) {
			uint64_t bits = 0;

			for (unsigned int c = 0; c < f->n_channels; c++) {
				bits |= b->recorded[c].summary[w];
				b->recorded[c].summary[w] = 0;
			}
			for (; bits != 0 && list->n < list->room; bits &= bits - 1)
				list->ref[list->n++] = (struct colo_piece_ref){
					.piece = w * 64 + __builtin_ctzll(bits), .block = i};
		}
	}
}

bool
colo_flush_forget(struct colo_flush *f)
{
	bool any = false;

	for (unsigned int i = 0; i < f->blocks->n; i++) {
		for (unsigned int c = 0; c < f->n_channels; c++) {
			struct colo_dirty *d = &f->blocks->block[i].recorded[c];

			for (uint32_t w = 0; w < d->n_summary; w++)
				any |= d->summary[w] != 0;
			colo_dirty_clear(d);
		}
	}
	return any;
}

void
colo_flush_forget_log(struct colo_flush *f)
{
	for (unsigned int i = 0; f->log != NULL && i < f->blocks->n; i++) {
		uint32_t n = f->blocks->block[i].n_pieces * COLO_PIECE_WORDS;

		for (uint32_t w = 0; f->log[i] != NULL && w < n; w++)
			atomic_store_explicit(&f->log[i][w], 0, memory_order_relaxed);
	}
}

/* One word of all channels' bitmaps together; merged here, so that commit need not walk them. */
static inline uint64_t
take_word(struct colo_block *b, unsigned int n_channels, uint32_t word)
{
	uint64_t bits = 0;

	for (unsigned int c = 0; c < n_channels; c++) {
		bits |= b->recorded[c].words[word];
		b->recorded[c].words[word] = 0;
	}
	return bits;
}

/*
 * One word of the dirty log; bits beyond the block's end are the hypervisor's error and name no
 * page. What the guest wrote is ordered before by its `paused`, which the control core has seen.
 */
static inline uint64_t
take_log(_Atomic uint64_t *log, uint32_t word, uint32_t n_pages)
{
	uint64_t bits;

	if (atomic_load_explicit(&log[word], memory_order_relaxed) == 0)
		return 0;
	bits = atomic_exchange_explicit(&log[word], 0, memory_order_acq_rel);
	if (word >= n_pages / 64)
		bits &= word == n_pages / 64 ? (1ull << n_pages % 64) - 1 : 0;
	return bits;
}

static inline __attribute__((always_inline)) void
copy_piece(const struct colo_flush *f, const struct colo_piece_ref *ref,
	struct colo_counters *counters, const bool undo)
{
	struct colo_block *b = &f->blocks->block[ref->block];
	_Atomic uint64_t *log = !undo && f->log != NULL ? f->log[ref->block] : NULL;
	uint32_t first = ref->piece * COLO_PIECE_WORDS;

	for (uint32_t w = first; w < first + COLO_PIECE_WORDS; w++) {
		uint64_t bits = take_word(b, f->n_channels, w);

		if (log != NULL) {
			uint64_t written = take_log(log, w, b->n_pages);

			counters->n[COLO_flush_rolled_back] +=
				__builtin_popcountll(written & ~bits);
			bits |= written;
		}
		for (; bits != 0; bits &= bits - 1) {
			uint32_t page = w * 64 + __builtin_ctzll(bits);
			uint8_t *cache = colo_page_addr(&b->cache, page);
			uint8_t *guest = colo_page_addr(&b->guest, page);

			if (undo)
				colo_page.copy(cache, guest);
			else
				colo_page.copy(guest, cache);
			counters->n[COLO_flush_pages] += !undo;
		}
	}
	colo_page_fence();
}

void
colo_flush_piece(void *context, const struct colo_piece_ref *ref, struct colo_counters *counters)
{
	copy_piece(context, ref, counters, false);
}

void
colo_undo_piece(void *context, const struct colo_piece_ref *ref, struct colo_counters *counters)
{
	copy_piece(context, ref, counters, true);
}
