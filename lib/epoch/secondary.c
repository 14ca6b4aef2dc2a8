/* SPDX-License-Identifier: BSD-3-Clause */
/* The secondary's state machine: one table (state x event), one set_state(). */
#include "log.h"
#include "secondary_actions.h"

static const char *const event_names[COLO_SECONDARY_N_EVENTS] = {
	[COLO_SECONDARY_EV_HELLO] = "hello",
	[COLO_SECONDARY_EV_STARTED] = "started",
	[COLO_SECONDARY_EV_LOST] = "peer lost",
	[COLO_SECONDARY_EV_BYE] = "bye",
	[COLO_SECONDARY_EV_BEGIN] = "begin",
	[COLO_SECONDARY_EV_END] = "end",
	[COLO_SECONDARY_EV_VERIFY] = "verify",
	[COLO_SECONDARY_EV_COMPLETE] = "complete",
	[COLO_SECONDARY_EV_QUIET] = "quiet",
	[COLO_SECONDARY_EV_JOB_DONE] = "job done",
	[COLO_SECONDARY_EV_DEADLINE] = "deadline",
	[COLO_SECONDARY_EV_FAILOVER] = "failover",
	[COLO_SECONDARY_EV_TAKEN_OVER] = "taken over",
	[COLO_SECONDARY_EV_TAKEOVER_FAILED] = "takeover failed",
	[COLO_SECONDARY_EV_GUEST_DONE] = "guest did it",
	[COLO_SECONDARY_EV_GUEST_FAILED] = "guest did not",
	[COLO_SECONDARY_EV_GUEST_LOST] = "guest lost",
	[COLO_SECONDARY_EV_QUIT] = "quit",
};

typedef enum colo_secondary_state (*action_fn)(struct colo_secondary *s);

const char *
colo_secondary_state_name(enum colo_secondary_state state)
{
	static const char *const names[] = {
#define X(name) [COLO_SECONDARY_##name] = #name,
		COLO_SECONDARY_STATES(X)
#undef X
	};

	return names[state];
}

static void
set_state(struct colo_secondary *s, enum colo_secondary_state next, enum colo_secondary_event why)
{
	if (next == s->state)
		return;
	COLO_LOG(DEBUG, "secondary: %s -> %s (%s), epoch %u", colo_secondary_state_name(s->state),
		colo_secondary_state_name(next), event_names[why], s->epoch);
	s->state = next;
	s->deadline_us = 0;
}

/*
 * HELLO's time begins with the first turn in it, not with the turn that led there: that one
 * emptied the blocks, which takes seconds where they are large.
 */
static void
arm_deadline(struct colo_secondary *s)
{
	if (s->state == COLO_SECONDARY_HELLO && s->deadline_us == 0)
		s->deadline_us = s->now_us + s->config.peer_timeout_ms * 1000ull;
}

/* After everything that may have come in time was looked at. */
static void
check_deadline(struct colo_secondary *s)
{
	if (s->deadline_us == 0 || s->now_us < s->deadline_us)
		return;
	s->deadline_us = 0;
	colo_secondary_dispatch(s, COLO_SECONDARY_EV_DEADLINE);
}

void
colo_secondary_raise_phase(struct colo_secondary *s, bool session, uint32_t epoch)
{
	struct colo_receive_phase *p = &s->receive->phase;

	p->session = session;
	p->epoch = epoch;
	p->kind = s->kind;
	colo_gate_raise(&s->receive->gate);
}

static enum colo_secondary_state
stay(struct colo_secondary *s)
{
	return s->state;
}

/* A frame or word that does not fit the state is left alone: NULL. */
static const action_fn table[COLO_SECONDARY_N_STATES][COLO_SECONDARY_N_EVENTS] = {
	[COLO_SECONDARY_LISTEN] =
		{
			[COLO_SECONDARY_EV_HELLO] = colo_secondary_on_hello,
			[COLO_SECONDARY_EV_LOST] = colo_secondary_on_lost_listen,
			[COLO_SECONDARY_EV_FAILOVER] = colo_secondary_on_failover_listen,
			[COLO_SECONDARY_EV_QUIT] = colo_secondary_on_quit,
		},
	[COLO_SECONDARY_PARKING] =
		{
			[COLO_SECONDARY_EV_GUEST_DONE] = colo_secondary_on_parked,
			[COLO_SECONDARY_EV_GUEST_FAILED] = colo_secondary_on_park_failed,
			[COLO_SECONDARY_EV_LOST] = colo_secondary_on_lost_parking,
			[COLO_SECONDARY_EV_BYE] = colo_secondary_on_lost_parking,
			[COLO_SECONDARY_EV_FAILOVER] = colo_secondary_on_failover_parking,
		},
	[COLO_SECONDARY_HELLO] =
		{
			[COLO_SECONDARY_EV_GUEST_LOST] = colo_secondary_on_guest_lost,
			[COLO_SECONDARY_EV_STARTED] = colo_secondary_on_started,
			[COLO_SECONDARY_EV_LOST] = colo_secondary_on_lost_hello,
			[COLO_SECONDARY_EV_BYE] = colo_secondary_on_lost_hello,
			[COLO_SECONDARY_EV_DEADLINE] = colo_secondary_on_deadline_hello,
			[COLO_SECONDARY_EV_FAILOVER] = colo_secondary_on_failover_session,
			[COLO_SECONDARY_EV_QUIT] = colo_secondary_on_quit,
		},
	[COLO_SECONDARY_PRECOPY] =
		{
			[COLO_SECONDARY_EV_GUEST_LOST] = colo_secondary_on_guest_lost,
			[COLO_SECONDARY_EV_BEGIN] = colo_secondary_on_begin,
			[COLO_SECONDARY_EV_END] = colo_secondary_on_end,
			[COLO_SECONDARY_EV_VERIFY] = colo_secondary_on_verify_refused,
			[COLO_SECONDARY_EV_COMPLETE] = colo_secondary_on_complete,
			[COLO_SECONDARY_EV_LOST] = colo_secondary_on_lost_idle,
			[COLO_SECONDARY_EV_BYE] = colo_secondary_on_bye,
			[COLO_SECONDARY_EV_DEADLINE] = colo_secondary_on_deadline_receiving,
			[COLO_SECONDARY_EV_FAILOVER] = colo_secondary_on_failover_session,
			[COLO_SECONDARY_EV_QUIT] = colo_secondary_on_quit,
		},
	[COLO_SECONDARY_IDLE] =
		{
			[COLO_SECONDARY_EV_GUEST_LOST] = colo_secondary_on_guest_lost,
			[COLO_SECONDARY_EV_BEGIN] = colo_secondary_on_begin_idle,
			[COLO_SECONDARY_EV_END] = colo_secondary_on_end_refused,
			[COLO_SECONDARY_EV_VERIFY] = colo_secondary_on_verify,
			[COLO_SECONDARY_EV_JOB_DONE] = colo_secondary_on_verified,
			[COLO_SECONDARY_EV_LOST] = colo_secondary_on_lost_idle,
			[COLO_SECONDARY_EV_BYE] = colo_secondary_on_bye,
			[COLO_SECONDARY_EV_FAILOVER] = colo_secondary_on_failover_session,
			[COLO_SECONDARY_EV_QUIT] = colo_secondary_on_quit,
		},
	[COLO_SECONDARY_RECEIVING] =
		{
			[COLO_SECONDARY_EV_GUEST_LOST] = colo_secondary_on_guest_lost,
			[COLO_SECONDARY_EV_BEGIN] = colo_secondary_on_begin_refused,
			[COLO_SECONDARY_EV_END] = colo_secondary_on_end,
			[COLO_SECONDARY_EV_VERIFY] = colo_secondary_on_verify,
			[COLO_SECONDARY_EV_JOB_DONE] = colo_secondary_on_verified,
			[COLO_SECONDARY_EV_COMPLETE] = colo_secondary_on_complete,
			[COLO_SECONDARY_EV_LOST] = colo_secondary_on_lost_receiving,
			[COLO_SECONDARY_EV_BYE] = colo_secondary_on_bye,
			[COLO_SECONDARY_EV_DEADLINE] = colo_secondary_on_deadline_receiving,
			[COLO_SECONDARY_EV_FAILOVER] = colo_secondary_on_failover_session,
			[COLO_SECONDARY_EV_QUIT] = colo_secondary_on_quit,
		},
	[COLO_SECONDARY_SYNCING] =
		{
			[COLO_SECONDARY_EV_BEGIN] = colo_secondary_on_begin_refused,
			[COLO_SECONDARY_EV_QUIET] = colo_secondary_on_quiet_syncing,
			[COLO_SECONDARY_EV_LOST] = colo_secondary_on_lost_later,
			[COLO_SECONDARY_EV_BYE] = colo_secondary_on_bye_later,
			[COLO_SECONDARY_EV_FAILOVER] = colo_secondary_on_failover_later,
		},
	[COLO_SECONDARY_PAUSING] =
		{
			[COLO_SECONDARY_EV_BEGIN] = colo_secondary_on_begin_later,
			[COLO_SECONDARY_EV_END] = colo_secondary_on_end_refused,
			[COLO_SECONDARY_EV_VERIFY] = colo_secondary_on_verify_refused,
			[COLO_SECONDARY_EV_GUEST_DONE] = colo_secondary_on_paused,
			[COLO_SECONDARY_EV_GUEST_FAILED] = colo_secondary_on_guest_failed,
			[COLO_SECONDARY_EV_LOST] = colo_secondary_on_lost_later,
			[COLO_SECONDARY_EV_BYE] = colo_secondary_on_bye_later,
			[COLO_SECONDARY_EV_FAILOVER] = colo_secondary_on_failover_later,
		},
	[COLO_SECONDARY_FLUSHING] =
		{
			[COLO_SECONDARY_EV_BEGIN] = colo_secondary_on_begin_later,
			[COLO_SECONDARY_EV_END] = colo_secondary_on_end_refused,
			[COLO_SECONDARY_EV_VERIFY] = colo_secondary_on_verify_refused,
			[COLO_SECONDARY_EV_JOB_DONE] = colo_secondary_on_flushed,
			[COLO_SECONDARY_EV_LOST] = colo_secondary_on_lost_later,
			[COLO_SECONDARY_EV_BYE] = colo_secondary_on_bye_later,
			[COLO_SECONDARY_EV_FAILOVER] = colo_secondary_on_failover_later,
		},
	[COLO_SECONDARY_LOADING] =
		{
			[COLO_SECONDARY_EV_BEGIN] = colo_secondary_on_begin_later,
			[COLO_SECONDARY_EV_END] = colo_secondary_on_end_refused,
			[COLO_SECONDARY_EV_VERIFY] = colo_secondary_on_verify_refused,
			[COLO_SECONDARY_EV_GUEST_DONE] = colo_secondary_on_loaded,
			[COLO_SECONDARY_EV_GUEST_FAILED] = colo_secondary_on_guest_failed,
			[COLO_SECONDARY_EV_LOST] = colo_secondary_on_lost_later,
			[COLO_SECONDARY_EV_BYE] = colo_secondary_on_bye_later,
			[COLO_SECONDARY_EV_FAILOVER] = colo_secondary_on_failover_later,
		},
	[COLO_SECONDARY_RESUMING] =
		{
			[COLO_SECONDARY_EV_BEGIN] = colo_secondary_on_begin_later,
			[COLO_SECONDARY_EV_END] = colo_secondary_on_end_refused,
			[COLO_SECONDARY_EV_VERIFY] = colo_secondary_on_verify_refused,
			[COLO_SECONDARY_EV_GUEST_DONE] = colo_secondary_on_resumed,
			[COLO_SECONDARY_EV_GUEST_FAILED] = colo_secondary_on_guest_failed,
			[COLO_SECONDARY_EV_LOST] = colo_secondary_on_lost_later,
			[COLO_SECONDARY_EV_BYE] = colo_secondary_on_bye_later,
			[COLO_SECONDARY_EV_FAILOVER] = colo_secondary_on_failover_later,
		},
	[COLO_SECONDARY_ABORTING] =
		{
			[COLO_SECONDARY_EV_BEGIN] = colo_secondary_on_begin_refused,
			[COLO_SECONDARY_EV_QUIET] = colo_secondary_on_quiet_aborting,
			[COLO_SECONDARY_EV_LOST] = colo_secondary_on_lost_later,
			[COLO_SECONDARY_EV_BYE] = colo_secondary_on_bye_later,
			[COLO_SECONDARY_EV_FAILOVER] = colo_secondary_on_failover_later,
		},
	[COLO_SECONDARY_UNDOING] =
		{
			[COLO_SECONDARY_EV_BEGIN] = colo_secondary_on_begin_refused,
			[COLO_SECONDARY_EV_JOB_DONE] = colo_secondary_on_undone,
			[COLO_SECONDARY_EV_LOST] = colo_secondary_on_lost_later,
			[COLO_SECONDARY_EV_BYE] = colo_secondary_on_bye_later,
			[COLO_SECONDARY_EV_FAILOVER] = colo_secondary_on_failover_later,
		},
	[COLO_SECONDARY_FAILING_OVER] =
		{
			[COLO_SECONDARY_EV_TAKEN_OVER] = colo_secondary_on_taken_over,
			[COLO_SECONDARY_EV_TAKEOVER_FAILED] = colo_secondary_on_takeover_failed,
			[COLO_SECONDARY_EV_FAILOVER] = colo_secondary_on_failover_busy,
		},
	[COLO_SECONDARY_FAILED_OVER] =
		{
			[COLO_SECONDARY_EV_FAILOVER] = colo_secondary_on_failover_busy,
			[COLO_SECONDARY_EV_QUIT] = colo_secondary_on_quit,
		},
	[COLO_SECONDARY_CLOSED] =
		{
			[COLO_SECONDARY_EV_FAILOVER] = stay,
		},
};

bool
colo_secondary_takes(const struct colo_secondary *s, enum colo_secondary_event event)
{
	return table[s->state][event] != NULL;
}

void
colo_secondary_dispatch(struct colo_secondary *s, enum colo_secondary_event event)
{
	action_fn action = table[s->state][event];

	if (action != NULL)
		set_state(s, action(s), event);
}

void
colo_secondary_init(struct colo_secondary *s)
{
	s->flush = (struct colo_flush){.blocks = s->blocks, .n_channels = s->receive->n_channels};
	s->verify.blocks = s->blocks;
	s->verify.of_cache = colo_secondary_runs_guest(s);
	if (colo_secondary_runs_guest(s))
		s->flush.log = s->adapter->log;
	s->state = COLO_SECONDARY_LISTEN;
	s->committed = colo_journal_committed(s->journal);
	s->instance = colo_journal_instance(s->journal);
	if (s->config.recovered && s->committed == 0)
		colo_notify_text(
			s->notify, true, "recovered: no checkpoint was committed; listening");
	else if (s->config.recovered)
		colo_notify_text(s->notify, true,
			"recovered: guest memory holds checkpoint %u; waiting to be told: failover "
			"at the "
			"prompt or SIGUSR1 lets the standby take over, its primary resumes, a new "
			"one makes a full copy",
			s->committed);
}

bool
colo_secondary_poll(struct colo_secondary *s, uint64_t now_us)
{
	bool worked;

	/* while we stood still ourselves nothing could be placed */
	if (s->deadline_us != 0 && now_us - s->now_us >= COLO_STANDSTILL_US)
		s->deadline_us += now_us - s->now_us;
	s->now_us = now_us;
	arm_deadline(s);
	worked = colo_secondary_poll_lane(s);
	worked |= colo_secondary_poll_epoch(s);
	worked |= colo_secondary_poll_adapter(s);
	worked |= colo_secondary_poll_session(s);
	colo_secondary_poll_seals(s);
	check_deadline(s);
	/* a commit, flush, undo or takeover under way is finished first */
	if (s->quit_wanted)
		colo_secondary_dispatch(s, COLO_SECONDARY_EV_QUIT);
	return worked;
}

void
colo_secondary_failover(struct colo_secondary *s)
{
	colo_secondary_dispatch(s, COLO_SECONDARY_EV_FAILOVER);
}

void
colo_secondary_quit(struct colo_secondary *s)
{
	s->quit_wanted = true;
}
