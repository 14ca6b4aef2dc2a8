/* SPDX-License-Identifier: BSD-3-Clause */
/* The session of a secondary: how it begins, and all the ways it can end. */
#include <string.h>

#include <rte_common.h>

#include "extra.h"
#include "secondary_actions.h"

static int
check_hello(struct colo_secondary *s, const struct colo_hello *h, struct colo_error *err)
{
	if (s->adapter != NULL && s->adapter->may_run)
		return colo_error_set(err, "the takeover that failed here may have left a guest "
					   "running on this memory: look, and start the secondary "
					   "anew");
	if (h->mtu != s->config.mtu)
		return colo_error_set(
			err, "--mtu differs: primary %u, secondary %u", h->mtu, s->config.mtu);
	if (h->n_channels != s->receive->n_channels)
		return colo_error_set(err, "--channels differs: primary %u, secondary %u",
			h->n_channels, s->receive->n_channels);
	if (h->address.ip_version != s->local.ip_version)
		return colo_error_set(err, "--ip: primary has IPv%u, secondary IPv%u",
			h->address.ip_version, s->local.ip_version);
	return 0;
}

/* Are the blocks of HELLO ours as they are, in the same order? */
static bool
same_blocks(const struct colo_blocks *b, const struct colo_hello *h)
{
	if (b->n != h->n_blocks)
		return false;
	for (unsigned int i = 0; i < b->n; i++)
		if (strcmp(b->block[i].name, h->block[i].name) != 0 ||
			b->block[i].size != h->block[i].size)
			return false;
	return true;
}

/*
 * May the session go on from the checkpoint held? In LISTEN guest memory is exactly that, and so is
 * the cache: what was given up is undone, what was committed flushed. @return why not, or NULL.
 */
static const char *
why_full_copy(const struct colo_secondary *s, const struct colo_hello *h)
{
	if (h->committed == 0)
		return "the primary does not know what changed since a checkpoint";
	if (s->committed == 0)
		return "the secondary holds no checkpoint";
	if (s->instance != h->instance)
		return "the checkpoint held is of another run of a primary";
	if (s->committed != h->committed && (h->doubt == 0 || s->committed != h->doubt))
		return "the secondary holds another checkpoint than the primary's last";
	if (colo_secondary_runs_guest(s))
		return "a guest runs at the secondary";
	return same_blocks(s->blocks, h) ? NULL : "the guest's blocks are not the same any more";
}

static void
begin_full_copy(struct colo_secondary *s, const struct colo_hello *h, const char *why)
{
	if (s->committed != 0)
		colo_notify_text(s->notify, true,
			"a new primary begins with a full copy: checkpoint %u is given up: %s",
			s->committed, why);
	s->instance = colo_hello_next_instance(h->instance, h->session);
	s->committed = 0;
	s->checkpoints = 0;
	s->full_copies++;
	s->kind = COLO_EPOCH_PRECOPY;
}

static void
new_session(struct colo_secondary *s, const struct colo_hello *h)
{
	const char *why = why_full_copy(s, h);

	s->session_id = h->session;
	s->peer = h->address;
	s->resumes = why == NULL ? s->committed : 0;
	if (s->resumes == 0)
		begin_full_copy(s, h, why);
	else
		s->kind = COLO_EPOCH_CHECKPOINT;
	s->epoch = s->resumes;
	s->opened = s->resumes;
	s->sync.known = false;
	s->begin_waits = false;
	s->verify_waits = false;
	s->session_over = false;
	s->peer_lost = s->peer_lives = false;
	memset(&s->report, 0, sizeof(s->report));
	s->resumed += s->resumes != 0;
	s->sessions++;
	colo_session_set_timeout(
		s->session, RTE_MIN(h->peer_timeout_ms, s->config.peer_timeout_ms));
}

enum colo_secondary_state
colo_secondary_refuse(struct colo_secondary *s, const char *why)
{
	colo_notify_text(s->notify, true, "a primary is refused: %s", why);
	colo_session_refuse(s->session, why);
	return COLO_SECONDARY_LISTEN;
}

static void
list_blocks(const struct colo_hello *h, struct colo_listed_block list[COLO_MAX_BLOCKS])
{
	for (unsigned int i = 0; i < h->n_blocks; i++)
		list[i] = (struct colo_listed_block){
			.name = h->block[i].name, .size = h->block[i].size};
}

enum colo_secondary_state
colo_secondary_on_hello(struct colo_secondary *s)
{
	const struct colo_hello *h = colo_session_peer_hello(s->session);
	struct colo_listed_block list[COLO_MAX_BLOCKS];
	struct colo_error err;

	list_blocks(h, list);
	if (check_hello(s, h, &err) != 0 ||
		colo_extra_check(s->blocks, list, h->n_blocks, &err) != 0 ||
		colo_steer_ports(s->steering, s->port, s->config.udp_port, &h->address, &s->local,
			&err) != 0)
		return colo_secondary_refuse(s, err.text);
	return colo_secondary_runs_guest(s) ? colo_secondary_park(s) : colo_secondary_accept(s);
}

/* Nobody runs on guest memory: it is emptied, unless the session resumes from what it holds. */
enum colo_secondary_state
colo_secondary_accept(struct colo_secondary *s)
{
	const struct colo_hello *h = colo_session_peer_hello(s->session);
	struct colo_accept accept = {.window = s->receive->window};
	struct colo_listed_block list[COLO_MAX_BLOCKS];
	const char *why = why_full_copy(s, h);
	struct colo_error err;

	new_session(s, h);
	if (s->resumes == 0) {
		list_blocks(h, list);
		colo_journal_forget(s->journal, s->instance);
		/* no poll core is in a session, no job is on (extra.h): blocks may be moved and
		 * made */
		if (colo_extra_adopt(s->blocks, list, h->n_blocks, &err) != 0 ||
			colo_blocks_reset(s->blocks, &err) != 0)
			return colo_secondary_refuse(s, err.text);
		colo_secondary_forget_guest(s);
	}
	accept.resumes = s->resumes;
	snprintf(accept.why, sizeof(accept.why), "%s", why != NULL ? why : "resumed");
	accept.address = s->local;
	if (colo_session_accept(s->session, &accept) != 0) {
		snprintf(err.text, sizeof(err.text), "%s", colo_session_reason(s->session));
		return colo_secondary_refuse(s, err.text);
	}
	return COLO_SECONDARY_HELLO;
}

enum colo_secondary_state
colo_secondary_on_started(struct colo_secondary *s)
{
	struct colo_receive_phase *p = &s->receive->phase;
	struct colo_frame_template t;
	struct colo_error err;

	s->seals.shift = colo_session_peer_hello(s->session)->seal_shift;
	if (colo_seals_begin(&s->seals, s->session, &err) != 0) {
		colo_notify_text(s->notify, true, "no session: %s", err.text);
		colo_session_abort(s->session, err.text);
		s->session_over = true;
		return colo_secondary_after_session(s);
	}
	s->peer = colo_session_peer_hello(s->session)->address;
	p->filter = (struct colo_frame_filter){.local = s->local,
		.peer = s->peer,
		.session = s->session_id,
		.n_channels = s->receive->n_channels,
		.mtu = s->config.mtu,
		.take_pages = true,
		.sealed = s->seals.on};
	p->seal_shift = s->seals.shift;
	p->peer = s->peer;
	p->ip_udp_len = s->local.ip_version == 6 ? COLO_IPV6_UDP_LEN : COLO_IPV4_UDP_LEN;
	colo_secondary_raise_phase(s, true, 0);
	colo_frame_template_init(
		&t, &s->local, &s->peer, s->peer.channel_port[0], s->session_id, 0);
	t.sealed = s->seals.on;
	colo_lane_server_init(&s->lane, &s->receive->lane, s->port->tx_pool, &t);
	if (s->resumes == 0) {
		colo_notify_text(s->notify, false, "primary connected: full copy begins");
		return COLO_SECONDARY_PRECOPY;
	}
	colo_notify_text(s->notify, false,
		"primary connected again: the session resumes from checkpoint %u", s->resumes);
	return COLO_SECONDARY_IDLE;
}

/* The poll cores leave the epoch; what was recorded is undone afterwards. */
enum colo_secondary_state
colo_secondary_give_up(struct colo_secondary *s)
{
	s->undo = s->state == COLO_SECONDARY_RECEIVING;
	if (s->state == COLO_SECONDARY_PRECOPY)
		s->committed = 0;
	colo_secondary_raise_phase(s, false, 0);
	return COLO_SECONDARY_ABORTING;
}

/* No session any more, guest memory is pristine: what now? */
enum colo_secondary_state
colo_secondary_after_session(struct colo_secondary *s)
{
	bool lost = s->peer_lost;
	bool may_be_dead = lost && !s->peer_lives;

	s->session_over = false;
	s->peer_lost = s->peer_lives = false;
	if (s->failover_wanted || (may_be_dead && s->config.failover_on_peer_loss &&
					  s->adapter != NULL && s->committed != 0))
		return colo_secondary_start_failover(s);
	if (s->committed == 0)
		colo_notify_text(s->notify, lost,
			"no checkpoint was committed: there is nothing to take over; listening");
	else if (lost && colo_secondary_runs_guest(s))
		colo_notify_text(s->notify, true,
			"the guest here went on from checkpoint %u; waiting to be told: failover "
			"at the prompt or SIGUSR1 lets it go on alone, a new primary makes a full "
			"copy",
			s->committed);
	else if (lost)
		colo_notify_text(s->notify, true,
			"guest memory holds checkpoint %u; waiting to be told: failover at the "
			"prompt "
			"or SIGUSR1 lets the standby take over, a new primary makes a full copy",
			s->committed);
	return COLO_SECONDARY_LISTEN;
}

static void
note_session_over(struct colo_secondary *s, bool lost)
{
	if (s->session_over) /* by ourselves, who have said so */
		return;
	s->session_over = true;
	s->peer_lost |= lost;
	if (lost && s->peer_lives && s->state != COLO_SECONDARY_HELLO)
		colo_notify_text(s->notify, true,
			"primary lost: it lives and gave the session up: %s; its guest runs on",
			colo_session_reason(s->session));
	else if (lost)
		colo_notify_text(
			s->notify, true, "primary lost: %s", colo_session_reason(s->session));
	else
		colo_notify_text(s->notify, false, "primary ended the session in order");
}

enum colo_secondary_state
colo_secondary_on_lost_listen(struct colo_secondary *s)
{
	colo_notify_text(s->notify, true, "no session: %s", colo_session_reason(s->session));
	return s->state;
}

enum colo_secondary_state
colo_secondary_on_lost_hello(struct colo_secondary *s)
{
	note_session_over(s, true);
	return colo_secondary_after_session(s);
}

enum colo_secondary_state
colo_secondary_on_lost_idle(struct colo_secondary *s)
{
	note_session_over(s, true);
	return colo_secondary_give_up(s);
}

enum colo_secondary_state
colo_secondary_on_lost_receiving(struct colo_secondary *s)
{
	note_session_over(s, true);
	s->aborted++;
	return colo_secondary_give_up(s);
}

/* All pages and END are here: the epoch is finished, whatever became of the primary. */
enum colo_secondary_state
colo_secondary_on_lost_later(struct colo_secondary *s)
{
	note_session_over(s, true);
	return s->state;
}

enum colo_secondary_state
colo_secondary_on_bye(struct colo_secondary *s)
{
	note_session_over(s, false);
	return colo_secondary_give_up(s);
}

enum colo_secondary_state
colo_secondary_on_bye_later(struct colo_secondary *s)
{
	note_session_over(s, false);
	return s->state;
}

enum colo_secondary_state
colo_secondary_on_deadline_hello(struct colo_secondary *s)
{
	colo_session_abort(s->session, "no START within the limit");
	s->session_over = true;
	return colo_secondary_after_session(s);
}

enum colo_secondary_state
colo_secondary_on_deadline_receiving(struct colo_secondary *s)
{
	colo_notify_text(s->notify, true, "epoch %u is given up: it did not complete within %u ms",
		s->epoch, RTE_MAX(s->config.hold_ms, s->config.peer_timeout_ms));
	/* a dead one may not have been silent for its limit yet */
	s->peer_lives = colo_session_lives(s->session);
	colo_session_abort(s->session, "the epoch did not complete within the limit");
	s->session_over = true;
	s->peer_lost = true;
	s->aborted++;
	return colo_secondary_give_up(s);
}

/* Nobody places any more: undo what the given-up checkpoint left in the cache. */
enum colo_secondary_state
colo_secondary_on_quiet_aborting(struct colo_secondary *s)
{
	if (s->undo && colo_secondary_runs_guest(s)) {
		s->undo = false;
		colo_secondary_forget_epoch(s);
	}
	if (!s->undo)
		return s->session_over ? colo_secondary_after_session(s) : COLO_SECONDARY_IDLE;
	s->undo = false;
	colo_flush_collect(&s->flush, &s->job->list);
	colo_job_post(s->job, colo_undo_piece, &s->flush);
	return COLO_SECONDARY_UNDOING;
}

enum colo_secondary_state
colo_secondary_on_undone(struct colo_secondary *s)
{
	if (s->session_over)
		return colo_secondary_after_session(s);
	/* the primary was told the epoch's fate and ends the session */
	return COLO_SECONDARY_IDLE;
}

enum colo_secondary_state
colo_secondary_on_quit(struct colo_secondary *s)
{
	colo_session_bye(s->session);
	colo_secondary_raise_phase(s, false, 0);
	s->notify->end(s->notify->context, COLO_EXIT_OK);
	return COLO_SECONDARY_CLOSED;
}
