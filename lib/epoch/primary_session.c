/* SPDX-License-Identifier: BSD-3-Clause */
/* The session of a primary: how it begins, and all the ways it can end. */
#include <string.h>
#include <stdio.h>

#include <rte_random.h>

#include "primary_actions.h"

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
	return colo_primary_leave(p, COLO_EXIT_UNPROTECTED);
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
	struct colo_error err;

	p->session_id = 0;
	while (p->session_id == 0)
		p->session_id = (uint32_t)rte_rand();
	if (colo_session_connect(p->session, p->config.host, p->config.port,
		    p->config.connect_timeout_ms, &err) != 0) {
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
		.n_channels = p->send->n_channels};
	phase->peer = p->peer;
	phase->ip_udp_len = p->local.ip_version == 6 ? COLO_IPV6_UDP_LEN : COLO_IPV4_UDP_LEN;
	phase->first_credit = first_credit;
	colo_primary_raise_phase(p, true, 0);
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
	p->precopy_pages = 0;
	p->epochs_done = false;
	if (p->source->ops->feeds)
		colo_feed_reset(&p->send->feed);
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

enum colo_primary_state
colo_primary_on_accepted(struct colo_primary *p)
{
	const struct colo_accept *accept = colo_session_peer_accept(p->session);
	struct colo_error err;

	p->peer = accept->address;
	if (p->peer.ip_version != p->local.ip_version || accept->window == 0 ||
		accept->window > COLO_WINDOW_MAX)
		return colo_primary_abort(p, "the secondary's ACCEPT does not fit our HELLO");
	if (colo_steer_ports(p->steering, p->port, p->config.udp_port, &p->peer, &p->local, &err)) {
		colo_session_abort(p->session, err.text);
		return leave_unprotected(p, err.text);
	}
	if (colo_session_start(p->session, p->local.channel_port, p->send->n_channels) != 0)
		return leave_unusable(p);
	colo_session_set_timeout(p->session, p->config.peer_timeout_ms);
	begin_session(p, accept->window);
	if (p->sessions > 1 && !p->source->ops->feeds)
		mark_all(p);
	colo_notify_text(p->notify, false, "secondary connected: full copy begins");
	return colo_primary_open_next(p);
}

enum colo_primary_state
colo_primary_on_refused(struct colo_primary *p)
{
	colo_notify_text(
		p->notify, true, "the secondary refuses: %s", colo_session_reason(p->session));
	return colo_primary_leave(p, COLO_EXIT_USAGE);
}

enum colo_primary_state
colo_primary_on_lost_early(struct colo_primary *p)
{
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
	return colo_primary_abort(p, why);
}

enum colo_primary_state
colo_primary_on_source_gone(struct colo_primary *p)
{
	colo_notify_text(p->notify, true, "the guest is gone: %s", p->source->error.text);
	colo_session_abort(p->session, "the primary's guest is gone");
	p->guest_paused = false;
	p->resuming = false;
	return colo_primary_leave(p, COLO_EXIT_SOURCE_GONE);
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
	/* a guest that calls may call again */
	if ((p->config.stay || (p->source->ops->feeds && !p->epochs_done)) && !p->quit_wanted &&
		!p->source_gone)
		return COLO_PRIMARY_STOPPED;
	p->notify->end(p->notify->context, p->leave_status);
	return COLO_PRIMARY_CLOSED;
}
