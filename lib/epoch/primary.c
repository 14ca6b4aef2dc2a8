/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The primary's epochs: one table (state x event) at the end of this file, one set_state(). An
 * action does what its event asks for and returns the next state.
 */
#include <inttypes.h>
#include <string.h>

#include <rte_random.h>

#include "clock.h"
#include "log.h"
#include "primary.h"

#define PROGRESS_EVERY_US 100000u   /* how often precopy's progress is shown */
#define LEAVE_LIMIT_US	  10000000u /* a source that does not resume its guest within it has failed \
				     */

enum event {
	EV_START,
	EV_STOP,
	EV_CONNECTED, /* session: TCP is up */
	EV_ACCEPTED,
	EV_REFUSED,
	EV_LOST,      /* session: broken, aborted, or ended by the secondary */
	EV_OPENED,    /* lane: the epoch is open, and the guest runs */
	EV_DUE,	      /* time for the next epoch */
	EV_COLLECTED, /* what changed is known */
	EV_SENT,      /* every channel has sent its part */
	EV_ENDED,     /* lane: committed */
	EV_FAILED,    /* lane: not committed */
	EV_DIGESTED,  /* VERIFYING: our digest is known */
	EV_VERIFIED,  /* lane: the secondary's verdict */
	EV_LEFT,      /* LEAVING: the guest runs, the poll cores are out */
	EV_SOURCE_FAILED,
	EV_SOURCE_GONE,
	EV_HOLD,    /* the guest stood still too long */
	EV_STALLED, /* nothing was acknowledged for too long */
	N_EVENTS
};

static const char *const event_names[N_EVENTS] = {
	[EV_START] = "start",
	[EV_STOP] = "stop",
	[EV_CONNECTED] = "connected",
	[EV_ACCEPTED] = "accepted",
	[EV_REFUSED] = "refused",
	[EV_LOST] = "peer lost",
	[EV_OPENED] = "opened",
	[EV_DUE] = "due",
	[EV_COLLECTED] = "collected",
	[EV_SENT] = "sent",
	[EV_ENDED] = "ended",
	[EV_FAILED] = "failed",
	[EV_DIGESTED] = "digested",
	[EV_VERIFIED] = "verified",
	[EV_LEFT] = "left",
	[EV_SOURCE_FAILED] = "source failed",
	[EV_SOURCE_GONE] = "source gone",
	[EV_HOLD] = "hold limit",
	[EV_STALLED] = "stalled",
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
set_state(struct colo_primary *p, enum colo_primary_state next, enum event why)
{
	if (next == p->state)
		return;
	COLO_LOG(DEBUG, "primary: %s -> %s (%s), epoch %u", colo_primary_state_name(p->state),
		colo_primary_state_name(next), event_names[why], p->epoch);
	p->state = next;
	p->state_us = p->now_us;
	p->acked_us = p->now_us;
}

/* ---- what actions are made of ---- */

static void
raise_phase(struct colo_primary *p, bool session, bool new_session, uint32_t epoch, bool committed)
{
	struct colo_send_phase *phase = &p->send->phase;

	phase->session = session;
	phase->new_session = new_session;
	phase->committed = committed;
	phase->epoch = epoch;
	phase->zstd = p->config.zstd;
	phase->zstd_level = p->config.zstd_level;
	colo_gate_raise(&p->send->gate);
}

static void
ask(struct colo_primary *p, uint8_t op, uint8_t kind)
{
	struct colo_control_request request = {.op = op, .kind = kind};

	colo_lane_ask(&p->lane, &request, sizeof(request), p->now_us);
}

static void
request_resume(struct colo_primary *p)
{
	if (!p->guest_paused || p->resuming)
		return;
	p->resuming = true;
	p->source->ops->request(p->source, COLO_SOURCE_RESUME);
}

/* The next epoch's kind: rounds until few enough pages are left, or often enough tried. */
static uint8_t
next_kind(const struct colo_primary *p)
{
	if (p->kind == COLO_EPOCH_CHECKPOINT)
		return COLO_EPOCH_CHECKPOINT;
	if (p->rounds == 0)
		return COLO_EPOCH_PRECOPY;
	if (p->round_pages > p->config.precopy_threshold && p->rounds < p->config.precopy_rounds)
		return COLO_EPOCH_PRECOPY;
	return COLO_EPOCH_CHECKPOINT;
}

static enum colo_primary_state
open_next(struct colo_primary *p)
{
	p->kind = next_kind(p);
	p->epoch++;
	p->opened = false;
	ask(p, COLO_CONTROL_BEGIN, p->kind);
	return COLO_PRIMARY_OPENING;
}

/*
 * The session is over: the guest must run, whatever happens. @p status is the program's exit
 * status unless the prompt keeps it running.
 */
static enum colo_primary_state
leave(struct colo_primary *p, int status)
{
	p->leave_status = status;
	p->lane.waiting = false;
	p->report_waits = false;
	p->hold_until_us = 0;
	if (p->state >= COLO_PRIMARY_COLLECTING && p->state <= COLO_PRIMARY_ENDING)
		p->aborted++;
	raise_phase(p, false, false, 0, false);
	return COLO_PRIMARY_LEAVING;
}

static enum colo_primary_state
leave_unprotected(struct colo_primary *p, const char *why)
{
	colo_notify_text(
		p->notify, true, "PROTECTION LOST: %s; the guest runs on UNPROTECTED", why);
	return leave(p, COLO_EXIT_UNPROTECTED);
}

static enum colo_primary_state
abort_session(struct colo_primary *p, const char *why)
{
	colo_session_abort(p->session, why);
	return leave_unprotected(p, why);
}

/* From when on the guest stands still, by the source's own word. */
static void
note_paused(struct colo_primary *p)
{
	uint64_t tsc = atomic_load_explicit(&p->source->paused_tsc, memory_order_relaxed);

	if (p->state != COLO_PRIMARY_COLLECTING || p->hold_until_us != 0 || tsc == 0 ||
		!p->guest_paused)
		return;
	p->pause_us = colo_tsc_us(tsc);
	p->hold_until_us = p->pause_us + p->config.hold_ms * 1000ull;
}

/* ---- actions ---- */

static enum colo_primary_state
on_start(struct colo_primary *p)
{
	struct colo_error err;

	p->session_id = 0;
	while (p->session_id == 0)
		p->session_id = (uint32_t)rte_rand();
	if (colo_session_connect(p->session, p->config.host, p->config.port,
		    p->config.connect_timeout_ms, &err) != 0) {
		colo_notify_text(p->notify, true, "%s", err.text);
		return leave(p, COLO_EXIT_USAGE);
	}
	return COLO_PRIMARY_CONNECTING;
}

static enum colo_primary_state
on_connected(struct colo_primary *p)
{
	struct colo_hello hello = {
		.session = p->session_id,
		.mtu = p->config.mtu,
		.n_channels = p->send->n_channels,
		.n_blocks = p->blocks->n,
		.peer_timeout_ms = p->config.peer_timeout_ms,
		.hold_ms = p->config.hold_ms,
		.address = p->local,
	};

	for (unsigned int i = 0; i < p->blocks->n; i++) {
		memcpy(hello.block[i].name, p->blocks->block[i].name, sizeof(hello.block[i].name));
		hello.block[i].size = p->blocks->block[i].size;
	}
	colo_session_hello(p->session, &hello);
	return COLO_PRIMARY_GREETING;
}

static void
begin_session(struct colo_primary *p, uint32_t first_credit)
{
	struct colo_send_phase *phase = &p->send->phase;
	struct colo_frame_template t;

	phase->filter = (struct colo_frame_filter){.local = p->local,
		.peer = p->peer,
		.session = p->session_id,
		.n_channels = p->send->n_channels};
	phase->peer = p->peer;
	phase->ip_udp_len = p->local.ip_version == 6 ? COLO_IPV6_UDP_LEN : COLO_IPV4_UDP_LEN;
	phase->first_credit = first_credit;
	raise_phase(p, true, true, 0, false);
	colo_frame_template_init(
		&t, &p->local, &p->peer, p->peer.channel_port[0], p->session_id, 0);
	colo_lane_init(&p->lane, &p->send->lane, p->port->tx_pool, &t);
	p->epoch = 0;
	p->kind = 0;
	p->rounds = 0;
	p->committed = 0;
	p->checkpoints = 0;
	p->protected_once = false;
	p->verify_now = false;
	p->due_us = 0;
	p->sessions++;
	p->full_copies++;
}

/* A full copy: whatever the source knows of is dirty again. */
static void
mark_all(struct colo_primary *p)
{
	for (unsigned int i = 0; i < p->blocks->n; i++)
		colo_dirty_set_range(&p->blocks->block[i].todo, 0, p->blocks->block[i].n_pages);
}

static enum colo_primary_state
on_accepted(struct colo_primary *p)
{
	const struct colo_accept *accept = colo_session_peer_accept(p->session);
	struct colo_error err;

	p->peer = accept->address;
	if (p->peer.ip_version != p->local.ip_version || accept->window == 0 ||
		accept->window > COLO_WINDOW_MAX)
		return abort_session(p, "the secondary's ACCEPT does not fit our HELLO");
	if (colo_steer_ports(p->steering, p->port, p->config.udp_port, &p->peer, &p->local, &err)) {
		colo_session_abort(p->session, err.text);
		return leave_unprotected(p, err.text);
	}
	colo_session_start(p->session, p->local.channel_port, p->send->n_channels);
	colo_session_set_timeout(p->session, p->config.peer_timeout_ms);
	begin_session(p, accept->window);
	if (p->sessions > 1)
		mark_all(p);
	colo_notify_text(p->notify, false, "secondary connected: full copy begins");
	return open_next(p);
}

static enum colo_primary_state
on_refused(struct colo_primary *p)
{
	colo_notify_text(
		p->notify, true, "the secondary refuses: %s", colo_session_reason(p->session));
	return leave(p, COLO_EXIT_USAGE);
}

static enum colo_primary_state
on_lost_early(struct colo_primary *p)
{
	colo_notify_text(p->notify, true, "no secondary at %s port %u: %s", p->config.host,
		p->config.port, colo_session_reason(p->session));
	return leave(p, COLO_EXIT_USAGE);
}

static enum colo_primary_state
on_lost(struct colo_primary *p)
{
	return leave_unprotected(p, colo_session_reason(p->session));
}

static enum colo_primary_state
on_stop(struct colo_primary *p)
{
	colo_session_bye(p->session);
	colo_notify_text(p->notify, false, "session ended in order; the guest runs unprotected");
	return leave(p, p->mismatch ? COLO_EXIT_VERIFY : COLO_EXIT_OK);
}

static void
finish_report(struct colo_primary *p)
{
	if (!p->report_waits)
		return;
	p->report_waits = false;
	p->notify->epoch(p->notify->context, &p->report);
}

static enum colo_primary_state
start_verify(struct colo_primary *p)
{
	p->verify_now = false;
	p->verified_local = false;
	colo_verify_reset(&p->verify);
	colo_piece_list_all(&p->job->list, p->blocks);
	colo_job_post(p->job, colo_verify_piece, &p->verify);
	return COLO_PRIMARY_VERIFYING;
}

static enum colo_primary_state
next_or_last(struct colo_primary *p)
{
	finish_report(p);
	if (p->config.epochs == 0 || p->checkpoints < p->config.epochs)
		return COLO_PRIMARY_READY;
	colo_session_bye(p->session);
	return leave(p, p->mismatch ? COLO_EXIT_VERIFY : COLO_EXIT_OK);
}

/* The epoch before is flushed now: guest memory there is what ours was when it was collected. */
static enum colo_primary_state
on_opened(struct colo_primary *p)
{
	if (p->verify_now)
		return start_verify(p);
	return next_or_last(p);
}

static enum colo_primary_state
on_digested(struct colo_primary *p)
{
	struct {
		struct colo_control_request head;
		struct colo_channel_end end[COLO_MAX_BLOCKS];
	} __attribute__((packed)) request = {.head = {.op = COLO_CONTROL_VERIFY}};

	request.head.n = p->blocks->n;
	for (unsigned int i = 0; i < p->blocks->n; i++)
		request.end[i].digest = rte_cpu_to_be_64(
			atomic_load_explicit(&p->verify.sum[i], memory_order_relaxed));
	colo_lane_ask(&p->lane, &request.head,
		sizeof(request.head) + p->blocks->n * sizeof(request.end[0]), p->now_us);
	p->verified_local = true;
	return p->state;
}

/* In a pair both memories are at hand: nothing less than every byte will do. */
static unsigned int
compare_bytes(const struct colo_primary *p)
{
	unsigned int differ = 0;

	for (unsigned int i = 0; p->peer_blocks != NULL && i < p->blocks->n; i++)
		differ +=
			memcmp(p->blocks->block[i].guest.addr, p->peer_blocks->block[i].guest.addr,
				p->blocks->block[i].size) != 0;
	return differ;
}

static enum colo_primary_state
on_verified(struct colo_primary *p)
{
	p->report.verified = true;
	p->report.mismatches += compare_bytes(p);
	if (p->report.mismatches != 0) {
		p->mismatch = true;
		colo_notify_text(p->notify, true,
			"VERIFY FAILED: checkpoint %u differs from the guest's memory",
			p->report.epoch);
	}
	request_resume(p);
	return next_or_last(p);
}

static enum colo_primary_state
on_due(struct colo_primary *p)
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
		colo_piece_list_add(&box->list, i, todo->summary, todo->n_summary);
		memset(todo->summary, 0, todo->n_summary * sizeof(todo->summary[0]));
	}
	atomic_store_explicit(&box->next, 0, memory_order_relaxed);
}

static enum colo_primary_state
on_collected(struct colo_primary *p)
{
	note_paused(p);
	fill_outbox(p);
	memset(&p->report, 0, sizeof(p->report));
	p->report.epoch = p->epoch;
	p->report.kind = p->kind;
	if (p->source->ops->staged)
		request_resume(p);
	p->send_us = colo_now_us();
	raise_phase(p, true, false, p->epoch, false);
	return COLO_PRIMARY_SENDING;
}

static enum colo_primary_state
on_sent(struct colo_primary *p)
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
	if (p->verify_now)
		p->report.pause_us = p->now_us - p->pause_us;
	else
		request_resume(p);
}

static enum colo_primary_state
on_ended(struct colo_primary *p)
{
	p->report.transfer_us = p->now_us - p->send_us;
	sum_wire(p);
	raise_phase(p, true, false, 0, true);
	p->report_waits = true;
	if (p->kind == COLO_EPOCH_PRECOPY) {
		p->rounds++;
		p->round_pages = p->report.pages;
		p->notify->progress(p->notify->context, p->report.pages, p->report.pages);
	} else {
		note_committed(p);
	}
	return open_next(p);
}

static enum colo_primary_state
on_failed(struct colo_primary *p)
{
	return abort_session(p, "the secondary could not commit the epoch");
}

static enum colo_primary_state
on_source_failed(struct colo_primary *p)
{
	char why[sizeof(p->source->error.text)];

	snprintf(why, sizeof(why), "%s", p->source->error.text);
	return abort_session(p, why);
}

static enum colo_primary_state
on_source_gone(struct colo_primary *p)
{
	colo_notify_text(p->notify, true, "the guest is gone: %s", p->source->error.text);
	colo_session_abort(p->session, "the primary's guest is gone");
	p->guest_paused = false;
	p->resuming = false;
	return leave(p, COLO_EXIT_SOURCE_GONE);
}

static enum colo_primary_state
on_hold(struct colo_primary *p)
{
	return abort_session(p, "the guest would have stood still longer than --hold allows");
}

static enum colo_primary_state
on_stalled(struct colo_primary *p)
{
	return abort_session(p, "nothing was acknowledged on the datapath within --peer-timeout");
}

/* LEAVING: the guest runs (or is gone), and the poll cores have left the session. */
static enum colo_primary_state
on_left(struct colo_primary *p)
{
	p->resuming = false;
	p->guest_paused = false;
	if (p->config.stay && !p->quit_wanted && !p->source_gone)
		return COLO_PRIMARY_STOPPED;
	p->notify->end(p->notify->context, p->leave_status);
	return COLO_PRIMARY_CLOSED;
}

static const action_fn table[COLO_PRIMARY_N_STATES][N_EVENTS] = {
	[COLO_PRIMARY_STOPPED] =
		{
			[EV_START] = on_start,
			[EV_SOURCE_GONE] = on_source_gone,
		},
	[COLO_PRIMARY_CONNECTING] =
		{
			[EV_STOP] = on_stop,
			[EV_CONNECTED] = on_connected,
			[EV_REFUSED] = on_refused,
			[EV_LOST] = on_lost_early,
			[EV_SOURCE_GONE] = on_source_gone,
		},
	[COLO_PRIMARY_GREETING] =
		{
			[EV_STOP] = on_stop,
			[EV_ACCEPTED] = on_accepted,
			[EV_REFUSED] = on_refused,
			[EV_LOST] = on_lost_early,
			[EV_SOURCE_GONE] = on_source_gone,
		},
	[COLO_PRIMARY_OPENING] =
		{
			[EV_STOP] = on_stop,
			[EV_OPENED] = on_opened,
			[EV_FAILED] = on_failed,
			[EV_LOST] = on_lost,
			[EV_HOLD] = on_hold,
			[EV_STALLED] = on_stalled,
			[EV_SOURCE_FAILED] = on_source_failed,
			[EV_SOURCE_GONE] = on_source_gone,
		},
	[COLO_PRIMARY_VERIFYING] =
		{
			[EV_STOP] = on_stop,
			[EV_DIGESTED] = on_digested,
			[EV_VERIFIED] = on_verified,
			[EV_LOST] = on_lost,
			[EV_SOURCE_FAILED] = on_source_failed,
			[EV_SOURCE_GONE] = on_source_gone,
		},
	[COLO_PRIMARY_READY] =
		{
			[EV_STOP] = on_stop,
			[EV_DUE] = on_due,
			[EV_LOST] = on_lost,
			[EV_SOURCE_FAILED] = on_source_failed,
			[EV_SOURCE_GONE] = on_source_gone,
		},
	[COLO_PRIMARY_COLLECTING] =
		{
			[EV_STOP] = on_stop,
			[EV_COLLECTED] = on_collected,
			[EV_LOST] = on_lost,
			[EV_HOLD] = on_hold,
			[EV_SOURCE_FAILED] = on_source_failed,
			[EV_SOURCE_GONE] = on_source_gone,
		},
	[COLO_PRIMARY_SENDING] =
		{
			[EV_STOP] = on_stop,
			[EV_SENT] = on_sent,
			[EV_LOST] = on_lost,
			[EV_HOLD] = on_hold,
			[EV_STALLED] = on_stalled,
			[EV_SOURCE_FAILED] = on_source_failed,
			[EV_SOURCE_GONE] = on_source_gone,
		},
	[COLO_PRIMARY_ENDING] =
		{
			[EV_STOP] = on_stop,
			[EV_ENDED] = on_ended,
			[EV_FAILED] = on_failed,
			[EV_LOST] = on_lost,
			[EV_HOLD] = on_hold,
			[EV_STALLED] = on_stalled,
			[EV_SOURCE_FAILED] = on_source_failed,
			[EV_SOURCE_GONE] = on_source_gone,
		},
	[COLO_PRIMARY_LEAVING] =
		{
			[EV_LEFT] = on_left,
		},
};

static void
dispatch(struct colo_primary *p, enum event event)
{
	action_fn action = table[p->state][event];

	if (action != NULL)
		set_state(p, action(p), event);
}

/* ---- where events come from ---- */

static bool
poll_session(struct colo_primary *p)
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
		dispatch(p, EV_CONNECTED);
		break;
	case COLO_SESSION_ACCEPTED:
		dispatch(p, EV_ACCEPTED);
		break;
	case COLO_SESSION_REFUSED:
		dispatch(p, EV_REFUSED);
		break;
	default:
		dispatch(p, EV_LOST);
	}
	return true;
}

static void
take_reply(struct colo_primary *p, const struct colo_control_reply *reply)
{
	switch (reply->op) {
	case COLO_CONTROL_BEGIN:
		if (reply->result != COLO_RESULT_OK) {
			dispatch(p, EV_FAILED);
			break;
		}
		p->opened = true;
		if (p->report_waits)
			p->report.flush_us = reply->flush_us;
		break;
	case COLO_CONTROL_END:
		p->report.commit_us = reply->commit_us;
		dispatch(p, reply->result == COLO_RESULT_OK ? EV_ENDED : EV_FAILED);
		break;
	case COLO_CONTROL_VERIFY:
		p->report.mismatches = reply->result != COLO_RESULT_OK;
		dispatch(p, EV_VERIFIED);
		break;
	}
}

static bool
poll_lane(struct colo_primary *p)
{
	struct colo_control_reply reply;
	struct colo_frame f;
	void *m;

	colo_lane_timer(&p->lane, p->now_us);
	if (rte_ring_dequeue(p->send->lane.rx, &m) != 0)
		return false;
	if (colo_frame_check(&p->send->phase.filter, m, &f) == COLO_FRAME_OK &&
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
	uint64_t acked = 0;

	for (unsigned int c = 0; c < p->send->n_channels; c++)
		acked += atomic_load_explicit(
			&p->send->channel[c]->progress.acked, memory_order_relaxed);
	if (acked != p->acked)
		p->acked_us = p->now_us;
	p->acked = acked;
}

/* Precopy's progress, by pages placed in new packets; an estimate until the round is over. */
static void
show_progress(struct colo_primary *p)
{
	uint64_t pages = 0;

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
	if (!p->collected || status != COLO_SOURCE_DONE)
		return false;
	dispatch(p, EV_COLLECTED);
	return true;
}

/* The source's answer to what was requested last. */
static bool
poll_source(struct colo_primary *p)
{
	enum colo_source_status status;

	if (p->source_gone || p->state == COLO_PRIMARY_CLOSED)
		return false;
	status = p->source->ops->poll(p->source);
	switch (status) {
	case COLO_SOURCE_GONE:
		p->source_gone = true;
		dispatch(p, EV_SOURCE_GONE);
		return true;
	case COLO_SOURCE_FAILED:
		p->resuming = false;
		dispatch(p, EV_SOURCE_FAILED);
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
	return p->kind == COLO_EPOCH_PRECOPY || p->checkpoint_wanted || p->now_us >= p->due_us;
}

static bool
poll_epoch(struct colo_primary *p)
{
	enum colo_primary_state before = p->state;

	switch (p->state) {
	case COLO_PRIMARY_OPENING:
		if (p->opened && !p->resuming && (!p->guest_paused || p->verify_now))
			dispatch(p, EV_OPENED);
		break;
	case COLO_PRIMARY_VERIFYING:
		if (!p->verified_local && colo_job_done(p->job))
			dispatch(p, EV_DIGESTED);
		break;
	case COLO_PRIMARY_READY:
		if (is_due(p))
			dispatch(p, EV_DUE);
		break;
	case COLO_PRIMARY_SENDING:
		show_progress(p);
		if (all_sent(p))
			dispatch(p, EV_SENT);
		break;
	default:
		break;
	}
	return p->state != before;
}

static void
poll_limits(struct colo_primary *p)
{
	uint64_t stall_us = RTE_MAX(p->config.peer_timeout_ms, p->config.hold_ms) * 1000ull;

	note_acked(p);
	note_paused(p);
	if (p->hold_until_us != 0 && p->now_us >= p->hold_until_us)
		dispatch(p, EV_HOLD);
	else if (p->now_us >= p->acked_us + stall_us)
		dispatch(p, EV_STALLED);
}

/* Poll cores out of the session, job cancelled, guest running: in this order. */
static void
poll_leaving(struct colo_primary *p)
{
	enum colo_source_status status;
	bool too_long = p->now_us >= p->state_us + LEAVE_LIMIT_US;

	if (!colo_job_cancel(p->job) || !is_quiet(p))
		return;
	status = p->source_gone ? COLO_SOURCE_GONE : p->source->ops->poll(p->source);
	if ((status == COLO_SOURCE_BUSY || status == COLO_SOURCE_COLLECT) && !too_long)
		return;
	if (status == COLO_SOURCE_DONE && p->guest_paused && !p->resuming) {
		request_resume(p);
		return;
	}
	if (p->guest_paused && status != COLO_SOURCE_DONE && status != COLO_SOURCE_GONE)
		colo_notify_text(p->notify, true, "the guest may stand still: %s",
			too_long ? "it was not resumed within the limit" : p->source->error.text);
	dispatch(p, EV_LEFT);
}

void
colo_primary_init(struct colo_primary *p)
{
	p->state = COLO_PRIMARY_STOPPED;
	p->verify.blocks = p->blocks;
}

static void
poll_quit(struct colo_primary *p)
{
	if (p->state == COLO_PRIMARY_STOPPED) {
		p->notify->end(p->notify->context, p->leave_status);
		set_state(p, COLO_PRIMARY_CLOSED, EV_STOP);
	} else {
		dispatch(p, EV_STOP);
	}
}

bool
colo_primary_poll(struct colo_primary *p, uint64_t now_us)
{
	bool worked;

	p->now_us = now_us;
	if (p->state == COLO_PRIMARY_LEAVING) {
		poll_leaving(p);
		return true;
	}
	worked = poll_lane(p);
	worked |= poll_source(p);
	worked |= poll_epoch(p);
	worked |= poll_session(p);
	poll_limits(p);
	if (p->quit_wanted)
		poll_quit(p);
	return worked;
}

void
colo_primary_start(struct colo_primary *p)
{
	if (table[p->state][EV_START] == NULL)
		colo_notify_text(p->notify, false, "start: a session is on already");
	dispatch(p, EV_START);
}

void
colo_primary_stop(struct colo_primary *p)
{
	if (table[p->state][EV_STOP] == NULL)
		colo_notify_text(p->notify, false, "stop: no session is on");
	dispatch(p, EV_STOP);
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
