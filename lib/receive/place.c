/* SPDX-License-Identifier: BSD-3-Clause */
/* Checked contents into the cache, in precopy into guest memory as well. */
#include <string.h>

#include "page.h"
#include "receive.h"

static void
place_raw(struct colo_block *b, const struct colo_parsed_record *rec, bool both)
{
	uint8_t *cache = colo_page_addr(&b->cache, rec->page) + rec->offset;
	uint8_t *guest = colo_page_addr(&b->guest, rec->page) + rec->offset;

	b->touched[rec->page / COLO_PIECE_PAGES] = 1;
	if (rec->length != COLO_PAGE_SIZE) {
		memcpy(cache, rec->contents, rec->length);
		if (both)
			memcpy(guest, rec->contents, rec->length);
	} else if (both) {
		colo_page.copy2(cache, guest, rec->contents);
	} else {
		colo_page.copy(cache, rec->contents);
	}
}

/* Pages of a piece that was never touched are zeros already, and stay untouched. */
static void
place_zero(struct colo_receiver *r, struct colo_block *b, const struct colo_parsed_record *rec,
	bool both)
{
	for (uint32_t page = rec->page; page < rec->page + rec->count; page++) {
		uint8_t *cache = colo_page_addr(&b->cache, page);

		if (!b->touched[page / COLO_PIECE_PAGES]) {
			colo_receive_count(r, COLO_rx_zero_skipped);
			continue;
		}
		if (!colo_page.is_zero(cache))
			colo_page.zero(cache);
		if (both && !colo_page.is_zero(colo_page_addr(&b->guest, page)))
			colo_page.zero(colo_page_addr(&b->guest, page));
	}
}

void
colo_place(struct colo_receiver *r, struct colo_page_packet *p)
{
	bool both = r->kind == COLO_EPOCH_PRECOPY;

	for (unsigned int i = 0; i < p->n_records; i++) {
		const struct colo_parsed_record *rec = &p->record[i];
		struct colo_block *b = &r->end->blocks->block[rec->block];

		if (rec->kind == COLO_RECORD_ZERO)
			place_zero(r, b, rec, both);
		else
			place_raw(b, rec, both);
	}
}
