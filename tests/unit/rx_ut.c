/* SPDX-License-Identifier: BSD-3-Clause */
/* A burst off a queue: what is another channel's is handed over, by its UDP port alone. */
#include <rte_udp.h>

#include "guard.h"
#include "ut_packet.h"
#include "ut_rig.h"

static struct {
	struct ut_rig *rig;
	struct rte_mempool *pool;
	struct colo_rx *rx[4];
	struct rte_mbuf *frames[COLO_BURST];
	bool worked;
} t;

static void
begin(unsigned int ip_version)
{
	const struct ut_rig_options o = {.mtu = 1500,
		.ip_version = ip_version,
		.n_channels = 4,
		.window = 64,
		.n_blocks = 1,
		.block_size = {COLO_PAGE_SIZE}};

	t.rig = ut_rig_new(&o);
	ut_rig_turn(t.rig);
	for (unsigned int c = 0; c < 4; c++)
		t.rx[c] = &t.rig->receive.channel[c]->rx;
}

static void
put(unsigned int queue, unsigned int channel)
{
	struct ut_packet p;

	ut_packet_init(&p, &t.rig->send.channel[channel]->template, 1, 0, 1);
	ut_packet_seal(&p);
	CU_ASSERT_EQUAL_FATAL(
		rte_ring_enqueue(t.rig->in[1][queue], ut_packet_mbuf(&p, t.pool, 0)), 0);
}

static uint16_t
burst(unsigned int channel)
{
	uint16_t n = colo_rx_burst(t.rx[channel], t.frames, &t.worked);

	rte_pktmbuf_free_bulk(t.frames, n);
	return n;
}

static uint64_t
counter(unsigned int channel, enum colo_counter c)
{
	return t.rig->receive.channel[channel]->counters.n[c];
}

static void
test_own(void)
{
	begin(4);
	CU_ASSERT_EQUAL(burst(0), 0);
	CU_ASSERT_FALSE(t.worked);
	for (unsigned int i = 0; i < COLO_BURST + 1; i++)
		put(1, 1);
	CU_ASSERT_EQUAL(burst(0), 0);
	CU_ASSERT_EQUAL(burst(1), COLO_BURST);
	CU_ASSERT_TRUE(t.worked);
	CU_ASSERT_EQUAL(burst(1), 1);
	CU_ASSERT_EQUAL(counter(1, COLO_rx_handed_over), 0);
	ut_rig_free(t.rig);
}

static void
check_handed_over(unsigned int ip_version)
{
	begin(ip_version);
	for (unsigned int c = 0; c < 4; c++)
		put(2, c);
	CU_ASSERT_EQUAL(burst(2), 1);
	CU_ASSERT_EQUAL(counter(2, COLO_rx_handed_over), 3);
	for (unsigned int c = 0; c < 4; c++)
		CU_ASSERT_EQUAL(burst(c), c != 2);
	/* work was done, though none for this channel */
	put(2, 0);
	CU_ASSERT_EQUAL(burst(2), 0);
	CU_ASSERT_TRUE(t.worked);
	CU_ASSERT_EQUAL(burst(0), 1);
	ut_rig_free(t.rig);
}

static void
test_handed_over(void)
{
	check_handed_over(4);
	check_handed_over(6);
}

/* Both at once: never more than a burst, and neither starves the other. */
static void
check_fair(bool guarded)
{
	unsigned int n = 0, all = 0;

	begin(4);
	t.rx[0]->guarded = guarded;
	for (unsigned int i = 0; i < 100; i++) {
		put(1, 0);
		put(0, 0);
	}
	while (burst(1) > 0 || t.worked)
		;
	CU_ASSERT_EQUAL(rte_ring_count(t.rig->receive.handover[0]), 100);
	n = burst(0);
	CU_ASSERT_EQUAL(n, COLO_BURST);
	CU_ASSERT_TRUE(rte_ring_count(t.rig->receive.handover[0]) < 100);
	CU_ASSERT_TRUE(rte_ring_count(t.rig->in[1][0]) < 100);
	for (all = n; (n = burst(0)) > 0; all += n)
		CU_ASSERT_TRUE(n <= COLO_BURST);
	CU_ASSERT_EQUAL(all, 200);
	ut_rig_free(t.rig);
}

static void
test_fair(void)
{
	check_fair(false);
	CU_ASSERT_EQUAL_FATAL(colo_guard_install(), 0);
	check_fair(true);
}

static void
test_ring_full(void)
{
	unsigned int room;

	begin(4);
	room = rte_ring_free_count(t.rig->receive.handover[3]);
	CU_ASSERT_EQUAL(room, COLO_HANDOVER_RING - 1);
	for (unsigned int i = 0; i < room + 5; i++) {
		put(0, 3);
		burst(0);
	}
	CU_ASSERT_EQUAL(counter(0, COLO_rx_handed_over), room);
	CU_ASSERT_EQUAL(counter(0, COLO_drop_handover_full), 5);
	CU_ASSERT_EQUAL(rte_mempool_in_use_count(t.pool), room);
	ut_rig_free(t.rig);
	CU_ASSERT_EQUAL(rte_mempool_in_use_count(t.pool), 0);
}

/* Frames that are too short to have a port, or have an unknown one: left to the check. */
static void
test_unknown(void)
{
	begin(4);
	for (uint32_t length = 0; length <= COLO_ETHER_LEN + COLO_IPV4_UDP_LEN; length++) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(t.pool);
		uint8_t *bytes = (uint8_t *)rte_pktmbuf_append(m, length);

		memset(bytes, 0, length);
		CU_ASSERT_EQUAL_FATAL(rte_ring_enqueue(t.rig->in[1][0], m), 0);
		CU_ASSERT_EQUAL(burst(0), 1);
	}
	CU_ASSERT_EQUAL(counter(0, COLO_rx_handed_over), 0);
	ut_rig_free(t.rig);
}

static void
test_no_session(void)
{
	begin(4);
	t.rx[0]->session = false;
	put(0, 1);
	CU_ASSERT_EQUAL(burst(0), 1);
	CU_ASSERT_EQUAL(counter(0, COLO_rx_handed_over), 0);
	ut_rig_free(t.rig);
}

static const struct ut_case cases[] = {
	{"a channel's own", test_own},
	{"another channel's", test_handed_over},
	{"both at once", test_fair},
	{"more than the ring holds", test_ring_full},
	{"no port, an unknown port", test_unknown},
	{"no session", test_no_session},
};

int
main(void)
{
	ut_eal_start(128);
	t.pool = rte_pktmbuf_pool_create("frames", 8191, 0, 0, 512, SOCKET_ID_ANY);
	if (t.pool == NULL)
		return 1;
	return UT_RUN("rx", cases);
}
