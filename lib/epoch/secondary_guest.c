/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The guest that runs here between checkpoints (adapter lockstep): paused before a session and at
 * each commit, rolled back, given the device state, let go; and what is done when it cannot.
 *
 * Guest memory is its own between two flushes. The cache is the only copy of the committed
 * checkpoint where it has written; so nothing is undone, and a cache that a given-up epoch has
 * changed is of no use until the next full copy. The guest needs nothing of it to go on.
 */
#include <inttypes.h>

#include "secondary_actions.h"

bool
colo_secondary_runs_guest(const struct colo_secondary *s)
{
	return s->adapter != NULL && s->adapter->ops->step != NULL;
}

bool
colo_secondary_guest_lags(const struct colo_secondary *s)
{
	return s->behind || s->adapter->ops->guest(s->adapter) == COLO_ADAPTER_GUEST_WAITING;
}

/* In precopy memory is not a guest's; from the first commit on one runs between two commits. */
bool
colo_secondary_guest_strayed(const struct colo_secondary *s)
{
	enum colo_adapter_guest guest = s->adapter->ops->guest(s->adapter);

	if (s->committed != 0)
		return guest != COLO_ADAPTER_GUEST_RUNNING;
	return guest == COLO_ADAPTER_GUEST_UNREACHABLE || guest == COLO_ADAPTER_GUEST_RUNNING;
}

void
colo_secondary_forget_epoch(struct colo_secondary *s)
{
	if (colo_flush_forget(&s->flush))
		s->cache_whole = false;
}

void
colo_secondary_forget_guest(struct colo_secondary *s)
{
	s->behind = false;
	s->cache_whole = false;
	s->following = false;
	colo_flush_forget_log(&s->flush);
}

/* ---- before a session ---- */

enum colo_secondary_state
colo_secondary_park(struct colo_secondary *s)
{
	enum colo_adapter_guest guest = s->adapter->ops->guest(s->adapter);

	if (guest == COLO_ADAPTER_GUEST_UNREACHABLE)
		return colo_secondary_refuse(s,
			"the secondary has no hypervisor at its control socket, which --adapter "
			"lockstep needs");
	s->park_resumes = guest == COLO_ADAPTER_GUEST_RUNNING;
	s->adapter->ops->step(s->adapter, COLO_ADAPTER_PAUSE, s->committed);
	return COLO_SECONDARY_PARKING;
}

enum colo_secondary_state
colo_secondary_on_parked(struct colo_secondary *s)
{
	if (!s->session_over)
		return colo_secondary_accept(s);
	if (!s->park_resumes)
		return colo_secondary_after_session(s);
	/* the primary is gone again, and nothing was changed */
	s->adapter->ops->step(s->adapter, COLO_ADAPTER_RESUME, s->committed);
	return COLO_SECONDARY_RESUMING;
}

/* Whoever it was, it never was the primary: that is no loss that calls for a takeover. */
enum colo_secondary_state
colo_secondary_on_lost_parking(struct colo_secondary *s)
{
	s->session_over = true;
	colo_notify_text(s->notify, true, "a primary left before it was let in: %s",
		colo_session_reason(s->session));
	return s->state;
}

enum colo_secondary_state
colo_secondary_on_failover_parking(struct colo_secondary *s)
{
	if (s->committed == 0) {
		colo_notify_text(s->notify, true, "no takeover: no checkpoint was committed yet");
		return s->state;
	}
	if (!s->session_over)
		colo_session_refuse(s->session, "the secondary was told to take over");
	s->session_over = true;
	s->failover_wanted = true;
	return s->state;
}

enum colo_secondary_state
colo_secondary_on_park_failed(struct colo_secondary *s)
{
	s->guest_failures++;
	if (!s->session_over)
		return colo_secondary_refuse(s, s->adapter->error.text);
	colo_notify_text(s->notify, true, "%s", s->adapter->error.text);
	return colo_secondary_after_session(s);
}

/* ---- at a commit ---- */

enum colo_secondary_state
colo_secondary_follow(struct colo_secondary *s)
{
	s->following = true;
	s->adapter->ops->step(s->adapter, COLO_ADAPTER_PAUSE, s->committed);
	return COLO_SECONDARY_PAUSING;
}

enum colo_secondary_state
colo_secondary_on_paused(struct colo_secondary *s)
{
	return colo_secondary_flush(s);
}

enum colo_secondary_state
colo_secondary_load(struct colo_secondary *s)
{
	s->adapter->ops->step(s->adapter, COLO_ADAPTER_LOAD, s->committed);
	return COLO_SECONDARY_LOADING;
}

enum colo_secondary_state
colo_secondary_on_loaded(struct colo_secondary *s)
{
	s->adapter->ops->step(s->adapter, COLO_ADAPTER_RESUME, s->committed);
	return COLO_SECONDARY_RESUMING;
}

enum colo_secondary_state
colo_secondary_on_resumed(struct colo_secondary *s)
{
	bool told = !s->behind; /* this checkpoint's report was given when it was reached first */

	if (!s->following)
		return colo_secondary_after_session(s);
	s->following = false;
	s->behind = false;
	return told ? colo_secondary_after_session(s) : colo_secondary_finish_flush(s);
}

/* ---- when it does not follow ---- */

static void
end_session(struct colo_secondary *s, const char *why)
{
	s->guest_failures++;
	if (s->session_over)
		return;
	/* the primary lives: nobody takes over for it */
	s->session_over = true;
	colo_session_abort(s->session, why);
}

/* The commit stays: the cache holds it, and the guest can be brought to it later. */
enum colo_secondary_state
colo_secondary_on_guest_failed(struct colo_secondary *s)
{
	bool takes_over = s->failover_wanted;

	s->following = false;
	end_session(s, "the guest at the secondary does not follow");
	colo_notify_text(s->notify, true, "the guest here does not follow to checkpoint %u: %s",
		s->committed, s->adapter->error.text);
	colo_secondary_raise_phase(s, false, 0);
	s->failover_wanted = false;
	if (!takes_over)
		return colo_secondary_after_session(s);
	s->session_over = false;
	s->peer_lost = false;
	return colo_secondary_on_takeover_failed(s);
}

enum colo_secondary_state
colo_secondary_on_guest_lost(struct colo_secondary *s)
{
	bool gone = s->adapter->ops->guest(s->adapter) == COLO_ADAPTER_GUEST_UNREACHABLE;

	end_session(s, "the guest at the secondary is lost");
	colo_notify_text(s->notify, true, "the guest here is lost: %s; the session is ended",
		gone ? "its hypervisor has gone" : "its hypervisor was replaced by another one");
	if (s->state == COLO_SECONDARY_RECEIVING)
		s->aborted++;
	return colo_secondary_give_up(s);
}

/* ---- for a takeover ---- */

enum colo_secondary_state
colo_secondary_catch_up(struct colo_secondary *s)
{
	if (!s->cache_whole) {
		colo_error_set(&s->adapter->error,
			"the guest is gone with its hypervisor, and parts of a later checkpoint "
			"have overwritten checkpoint %" PRIu32 " in the cache",
			s->committed);
		return colo_secondary_on_takeover_failed(s);
	}
	colo_notify_text(s->notify, true,
		"the guest here is brought to checkpoint %u before it takes over", s->committed);
	s->failover_wanted = true;
	s->session_over = true;
	return colo_secondary_follow(s);
}
