/* SPDX-License-Identifier: BSD-3-Clause */
/* What comes in at the primary: feedback into the window, control frames to the control core. */
#include "send.h"

static enum colo_counter
take_feedback(struct colo_sender *s, const struct colo_frame *f)
{
	const struct colo_feedback *feedback =
		(const struct colo_feedback *)(f->head + sizeof(struct colo_header));

	if (f->channel != s->id)
		return COLO_drop_channel;
	if (f->length < sizeof(struct colo_header) + sizeof(*feedback) ||
		!colo_send_window_feedback(
			&s->window, feedback, f->length - sizeof(struct colo_header), s->now_us))
		return COLO_drop_feedback;
	return COLO_rx_feedback;
}

static enum colo_counter
take(struct colo_sender *s, struct rte_mbuf *m)
{
	struct colo_frame f;
	enum colo_counter why;

	if (!s->session)
		return COLO_drop_session;
	why = colo_frame_check(&s->filter, m, &f);
	if (why == COLO_FRAME_OK && s->filter.sealed)
		why = colo_seal_take(&s->seal, &f);
	if (why != COLO_FRAME_OK)
		return why;
	if (f.type == COLO_FRAME_FEEDBACK)
		return take_feedback(s, &f);
	if (!colo_lane_legal(&f, false))
		return COLO_drop_control;
	rte_pktmbuf_refcnt_update(m, 1); /* of all segments; the burst frees its own */
	if (rte_ring_enqueue(s->end->lane.rx, m) == 0)
		return COLO_rx_control;
	rte_pktmbuf_refcnt_update(m, -1);
	return COLO_drop_handover_full;
}

bool
colo_acks(struct colo_sender *s)
{
	struct rte_mbuf *burst[COLO_BURST];
	bool worked;
	uint16_t n = colo_rx_burst(&s->rx, burst, &worked);

	for (uint16_t i = 0; i < n; i++)
		s->counters.n[take(s, burst[i])]++;
	rte_pktmbuf_free_bulk(burst, n);
	return worked;
}
