/* SPDX-License-Identifier: BSD-3-Clause */
/* When the primary is told, what it is told, and what waits where a driver or a pool is short. */
#include "ut_rig.h"

static struct {
	struct ut_rig *rig;
	struct colo_receiver *r;
} t;

static void
begin(uint32_t window, unsigned int out_ring)
{
	const struct ut_rig_options o = {.mtu = 1280,
		.ip_version = 6,
		.n_channels = 2,
		.window = window,
		.out_ring = out_ring,
		.n_blocks = 1,
		.block_size = {COLO_PAGE_SIZE}};

	t.rig = ut_rig_new(&o);
	t.r = t.rig->receive.channel[0];
	colo_receive_poll(t.r);
	t.r->now_us = 1000000;
	t.r->feedback_us = 1000000;
}

static bool
sends(void)
{
	uint64_t before = t.r->counters.n[COLO_tx_feedback];
	uint16_t n = t.r->n_tx;

	colo_feedback(t.r);
	CU_ASSERT_EQUAL(t.r->n_tx - n, t.r->counters.n[COLO_tx_feedback] - before);
	if (t.r->n_tx == n)
		return false;
	CU_ASSERT_FALSE(t.r->feedback_due);
	CU_ASSERT_EQUAL(t.r->unreported, 0);
	CU_ASSERT_EQUAL(t.r->feedback_us, t.r->now_us);
	return true;
}

static void
check_every(uint32_t window, uint32_t every)
{
	begin(window, 0);
	CU_ASSERT_FALSE(sends()); /* nothing to tell */
	t.r->unreported = every - 1;
	CU_ASSERT_EQUAL(sends(), false);
	t.r->unreported = every;
	CU_ASSERT_TRUE(sends());
	t.r->feedback_due = true; /* asked for */
	CU_ASSERT_TRUE(sends());
	CU_ASSERT_FALSE(sends());
	ut_rig_free(t.rig);
}

/* Every 32 slots, or every quarter of a smaller window. */
static void
test_every(void)
{
	check_every(COLO_WINDOW_MAX, 32);
	check_every(129, 32);
	check_every(128, 32);
	check_every(127, 31);
	check_every(8, 2);
	check_every(7, 1);
	check_every(3, 1);
	check_every(1, 1);
}

static void
test_timer(void)
{
	begin(COLO_WINDOW_MAX, 0);
	t.r->now_us += 10000000;
	CU_ASSERT_FALSE(sends()); /* nothing was placed: no timer */
	t.r->unreported = 1;
	t.r->feedback_us = t.r->now_us - 199;
	CU_ASSERT_FALSE(sends());
	t.r->feedback_us = t.r->now_us - 200;
	CU_ASSERT_TRUE(sends());
	ut_rig_free(t.rig);
}

static void
test_no_session(void)
{
	begin(64, 0);
	t.r->session = false;
	t.r->feedback_due = true;
	CU_ASSERT_FALSE(sends());
	ut_rig_free(t.rig);
}

/* The largest there is, checked as the primary does, and taken by a window that sent those slots.
 */
static void
test_contents(void)
{
	static struct colo_send_window w;
	struct colo_frame_filter filter;
	struct colo_frame f;
	struct rte_mbuf *m;

	begin(COLO_WINDOW_MAX, 0);
	filter = ut_rig_filter(t.rig, 0);
	colo_send_window_init(&w, COLO_WINDOW_MAX);
	for (uint64_t slot = 0; slot < COLO_WINDOW_MAX; slot++)
		colo_receive_window_packet(
			&t.r->window, colo_send_window_sent(&w, slot, t.r->now_us), t.r->now_us);
	for (uint64_t slot = 1; slot < COLO_WINDOW_MAX; slot += 2)
		colo_receive_window_place(&t.r->window, slot);
	for (unsigned int i = 1; i <= 2; i++) {
		t.r->feedback_due = true;
		CU_ASSERT_TRUE_FATAL(sends());
		m = t.r->tx[0];
		CU_ASSERT_TRUE(rte_pktmbuf_pkt_len(m) <= 1280 + COLO_ETHER_LEN);
		CU_ASSERT_EQUAL_FATAL(colo_frame_check(&filter, m, &f), COLO_FRAME_OK);
		CU_ASSERT_EQUAL(f.type, COLO_FRAME_FEEDBACK);
		CU_ASSERT_EQUAL(f.channel, 0);
		CU_ASSERT_EQUAL(f.packet_number, i);
		CU_ASSERT_TRUE(colo_send_window_feedback(&w,
			(struct colo_feedback *)(f.head + sizeof(struct colo_header)),
			f.length - sizeof(struct colo_header), t.r->now_us));
		CU_ASSERT_TRUE(colo_feedback_transmit(t.r));
	}
	for (uint64_t slot = 0; slot < COLO_WINDOW_MAX; slot++)
		if (slot % 2 == 1)
			CU_ASSERT_EQUAL(colo_send_window_at(&w, slot)->state, COLO_SLOT_FREE);
	ut_rig_free(t.rig);
}

/* No mbuf: counted, and still due. */
static void
test_no_mbuf(void)
{
	struct rte_mbuf *taken[8192];
	unsigned int n = 0;

	begin(64, 0);
	while (n < 8192 && (taken[n] = rte_pktmbuf_alloc(t.rig->port[1].tx_pool)) != NULL)
		n++;
	CU_ASSERT_TRUE_FATAL(n < 8192);
	t.r->feedback_due = true;
	t.r->unreported = 3;
	CU_ASSERT_FALSE(sends());
	CU_ASSERT_EQUAL(t.r->counters.n[COLO_tx_no_mbuf], 1);
	CU_ASSERT_TRUE(t.r->feedback_due);
	CU_ASSERT_EQUAL(t.r->unreported, 3);
	rte_pktmbuf_free_bulk(taken, n);
	CU_ASSERT_TRUE(sends());
	ut_rig_free(t.rig);
}

/* A driver that takes 3 frames: the others wait, in order; a full queue makes no more feedback. */
static void
test_partial(void)
{
	struct rte_mbuf *order[COLO_BURST], *m = NULL;

	begin(64, 4);
	for (unsigned int i = 0; i < COLO_BURST; i++) {
		t.r->feedback_due = true;
		CU_ASSERT_TRUE(sends());
		order[i] = t.r->tx[i];
	}
	t.r->feedback_due = true;
	CU_ASSERT_FALSE(sends());
	CU_ASSERT_EQUAL(t.r->n_tx, COLO_BURST);
	for (unsigned int i = 0; i < COLO_BURST; i += 3) {
		CU_ASSERT_TRUE(colo_feedback_transmit(t.r));
		CU_ASSERT_FALSE(colo_feedback_transmit(t.r));
		for (unsigned int k = i; k < RTE_MIN(i + 3, COLO_BURST); k++) {
			CU_ASSERT_EQUAL(rte_ring_dequeue(t.rig->out[1][0], (void **)&m), 0);
			CU_ASSERT_PTR_EQUAL(m, order[k]);
			rte_pktmbuf_free(m);
		}
	}
	CU_ASSERT_EQUAL(t.r->n_tx, 0);
	CU_ASSERT_FALSE(colo_feedback_transmit(t.r));
	CU_ASSERT_TRUE(t.r->counters.n[COLO_tx_ring_full] > 0);
	ut_rig_free(t.rig);
}

/* The control core's frames go out on the first channel only. */
static void
test_lane(void)
{
	struct rte_mbuf *m;

	begin(64, 0);
	for (unsigned int i = 0; i < COLO_BURST + 1; i++) {
		m = rte_pktmbuf_alloc(t.rig->port[1].tx_pool);
		rte_pktmbuf_append(m, 100);
		rte_pktmbuf_mtod_offset(m, struct colo_header *, t.r->template.length)->session =
			rte_cpu_to_be_32(t.r->template.session);
		CU_ASSERT_EQUAL_FATAL(rte_ring_enqueue(t.rig->receive.lane.tx, m), 0);
	}
	CU_ASSERT_FALSE(colo_feedback_transmit(t.rig->receive.channel[1]));
	CU_ASSERT_EQUAL(rte_ring_count(t.rig->receive.lane.tx), COLO_BURST + 1);
	CU_ASSERT_TRUE(colo_feedback_transmit(t.r));
	CU_ASSERT_EQUAL(rte_ring_count(t.rig->out[1][0]), COLO_BURST);
	CU_ASSERT_TRUE(colo_feedback_transmit(t.r));
	CU_ASSERT_EQUAL(rte_ring_count(t.rig->out[1][0]), COLO_BURST + 1);
	ut_rig_free(t.rig);
}

static const struct ut_case cases[] = {
	{"every so many slots", test_every},
	{"timer", test_timer},
	{"no session", test_no_session},
	{"contents", test_contents},
	{"no mbuf", test_no_mbuf},
	{"a driver that takes few", test_partial},
	{"control frames", test_lane},
};

int
main(void)
{
	ut_eal_start(256);
	return UT_RUN("feedback", cases);
}
