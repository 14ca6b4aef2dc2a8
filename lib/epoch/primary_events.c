/* SPDX-License-Identifier: BSD-3-Clause */
/* Where the primary's events come from: session, lane, source, poll cores, clock. */
#include <rte_common.h>

#include "primary_actions.h"

#define PROGRESS_EVERY_US   100000u   /* how often the progress of a full copy is shown */
#define LEAVE_LIMIT_US	    10000000u /* a source that takes longer has failed to resume */
#define VERIFY_BYTES_PER_US 250u      /* both ends' slowest, one core shared with others */

/* A lost secondary is called again, as long as --reconnect says. */
static void
call_again(struct colo_primary *p)
{
	if (p->now_us < p->call_us)
		return;
	if (p->now_us < p->call_until_us) {
		colo_primary_dispatch(p, COLO_PRIMARY_EV_START);
		return;
	}
	colo_primary_stop_calling(p);
	if (!p->config.stay)
		p->quit_wanted = true;
}

/* A guest that waits to be protected starts the session. */
void
colo_primary_poll_call(struct colo_primary *p)
{
	if (p->state == COLO_PRIMARY_STOPPED && p->call_until_us != 0 && !p->quit_wanted) {
		call_again(p);
		return;
	}
	if (p->state == COLO_PRIMARY_STOPPED && p->source->ops->feeds && !p->quit_wanted &&
		p->source->ops->called(p->source))
		colo_primary_dispatch(p, COLO_PRIMARY_EV_START);
}

bool
colo_primary_poll_session(struct colo_primary *p)
{
	enum colo_session_event event;

	if (p->state == COLO_PRIMARY_STOPPED || p->state >= COLO_PRIMARY_LEAVING ||
		p->now_us < p->session_us + COLO_SESSION_POLL_US)
		return false;
	p->session_us = p->now_us;
	event = colo_session_poll(p->session, p->now_us / 1000);
	switch (event) {
	case COLO_SESSION_NOTHING:
		return false;
	case COLO_SESSION_CONNECTED:
		colo_primary_dispatch(p, COLO_PRIMARY_EV_CONNECTED);
		break;
	case COLO_SESSION_ACCEPTED:
		colo_primary_dispatch(p, COLO_PRIMARY_EV_ACCEPTED);
		break;
	case COLO_SESSION_REFUSED:
		colo_primary_dispatch(p, COLO_PRIMARY_EV_REFUSED);
		break;
	default:
		colo_primary_dispatch(p, COLO_PRIMARY_EV_LOST);
	}
	return true;
}

static void
take_reply(struct colo_primary *p, const struct colo_control_reply *reply)
{
	switch (reply->op) {
	case COLO_CONTROL_BEGIN:
		if (reply->result != COLO_RESULT_OK) {
			colo_primary_dispatch(p, COLO_PRIMARY_EV_FAILED);
			break;
		}
		p->opened = true;
		if (p->report_waits)
			p->report.flush_us = reply->flush_us;
		break;
	case COLO_CONTROL_END:
		p->report.commit_us = reply->commit_us;
		colo_primary_dispatch(p, reply->result == COLO_RESULT_OK ? COLO_PRIMARY_EV_ENDED
									 : COLO_PRIMARY_EV_FAILED);
		break;
	case COLO_CONTROL_VERIFY:
		if (reply->result == COLO_RESULT_REFUSED) {
			colo_primary_dispatch(p, COLO_PRIMARY_EV_FAILED);
			break;
		}
		p->report.mismatches = reply->result != COLO_RESULT_OK;
		colo_primary_dispatch(p, COLO_PRIMARY_EV_VERIFIED);
		break;
	}
}

bool
colo_primary_poll_lane(struct colo_primary *p)
{
	struct colo_control_reply reply;
	struct colo_frame f;
	void *m;

	colo_lane_timer(&p->lane, p->now_us);
	if (rte_ring_dequeue(p->send->lane.rx, &m) != 0)
		return false;
	/* a poll core has opened its seal */
	if (colo_frame_check(&p->send->phase.filter, m, &f) == COLO_FRAME_OK &&
		(!p->send->phase.filter.sealed || colo_frame_opened(&f)) &&
		colo_lane_answer(&p->lane, &f, &reply, p->now_us))
		take_reply(p, &reply);
	rte_pktmbuf_free(m);
	return true;
}

static bool
all_sent(const struct colo_primary *p)
{
	for (unsigned int c = 0; c < p->send->n_channels; c++)
		/* pairs with the store-release in the sender's publish() */
		if (atomic_load_explicit(&p->send->channel[c]->progress.epoch_sent,
			    memory_order_acquire) != p->epoch)
			return false;
	return true;
}

static bool
is_quiet(const struct colo_primary *p)
{
	for (unsigned int c = 0; c < p->send->n_channels; c++)
		if (!colo_gate_arrived(&p->send->gate, &p->send->channel[c]->seat))
			return false;
	return true;
}

static void
note_acked(struct colo_primary *p)
{
	uint64_t acked = 0, sent = 0;

	for (unsigned int c = 0; c < p->send->n_channels; c++) {
		struct colo_send_progress *from = &p->send->channel[c]->progress;

		acked += atomic_load_explicit(&from->acked, memory_order_relaxed);
		sent += atomic_load_explicit(&from->sent, memory_order_relaxed);
	}
	/* while a source feeds, nothing outstanding means that there was nothing to send */
	if (acked != p->acked || (p->state == COLO_PRIMARY_COLLECTING && acked == sent))
		p->acked_us = p->now_us;
	p->acked = acked;
}

/* Precopy's progress, by pages placed in new packets; an estimate until the round is over. */
static void
show_progress(struct colo_primary *p)
{
	uint64_t pages = p->precopy_pages;

	if (p->kind != COLO_EPOCH_PRECOPY || p->now_us < p->progress_us + PROGRESS_EVERY_US)
		return;
	p->progress_us = p->now_us;
	for (unsigned int c = 0; c < p->send->n_channels; c++)
		pages += atomic_load_explicit(
			&p->send->channel[c]->progress.pages, memory_order_relaxed);
	p->notify->progress(p->notify->context, RTE_MIN(pages, p->to_send), p->to_send);
}

static void
collect_piece(void *context, const struct colo_piece_ref *ref, struct colo_counters *counters)
{
	struct colo_source *source = context;

	(void)counters;
	source->ops->collect_piece(source, ref->block, ref->piece);
}

static bool
poll_collect(struct colo_primary *p, enum colo_source_status status)
{
	if (p->collecting && colo_job_done(p->job)) {
		p->collecting = false;
		p->collected = true;
	}
	/* sending rewrites the phase: not while a poll core may still be reading the last one */
	if (!p->collected || status != COLO_SOURCE_DONE || !is_quiet(p))
		return false;
	colo_primary_dispatch(p, COLO_PRIMARY_EV_COLLECTED);
	return true;
}

/* The source's answer to what was requested last. */
bool
colo_primary_poll_source(struct colo_primary *p)
{
	enum colo_source_status status;

	if (p->source_gone || p->state == COLO_PRIMARY_CLOSED)
		return false;
	status = p->source->ops->poll(p->source);
	switch (status) {
	case COLO_SOURCE_GONE:
		p->source_gone = true;
		colo_primary_dispatch(p, COLO_PRIMARY_EV_SOURCE_GONE);
		return true;
	case COLO_SOURCE_FAILED:
		p->resuming = false;
		colo_primary_dispatch(p, COLO_PRIMARY_EV_SOURCE_FAILED);
		return true;
	case COLO_SOURCE_BUSY:
		return false;
	default:
		break;
	}
	if (p->state == COLO_PRIMARY_COLLECTING && !p->collecting && !p->collected) {
		colo_piece_list_all(&p->job->list, p->blocks);
		p->job->list.n -= p->blocks->block[p->blocks->n - 1].n_pieces; /* device state's */
		colo_job_post(p->job, collect_piece, p->source);
		p->collecting = true;
	}
	if (p->state == COLO_PRIMARY_COLLECTING)
		return poll_collect(p, status);
	if (status != COLO_SOURCE_DONE || !p->resuming)
		return false;
	p->resuming = false;
	p->guest_paused = false;
	p->hold_until_us = 0;
	if (p->report.pause_us == 0 && p->report.kind == COLO_EPOCH_CHECKPOINT)
		p->report.pause_us = p->now_us - p->pause_us;
	return true;
}

static bool
is_due(const struct colo_primary *p)
{
	if (p->guest_paused || p->resuming)
		return false;
	/* the first checkpoint is precopy's end */
	if (p->source->ops->feeds && p->kind == COLO_EPOCH_CHECKPOINT && p->checkpoints > 0)
		return p->source->ops->due(p->source);
	if (p->source->ops->feeds)
		return true;
	return p->kind == COLO_EPOCH_PRECOPY || p->checkpoint_wanted || p->now_us >= p->due_us;
}

bool
colo_primary_poll_epoch(struct colo_primary *p)
{
	enum colo_primary_state before = p->state;

	switch (p->state) {
	case COLO_PRIMARY_OPENING:
		if (p->opened && !p->resuming && (!p->guest_paused || p->verify_now))
			colo_primary_dispatch(p, COLO_PRIMARY_EV_OPENED);
		break;
	case COLO_PRIMARY_VERIFYING:
		if (!p->verified_local && colo_job_done(p->job))
			colo_primary_dispatch(p, COLO_PRIMARY_EV_DIGESTED);
		break;
	case COLO_PRIMARY_READY:
		/* a source that feeds rewrites the phase at once */
		if (is_due(p) && is_quiet(p))
			colo_primary_dispatch(p, COLO_PRIMARY_EV_DUE);
		break;
	case COLO_PRIMARY_COLLECTING:
		if (p->source->ops->feeds)
			show_progress(p);
		break;
	case COLO_PRIMARY_SENDING:
		show_progress(p);
		if (is_quiet(p) && all_sent(p))
			colo_primary_dispatch(p, COLO_PRIMARY_EV_SENT);
		break;
	default:
		break;
	}
	return p->state != before;
}

void
colo_primary_poll_seals(struct colo_primary *p)
{
	if (colo_seals_poll(&p->seals, &p->send->gate, is_quiet(p), p->now_us) != 0)
		colo_primary_dispatch(p, COLO_PRIMARY_EV_KEYS);
}

/* How long nothing may be acknowledged; a comparison reads all of the guest meanwhile. */
static uint64_t
stall_limit_us(const struct colo_primary *p)
{
	uint64_t limit = RTE_MAX(p->config.peer_timeout_ms, p->config.hold_ms) * 1000ull;

	if (p->state != COLO_PRIMARY_VERIFYING)
		return limit;
	for (unsigned int i = 0; i < p->blocks->n; i++)
		limit += p->blocks->block[i].size / VERIFY_BYTES_PER_US;
	return limit;
}

void
colo_primary_poll_limits(struct colo_primary *p)
{
	uint64_t stall_us = stall_limit_us(p);

	note_acked(p);
	colo_primary_note_paused(p);
	if (p->hold_until_us != 0 && p->now_us >= p->hold_until_us)
		colo_primary_dispatch(p, COLO_PRIMARY_EV_HOLD);
	else if (p->now_us >= p->acked_us + stall_us)
		colo_primary_dispatch(p, COLO_PRIMARY_EV_STALLED);
}

/* Poll cores out of the session, job cancelled, guest running: in this order. */
bool
colo_primary_poll_leaving(struct colo_primary *p)
{
	enum colo_source_status status;
	bool too_long = p->now_us >= p->state_us + LEAVE_LIMIT_US;

	if (!colo_job_cancel(p->job) || !is_quiet(p))
		return false;
	colo_seals_end(&p->seals);
	status = p->source_gone ? COLO_SOURCE_GONE : p->source->ops->poll(p->source);
	/* a RESUME overtakes a PAUSE that is still under way */
	if (p->guest_paused && !p->resuming && status != COLO_SOURCE_GONE) {
		colo_primary_request_resume(p);
		return true;
	}
	if ((status == COLO_SOURCE_BUSY || status == COLO_SOURCE_COLLECT) && !too_long)
		return false;
	if (p->guest_paused && status != COLO_SOURCE_DONE && status != COLO_SOURCE_GONE)
		colo_notify_text(p->notify, true, "the guest may stand still: %s",
			too_long ? "it was not resumed within the limit" : p->source->error.text);
	colo_primary_dispatch(p, COLO_PRIMARY_EV_LEFT);
	return true;
}
