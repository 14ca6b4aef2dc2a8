/* SPDX-License-Identifier: BSD-3-Clause */
/* Where the secondary's events come from: session, lane, poll cores, adapter. */
#include "secondary_actions.h"

/* The session is over, and not in order. */
static void
lose(struct colo_secondary *s, bool peer_lives)
{
	s->peer_lives = peer_lives;
	colo_secondary_dispatch(s, COLO_SECONDARY_EV_LOST);
}

bool
colo_secondary_poll_session(struct colo_secondary *s)
{
	enum colo_session_event event;

	if (s->now_us < s->session_us + COLO_SESSION_POLL_US)
		return false;
	/* a session rewrites the phase: not while a poll core may still be reading the last one */
	if (s->state <= COLO_SECONDARY_HELLO && !colo_sync_quiet(s->receive))
		return false;
	s->session_us = s->now_us;
	event = colo_session_poll(s->session, s->now_us / 1000);
	switch (event) {
	case COLO_SESSION_NOTHING:
		return false;
	case COLO_SESSION_HELLO:
		if (!colo_secondary_takes(s, COLO_SECONDARY_EV_HELLO))
			colo_session_refuse(s->session, "the secondary is busy, or failed over");
		colo_secondary_dispatch(s, COLO_SECONDARY_EV_HELLO);
		break;
	case COLO_SESSION_STARTED:
		colo_secondary_dispatch(s, COLO_SECONDARY_EV_STARTED);
		break;
	case COLO_SESSION_BYE:
		s->peer_lives = true; /* where that counts as a loss: before START */
		colo_secondary_dispatch(s, COLO_SECONDARY_EV_BYE);
		break;
	case COLO_SESSION_DROPPED:
		/* it never was the primary: nothing here changes for it */
		colo_notify_text(s->notify, true, "%s", colo_session_reason(s->session));
		break;
	case COLO_SESSION_ABORTED:
		lose(s, true);
		break;
	default:
		/*
		 * LOST, and GONE: nobody runs the guest, as far as can be known. But a call that
		 * breaks before START may have waited here while its primary called anew.
		 */
		lose(s, event != COLO_SESSION_GONE && s->state == COLO_SECONDARY_HELLO);
	}
	return true;
}

static void
take_request(struct colo_secondary *s, const struct colo_control_request *r)
{
	switch (r->op) {
	case COLO_CONTROL_BEGIN:
		s->begin_kind = r->kind;
		if (r->kind == COLO_EPOCH_PRECOPY || r->kind == COLO_EPOCH_CHECKPOINT)
			colo_secondary_dispatch(s, COLO_SECONDARY_EV_BEGIN);
		else
			colo_secondary_on_begin_refused(s);
		break;
	case COLO_CONTROL_END:
		/* what is being checked must not change under the check */
		if (!colo_secondary_takes(s, COLO_SECONDARY_EV_END))
			break;
		if (!colo_sync_take(&s->sync, r, s->receive->n_channels))
			colo_secondary_on_end_refused(s);
		else
			colo_secondary_dispatch(s, COLO_SECONDARY_EV_END);
		break;
	case COLO_CONTROL_VERIFY:
		for (unsigned int i = 0; i < COLO_MAX_BLOCKS; i++)
			s->peer_sum[i] = i < r->n ? rte_be_to_cpu_64(r->end[i].digest) : 0;
		if (s->verify_waits || !colo_job_done(s->job))
			colo_secondary_on_verify_refused(s);
		else
			colo_secondary_dispatch(s, COLO_SECONDARY_EV_VERIFY);
		break;
	}
}

bool
colo_secondary_poll_lane(struct colo_secondary *s)
{
	const struct colo_control_request *request;
	struct colo_frame f;
	void *m;

	/* BEGIN rewrites the phase: not while a poll core may still be reading the last one */
	if (!colo_sync_quiet(s->receive))
		return false;
	if (rte_ring_dequeue(s->receive->lane.rx, &m) != 0)
		return false;
	/* what a session left in the ring still fits the filter until the next one is on */
	if (s->receive->phase.session &&
		colo_frame_check(&s->receive->phase.filter, m, &f) == COLO_FRAME_OK &&
		(!s->receive->phase.filter.sealed || colo_frame_opened(&f))) {
		request = colo_lane_server_take(&s->lane, &f);
		if (request != NULL)
			take_request(s, request);
	}
	rte_pktmbuf_free(m);
	return true;
}

/* While poll cores are in a session its keys are renewed; afterwards they are forgotten. */
void
colo_secondary_poll_seals(struct colo_secondary *s)
{
	bool quiet = colo_sync_quiet(s->receive);

	if (s->receive->phase.session) {
		/* a session that is over has no use for keys, and was told so once */
		if (s->session_over ||
			colo_seals_poll(&s->seals, &s->receive->gate, quiet, s->now_us) == 0)
			return;
		colo_notify_text(s->notify, true, "no session any more: %s", s->seals.error.text);
		colo_session_abort(s->session, s->seals.error.text);
		s->session_over = s->peer_lost = true;
		lose(s, true);
	} else if (quiet && s->state != COLO_SECONDARY_HELLO) {
		colo_seals_end(&s->seals);
	}
}

/* When the first page of the epoch came: transfer is counted from there. */
static void
note_first(struct colo_secondary *s)
{
	struct colo_sync_sums sums;

	if (s->first_us != 0)
		return;
	colo_sync_sum(s->receive, &sums);
	if (sums.cum != s->opened_cum)
		s->first_us = s->now_us;
}

bool
colo_secondary_poll_epoch(struct colo_secondary *s)
{
	enum colo_secondary_state before = s->state;

	switch (s->state) {
	case COLO_SECONDARY_PRECOPY:
	case COLO_SECONDARY_RECEIVING:
		note_first(s);
		if (s->verify_waits && colo_job_done(s->job))
			colo_secondary_dispatch(s, COLO_SECONDARY_EV_JOB_DONE);
		if (!s->verify_waits && colo_sync_quiet(s->receive) &&
			colo_sync_complete(&s->sync, s->receive))
			colo_secondary_dispatch(s, COLO_SECONDARY_EV_COMPLETE);
		break;
	case COLO_SECONDARY_IDLE:
		if (s->verify_waits && colo_job_done(s->job))
			colo_secondary_dispatch(s, COLO_SECONDARY_EV_JOB_DONE);
		break;
	case COLO_SECONDARY_SYNCING:
	case COLO_SECONDARY_ABORTING:
		if (s->verify_waits && !colo_job_cancel(s->job))
			break;
		s->verify_waits = false;
		if (colo_sync_quiet(s->receive))
			colo_secondary_dispatch(s, COLO_SECONDARY_EV_QUIET);
		break;
	case COLO_SECONDARY_FLUSHING:
	case COLO_SECONDARY_UNDOING:
		/* the next epoch may begin then: not while a poll core may still be reading the
		 * phase */
		if (colo_job_done(s->job) && colo_sync_quiet(s->receive))
			colo_secondary_dispatch(s, COLO_SECONDARY_EV_JOB_DONE);
		break;
	default:
		break;
	}
	return s->state != before;
}

static bool
poll_step(struct colo_secondary *s)
{
	enum colo_adapter_status status;

	/* the next epoch may begin after it, as after a flush */
	if (!colo_sync_quiet(s->receive))
		return false;
	status = s->adapter->ops->poll(s->adapter);
	if (status == COLO_ADAPTER_DONE)
		colo_secondary_dispatch(s, COLO_SECONDARY_EV_GUEST_DONE);
	else if (status == COLO_ADAPTER_FAILED)
		colo_secondary_dispatch(s, COLO_SECONDARY_EV_GUEST_FAILED);
	return status != COLO_ADAPTER_BUSY;
}

static bool
poll_takeover(struct colo_secondary *s)
{
	enum colo_adapter_status status = s->adapter->ops->poll(s->adapter);

	if (status == COLO_ADAPTER_DONE)
		colo_secondary_dispatch(s, COLO_SECONDARY_EV_TAKEN_OVER);
	else if (status == COLO_ADAPTER_FAILED)
		colo_secondary_dispatch(s, COLO_SECONDARY_EV_TAKEOVER_FAILED);
	return s->state != COLO_SECONDARY_FAILING_OVER;
}

bool
colo_secondary_poll_adapter(struct colo_secondary *s)
{
	switch (s->state) {
	case COLO_SECONDARY_FAILING_OVER:
		return poll_takeover(s);
	case COLO_SECONDARY_PARKING:
	case COLO_SECONDARY_PAUSING:
	case COLO_SECONDARY_LOADING:
	case COLO_SECONDARY_RESUMING:
		return poll_step(s);
	case COLO_SECONDARY_HELLO:
	case COLO_SECONDARY_PRECOPY:
	case COLO_SECONDARY_IDLE:
	case COLO_SECONDARY_RECEIVING:
		if (!colo_secondary_runs_guest(s) || !colo_secondary_guest_strayed(s))
			return false;
		colo_secondary_dispatch(s, COLO_SECONDARY_EV_GUEST_LOST);
		return true;
	default:
		return false;
	}
}
