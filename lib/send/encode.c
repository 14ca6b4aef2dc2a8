/* SPDX-License-Identifier: BSD-3-Clause */
/* One page packet: headers, record table, payload from where it lies or copied behind them. */
#include <string.h>

#include "page.h"
#include "send.h"

/* Driver is done with a page: nothing to do, the source keeps it until the epoch is committed. */
static void
page_released(void *addr, void *opaque)
{
	(void)addr;
	(void)opaque;
}

/*
 * An mbuf that points into a block. Its reference count lies in its own private area: a shared one
 * would bounce its cache line between sending and receiving core for every page.
 */
static struct rte_mbuf *
attach_page(struct colo_sender *s, const uint8_t *bytes, uint16_t length)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(s->end->port->page_pool);
	struct rte_mbuf_ext_shared_info *shared;

	if (m == NULL)
		return NULL;
	shared = rte_mbuf_to_priv(m);
	shared->free_cb = page_released;
	shared->fcb_opaque = NULL;
	rte_mbuf_ext_refcnt_set(shared, 1);
	rte_pktmbuf_attach_extbuf(m, (void *)(uintptr_t)bytes, (uintptr_t)bytes, length, shared);
	m->data_len = length;
	m->pkt_len = length;
	return m;
}

static bool
chain_payload(
	struct colo_sender *s, struct rte_mbuf *head, const struct colo_item *items, unsigned int n)
{
	struct rte_mbuf *tail = head;

	for (unsigned int i = 0; i < n; i++) {
		if (items[i].length == 0)
			continue;
		tail->next = attach_page(s, items[i].payload, items[i].length);
		if (tail->next == NULL)
			return false;
		tail = tail->next;
		head->nb_segs++;
		head->pkt_len += items[i].length;
	}
	return true;
}

static void
copy_payload(struct rte_mbuf *m, struct colo_item *items, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		char *to;

		if (items[i].length == 0)
			continue;
		to = rte_pktmbuf_append(m, items[i].length);
		if (to == NULL) /* a source let a page change since the slot was filled */
			continue;
		memcpy(to, items[i].payload, items[i].length);
		if (items[i].record.kind == COLO_RECORD_RAW)
			items[i].payload = (const uint8_t *)to; /* cache-hot for the CRC */
	}
}

/* CRC of the decoded contents: of the page itself where it travels compressed. */
static uint32_t
contents_crc(const struct colo_sender *s, const struct colo_item *item)
{
	const struct colo_slot_record *r = &item->record;

	if (r->kind == COLO_RECORD_ZERO)
		return 0;
	if (r->kind == COLO_RECORD_RAW)
		return colo_crc32(item->payload, item->length);
	return colo_crc32(
		colo_page_addr(&s->end->blocks->block[r->block].guest, r->page), COLO_PAGE_SIZE);
}

static void
write_record(struct colo_record *wire, const struct colo_item *item, uint32_t crc)
{
	const struct colo_slot_record *r = &item->record;

	wire->page = rte_cpu_to_be_32(r->page);
	wire->block = r->block;
	wire->kind = r->kind;
	wire->length = rte_cpu_to_be_16(item->length);
	wire->offset = rte_cpu_to_be_16(item->offset);
	wire->count = rte_cpu_to_be_16(r->kind == COLO_RECORD_ZERO ? r->count : 1);
	wire->crc = rte_cpu_to_be_32(crc);
}

/* Sums of the epoch and counters: once for each record, not for what is sent again. */
static void
account(struct colo_sender *s, const struct colo_item *item, uint32_t crc)
{
	const struct colo_slot_record *r = &item->record;

	switch (r->kind) {
	case COLO_RECORD_ZERO:
		s->pages += r->count;
		s->zero_pages += r->count;
		s->counters.n[COLO_tx_pages_zero] += r->count;
		s->digest += colo_digest(r->block, r->page, 0, r->count);
		return;
	case COLO_RECORD_ZSTD:
		s->counters.n[COLO_tx_pages_zstd]++;
		break;
	default:
		if (item->offset != 0)
			break;
		s->counters.n[COLO_tx_pages_raw]++;
	}
	s->pages += item->offset == 0;
	s->digest += colo_digest(r->block, r->page, item->offset, crc);
}

static struct rte_mbuf *
build(struct colo_sender *s, struct colo_item *items, unsigned int n)
{
	uint32_t head =
		s->template.length + sizeof(struct colo_header) + n * sizeof(struct colo_record);
	struct rte_mbuf *m = rte_pktmbuf_alloc(s->end->port->tx_pool);
	/* a sealed payload is encrypted where it lies, which must not be the guest's page */
	bool inline_payload = s->zstd_on || s->template.sealed || !s->end->port->zero_copy;

	if (m == NULL)
		return NULL;
	m->data_len = head;
	m->pkt_len = head;
	if (inline_payload) {
		copy_payload(m, items, n);
		if (s->template.sealed && rte_pktmbuf_append(m, COLO_SEAL_TAG_LEN) == NULL) {
			rte_pktmbuf_free(m);
			return NULL;
		}
	} else if (!chain_payload(s, m, items, n)) {
		rte_pktmbuf_free(m);
		return NULL;
	}
	return m;
}

/* Remember in the slot what it carries, before it goes out the first time. */
static void
fill_slot(struct colo_sender *s, uint64_t slot, const struct colo_item *items, unsigned int n)
{
	struct colo_slot *to = colo_send_window_at(&s->window, slot);

	to->n_records = n;
	for (unsigned int i = 0; i < n; i++)
		to->record[i] = items[i].record;
}

bool
colo_encode(struct colo_sender *s, uint64_t slot, struct colo_item *items, unsigned int n,
	bool first_time, uint16_t flags)
{
	struct rte_mbuf *m = build(s, items, n);
	struct colo_frame_fields fields = {.type = COLO_FRAME_PAGE, .n_records = n, .flags = flags};
	struct colo_header *h;
	struct colo_record *wire;

	if (m == NULL) {
		s->counters.n[COLO_tx_no_mbuf]++;
		return false;
	}
	h = rte_pktmbuf_mtod_offset(m, struct colo_header *, s->template.length);
	wire = (struct colo_record *)(h + 1);
	for (unsigned int i = 0; i < n; i++) {
		uint32_t crc = contents_crc(s, &items[i]);

		write_record(&wire[i], &items[i], crc);
		if (first_time)
			account(s, &items[i], crc);
	}
	if (first_time)
		fill_slot(s, slot, items, n);
	fields.length = rte_pktmbuf_pkt_len(m) - s->template.length;
	fields.epoch = s->epoch;
	fields.slot = (uint32_t)slot;
	fields.packet_number = colo_send_window_sent(&s->window, slot, s->now_us);
	colo_frame_write_outer(&s->template, rte_pktmbuf_mtod(m, uint8_t *), fields.length);
	colo_frame_write_header(&s->template, h, &fields, sizeof(*h) + n * sizeof(*wire));
	s->wire_bytes += rte_pktmbuf_pkt_len(m);
	s->counters.n[COLO_tx_packets]++;
	s->counters.n[COLO_tx_bytes] += rte_pktmbuf_pkt_len(m);
	s->tx[s->n_tx++] = m;
	return true;
}

static bool
ascends(const struct colo_item *before, const struct colo_item *item)
{
	const struct colo_slot_record *a = &before->record, *b = &item->record;

	return b->block > a->block || (b->block == a->block && b->page >= a->page);
}

/*
 * Items for one packet, into s->packet. One that does not fit waits in s->item for the next; if it
 * is compressed, its bytes move to the start of zstd_out. Records ascend as parse demands: a
 * channel claims pieces, and takes pages of a piece, in ascending order; what is fed may come in
 * any order, and a page that does not ascend begins the next packet.
 */
static unsigned int
fill_packet(struct colo_sender *s)
{
	uint32_t room = s->room;
	unsigned int n = 0;

	s->zstd_used = 0;
	if (s->has_item && s->item.record.kind == COLO_RECORD_ZSTD) {
		memmove(s->zstd_out, s->item.payload, s->item.length);
		s->item.payload = s->zstd_out;
		s->zstd_used = s->item.length;
	}
	while (n < COLO_MAX_RECORDS) {
		if (!s->has_item && !colo_pick(s, &s->item))
			break;
		s->has_item = true;
		if (colo_record_room(s->item.length) > room ||
			(s->fed_on && n > 0 && !ascends(&s->packet[n - 1], &s->item)))
			break;
		room -= colo_record_room(s->item.length);
		s->packet[n++] = s->item;
		s->has_item = false;
	}
	return n;
}

void
colo_encode_new(struct colo_sender *s)
{
	uint64_t until = s->pages + COLO_TURN_PAGES_MAX;

	while (!s->sent_all && s->n_tx < COLO_BURST && s->pages < until) {
		/* before the ring is looked at: what was fed until then is in it */
		bool closed = !s->fed_on || colo_feed_is_closed(&s->end->feed, s->epoch);

		if (!colo_send_window_has_credit(&s->window)) {
			s->counters.n[COLO_tx_no_credit]++;
			return;
		}
		if (s->n_packet == 0)
			s->n_packet = fill_packet(s);
		if (s->n_packet == 0) {
			s->sent_all = closed;
			return;
		}
		if (!colo_encode(s, s->window.next_slot, s->packet, s->n_packet, true, 0))
			return;
		s->n_packet = 0;
	}
}
