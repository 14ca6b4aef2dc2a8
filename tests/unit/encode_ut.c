/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packets as they leave: what the receiving end's own checks say of each, that none is larger than
 * the MTU, what is counted, and that nothing changes where there is no mbuf. Resending as well.
 */
#include "ut_rig.h"

#define PAGES 300u

static struct {
	struct ut_rig *rig;
	struct colo_sender *s;
	struct colo_block *b;
	struct colo_page_packet packet;
} t;

static void
begin(uint32_t mtu, unsigned int ip_version, bool zero_copy, bool zstd)
{
	const struct ut_rig_options o = {.mtu = mtu,
		.ip_version = ip_version,
		.n_channels = 1,
		.window = COLO_WINDOW_MAX,
		.zero_copy = zero_copy,
		.n_blocks = 1,
		.block_size = {PAGES * COLO_PAGE_SIZE}};

	t.rig = ut_rig_new(&o);
	t.s = t.rig->send.channel[0];
	t.b = &t.rig->blocks[0].block[0];
	t.rig->send.phase.epoch = 1;
	t.rig->send.phase.zstd = zstd;
	t.rig->send.phase.zstd_level = 1;
	colo_send_poll(t.s);
}

static void
drop_tx(void)
{
	rte_pktmbuf_free_bulk(t.s->tx, t.s->n_tx);
	t.s->n_tx = 0;
}

static void
end(void)
{
	drop_tx();
	ut_rig_free(t.rig);
}

static void
list(void)
{
	struct colo_outbox *box = &t.rig->send.outbox;

	box->list.n = 0;
	colo_piece_list_add(&box->list, 0, t.b->todo.summary, t.b->todo.n_summary);
	memset(t.b->todo.summary, 0, t.b->todo.n_summary * 8);
	atomic_store(&box->next, 0);
	colo_pick_reset(t.s);
}

static void
fill(uint32_t page)
{
	uint8_t *bytes = colo_page_addr(&t.b->guest, page);
	unsigned int half = page % 3 == 0 ? 0 : page % 3 == 1 ? COLO_PAGE_SIZE : 2048;

	memset(bytes, 'x', COLO_PAGE_SIZE);
	for (unsigned int i = 0; i < half; i++)
		bytes[i] = rand();
	if (page % 7 == 0)
		memset(bytes, 0, COLO_PAGE_SIZE);
	colo_dirty_set(&t.b->todo, page);
}

/* As the secondary does, without a receiver. */
static void
check_packet(struct rte_mbuf *m)
{
	const struct colo_frame_filter filter = ut_rig_filter(t.rig, 1);

	CU_ASSERT_TRUE(rte_pktmbuf_pkt_len(m) <= t.rig->o.mtu + COLO_ETHER_LEN);
	CU_ASSERT_EQUAL_FATAL(colo_frame_check(&filter, m, &t.packet.frame), COLO_FRAME_OK);
	CU_ASSERT_EQUAL(t.packet.frame.epoch, 1);
	CU_ASSERT_EQUAL(
		colo_parse_records(&t.rig->blocks[1], t.s->part_size, &t.packet), COLO_FRAME_OK);
}

/* All pages of all packets: each once; sums as they are told to the control core. */
static void
check_run(uint32_t mtu, unsigned int ip_version, bool zero_copy, bool zstd)
{
	uint32_t bytes[PAGES] = {0};
	uint64_t digest = 0, wire = 0, packets = 0;
	unsigned int most = 0, segments = 1;

	begin(mtu, ip_version, zero_copy, zstd);
	for (uint32_t page = 0; page < PAGES; page++)
		fill(page);
	list();
	do {
		colo_encode_new(t.s);
		CU_ASSERT_TRUE(t.s->n_tx <= COLO_BURST);
		for (unsigned int i = 0; i < t.s->n_tx; i++) {
			check_packet(t.s->tx[i]);
			CU_ASSERT_EQUAL(t.packet.frame.slot, packets);
			CU_ASSERT_EQUAL(t.packet.frame.packet_number, packets + 1);
			CU_ASSERT_EQUAL(t.packet.frame.flags, 0);
			most = RTE_MAX(most, t.packet.n_records);
			segments = RTE_MAX(segments, t.s->tx[i]->nb_segs);
			for (unsigned int k = 0; k < t.packet.n_records; k++) {
				const struct colo_parsed_record *r = &t.packet.record[k];
				uint32_t n =
					r->kind == COLO_RECORD_RAW ? r->length : COLO_PAGE_SIZE;

				for (unsigned int j = 0; j < r->count; j++)
					bytes[r->page + j] += n;
				digest += colo_digest(0, r->page, r->offset,
					r->kind == COLO_RECORD_ZERO ? r->count : r->crc);
			}
			wire += rte_pktmbuf_pkt_len(t.s->tx[i]);
			packets++;
		}
		drop_tx();
	} while (!t.s->sent_all);
	for (uint32_t page = 0; page < PAGES; page++)
		CU_ASSERT_EQUAL(bytes[page], COLO_PAGE_SIZE);
	CU_ASSERT_EQUAL(t.s->pages, PAGES);
	CU_ASSERT_EQUAL(t.s->zero_pages, (PAGES + 6) / 7);
	CU_ASSERT_EQUAL(t.s->digest, digest);
	CU_ASSERT_EQUAL(t.s->wire_bytes, wire);
	CU_ASSERT_EQUAL(t.s->counters.n[COLO_tx_packets], packets);
	CU_ASSERT_EQUAL(t.s->counters.n[COLO_tx_bytes], wire);
	CU_ASSERT_EQUAL(t.s->counters.n[COLO_tx_pages_raw] + t.s->counters.n[COLO_tx_pages_zero] +
				t.s->counters.n[COLO_tx_pages_zstd],
		PAGES);
	CU_ASSERT_EQUAL(t.s->counters.n[COLO_tx_pages_zstd] > 0, zstd);
	CU_ASSERT_EQUAL(segments > 1, zero_copy && !zstd);
	CU_ASSERT_TRUE(most <= COLO_MAX_RECORDS);
	end();
}

static void
test_packets(void)
{
	static const uint32_t mtu[] = {1280, 1500, 4199, 4200, 9000};

	for (unsigned int i = 0; i < RTE_DIM(mtu); i++)
		for (unsigned int k = 0; k < 8; k++)
			check_run(mtu[i], k & 1 ? 6 : 4, k & 2, k & 4);
}

/* Single zero pages with gaps: sixteen to a packet. */
static void
test_most_records(void)
{
	begin(9000, 4, false, false);
	for (uint32_t page = 0; page < 34; page++)
		colo_dirty_set(&t.b->todo, 2 * page);
	list();
	colo_encode_new(t.s);
	CU_ASSERT_EQUAL_FATAL(t.s->n_tx, 3);
	for (unsigned int i = 0; i < 3; i++) {
		check_packet(t.s->tx[i]);
		CU_ASSERT_EQUAL(t.packet.n_records, i < 2 ? COLO_MAX_RECORDS : 2);
	}
	end();
}

/* Where the driver allows it pages go out from where they lie. */
static void
test_zero_copy(void)
{
	struct rte_mbuf *m;

	begin(9000, 4, true, false);
	fill(1);
	fill(2);
	list();
	colo_encode_new(t.s);
	CU_ASSERT_EQUAL_FATAL(t.s->n_tx, 1);
	m = t.s->tx[0];
	CU_ASSERT_EQUAL_FATAL(m->nb_segs, 3);
	CU_ASSERT_PTR_EQUAL(rte_pktmbuf_mtod(m->next, uint8_t *), colo_page_addr(&t.b->guest, 1));
	CU_ASSERT_PTR_EQUAL(
		rte_pktmbuf_mtod(m->next->next, uint8_t *), colo_page_addr(&t.b->guest, 2));
	CU_ASSERT_EQUAL(m->next->data_len, COLO_PAGE_SIZE);
	CU_ASSERT_EQUAL(m->pkt_len, m->data_len + 2 * COLO_PAGE_SIZE);
	end();
}

/* Without an mbuf, or without enough for the chain: counted, nothing else; then as if never. */
static void
check_no_mbuf(bool zero_copy, bool pages_too_few)
{
	struct rte_mempool *pool;
	struct rte_mbuf *taken[16384];
	unsigned int n = 0;

	begin(9000, 4, zero_copy, false);
	for (uint32_t page = 1; page < 10; page++)
		fill(page);
	list();
	pool = pages_too_few ? t.rig->port[0].page_pool : t.rig->port[0].tx_pool;
	while (n < 16384 && (taken[n] = rte_pktmbuf_alloc(pool)) != NULL)
		n++;
	CU_ASSERT_TRUE_FATAL(n < 16384);
	if (pages_too_few)
		rte_pktmbuf_free(taken[--n]); /* one of the two */
	colo_encode_new(t.s);
	colo_encode_new(t.s);
	CU_ASSERT_EQUAL(t.s->counters.n[COLO_tx_no_mbuf], 2);
	CU_ASSERT_EQUAL(t.s->n_tx, 0);
	CU_ASSERT_EQUAL(t.s->window.next_slot, 0);
	CU_ASSERT_EQUAL(t.s->window.next_packet, 1);
	CU_ASSERT_EQUAL(t.s->pages, 0);
	CU_ASSERT_EQUAL(t.s->digest, 0);
	CU_ASSERT_FALSE(t.s->sent_all);
	rte_pktmbuf_free_bulk(taken, n);
	colo_encode_new(t.s);
	CU_ASSERT_EQUAL(t.s->pages, 9);
	CU_ASSERT_TRUE(t.s->sent_all);
	for (unsigned int i = 0; i < t.s->n_tx; i++)
		check_packet(t.s->tx[i]);
	end();
}

static void
test_no_mbuf(void)
{
	check_no_mbuf(false, false);
	check_no_mbuf(true, false);
	check_no_mbuf(true, true);
}

static void
test_no_credit(void)
{
	begin(9000, 4, false, false);
	for (uint32_t page = 0; page < 100; page++)
		fill(page);
	list();
	t.s->window.credit = 3;
	colo_encode_new(t.s);
	CU_ASSERT_EQUAL(t.s->n_tx, 3);
	CU_ASSERT_EQUAL(t.s->counters.n[COLO_tx_no_credit], 1);
	CU_ASSERT_FALSE(t.s->sent_all);
	t.s->window.credit = 4;
	colo_encode_new(t.s);
	CU_ASSERT_EQUAL(t.s->n_tx, 4);
	end();
}

/* Nothing to send: all is sent, and no packet says so. */
static void
test_empty(void)
{
	begin(1500, 4, false, false);
	list();
	CU_ASSERT_FALSE(t.s->sent_all);
	colo_encode_new(t.s);
	CU_ASSERT_TRUE(t.s->sent_all);
	CU_ASSERT_EQUAL(t.s->n_tx, 0);
	end();
}

static void
lose(uint64_t slot)
{
	struct colo_slot *s = colo_send_window_at(&t.s->window, slot);

	s->state = COLO_SLOT_LOST;
	t.s->window.outstanding--;
	t.s->window.n_lost++;
	t.s->window.lost_hint = 0;
}

/* Bytes of a frame behind the headers, linear. */
static uint32_t
payload_of(struct rte_mbuf *m, uint8_t *to)
{
	uint32_t at = t.s->template.length + sizeof(struct colo_header);
	uint32_t n = rte_pktmbuf_pkt_len(m) - at;
	const void *from = rte_pktmbuf_read(m, at, n, to);

	if (from != to)
		memcpy(to, from, n);
	return n;
}

/* The same slots and the same bytes again, with numbers of their own, to be answered at once. */
static void
check_resend(uint32_t mtu, bool zero_copy, bool zstd)
{
	static uint8_t first[COLO_BURST][16384], again[16384];
	uint32_t length[COLO_BURST];
	uint64_t pages, digest;
	unsigned int n;

	begin(mtu, 4, zero_copy, zstd);
	for (uint32_t page = 0; page < PAGES; page++)
		fill(page);
	list();
	colo_encode_new(t.s);
	n = t.s->n_tx;
	for (unsigned int i = 0; i < n; i++) {
		length[i] = payload_of(t.s->tx[i], first[i]);
		lose(i);
	}
	drop_tx();
	pages = t.s->pages;
	digest = t.s->digest;
	colo_resend(t.s);
	CU_ASSERT_EQUAL_FATAL(t.s->n_tx, n);
	for (unsigned int i = 0; i < n; i++) {
		CU_ASSERT_EQUAL(payload_of(t.s->tx[i], again), length[i]);
		CU_ASSERT_EQUAL(memcmp(again, first[i], length[i]), 0);
		check_packet(t.s->tx[i]);
		CU_ASSERT_EQUAL(t.packet.frame.slot, i);
		CU_ASSERT_EQUAL(t.packet.frame.packet_number, n + i + 1);
		CU_ASSERT_EQUAL(t.packet.frame.flags, COLO_FLAG_ACK_NOW);
	}
	CU_ASSERT_EQUAL(t.s->pages, pages); /* counted once */
	CU_ASSERT_EQUAL(t.s->digest, digest);
	CU_ASSERT_EQUAL(t.s->resent, n);
	CU_ASSERT_EQUAL(t.s->counters.n[COLO_tx_resent], n);
	CU_ASSERT_EQUAL(t.s->window.n_lost, 0);
	end();
}

static void
test_resend(void)
{
	check_resend(1280, false, false);
	check_resend(1500, false, true);
	check_resend(9000, true, false);
	check_resend(9000, true, true);
}

/* No more than there is room for; without an mbuf a slot stays lost. */
static void
test_resend_limits(void)
{
	struct rte_mbuf *taken[16384];
	unsigned int n = 0;

	begin(1280, 4, false, false);
	for (uint32_t page = 0; page < PAGES; page++)
		fill(page);
	list();
	for (unsigned int i = 0; i < 2; i++) {
		colo_encode_new(t.s);
		CU_ASSERT_EQUAL(t.s->n_tx, COLO_BURST);
		drop_tx();
	}
	for (uint64_t slot = 0; slot < COLO_BURST + 5; slot++)
		lose(slot);
	while (n < 16384 && (taken[n] = rte_pktmbuf_alloc(t.rig->port[0].tx_pool)) != NULL)
		n++;
	colo_resend(t.s);
	CU_ASSERT_EQUAL(t.s->n_tx, 0);
	CU_ASSERT_EQUAL(t.s->window.n_lost, COLO_BURST + 5);
	CU_ASSERT_EQUAL(t.s->counters.n[COLO_tx_resent], 0);
	rte_pktmbuf_free_bulk(taken, n);
	colo_resend(t.s);
	CU_ASSERT_EQUAL(t.s->n_tx, COLO_BURST);
	CU_ASSERT_EQUAL(t.s->window.n_lost, 5);
	colo_resend(t.s);
	CU_ASSERT_EQUAL(t.s->n_tx, COLO_BURST);
	drop_tx();
	colo_resend(t.s);
	CU_ASSERT_EQUAL(t.s->n_tx, 5);
	end();
}

/* Compressed pages that a source let grow: refused at the other end, and no harm done here. */
static void
test_resend_changed(void)
{
	const struct colo_frame_filter filter = {0};
	struct colo_frame_filter secondary = filter;

	begin(9000, 4, false, true);
	for (uint32_t page = 0; page < 16; page++) {
		memset(colo_page_addr(&t.b->guest, page), 'a' + page, COLO_PAGE_SIZE);
		colo_dirty_set(&t.b->todo, page);
	}
	list();
	colo_encode_new(t.s);
	CU_ASSERT_EQUAL_FATAL(t.s->n_tx, 1);
	drop_tx();
	for (uint32_t page = 0; page < 16; page++) /* 2.5 KB each, compressed: too much for one */
		for (unsigned int i = 0; i < 2500; i++)
			colo_page_addr(&t.b->guest, page)[i] = rand();
	lose(0);
	colo_resend(t.s);
	CU_ASSERT_EQUAL_FATAL(t.s->n_tx, 1);
	secondary = ut_rig_filter(t.rig, 1);
	CU_ASSERT_EQUAL_FATAL(
		colo_frame_check(&secondary, t.s->tx[0], &t.packet.frame), COLO_FRAME_OK);
	CU_ASSERT_EQUAL(
		colo_parse_records(&t.rig->blocks[1], t.s->part_size, &t.packet), COLO_drop_length);
	end();
}

static const struct ut_case cases[] = {
	{"packets", test_packets},
	{"as many records as there may be", test_most_records},
	{"zero copy", test_zero_copy},
	{"no mbuf", test_no_mbuf},
	{"no credit", test_no_credit},
	{"nothing to send", test_empty},
	{"resend", test_resend},
	{"resend: limits", test_resend_limits},
	{"resend: changed pages", test_resend_changed},
};

int
main(void)
{
	ut_eal_start(512);
	srand(6);
	return UT_RUN("encode", cases);
}
