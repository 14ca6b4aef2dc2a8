/* SPDX-License-Identifier: BSD-3-Clause */
/* One receiving channel: its state, its phases, and its turn as a table of contents. */
#include <stdlib.h>
#include <string.h>

#include <rte_malloc.h>

#include "clock.h"
#include "page.h"
#include "receive.h"

struct colo_receiver *
colo_receiver_new(struct colo_receive_end *end, uint8_t id, struct colo_error *err)
{
	size_t zstd_size = ZSTD_estimateDCtxSize();
	void *context;
	int socket = end->port->socket;
	struct colo_receiver *r = rte_zmalloc_socket("colo_receiver", sizeof(*r), 64, socket);

	if (r == NULL)
		goto no_memory;
	r->end = end;
	r->id = id;
	r->rx = (struct colo_rx){.port_id = end->port->id,
		.queue = id,
		.channel = id,
		.guarded = end->port->guarded,
		.filter = &r->filter,
		.handover = end->handover,
		.counters = &r->counters};
	r->scratch =
		rte_malloc_socket("colo_scratch", COLO_MAX_RECORDS * COLO_PAGE_SIZE, 64, socket);
	r->linear = rte_malloc_socket("colo_linear", COLO_MAX_RECORDS * COLO_PAGE_SIZE, 64, socket);
	context = rte_malloc_socket("colo_zstd", zstd_size, 64, socket);
	if (context != NULL) /* libzstd does not ask */
		r->zstd = ZSTD_initStaticDCtx(context, zstd_size);
	if (r->scratch == NULL || r->linear == NULL || r->zstd == NULL)
		goto no_memory;
	return r;
no_memory:
	colo_receiver_free(r);
	colo_error_set(err, "not enough DPDK memory for channel %u: give EAL more with -m MB", id);
	return NULL;
}

void
colo_receiver_free(struct colo_receiver *r)
{
	if (r == NULL)
		return;
	rte_pktmbuf_free_bulk(r->tx, r->n_tx);
	rte_free(r->scratch);
	rte_free(r->linear);
	rte_free(r->zstd); /* a static context lies at the start of its memory */
	rte_free(r);
}

static void
adopt_session(struct colo_receiver *r, const struct colo_receive_phase *phase)
{
	r->filter = phase->filter;
	colo_frame_template_init(&r->template, &phase->filter.local, &phase->peer,
		phase->peer.channel_port[r->id], phase->filter.session, r->id);
	r->template.sealed = phase->filter.sealed;
	colo_seal_end_adopt(&r->seal, phase->seal_shift);
	r->part_size = colo_part_size(r->end->port->mtu, phase->ip_udp_len, r->template.sealed);
	rte_pktmbuf_free_bulk(r->tx, r->n_tx);
	r->n_tx = 0;
	r->n_sealed = 0;
	colo_receive_window_init(&r->window, r->end->window);
	r->epoch = 0; /* epochs are counted from 1 again */
	r->next_packet = 0;
	r->unreported = 0;
	r->feedback_due = false;
	colo_record_publish(r);
}

void
colo_receiver_adopt(struct colo_receiver *r)
{
	const struct colo_receive_phase *phase = &r->end->phase;

	r->session = phase->session;
	r->rx.session = phase->session;
	if (phase->session && phase->filter.session != r->filter.session)
		adopt_session(r, phase);
	if (phase->epoch != 0 && phase->epoch != r->epoch) {
		r->pages = 0;
		r->zero_pages = 0;
		r->digest = 0;
		r->wire_bytes = 0;
		colo_record_publish(r);
	}
	r->epoch = phase->epoch;
	r->kind = phase->kind;
}

static void
receive_frame(struct colo_receiver *r, struct rte_mbuf *m)
{
	struct colo_page_packet packet;

	if (!colo_parse(r, m, &packet))
		return;
	if (!colo_decode(r, &packet))
		return;
	colo_place(r, &packet);
	colo_record(r, &packet);
}

/*
 * Frames come from another core's cache (or the NIC's writes): 230 ns a line if each is waited
 * for. What frame i + AHEAD needs first is asked for while frame i is worked on.
 */
#define AHEAD 2

static void
prefetch_burst(struct rte_mbuf **frames, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++) {
		rte_mbuf_prefetch_part1(frames[i]);
		rte_mbuf_prefetch_part2(frames[i]);
	}
}

static void
prefetch_frame(struct rte_mbuf **frames, uint16_t i, uint16_t n)
{
	const struct rte_mbuf *page;

	if (i + 2 * AHEAD < n) {
		const struct rte_mbuf *head = frames[i + 2 * AHEAD];

		rte_prefetch0(rte_pktmbuf_mtod(head, uint8_t *));
		rte_prefetch0(rte_pktmbuf_mtod(head, uint8_t *) + 64);
		if (head->next != NULL) {
			rte_mbuf_prefetch_part1(head->next);
			rte_mbuf_prefetch_part2(head->next);
		}
	}
	if (i + AHEAD >= n)
		return;
	page = frames[i + AHEAD]->next != NULL ? frames[i + AHEAD]->next : frames[i + AHEAD];
	for (unsigned int line = 0; line < 8; line++)
		rte_prefetch0(rte_pktmbuf_mtod(page, uint8_t *) + 64 * line);
}

bool
colo_receive_poll(struct colo_receiver *r)
{
	struct rte_mbuf *frames[COLO_BURST];
	bool worked = false;
	uint32_t wanted;
	uint16_t n;

	if (colo_gate_changed(&r->end->gate, &r->seat, &wanted)) {
		colo_receiver_adopt(r);
		colo_gate_arrive(&r->seat, wanted);
	}
	r->now_us = colo_now_us();
	n = colo_rx_burst(&r->rx, frames, &worked);
	prefetch_burst(frames, n);
	for (uint16_t i = 0; i < n; i++) {
		prefetch_frame(frames, i, n);
		receive_frame(r, frames[i]);
	}
	if (n > 0) {
		colo_page_fence();
		colo_record_publish(r);
		rte_pktmbuf_free_bulk(frames, n);
	}
	colo_feedback(r);
	return colo_feedback_transmit(r) || worked;
}
