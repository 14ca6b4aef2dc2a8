/* SPDX-License-Identifier: BSD-3-Clause */
/* The takeover: when it may happen, and how it ends. */
#include <inttypes.h>

#include "secondary_actions.h"

enum colo_secondary_state
colo_secondary_start_failover(struct colo_secondary *s)
{
	s->failover_wanted = false;
	if (colo_secondary_runs_guest(s) && colo_secondary_guest_lags(s))
		return colo_secondary_catch_up(s);
	colo_notify_text(s->notify, true, "taking over: the %s goes on from checkpoint %u",
		colo_secondary_runs_guest(s) ? "guest here" : "standby", s->committed);
	s->adapter->ops->failover(s->adapter);
	return COLO_SECONDARY_FAILING_OVER;
}

static bool
may_fail_over(struct colo_secondary *s)
{
	if (s->adapter == NULL)
		colo_notify_text(
			s->notify, true, "no takeover: there is no --standby and no --adapter");
	else if (s->committed == 0)
		colo_notify_text(s->notify, true, "no takeover: no checkpoint was committed yet");
	return s->adapter != NULL && s->committed != 0;
}

enum colo_secondary_state
colo_secondary_on_failover_listen(struct colo_secondary *s)
{
	return may_fail_over(s) ? colo_secondary_start_failover(s) : s->state;
}

static void
end_for_failover(struct colo_secondary *s)
{
	s->failover_wanted = true;
	s->session_over = true;
	colo_session_abort(s->session, "the secondary was told to take over");
}

enum colo_secondary_state
colo_secondary_on_failover_session(struct colo_secondary *s)
{
	if (!may_fail_over(s))
		return s->state;
	end_for_failover(s);
	return colo_secondary_give_up(s);
}

enum colo_secondary_state
colo_secondary_on_failover_later(struct colo_secondary *s)
{
	if (may_fail_over(s) && !s->session_over)
		end_for_failover(s);
	else if (s->session_over)
		s->failover_wanted = s->adapter != NULL && s->committed != 0;
	return s->state;
}

enum colo_secondary_state
colo_secondary_on_failover_busy(struct colo_secondary *s)
{
	colo_notify_text(s->notify, false, "the takeover is under way or done already");
	return s->state;
}

enum colo_secondary_state
colo_secondary_on_taken_over(struct colo_secondary *s)
{
	/* a guest runs in that memory now: it is no checkpoint for anybody */
	colo_journal_forget(s->journal, s->instance);
	colo_notify_text(s->notify, false, "takeover done in %" PRIu64 " us from checkpoint %u",
		s->adapter->takeover_us, s->committed);
	if (!s->config.stay)
		s->notify->end(s->notify->context, COLO_EXIT_OK);
	return COLO_SECONDARY_FAILED_OVER;
}

enum colo_secondary_state
colo_secondary_on_takeover_failed(struct colo_secondary *s)
{
	colo_notify_text(s->notify, true, "takeover failed: %s", s->adapter->error.text);
	if (!s->config.stay && s->config.failover_on_peer_loss)
		s->notify->end(s->notify->context, COLO_EXIT_TAKEOVER);
	return COLO_SECONDARY_LISTEN;
}
