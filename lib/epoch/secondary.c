/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The secondary's epochs: one table (state x event) at the end of this file, one set_state(). An
 * action does what its event asks for and returns the next state.
 */
#include <inttypes.h>
#include <string.h>

#include "clock.h"
#include "log.h"
#include "secondary.h"

enum event {
	EV_HELLO,      /* session: a primary wants in */
	EV_STARTED,    /* session: its return ports are known */
	EV_LOST,       /* session: broken or aborted */
	EV_BYE,	       /* session: ended in order */
	EV_BEGIN,      /* lane: open an epoch */
	EV_END,	       /* lane: everything is sent */
	EV_VERIFY,     /* lane: compare blocks */
	EV_COMPLETE,   /* every channel has placed all of it */
	EV_QUIET,      /* every poll core has left the phase before */
	EV_JOB_DONE,   /* flush or undo is done */
	EV_DEADLINE,   /* the state lasted too long */
	EV_FAILOVER,   /* the operator wants the takeover */
	EV_TAKEN_OVER, /* adapter: done */
	EV_TAKEOVER_FAILED,
	EV_QUIT,
	N_EVENTS
};

static const char *const event_names[N_EVENTS] = {
	[EV_HELLO] = "hello",
	[EV_STARTED] = "started",
	[EV_LOST] = "peer lost",
	[EV_BYE] = "bye",
	[EV_BEGIN] = "begin",
	[EV_END] = "end",
	[EV_VERIFY] = "verify",
	[EV_COMPLETE] = "complete",
	[EV_QUIET] = "quiet",
	[EV_JOB_DONE] = "job done",
	[EV_DEADLINE] = "deadline",
	[EV_FAILOVER] = "failover",
	[EV_TAKEN_OVER] = "taken over",
	[EV_TAKEOVER_FAILED] = "takeover failed",
	[EV_QUIT] = "quit",
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
set_state(struct colo_secondary *s, enum colo_secondary_state next, enum event why)
{
	if (next == s->state)
		return;
	COLO_LOG(DEBUG, "secondary: %s -> %s (%s), epoch %u", colo_secondary_state_name(s->state),
		colo_secondary_state_name(next), event_names[why], s->epoch);
	s->state = next;
	s->deadline_us = 0;
	if (next == COLO_SECONDARY_HELLO)
		s->deadline_us = s->now_us + s->config.peer_timeout_ms * 1000ull;
}

/* ---- what actions are made of ---- */

static void
raise_phase(struct colo_secondary *s, bool session, bool new_session, uint32_t epoch)
{
	struct colo_receive_phase *p = &s->receive->phase;

	p->session = session;
	p->new_session = new_session;
	p->epoch = epoch;
	p->kind = s->kind;
	colo_gate_raise(&s->receive->gate);
}

static void
answer(struct colo_secondary *s, uint8_t op, enum colo_control_result result, uint8_t detail)
{
	struct colo_control_reply reply = {
		.op = op,
		.result = result,
		.detail = detail,
		.commit_us = s->report.commit_us,
		.flush_us = s->report.flush_us,
		.pages = s->report.pages,
		.wire_bytes = s->report.wire_bytes,
	};

	colo_lane_server_answer(&s->lane, &reply);
}

static enum colo_secondary_state
open_epoch(struct colo_secondary *s)
{
	struct colo_sync_sums sums;

	s->kind = s->begin_kind;
	s->begin_waits = false;
	s->epoch = ++s->opened;
	s->sync.known = false;
	s->opened_us = s->now_us;
	s->first_us = 0;
	colo_sync_sum(s->receive, &sums);
	s->opened_cum = sums.cum;
	raise_phase(s, true, false, s->epoch);
	answer(s, COLO_CONTROL_BEGIN, COLO_RESULT_OK, 0);
	return s->kind == COLO_EPOCH_PRECOPY ? COLO_SECONDARY_PRECOPY : COLO_SECONDARY_RECEIVING;
}

/* The poll cores leave the epoch; what was recorded is undone afterwards. */
static enum colo_secondary_state
give_up(struct colo_secondary *s)
{
	s->undo = s->state == COLO_SECONDARY_RECEIVING;
	if (s->state == COLO_SECONDARY_PRECOPY)
		s->committed = 0;
	raise_phase(s, false, false, 0);
	return COLO_SECONDARY_ABORTING;
}

static enum colo_secondary_state
start_failover(struct colo_secondary *s)
{
	s->failover_wanted = false;
	colo_notify_text(s->notify, true, "taking over: the standby goes on from checkpoint %u",
		s->committed);
	s->adapter->ops->failover(s->adapter);
	return COLO_SECONDARY_FAILING_OVER;
}

/* No session any more, guest memory is pristine: what now? */
static enum colo_secondary_state
after_session(struct colo_secondary *s)
{
	bool lost = s->peer_lost;

	s->session_over = false;
	s->peer_lost = false;
	if (s->failover_wanted || (lost && s->config.failover_on_peer_loss && s->adapter != NULL &&
					  s->committed != 0))
		return start_failover(s);
	if (s->committed == 0)
		colo_notify_text(s->notify, lost,
			"no checkpoint was committed: there is nothing to take over; listening");
	else if (lost)
		colo_notify_text(s->notify, true,
			"guest memory holds checkpoint %u; waiting to be told: failover at the "
			"prompt "
			"or SIGUSR1 lets the standby take over, a new primary makes a full copy",
			s->committed);
	return COLO_SECONDARY_LISTEN;
}

static void
report_epoch(struct colo_secondary *s)
{
	s->notify->epoch(s->notify->context, &s->report);
}

/* ---- actions ---- */

static enum colo_secondary_state
stay(struct colo_secondary *s)
{
	return s->state;
}

static int
check_hello(struct colo_secondary *s, const struct colo_hello *h, struct colo_error *err)
{
	if (h->mtu != s->config.mtu)
		return colo_error_set(
			err, "--mtu differs: primary %u, secondary %u", h->mtu, s->config.mtu);
	if (h->n_channels != s->receive->n_channels)
		return colo_error_set(err, "--channels differs: primary %u, secondary %u",
			h->n_channels, s->receive->n_channels);
	if (h->address.ip_version != s->local.ip_version)
		return colo_error_set(err, "--ip: primary has IPv%u, secondary IPv%u",
			h->address.ip_version, s->local.ip_version);
	if (h->n_blocks != s->blocks->n)
		return colo_error_set(err,
			"number of blocks differs: primary %u, secondary %u (the device state's is "
			"one)",
			h->n_blocks, s->blocks->n);
	for (unsigned int i = 0; i < h->n_blocks; i++) {
		const struct colo_block *b = &s->blocks->block[i];

		if (strcmp(h->block[i].name, b->name) != 0)
			return colo_error_set(err,
				"unknown block: primary's block %u is %s, secondary's --block "
				"there is %s",
				i, h->block[i].name, b->name);
		if (h->block[i].size != b->size)
			return colo_error_set(err,
				"size of block %s differs: primary %" PRIu64 ", secondary %" PRIu64,
				b->name, h->block[i].size, b->size);
	}
	return 0;
}

static void
new_session(struct colo_secondary *s, const struct colo_hello *h)
{
	if (s->committed != 0)
		colo_notify_text(s->notify, true,
			"a new primary begins with a full copy: checkpoint %u is given up",
			s->committed);
	s->session_id = h->session;
	s->peer = h->address;
	s->committed = 0;
	s->checkpoints = 0;
	s->epoch = 0;
	s->opened = 0;
	s->kind = COLO_EPOCH_PRECOPY;
	s->sync.known = false;
	s->begin_waits = false;
	s->verify_waits = false;
	s->session_over = false;
	s->peer_lost = false;
	memset(&s->report, 0, sizeof(s->report));
	s->sessions++;
	s->full_copies++;
	colo_session_set_timeout(
		s->session, RTE_MIN(h->peer_timeout_ms, s->config.peer_timeout_ms));
}

static enum colo_secondary_state
on_hello(struct colo_secondary *s)
{
	const struct colo_hello *h = colo_session_peer_hello(s->session);
	struct colo_accept accept = {.window = s->receive->window};
	struct colo_error err;

	if (check_hello(s, h, &err) != 0 ||
		colo_steer_ports(s->steering, s->port, s->config.udp_port, &h->address, &s->local,
			&err) != 0 ||
		colo_blocks_reset(s->blocks, &err) != 0) {
		colo_notify_text(s->notify, true, "a primary is refused: %s", err.text);
		colo_session_refuse(s->session, err.text);
		return COLO_SECONDARY_LISTEN;
	}
	new_session(s, h);
	accept.address = s->local;
	colo_session_accept(s->session, &accept);
	return COLO_SECONDARY_HELLO;
}

static enum colo_secondary_state
on_started(struct colo_secondary *s)
{
	struct colo_receive_phase *p = &s->receive->phase;
	struct colo_frame_template t;

	s->peer = colo_session_peer_hello(s->session)->address;
	p->filter = (struct colo_frame_filter){.local = s->local,
		.peer = s->peer,
		.session = s->session_id,
		.n_channels = s->receive->n_channels,
		.take_pages = true};
	p->peer = s->peer;
	p->ip_udp_len = s->local.ip_version == 6 ? COLO_IPV6_UDP_LEN : COLO_IPV4_UDP_LEN;
	raise_phase(s, true, true, 0);
	colo_frame_template_init(
		&t, &s->local, &s->peer, s->peer.channel_port[0], s->session_id, 0);
	colo_lane_server_init(&s->lane, &s->receive->lane, s->port->tx_pool, &t);
	colo_notify_text(s->notify, false, "primary connected: full copy begins");
	return COLO_SECONDARY_PRECOPY;
}

static enum colo_secondary_state
on_begin(struct colo_secondary *s)
{
	return open_epoch(s);
}

/* A checkpoint is asked for while the last is flushed: open it afterwards. */
static enum colo_secondary_state
on_begin_later(struct colo_secondary *s)
{
	s->begin_waits = true;
	return s->state;
}

static enum colo_secondary_state
on_begin_refused(struct colo_secondary *s)
{
	answer(s, COLO_CONTROL_BEGIN, COLO_RESULT_REFUSED, 0);
	return s->state;
}

static enum colo_secondary_state
on_begin_idle(struct colo_secondary *s)
{
	return s->begin_kind == COLO_EPOCH_CHECKPOINT ? open_epoch(s) : on_begin_refused(s);
}

/* From END on the rest must be here within the limit; resent packets make up for losses. */
static enum colo_secondary_state
on_end(struct colo_secondary *s)
{
	s->deadline_us =
		s->now_us + RTE_MAX(s->config.hold_ms, s->config.peer_timeout_ms) * 1000ull;
	return s->state;
}

static enum colo_secondary_state
on_end_refused(struct colo_secondary *s)
{
	answer(s, COLO_CONTROL_END, COLO_RESULT_REFUSED, 0);
	return s->state;
}

static enum colo_secondary_state
on_complete(struct colo_secondary *s)
{
	s->complete_us = s->now_us;
	raise_phase(s, true, false, 0);
	return COLO_SECONDARY_SYNCING;
}

static void
fill_report(struct colo_secondary *s)
{
	struct colo_sync_sums sums;

	colo_sync_sum(s->receive, &sums);
	s->report = (struct colo_epoch_report){
		.epoch = s->epoch,
		.kind = s->kind,
		.is_secondary = true,
		.pages = sums.pages,
		.zero_pages = sums.zero_pages,
		.wire_bytes = sums.wire_bytes,
		.transfer_us = s->complete_us - (s->first_us ? s->first_us : s->opened_us),
		.commit_us = s->now_us - s->complete_us,
	};
}

/* The commit: from here on the checkpoint cannot be lost, and the primary is told at once. */
static enum colo_secondary_state
commit(struct colo_secondary *s)
{
	s->committed = s->epoch;
	s->checkpoints++;
	answer(s, COLO_CONTROL_END, COLO_RESULT_OK, 0);
	s->commit_us = s->now_us;
	colo_flush_collect(&s->flush, &s->job->list);
	colo_job_post(s->job, colo_flush_piece, &s->flush);
	return COLO_SECONDARY_FLUSHING;
}

static enum colo_secondary_state
on_quiet_syncing(struct colo_secondary *s)
{
	uint8_t detail = 0;
	enum colo_control_result result = colo_sync_check(&s->sync, s->receive, &detail);

	s->sync.known = false;
	fill_report(s);
	if (result != COLO_RESULT_OK) {
		colo_notify_text(s->notify, true,
			"epoch %u is given up: %s of channel %u differs from the primary's",
			s->epoch, result == COLO_RESULT_COUNT ? "number of pages" : "digest",
			detail);
		answer(s, COLO_CONTROL_END, result, detail);
		s->undo = s->kind == COLO_EPOCH_CHECKPOINT;
		s->aborted++;
		return COLO_SECONDARY_ABORTING;
	}
	if (s->kind == COLO_EPOCH_CHECKPOINT)
		return commit(s);
	answer(s, COLO_CONTROL_END, COLO_RESULT_OK, 0);
	report_epoch(s);
	return s->session_over ? give_up(s) : COLO_SECONDARY_PRECOPY;
}

static enum colo_secondary_state
on_flushed(struct colo_secondary *s)
{
	s->report.flush_us = colo_now_us() - s->commit_us;
	report_epoch(s);
	if (s->session_over) {
		raise_phase(s, false, false, 0);
		return after_session(s);
	}
	if (s->begin_waits && s->begin_kind == COLO_EPOCH_CHECKPOINT)
		return open_epoch(s);
	if (s->begin_waits)
		on_begin_refused(s);
	s->begin_waits = false;
	return COLO_SECONDARY_IDLE;
}

static void
note_session_over(struct colo_secondary *s, bool lost)
{
	s->session_over = true;
	s->peer_lost |= lost;
	if (lost)
		colo_notify_text(
			s->notify, true, "primary lost: %s", colo_session_reason(s->session));
	else
		colo_notify_text(s->notify, false, "primary ended the session in order");
}

static enum colo_secondary_state
on_lost_listen(struct colo_secondary *s)
{
	colo_notify_text(s->notify, true, "no session: %s", colo_session_reason(s->session));
	return s->state;
}

static enum colo_secondary_state
on_lost_hello(struct colo_secondary *s)
{
	note_session_over(s, true);
	return after_session(s);
}

static enum colo_secondary_state
on_lost_idle(struct colo_secondary *s)
{
	note_session_over(s, true);
	return give_up(s);
}

static enum colo_secondary_state
on_lost_receiving(struct colo_secondary *s)
{
	note_session_over(s, true);
	s->aborted++;
	return give_up(s);
}

/* All pages and END are here: the epoch is finished, whatever became of the primary. */
static enum colo_secondary_state
on_lost_later(struct colo_secondary *s)
{
	note_session_over(s, true);
	return s->state;
}

static enum colo_secondary_state
on_bye(struct colo_secondary *s)
{
	note_session_over(s, false);
	return give_up(s);
}

static enum colo_secondary_state
on_bye_later(struct colo_secondary *s)
{
	note_session_over(s, false);
	return s->state;
}

/* Nobody places any more: undo what the given-up checkpoint left in the cache. */
static enum colo_secondary_state
on_quiet_aborting(struct colo_secondary *s)
{
	if (!s->undo)
		return s->session_over ? after_session(s) : COLO_SECONDARY_IDLE;
	s->undo = false;
	colo_flush_collect(&s->flush, &s->job->list);
	colo_job_post(s->job, colo_undo_piece, &s->flush);
	return COLO_SECONDARY_UNDOING;
}

static enum colo_secondary_state
on_undone(struct colo_secondary *s)
{
	if (s->session_over)
		return after_session(s);
	/* the primary was told the epoch's fate and ends the session */
	return COLO_SECONDARY_IDLE;
}

static enum colo_secondary_state
on_deadline_hello(struct colo_secondary *s)
{
	colo_session_abort(s->session, "no START within the limit");
	s->session_over = true;
	return after_session(s);
}

static enum colo_secondary_state
on_deadline_receiving(struct colo_secondary *s)
{
	colo_notify_text(s->notify, true, "epoch %u is given up: it did not complete within %u ms",
		s->epoch, RTE_MAX(s->config.hold_ms, s->config.peer_timeout_ms));
	colo_session_abort(s->session, "the epoch did not complete within the limit");
	s->session_over = true;
	s->peer_lost = true;
	s->aborted++;
	return give_up(s);
}

static enum colo_secondary_state
on_verify(struct colo_secondary *s)
{
	colo_verify_reset(&s->verify);
	colo_piece_list_all(&s->job->list, s->blocks);
	colo_job_post(s->job, colo_verify_piece, &s->verify);
	s->verify_waits = true;
	return s->state;
}

static enum colo_secondary_state
on_verify_refused(struct colo_secondary *s)
{
	answer(s, COLO_CONTROL_VERIFY, COLO_RESULT_REFUSED, 0);
	return s->state;
}

static enum colo_secondary_state
on_verified(struct colo_secondary *s)
{
	unsigned int i;

	if (!s->verify_waits)
		return s->state;
	s->verify_waits = false;
	for (i = 0; i < s->blocks->n; i++)
		if (atomic_load_explicit(&s->verify.sum[i], memory_order_relaxed) != s->peer_sum[i])
			break;
	answer(s, COLO_CONTROL_VERIFY, i == s->blocks->n ? COLO_RESULT_OK : COLO_RESULT_DIGEST, i);
	return s->state;
}

static bool
may_fail_over(struct colo_secondary *s)
{
	if (s->adapter == NULL)
		colo_notify_text(s->notify, true, "no takeover: there is no --standby");
	else if (s->committed == 0)
		colo_notify_text(s->notify, true, "no takeover: no checkpoint was committed yet");
	return s->adapter != NULL && s->committed != 0;
}

static enum colo_secondary_state
on_failover_listen(struct colo_secondary *s)
{
	return may_fail_over(s) ? start_failover(s) : s->state;
}

static void
end_for_failover(struct colo_secondary *s)
{
	s->failover_wanted = true;
	s->session_over = true;
	colo_session_abort(s->session, "the secondary was told to take over");
}

static enum colo_secondary_state
on_failover_session(struct colo_secondary *s)
{
	if (!may_fail_over(s))
		return s->state;
	end_for_failover(s);
	return give_up(s);
}

static enum colo_secondary_state
on_failover_later(struct colo_secondary *s)
{
	if (may_fail_over(s) && !s->session_over)
		end_for_failover(s);
	else if (s->session_over)
		s->failover_wanted = s->adapter != NULL && s->committed != 0;
	return s->state;
}

static enum colo_secondary_state
on_failover_busy(struct colo_secondary *s)
{
	colo_notify_text(s->notify, false, "the takeover is under way or done already");
	return s->state;
}

static enum colo_secondary_state
on_taken_over(struct colo_secondary *s)
{
	colo_notify_text(s->notify, false, "takeover done in %" PRIu64 " us from checkpoint %u",
		s->adapter->takeover_us, s->committed);
	if (!s->config.stay)
		s->notify->end(s->notify->context, COLO_EXIT_OK);
	return COLO_SECONDARY_FAILED_OVER;
}

static enum colo_secondary_state
on_takeover_failed(struct colo_secondary *s)
{
	colo_notify_text(s->notify, true, "takeover failed: %s", s->adapter->error.text);
	if (!s->config.stay && s->config.failover_on_peer_loss)
		s->notify->end(s->notify->context, COLO_EXIT_TAKEOVER);
	return COLO_SECONDARY_LISTEN;
}

static enum colo_secondary_state
on_quit(struct colo_secondary *s)
{
	colo_session_bye(s->session);
	raise_phase(s, false, false, 0);
	s->notify->end(s->notify->context, COLO_EXIT_OK);
	return COLO_SECONDARY_CLOSED;
}

/* A frame or word that does not fit the state is left alone: NULL. */
static const action_fn table[COLO_SECONDARY_N_STATES][N_EVENTS] = {
	[COLO_SECONDARY_LISTEN] =
		{
			[EV_HELLO] = on_hello,
			[EV_LOST] = on_lost_listen,
			[EV_FAILOVER] = on_failover_listen,
			[EV_QUIT] = on_quit,
		},
	[COLO_SECONDARY_HELLO] =
		{
			[EV_STARTED] = on_started,
			[EV_LOST] = on_lost_hello,
			[EV_BYE] = on_lost_hello,
			[EV_DEADLINE] = on_deadline_hello,
			[EV_FAILOVER] = on_failover_session,
			[EV_QUIT] = on_quit,
		},
	[COLO_SECONDARY_PRECOPY] =
		{
			[EV_BEGIN] = on_begin,
			[EV_END] = on_end,
			[EV_VERIFY] = on_verify_refused,
			[EV_COMPLETE] = on_complete,
			[EV_LOST] = on_lost_idle,
			[EV_BYE] = on_bye,
			[EV_DEADLINE] = on_deadline_receiving,
			[EV_FAILOVER] = on_failover_session,
			[EV_QUIT] = on_quit,
		},
	[COLO_SECONDARY_IDLE] =
		{
			[EV_BEGIN] = on_begin_idle,
			[EV_END] = on_end_refused,
			[EV_VERIFY] = on_verify,
			[EV_JOB_DONE] = on_verified,
			[EV_LOST] = on_lost_idle,
			[EV_BYE] = on_bye,
			[EV_FAILOVER] = on_failover_session,
			[EV_QUIT] = on_quit,
		},
	[COLO_SECONDARY_RECEIVING] =
		{
			[EV_BEGIN] = on_begin_refused,
			[EV_END] = on_end,
			[EV_VERIFY] = on_verify,
			[EV_JOB_DONE] = on_verified,
			[EV_COMPLETE] = on_complete,
			[EV_LOST] = on_lost_receiving,
			[EV_BYE] = on_bye,
			[EV_DEADLINE] = on_deadline_receiving,
			[EV_FAILOVER] = on_failover_session,
			[EV_QUIT] = on_quit,
		},
	[COLO_SECONDARY_SYNCING] =
		{
			[EV_BEGIN] = on_begin_refused,
			[EV_QUIET] = on_quiet_syncing,
			[EV_LOST] = on_lost_later,
			[EV_BYE] = on_bye_later,
			[EV_FAILOVER] = on_failover_later,
		},
	[COLO_SECONDARY_FLUSHING] =
		{
			[EV_BEGIN] = on_begin_later,
			[EV_END] = on_end_refused,
			[EV_VERIFY] = on_verify_refused,
			[EV_JOB_DONE] = on_flushed,
			[EV_LOST] = on_lost_later,
			[EV_BYE] = on_bye_later,
			[EV_FAILOVER] = on_failover_later,
		},
	[COLO_SECONDARY_ABORTING] =
		{
			[EV_BEGIN] = on_begin_refused,
			[EV_QUIET] = on_quiet_aborting,
			[EV_LOST] = on_lost_later,
			[EV_BYE] = on_bye_later,
			[EV_FAILOVER] = on_failover_later,
		},
	[COLO_SECONDARY_UNDOING] =
		{
			[EV_BEGIN] = on_begin_refused,
			[EV_JOB_DONE] = on_undone,
			[EV_LOST] = on_lost_later,
			[EV_BYE] = on_bye_later,
			[EV_FAILOVER] = on_failover_later,
		},
	[COLO_SECONDARY_FAILING_OVER] =
		{
			[EV_TAKEN_OVER] = on_taken_over,
			[EV_TAKEOVER_FAILED] = on_takeover_failed,
			[EV_FAILOVER] = on_failover_busy,
		},
	[COLO_SECONDARY_FAILED_OVER] =
		{
			[EV_FAILOVER] = on_failover_busy,
			[EV_QUIT] = on_quit,
		},
	[COLO_SECONDARY_CLOSED] =
		{
			[EV_FAILOVER] = stay,
		},
};

static void
dispatch(struct colo_secondary *s, enum event event)
{
	action_fn action = table[s->state][event];

	if (action != NULL)
		set_state(s, action(s), event);
}

/* ---- where events come from ---- */

static bool
poll_session(struct colo_secondary *s)
{
	enum colo_session_event event;

	if (s->now_us < s->session_us + COLO_SESSION_POLL_US)
		return false;
	s->session_us = s->now_us;
	event = colo_session_poll(s->session, s->now_us / 1000);
	switch (event) {
	case COLO_SESSION_NOTHING:
		return false;
	case COLO_SESSION_HELLO:
		if (table[s->state][EV_HELLO] == NULL)
			colo_session_refuse(s->session, "the secondary is busy, or failed over");
		dispatch(s, EV_HELLO);
		break;
	case COLO_SESSION_STARTED:
		dispatch(s, EV_STARTED);
		break;
	case COLO_SESSION_BYE:
		dispatch(s, EV_BYE);
		break;
	case COLO_SESSION_DROPPED:
		/* it never was the primary: nothing here changes for it */
		colo_notify_text(s->notify, true, "%s", colo_session_reason(s->session));
		break;
	default:
		dispatch(s, EV_LOST);
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
			dispatch(s, EV_BEGIN);
		else
			on_begin_refused(s);
		break;
	case COLO_CONTROL_END:
		if (!colo_sync_take(&s->sync, r, s->receive->n_channels))
			on_end_refused(s);
		else
			dispatch(s, EV_END);
		break;
	case COLO_CONTROL_VERIFY:
		for (unsigned int i = 0; i < COLO_MAX_BLOCKS; i++)
			s->peer_sum[i] = i < r->n ? rte_be_to_cpu_64(r->end[i].digest) : 0;
		if (s->verify_waits || !colo_job_done(s->job))
			on_verify_refused(s);
		else
			dispatch(s, EV_VERIFY);
		break;
	}
}

static bool
poll_lane(struct colo_secondary *s)
{
	const struct colo_control_request *request;
	struct colo_frame f;
	void *m;

	if (rte_ring_dequeue(s->receive->lane.rx, &m) != 0)
		return false;
	if (colo_frame_check(&s->receive->phase.filter, m, &f) == COLO_FRAME_OK) {
		request = colo_lane_server_take(&s->lane, &f);
		if (request != NULL)
			take_request(s, request);
	}
	rte_pktmbuf_free(m);
	return true;
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

static bool
poll_epoch(struct colo_secondary *s)
{
	enum colo_secondary_state before = s->state;

	switch (s->state) {
	case COLO_SECONDARY_PRECOPY:
	case COLO_SECONDARY_RECEIVING:
		note_first(s);
		if (s->verify_waits && colo_job_done(s->job))
			dispatch(s, EV_JOB_DONE);
		if (!s->verify_waits && colo_sync_complete(&s->sync, s->receive))
			dispatch(s, EV_COMPLETE);
		break;
	case COLO_SECONDARY_IDLE:
		if (s->verify_waits && colo_job_done(s->job))
			dispatch(s, EV_JOB_DONE);
		break;
	case COLO_SECONDARY_SYNCING:
	case COLO_SECONDARY_ABORTING:
		if (s->verify_waits && !colo_job_cancel(s->job))
			break;
		s->verify_waits = false;
		if (colo_sync_quiet(s->receive))
			dispatch(s, EV_QUIET);
		break;
	case COLO_SECONDARY_FLUSHING:
	case COLO_SECONDARY_UNDOING:
		if (colo_job_done(s->job))
			dispatch(s, EV_JOB_DONE);
		break;
	default:
		break;
	}
	return s->state != before;
}

static bool
poll_adapter(struct colo_secondary *s)
{
	enum colo_adapter_status status;

	if (s->state != COLO_SECONDARY_FAILING_OVER)
		return false;
	status = s->adapter->ops->poll(s->adapter);
	if (status == COLO_ADAPTER_DONE)
		dispatch(s, EV_TAKEN_OVER);
	else if (status == COLO_ADAPTER_FAILED)
		dispatch(s, EV_TAKEOVER_FAILED);
	return s->state != COLO_SECONDARY_FAILING_OVER;
}

void
colo_secondary_init(struct colo_secondary *s)
{
	s->flush = (struct colo_flush){.blocks = s->blocks, .n_channels = s->receive->n_channels};
	s->verify.blocks = s->blocks;
	s->state = COLO_SECONDARY_LISTEN;
}

bool
colo_secondary_poll(struct colo_secondary *s, uint64_t now_us)
{
	bool worked;

	s->now_us = now_us;
	worked = poll_lane(s);
	worked |= poll_epoch(s);
	worked |= poll_adapter(s);
	worked |= poll_session(s);
	if (s->deadline_us != 0 && now_us >= s->deadline_us) {
		s->deadline_us = 0;
		dispatch(s, EV_DEADLINE);
	}
	/* a commit, flush, undo or takeover under way is finished first */
	if (s->quit_wanted)
		dispatch(s, EV_QUIT);
	return worked;
}

void
colo_secondary_failover(struct colo_secondary *s)
{
	dispatch(s, EV_FAILOVER);
}

void
colo_secondary_quit(struct colo_secondary *s)
{
	s->quit_wanted = true;
}
