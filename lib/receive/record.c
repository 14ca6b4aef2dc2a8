/* SPDX-License-Identifier: BSD-3-Clause */
/* Place, then record: dirty bits, counts and digest of what lies in the cache now. */
#include "receive.h"

static void
record_dirty(struct colo_receiver *r, const struct colo_parsed_record *rec)
{
	struct colo_block *b = &r->end->blocks->block[rec->block];
	struct colo_dirty *d = &b->recorded[r->id];

	if (rec->kind != COLO_RECORD_ZERO) {
		colo_dirty_set(d, rec->page);
		return;
	}
	for (uint32_t page = rec->page; page < rec->page + rec->count; page++)
		if (b->touched[page / COLO_PIECE_PAGES])
			colo_dirty_set(d, page);
}

static void
record_sums(struct colo_receiver *r, const struct colo_parsed_record *rec)
{
	if (rec->kind == COLO_RECORD_ZERO) {
		r->zero_pages += rec->count;
		r->pages += rec->count;
		r->counters.n[COLO_rx_pages_zero] += rec->count;
		r->counters.n[COLO_rx_pages] += rec->count;
		r->digest += colo_digest(rec->block, rec->page, 0, rec->count);
		return;
	}
	if (rec->offset == 0) {
		r->pages++;
		r->counters.n[COLO_rx_pages]++;
	}
	r->digest += colo_digest(rec->block, rec->page, rec->offset, rec->crc);
}

void
colo_record(struct colo_receiver *r, const struct colo_page_packet *p)
{
	bool gap = colo_receive_window_gap(&r->window);
	uint32_t bytes = rte_pktmbuf_pkt_len(p->frame.mbuf);

	for (unsigned int i = 0; i < p->n_records; i++) {
		if (r->kind == COLO_EPOCH_CHECKPOINT)
			record_dirty(r, &p->record[i]);
		record_sums(r, &p->record[i]);
	}
	/* not before all of it was found right: the primary measures by it, and believes it */
	colo_receive_window_packet(&r->window, p->frame.packet_number, r->now_us);
	colo_receive_window_place(&r->window, p->slot);
	r->unreported++;
	if ((p->frame.flags & COLO_FLAG_ACK_NOW) || (!gap && colo_receive_window_gap(&r->window)))
		r->feedback_due = true;
	r->wire_bytes += bytes;
	r->counters.n[COLO_rx_bytes] += bytes;
	colo_receive_count(r, COLO_rx_placed);
}

void
colo_record_publish(struct colo_receiver *r)
{
	struct colo_receive_progress *to = &r->progress;

	atomic_store_explicit(&to->pages, r->pages, memory_order_relaxed);
	atomic_store_explicit(&to->zero_pages, r->zero_pages, memory_order_relaxed);
	atomic_store_explicit(&to->digest, r->digest, memory_order_relaxed);
	atomic_store_explicit(&to->wire_bytes, r->wire_bytes, memory_order_relaxed);
	/* pairs with the load-acquire in colo_sync_complete(): pages up to cum are in the cache */
	atomic_store_explicit(&to->cum, r->window.cum, memory_order_release);
}
