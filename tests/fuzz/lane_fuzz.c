/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Both sides of the control lane, as the control cores run them: a frame is checked once more and
 * given to the server (requests) or to the lane that asked (answers). The input: u8 options, u8 op
 * that the primary asks, then frames (fuzz_rig.h).
 *
 * Checked: a request that is taken is one of ours, in full, newer than the last; an answer that is
 * taken is to what was asked; what either side sends passes the other one's check.
 */
#include "fuzz_rig.h"
#include "sync.h"

#define OPTION_PRIMARY 0x01 /* frames are answers that come to the primary */
#define NOW_US	       1000000u

static struct {
	struct ut_rig *rig;
	struct colo_lane lane;
	struct colo_lane_server server;
	struct colo_frame_template template[2]; /* of what comes to the primary, to the secondary */
	struct colo_sync sync;
} t;

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	ut_eal_start(256);
	t.rig = fuzz_rig_new(4, COLO_MTU_MIN, false);
	colo_send_poll(t.rig->send.channel[0]);
	colo_receive_poll(t.rig->receive.channel[0]);
	t.template[1] = t.rig->send.channel[0]->template;
	t.template[0] = t.rig->receive.channel[0]->template;
	return 0;
}

/* A frame that a side sends is one that the other side's check takes. @return how many. */
static unsigned int
check_sent(struct rte_ring *ring, unsigned int to)
{
	const struct colo_frame_filter filter = ut_rig_filter(t.rig, to);
	struct colo_frame f;
	unsigned int n = 0;
	void *m;

	for (; rte_ring_dequeue(ring, &m) == 0; n++) {
		FUZZ_CHECK(colo_frame_check(&filter, m, &f) == COLO_FRAME_OK);
		FUZZ_CHECK(f.type == COLO_FRAME_CONTROL);
		rte_pktmbuf_free(m);
	}
	return n;
}

static void
take_request(const struct colo_frame *f)
{
	const struct colo_control_reply reply = {.op = COLO_CONTROL_END, .pages = 3};
	uint32_t before = t.server.sequence;
	const struct colo_control_request *r = colo_lane_server_take(&t.server, f);

	FUZZ_CHECK(check_sent(t.rig->receive.lane.tx, 0) <= 1);
	if (r == NULL) {
		FUZZ_CHECK(t.server.sequence == before);
		return;
	}
	FUZZ_CHECK(r->op >= COLO_CONTROL_BEGIN && r->op <= COLO_CONTROL_VERIFY);
	FUZZ_CHECK(rte_be_to_cpu_32(r->sequence) == t.server.sequence && t.server.sequence != 0);
	FUZZ_CHECK((int32_t)(t.server.sequence - before) > 0);
	FUZZ_CHECK(r->op == COLO_CONTROL_BEGIN ||
		   (const uint8_t *)(r->end + r->n) <= f->head + f->covered);
	if (r->op == COLO_CONTROL_END && colo_sync_take(&t.sync, r, t.rig->o.n_channels))
		FUZZ_CHECK(!colo_sync_complete(&t.sync, &t.rig->receive) ||
			   colo_sync_check(&t.sync, &t.rig->receive, &(uint8_t){0}) <=
				   COLO_RESULT_MAX);
	if (t.server.sequence % 2 != 0) {
		colo_lane_server_answer(&t.server, &reply);
		FUZZ_CHECK(check_sent(t.rig->receive.lane.tx, 0) == 1);
	}
}

static void
take_answer(const struct colo_frame *f)
{
	const struct colo_control_request *asked =
		(const struct colo_control_request *)t.lane.request;
	bool waiting = t.lane.waiting;
	struct colo_control_reply reply;

	if (!colo_lane_answer(&t.lane, f, &reply, NOW_US + 500)) {
		FUZZ_CHECK(t.lane.waiting == waiting);
		return;
	}
	FUZZ_CHECK(waiting && !t.lane.waiting);
	FUZZ_CHECK(reply.op == asked->op && reply.result <= COLO_RESULT_MAX);
	FUZZ_CHECK(reply.sequence == t.lane.sequence);
}

static void
ask(uint8_t op)
{
	struct {
		struct colo_control_request head;
		struct colo_channel_end end[COLO_MAX_CHANNELS];
	} __attribute__((packed)) r = {.head = {.op = op}};
	uint8_t n = op == COLO_CONTROL_BEGIN ? 0 : op % COLO_MAX_CHANNELS;

	r.head.n = n;
	colo_lane_ask(&t.lane, &r.head, sizeof(r.head) + n * sizeof(r.end[0]), NOW_US);
	colo_lane_timer(&t.lane, NOW_US + COLO_MAX_PTO_US);
	FUZZ_CHECK(check_sent(t.rig->send.lane.tx, 1) == 2);
}

/* Control frames whatever the input says: others never get here. */
static void
take_frame(struct fuzz_frame *f, unsigned int to)
{
	const struct colo_frame_filter filter = ut_rig_filter(t.rig, to);
	struct colo_frame frame;
	struct rte_mbuf *m;

	f->mend |= MEND_CONTROL;
	if (fuzz_frame_has_header(f, false) && (f->mend & MEND_HEADER))
		fuzz_mend_header(f, &t.template[to], COLO_FRAME_CONTROL);
	if (fuzz_frame_has_header(f, false) && (f->mend & MEND_CRC))
		fuzz_mend_crc(f);
	m = fuzz_frame_mbuf(f, t.rig->port[to].rx_pool);
	if (colo_frame_check(&filter, m, &frame) == COLO_FRAME_OK &&
		frame.type == COLO_FRAME_CONTROL)
		(to == 1 ? take_request : take_answer)(&frame);
	rte_pktmbuf_free(m);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	unsigned int to = !(fuzz_u8(&in) & OPTION_PRIMARY);
	uint8_t op = fuzz_u8(&in);

	memset(&t.sync, 0, sizeof(t.sync));
	colo_lane_init(&t.lane, &t.rig->send.lane, t.rig->port[0].tx_pool, &t.template[1]);
	colo_lane_server_init(
		&t.server, &t.rig->receive.lane, t.rig->port[1].tx_pool, &t.template[0]);
	if (to == 0)
		ask(op);
	for (unsigned int n = 0; in.left > 0 && n < FUZZ_FRAMES_MAX; n++) {
		struct fuzz_frame f;

		fuzz_frame_take(&in, &t.template[to], false, &f);
		if (f.length != 0)
			take_frame(&f, to);
	}
	fuzz_rig_check_empty(t.rig);
	return 0;
}
