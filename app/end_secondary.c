/* SPDX-License-Identifier: BSD-3-Clause */
/* The secondary's end, put together in order: port, blocks, channels, standby, session. */
#include <string.h>
#include <unistd.h>

#include "ends.h"
#include "log.h"

#define JOURNAL_MAX (PATH_MAX - 16) /* bytes of its path: names of files beside it are longer */

static bool
is_lockstep(const struct colo_config *c)
{
	return strncmp(c->adapter, "lockstep", strlen("lockstep")) == 0;
}

static int
make_blocks(struct colo_secondary_end *e, const struct colo_config *c,
	const struct colo_block_spec *specs, unsigned int n_specs, struct colo_error *err)
{
	struct colo_block_spec device = {
		.name = COLO_DEVICE_BLOCK_NAME, .size = c->device_block_size};

	e->blocks.rules = (struct colo_extra_rules){
		/* a pair's primary and a hypervisor's dirty log know them by their index */
		.fixed = c->role == COLO_ROLE_PAIR || is_lockstep(c),
		.max = c->role == COLO_ROLE_PAIR ? 0 : c->extra_blocks,
		.n_channels = c->channels,
		.numa_node = e->port.socket,
	};
	if (c->journal[0] != '\0') { /* what is to outlive this process must have a name */
		snprintf(device.guest_path, sizeof(device.guest_path), "%.*s.device", JOURNAL_MAX,
			c->journal);
		snprintf(device.cache_path, sizeof(device.cache_path), "%.*s.device-cache",
			JOURNAL_MAX, c->journal);
	}

	for (unsigned int i = 0; i < n_specs; i++)
		if (colo_blocks_add_secondary(
			    &e->blocks, &specs[i], c->channels, e->port.socket, err) != 0)
			return -1;
	return colo_blocks_add_secondary(&e->blocks, &device, c->channels, e->port.socket, err);
}

static int
make_channels(struct colo_secondary_end *e, const struct colo_config *c, struct colo_error *err)
{
	struct colo_rings_spec rings = {.lane = &e->receive.lane,
		.handover = e->receive.handover,
		.n_channels = c->channels,
		.end = "s"};

	e->receive.blocks = &e->blocks;
	e->receive.port = &e->port;
	e->receive.n_channels = c->channels;
	e->receive.window = colo_window_size(c, e->port.id);
	if (c->window == 0) /* the driver may have given fewer descriptors than asked for */
		e->receive.window = RTE_MIN(e->receive.window, (unsigned int)e->port.rxd);
	if (colo_piece_list_init(&e->job.list, &e->blocks) != 0)
		return colo_error_set(err, "no memory for lists of pieces");
	colo_job_init(&e->job);
	if (colo_rings_make(&rings, err) != 0)
		return -1;
	for (unsigned int i = 0; i < c->channels; i++) {
		e->receive.channel[i] = colo_receiver_new(&e->receive, i, err);
		if (e->receive.channel[i] == NULL)
			return -1;
	}
	return 0;
}

static void
add_seals(struct colo_secondary_end *e, unsigned int n)
{
	struct colo_seal_keys *keys = &e->secondary.seals.keys;

	keys->device = e->seal;
	for (unsigned int i = 0; e->seal != NULL && i < n; i++)
		colo_seal_end_add(&e->receive.channel[i]->seal, keys, i, false, e->seal_lane + i);
}

static int
open_journal(struct colo_secondary_end *e, const struct colo_config *c, struct colo_error *err)
{
	if (c->journal[0] == '\0')
		return 0;
	if (strlen(c->journal) > JOURNAL_MAX)
		return colo_error_set(
			err, "--journal: the path is longer than %d bytes", JOURNAL_MAX);
	e->recovered = c->recover;
	return colo_journal_open(&e->journal, c->journal, &e->blocks, c->recover, err);
}

/*
 * What a killed secondary left is ours once the control core has run: an orderly end removes it. A
 * start that failed (no standby yet, a port that is taken) leaves it for the next try.
 */
static void
own_files(struct colo_secondary_end *e)
{
	struct colo_block *device = &e->blocks.block[e->blocks.n - 1];

	if (e->journal.page == NULL || e->secondary.now_us == 0)
		return;
	for (unsigned int i = 0; e->recovered && i < e->blocks.n; i++)
		e->blocks.block[i].cache.created = true;
	device->guest.created = true;
	device->cache.created = true;
	e->recovered = false;
}

static int
start_adapter(struct colo_secondary_end *e, const struct colo_config *c, struct colo_error *err)
{
	const char *spec = strchr(c->adapter, ',');

	if (c->standby[0] == '\0' && spec == NULL)
		return 0;
	e->adapter.ops = is_lockstep(c) ? &colo_adapter_lockstep : &colo_adapter_standby;
	e->adapter.blocks = &e->blocks;
	e->adapter_started = true;
	return e->adapter.ops->start(&e->adapter, spec != NULL ? spec + 1 : c->standby, err);
}

static int
start_session(struct colo_secondary_end *e, const struct colo_config *c, struct colo_error *err)
{
	bool pair = c->role == COLO_ROLE_PAIR;

	e->session = colo_session_new(err);
	if (e->session == NULL)
		return -1;
	colo_session_use_tls(e->session, e->tls);
	/* a pair speaks to itself: any free port of the loopback */
	return colo_session_listen(
		e->session, pair ? "127.0.0.1" : c->listen.host, pair ? 0 : c->listen.port, err);
}

int
colo_secondary_end_start(struct colo_secondary_end *e, const struct colo_config *c,
	const struct colo_block_spec *specs, unsigned int n_specs, uint16_t port_id,
	const struct colo_notify *notify, struct colo_error *err)
{
	struct colo_secondary *s = &e->secondary;

	if (colo_end_port(&e->port, &e->steering, c, port_id, err) != 0 ||
		make_blocks(e, c, specs, n_specs, err) != 0 || open_journal(e, c, err) != 0 ||
		make_channels(e, c, err) != 0 || start_adapter(e, c, err) != 0 ||
		start_session(e, c, err) != 0 ||
		colo_port_address(&e->port, c->ip, c->udp_port, &s->local, err) != 0)
		return -1;
	add_seals(e, c->channels);
	s->config = (struct colo_secondary_config){
		.peer_timeout_ms = c->peer_timeout_ms,
		.hold_ms = c->hold_ms,
		.udp_port = c->udp_port,
		.mtu = c->mtu,
		.failover_on_peer_loss = c->on_peer_loss == COLO_PEER_LOSS_FAILOVER,
		.recovered = c->recover,
		.stay = c->interactive,
	};
	s->blocks = &e->blocks;
	s->journal = &e->journal;
	s->receive = &e->receive;
	s->port = &e->port;
	s->steering = &e->steering;
	s->session = e->session;
	s->adapter = e->adapter_started ? &e->adapter : NULL;
	s->notify = notify;
	s->job = &e->job;
	colo_secondary_init(s);
	return 0;
}

void
colo_secondary_end_stop(struct colo_secondary_end *e)
{
	bool failed_over = e->secondary.state == COLO_SECONDARY_FAILED_OVER;

	if (e->adapter_started)
		e->adapter.ops->stop(&e->adapter);
	if (e->session != NULL)
		colo_session_free(e->session);
	colo_seals_end(&e->secondary.seals);
	for (unsigned int i = 0; i < COLO_MAX_CHANNELS; i++)
		colo_receiver_free(e->receive.channel[i]);
	colo_rings_free(&e->receive.lane, e->receive.handover);
	colo_port_stop(&e->port);
	colo_piece_list_fini(&e->job.list);
	own_files(e);
	if (failed_over && e->journal.page != NULL) /* no standby maps the device state's */
		unlink(e->blocks.block[e->blocks.n - 1].guest.path);
	colo_journal_close(&e->journal, e->recovered);
	/* after a takeover guest memory's file is the guest's */
	colo_blocks_free(&e->blocks, failed_over);
	memset(e, 0, sizeof(*e));
}
