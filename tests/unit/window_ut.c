/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Slots, feedback, credit, loss detection: each rule at its boundary, and both ends together over
 * a wire of numbers and a clock of the test's own, against arrays of bools.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>

#include "ut.h"
#include "window.h"

static struct colo_receive_window r;
static struct colo_send_window s, before;
static union {
	struct colo_feedback f;
	uint8_t bytes[sizeof(struct colo_feedback) + (COLO_FEEDBACK_WORDS + 1) * 8];
} fb;
static uint64_t rng = 88172645463325252ull;

static uint64_t
random_below(uint64_t n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng % n;
}

/* ---- receiving ---- */

static void
test_receive_verdict(void)
{
	static const uint32_t size[] = {1, 2, 63, 64, 65, COLO_WINDOW_MAX - 1, COLO_WINDOW_MAX};

	for (unsigned int i = 0; i < RTE_DIM(size); i++) {
		colo_receive_window_init(&r, size[i]);
		CU_ASSERT_EQUAL(r.credit, size[i]);
		CU_ASSERT_EQUAL(colo_receive_window_check(&r, 0), COLO_SLOT_NEW);
		CU_ASSERT_EQUAL(colo_receive_window_check(&r, size[i] - 1), COLO_SLOT_NEW);
		CU_ASSERT_EQUAL(colo_receive_window_check(&r, size[i]), COLO_SLOT_BEYOND);
		CU_ASSERT_EQUAL(colo_receive_window_check(&r, size[i] + 1), COLO_SLOT_BEYOND);
		CU_ASSERT_EQUAL(colo_receive_window_check(&r, UINT64_MAX), COLO_SLOT_BEYOND);
		colo_receive_window_place(&r, size[i] - 1);
		CU_ASSERT_EQUAL(colo_receive_window_check(&r, size[i] - 1), COLO_SLOT_PLACED);
		CU_ASSERT_EQUAL(r.credit, size[i] == 1 ? 2 : size[i]);
		CU_ASSERT_EQUAL(colo_receive_window_gap(&r), size[i] != 1);
	}
}

/* Placed from the end down: cum jumps once, the bits are free for the next round. */
static void
test_receive_backwards(void)
{
	colo_receive_window_init(&r, COLO_WINDOW_MAX);
	for (uint64_t round = 0; round < 3; round++) {
		uint64_t base = round * COLO_WINDOW_MAX;

		for (uint64_t i = COLO_WINDOW_MAX - 1; i > 0; i--) {
			colo_receive_window_place(&r, base + i);
			CU_ASSERT_EQUAL(r.cum, base);
		}
		CU_ASSERT_TRUE(colo_receive_window_gap(&r));
		colo_receive_window_place(&r, base);
		CU_ASSERT_EQUAL(r.cum, base + COLO_WINDOW_MAX);
		CU_ASSERT_EQUAL(r.highest, r.cum);
		CU_ASSERT_EQUAL(r.credit, r.cum + COLO_WINDOW_MAX);
		CU_ASSERT_FALSE(colo_receive_window_gap(&r));
		CU_ASSERT_EQUAL(colo_receive_window_check(&r, r.cum - 1), COLO_SLOT_PLACED);
		CU_ASSERT_EQUAL(colo_receive_window_check(&r, r.cum), COLO_SLOT_NEW);
	}
}

/* 32 bits become the nearest 64: across the wrap of the low half, on both sides. */
static void
test_receive_slot(void)
{
	static const uint64_t cum[] = {0, 1, 5000, 0x7fffffff, 0x80000000, 0x80000001, 0xfffffffe,
		0xffffffff, 0x100000000, 0x100000001, 0x17fffffff, 0x123456789abc};
	static const int64_t distance[] = {-4096, -1, 0, 1, 4095, 4096, 0x7fffffff, -0x7fffffff};

	colo_receive_window_init(&r, 64);
	for (unsigned int i = 0; i < RTE_DIM(cum); i++) {
		for (unsigned int k = 0; k < RTE_DIM(distance); k++) {
			uint64_t slot = cum[i] + distance[k];

			r.cum = cum[i];
			if (distance[k] < 0 && (uint64_t)-distance[k] > cum[i]) {
				/* there is none below 0: whatever it is, it is not taken */
				r.credit = r.cum + r.size;
				CU_ASSERT_EQUAL(
					colo_receive_window_check(
						&r, colo_receive_window_slot(&r, (uint32_t)slot)),
					COLO_SLOT_BEYOND);
				continue;
			}
			CU_ASSERT_EQUAL(colo_receive_window_slot(&r, (uint32_t)slot), slot);
		}
	}
}

static void
test_receive_packet(void)
{
	colo_receive_window_init(&r, 64);
	colo_receive_window_packet(&r, 5, 1000);
	colo_receive_window_packet(&r, 4, 2000);
	CU_ASSERT_EQUAL(colo_receive_window_feedback(&r, 1500, &fb.f), sizeof(fb.f));
	CU_ASSERT_EQUAL(rte_be_to_cpu_64(fb.f.largest_packet), 5);
	CU_ASSERT_EQUAL(rte_be_to_cpu_32(fb.f.ack_delay_us), 500);
	CU_ASSERT_EQUAL(fb.f.reserved, 0);
	colo_receive_window_packet(&r, 6, 3000);
	colo_receive_window_feedback(&r, 3000, &fb.f);
	CU_ASSERT_EQUAL(rte_be_to_cpu_64(fb.f.largest_packet), 6);
	CU_ASSERT_EQUAL(fb.f.ack_delay_us, 0);
}

/* The bitmap of feedback at the ends of its words. */
static void
test_feedback_words(void)
{
	static const struct {
		uint64_t placed; /* with cum 0 */
		uint32_t words;
	} cases[] = {{1, 1}, {62, 1}, {63, 1}, {64, 2}, {127, 2}, {128, 3},
		{COLO_WINDOW_MAX - 65, COLO_FEEDBACK_WORDS - 1},
		{COLO_WINDOW_MAX - 64, COLO_FEEDBACK_WORDS},
		{COLO_WINDOW_MAX - 1, COLO_FEEDBACK_WORDS}};

	for (unsigned int i = 0; i < RTE_DIM(cases); i++) {
		uint64_t ones = 0;

		colo_receive_window_init(&r, COLO_WINDOW_MAX);
		colo_receive_window_place(&r, cases[i].placed);
		CU_ASSERT_EQUAL(colo_receive_window_feedback(&r, 0, &fb.f),
			sizeof(fb.f) + cases[i].words * 8);
		CU_ASSERT_EQUAL(rte_be_to_cpu_16(fb.f.n_words), cases[i].words);
		for (unsigned int w = 0; w < cases[i].words; w++)
			ones += __builtin_popcountll(fb.f.placed[w]);
		CU_ASSERT_EQUAL(ones, 1);
		CU_ASSERT_EQUAL(rte_be_to_cpu_64(fb.f.placed[cases[i].placed / 64]) >>
					(cases[i].placed % 64),
			1);
	}
}

/* ---- sending ---- */

static void
feedback(uint64_t cum, uint64_t credit, uint64_t largest, unsigned int n_words, uint64_t word0)
{
	memset(&fb, 0, sizeof(fb));
	fb.f.cum = rte_cpu_to_be_64(cum);
	fb.f.credit = rte_cpu_to_be_64(credit);
	fb.f.largest_packet = rte_cpu_to_be_64(largest);
	fb.f.n_words = rte_cpu_to_be_16(n_words);
	fb.f.placed[0] = rte_cpu_to_be_64(word0);
}

static bool
take(uint64_t now_us)
{
	uint32_t n_words = rte_be_to_cpu_16(fb.f.n_words);

	return colo_send_window_feedback(&s, &fb.f, sizeof(fb.f) + n_words * 8, now_us);
}

static void
send_new(unsigned int n, uint64_t now_us)
{
	for (unsigned int i = 0; i < n; i++)
		colo_send_window_sent(&s, s.next_slot, now_us);
}

static unsigned int
count_state(enum colo_slot_state state)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < COLO_WINDOW_MAX; i++)
		n += s.slot[i].state == state;
	return n;
}

static void
check_counts(void)
{
	CU_ASSERT_EQUAL(count_state(COLO_SLOT_OUTSTANDING), s.outstanding);
	CU_ASSERT_EQUAL(count_state(COLO_SLOT_LOST), s.n_lost);
}

static void
test_credit(void)
{
	colo_send_window_init(&s, 3);
	for (unsigned int i = 0; i < 3; i++) {
		CU_ASSERT_TRUE(colo_send_window_has_credit(&s));
		CU_ASSERT_EQUAL(colo_send_window_sent(&s, i, 10), i + 1);
	}
	CU_ASSERT_FALSE(colo_send_window_has_credit(&s));
	feedback(1, 4, 1, 0, 0);
	CU_ASSERT_TRUE(take(20));
	CU_ASSERT_TRUE(colo_send_window_has_credit(&s));
	send_new(1, 30);
	CU_ASSERT_FALSE(colo_send_window_has_credit(&s));
	feedback(1, 2, 1, 0, 0); /* an old one, late: credit never goes back */
	CU_ASSERT_TRUE(take(40));
	CU_ASSERT_EQUAL(s.credit, 4);
	check_counts();
}

/* However much credit: no more slots than there is room to remember. */
static void
test_window_full(void)
{
	colo_send_window_init(&s, UINT32_MAX);
	send_new(COLO_WINDOW_MAX - 1, 10);
	CU_ASSERT_TRUE(colo_send_window_has_credit(&s));
	send_new(1, 10);
	CU_ASSERT_FALSE(colo_send_window_has_credit(&s));
	check_counts();
	/* all but the first are placed: the first still holds the window */
	colo_receive_window_init(&r, COLO_WINDOW_MAX);
	for (uint64_t i = 1; i < COLO_WINDOW_MAX; i++)
		colo_receive_window_place(&r, i);
	colo_receive_window_packet(&r, COLO_WINDOW_MAX, 0);
	CU_ASSERT_TRUE(colo_send_window_feedback(
		&s, &fb.f, colo_receive_window_feedback(&r, 0, &fb.f), 20));
	CU_ASSERT_EQUAL(s.cum, 0);
	CU_ASSERT_EQUAL(s.n_lost, 1);
	CU_ASSERT_EQUAL(s.outstanding, 0);
	CU_ASSERT_FALSE(colo_send_window_has_credit(&s));
	check_counts();
}

static void
check_impossible(uint32_t length)
{
	before = s;
	CU_ASSERT_FALSE(colo_send_window_feedback(&s, &fb.f, length, 1000));
	CU_ASSERT_EQUAL(memcmp(&before, &s, sizeof(s)), 0);
}

/* What a peer cannot know is refused as a whole; its neighbour n - 1 is taken. */
static void
test_impossible(void)
{
	const uint32_t n = sizeof(struct colo_feedback);

	colo_send_window_init(&s, 200);
	send_new(100, 10); /* slots 0..99, packets 1..100 */
	feedback(101, 200, 100, 0, 0);
	check_impossible(n);
	feedback(100, 100 + COLO_WINDOW_MAX + 1, 100, 0, 0);
	check_impossible(n);
	feedback(100, 200, 101, 0, 0);
	check_impossible(n);
	feedback(UINT64_MAX, 200, 100, 0, 0);
	check_impossible(n);
	feedback(0, UINT64_MAX, 100, 0, 0);
	check_impossible(n);
	feedback(0, 200, UINT64_MAX, 0, 0);
	check_impossible(n);
	feedback(50, 200, 100, 1, 1ull << 50); /* slot 100 */
	check_impossible(n + 8);
	feedback(50, 200, 100, 1, 1ull << 63);
	check_impossible(n + 8);
	feedback(50, 200, 100, 2, 0);
	check_impossible(n + 16); /* words for slots that were never used */
	feedback(36, 200, 100, 2, 0);
	fb.f.placed[1] = rte_cpu_to_be_64(1); /* slot 100 */
	check_impossible(n + 16);
	feedback(0, 200, 100, COLO_FEEDBACK_WORDS + 1, 0);
	check_impossible(n + (COLO_FEEDBACK_WORDS + 1) * 8);
	feedback(0, 200, 100, UINT16_MAX, 0);
	check_impossible(n + 8);
	feedback(0, 200, 100, 1, 2);
	check_impossible(n + 7);
	check_impossible(n + 9);
	check_impossible(n);
	feedback(0, 200, 100, 0, 0);
	check_impossible(n - 1);
	check_impossible(n + 8);
	/* the neighbours */
	feedback(50, 200, 100, 1, 1ull << 49); /* slot 99 */
	CU_ASSERT_TRUE(take(20));
	feedback(36, 200, 100, 2, 0);
	CU_ASSERT_TRUE(take(20));
	feedback(100, 100 + COLO_WINDOW_MAX, 100, 0, 0);
	CU_ASSERT_TRUE(take(20));
	CU_ASSERT_EQUAL(s.cum, 100);
	CU_ASSERT_EQUAL(s.outstanding + s.n_lost, 0);
	check_counts();
}

/* RFC 9002, 6.1.1: lost is what was sent three packets before one that arrived. */
/* No more are outstanding than the limit, though there is credit. */
static void
test_limit(void)
{
	colo_send_window_init(&s, 100);
	s.limit = 8;
	send_new(7, 10);
	CU_ASSERT_TRUE(colo_send_window_has_credit(&s));
	send_new(1, 10);
	CU_ASSERT_FALSE(colo_send_window_has_credit(&s));
	feedback(1, 200, 1, 0, 0);
	CU_ASSERT_TRUE(take(20));
	CU_ASSERT_TRUE(colo_send_window_has_credit(&s));
	check_counts();
}

/* Declared lost, and then its first transmission is acknowledged: before and after resending. */
static void
test_spurious_counted(void)
{
	colo_send_window_init(&s, 100);
	send_new(6, 10);
	feedback(0, 100, 6, 1, 0x38); /* packets 4, 5, 6: packets 1, 2, 3 are lost */
	CU_ASSERT_TRUE(take(20));
	CU_ASSERT_EQUAL(s.n_lost, 3);
	CU_ASSERT_EQUAL(s.spurious, 0);
	feedback(1, 100, 6, 1, 0x1c); /* slot 0 came late, before it was sent again */
	CU_ASSERT_TRUE(take(21));
	CU_ASSERT_EQUAL(s.spurious, 1);
	CU_ASSERT_EQUAL(colo_send_window_sent(&s, 1, 30), 7);
	CU_ASSERT_EQUAL(colo_send_window_sent(&s, 2, 30), 8);
	feedback(2, 100, 6, 1, 0x0e); /* slot 1: nobody has seen packet 7 yet */
	CU_ASSERT_TRUE(take(31));
	CU_ASSERT_EQUAL(s.spurious, 2);
	feedback(6, 100, 8, 0,
		0); /* slot 2 by packet 8: it was lost indeed, as far as can be told */
	CU_ASSERT_TRUE(take(40));
	CU_ASSERT_EQUAL(s.spurious, 2);
	send_new(1, 50);
	feedback(7, 107, 9, 0, 0);
	CU_ASSERT_TRUE(take(60));
	CU_ASSERT_EQUAL(s.spurious, 2);
	check_counts();
}

static void
test_packet_threshold(void)
{
	uint64_t slot;

	colo_send_window_init(&s, 100);
	send_new(10, 10);
	feedback(0, 100, 3, 1, 4); /* packet 3, slot 2 */
	CU_ASSERT_TRUE(take(20));
	CU_ASSERT_EQUAL(s.n_lost, 0);
	feedback(0, 100, 4, 1, 8); /* packet 4, slot 3: packet 1 is lost, 2 is not */
	CU_ASSERT_TRUE(take(20));
	CU_ASSERT_EQUAL(s.n_lost, 1);
	CU_ASSERT_TRUE(colo_send_window_lost(&s, &slot));
	CU_ASSERT_EQUAL(slot, 0);
	CU_ASSERT_EQUAL(s.lost_by_packet, 1);
	feedback(0, 100, 5, 1, 16);
	CU_ASSERT_TRUE(take(20));
	CU_ASSERT_EQUAL(s.n_lost, 2);
	check_counts();
	/* the lowest first, and again until it is sent */
	CU_ASSERT_TRUE(colo_send_window_lost(&s, &slot));
	CU_ASSERT_EQUAL(slot, 0);
	CU_ASSERT_EQUAL(colo_send_window_sent(&s, 0, 30), 11);
	CU_ASSERT_TRUE(colo_send_window_lost(&s, &slot));
	CU_ASSERT_EQUAL(slot, 1);
	CU_ASSERT_EQUAL(colo_send_window_sent(&s, 1, 30), 12);
	CU_ASSERT_FALSE(colo_send_window_lost(&s, &slot));
	CU_ASSERT_EQUAL(s.next_slot, 10);
	check_counts();
}

/* A slot is lost, and then its first transmission arrives after all. */
static void
test_spurious(void)
{
	uint64_t slot;

	colo_send_window_init(&s, 100);
	send_new(10, 10);
	feedback(0, 100, 10, 1, 0x3fe);
	CU_ASSERT_TRUE(take(20));
	CU_ASSERT_EQUAL(s.n_lost, 1);
	feedback(10, 110, 10, 0, 0);
	CU_ASSERT_TRUE(take(21));
	CU_ASSERT_EQUAL(s.n_lost, 0);
	CU_ASSERT_EQUAL(s.cum, 10);
	CU_ASSERT_FALSE(colo_send_window_lost(&s, &slot));
	feedback(0, 100, 10, 1, 0x3fe); /* and the older feedback once more */
	CU_ASSERT_TRUE(take(22));
	CU_ASSERT_EQUAL(s.cum, 10);
	CU_ASSERT_EQUAL(s.outstanding + s.n_lost, 0);
	check_counts();
}

/* RFC 9002, 6.1.2: sent 9/8 of a round trip before one that arrived. */
static void
test_time_threshold(void)
{
	colo_send_window_init(&s, 100);
	send_new(2, 100000);
	feedback(0, 100, 2, 1, 2); /* packet 2 arrived after 8000 us */
	CU_ASSERT_TRUE(take(108000));
	CU_ASSERT_EQUAL(s.srtt_us, 8000);
	colo_send_window_timer(&s, 108999);
	CU_ASSERT_EQUAL(s.n_lost, 0);
	colo_send_window_timer(&s, 109000);
	CU_ASSERT_EQUAL(s.n_lost, 1);
	CU_ASSERT_EQUAL(s.lost_by_time, 1);
	check_counts();
}

/* ... but not within the granularity of clocks. */
static void
test_granularity(void)
{
	colo_send_window_init(&s, 100);
	send_new(2, 100000);
	feedback(0, 100, 2, 1, 2);
	CU_ASSERT_TRUE(take(100010));
	colo_send_window_timer(&s, 100000 + COLO_GRANULARITY_US - 1);
	CU_ASSERT_EQUAL(s.n_lost, 0);
	colo_send_window_timer(&s, 100000 + COLO_GRANULARITY_US);
	CU_ASSERT_EQUAL(s.n_lost, 1);
}

/* RFC 9002, 6.2: smoothed round trip and four times its variation; doubled each time; bounded. */
static void
test_probe(void)
{
	uint64_t now = 1000000, pto, slot;

	colo_send_window_init(&s, 100);
	pto = COLO_INITIAL_RTT_US + 2 * COLO_INITIAL_RTT_US + COLO_MAX_ACK_DELAY_US;
	send_new(2, now);
	CU_ASSERT_EQUAL(colo_send_window_pto_us(&s), pto);
	colo_send_window_timer(&s, now + pto - 1);
	CU_ASSERT_EQUAL(s.probes, 0);
	now += pto;
	colo_send_window_timer(&s, now);
	CU_ASSERT_EQUAL(s.probes, 1);
	CU_ASSERT_TRUE(colo_send_window_lost(&s, &slot));
	CU_ASSERT_EQUAL(slot, 0);
	CU_ASSERT_EQUAL(colo_send_window_pto_us(&s), 2 * pto);
	colo_send_window_timer(&s, now + 100 * pto); /* as long as it waits to be sent: no other */
	CU_ASSERT_EQUAL(s.probes, 1);
	colo_send_window_sent(&s, 0, now);
	colo_send_window_timer(&s, now + 2 * pto - 1);
	CU_ASSERT_EQUAL(s.probes, 1);
	colo_send_window_timer(&s, now + 2 * pto);
	CU_ASSERT_EQUAL(s.probes, 2);
	for (unsigned int i = 0; i < 40; i++) {
		now += COLO_MAX_PTO_US + 1;
		if (colo_send_window_lost(&s, &slot))
			colo_send_window_sent(&s, slot, now);
		now += COLO_MAX_PTO_US;
		colo_send_window_timer(&s, now);
	}
	CU_ASSERT_EQUAL(s.probes, 42);
	CU_ASSERT_EQUAL(colo_send_window_pto_us(&s), COLO_MAX_PTO_US);
	check_counts();
	feedback(1, 101, 1, 0, 0); /* progress: back to the first */
	CU_ASSERT_TRUE(take(now));
	CU_ASSERT_EQUAL(s.pto_count, 0);
	CU_ASSERT_TRUE(colo_send_window_pto_us(&s) < COLO_MAX_PTO_US);
}

static void
test_idle_timer(void)
{
	colo_send_window_init(&s, 100);
	colo_send_window_timer(&s, 1000000000);
	CU_ASSERT_EQUAL(s.probes, 0);
	send_new(1, 1000000000);
	feedback(1, 101, 1, 0, 0);
	CU_ASSERT_TRUE(take(1000000100));
	colo_send_window_timer(&s, 9000000000);
	CU_ASSERT_EQUAL(s.probes, 0);
	/* after a long time without anything to send the timer starts anew */
	send_new(1, 9000000000);
	colo_send_window_timer(&s, 9000000001);
	CU_ASSERT_EQUAL(s.probes, 0);
}

/* RFC 9002, 5.3. */
static void
test_rtt(void)
{
	colo_send_window_init(&s, 100);
	send_new(1, 1000);
	feedback(1, 101, 1, 0, 0);
	CU_ASSERT_TRUE(take(1800));
	CU_ASSERT_EQUAL(s.srtt_us, 800);
	CU_ASSERT_EQUAL(s.rttvar_us, 400);
	send_new(1, 2000);
	feedback(2, 102, 2, 0, 0);
	fb.f.ack_delay_us = rte_cpu_to_be_32(400);
	CU_ASSERT_TRUE(take(4000)); /* 2000, of which 400 are the peer's */
	CU_ASSERT_EQUAL(s.latest_rtt_us, 1600);
	CU_ASSERT_EQUAL(s.rttvar_us, (3 * 400 + 800) / 4);
	CU_ASSERT_EQUAL(s.srtt_us, (7 * 800 + 1600) / 8);
	send_new(1, 5000);
	feedback(3, 103, 3, 0, 0);
	fb.f.ack_delay_us = UINT32_MAX; /* nonsense is not subtracted */
	CU_ASSERT_TRUE(take(5500));
	CU_ASSERT_EQUAL(s.latest_rtt_us, 500);
}

/* A packet number is never ambiguous: the second transmission is measured from its own time. */
static void
test_rtt_resent(void)
{
	uint64_t slot;

	colo_send_window_init(&s, 100);
	send_new(1, 1000);
	colo_send_window_timer(&s, 1000 + COLO_MAX_PTO_US);
	CU_ASSERT_TRUE_FATAL(colo_send_window_lost(&s, &slot));
	CU_ASSERT_EQUAL(colo_send_window_sent(&s, slot, 300000), 2);
	feedback(1, 101, 1, 0,
		0); /* the first arrived after all, and is not outstanding: no sample */
	CU_ASSERT_TRUE(take(300100));
	CU_ASSERT_FALSE(s.has_rtt);
	send_new(1, 400000);
	feedback(2, 102, 3, 0, 0);
	CU_ASSERT_TRUE(take(400700));
	CU_ASSERT_EQUAL(s.srtt_us, 700);
}

/* One slot sent more often than packet numbers are remembered, another outstanding all the time. */
static void
test_packet_ring(void)
{
	uint64_t slot;

	colo_send_window_init(&s, 100);
	send_new(2, 10);
	colo_send_window_timer(&s, 10 + COLO_MAX_PTO_US);
	for (unsigned int i = 0; i < COLO_PACKET_RING - 2; i++) {
		CU_ASSERT_TRUE_FATAL(colo_send_window_lost(&s, &slot));
		CU_ASSERT_EQUAL(slot, 0);
		colo_send_window_sent(&s, 0, 20 + i);
		CU_ASSERT_EQUAL(s.slot[1].state, COLO_SLOT_OUTSTANDING);
		/* lost again */
		s.slot[0].state = COLO_SLOT_LOST;
		s.outstanding--;
		s.n_lost++;
	}
	for (unsigned int i = 0; i < 4; i++) {
		colo_send_window_sent(&s, 0, 20);
		s.slot[0].state = COLO_SLOT_LOST;
		s.outstanding--;
		s.n_lost++;
	}
	CU_ASSERT_EQUAL(s.slot[1].state, COLO_SLOT_LOST); /* its number is forgotten */
	check_counts();
	colo_send_window_sent(&s, 0, 20);
	colo_send_window_sent(&s, 1, 20);
	feedback(2, 102, s.next_packet - 1, 0, 0);
	CU_ASSERT_TRUE(take(30));
	CU_ASSERT_EQUAL(s.cum, 2);
	check_counts();
}

static void
test_all_acked(void)
{
	uint64_t slot;

	colo_send_window_init(&s, COLO_WINDOW_MAX);
	send_new(100, 10);
	feedback(0, COLO_WINDOW_MAX, 50, 1, 1ull << 49);
	CU_ASSERT_TRUE(take(20));
	CU_ASSERT_TRUE(s.n_lost > 0 && s.outstanding > 0);
	colo_send_window_all_acked(&s, 30);
	CU_ASSERT_EQUAL(s.cum, 100);
	CU_ASSERT_EQUAL(s.n_lost + s.outstanding, 0);
	CU_ASSERT_FALSE(colo_send_window_lost(&s, &slot));
	check_counts();
	colo_send_window_timer(&s, 10000000);
	CU_ASSERT_EQUAL(s.probes, 0);
}

/* ---- both ends, over a wire of numbers ---- */

#define SLOTS	 20000u
#define WIRE_MAX 20000u

struct in_flight {
	uint64_t arrives_us;
	uint64_t packet_number;
	uint32_t slot; /* low half, as on the wire */
	bool is_feedback;
	uint32_t length;
	union {
		struct colo_feedback f;
		uint8_t bytes[sizeof(struct colo_feedback) + COLO_FEEDBACK_WORDS * 8];
	} fb;
};

static struct {
	struct in_flight wire[WIRE_MAX];
	unsigned int n;
	uint64_t now_us;
	unsigned int loss; /* in 1000ths, both ways */
	bool placed[SLOTS];
	uint64_t n_placed;
	unsigned int unreported;
} sim;

static void
sim_send(uint64_t slot)
{
	struct in_flight *p;
	uint64_t number = colo_send_window_sent(&s, slot, sim.now_us);
	unsigned int copies = random_below(100) < 3 ? 2 : 1;

	while (copies-- > 0 && sim.n < WIRE_MAX && random_below(1000) >= sim.loss) {
		p = &sim.wire[sim.n++];
		*p = (struct in_flight){.arrives_us = sim.now_us + 50 + random_below(100),
			.packet_number = number,
			.slot = (uint32_t)slot};
	}
}

static void
sim_feedback(void)
{
	struct in_flight *p = &sim.wire[sim.n];

	sim.unreported = 0;
	if (sim.n == WIRE_MAX || random_below(1000) < sim.loss)
		return;
	p->is_feedback = true;
	p->length = colo_receive_window_feedback(&r, sim.now_us, &p->fb.f);
	p->arrives_us = sim.now_us + 50 + random_below(100);
	sim.n++;
}

static void
sim_receive(const struct in_flight *p)
{
	uint64_t slot = colo_receive_window_slot(&r, p->slot);

	colo_receive_window_packet(&r, p->packet_number, sim.now_us);
	switch (colo_receive_window_check(&r, slot)) {
	case COLO_SLOT_NEW:
		CU_ASSERT_FALSE_FATAL(slot >= SLOTS || sim.placed[slot]);
		sim.placed[slot] = true;
		sim.n_placed++;
		colo_receive_window_place(&r, slot);
		break;
	case COLO_SLOT_PLACED:
		CU_ASSERT_TRUE_FATAL(slot < SLOTS && sim.placed[slot]);
		break;
	case COLO_SLOT_BEYOND:
		CU_FAIL_FATAL("a slot beyond the credit was used");
	}
	if (++sim.unreported >= 16)
		sim_feedback();
}

static void
sim_deliver(void)
{
	for (unsigned int i = 0; i < sim.n;) {
		struct in_flight p = sim.wire[i];

		if (p.arrives_us > sim.now_us) {
			i++;
			continue;
		}
		sim.wire[i] = sim.wire[--sim.n];
		if (p.is_feedback) {
			CU_ASSERT_TRUE_FATAL(
				colo_send_window_feedback(&s, &p.fb.f, p.length, sim.now_us));
		} else {
			sim_receive(&p);
		}
	}
}

static void
sim_turn(void)
{
	uint64_t slot;

	sim_deliver();
	if (sim.unreported > 0 && random_below(10) == 0)
		sim_feedback();
	colo_send_window_timer(&s, sim.now_us);
	for (unsigned int i = 0; i < 32 && colo_send_window_lost(&s, &slot); i++)
		sim_send(slot);
	for (unsigned int i = 0; i < 32 && s.next_slot < SLOTS && colo_send_window_has_credit(&s);
		i++)
		sim_send(s.next_slot);
	CU_ASSERT_TRUE_FATAL(s.cum <= r.cum); /* nothing is acknowledged that was not placed */
	sim.now_us += 1 + random_below(40);
}

static void
simulate(uint32_t size, unsigned int loss)
{
	memset(&sim, 0, sizeof(sim));
	sim.now_us = 1000000;
	sim.loss = loss;
	colo_receive_window_init(&r, size);
	colo_send_window_init(&s, size);
	for (unsigned int turns = 0; s.cum < SLOTS && turns < 10000000; turns++) {
		sim_turn();
		if (turns % 1000 == 0)
			check_counts();
	}
	CU_ASSERT_EQUAL(s.cum, SLOTS);
	CU_ASSERT_EQUAL(sim.n_placed, SLOTS);
	CU_ASSERT_EQUAL(r.cum, SLOTS);
	CU_ASSERT_EQUAL(s.outstanding + s.n_lost, 0);
	check_counts();
	if (loss > 0)
		CU_ASSERT_TRUE(s.lost_by_packet > 0);
}

static void
test_simulate(void)
{
	simulate(COLO_WINDOW_MAX, 0);
	simulate(COLO_WINDOW_MAX, 30);
	simulate(64, 50);
	simulate(17, 10);
}

static void
test_simulate_bad(void)
{
	simulate(COLO_WINDOW_MAX, 300);
	simulate(64, 300);
}

static const struct ut_case cases[] = {
	{"receive: what is taken", test_receive_verdict},
	{"receive: from the end down", test_receive_backwards},
	{"receive: 64 bits from 32", test_receive_slot},
	{"receive: packet numbers", test_receive_packet},
	{"receive: words of feedback", test_feedback_words},
	{"send: credit", test_credit},
	{"send: window full", test_window_full},
	{"send: impossible feedback", test_impossible},
	{"send: a limit beside the credit", test_limit},
	{"send: spurious ones are counted", test_spurious_counted},
	{"send: packet threshold", test_packet_threshold},
	{"send: lost and then not", test_spurious},
	{"send: time threshold", test_time_threshold},
	{"send: granularity", test_granularity},
	{"send: probes", test_probe},
	{"send: nothing outstanding", test_idle_timer},
	{"send: round-trip time", test_rtt},
	{"send: round-trip time of what was resent", test_rtt_resent},
	{"send: more packets than are remembered", test_packet_ring},
	{"send: all acknowledged", test_all_acked},
	{"both, good and bad wires", test_simulate},
	{"both, a wire that loses every third", test_simulate_bad},
};

int
main(void)
{
	return UT_RUN("window", cases);
}
