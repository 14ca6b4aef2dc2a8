/* SPDX-License-Identifier: BSD-3-Clause */
/* A sending channel: what comes in, what goes out, what it takes over and what it publishes. */
#include <rte_malloc.h>

#include "ut_packet.h"
#include "ut_rig.h"

static struct {
	struct ut_rig *rig;
	struct colo_sender *s;
	struct ut_packet packet;
	struct colo_frame_template back; /* of the secondary's frames to channel 0 */
	struct colo_counters before;
	uint32_t pages; /* of the block that begin() makes; 0: a few */
} t;

static void
begin(unsigned int out_ring)
{
	const struct ut_rig_options o = {.mtu = 1500,
		.ip_version = 4,
		.n_channels = 2,
		.window = 64,
		.out_ring = out_ring,
		.n_blocks = 1,
		.block_size = {(t.pages != 0 ? t.pages : 8) * (uint64_t)COLO_PAGE_SIZE}};

	t.rig = ut_rig_new(&o);
	t.s = t.rig->send.channel[0];
	colo_send_poll(t.s);
	colo_frame_template_init(&t.back, &t.rig->address[1], &t.rig->address[0],
		t.rig->address[0].channel_port[0], UT_RIG_SESSION, 0);
}

/* The counter that went up by one; COLO_N_COUNTERS if none or several. */
static enum colo_counter
poll_one(struct rte_mbuf *m)
{
	enum colo_counter which = COLO_N_COUNTERS;

	t.before = t.s->counters;
	CU_ASSERT_EQUAL_FATAL(rte_ring_enqueue(t.rig->in[0][0], m), 0);
	CU_ASSERT_TRUE(colo_acks(t.s));
	for (unsigned int i = 0; i < COLO_N_COUNTERS; i++) {
		if (t.s->counters.n[i] == t.before.n[i])
			continue;
		if (which != COLO_N_COUNTERS || t.s->counters.n[i] != t.before.n[i] + 1)
			return COLO_N_COUNTERS;
		which = i;
	}
	return which;
}

static enum colo_counter
inject(uint32_t split)
{
	ut_packet_seal(&t.packet);
	return poll_one(ut_packet_mbuf(&t.packet, t.rig->port[1].tx_pool, split));
}

static struct colo_feedback *
make_feedback(void)
{
	struct colo_feedback *f;

	ut_packet_init(&t.packet, &t.back, 0, 0, 1);
	ut_packet_header(&t.packet)->type = COLO_FRAME_FEEDBACK;
	f = (struct colo_feedback *)(ut_packet_header(&t.packet) + 1);
	f->credit = RTE_BE64(64);
	t.packet.payload += sizeof(*f);
	return f;
}

static void
test_feedback(void)
{
	begin(0);
	CU_ASSERT_FALSE(colo_acks(t.s));
	for (unsigned int i = 0; i < 5; i++)
		colo_send_window_sent(&t.s->window, i, t.s->now_us);
	make_feedback()->cum = RTE_BE64(5);
	CU_ASSERT_EQUAL(inject(0), COLO_rx_feedback);
	CU_ASSERT_EQUAL(t.s->window.cum, 5);
	make_feedback()->cum = RTE_BE64(6); /* never sent */
	CU_ASSERT_EQUAL(inject(0), COLO_drop_feedback);
	CU_ASSERT_EQUAL(t.s->window.cum, 5);
	make_feedback();
	t.packet.payload--;
	CU_ASSERT_EQUAL(inject(0), COLO_drop_feedback);
	make_feedback();
	t.packet.payload -= sizeof(struct colo_feedback);
	CU_ASSERT_EQUAL(inject(0), COLO_drop_feedback);
	make_feedback();
	t.packet.payload += 8;
	CU_ASSERT_EQUAL(inject(0), COLO_drop_feedback);
	make_feedback();
	ut_packet_header(&t.packet)->type = COLO_FRAME_PAGE;
	CU_ASSERT_EQUAL(inject(0), COLO_drop_type);
	make_feedback();
	ut_packet_header(&t.packet)->session ^= 1;
	CU_ASSERT_EQUAL(inject(0), COLO_drop_session);
	t.s->session = false;
	make_feedback();
	CU_ASSERT_EQUAL(inject(0), COLO_drop_session);
	ut_rig_free(t.rig);
}

/* Control frames are the control core's, however many segments they have; until its ring is full.
 */
static void
test_control(void)
{
	void *m;

	begin(0);
	for (unsigned int i = 0; i < COLO_LANE_RING - 1; i++) {
		make_feedback();
		ut_packet_control(&t.packet, false);
		CU_ASSERT_EQUAL(inject(i % 2 ? 70 : 0), COLO_rx_control);
	}
	make_feedback();
	ut_packet_control(&t.packet, true);
	CU_ASSERT_EQUAL(inject(0), COLO_drop_control);
	make_feedback();
	ut_packet_control(&t.packet, false);
	CU_ASSERT_EQUAL(inject(0), COLO_drop_handover_full);
	make_feedback();
	ut_packet_control(&t.packet, false);
	CU_ASSERT_EQUAL(inject(70), COLO_drop_handover_full);
	CU_ASSERT_EQUAL(rte_mempool_in_use_count(t.rig->port[1].tx_pool),
		COLO_LANE_RING - 1 + (COLO_LANE_RING - 1) / 2);
	while (rte_ring_dequeue(t.rig->send.lane.rx, &m) == 0)
		rte_pktmbuf_free(m);
	CU_ASSERT_EQUAL(rte_mempool_in_use_count(t.rig->port[1].tx_pool), 0);
	ut_rig_free(t.rig);
}

static void
queue(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(t.rig->port[0].tx_pool);

		rte_pktmbuf_append(m, 60 + i);
		t.s->tx[t.s->n_tx++] = m;
	}
}

static void
queue_lane_of(uint32_t session, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(t.rig->port[0].tx_pool);

		rte_pktmbuf_append(m, 1000 + i);
		rte_pktmbuf_mtod_offset(m, struct colo_header *, t.s->template.length)->session =
			rte_cpu_to_be_32(session);
		CU_ASSERT_EQUAL_FATAL(rte_ring_enqueue(t.rig->send.lane.tx, m), 0);
	}
}

static void
queue_lane(unsigned int n)
{
	queue_lane_of(t.s->template.session, n);
}

/* Lengths of what came out, in order: that is how frames are told apart here. */
static void
expect_out(uint32_t first, unsigned int n)
{
	struct rte_mbuf *m = NULL;

	for (unsigned int i = 0; i < n; i++) {
		CU_ASSERT_EQUAL_FATAL(rte_ring_dequeue(t.rig->out[0][0], (void **)&m), 0);
		CU_ASSERT_EQUAL(rte_pktmbuf_pkt_len(m), first + i);
		rte_pktmbuf_free(m);
	}
}

/* As the sender's turn ends. */
static bool
go(struct colo_sender *s)
{
	colo_seal(s);
	return colo_transmit(s);
}

static void
test_transmit(void)
{
	begin(8); /* a driver that takes 7 */
	CU_ASSERT_FALSE(go(t.s));
	queue(20);
	CU_ASSERT_TRUE(go(t.s));
	CU_ASSERT_EQUAL(t.s->n_tx, 13);
	CU_ASSERT_EQUAL(t.s->counters.n[COLO_tx_ring_full], 1);
	CU_ASSERT_FALSE(go(t.s)); /* not one more */
	expect_out(60, 7);
	CU_ASSERT_TRUE(go(t.s));
	expect_out(67, 7);
	CU_ASSERT_TRUE(go(t.s));
	expect_out(74, 6);
	CU_ASSERT_EQUAL(t.s->n_tx, 0);
	ut_rig_free(t.rig);
}

/* Control frames go behind what waits, as far as there is room; on the first channel only. */
static void
test_transmit_lane(void)
{
	begin(0);
	queue(COLO_BURST);
	queue_lane(COLO_BURST + 1);
	CU_ASSERT_TRUE(go(t.s));
	expect_out(60, COLO_BURST);
	expect_out(1000, COLO_BURST);
	CU_ASSERT_TRUE(go(t.s));
	expect_out(1000 + COLO_BURST, 1);
	queue(COLO_BURST + 1);
	queue_lane(1);
	CU_ASSERT_TRUE(go(t.s)); /* no room for a burst more: next time */
	expect_out(60, COLO_BURST + 1);
	CU_ASSERT_EQUAL(rte_ring_count(t.rig->send.lane.tx), 1);
	CU_ASSERT_FALSE(go(t.rig->send.channel[1]));
	CU_ASSERT_EQUAL(rte_ring_count(t.rig->send.lane.tx), 1);
	CU_ASSERT_TRUE(go(t.s));
	expect_out(1000, 1);
	/* what the session before left there stays behind */
	queue_lane_of(t.s->template.session - 1, 3);
	queue_lane(1);
	CU_ASSERT_TRUE(go(t.s));
	expect_out(1000, 1);
	CU_ASSERT_EQUAL(rte_ring_count(t.rig->out[0][0]), 0);
	ut_rig_free(t.rig);
}

static void
phase(uint32_t session, uint32_t epoch)
{
	t.rig->send.phase.session = session != 0;
	if (session != 0)
		t.rig->send.phase.filter.session = session;
	t.rig->send.phase.epoch = epoch;
	colo_gate_raise(&t.rig->send.gate);
	colo_send_poll(t.s);
}

static void
list_one(uint32_t page)
{
	struct colo_outbox *box = &t.rig->send.outbox;

	colo_dirty_set(&t.rig->blocks[0].block[0].todo, page);
	box->list.ref[0] = (struct colo_piece_ref){0};
	box->list.n = 1;
	atomic_store(&box->next, 0);
}

/* However many zero pages a packet may say, a turn has its end. */
static void
test_turn(void)
{
	const uint32_t pages = 3 * COLO_TURN_PAGES_MAX;
	struct colo_outbox *box;

	t.pages = pages;
	begin(0);
	t.pages = 0;
	box = &t.rig->send.outbox;
	colo_dirty_set_range(&t.rig->blocks[0].block[0].todo, 0, pages);
	for (uint32_t i = 0; i < pages / COLO_PIECE_PAGES; i++)
		box->list.ref[i] = (struct colo_piece_ref){.piece = i};
	box->list.n = pages / COLO_PIECE_PAGES;
	atomic_store(&box->next, 0);
	t.s->window.credit = 64;
	phase(UT_RIG_SESSION, 1);
	CU_ASSERT(t.s->pages >= COLO_TURN_PAGES_MAX);
	CU_ASSERT(t.s->pages < COLO_TURN_PAGES_MAX + COLO_MAX_RECORDS * COLO_ZERO_RUN_MAX);
	for (unsigned int i = 0; i < 3; i++)
		colo_send_poll(t.s);
	CU_ASSERT_EQUAL(t.s->progress.epoch_sent, 1);
	CU_ASSERT_EQUAL(t.s->progress.zero_pages, pages);
	ut_rig_free(t.rig);
}

/* "All of it is sent" is said with the sums of the epoch, and of no other. */
static void
test_publish(void)
{
	begin(0);
	list_one(3);
	t.s->window.credit = 0;
	phase(UT_RIG_SESSION, 1);
	colo_send_poll(t.s);
	CU_ASSERT_EQUAL(t.s->progress.epoch_sent, 0); /* no credit: not sent */
	t.s->window.credit = 64;
	colo_send_poll(t.s);
	CU_ASSERT_EQUAL(t.s->progress.epoch_sent, 1);
	CU_ASSERT_EQUAL(t.s->progress.end_slot, 1);
	CU_ASSERT_EQUAL(t.s->progress.pages, 1);
	CU_ASSERT_EQUAL(t.s->progress.zero_pages, 1);
	CU_ASSERT_EQUAL(t.s->progress.digest, colo_digest(0, 3, 0, 1));
	CU_ASSERT_TRUE(t.s->progress.wire_bytes > 0);
	phase(UT_RIG_SESSION, 0); /* committed */
	CU_ASSERT_EQUAL(t.s->window.cum, 1);
	CU_ASSERT_EQUAL(t.s->window.outstanding, 0);
	t.rig->send.outbox.list.n = 0;
	phase(UT_RIG_SESSION, 2); /* an empty one */
	CU_ASSERT_EQUAL(t.s->progress.epoch_sent, 2);
	CU_ASSERT_EQUAL(t.s->progress.end_slot, 1);
	CU_ASSERT_EQUAL(t.s->progress.pages, 0);
	CU_ASSERT_EQUAL(t.s->progress.digest, 0);
	ut_rig_free(t.rig);
}

/* Another session: its epoch of the same number is not taken for sent, windows begin anew. */
static void
test_session(void)
{
	begin(0);
	list_one(3);
	phase(UT_RIG_SESSION, 1);
	CU_ASSERT_EQUAL(t.s->progress.epoch_sent, 1);
	phase(0, 0);
	CU_ASSERT_EQUAL(t.s->progress.epoch_sent, 0);
	list_one(4);
	queue(3); /* frames of the old one that no driver took */
	phase(UT_RIG_SESSION + 1, 1);
	CU_ASSERT_EQUAL(t.s->progress.epoch_sent, 1);
	CU_ASSERT_EQUAL(t.s->progress.end_slot, 1);
	CU_ASSERT_EQUAL(t.s->progress.digest, colo_digest(0, 4, 0, 1));
	CU_ASSERT_EQUAL(t.s->window.next_packet, 2);
	CU_ASSERT_EQUAL(t.s->template.session, UT_RIG_SESSION + 1);
	ut_rig_free(t.rig);
}

/* With little memory left, a little more each time: refused in words, or made; never half. */
static void
test_no_memory(void)
{
	unsigned int refused = 0, made = 0;
	struct colo_error err;

	begin(0);
	for (size_t left = 4096; left < 8u << 20; left += 128u << 10) {
		void *hog[64], *stretch = rte_malloc(NULL, left, 0);
		unsigned int n = 0;
		struct colo_sender *more;

		for (size_t size = 64u << 20; size >= 1024 && n < 64;) {
			hog[n] = rte_malloc(NULL, size, 0);
			if (hog[n] != NULL)
				n++;
			else
				size /= 2;
		}
		rte_free(stretch);
		err.text[0] = '\0';
		more = colo_sender_new(&t.rig->send, 1, &err);
		made += more != NULL;
		refused += more == NULL;
		if (more == NULL)
			CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "-m MB"));
		colo_sender_free(more);
		while (n > 0)
			rte_free(hog[--n]);
	}
	CU_ASSERT_TRUE(refused > 0);
	CU_ASSERT_TRUE(made > 0);
	ut_rig_free(t.rig);
}

static const struct ut_case cases[] = {
	{"feedback", test_feedback},
	{"control frames", test_control},
	{"transmit", test_transmit},
	{"transmit control frames", test_transmit_lane},
	{"a turn ends", test_turn},
	{"published", test_publish},
	{"another session", test_session},
	{"memory is short", test_no_memory},
};

int
main(void)
{
	ut_eal_start(64);
	return UT_RUN("sender", cases);
}
