/* SPDX-License-Identifier: BSD-3-Clause */
/* Slots, feedback, credit, loss detection of one channel. No time, memory or I/O of its own. */
#include <string.h>

#include <rte_byteorder.h>
#include <rte_common.h>

#include "window.h"

/* ---- receiving end ---- */

void
colo_receive_window_init(struct colo_receive_window *w, uint32_t size)
{
	memset(w, 0, sizeof(*w));
	w->size = size;
	w->credit = size;
}

uint64_t
colo_receive_window_slot(const struct colo_receive_window *w, uint32_t low)
{
	int32_t distance = (int32_t)(low - (uint32_t)w->cum);

	if (distance < 0 && (uint64_t) - (int64_t)distance > w->cum)
		return w->cum + (uint32_t)distance;
	return w->cum + distance;
}

static bool
is_placed(const struct colo_receive_window *w, uint64_t slot)
{
	uint64_t i = slot % COLO_WINDOW_MAX;

	return w->placed[i / 64] >> (i % 64) & 1;
}

enum colo_slot_verdict
colo_receive_window_check(const struct colo_receive_window *w, uint64_t slot)
{
	if (slot < w->cum)
		return COLO_SLOT_PLACED;
	if (slot >= w->credit)
		return COLO_SLOT_BEYOND;
	return is_placed(w, slot) ? COLO_SLOT_PLACED : COLO_SLOT_NEW;
}

void
colo_receive_window_place(struct colo_receive_window *w, uint64_t slot)
{
	uint64_t i = slot % COLO_WINDOW_MAX;

	w->placed[i / 64] |= 1ull << (i % 64);
	if (slot >= w->highest)
		w->highest = slot + 1;
	while (w->cum < w->highest && is_placed(w, w->cum)) {
		i = w->cum % COLO_WINDOW_MAX;
		w->placed[i / 64] &= ~(1ull << (i % 64));
		w->cum++;
	}
	w->credit = w->cum + w->size;
}

void
colo_receive_window_packet(struct colo_receive_window *w, uint64_t packet_number, uint64_t now_us)
{
	if (packet_number < w->largest_packet)
		return;
	w->largest_packet = packet_number;
	w->largest_packet_us = now_us;
}

uint32_t
colo_receive_window_feedback(
	const struct colo_receive_window *w, uint64_t now_us, struct colo_feedback *f)
{
	uint32_t n_words = (w->highest - w->cum + 63) / 64;

	f->cum = rte_cpu_to_be_64(w->cum);
	f->credit = rte_cpu_to_be_64(w->credit);
	f->largest_packet = rte_cpu_to_be_64(w->largest_packet);
	f->ack_delay_us = rte_cpu_to_be_32((uint32_t)(now_us - w->largest_packet_us));
	f->n_words = rte_cpu_to_be_16((uint16_t)n_words);
	f->reserved = 0;
	for (uint32_t n = 0; n < n_words; n++) {
		uint64_t word = 0;

		for (uint32_t i = 0; i < 64 && w->cum + n * 64 + i < w->highest; i++)
			word |= (uint64_t)is_placed(w, w->cum + n * 64 + i) << i;
		f->placed[n] = rte_cpu_to_be_64(word);
	}
	return sizeof(*f) + n_words * sizeof(f->placed[0]);
}

/* ---- sending end ---- */

void
colo_send_window_init(struct colo_send_window *w, uint32_t first_credit)
{
	memset(w, 0, sizeof(*w));
	w->credit = first_credit;
	w->limit = COLO_WINDOW_MAX;
	w->next_packet = 1; /* 0 would look like "nothing received yet" in feedback */
	w->resolved = 1;
	w->srtt_us = COLO_INITIAL_RTT_US;
	w->rttvar_us = COLO_INITIAL_RTT_US / 2;
}

static void
set_lost(struct colo_send_window *w, uint64_t slot)
{
	colo_send_window_at(w, slot)->state = COLO_SLOT_LOST;
	w->outstanding--;
	w->n_lost++;
	if (slot < w->lost_hint || w->n_lost == 1)
		w->lost_hint = slot;
}

/* The slot whose latest transmission was @p packet_number, if it is still outstanding. */
static bool
outstanding_packet(struct colo_send_window *w, uint64_t packet_number, uint64_t *slot)
{
	struct colo_slot *s;

	*slot = w->packet_slot[packet_number % COLO_PACKET_RING];
	if (*slot < w->cum || *slot >= w->next_slot)
		return false;
	s = colo_send_window_at(w, *slot);
	return s->state == COLO_SLOT_OUTSTANDING && s->packet_number == packet_number;
}

uint64_t
colo_send_window_sent(struct colo_send_window *w, uint64_t slot, uint64_t now_us)
{
	struct colo_slot *s = colo_send_window_at(w, slot);
	uint64_t packet_number = w->next_packet++;
	uint64_t old;

	if (slot == w->next_slot) {
		w->next_slot++;
		s->again = false;
		if (w->outstanding + w->n_lost == 0)
			w->last_progress_us = now_us;
	} else {
		s->again = true;
		if (s->state == COLO_SLOT_LOST)
			w->n_lost--;
	}
	/* The ring is about to forget a packet number: what it carried counts as lost. */
	if (packet_number - w->resolved >= COLO_PACKET_RING) {
		if (outstanding_packet(w, w->resolved, &old))
			set_lost(w, old);
		w->resolved++;
	}
	w->packet_slot[packet_number % COLO_PACKET_RING] = slot;
	s->state = COLO_SLOT_OUTSTANDING;
	s->packet_number = packet_number;
	s->sent_us = now_us;
	w->outstanding++;
	w->last_sent_us = now_us;
	return packet_number;
}

bool
colo_send_window_lost(struct colo_send_window *w, uint64_t *slot)
{
	if (w->n_lost == 0)
		return false;
	for (uint64_t i = RTE_MAX(w->lost_hint, w->cum); i < w->next_slot; i++) {
		if (colo_send_window_at(w, i)->state != COLO_SLOT_LOST)
			continue;
		w->lost_hint = i;
		*slot = i;
		return true;
	}
	return false;
}

/* @p largest: packet number; the receiver has seen none above it. */
static bool
ack_slot(struct colo_send_window *w, uint64_t slot, uint64_t largest)
{
	struct colo_slot *s = colo_send_window_at(w, slot);

	if (s->state == COLO_SLOT_FREE)
		return false;
	w->spurious += s->state == COLO_SLOT_LOST || (s->again && s->packet_number > largest);
	if (s->state == COLO_SLOT_LOST)
		w->n_lost--;
	else
		w->outstanding--;
	s->state = COLO_SLOT_FREE;
	return true;
}

/* RFC 9002, 5.3. */
static void
rtt_sample(struct colo_send_window *w, uint64_t rtt_us, uint64_t ack_delay_us)
{
	uint32_t difference;

	rtt_us = RTE_MIN(rtt_us, (uint64_t)UINT32_MAX / 8);
	if (rtt_us > ack_delay_us)
		rtt_us -= ack_delay_us;
	w->latest_rtt_us = rtt_us;
	if (!w->has_rtt) {
		w->has_rtt = true;
		w->srtt_us = rtt_us;
		w->rttvar_us = rtt_us / 2;
		return;
	}
	difference = w->srtt_us > rtt_us ? w->srtt_us - rtt_us : rtt_us - w->srtt_us;
	w->rttvar_us = (3 * w->rttvar_us + difference) / 4;
	w->srtt_us = (7 * w->srtt_us + rtt_us) / 8;
}

/* Packet threshold: RFC 9002, 6.1.1. The time threshold (6.1.2) is the timer's business. */
static void
detect_lost(struct colo_send_window *w)
{
	uint64_t slot;

	while (w->resolved + COLO_PACKET_THRESHOLD <= w->largest_acked) {
		if (outstanding_packet(w, w->resolved, &slot)) {
			set_lost(w, slot);
			w->lost_by_packet++;
		}
		w->resolved++;
	}
}

static bool
feedback_possible(const struct colo_send_window *w, const struct colo_feedback *f, uint32_t length)
{
	uint64_t cum = rte_be_to_cpu_64(f->cum);
	uint32_t n_words = rte_be_to_cpu_16(f->n_words);
	uint64_t last;

	if (n_words > COLO_FEEDBACK_WORDS || length != sizeof(*f) + n_words * 8)
		return false;
	if (cum > w->next_slot || rte_be_to_cpu_64(f->largest_packet) >= w->next_packet)
		return false;
	if (rte_be_to_cpu_64(f->credit) > cum + COLO_WINDOW_MAX)
		return false;
	if (n_words == 0)
		return true;
	/* no slot that was never used may be reported placed */
	last = rte_be_to_cpu_64(f->placed[n_words - 1]);
	if (last == 0)
		return cum + (n_words - 1) * 64 <= w->next_slot;
	return cum + (n_words - 1) * 64 + 63 - __builtin_clzll(last) < w->next_slot;
}

static bool
ack_reported(struct colo_send_window *w, const struct colo_feedback *f)
{
	uint64_t cum = rte_be_to_cpu_64(f->cum);
	uint64_t largest = rte_be_to_cpu_64(f->largest_packet);
	uint32_t n_words = rte_be_to_cpu_16(f->n_words);
	bool progress = false;

	for (; w->cum < cum; w->cum++)
		progress |= ack_slot(w, w->cum, largest);
	for (uint32_t n = 0; n < n_words; n++) {
		uint64_t word = rte_be_to_cpu_64(f->placed[n]);

		for (; word != 0; word &= word - 1) {
			uint64_t slot = cum + n * 64 + __builtin_ctzll(word);

			if (slot >= w->cum)
				progress |= ack_slot(w, slot, largest);
		}
	}
	while (w->cum < w->next_slot && colo_send_window_at(w, w->cum)->state == COLO_SLOT_FREE)
		w->cum++;
	return progress;
}

bool
colo_send_window_feedback(
	struct colo_send_window *w, const struct colo_feedback *f, uint32_t length, uint64_t now_us)
{
	uint64_t largest = rte_be_to_cpu_64(f->largest_packet);
	uint64_t credit = rte_be_to_cpu_64(f->credit);
	uint64_t slot;

	if (!feedback_possible(w, f, length))
		return false;
	if (largest > w->largest_acked) {
		if (outstanding_packet(w, largest, &slot))
			rtt_sample(w, now_us - colo_send_window_at(w, slot)->sent_us,
				rte_be_to_cpu_32(f->ack_delay_us));
		w->largest_acked = largest;
	}
	w->credit = RTE_MAX(w->credit, credit);
	if (ack_reported(w, f)) {
		w->pto_count = 0;
		w->last_progress_us = now_us;
	}
	detect_lost(w);
	return true;
}

void
colo_send_window_all_acked(struct colo_send_window *w, uint64_t now_us)
{
	for (; w->cum < w->next_slot; w->cum++)
		ack_slot(w, w->cum, w->next_packet);
	w->pto_count = 0;
	w->last_progress_us = now_us;
}

uint64_t
colo_send_window_pto_us(const struct colo_send_window *w)
{
	uint64_t pto =
		w->srtt_us + RTE_MAX(4 * w->rttvar_us, COLO_GRANULARITY_US) + COLO_MAX_ACK_DELAY_US;

	return RTE_MIN(pto << RTE_MIN(w->pto_count, 10u), (uint64_t)COLO_MAX_PTO_US);
}

/* Packets sent before the largest acknowledged one, and too long ago: RFC 9002, 6.1.2. */
static void
detect_late(struct colo_send_window *w, uint64_t now_us)
{
	uint64_t limit = RTE_MAX(w->srtt_us, w->latest_rtt_us) * 9ull / 8;
	uint64_t slot;

	limit = RTE_MAX(limit, (uint64_t)COLO_GRANULARITY_US);
	for (; w->resolved < w->largest_acked; w->resolved++) {
		if (!outstanding_packet(w, w->resolved, &slot))
			continue;
		if (colo_send_window_at(w, slot)->sent_us + limit > now_us)
			return;
		set_lost(w, slot);
		w->lost_by_time++;
	}
}

static void
probe(struct colo_send_window *w, uint64_t now_us)
{
	for (uint64_t slot = w->cum; slot < w->next_slot; slot++) {
		if (colo_send_window_at(w, slot)->state != COLO_SLOT_OUTSTANDING)
			continue;
		set_lost(w, slot);
		break;
	}
	w->pto_count++;
	w->probes++;
	w->last_sent_us = now_us; /* even if the driver takes it later */
}

void
colo_send_window_timer(struct colo_send_window *w, uint64_t now_us)
{
	uint64_t since;

	if (w->outstanding == 0)
		return;
	detect_late(w, now_us);
	since = RTE_MAX(w->last_sent_us, w->last_progress_us);
	if (w->n_lost == 0 && w->outstanding > 0 && now_us >= since + colo_send_window_pto_us(w))
		probe(w, now_us);
}
