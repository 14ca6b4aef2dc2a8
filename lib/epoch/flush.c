/* SPDX-License-Identifier: BSD-3-Clause */
/* Recorded pages cache -> guest memory (flush), or back (undo), a 2 MiB piece at a time. */
#include <rte_common.h>

#include "flush.h"
#include "page.h"

void
colo_flush_collect(struct colo_flush *f, struct colo_piece_list *list)
{
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

static inline __attribute__((always_inline)) void
copy_piece(const struct colo_flush *f, const struct colo_piece_ref *ref,
	struct colo_counters *counters, const bool undo)
{
	struct colo_block *b = &f->blocks->block[ref->block];
	uint32_t first = ref->piece * COLO_PIECE_WORDS;

	for (uint32_t w = first; w < first + COLO_PIECE_WORDS; w++) {
		uint64_t bits = take_word(b, f->n_channels, w);

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
