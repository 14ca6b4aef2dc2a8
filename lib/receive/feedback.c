/* SPDX-License-Identifier: BSD-3-Clause */
/* Tell the primary what is placed, what is missing, and how far it may go. */
#include <string.h>

#include "guard.h"
#include "receive.h"

#define FEEDBACK_EVERY	  32u  /* slots placed, at most this many unreported */
#define FEEDBACK_TIMER_US 200u /* ... and for at most so long */

static bool
is_due(const struct colo_receiver *r)
{
	if (r->feedback_due)
		return true;
	/* a small window must not wait for the timer */
	if (r->unreported >= RTE_MIN(FEEDBACK_EVERY, r->window.size / 4))
		return r->unreported > 0;
	return r->unreported > 0 && r->now_us >= r->feedback_us + FEEDBACK_TIMER_US;
}

static void
write_feedback(struct colo_receiver *r, struct rte_mbuf *m)
{
	uint8_t body[COLO_FRAME_HEAD_MAX] __attribute__((aligned(8)));
	struct colo_header *h = (struct colo_header *)body;
	uint32_t covered = sizeof(*h) + colo_receive_window_feedback(&r->window, r->now_us,
						(struct colo_feedback *)(h + 1));
	uint32_t length = covered + colo_frame_tag_room(&r->template);
	struct colo_frame_fields fields = {
		.type = COLO_FRAME_FEEDBACK,
		.length = length,
		.epoch = r->epoch,
		.packet_number = ++r->next_packet,
	};
	uint8_t *start = (uint8_t *)rte_pktmbuf_append(m, r->template.length + length);

	colo_frame_write_outer(&r->template, start, length);
	colo_frame_write_header(&r->template, h, &fields, covered);
	memcpy(start + r->template.length, body, covered);
}

void
colo_feedback(struct colo_receiver *r)
{
	struct rte_mbuf *m;

	if (!r->session || !is_due(r) || r->n_tx == COLO_BURST)
		return;
	m = rte_pktmbuf_alloc(r->end->port->tx_pool);
	if (m == NULL) {
		colo_receive_count(r, COLO_tx_no_mbuf);
		return;
	}
	write_feedback(r, m);
	r->tx[r->n_tx++] = m;
	r->feedback_us = r->now_us;
	r->unreported = 0;
	r->feedback_due = false;
	colo_receive_count(r, COLO_tx_feedback);
}

bool
colo_feedback_transmit(struct colo_receiver *r)
{
	uint16_t sent;

	if (r->id == 0 && r->session && r->n_tx < COLO_BURST)
		r->n_tx += colo_lane_take(
			&r->end->lane, &r->template, &r->tx[r->n_tx], COLO_BURST - r->n_tx);
	colo_open_seal(r);
	if (r->n_sealed == 0)
		return false;
	if (r->end->port->guarded)
		sent = colo_guard_tx(
			r->end->port->id, r->id, r->tx, r->n_sealed, &r->counters.n[COLO_tx_cut]);
	else
		sent = rte_eth_tx_burst(r->end->port->id, r->id, r->tx, r->n_sealed);
	if (sent < r->n_sealed)
		colo_receive_count(r, COLO_tx_ring_full);
	if (sent < r->n_tx)
		memmove(r->tx, r->tx + sent, (r->n_tx - sent) * sizeof(r->tx[0]));
	r->n_tx -= sent;
	r->n_sealed -= sent;
	return sent > 0;
}
