/* SPDX-License-Identifier: BSD-3-Clause */
/* An epoch at the primary, in the order of its life: opened, due, collected, sent, ended. */
#include <string.h>

#include "clock.h"
#include "primary_actions.h"

static void
ask(struct colo_primary *p, uint8_t op, uint8_t kind)
{
	struct colo_control_request request = {.op = op, .kind = kind};

	colo_lane_ask(&p->lane, &request, sizeof(request), p->now_us);
}

void
colo_primary_request_resume(struct colo_primary *p)
{
	if (!p->guest_paused || p->resuming)
		return;
	p->resuming = true;
	p->source->ops->request(p->source, p->source->ops->feeds && p->state == COLO_PRIMARY_LEAVING
						   ? COLO_SOURCE_RELEASE
						   : COLO_SOURCE_RESUME);
}

/* From when on the guest stands still, by the source's own word. */
void
colo_primary_note_paused(struct colo_primary *p)
{
	uint64_t tsc = atomic_load_explicit(&p->source->paused_tsc, memory_order_relaxed);

	if (p->state != COLO_PRIMARY_COLLECTING || p->hold_until_us != 0 || tsc == 0 ||
		!p->guest_paused)
		return;
	p->pause_us = colo_tsc_us(tsc);
	p->hold_until_us = p->pause_us + p->config.hold_ms * 1000ull;
}

/*
 * The next epoch's kind: rounds until few enough pages are left, or often enough tried; a source
 * that feeds knows by itself.
 */
static uint8_t
next_kind(const struct colo_primary *p)
{
	if (p->kind == COLO_EPOCH_CHECKPOINT)
		return COLO_EPOCH_CHECKPOINT;
	if (p->rounds == 0)
		return COLO_EPOCH_PRECOPY;
	if (p->source->ops->feeds)
		return p->source->precopy_over ? COLO_EPOCH_CHECKPOINT : COLO_EPOCH_PRECOPY;
	if (p->round_pages > p->config.precopy_threshold && p->rounds < p->config.precopy_rounds)
		return COLO_EPOCH_PRECOPY;
	return COLO_EPOCH_CHECKPOINT;
}

enum colo_primary_state
colo_primary_open_next(struct colo_primary *p)
{
	p->kind = next_kind(p);
	p->epoch++;
	p->opened = false;
	ask(p, COLO_CONTROL_BEGIN, p->kind);
	return COLO_PRIMARY_OPENING;
}

static void
finish_report(struct colo_primary *p)
{
	if (!p->report_waits)
		return;
	p->report_waits = false;
	p->last = p->report;
	p->notify->epoch(p->notify->context, &p->report);
}

enum colo_primary_state
colo_primary_next_or_last(struct colo_primary *p)
{
	finish_report(p);
	if (p->config.epochs == 0 || p->checkpoints < p->config.epochs)
		return COLO_PRIMARY_READY;
	colo_session_bye(p->session);
	p->epochs_done = true;
	return colo_primary_leave(p, p->mismatch ? COLO_EXIT_VERIFY : COLO_EXIT_OK);
}

/* The epoch before is flushed now: guest memory there is what ours was when it was collected. */
enum colo_primary_state
colo_primary_on_opened(struct colo_primary *p)
{
	if (p->verify_now)
		return colo_primary_start_verify(p);
	return colo_primary_next_or_last(p);
}

static void
begin_sending(struct colo_primary *p)
{
	memset(&p->report, 0, sizeof(p->report));
	p->report.epoch = p->epoch;
	p->report.kind = p->kind;
	p->send_us = colo_now_us();
	colo_primary_raise_phase(p, true, p->epoch);
}

/* Pages are sent as they are fed, and so the phase comes first. */
static void
begin_feeding(struct colo_primary *p)
{
	p->to_send = 0;
	for (unsigned int i = 0; i < p->blocks->n; i++)
		p->to_send += p->blocks->block[i].n_pages;
	begin_sending(p);
}

enum colo_primary_state
colo_primary_on_due(struct colo_primary *p)
{
	bool checkpoint = p->kind == COLO_EPOCH_CHECKPOINT;

	p->collecting = false;
	p->collected = p->source->ops->collect_piece == NULL;
	p->pause_us = p->now_us;
	if (checkpoint) {
		p->checkpoint_wanted = false;
		p->guest_paused = true;
		atomic_store_explicit(&p->source->paused_tsc, 0, memory_order_relaxed);
		p->due_us = p->now_us + p->config.interval_ms * 1000ull;
	}
	if (p->source->ops->feeds)
		begin_feeding(p);
	p->source->ops->request(p->source, checkpoint ? COLO_SOURCE_PAUSE : COLO_SOURCE_ROUND);
	return COLO_PRIMARY_COLLECTING;
}

static void
fill_outbox(struct colo_primary *p)
{
	struct colo_outbox *box = &p->send->outbox;

	box->list.n = 0;
	p->to_send = 0;
	for (unsigned int i = 0; i < p->blocks->n; i++) {
		struct colo_dirty *todo = &p->blocks->block[i].todo;

		if (p->kind == COLO_EPOCH_PRECOPY)
			p->to_send += colo_dirty_count(todo);
		else if (p->config.reconnect_ms != 0)
			colo_dirty_add(&p->blocks->block[i].doubt, todo);
		colo_piece_list_add(&box->list, i, todo->summary, todo->n_summary);
		memset(todo->summary, 0, todo->n_summary * sizeof(todo->summary[0]));
	}
	atomic_store_explicit(&box->next, 0, memory_order_relaxed);
}

enum colo_primary_state
colo_primary_on_collected(struct colo_primary *p)
{
	colo_primary_note_paused(p);
	if (p->source->ops->feeds) {
		/* what it waited for the guest to stop is no part of the transfer */
		if (p->kind == COLO_EPOCH_CHECKPOINT)
			p->send_us = p->pause_us;
		colo_feed_close(&p->send->feed, p->epoch);
		return COLO_PRIMARY_SENDING;
	}
	fill_outbox(p);
	if (p->kind == COLO_EPOCH_CHECKPOINT)
		p->doubt = p->epoch;
	if (p->source->ops->staged)
		colo_primary_request_resume(p);
	begin_sending(p);
	return COLO_PRIMARY_SENDING;
}

enum colo_primary_state
colo_primary_on_sent(struct colo_primary *p)
{
	struct {
		struct colo_control_request head;
		struct colo_channel_end end[COLO_MAX_CHANNELS];
	} __attribute__((packed)) request = {.head = {.op = COLO_CONTROL_END}};

	request.head.n = p->send->n_channels;
	for (unsigned int c = 0; c < p->send->n_channels; c++) {
		struct colo_send_progress *from = &p->send->channel[c]->progress;

		request.end[c].end_slot = rte_cpu_to_be_64(
			atomic_load_explicit(&from->end_slot, memory_order_relaxed));
		request.end[c].pages =
			rte_cpu_to_be_64(atomic_load_explicit(&from->pages, memory_order_relaxed));
		request.end[c].digest =
			rte_cpu_to_be_64(atomic_load_explicit(&from->digest, memory_order_relaxed));
		p->report.pages += atomic_load_explicit(&from->pages, memory_order_relaxed);
		p->report.zero_pages +=
			atomic_load_explicit(&from->zero_pages, memory_order_relaxed);
	}
	colo_lane_ask(&p->lane, &request.head,
		sizeof(request.head) + p->send->n_channels * sizeof(request.end[0]), p->now_us);
	return COLO_PRIMARY_ENDING;
}

static void
sum_wire(struct colo_primary *p)
{
	for (unsigned int c = 0; c < p->send->n_channels; c++) {
		struct colo_send_progress *from = &p->send->channel[c]->progress;

		p->report.wire_bytes +=
			atomic_load_explicit(&from->wire_bytes, memory_order_relaxed);
		p->report.resent += atomic_load_explicit(&from->resent, memory_order_relaxed);
	}
}

/* The checkpoint is committed: it cannot be lost any more, and the guest may run. */
static void
note_committed(struct colo_primary *p)
{
	p->committed = p->epoch;
	p->doubt = 0;
	p->fruitless = 0;
	for (unsigned int i = 0; i < p->blocks->n; i++)
		colo_dirty_clear(&p->blocks->block[i].doubt);
	p->checkpoints++;
	if (!p->protected_once)
		colo_notify_text(p->notify, false,
			"the guest is PROTECTED: checkpoint %u is committed", p->epoch);
	p->protected_once = true;
	p->verify_now = p->config.verify || p->verify_wanted;
	p->verify_wanted = false;
	if (p->source->ops->staged)
		return;
	p->hold_until_us = 0;
	/* what a comparison costs is not part of the pause */
	if (p->verify_now && !p->source->ops->copies)
		p->report.pause_us = p->now_us - p->pause_us;
	else
		colo_primary_request_resume(p);
}

enum colo_primary_state
colo_primary_on_ended(struct colo_primary *p)
{
	p->report.transfer_us = p->now_us - p->send_us;
	sum_wire(p);
	colo_primary_raise_phase(p, true, 0);
	p->report_waits = true;
	if (p->kind == COLO_EPOCH_PRECOPY) {
		p->rounds++;
		p->round_pages = p->report.pages;
		p->precopy_pages += p->report.pages;
		p->notify->progress(p->notify->context, p->report.pages, p->report.pages);
	} else {
		note_committed(p);
	}
	return colo_primary_open_next(p);
}
