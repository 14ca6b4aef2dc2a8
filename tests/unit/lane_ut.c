/* SPDX-License-Identifier: BSD-3-Clause */
/* The control lane: in order, once, asked again when overdue; bad requests and answers are none. */
#include "lane.h"
#include "ut_eal.h"
#include "ut_packet.h"

#define SESSION 0x55667788u

struct request {
	struct colo_control_request head;
	struct colo_channel_end end[COLO_CONTROL_ENDS_MAX + 1];
} __attribute__((packed));

static struct {
	struct rte_mempool *pool;
	struct colo_lane_rings primary, secondary;
	struct colo_address a, b;
	struct colo_lane lane;
	struct colo_lane_server server;
	struct colo_frame frame;
} t;

static struct rte_ring *
ring(const char *name)
{
	struct rte_ring *r = rte_ring_create(name, COLO_LANE_RING, SOCKET_ID_ANY, 0);

	CU_ASSERT_PTR_NOT_NULL_FATAL(r);
	return r;
}

static void
begin(void)
{
	struct colo_frame_template there, back;

	t.primary = (struct colo_lane_rings){.tx = ring("ptx"), .rx = ring("prx")};
	t.secondary = (struct colo_lane_rings){.tx = ring("stx"), .rx = ring("srx")};
	t.a = (struct colo_address){
		.ip_version = 4, .ip = {10, 0, 0, 1}, .source_port = 1, .channel_port = {100}};
	t.b = (struct colo_address){
		.ip_version = 4, .ip = {10, 0, 0, 2}, .source_port = 2, .channel_port = {200}};
	colo_frame_template_init(&there, &t.a, &t.b, 200, SESSION, 0);
	colo_frame_template_init(&back, &t.b, &t.a, 100, SESSION, 0);
	colo_lane_init(&t.lane, &t.primary, t.pool, &there);
	colo_lane_server_init(&t.server, &t.secondary, t.pool, &back);
}

static void
free_ring(struct rte_ring *r)
{
	void *m;

	while (rte_ring_dequeue(r, &m) == 0)
		rte_pktmbuf_free(m);
	rte_ring_free(r);
}

static void
end(void)
{
	free_ring(t.primary.tx);
	free_ring(t.primary.rx);
	free_ring(t.secondary.tx);
	free_ring(t.secondary.rx);
	CU_ASSERT_EQUAL(rte_mempool_in_use_count(t.pool), 0);
}

/* The next frame on its way out, checked into t.frame as the other end would. */
static bool
next_frame(struct rte_ring *tx, bool at_secondary)
{
	const struct colo_frame_filter filter = {.local = at_secondary ? t.b : t.a,
		.peer = at_secondary ? t.a : t.b,
		.session = SESSION,
		.n_channels = 1,
		.mtu = COLO_MTU_MIN,
		.take_pages = at_secondary};
	enum colo_counter why;
	void *m;

	if (rte_ring_dequeue(tx, &m) != 0)
		return false;
	why = colo_frame_check(&filter, m, &t.frame);
	rte_pktmbuf_free(m);
	CU_ASSERT_EQUAL(why, COLO_FRAME_OK);
	return true;
}

static void
ask(uint8_t op, uint8_t n, uint64_t now_us)
{
	struct request r = {.head = {.op = op, .kind = COLO_EPOCH_PRECOPY, .n = n}};

	for (unsigned int i = 0; i < n; i++)
		r.end[i].pages = rte_cpu_to_be_64(1000 + i);
	colo_lane_ask(&t.lane, &r.head, sizeof(r.head) + n * sizeof(r.end[0]), now_us);
}

static const struct colo_control_request *
take_next(void)
{
	CU_ASSERT_TRUE_FATAL(next_frame(t.primary.tx, true));
	return colo_lane_server_take(&t.server, &t.frame);
}

static void
answer(uint8_t op)
{
	const struct colo_control_reply reply = {.op = op,
		.result = COLO_RESULT_DIGEST,
		.detail = 3,
		.commit_us = 11,
		.flush_us = 22,
		.pages = 1ull << 40,
		.wire_bytes = 1ull << 50};

	colo_lane_server_answer(&t.server, &reply);
}

static void
test_round_trip(void)
{
	const struct colo_control_request *r;
	struct colo_control_reply reply;

	begin();
	ask(COLO_CONTROL_END, COLO_MAX_CHANNELS, 1000);
	r = take_next();
	CU_ASSERT_PTR_NOT_NULL_FATAL(r);
	CU_ASSERT_EQUAL(r->op, COLO_CONTROL_END);
	CU_ASSERT_EQUAL(r->n, COLO_MAX_CHANNELS);
	CU_ASSERT_EQUAL(rte_be_to_cpu_64(r->end[COLO_MAX_CHANNELS - 1].pages),
		1000 + COLO_MAX_CHANNELS - 1);
	answer(COLO_CONTROL_END);
	CU_ASSERT_TRUE_FATAL(next_frame(t.secondary.tx, false));
	CU_ASSERT_TRUE(colo_lane_answer(&t.lane, &t.frame, &reply, 2000));
	CU_ASSERT_EQUAL(reply.result, COLO_RESULT_DIGEST);
	CU_ASSERT_EQUAL(reply.detail, 3);
	CU_ASSERT_EQUAL(reply.commit_us, 11);
	CU_ASSERT_EQUAL(reply.flush_us, 22);
	CU_ASSERT_EQUAL(reply.pages, 1ull << 40);
	CU_ASSERT_EQUAL(reply.wire_bytes, 1ull << 50);
	/* once is enough */
	CU_ASSERT_FALSE(colo_lane_answer(&t.lane, &t.frame, &reply, 2000));
	CU_ASSERT_FALSE(next_frame(t.primary.tx, true));
	end();
}

/* Asked again after a probe timeout that doubles; the packet number is a new one each time. */
static void
test_ask_again(void)
{
	uint64_t now = 1000000, last_packet = 0, wait, last_wait = 0;

	begin();
	ask(COLO_CONTROL_BEGIN, 0, now);
	CU_ASSERT_PTR_NOT_NULL(take_next());
	last_packet = t.frame.packet_number;
	for (unsigned int i = 0; i < 12; i++) {
		for (wait = 0; wait <= COLO_MAX_PTO_US; wait += 100) {
			colo_lane_timer(&t.lane, now + wait);
			if (next_frame(t.primary.tx, true))
				break;
		}
		CU_ASSERT_TRUE_FATAL(wait <= COLO_MAX_PTO_US);
		CU_ASSERT_TRUE(wait >= last_wait);
		CU_ASSERT_TRUE(t.frame.packet_number > last_packet);
		last_packet = t.frame.packet_number;
		last_wait = wait;
		now += wait;
		CU_ASSERT_PTR_NULL(colo_lane_server_take(&t.server, &t.frame));
	}
	CU_ASSERT_EQUAL(last_wait, COLO_MAX_PTO_US);
	CU_ASSERT_EQUAL(t.lane.resent, 12);
	CU_ASSERT_EQUAL(t.server.asked_again, 12);
	CU_ASSERT_FALSE(next_frame(t.secondary.tx, false)); /* not answered: nothing to repeat */
	answer(COLO_CONTROL_BEGIN);
	end();
}

/* The answer is lost: asked again, the secondary says the same again and does nothing. */
static void
test_answer_lost(void)
{
	struct colo_control_reply reply;

	begin();
	ask(COLO_CONTROL_BEGIN, 0, 1000);
	CU_ASSERT_PTR_NOT_NULL(take_next());
	answer(COLO_CONTROL_BEGIN);
	CU_ASSERT_TRUE(next_frame(t.secondary.tx, false)); /* ... and is lost */
	colo_lane_timer(&t.lane, 1000 + COLO_MAX_PTO_US);
	CU_ASSERT_PTR_NULL(take_next());
	CU_ASSERT_TRUE(next_frame(t.secondary.tx, false));
	CU_ASSERT_TRUE(colo_lane_answer(&t.lane, &t.frame, &reply, 2000000));
	CU_ASSERT_EQUAL(reply.commit_us, 11);
	CU_ASSERT_TRUE(t.lane.rtt[COLO_CONTROL_BEGIN].srtt_us <
		       100000); /* Karn: no sample from what was asked twice */
	colo_lane_timer(&t.lane, 100000000);
	CU_ASSERT_FALSE(next_frame(t.primary.tx, true));
	end();
}

static void
test_rtt(void)
{
	struct colo_control_reply reply;
	uint32_t before;

	begin();
	before = t.lane.rtt[COLO_CONTROL_BEGIN].srtt_us;
	for (unsigned int i = 0; i < 100; i++) {
		ask(COLO_CONTROL_BEGIN, 0, 1000 * i);
		CU_ASSERT_PTR_NOT_NULL(take_next());
		answer(COLO_CONTROL_BEGIN);
		CU_ASSERT_TRUE(next_frame(t.secondary.tx, false));
		CU_ASSERT_TRUE(colo_lane_answer(&t.lane, &t.frame, &reply, 1000 * i + 300));
	}
	CU_ASSERT_TRUE(t.lane.rtt[COLO_CONTROL_BEGIN].srtt_us < before);
	CU_ASSERT_TRUE(t.lane.rtt[COLO_CONTROL_BEGIN].srtt_us >= 290 &&
		       t.lane.rtt[COLO_CONTROL_BEGIN].srtt_us <= 310);
	end();
}

/* BEGIN waits for long flushes; a lost END is asked again as soon as ENDs are answered. */
static void
test_rtt_of_each(void)
{
	struct colo_control_reply reply;

	begin();
	for (unsigned int i = 0; i < 100; i++) {
		enum colo_control_op op = i % 2 == 0 ? COLO_CONTROL_BEGIN : COLO_CONTROL_END;

		ask(op, 0, 100000 * i);
		CU_ASSERT_PTR_NOT_NULL(take_next());
		answer(op);
		CU_ASSERT_TRUE(next_frame(t.secondary.tx, false));
		CU_ASSERT_TRUE(colo_lane_answer(&t.lane, &t.frame, &reply,
			100000 * i + (op == COLO_CONTROL_BEGIN ? 50000 : 100)));
	}
	ask(COLO_CONTROL_END, 0, 20000000);
	CU_ASSERT_PTR_NOT_NULL(take_next());
	colo_lane_timer(&t.lane, 20000000 + 1000);
	CU_ASSERT_FALSE(next_frame(t.primary.tx, true));
	colo_lane_timer(&t.lane, 20000000 + 1200);
	CU_ASSERT_TRUE(next_frame(t.primary.tx, true));
	end();
}

/* What another session left behind goes out no more, what is of this one in its order. */
static void
test_frames_of_another_session(void)
{
	struct rte_mbuf *frames[8];
	const struct colo_header *h;

	begin();
	t.lane.template.session = SESSION + 1;
	ask(COLO_CONTROL_BEGIN, 0, 1000);
	t.lane.waiting = false;
	t.lane.template.session = SESSION;
	ask(COLO_CONTROL_END, 2, 1000);
	ask(COLO_CONTROL_VERIFY, 0, 1000);
	CU_ASSERT_EQUAL_FATAL(colo_lane_take(&t.primary, &t.lane.template, frames, 8), 2);
	for (unsigned int i = 0; i < 2; i++) {
		h = rte_pktmbuf_mtod_offset(
			frames[i], const struct colo_header *, t.lane.template.length);
		CU_ASSERT_EQUAL(rte_be_to_cpu_32(h->session), SESSION);
		CU_ASSERT_EQUAL(rte_be_to_cpu_64(h->packet_number), 2 + i);
		rte_pktmbuf_free(frames[i]);
	}
	CU_ASSERT_EQUAL(colo_lane_take(&t.primary, &t.lane.template, frames, 8), 0);
	ask(COLO_CONTROL_BEGIN, 0, 1000);
	ask(COLO_CONTROL_END, 0, 1000);
	CU_ASSERT_EQUAL(colo_lane_take(&t.primary, &t.lane.template, frames, 1), 1);
	rte_pktmbuf_free(frames[0]);
	end();
}

/* Frames of the request before, late. */
static void
test_late(void)
{
	struct colo_control_reply reply;
	struct colo_frame first_request, first_answer;

	begin();
	ask(COLO_CONTROL_BEGIN, 0, 1000);
	CU_ASSERT_PTR_NOT_NULL(take_next());
	first_request = t.frame;
	answer(COLO_CONTROL_BEGIN);
	CU_ASSERT_TRUE(next_frame(t.secondary.tx, false));
	first_answer = t.frame;
	CU_ASSERT_TRUE(colo_lane_answer(&t.lane, &t.frame, &reply, 1100));
	ask(COLO_CONTROL_BEGIN, 0, 2000);
	CU_ASSERT_FALSE(colo_lane_answer(&t.lane, &first_answer, &reply, 2001));
	CU_ASSERT_TRUE(t.lane.waiting);
	CU_ASSERT_PTR_NOT_NULL(take_next());
	CU_ASSERT_PTR_NULL(colo_lane_server_take(&t.server, &first_request));
	CU_ASSERT_FALSE(t.server.answered);
	CU_ASSERT_FALSE(next_frame(t.secondary.tx, false));
	end();
}

/* A request, bent: not taken, and not remembered as taken. */
static void
check_request(uint8_t op, uint8_t n, uint32_t length, bool good)
{
	struct colo_control_request *r =
		(struct colo_control_request *)(t.frame.head + sizeof(struct colo_header));
	uint32_t before = t.server.sequence;

	memset(&t.frame, 0, sizeof(t.frame));
	r->sequence = rte_cpu_to_be_32(before + 1);
	r->op = op;
	r->n = n;
	t.frame.length = sizeof(struct colo_header) + length;
	CU_ASSERT_EQUAL(colo_lane_server_take(&t.server, &t.frame) != NULL, good);
	CU_ASSERT_EQUAL(t.server.sequence, before + good);
}

static void
test_bad_requests(void)
{
	const uint32_t head = sizeof(struct colo_control_request);
	const uint32_t one = sizeof(struct colo_channel_end);
	struct colo_control_request *r =
		(struct colo_control_request *)(t.frame.head + sizeof(struct colo_header));

	begin();
	for (uint32_t d = 0; d < 3; d++) {
		check_request(COLO_CONTROL_BEGIN, 0, head - 1 + d, d == 1);
		check_request(COLO_CONTROL_END, 2, head + 2 * one - 1 + d, d == 1);
		check_request(COLO_CONTROL_VERIFY, 1, head + one - 1 + d, d == 1);
		check_request(COLO_CONTROL_END, COLO_MAX_CHANNELS - 1 + d,
			head + (COLO_MAX_CHANNELS - 1 + d) * one, d < 2);
		check_request(COLO_CONTROL_VERIFY, COLO_MAX_BLOCKS - 1 + d,
			head + (COLO_MAX_BLOCKS - 1 + d) * one, d < 2);
	}
	check_request(COLO_CONTROL_END, 0, head, true);
	check_request(COLO_CONTROL_END, 2, head + one, false);
	check_request(COLO_CONTROL_END, 255, head, false);
	check_request(0, 0, head, false);
	check_request(COLO_CONTROL_VERIFY + 1, 0, head, false);
	check_request(255, 0, head, false);
	check_request(COLO_CONTROL_BEGIN, 0, 0, false);
	/* sequence 0 is never used, and an answer is no request */
	memset(&t.frame, 0, sizeof(t.frame));
	r->op = COLO_CONTROL_BEGIN;
	t.frame.length = sizeof(struct colo_header) + head;
	CU_ASSERT_PTR_NULL(colo_lane_server_take(&t.server, &t.frame));
	r->sequence = rte_cpu_to_be_32(t.server.sequence + 1);
	r->is_reply = 1;
	CU_ASSERT_PTR_NULL(colo_lane_server_take(&t.server, &t.frame));
	end();
}

static void
test_bad_answers(void)
{
	struct colo_control_reply *wire =
		(struct colo_control_reply *)(t.frame.head + sizeof(struct colo_header));
	const struct colo_control_reply good = {.sequence = RTE_BE32(1),
		.op = COLO_CONTROL_BEGIN,
		.result = COLO_RESULT_MAX,
		.is_reply = 1};
	struct colo_control_reply reply;

	begin();
	ask(COLO_CONTROL_BEGIN, 0, 1000);
	memset(&t.frame, 0, sizeof(t.frame));
#define BAD(statement)                                                              \
	do {                                                                        \
		*wire = good;                                                       \
		t.frame.length = sizeof(struct colo_header) + sizeof(*wire);        \
		statement;                                                          \
		CU_ASSERT_FALSE(colo_lane_answer(&t.lane, &t.frame, &reply, 1100)); \
		CU_ASSERT_TRUE(t.lane.waiting);                                     \
	} while (0)
	BAD(t.frame.length--);
	BAD(t.frame.length++);
	BAD(t.frame.length = sizeof(struct colo_header));
	BAD(wire->is_reply = 0);
	BAD(wire->is_reply = 2);
	BAD(wire->sequence = 0);
	BAD(wire->sequence = RTE_BE32(2));
	BAD(wire->op = COLO_CONTROL_END);
	BAD(wire->result = COLO_RESULT_MAX + 1);
	BAD(wire->result = 255);
	*wire = good;
	t.frame.length = sizeof(struct colo_header) + sizeof(*wire);
	CU_ASSERT_TRUE(colo_lane_answer(&t.lane, &t.frame, &reply, 1100));
	end();
}

/* No mbuf, no room in the ring: the timer asks again, nothing leaks. */
static void
test_no_room(void)
{
	struct rte_mbuf *taken[1024];
	unsigned int n = 0;
	uint64_t now = 1000;

	begin();
	while (n < 1024 && (taken[n] = rte_pktmbuf_alloc(t.pool)) != NULL)
		n++;
	CU_ASSERT_TRUE_FATAL(n > COLO_LANE_RING && n < 1024);
	ask(COLO_CONTROL_BEGIN, 0, now);
	CU_ASSERT_FALSE(next_frame(t.primary.tx, true));
	while (n > 0)
		rte_pktmbuf_free(taken[--n]);
	for (unsigned int i = 0; i < COLO_LANE_RING + 10; i++) {
		now += COLO_MAX_PTO_US;
		colo_lane_timer(&t.lane, now);
	}
	CU_ASSERT_EQUAL(rte_ring_count(t.primary.tx), COLO_LANE_RING - 1);
	CU_ASSERT_EQUAL(rte_mempool_in_use_count(t.pool), COLO_LANE_RING - 1);
	CU_ASSERT_PTR_NOT_NULL(take_next());
	end();
}

/* The longest request there is: one of every block. */
static void
test_verify_of_all_blocks(void)
{
	const struct colo_control_request *r;

	begin();
	ask(COLO_CONTROL_VERIFY, COLO_MAX_BLOCKS, 1000);
	r = take_next();
	CU_ASSERT_PTR_NOT_NULL_FATAL(r);
	CU_ASSERT_EQUAL(r->n, COLO_MAX_BLOCKS);
	CU_ASSERT_EQUAL(
		rte_be_to_cpu_64(r->end[COLO_MAX_BLOCKS - 1].pages), 1000 + COLO_MAX_BLOCKS - 1);
	end();
}

static const struct ut_case cases[] = {
	{"there and back", test_round_trip},
	{"VERIFY of as many blocks as there can be", test_verify_of_all_blocks},
	{"asked again", test_ask_again},
	{"the answer is lost", test_answer_lost},
	{"round-trip time", test_rtt},
	{"round-trip time of each kind", test_rtt_of_each},
	{"frames of another session", test_frames_of_another_session},
	{"late frames", test_late},
	{"bad requests", test_bad_requests},
	{"bad answers", test_bad_answers},
	{"no mbuf, no room", test_no_room},
};

int
main(void)
{
	ut_eal_start(64);
	t.pool = rte_pktmbuf_pool_create("frames", 511, 0, 0, 2048, SOCKET_ID_ANY);
	if (t.pool == NULL)
		return 1;
	return UT_RUN("lane", cases);
}
