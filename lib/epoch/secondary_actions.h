/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * The secondary's state machine among its own files; secondary.h is for everyone else. secondary.c
 * has the table and the one set_state(); an action does what its event asks for and returns the
 * next state.
 */
#ifndef COLO_EPOCH_SECONDARY_ACTIONS_H
#define COLO_EPOCH_SECONDARY_ACTIONS_H

#include "secondary.h"

enum colo_secondary_event {
	COLO_SECONDARY_EV_HELLO,      /* session: a primary wants in */
	COLO_SECONDARY_EV_STARTED,    /* session: its return ports are known */
	COLO_SECONDARY_EV_LOST,	      /* session: broken or aborted */
	COLO_SECONDARY_EV_BYE,	      /* session: ended in order */
	COLO_SECONDARY_EV_BEGIN,      /* lane: open an epoch */
	COLO_SECONDARY_EV_END,	      /* lane: everything is sent */
	COLO_SECONDARY_EV_VERIFY,     /* lane: compare blocks */
	COLO_SECONDARY_EV_COMPLETE,   /* every channel has placed all of it */
	COLO_SECONDARY_EV_QUIET,      /* every poll core has left the phase before */
	COLO_SECONDARY_EV_JOB_DONE,   /* flush or undo is done */
	COLO_SECONDARY_EV_DEADLINE,   /* the state lasted too long */
	COLO_SECONDARY_EV_FAILOVER,   /* the operator wants the takeover */
	COLO_SECONDARY_EV_TAKEN_OVER, /* adapter: done */
	COLO_SECONDARY_EV_TAKEOVER_FAILED,
	COLO_SECONDARY_EV_GUEST_DONE,	/* adapter: the step is done */
	COLO_SECONDARY_EV_GUEST_FAILED, /* adapter: it is not */
	COLO_SECONDARY_EV_GUEST_LOST,	/* adapter: nobody is there, or not as it should be */
	COLO_SECONDARY_EV_QUIT,
	COLO_SECONDARY_N_EVENTS
};

/* secondary_session.c */
enum colo_secondary_state colo_secondary_on_hello(struct colo_secondary *s);
enum colo_secondary_state colo_secondary_on_started(struct colo_secondary *s);
enum colo_secondary_state colo_secondary_give_up(struct colo_secondary *s);
enum colo_secondary_state colo_secondary_after_session(struct colo_secondary *s);
enum colo_secondary_state colo_secondary_on_lost_listen(struct colo_secondary *s);
enum colo_secondary_state colo_secondary_on_lost_hello(struct colo_secondary *s);
enum colo_secondary_state colo_secondary_on_lost_idle(struct colo_secondary *s);
enum colo_secondary_state colo_secondary_on_lost_receiving(struct colo_secondary *s);
enum colo_secondary_state colo_secondary_on_lost_later(struct colo_secondary *s);
enum colo_secondary_state colo_secondary_on_bye(struct colo_secondary *s);
enum colo_secondary_state colo_secondary_on_bye_later(struct colo_secondary *s);
enum colo_secondary_state colo_secondary_on_deadline_hello(struct colo_secondary *s);
enum colo_secondary_state colo_secondary_on_deadline_receiving(struct colo_secondary *s);
enum colo_secondary_state colo_secondary_on_quiet_aborting(struct colo_secondary *s);
enum colo_secondary_state colo_secondary_on_undone(struct colo_secondary *s);
enum colo_secondary_state colo_secondary_on_quit(struct colo_secondary *s);

enum colo_secondary_state colo_secondary_refuse(struct colo_secondary *s, const char *why);
enum colo_secondary_state colo_secondary_accept(struct colo_secondary *s);

/* secondary_epoch.c */
enum colo_secondary_state colo_secondary_flush(struct colo_secondary *s);
enum colo_secondary_state colo_secondary_finish_flush(struct colo_secondary *s);
enum colo_secondary_state colo_secondary_on_begin(struct colo_secondary *s);
enum colo_secondary_state colo_secondary_on_begin_later(struct colo_secondary *s);
enum colo_secondary_state colo_secondary_on_begin_refused(struct colo_secondary *s);
enum colo_secondary_state colo_secondary_on_begin_idle(struct colo_secondary *s);
enum colo_secondary_state colo_secondary_on_end(struct colo_secondary *s);
enum colo_secondary_state colo_secondary_on_end_refused(struct colo_secondary *s);
enum colo_secondary_state colo_secondary_on_complete(struct colo_secondary *s);
enum colo_secondary_state colo_secondary_on_quiet_syncing(struct colo_secondary *s);
enum colo_secondary_state colo_secondary_on_flushed(struct colo_secondary *s);
enum colo_secondary_state colo_secondary_on_verify(struct colo_secondary *s);
enum colo_secondary_state colo_secondary_on_verify_refused(struct colo_secondary *s);
enum colo_secondary_state colo_secondary_on_verified(struct colo_secondary *s);

/* secondary_takeover.c */
enum colo_secondary_state colo_secondary_start_failover(struct colo_secondary *s);
enum colo_secondary_state colo_secondary_on_failover_listen(struct colo_secondary *s);
enum colo_secondary_state colo_secondary_on_failover_session(struct colo_secondary *s);
enum colo_secondary_state colo_secondary_on_failover_later(struct colo_secondary *s);
enum colo_secondary_state colo_secondary_on_failover_busy(struct colo_secondary *s);
enum colo_secondary_state colo_secondary_on_taken_over(struct colo_secondary *s);
enum colo_secondary_state colo_secondary_on_takeover_failed(struct colo_secondary *s);

/* secondary_guest.c */
/** Does a guest run here between checkpoints? */
bool colo_secondary_runs_guest(const struct colo_secondary *s);
/** Is it anywhere else than where the last commit, and its own running, have brought it? */
bool colo_secondary_guest_lags(const struct colo_secondary *s);
/** ... or has it gone, or does it run where it must not? */
bool colo_secondary_guest_strayed(const struct colo_secondary *s);
/** Pause it before a session. */
enum colo_secondary_state colo_secondary_park(struct colo_secondary *s);
/** Bring it to checkpoint `committed`, which the cache holds. */
enum colo_secondary_state colo_secondary_follow(struct colo_secondary *s);
/** ... for a takeover, without a session. */
enum colo_secondary_state colo_secondary_catch_up(struct colo_secondary *s);
/** The epoch is given up: nothing is undone. */
void colo_secondary_forget_epoch(struct colo_secondary *s);
/** A session begins; its blocks are empty. */
void colo_secondary_forget_guest(struct colo_secondary *s);
enum colo_secondary_state colo_secondary_on_parked(struct colo_secondary *s);
enum colo_secondary_state colo_secondary_on_park_failed(struct colo_secondary *s);
enum colo_secondary_state colo_secondary_on_lost_parking(struct colo_secondary *s);
enum colo_secondary_state colo_secondary_on_failover_parking(struct colo_secondary *s);
enum colo_secondary_state colo_secondary_on_paused(struct colo_secondary *s);
enum colo_secondary_state colo_secondary_load(struct colo_secondary *s);
enum colo_secondary_state colo_secondary_on_loaded(struct colo_secondary *s);
enum colo_secondary_state colo_secondary_on_resumed(struct colo_secondary *s);
enum colo_secondary_state colo_secondary_on_guest_failed(struct colo_secondary *s);
enum colo_secondary_state colo_secondary_on_guest_lost(struct colo_secondary *s);

/* secondary_events.c */
bool colo_secondary_poll_session(struct colo_secondary *s);
bool colo_secondary_poll_lane(struct colo_secondary *s);
bool colo_secondary_poll_epoch(struct colo_secondary *s);
void colo_secondary_poll_seals(struct colo_secondary *s);
bool colo_secondary_poll_adapter(struct colo_secondary *s);

/* secondary.c */
/** Does the state have an action for the event? */
bool colo_secondary_takes(const struct colo_secondary *s, enum colo_secondary_event event);
void colo_secondary_raise_phase(struct colo_secondary *s, bool session, uint32_t epoch);
void colo_secondary_dispatch(struct colo_secondary *s, enum colo_secondary_event event);

#endif
