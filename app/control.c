/* SPDX-License-Identifier: BSD-3-Clause */
/* The control core: requests in, state machines, events out. Nothing here blocks. */
#include <string.h>

#include <rte_errno.h>
#include <rte_ring_elem.h>

#include "clock.h"
#include "control_core.h"

#define VIEW_EVERY_US 1000u

static void
put_event(struct colo_control *c, const struct colo_event *event)
{
	if (rte_ring_enqueue_elem(c->events, (void *)(uintptr_t)event, sizeof(*event)) != 0)
		c->events_lost++;
}

static void
notify_text(void *context, bool warning, const char *text)
{
	struct colo_event event = {.kind = COLO_EVENT_TEXT, .warning = warning};

	snprintf(event.text, sizeof(event.text), "%s", text);
	put_event(context, &event);
}

static void
notify_progress(void *context, uint64_t done, uint64_t total)
{
	struct colo_event event = {.kind = COLO_EVENT_PROGRESS, .done = done, .total = total};

	put_event(context, &event);
}

static void
notify_epoch(void *context, const struct colo_epoch_report *report)
{
	struct colo_event event = {.kind = COLO_EVENT_EPOCH, .report = *report};

	put_event(context, &event);
}

/* A role is done; in a pair the primary's end ends the secondary's as well. */
static void
notify_end(void *context, int status)
{
	struct colo_control *c = context;

	if (c->has_primary && !c->primary_ended) {
		c->primary_ended = true;
		c->exit_status = status;
		if (c->has_secondary)
			colo_secondary_quit(&c->secondary->secondary);
		return;
	}
	c->secondary_ended = true;
	if (!c->has_primary)
		c->exit_status = status;
}

static bool
all_ended(const struct colo_control *c)
{
	return (!c->has_primary || c->primary_ended) && (!c->has_secondary || c->secondary_ended);
}

static void
quit(struct colo_control *c)
{
	if (c->has_primary)
		colo_primary_quit(&c->primary->primary);
	else
		colo_secondary_quit(&c->secondary->secondary);
}

static void
take_request(struct colo_control *c, const struct colo_request *r)
{
	struct colo_primary *p = c->has_primary ? &c->primary->primary : NULL;

	switch (r->kind) {
	case COLO_REQUEST_START:
		colo_primary_start(p);
		break;
	case COLO_REQUEST_STOP:
		colo_primary_stop(p);
		break;
	case COLO_REQUEST_CHECKPOINT:
		colo_primary_checkpoint(p);
		break;
	case COLO_REQUEST_INTERVAL:
		p->config.interval_ms = r->interval_ms;
		p->due_us = RTE_MIN(p->due_us, p->now_us + r->interval_ms * 1000ull);
		break;
	case COLO_REQUEST_CODEC:
		p->config.zstd = r->codec == COLO_CODEC_ZSTD;
		p->config.zstd_level = r->zstd_level;
		break;
	case COLO_REQUEST_VERIFY:
		colo_primary_verify(p);
		break;
	case COLO_REQUEST_FAILOVER:
		colo_secondary_failover(&c->secondary->secondary);
		break;
	case COLO_REQUEST_QUIT:
		quit(c);
		break;
	}
}

static bool
poll_requests(struct colo_control *c)
{
	struct colo_request request;

	if (rte_ring_dequeue_elem(c->requests, &request, sizeof(request)) != 0)
		return false;
	take_request(c, &request);
	return true;
}

static void
fill_primary(struct colo_view *v, const struct colo_primary *p)
{
	*v = (struct colo_view){
		.present = true,
		.state = colo_primary_state_name(p->state),
		.session = p->session_id,
		.epoch = p->epoch,
		.committed = p->committed,
		.checkpoints = p->checkpoints,
		.aborted = p->aborted,
		.full_copies = p->full_copies,
		.resumed = p->resumed,
		.sessions = p->sessions,
		.interval_ms = p->config.interval_ms,
		.codec = p->config.zstd ? COLO_CODEC_ZSTD : COLO_CODEC_RAW,
		.zstd_level = p->config.zstd_level,
		.last = p->last,
	};
}

static void
fill_secondary(struct colo_view *v, const struct colo_secondary *s)
{
	*v = (struct colo_view){
		.present = true,
		.state = colo_secondary_state_name(s->state),
		.session = s->session_id,
		.epoch = s->epoch,
		.committed = s->committed,
		.checkpoints = s->checkpoints,
		.aborted = s->aborted,
		.full_copies = s->full_copies,
		.resumed = s->resumed,
		.sessions = s->sessions,
		.guest_failures = s->guest_failures,
		.last = s->report,
		.callers = *colo_session_counters(s->session),
	};
}

static void
fill_memory(struct colo_memory_view *v, const struct colo_memory *m)
{
	v->page_size = m->addr != NULL ? m->page_size : 0;
	memcpy(v->path, m->path, sizeof(v->path));
}

static void
fill_blocks(struct colo_shared_view *to, const struct colo_blocks *blocks)
{
	to->blocks_seen = blocks->changes;
	to->n_blocks = blocks->n;
	for (unsigned int i = 0; i < blocks->n; i++) {
		const struct colo_block *b = &blocks->block[i];
		struct colo_block_view *v = &to->block[i];

		memcpy(v->name, b->name, sizeof(v->name));
		v->size = b->size;
		v->n_pages = b->n_pages;
		v->extra = b->extra;
		fill_memory(&v->guest, &b->guest);
		fill_memory(&v->cache, &b->cache);
	}
}

static const struct colo_blocks *
blocks_of(const struct colo_control *c, bool secondary)
{
	return secondary ? &c->secondary->blocks : &c->primary->blocks;
}

static void
publish_views(struct colo_control *c, uint64_t now_us)
{
	if (now_us < c->view_us + VIEW_EVERY_US)
		return;
	c->view_us = now_us;
	for (unsigned int i = 0; i < 2; i++) {
		struct colo_shared_view *to = &c->view[i];

		if (i == 0 ? !c->has_primary : !c->has_secondary)
			continue;
		rte_seqlock_write_lock(&to->lock);
		if (i == 0)
			fill_primary(&to->view, &c->primary->primary);
		else
			fill_secondary(&to->view, &c->secondary->secondary);
		if (blocks_of(c, i)->changes != to->blocks_seen)
			fill_blocks(to, blocks_of(c, i));
		rte_seqlock_write_unlock(&to->lock);
	}
}

static void
tell_end(struct colo_control *c)
{
	struct colo_event event = {.kind = COLO_EVENT_END, .exit_status = c->exit_status};

	while (rte_ring_enqueue_elem(c->events, &event, sizeof(event)) != 0 &&
		!atomic_load_explicit(c->stop, memory_order_relaxed))
		colo_idle(&c->idler, false);
}

int
colo_control_run(void *arg)
{
	struct colo_control *c = arg;
	bool told = false;

	if (c->has_primary && c->auto_start)
		colo_primary_start(&c->primary->primary);
	while (!atomic_load_explicit(c->stop, memory_order_relaxed)) {
		uint64_t now_us = colo_now_us();
		bool worked = poll_requests(c);

		if (c->has_primary)
			worked |= colo_primary_poll(&c->primary->primary, now_us);
		if (c->has_secondary)
			worked |= colo_secondary_poll(&c->secondary->secondary, now_us);
		publish_views(c, now_us);
		if (!told && all_ended(c)) {
			tell_end(c);
			told = true;
		}
		colo_idle(&c->idler, worked);
	}
	return 0;
}

/* ---- main lcore ---- */

void
colo_control_show_blocks(struct colo_control *c)
{
	if (c->has_primary)
		fill_blocks(&c->view[0], blocks_of(c, false));
	if (c->has_secondary)
		fill_blocks(&c->view[1], blocks_of(c, true));
}

int
colo_control_init(struct colo_control *c, struct colo_error *err)
{
	c->requests = rte_ring_create_elem("colo_requests", sizeof(struct colo_request),
		COLO_REQUEST_RING, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
	c->events = rte_ring_create_elem("colo_events", sizeof(struct colo_event), COLO_EVENT_RING,
		SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
	if (c->requests == NULL || c->events == NULL)
		return colo_error_set(err, "no memory for rings (%s): give EAL more with -m MB",
			rte_strerror(rte_errno));
	rte_seqlock_init(&c->view[0].lock);
	rte_seqlock_init(&c->view[1].lock);
	c->notify = (struct colo_notify){.context = c,
		.text = notify_text,
		.progress = notify_progress,
		.epoch = notify_epoch,
		.end = notify_end};
	return 0;
}

void
colo_control_fini(struct colo_control *c)
{
	rte_ring_free(c->requests);
	rte_ring_free(c->events);
}

static int
check_role(const struct colo_control *c, const struct colo_request *r, struct colo_error *err)
{
	switch (r->kind) {
	case COLO_REQUEST_FAILOVER:
		if (!c->has_secondary)
			return colo_error_set(err, "failover: only a secondary takes over");
		return 0;
	case COLO_REQUEST_QUIT:
		return 0;
	default:
		if (!c->has_primary)
			return colo_error_set(err, "only a primary does that; a secondary takes: "
						   "failover, show, clear stats, quit, help");
		return 0;
	}
}

int
colo_control_post(
	struct colo_control *c, const struct colo_request *request, struct colo_error *err)
{
	if (check_role(c, request, err) != 0)
		return -1;
	if (rte_ring_enqueue_elem(c->requests, (void *)(uintptr_t)request, sizeof(*request)) != 0)
		return colo_error_set(err, "too many requests at once: the last was not taken");
	return 0;
}

bool
colo_control_next_event(struct colo_control *c, struct colo_event *event)
{
	return rte_ring_dequeue_elem(c->events, event, sizeof(*event)) == 0;
}

void
colo_control_view(const struct colo_control *c, bool secondary, struct colo_view *view)
{
	const struct colo_shared_view *from = &c->view[secondary];
	uint32_t sequence;

	do {
		sequence = rte_seqlock_read_begin(&from->lock);
		*view = from->view;
	} while (rte_seqlock_read_retry(&from->lock, sequence));
}

bool
colo_control_block_view(
	const struct colo_control *c, bool secondary, unsigned int i, struct colo_block_view *view)
{
	const struct colo_shared_view *from = &c->view[secondary];
	uint32_t sequence;
	bool there;

	do {
		sequence = rte_seqlock_read_begin(&from->lock);
		there = i < from->n_blocks;
		if (there)
			*view = from->block[i];
	} while (rte_seqlock_read_retry(&from->lock, sequence));
	return there;
}

static unsigned int
lcore_of(const struct colo_control *c, unsigned int channel, bool receive)
{
	for (unsigned int i = 0; i < c->n_poll_cores; i++) {
		const struct colo_poll_core *core = &c->poll_cores[i];

		for (unsigned int k = 0; k < (receive ? core->n_receivers : core->n_senders); k++)
			if ((receive ? core->receiver[k]->id : core->sender[k]->id) == channel)
				return core->lcore;
	}
	return LCORE_ID_ANY;
}

static void
view_receiver(const struct colo_control *c, unsigned int channel, struct colo_channel_view *view)
{
	const struct colo_receiver *r = c->secondary->receive.channel[channel];

	*view = (struct colo_channel_view){
		.present = true,
		.lcore = lcore_of(c, channel, true),
		.steering = colo_steer_name(c->secondary->steering.how),
		.port = c->secondary->port.id,
		.queue = channel,
		.local_udp_port = c->secondary->secondary.local.channel_port[channel],
		.cum = r->window.cum,
		.credit = r->window.credit,
		.counters = r->counters,
	};
}

static void
view_sender(const struct colo_control *c, unsigned int channel, struct colo_channel_view *view)
{
	const struct colo_sender *s = c->primary->send.channel[channel];

	*view = (struct colo_channel_view){
		.present = true,
		.lcore = lcore_of(c, channel, false),
		.steering = colo_steer_name(c->primary->steering.how),
		.port = c->primary->port.id,
		.queue = channel,
		.local_udp_port = c->primary->primary.local.channel_port[channel],
		.next_slot = s->window.next_slot,
		.acked_slot = s->window.cum,
		.credit = s->window.credit,
		.srtt_us = s->window.srtt_us,
		.rttvar_us = s->window.rttvar_us,
		.counters = s->counters,
	};
	view->counters.n[COLO_tx_lost_packet_threshold] = s->window.lost_by_packet;
	view->counters.n[COLO_tx_lost_time_threshold] = s->window.lost_by_time;
	view->counters.n[COLO_tx_probes] = s->window.probes;
	view->counters.n[COLO_tx_spurious] = s->window.spurious;
}

/* Single words written by one poll core each: torn between words at worst, never within one. */
void
colo_control_channel_view(const struct colo_control *c, unsigned int channel, bool receive,
	struct colo_channel_view *view)
{
	memset(view, 0, sizeof(*view));
	if (receive && c->has_secondary && channel < c->secondary->receive.n_channels)
		view_receiver(c, channel, view);
	else if (!receive && c->has_primary && channel < c->primary->send.n_channels)
		view_sender(c, channel, view);
}
