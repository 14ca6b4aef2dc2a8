/* SPDX-License-Identifier: BSD-3-Clause */
/* Header, slot, epoch and records: everything is checked before the first byte is placed. */
#include <string.h>

#include "receive.h"

static void
read_record(const struct colo_record *wire, struct colo_parsed_record *r)
{
	r->page = rte_be_to_cpu_32(wire->page);
	r->block = wire->block;
	r->kind = wire->kind;
	r->length = rte_be_to_cpu_16(wire->length);
	r->offset = rte_be_to_cpu_16(wire->offset);
	r->count = rte_be_to_cpu_16(wire->count);
	r->crc = rte_be_to_cpu_32(wire->crc);
	r->contents = NULL;
}

/* Parts have one legal geometry: part k begins at k * part_size and ends there or at the page's
 * end. */
static bool
raw_legal(const struct colo_parsed_record *r, uint32_t part_size)
{
	if (r->offset >= COLO_PAGE_SIZE || r->offset % part_size != 0 || r->count != 1)
		return false;
	return r->length == RTE_MIN(part_size, COLO_PAGE_SIZE - r->offset);
}

static enum colo_counter
check_record(
	const struct colo_blocks *blocks, uint32_t part_size, const struct colo_parsed_record *r)
{
	uint32_t count = r->kind == COLO_RECORD_ZERO ? r->count : 1;
	uint32_t n_pages;

	if (r->block >= blocks->n)
		return COLO_drop_block;
	n_pages = blocks->block[r->block].n_pages;
	if (r->page >= n_pages || count > n_pages - r->page)
		return COLO_drop_range;
	switch (r->kind) {
	case COLO_RECORD_RAW:
		return raw_legal(r, part_size) ? COLO_FRAME_OK : COLO_drop_geometry;
	case COLO_RECORD_ZERO:
		return r->count > 0 && r->length == 0 && r->offset == 0 && r->crc == 0
			       ? COLO_FRAME_OK
			       : COLO_drop_geometry;
	case COLO_RECORD_ZSTD:
		return r->count == 1 && r->length > 0 && r->length <= COLO_PAGE_SIZE &&
				       r->offset == 0
			       ? COLO_FRAME_OK
			       : COLO_drop_geometry;
	default:
		return COLO_drop_kind;
	}
}

/* Where a record ends and the next may begin, as one number: block, page, byte. */
static uint64_t
position(uint8_t block, uint64_t page, uint32_t offset)
{
	return ((uint64_t)block << 48) + (page << COLO_PAGE_SHIFT) + offset;
}

static uint64_t
record_end(const struct colo_parsed_record *r)
{
	if (r->kind == COLO_RECORD_RAW)
		return position(r->block, r->page, r->offset + r->length);
	return position(r->block, (uint64_t)r->page + r->count, 0);
}

enum colo_counter
colo_parse_records(const struct colo_blocks *blocks, uint32_t part_size, struct colo_page_packet *p)
{
	const struct colo_record *wire =
		(const struct colo_record *)(p->frame.head + sizeof(struct colo_header));
	uint32_t payload = p->frame.covered; /* from the start of UDP's payload */
	uint64_t last_end = 0;

	p->n_records = p->frame.n_records;
	for (unsigned int i = 0; i < p->n_records; i++) {
		struct colo_parsed_record *r = &p->record[i];
		enum colo_counter why;

		read_record(&wire[i], r);
		why = check_record(blocks, part_size, r);
		if (why != COLO_FRAME_OK)
			return why;
		if (position(r->block, r->page, r->offset) < last_end)
			return COLO_drop_overlap;
		last_end = record_end(r);
		r->payload = p->frame.payload + payload;
		payload += r->length;
	}
	return payload == p->frame.length ? COLO_FRAME_OK : COLO_drop_length;
}

static bool
is_recorded(const struct colo_receiver *r, const struct colo_parsed_record *rec)
{
	const struct colo_dirty *d = &r->end->blocks->block[rec->block].recorded[r->id];

	for (uint32_t page = rec->page; page < rec->page + rec->count; page++)
		if (colo_dirty_get(d, page))
			return true;
	return false;
}

/*
 * A page that came already in this epoch, in another packet of this channel. Of parts, and of zero
 * pages that cost nothing, the bitmap cannot tell; the digest does, at the end of the epoch.
 */
static bool
came_twice(const struct colo_receiver *r, const struct colo_page_packet *p)
{
	if (r->kind != COLO_EPOCH_CHECKPOINT)
		return false;
	for (unsigned int i = 0; i < p->n_records; i++) {
		const struct colo_parsed_record *rec = &p->record[i];
		bool whole = rec->kind != COLO_RECORD_RAW || rec->length == COLO_PAGE_SIZE;

		if (whole && is_recorded(r, rec))
			return true;
	}
	return false;
}

/* The slot decides whether the packet is new, the epoch whether it may be placed now. */
static enum colo_counter
check_slot(struct colo_receiver *r, struct colo_page_packet *p)
{
	p->slot = colo_receive_window_slot(&r->window, p->frame.slot);
	switch (colo_receive_window_check(&r->window, p->slot)) {
	case COLO_SLOT_PLACED:
		colo_receive_window_packet(&r->window, p->frame.packet_number, r->now_us);
		r->feedback_due = true; /* the primary does not know yet */
		return COLO_rx_duplicate;
	case COLO_SLOT_BEYOND:
		return COLO_drop_window;
	case COLO_SLOT_NEW:
		break;
	}
	return r->epoch != 0 && p->frame.epoch == r->epoch ? COLO_FRAME_OK : COLO_drop_epoch;
}

/* Control frames go to the control core, which checks them again. */
static enum colo_counter
to_control(struct colo_receiver *r, const struct colo_frame *f)
{
	struct rte_mbuf *m = f->mbuf;

	if (!colo_lane_legal(f, true))
		return COLO_drop_control;
	rte_pktmbuf_refcnt_update(m, 1); /* of all segments; the burst frees its own */
	if (rte_ring_enqueue(r->end->lane.rx, m) != 0) {
		rte_pktmbuf_refcnt_update(m, -1);
		return COLO_drop_handover_full;
	}
	return COLO_rx_control;
}

static enum colo_counter
parse(struct colo_receiver *r, struct rte_mbuf *m, struct colo_page_packet *p)
{
	enum colo_counter why;

	if (!r->session)
		return COLO_drop_session;
	why = colo_frame_check(&r->filter, m, &p->frame);
	if (why == COLO_FRAME_OK)
		why = colo_open(r, &p->frame);
	if (why != COLO_FRAME_OK)
		return why;
	if (p->frame.type == COLO_FRAME_CONTROL)
		return to_control(r, &p->frame);
	if (p->frame.channel != r->id)
		return COLO_drop_channel;
	why = check_slot(r, p);
	if (why != COLO_FRAME_OK)
		return why;
	why = colo_parse_records(r->end->blocks, r->part_size, p);
	if (why != COLO_FRAME_OK)
		return why;
	return came_twice(r, p) ? COLO_drop_twice : COLO_FRAME_OK;
}

bool
colo_parse(struct colo_receiver *r, struct rte_mbuf *m, struct colo_page_packet *p)
{
	enum colo_counter why = parse(r, m, p);

	if (likely(why == COLO_FRAME_OK))
		return true;
	colo_receive_count(r, why);
	return false;
}
