/* SPDX-License-Identifier: BSD-3-Clause */
/* The primary's state machine: one table (state x event), one set_state(). */
#include <rte_random.h>

#include "log.h"
#include "primary_actions.h"

static const char *const event_names[COLO_PRIMARY_N_EVENTS] = {
	[COLO_PRIMARY_EV_START] = "start",
	[COLO_PRIMARY_EV_STOP] = "stop",
	[COLO_PRIMARY_EV_CONNECTED] = "connected",
	[COLO_PRIMARY_EV_ACCEPTED] = "accepted",
	[COLO_PRIMARY_EV_REFUSED] = "refused",
	[COLO_PRIMARY_EV_LOST] = "peer lost",
	[COLO_PRIMARY_EV_OPENED] = "opened",
	[COLO_PRIMARY_EV_DUE] = "due",
	[COLO_PRIMARY_EV_COLLECTED] = "collected",
	[COLO_PRIMARY_EV_SENT] = "sent",
	[COLO_PRIMARY_EV_ENDED] = "ended",
	[COLO_PRIMARY_EV_FAILED] = "failed",
	[COLO_PRIMARY_EV_DIGESTED] = "digested",
	[COLO_PRIMARY_EV_VERIFIED] = "verified",
	[COLO_PRIMARY_EV_LEFT] = "left",
	[COLO_PRIMARY_EV_SOURCE_FAILED] = "source failed",
	[COLO_PRIMARY_EV_SOURCE_GONE] = "source gone",
	[COLO_PRIMARY_EV_KEYS] = "no keys",
	[COLO_PRIMARY_EV_HOLD] = "hold limit",
	[COLO_PRIMARY_EV_STALLED] = "stalled",
};

typedef enum colo_primary_state (*action_fn)(struct colo_primary *p);

const char *
colo_primary_state_name(enum colo_primary_state state)
{
	static const char *const names[] = {
#define X(name) [COLO_PRIMARY_##name] = #name,
		COLO_PRIMARY_STATES(X)
#undef X
	};

	return names[state];
}

static void
set_state(struct colo_primary *p, enum colo_primary_state next, enum colo_primary_event why)
{
	if (next == p->state)
		return;
	COLO_LOG(DEBUG, "primary: %s -> %s (%s), epoch %u", colo_primary_state_name(p->state),
		colo_primary_state_name(next), event_names[why], p->epoch);
	p->state = next;
	p->state_us = p->now_us;
	p->acked_us = p->now_us;
}

void
colo_primary_raise_phase(struct colo_primary *p, bool session, uint32_t epoch)
{
	struct colo_send_phase *phase = &p->send->phase;

	phase->session = session;
	phase->epoch = epoch;
	phase->fed = p->source->ops->feeds;
	phase->zstd = p->config.zstd;
	phase->zstd_level = p->config.zstd_level;
	colo_gate_raise(&p->send->gate);
}

static const action_fn table[COLO_PRIMARY_N_STATES][COLO_PRIMARY_N_EVENTS] = {
	[COLO_PRIMARY_STOPPED] =
		{
			[COLO_PRIMARY_EV_START] = colo_primary_on_start,
			[COLO_PRIMARY_EV_SOURCE_GONE] = colo_primary_on_source_gone,
		},
	[COLO_PRIMARY_CONNECTING] =
		{
			[COLO_PRIMARY_EV_STOP] = colo_primary_on_stop,
			[COLO_PRIMARY_EV_CONNECTED] = colo_primary_on_connected,
			[COLO_PRIMARY_EV_REFUSED] = colo_primary_on_refused,
			[COLO_PRIMARY_EV_LOST] = colo_primary_on_lost_early,
			[COLO_PRIMARY_EV_SOURCE_GONE] = colo_primary_on_source_gone,
		},
	[COLO_PRIMARY_GREETING] =
		{
			[COLO_PRIMARY_EV_STOP] = colo_primary_on_stop,
			[COLO_PRIMARY_EV_ACCEPTED] = colo_primary_on_accepted,
			[COLO_PRIMARY_EV_REFUSED] = colo_primary_on_refused,
			[COLO_PRIMARY_EV_LOST] = colo_primary_on_lost_early,
			[COLO_PRIMARY_EV_SOURCE_GONE] = colo_primary_on_source_gone,
		},
	[COLO_PRIMARY_OPENING] =
		{
			[COLO_PRIMARY_EV_STOP] = colo_primary_on_stop,
			[COLO_PRIMARY_EV_OPENED] = colo_primary_on_opened,
			[COLO_PRIMARY_EV_FAILED] = colo_primary_on_failed,
			[COLO_PRIMARY_EV_LOST] = colo_primary_on_lost,
			[COLO_PRIMARY_EV_KEYS] = colo_primary_on_keys,
			[COLO_PRIMARY_EV_HOLD] = colo_primary_on_hold,
			[COLO_PRIMARY_EV_STALLED] = colo_primary_on_stalled,
			[COLO_PRIMARY_EV_SOURCE_FAILED] = colo_primary_on_source_failed,
			[COLO_PRIMARY_EV_SOURCE_GONE] = colo_primary_on_source_gone,
		},
	[COLO_PRIMARY_VERIFYING] =
		{
			[COLO_PRIMARY_EV_STOP] = colo_primary_on_stop,
			[COLO_PRIMARY_EV_DIGESTED] = colo_primary_on_digested,
			[COLO_PRIMARY_EV_VERIFIED] = colo_primary_on_verified,
			[COLO_PRIMARY_EV_FAILED] = colo_primary_on_failed_verify,
			[COLO_PRIMARY_EV_LOST] = colo_primary_on_lost,
			[COLO_PRIMARY_EV_KEYS] = colo_primary_on_keys,
			[COLO_PRIMARY_EV_STALLED] = colo_primary_on_stalled_verify,
			[COLO_PRIMARY_EV_SOURCE_FAILED] = colo_primary_on_source_failed,
			[COLO_PRIMARY_EV_SOURCE_GONE] = colo_primary_on_source_gone,
		},
	[COLO_PRIMARY_READY] =
		{
			[COLO_PRIMARY_EV_STOP] = colo_primary_on_stop,
			[COLO_PRIMARY_EV_DUE] = colo_primary_on_due,
			[COLO_PRIMARY_EV_LOST] = colo_primary_on_lost,
			[COLO_PRIMARY_EV_KEYS] = colo_primary_on_keys,
			[COLO_PRIMARY_EV_SOURCE_FAILED] = colo_primary_on_source_failed,
			[COLO_PRIMARY_EV_SOURCE_GONE] = colo_primary_on_source_gone,
		},
	[COLO_PRIMARY_COLLECTING] =
		{
			[COLO_PRIMARY_EV_STOP] = colo_primary_on_stop,
			[COLO_PRIMARY_EV_COLLECTED] = colo_primary_on_collected,
			[COLO_PRIMARY_EV_LOST] = colo_primary_on_lost,
			[COLO_PRIMARY_EV_KEYS] = colo_primary_on_keys,
			[COLO_PRIMARY_EV_HOLD] = colo_primary_on_hold,
			[COLO_PRIMARY_EV_STALLED] = colo_primary_on_stalled,
			[COLO_PRIMARY_EV_SOURCE_FAILED] = colo_primary_on_source_failed,
			[COLO_PRIMARY_EV_SOURCE_GONE] = colo_primary_on_source_gone,
		},
	[COLO_PRIMARY_SENDING] =
		{
			[COLO_PRIMARY_EV_STOP] = colo_primary_on_stop,
			[COLO_PRIMARY_EV_SENT] = colo_primary_on_sent,
			[COLO_PRIMARY_EV_LOST] = colo_primary_on_lost,
			[COLO_PRIMARY_EV_KEYS] = colo_primary_on_keys,
			[COLO_PRIMARY_EV_HOLD] = colo_primary_on_hold,
			[COLO_PRIMARY_EV_STALLED] = colo_primary_on_stalled,
			[COLO_PRIMARY_EV_SOURCE_FAILED] = colo_primary_on_source_failed,
			[COLO_PRIMARY_EV_SOURCE_GONE] = colo_primary_on_source_gone,
		},
	[COLO_PRIMARY_ENDING] =
		{
			[COLO_PRIMARY_EV_STOP] = colo_primary_on_stop,
			[COLO_PRIMARY_EV_ENDED] = colo_primary_on_ended,
			[COLO_PRIMARY_EV_FAILED] = colo_primary_on_failed,
			[COLO_PRIMARY_EV_LOST] = colo_primary_on_lost,
			[COLO_PRIMARY_EV_KEYS] = colo_primary_on_keys,
			[COLO_PRIMARY_EV_HOLD] = colo_primary_on_hold,
			[COLO_PRIMARY_EV_STALLED] = colo_primary_on_stalled,
			[COLO_PRIMARY_EV_SOURCE_FAILED] = colo_primary_on_source_failed,
			[COLO_PRIMARY_EV_SOURCE_GONE] = colo_primary_on_source_gone,
		},
	[COLO_PRIMARY_LEAVING] =
		{
			[COLO_PRIMARY_EV_LEFT] = colo_primary_on_left,
		},
};

void
colo_primary_dispatch(struct colo_primary *p, enum colo_primary_event event)
{
	action_fn action = table[p->state][event];

	if (action != NULL)
		set_state(p, action(p), event);
}

void
colo_primary_init(struct colo_primary *p)
{
	p->state = COLO_PRIMARY_STOPPED;
	p->verify.blocks = p->blocks;
	if (p->seals.shift == 0)
		p->seals.shift = COLO_SEAL_SHIFT_DEFAULT;
	while (p->instance == 0)
		p->instance = rte_rand();
}

static void
poll_quit(struct colo_primary *p)
{
	if (p->state == COLO_PRIMARY_STOPPED) {
		p->notify->end(p->notify->context, p->leave_status);
		set_state(p, COLO_PRIMARY_CLOSED, COLO_PRIMARY_EV_STOP);
	} else {
		colo_primary_dispatch(p, COLO_PRIMARY_EV_STOP);
	}
}

bool
colo_primary_poll(struct colo_primary *p, uint64_t now_us)
{
	bool worked;

	/* what we stood still ourselves nothing could be acknowledged; --hold counts it */
	if (p->now_us != 0 && now_us - p->now_us >= COLO_STANDSTILL_US)
		p->acked_us += now_us - p->now_us;
	p->now_us = now_us;
	if (p->state == COLO_PRIMARY_LEAVING)
		return colo_primary_poll_leaving(p);
	colo_primary_poll_call(p);
	worked = colo_primary_poll_lane(p);
	worked |= colo_primary_poll_source(p);
	worked |= colo_primary_poll_epoch(p);
	worked |= colo_primary_poll_session(p);
	colo_primary_poll_seals(p);
	colo_primary_poll_limits(p);
	if (p->quit_wanted)
		poll_quit(p);
	return worked;
}

void
colo_primary_start(struct colo_primary *p)
{
	if (table[p->state][COLO_PRIMARY_EV_START] == NULL)
		colo_notify_text(p->notify, false, "start: a session is on already");
	else if (p->source->ops->feeds && !p->source->ops->called(p->source))
		colo_notify_text(p->notify, false,
			"start: this guest begins by itself, send `migrate` to its QEMU");
	else
		colo_primary_dispatch(p, COLO_PRIMARY_EV_START);
}

void
colo_primary_stop(struct colo_primary *p)
{
	if (p->state == COLO_PRIMARY_STOPPED && p->call_until_us != 0)
		colo_primary_stop_calling(p);
	else if (table[p->state][COLO_PRIMARY_EV_STOP] == NULL)
		colo_notify_text(p->notify, false, "stop: no session is on");
	colo_primary_dispatch(p, COLO_PRIMARY_EV_STOP);
}

void
colo_primary_checkpoint(struct colo_primary *p)
{
	p->checkpoint_wanted = true;
}

void
colo_primary_verify(struct colo_primary *p)
{
	p->verify_wanted = true;
}

void
colo_primary_quit(struct colo_primary *p)
{
	p->quit_wanted = true;
}
