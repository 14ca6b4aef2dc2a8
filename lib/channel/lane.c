/* SPDX-License-Identifier: BSD-3-Clause */
/* Control lane: stop and wait between the control cores, over the first channel's queue pair. */
#include <string.h>

#include "lane.h"

#define LANE_INITIAL_RTT_US 5000u

static void
send_frame(struct colo_lane_rings *rings, struct rte_mempool *pool,
	const struct colo_frame_template *t, uint64_t packet_number, const void *body,
	uint16_t length)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	struct colo_frame_fields fields = {
		.type = COLO_FRAME_CONTROL,
		.length = sizeof(struct colo_header) + length + colo_frame_tag_room(t),
		.packet_number = packet_number,
	};
	uint8_t *start;

	if (m == NULL)
		return; /* asked again later */
	start = (uint8_t *)rte_pktmbuf_append(m, t->length + fields.length);
	if (start == NULL) {
		rte_pktmbuf_free(m);
		return;
	}
	colo_frame_write_outer(t, start, fields.length);
	memcpy(start + t->length + sizeof(struct colo_header), body, length);
	colo_frame_write_header(t, (struct colo_header *)(start + t->length), &fields,
		sizeof(struct colo_header) + length);
	if (rte_ring_enqueue(rings->tx, m) != 0)
		rte_pktmbuf_free(m);
}

void
colo_lane_init(struct colo_lane *l, struct colo_lane_rings *rings, struct rte_mempool *pool,
	const struct colo_frame_template *t)
{
	memset(l, 0, sizeof(*l));
	l->rings = rings;
	l->pool = pool;
	l->template = *t;
	for (unsigned int op = 0; op < RTE_DIM(l->rtt); op++)
		l->rtt[op] = (struct colo_lane_rtt){
			.srtt_us = LANE_INITIAL_RTT_US, .rttvar_us = LANE_INITIAL_RTT_US / 2};
}

static void
send_request(struct colo_lane *l, uint64_t now_us)
{
	l->sent_us = now_us;
	l->tries++;
	send_frame(l->rings, l->pool, &l->template, ++l->next_packet, l->request, l->length);
}

void
colo_lane_ask(
	struct colo_lane *l, struct colo_control_request *request, uint16_t length, uint64_t now_us)
{
	if (++l->sequence == 0)
		l->sequence = 1;
	request->sequence = rte_cpu_to_be_32(l->sequence);
	request->is_reply = 0;
	memcpy(l->request, request, length);
	l->length = length;
	l->waiting = true;
	l->tries = 0;
	send_request(l, now_us);
}

static struct colo_lane_rtt *
rtt_of(struct colo_lane *l)
{
	uint8_t op = ((const struct colo_control_request *)l->request)->op;

	return &l->rtt[RTE_MIN(op, RTE_DIM(l->rtt) - 1)];
}

/*
 * The answer may have to wait for the secondary's work (END for the last pages, BEGIN for the
 * flush), so asking again is cheap and backs off; the state machine's deadline ends it.
 */
void
colo_lane_timer(struct colo_lane *l, uint64_t now_us)
{
	const struct colo_lane_rtt *rtt = rtt_of(l);
	uint64_t pto = rtt->srtt_us + RTE_MAX(4 * rtt->rttvar_us, COLO_GRANULARITY_US);

	if (!l->waiting)
		return;
	pto = RTE_MIN(pto << RTE_MIN(l->tries - 1, 10u), (uint64_t)COLO_MAX_PTO_US);
	if (now_us < l->sent_us + pto)
		return;
	l->resent++;
	send_request(l, now_us);
}

/* RFC 9002, 5.3. */
static void
add_sample(struct colo_lane_rtt *to, uint32_t rtt_us)
{
	uint32_t difference = rtt_us > to->srtt_us ? rtt_us - to->srtt_us : to->srtt_us - rtt_us;

	to->rttvar_us = (3 * to->rttvar_us + difference) / 4;
	to->srtt_us = (7 * to->srtt_us + rtt_us) / 8;
}

bool
colo_lane_answer(struct colo_lane *l, const struct colo_frame *f, struct colo_control_reply *reply,
	uint64_t now_us)
{
	const struct colo_control_reply *wire =
		(const struct colo_control_reply *)(f->head + sizeof(struct colo_header));
	const struct colo_control_request *asked = (const struct colo_control_request *)l->request;

	if (!colo_lane_legal(f, false) || !l->waiting ||
		rte_be_to_cpu_32(wire->sequence) != l->sequence || wire->op != asked->op)
		return false;
	l->waiting = false;
	if (l->tries == 1) /* Karn: no sample from what was asked twice */
		add_sample(rtt_of(l), now_us - l->sent_us);
	*reply = *wire;
	reply->sequence = l->sequence;
	reply->commit_us = rte_be_to_cpu_32(wire->commit_us);
	reply->flush_us = rte_be_to_cpu_32(wire->flush_us);
	reply->pages = rte_be_to_cpu_64(wire->pages);
	reply->wire_bytes = rte_be_to_cpu_64(wire->wire_bytes);
	return true;
}

void
colo_lane_server_init(struct colo_lane_server *l, struct colo_lane_rings *rings,
	struct rte_mempool *pool, const struct colo_frame_template *t)
{
	memset(l, 0, sizeof(*l));
	l->rings = rings;
	l->pool = pool;
	l->template = *t;
}

static bool
request_legal(const struct colo_control_request *r, uint16_t length)
{
	uint32_t n = r->op == COLO_CONTROL_BEGIN ? 0 : r->n;
	uint32_t most = r->op == COLO_CONTROL_VERIFY ? COLO_MAX_BLOCKS : COLO_MAX_CHANNELS;

	if (length < sizeof(*r) || r->is_reply != 0 || rte_be_to_cpu_32(r->sequence) == 0)
		return false;
	if (r->op < COLO_CONTROL_BEGIN || r->op > COLO_CONTROL_VERIFY || n > most)
		return false;
	return length == sizeof(*r) + n * sizeof(r->end[0]);
}

static void
send_reply(struct colo_lane_server *l)
{
	send_frame(l->rings, l->pool, &l->template, ++l->next_packet, &l->reply, sizeof(l->reply));
}

bool
colo_lane_legal(const struct colo_frame *f, bool request)
{
	const void *body = f->head + sizeof(struct colo_header);
	const struct colo_control_reply *reply = body;
	uint16_t length = f->length - sizeof(struct colo_header);

	if (request)
		return request_legal(body, length);
	return length == sizeof(*reply) && reply->is_reply == 1 && reply->result <= COLO_RESULT_MAX;
}

const struct colo_control_request *
colo_lane_server_take(struct colo_lane_server *l, const struct colo_frame *f)
{
	const struct colo_control_request *r =
		(const struct colo_control_request *)(f->head + sizeof(struct colo_header));
	uint32_t sequence;

	if (!request_legal(r, f->length - sizeof(struct colo_header)))
		return NULL;
	sequence = rte_be_to_cpu_32(r->sequence);
	if (sequence == l->sequence) {
		l->asked_again++;
		if (l->answered)
			send_reply(l);
		return NULL;
	}
	if ((int32_t)(sequence - l->sequence) < 0)
		return NULL; /* an old one, late */
	l->sequence = sequence;
	l->answered = false;
	return r;
}

void
colo_lane_server_answer(struct colo_lane_server *l, const struct colo_control_reply *reply)
{
	l->reply = *reply;
	l->reply.sequence = rte_cpu_to_be_32(l->sequence);
	l->reply.is_reply = 1;
	l->reply.commit_us = rte_cpu_to_be_32(reply->commit_us);
	l->reply.flush_us = rte_cpu_to_be_32(reply->flush_us);
	l->reply.pages = rte_cpu_to_be_64(reply->pages);
	l->reply.wire_bytes = rte_cpu_to_be_64(reply->wire_bytes);
	l->answered = true;
	send_reply(l);
}

uint16_t
colo_lane_take(struct colo_lane_rings *rings, const struct colo_frame_template *t,
	struct rte_mbuf **to, uint16_t n)
{
	unsigned int got = rte_ring_dequeue_burst(rings->tx, (void **)to, n, NULL);
	uint16_t kept = 0;

	for (unsigned int i = 0; i < got; i++) {
		const struct colo_header *h =
			rte_pktmbuf_mtod_offset(to[i], const struct colo_header *, t->length);

		if (h->session == rte_cpu_to_be_32(t->session))
			to[kept++] = to[i];
		else
			rte_pktmbuf_free(to[i]);
	}
	return kept;
}
