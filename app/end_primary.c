/* SPDX-License-Identifier: BSD-3-Clause */
/* The primary's end, put together in order: port, source with its blocks, channels, session. */
#include <string.h>

#include "ends.h"
#include "log.h"

static int
start_source(struct colo_primary_end *e, const struct colo_config *c, struct colo_error *err)
{
	const char *args;

	e->source.ops = colo_source_find(c->source, &args, err);
	if (e->source.ops == NULL)
		return -1;
	e->source.blocks = &e->blocks;
	e->source.specs = c->block;
	e->source.n_specs = c->n_blocks;
	e->source.device_block_size = c->device_block_size;
	e->source.feed = &e->send.feed;
	e->source_started = true;
	return e->source.ops->start(&e->source, args, err);
}

static int
register_blocks(struct colo_primary_end *e, struct colo_error *err)
{
	for (unsigned int i = 0; i < e->blocks.n; i++) {
		struct colo_memory *m = &e->blocks.block[i].guest;

		if (colo_port_register(&e->port, m->addr, m->size, m->page_size, err) != 0)
			return -1;
	}
	return 0;
}

static int
make_channels(struct colo_primary_end *e, unsigned int n, struct colo_error *err)
{
	struct colo_rings_spec rings = {
		.lane = &e->send.lane, .handover = e->send.handover, .n_channels = n, .end = "p"};

	e->send.blocks = &e->blocks;
	e->send.port = &e->port;
	e->send.n_channels = n;
	if (colo_piece_list_init(&e->send.outbox.list, &e->blocks) != 0 ||
		colo_piece_list_init(&e->job.list, &e->blocks) != 0)
		return colo_error_set(err, "no memory for lists of pieces");
	colo_job_init(&e->job);
	if (colo_rings_make(&rings, err) != 0)
		return -1;
	if (e->source.ops->feeds && colo_feed_init(&e->send.feed, n, err) != 0)
		return -1;
	for (unsigned int i = 0; i < n; i++) {
		e->send.channel[i] = colo_sender_new(&e->send, i, err);
		if (e->send.channel[i] == NULL)
			return -1;
	}
	return 0;
}

static void
add_seals(struct colo_primary_end *e, unsigned int n, uint8_t shift)
{
	struct colo_seal_keys *keys = &e->primary.seals.keys;

	e->primary.seals.shift = shift;
	keys->device = e->seal;
	for (unsigned int i = 0; e->seal != NULL && i < n; i++)
		colo_seal_end_add(&e->send.channel[i]->seal, keys, i, true, i);
}

static void
fill_config(struct colo_primary_config *to, const struct colo_config *c)
{
	*to = (struct colo_primary_config){
		.host = c->connect.host,
		.port = c->connect.port,
		.connect_timeout_ms = c->connect_timeout_ms,
		.reconnect_ms = c->reconnect_ms,
		.peer_timeout_ms = c->peer_timeout_ms,
		.hold_ms = c->hold_ms,
		.interval_ms = c->interval_ms,
		.epochs = c->epochs,
		.precopy_threshold = c->precopy_threshold,
		.precopy_rounds = c->precopy_rounds,
		.mtu = c->mtu,
		.udp_port = c->udp_port,
		.zstd = c->codec == COLO_CODEC_ZSTD,
		.zstd_level = c->zstd_level,
		.verify = c->verify,
		.stay = c->interactive,
	};
}

int
colo_primary_end_start(struct colo_primary_end *e, const struct colo_config *c, uint16_t port_id,
	const struct colo_notify *notify, struct colo_error *err)
{
	struct colo_primary *p = &e->primary;

	if (colo_end_port(&e->port, &e->steering, c, port_id, err) != 0 ||
		start_source(e, c, err) != 0 || register_blocks(e, err) != 0 ||
		make_channels(e, c->channels, err) != 0 ||
		colo_port_address(&e->port, c->ip, c->udp_port, &p->local, err) != 0)
		return -1;
	e->session = colo_session_new(err);
	if (e->session == NULL)
		return -1;
	colo_session_use_tls(e->session, e->tls);
	add_seals(e, c->channels, (uint8_t)__builtin_ctz(c->rekey));
	fill_config(&p->config, c);
	p->blocks = &e->blocks;
	p->send = &e->send;
	p->port = &e->port;
	p->steering = &e->steering;
	p->session = e->session;
	p->source = &e->source;
	p->notify = notify;
	p->job = &e->job;
	colo_primary_init(p);
	return 0;
}

/* Frames in a driver's ring may still point into blocks: the port goes first. */
void
colo_primary_end_stop(struct colo_primary_end *e)
{
	if (e->source_started)
		e->source.ops->stop(&e->source);
	if (e->session != NULL)
		colo_session_free(e->session);
	colo_seals_end(&e->primary.seals);
	for (unsigned int i = 0; i < COLO_MAX_CHANNELS; i++)
		colo_sender_free(e->send.channel[i]);
	colo_rings_free(&e->send.lane, e->send.handover);
	colo_feed_fini(&e->send.feed);
	for (unsigned int i = 0; i < e->blocks.n; i++)
		colo_port_unregister(
			&e->port, e->blocks.block[i].guest.addr, e->blocks.block[i].guest.size);
	colo_port_stop(&e->port);
	colo_piece_list_fini(&e->send.outbox.list);
	colo_piece_list_fini(&e->job.list);
	colo_blocks_free(&e->blocks, true);
	memset(e, 0, sizeof(*e));
}
