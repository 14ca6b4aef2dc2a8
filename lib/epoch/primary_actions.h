/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * The primary's state machine among its own files; primary.h is for everyone else. primary.c has
 * the table and the one set_state(); an action does what its event asks for and returns the next
 * state.
 */
#ifndef COLO_EPOCH_PRIMARY_ACTIONS_H
#define COLO_EPOCH_PRIMARY_ACTIONS_H

#include "primary.h"

enum colo_primary_event {
	COLO_PRIMARY_EV_START,
	COLO_PRIMARY_EV_STOP,
	COLO_PRIMARY_EV_CONNECTED, /* session: TCP is up */
	COLO_PRIMARY_EV_ACCEPTED,
	COLO_PRIMARY_EV_REFUSED,
	COLO_PRIMARY_EV_LOST,	   /* session: broken, aborted, or ended by the secondary */
	COLO_PRIMARY_EV_OPENED,	   /* lane: the epoch is open, and the guest runs */
	COLO_PRIMARY_EV_DUE,	   /* time for the next epoch */
	COLO_PRIMARY_EV_COLLECTED, /* what changed is known */
	COLO_PRIMARY_EV_SENT,	   /* every channel has sent its part */
	COLO_PRIMARY_EV_ENDED,	   /* lane: committed */
	COLO_PRIMARY_EV_FAILED,	   /* lane: not committed, or refused */
	COLO_PRIMARY_EV_DIGESTED,  /* VERIFYING: our digest is known */
	COLO_PRIMARY_EV_VERIFIED,  /* lane: the secondary's verdict */
	COLO_PRIMARY_EV_LEFT,	   /* LEAVING: the guest runs, the poll cores are out */
	COLO_PRIMARY_EV_SOURCE_FAILED,
	COLO_PRIMARY_EV_SOURCE_GONE,
	COLO_PRIMARY_EV_KEYS,	 /* the next keys cannot be made; `error` says why */
	COLO_PRIMARY_EV_HOLD,	 /* the guest stood still too long */
	COLO_PRIMARY_EV_STALLED, /* nothing was acknowledged, or compared, for too long */
	COLO_PRIMARY_N_EVENTS
};

/* primary_session.c */
enum colo_primary_state colo_primary_leave(struct colo_primary *p, int status);
enum colo_primary_state colo_primary_abort(struct colo_primary *p, const char *why);
void colo_primary_stop_calling(struct colo_primary *p);
enum colo_primary_state colo_primary_on_start(struct colo_primary *p);
enum colo_primary_state colo_primary_on_connected(struct colo_primary *p);
enum colo_primary_state colo_primary_on_accepted(struct colo_primary *p);
enum colo_primary_state colo_primary_on_refused(struct colo_primary *p);
enum colo_primary_state colo_primary_on_lost_early(struct colo_primary *p);
enum colo_primary_state colo_primary_on_lost(struct colo_primary *p);
enum colo_primary_state colo_primary_on_stop(struct colo_primary *p);
enum colo_primary_state colo_primary_on_failed(struct colo_primary *p);
enum colo_primary_state colo_primary_on_source_failed(struct colo_primary *p);
enum colo_primary_state colo_primary_on_source_gone(struct colo_primary *p);
enum colo_primary_state colo_primary_on_keys(struct colo_primary *p);
enum colo_primary_state colo_primary_on_hold(struct colo_primary *p);
enum colo_primary_state colo_primary_on_stalled(struct colo_primary *p);
enum colo_primary_state colo_primary_on_left(struct colo_primary *p);

/* primary_epoch.c */
void colo_primary_request_resume(struct colo_primary *p);
void colo_primary_note_paused(struct colo_primary *p);
enum colo_primary_state colo_primary_open_next(struct colo_primary *p);
enum colo_primary_state colo_primary_next_or_last(struct colo_primary *p);
enum colo_primary_state colo_primary_on_opened(struct colo_primary *p);
enum colo_primary_state colo_primary_on_due(struct colo_primary *p);
enum colo_primary_state colo_primary_on_collected(struct colo_primary *p);
enum colo_primary_state colo_primary_on_sent(struct colo_primary *p);
enum colo_primary_state colo_primary_on_ended(struct colo_primary *p);

/* primary_verify.c */
enum colo_primary_state colo_primary_start_verify(struct colo_primary *p);
enum colo_primary_state colo_primary_on_digested(struct colo_primary *p);
enum colo_primary_state colo_primary_on_verified(struct colo_primary *p);
enum colo_primary_state colo_primary_on_failed_verify(struct colo_primary *p);
enum colo_primary_state colo_primary_on_stalled_verify(struct colo_primary *p);

/* primary_events.c */
void colo_primary_poll_call(struct colo_primary *p);
bool colo_primary_poll_session(struct colo_primary *p);
bool colo_primary_poll_lane(struct colo_primary *p);
bool colo_primary_poll_source(struct colo_primary *p);
void colo_primary_poll_seals(struct colo_primary *p);
bool colo_primary_poll_epoch(struct colo_primary *p);
void colo_primary_poll_limits(struct colo_primary *p);
/** @return true if there was work: whoever waits for others must let them have the core. */
bool colo_primary_poll_leaving(struct colo_primary *p);

/* primary.c */
void colo_primary_raise_phase(struct colo_primary *p, bool session, uint32_t epoch);
void colo_primary_dispatch(struct colo_primary *p, enum colo_primary_event event);

#endif
