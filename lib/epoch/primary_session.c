/* SPDX-License-Identifier: BSD-3-Clause */
/* The session of a primary: how it begins, and all the ways it can end. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <rte_random.h>

#include "primary_actions.h"

#define CALL_AGAIN_US 100000u /* between two calls to a secondary that was lost */
#define FRUITLESS_MAX 3u      /* sessions lost in a row without a checkpoint: calling is no use */

/*
 * The session is over: the guest must run, whatever happens. @p status is the program's exit
 * status unless the prompt keeps it running.
 */
enum colo_primary_state
colo_primary_leave(struct colo_primary *p, int status)
{
	p->leave_status = status;
	p->lane.waiting = false;
	p->report_waits = false;
	p->hold_until_us = 0;
	if (p->state >= COLO_PRIMARY_COLLECTING && p->state <= COLO_PRIMARY_ENDING)
		p->aborted++;
	if (p->source->ops->feeds) { /* a RELEASE is owed, whatever is under way */
		p->guest_paused = true;
		p->resuming = false;
	}
	colo_primary_raise_phase(p, false, 0);
	return COLO_PRIMARY_LEAVING;
}

static enum colo_primary_state
leave_unprotected(struct colo_primary *p, const char *why)
{
	colo_notify_text(
		p->notify, true, "PROTECTION LOST: %s; the guest runs on UNPROTECTED", why);
	/* a guest that calls must call again itself */
	if (p->config.reconnect_ms != 0 && !p->source->ops->feeds &&
		++p->fruitless <= FRUITLESS_MAX)
		p->call_until_us = p->now_us + p->config.reconnect_ms * 1000ull;
	p->call_us = p->now_us + CALL_AGAIN_US;
	return colo_primary_leave(p, COLO_EXIT_UNPROTECTED);
}

/* The secondary is not there yet, or still busy with the session that we have lost. */
static enum colo_primary_state
call_later(struct colo_primary *p)
{
	p->call_us = p->now_us + CALL_AGAIN_US;
	return colo_primary_leave(p, COLO_EXIT_UNPROTECTED);
}

void
colo_primary_stop_calling(struct colo_primary *p)
{
	p->call_until_us = 0;
	colo_notify_text(p->notify, true,
		"the secondary is not called any more; the guest runs on UNPROTECTED");
}

enum colo_primary_state
colo_primary_abort(struct colo_primary *p, const char *why)
{
	colo_session_abort(p->session, why);
	return leave_unprotected(p, why);
}

enum colo_primary_state
colo_primary_on_start(struct colo_primary *p)
{
	uint32_t timeout_ms = p->config.connect_timeout_ms;
	struct colo_error err;

	if (p->call_until_us > p->now_us)
		timeout_ms = (uint32_t)((p->call_until_us - p->now_us) / 1000);
	p->session_id = 0;
	while (p->session_id == 0)
		p->session_id = (uint32_t)rte_rand();
	if (colo_session_connect(p->session, p->config.host, p->config.port, timeout_ms, &err) !=
		0) {
		if (p->call_until_us != 0)
			return call_later(p);
		colo_notify_text(p->notify, true, "%s", err.text);
		return colo_primary_leave(p, COLO_EXIT_USAGE);
	}
	return COLO_PRIMARY_CONNECTING;
}

/* Our own words do not pass the check that the secondary would put them to. */
static enum colo_primary_state
leave_unusable(struct colo_primary *p)
{
	char why[COLO_ERROR_TEXT_MAX];

	snprintf(why, sizeof(why), "%s", colo_session_reason(p->session));
	colo_notify_text(p->notify, true, "no session: %s", why);
	colo_session_abort(p->session, why);
	return colo_primary_leave(p, COLO_EXIT_USAGE);
}

/* Do we know what changed since the checkpoint that the secondary holds? */
static bool
may_resume(const struct colo_primary *p)
{
	return p->config.reconnect_ms != 0 && p->committed != 0 && !p->source->ops->feeds;
}

enum colo_primary_state
colo_primary_on_connected(struct colo_primary *p)
{
	struct colo_hello hello = {
		.session = p->session_id,
		.mtu = p->config.mtu,
		.n_channels = p->send->n_channels,
		.n_blocks = p->blocks->n,
		.peer_timeout_ms = p->config.peer_timeout_ms,
		.hold_ms = p->config.hold_ms,
		.instance = p->instance,
		.seal_shift = p->seals.shift,
		.committed = may_resume(p) ? p->committed : 0,
		.doubt = may_resume(p) ? p->doubt : 0,
		.address = p->local,
	};

	for (unsigned int i = 0; i < p->blocks->n; i++) {
		memcpy(hello.block[i].name, p->blocks->block[i].name, sizeof(hello.block[i].name));
		hello.block[i].size = p->blocks->block[i].size;
	}
	if (colo_session_hello(p->session, &hello) != 0)
		return leave_unusable(p);
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
		.n_channels = p->send->n_channels,
		.mtu = p->config.mtu,
		.sealed = p->seals.on};
	phase->seal_shift = p->seals.shift;
	phase->peer = p->peer;
	phase->ip_udp_len = p->local.ip_version == 6 ? COLO_IPV6_UDP_LEN : COLO_IPV4_UDP_LEN;
	phase->first_credit = first_credit;
	colo_primary_raise_phase(p, true, 0);
	colo_frame_template_init(
		&t, &p->local, &p->peer, p->peer.channel_port[0], p->session_id, 0);
	t.sealed = p->seals.on;
	colo_lane_init(&p->lane, &p->send->lane, p->port->tx_pool, &t);
	p->rounds = 0;
	p->protected_once = false;
	p->verify_now = false;
	p->due_us = 0;
	p->precopy_pages = 0;
	p->epochs_done = false;
	if (p->source->ops->feeds)
		colo_feed_reset(&p->send->feed);
	p->sessions++;
}

/* Whatever the source knows of is dirty again. */
static void
mark_all(struct colo_primary *p)
{
	for (unsigned int i = 0; i < p->blocks->n; i++)
		colo_dirty_set_range(&p->blocks->block[i].todo, 0, p->blocks->block[i].n_pages);
}

static void
begin_full_copy(struct colo_primary *p, const char *why)
{
	if (p->sessions > 1 && !p->source->ops->feeds)
		mark_all(p);
	p->instance = colo_hello_next_instance(p->instance, p->session_id);
	p->epoch = 0;
	p->kind = 0;
	p->committed = 0;
	p->checkpoints = 0;
	p->full_copies++;
	if (p->call_until_us != 0)
		colo_notify_text(
			p->notify, false, "secondary connected again: full copy begins: %s", why);
	else
		colo_notify_text(p->notify, false, "secondary connected: full copy begins");
}

/*
 * The secondary holds `from`. What was sent in the checkpoint after it is sent again: it was given
 * up there, or, where only its answer was lost, it costs nothing but time.
 */
static void
begin_resumed(struct colo_primary *p, uint32_t from)
{
	uint64_t pages = 0;

	for (unsigned int i = 0; i < p->blocks->n; i++) {
		struct colo_block *b = &p->blocks->block[i];

		colo_dirty_add(&b->todo, &b->doubt);
		pages += colo_dirty_count(&b->todo);
	}
	p->epoch = from;
	p->committed = from;
	p->kind = COLO_EPOCH_CHECKPOINT;
	p->resumed++;
	colo_notify_text(p->notify, false,
		"secondary connected again: the session resumes from checkpoint %u, with %" PRIu64
		" pages to send and what changed since",
		from, pages);
}

static bool
may_resume_from(const struct colo_primary *p, uint32_t from)
{
	return may_resume(p) && (from == p->committed || (p->doubt != 0 && from == p->doubt));
}

enum colo_primary_state
colo_primary_on_accepted(struct colo_primary *p)
{
	const struct colo_accept *accept = colo_session_peer_accept(p->session);
	struct colo_error err;

	p->peer = accept->address;
	if (p->peer.ip_version != p->local.ip_version || accept->window == 0 ||
		accept->window > COLO_WINDOW_MAX ||
		(accept->resumes != 0 && !may_resume_from(p, accept->resumes)))
		return colo_primary_abort(p, "the secondary's ACCEPT does not fit our HELLO");
	if (colo_steer_ports(p->steering, p->port, p->config.udp_port, &p->peer, &p->local, &err)) {
		colo_session_abort(p->session, err.text);
		return leave_unprotected(p, err.text);
	}
	if (colo_session_start(p->session, p->local.channel_port, p->send->n_channels) != 0)
		return leave_unusable(p);
	if (colo_seals_begin(&p->seals, p->session, &err) != 0)
		return colo_primary_abort(p, err.text);
	colo_session_set_timeout(p->session, p->config.peer_timeout_ms);
	begin_session(p, accept->window);
	if (accept->resumes != 0)
		begin_resumed(p, accept->resumes);
	else
		begin_full_copy(p, accept->why);
	for (unsigned int i = 0; i < p->blocks->n; i++)
		colo_dirty_clear(&p->blocks->block[i].doubt);
	p->doubt = 0;
	p->call_until_us = 0;
	return colo_primary_open_next(p);
}

enum colo_primary_state
colo_primary_on_refused(struct colo_primary *p)
{
	if (p->call_until_us != 0)
		return call_later(p);
	colo_notify_text(
		p->notify, true, "the secondary refuses: %s", colo_session_reason(p->session));
	return colo_primary_leave(p, COLO_EXIT_USAGE);
}

enum colo_primary_state
colo_primary_on_lost_early(struct colo_primary *p)
{
	if (p->call_until_us != 0)
		return call_later(p);
	colo_notify_text(p->notify, true, "no secondary at %s port %u: %s", p->config.host,
		p->config.port, colo_session_reason(p->session));
	return colo_primary_leave(p, COLO_EXIT_USAGE);
}

enum colo_primary_state
colo_primary_on_lost(struct colo_primary *p)
{
	return leave_unprotected(p, colo_session_reason(p->session));
}

enum colo_primary_state
colo_primary_on_stop(struct colo_primary *p)
{
	colo_session_bye(p->session);
	colo_notify_text(p->notify, false, "session ended in order; the guest runs unprotected");
	return colo_primary_leave(p, p->mismatch ? COLO_EXIT_VERIFY : COLO_EXIT_OK);
}

enum colo_primary_state
colo_primary_on_failed(struct colo_primary *p)
{
	return colo_primary_abort(p, "the secondary could not commit the epoch");
}

enum colo_primary_state
colo_primary_on_source_failed(struct colo_primary *p)
{
	char why[sizeof(p->source->error.text)];

	snprintf(why, sizeof(why), "%s", p->source->error.text);
	/*
	 * Whatever failed, a RESUME is owed: the guest may have stopped, and the source says FAILED
	 * until it is asked for something else, which would end the next session at once.
	 */
	p->guest_paused = true;
	if (p->source->guest_gone) { /* another one may call: we stay for it */
		colo_notify_text(p->notify, true, "the guest is gone with its QEMU: %s", why);
		colo_session_gone(p->session, why);
		colo_primary_leave(p, COLO_EXIT_SOURCE_GONE);
	} else {
		colo_primary_abort(p, why);
	}
	p->call_until_us = 0; /* it would only fail again */
	return COLO_PRIMARY_LEAVING;
}

enum colo_primary_state
colo_primary_on_source_gone(struct colo_primary *p)
{
	colo_notify_text(p->notify, true, "the guest is gone: %s", p->source->error.text);
	colo_session_gone(p->session, "the primary's guest is gone");
	p->guest_paused = false;
	p->resuming = false;
	return colo_primary_leave(p, COLO_EXIT_SOURCE_GONE);
}

enum colo_primary_state
colo_primary_on_keys(struct colo_primary *p)
{
	return colo_primary_abort(p, p->seals.error.text);
}

enum colo_primary_state
colo_primary_on_hold(struct colo_primary *p)
{
	return colo_primary_abort(p, "the guest would have stood still longer than --hold allows");
}

enum colo_primary_state
colo_primary_on_stalled(struct colo_primary *p)
{
	return colo_primary_abort(
		p, "nothing was acknowledged on the datapath within --peer-timeout and --hold");
}

/* LEAVING: the guest runs (or is gone), and the poll cores have left the session. */
enum colo_primary_state
colo_primary_on_left(struct colo_primary *p)
{
	p->resuming = false;
	p->guest_paused = false;
	if (p->call_until_us != 0 && !p->quit_wanted && !p->source_gone)
		return COLO_PRIMARY_STOPPED;
	/* a guest that calls may call again */
	if ((p->config.stay || (p->source->ops->feeds && !p->epochs_done)) && !p->quit_wanted &&
		!p->source_gone)
		return COLO_PRIMARY_STOPPED;
	p->notify->end(p->notify->context, p->leave_status);
	return COLO_PRIMARY_CLOSED;
}
