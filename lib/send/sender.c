/* SPDX-License-Identifier: BSD-3-Clause */
/* One sending channel: its state, its phases, and its turn as a table of contents. */
#include <stdlib.h>
#include <string.h>

#include <rte_malloc.h>

#include "clock.h"
#include "send.h"

#define ZSTD_LEVEL_MIN (-7)
#define ZSTD_LEVEL_MAX 19

/* Room for a context of any level --codec takes, so that the level may change without allocation.
 */
static size_t
zstd_context_size(void)
{
	size_t largest = 0;

	for (int level = ZSTD_LEVEL_MIN; level <= ZSTD_LEVEL_MAX; level++) {
		ZSTD_compressionParameters p = ZSTD_getCParams(level, COLO_PAGE_SIZE, 0);

		largest = RTE_MAX(largest, ZSTD_estimateCCtxSize_usingCParams(p));
	}
	return largest + ZSTD_compressBound(COLO_PAGE_SIZE);
}

struct colo_sender *
colo_sender_new(struct colo_send_end *end, uint8_t id, struct colo_error *err)
{
	size_t zstd_size = zstd_context_size();
	size_t out_size = (COLO_MAX_RECORDS + 1) * ZSTD_compressBound(COLO_PAGE_SIZE);
	int socket = end->port->socket;
	void *context;
	struct colo_sender *s = rte_zmalloc_socket("colo_sender", sizeof(*s), 64, socket);

	if (s == NULL)
		goto no_memory;
	s->end = end;
	s->id = id;
	s->rx = (struct colo_rx){.port_id = end->port->id,
		.queue = id,
		.channel = id,
		.guarded = end->port->guarded,
		.filter = &s->filter,
		.handover = end->handover,
		.counters = &s->counters};
	s->zstd_out = rte_malloc_socket("colo_zstd", out_size, 64, socket);
	s->zstd_again = rte_malloc_socket("colo_zstd", out_size, 64, socket);
	context = rte_malloc_socket("colo_zstd", zstd_size, 64, socket);
	if (context != NULL) /* libzstd does not ask */
		s->zstd = ZSTD_initStaticCCtx(context, zstd_size);
	if (s->zstd_out == NULL || s->zstd_again == NULL || s->zstd == NULL)
		goto no_memory;
	return s;
no_memory:
	colo_sender_free(s);
	colo_error_set(err, "not enough DPDK memory for channel %u: give EAL more with -m MB", id);
	return NULL;
}

void
colo_sender_free(struct colo_sender *s)
{
	if (s == NULL)
		return;
	rte_pktmbuf_free_bulk(s->tx, s->n_tx);
	rte_free(s->zstd_out);
	rte_free(s->zstd_again);
	rte_free(s->zstd); /* a static context lies at the start of its memory */
	rte_free(s);
}

static void
adopt_epoch(struct colo_sender *s, const struct colo_send_phase *phase)
{
	/* what the epoch before left there: a new session counts its epochs from 1 again */
	atomic_store_explicit(&s->progress.epoch_sent, 0, memory_order_relaxed);
	colo_send_window_all_acked(&s->window, colo_now_us());
	s->epoch = phase->epoch;
	s->fed_on = phase->fed;
	s->zstd_on = phase->zstd;
	if (phase->zstd && phase->zstd_level != s->zstd_level) {
		s->zstd_level = phase->zstd_level;
		ZSTD_CCtx_reset(s->zstd, ZSTD_reset_session_and_parameters);
		ZSTD_CCtx_setParameter(s->zstd, ZSTD_c_compressionLevel, s->zstd_level);
	}
	colo_pick_reset(s);
	s->pages = 0;
	s->zero_pages = 0;
	s->digest = 0;
	s->wire_bytes = 0;
	s->resent = 0;
}

static void
adopt_session(struct colo_sender *s, const struct colo_send_phase *phase)
{
	s->filter = phase->filter;
	colo_frame_template_init(&s->template, &phase->filter.local, &phase->peer,
		phase->peer.channel_port[s->id], phase->filter.session, s->id);
	s->template.sealed = phase->filter.sealed;
	colo_seal_end_adopt(&s->seal, phase->seal_shift);
	s->part_size = colo_part_size(s->end->port->mtu, phase->ip_udp_len, s->template.sealed);
	s->room = s->end->port->mtu - phase->ip_udp_len - sizeof(struct colo_header) -
		  colo_frame_tag_room(&s->template);
	colo_send_window_init(&s->window, phase->first_credit);
	/*
	 * The receiver gets its next key by opening a packet of the one before: what goes out while
	 * it has not must not use up all of that one, or nothing will ever be opened again.
	 */
	if (phase->filter.sealed)
		s->window.limit = RTE_MIN(COLO_WINDOW_MAX, 1u << (phase->seal_shift - 1));
	adopt_epoch(s, phase);
	rte_pktmbuf_free_bulk(s->tx, s->n_tx);
	s->n_tx = 0;
	s->n_sealed = 0;
}

static void
adopt(struct colo_sender *s)
{
	const struct colo_send_phase *phase = &s->end->phase;

	s->session = phase->session;
	s->rx.session = phase->session;
	if (phase->session && phase->filter.session != s->filter.session)
		adopt_session(s, phase);
	else if (phase->epoch != s->epoch)
		adopt_epoch(s, phase);
}

static void
publish(struct colo_sender *s)
{
	struct colo_send_progress *to = &s->progress;
	bool ends = s->sent_all &&
		    atomic_load_explicit(&to->epoch_sent, memory_order_relaxed) != s->epoch;

	/* the control core looks every turn: a store that changes nothing would still move the line
	 */
	if (!ends && s->wire_bytes == atomic_load_explicit(&to->wire_bytes, memory_order_relaxed) &&
		s->window.cum == atomic_load_explicit(&to->acked, memory_order_relaxed))
		return;
	atomic_store_explicit(&to->wire_bytes, s->wire_bytes, memory_order_relaxed);
	atomic_store_explicit(&to->resent, s->resent, memory_order_relaxed);
	atomic_store_explicit(&to->pages, s->pages, memory_order_relaxed);
	atomic_store_explicit(&to->sent, s->window.next_slot, memory_order_relaxed);
	atomic_store_explicit(&to->acked, s->window.cum, memory_order_relaxed);
	if (!ends)
		return;
	atomic_store_explicit(&to->end_slot, s->window.next_slot, memory_order_relaxed);
	atomic_store_explicit(&to->zero_pages, s->zero_pages, memory_order_relaxed);
	atomic_store_explicit(&to->digest, s->digest, memory_order_relaxed);
	/* pairs with the load-acquire in the control core's test for "all sent" */
	atomic_store_explicit(&to->epoch_sent, s->epoch, memory_order_release);
}

bool
colo_send_poll(struct colo_sender *s)
{
	bool worked;
	uint32_t wanted;

	if (colo_gate_changed(&s->end->gate, &s->seat, &wanted)) {
		adopt(s);
		colo_gate_arrive(&s->seat, wanted);
	}
	s->now_us = colo_now_us();
	worked = colo_acks(s);
	if (s->session && s->epoch != 0) {
		colo_send_window_timer(&s->window, s->now_us);
		colo_resend(s);
		colo_encode_new(s);
		publish(s);
	}
	colo_seal(s);
	return colo_transmit(s) || worked;
}
