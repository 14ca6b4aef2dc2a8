/* SPDX-License-Identifier: BSD-3-Clause */
/* Processes: put together as app/end_primary.c and app/end_secondary.c do it, ended, killed. */
#include <string.h>

#include <rte_mempool.h>

#include "sim.h"
#include "hypervisor.h"
#include "ports.h"
#include "secure.h"

#define UDP_PORT 20000u /* of the secondary's first channel; the primary's is + 100 */
#define JOURNAL	 "journal"

static struct rte_ring *
make_ring(const char *what, enum sim_end_id end, unsigned int channel, unsigned int n)
{
	char name[RTE_RING_NAMESIZE];
	struct rte_ring *ring;

	snprintf(name, sizeof(name), "sim_%s_%u_%u", what, end, channel);
	ring = rte_ring_create(name, n, SOCKET_ID_ANY, 0);
	SIM_CHECK(ring != NULL, "no memory for ring %s", name);
	return ring;
}

static void
make_rings(enum sim_end_id end, struct colo_lane_rings *lane, struct rte_ring **handover)
{
	lane->tx = make_ring("ltx", end, 0, sim.config.lane_ring);
	lane->rx = make_ring("lrx", end, 0, sim.config.lane_ring);
	for (unsigned int c = 0; c < sim.config.n_channels; c++)
		handover[c] = make_ring("ho", end, c, sim.config.handover_ring);
}

static void
free_ring(struct rte_ring *ring)
{
	void *m;

	while (ring != NULL && rte_ring_dequeue(ring, &m) == 0)
		rte_pktmbuf_free(m);
	rte_ring_free(ring);
}

static void
free_rings(struct colo_lane_rings *lane, struct rte_ring **handover)
{
	free_ring(lane->tx);
	free_ring(lane->rx);
	for (unsigned int c = 0; c < SIM_MAX_CHANNELS; c++)
		free_ring(handover[c]);
	memset(lane, 0, sizeof(*lane));
	memset(handover, 0, SIM_MAX_CHANNELS * sizeof(handover[0]));
}

static void
make_port(enum sim_end_id end)
{
	struct sim_end *e = &sim.end[end];

	e->port = (struct colo_port){
		.id = sim_ports.id[end],
		.n_queues = (uint16_t)sim.config.n_channels,
		.socket = SOCKET_ID_ANY,
		.driver = "net_ring",
		.started = true,
		.mtu = sim.config.mtu,
		.rxd = (uint16_t)sim.config.rxd,
		.txd = 256,
		.zero_copy = sim.config.zero_copy,
		.mac.addr_bytes = {2, 0, 0, 0, 0, (uint8_t)(end + 1)},
		.rx_pool = sim_ports.rx_pool[end],
		.tx_pool = sim_ports.tx_pool[end],
		.page_pool = sim.config.zero_copy ? sim_ports.page_pool[end] : NULL,
	};
	e->address = (struct colo_address){
		.ip_version = sim.config.ip_version,
		.ip = {10, 0, 0, (uint8_t)(end + 1)},
		.source_port = (uint16_t)(4000 + end),
	};
	memcpy(e->address.mac, e->port.mac.addr_bytes, sizeof(e->address.mac));
	e->steering.how = COLO_STEERED_PAIRED;
}

/* ---- what an operator would read ---- */

static void
notify_text(void *context, bool warning, const char *text)
{
	const struct sim_end *e = context;

	(void)warning;
	sim_hook();
	SIM_CHECK(sim.poisoned || strstr(text, "differs from the primary's") == NULL,
		"counts or digests differ, and no page was changed on the way: %s", text);
	SIM_CHECK(strstr(text, "would not compare") == NULL,
		"a comparison was refused that was asked for at the right time");
	sim_trace("%s: %s", e == &sim.end[SIM_PRIMARY] ? "primary" : "secondary", text);
}

static void
notify_progress(void *context, uint64_t done, uint64_t total)
{
	(void)context;
	(void)done;
	(void)total;
}

/* Nothing is lost, so nothing waits for a timer of the loss detection, or of the lane. */
static void
check_transfer(const struct colo_epoch_report *report)
{
	sim.longest_transfer_us = RTE_MAX(sim.longest_transfer_us, report->transfer_us);
	/* frames of one queue keep their order, and a ring holds what credit allows */
	SIM_CHECK(report->resent == 0 || sim.config.mis_steer || sim.config.rxd < sim.config.window,
		"%llu packets of epoch %u were sent again, and none was lost",
		(unsigned long long)report->resent, report->epoch);
	SIM_CHECK(report->transfer_us < 40 * SIM_MS,
		"the transfer of epoch %u, %llu pages, took %u us on a wire without fault",
		report->epoch, (unsigned long long)report->pages, report->transfer_us);
}

static void
notify_epoch(void *context, const struct colo_epoch_report *report)
{
	(void)context;
	if (report->is_secondary)
		sim_secondary_flushed(report);
	else
		SIM_CHECK(report->mismatches == 0, "VERIFY of epoch %u found %u blocks that differ",
			report->epoch, report->mismatches);
	if (!report->is_secondary && sim.calm_session && sim.calm && !sim.lossy_calm)
		check_transfer(report);
}

static void
notify_end(void *context, int status)
{
	struct sim_end *e = context;

	(void)status;
	SIM_CHECK(!e->ended || e == &sim.end[SIM_SECONDARY], "the primary ends twice");
	e->ended = true;
}

/* ---- the standby ---- */

static void
adapter_failover(struct colo_adapter *a)
{
	struct sim_secondary *s = &sim.secondary;

	(void)a;
	SIM_COUNT(takeovers);
	s->takeover_us = sim.now + sim_between(100, 30 * SIM_MS);
	s->takeover_fails = sim_chance(300000);
	s->takeover_may_run = sim_chance(500000);
}

static enum colo_adapter_status
adapter_poll(struct colo_adapter *a)
{
	const struct sim_secondary *s = &sim.secondary;

	if (sim.now < s->takeover_us)
		return COLO_ADAPTER_BUSY;
	if (!s->takeover_fails)
		return COLO_ADAPTER_DONE;
	a->may_run = s->takeover_may_run;
	colo_error_set(&a->error, "the takeover fails on purpose");
	return COLO_ADAPTER_FAILED;
}

static const struct colo_adapter_ops adapter_ops = {
	.name = "sim", .failover = adapter_failover, .poll = adapter_poll};

/* ---- start ---- */

static void
block_spec(unsigned int i, struct colo_block_spec *spec)
{
	memset(spec, 0, sizeof(*spec));
	spec->size = (uint64_t)sim.config.block_pages[i] * COLO_PAGE_SIZE;
	if (i + 1 == sim.config.n_blocks)
		snprintf(spec->name, sizeof(spec->name), "%s", COLO_DEVICE_BLOCK_NAME);
	else
		snprintf(spec->name, sizeof(spec->name), "block%u", i);
}

static void
make_common(struct sim_end *e)
{
	struct colo_error err = {""};

	e->notify = (struct colo_notify){.context = e,
		.text = notify_text,
		.progress = notify_progress,
		.epoch = notify_epoch,
		.end = notify_end};
	SIM_CHECK(colo_piece_list_init(&e->job.list, &e->blocks) == 0, "no memory for pieces");
	colo_job_init(&e->job);
	e->session = colo_session_new(&err);
	SIM_CHECK(e->session != NULL, "%s", err.text);
}

static void
start_primary(struct sim_end *e)
{
	struct sim_primary *it = &sim.primary;
	struct colo_send_end *send = &it->send;
	struct colo_primary *p = &it->p;
	struct colo_error err = {""};

	for (unsigned int i = 0; i < sim.config.n_blocks; i++) {
		struct colo_block_spec spec;

		block_spec(i, &spec);
		SIM_CHECK(colo_blocks_add_primary(&e->blocks, &spec, &err) == 0, "%s", err.text);
	}
	make_common(e);
	sim_source_begin(&it->source);
	send->blocks = &e->blocks;
	send->port = &e->port;
	send->n_channels = sim.config.n_channels;
	make_rings(SIM_PRIMARY, &send->lane, send->handover);
	SIM_CHECK(colo_piece_list_init(&send->outbox.list, &e->blocks) == 0, "no memory");
	if (it->source.ops->feeds) {
		SIM_CHECK(colo_feed_init(&send->feed, send->n_channels, &err) == 0, "%s", err.text);
		it->source.feed = &send->feed;
	}
	for (unsigned int c = 0; c < send->n_channels; c++) {
		send->channel[c] = colo_sender_new(send, (uint8_t)c, &err);
		SIM_CHECK(send->channel[c] != NULL, "%s", err.text);
	}
	p->config = (struct colo_primary_config){.host = "127.0.0.1",
		.port = 1,
		.connect_timeout_ms = sim.config.connect_timeout_ms,
		.reconnect_ms = sim.config.reconnect_ms,
		.peer_timeout_ms = sim.config.peer_timeout_ms[SIM_PRIMARY],
		.hold_ms = sim.config.hold_ms[SIM_PRIMARY],
		.interval_ms = sim.config.interval_ms,
		.precopy_threshold = sim.config.precopy_threshold,
		.precopy_rounds = sim.config.precopy_rounds,
		.mtu = sim.config.mtu,
		.udp_port = UDP_PORT + 100,
		.zstd = sim.config.zstd,
		.zstd_level = sim.config.zstd_level,
		.verify = sim.config.verify,
		.stay = true};
	p->blocks = &e->blocks;
	p->send = send;
	p->port = &e->port;
	p->steering = &e->steering;
	p->session = e->session;
	p->source = &it->source;
	p->notify = &e->notify;
	p->job = &e->job;
	p->local = e->address;
	sim_secure_primary();
	colo_primary_init(p);
}

static void
make_receivers(struct sim_end *e, struct colo_receive_end *receive)
{
	struct colo_error err = {""};

	receive->blocks = &e->blocks;
	receive->port = &e->port;
	receive->n_channels = sim.config.n_channels;
	receive->window = sim.config.window;
	make_rings(SIM_SECONDARY, &receive->lane, receive->handover);
	for (unsigned int c = 0; c < receive->n_channels; c++) {
		receive->channel[c] = colo_receiver_new(receive, (uint8_t)c, &err);
		SIM_CHECK(receive->channel[c] != NULL, "%s", err.text);
	}
}

static void
make_secondary_blocks(struct sim_end *e)
{
	struct colo_error err = {""};

	for (unsigned int i = 0; i < sim.config.n_blocks; i++) {
		struct colo_block_spec spec;

		block_spec(i, &spec);
		if (sim.config.journal) {
			snprintf(spec.guest_path, sizeof(spec.guest_path), "guest%u", i);
			snprintf(spec.cache_path, sizeof(spec.cache_path), "cache%u", i);
		}
		SIM_CHECK(colo_blocks_add_secondary(
				  &e->blocks, &spec, sim.config.n_channels, -1, &err) == 0,
			"%s", err.text);
	}
}

static void
start_secondary(struct sim_end *e)
{
	struct sim_secondary *it = &sim.secondary;
	struct colo_secondary *s = &it->s;
	struct colo_error err = {""};
	bool recover = sim.config.journal && sim_file_exists(JOURNAL);

	make_secondary_blocks(e);
	SIM_CHECK(!sim.config.journal ||
			  colo_journal_open(&it->journal, JOURNAL, &e->blocks, recover, &err) == 0,
		"%s", err.text);
	make_common(e);
	make_receivers(e, &it->receive);
	sim_secure_secondary();
	SIM_CHECK(colo_session_listen(e->session, "127.0.0.1", 1, &err) == 0, "%s", err.text);
	s->config = (struct colo_secondary_config){
		.peer_timeout_ms = sim.config.peer_timeout_ms[SIM_SECONDARY],
		.hold_ms = sim.config.hold_ms[SIM_SECONDARY],
		.udp_port = UDP_PORT,
		.mtu = sim.config.mtu,
		.failover_on_peer_loss = sim.config.failover_on_loss,
		.recovered = recover,
		.stay = true};
	it->adapter = (struct colo_adapter){.ops = &adapter_ops, .blocks = &e->blocks};
	if (sim.config.lockstep) {
		it->adapter.ops = &sim_hypervisor_ops;
		sim_hypervisor_begin(&it->adapter);
	}
	s->blocks = &e->blocks;
	s->receive = &it->receive;
	s->port = &e->port;
	s->steering = &e->steering;
	s->session = e->session;
	s->adapter = sim.config.has_adapter ? &it->adapter : NULL;
	s->journal = &it->journal;
	s->notify = &e->notify;
	s->job = &e->job;
	s->local = e->address;
	colo_secondary_init(s);
	if (recover)
		SIM_COUNT(recovered);
	sim_check_recovered(s->committed);
}

void
sim_end_start(enum sim_end_id end)
{
	struct sim_end *e = &sim.end[end];
	enum sim_end_id before = sim.running;

	SIM_COUNT(starts);
	sim_trace("%s starts", end == SIM_PRIMARY ? "primary" : "secondary");
	sim.running = end;
	e->ended = false;
	e->frames_in = 0;
	e->restart_us = SIM_NEVER;
	e->lives++;
	make_port(end);
	if (end == SIM_PRIMARY)
		start_primary(e);
	else
		start_secondary(e);
	e->up = true;
	sim_cores_set(end);
	sim.running = before;
}

/* ---- end ---- */

static void
free_common(struct sim_end *e, bool keep_files)
{
	colo_session_free(e->session);
	colo_piece_list_fini(&e->job.list);
	for (unsigned int i = 0; keep_files && i < e->blocks.n; i++)
		e->blocks.block[i].cache.created = false;
	colo_blocks_free(&e->blocks, keep_files);
	memset(&e->job, 0, sizeof(e->job));
	e->session = NULL;
	e->up = false;
}

static void
free_primary(struct sim_end *e)
{
	struct colo_send_end *send = &sim.primary.send;

	for (unsigned int c = 0; c < SIM_MAX_CHANNELS; c++)
		colo_sender_free(send->channel[c]);
	free_rings(&send->lane, send->handover);
	colo_feed_fini(&send->feed);
	colo_piece_list_fini(&send->outbox.list);
	free_common(e, false);
	memset(&sim.primary, 0, sizeof(sim.primary));
	sim.source.at_us = SIM_NEVER;
}

static void
free_secondary(struct sim_end *e, bool killed)
{
	struct sim_secondary *s = &sim.secondary;

	for (unsigned int c = 0; c < SIM_MAX_CHANNELS; c++)
		colo_receiver_free(s->receive.channel[c]);
	free_rings(&s->receive.lane, s->receive.handover);
	colo_journal_close(&s->journal, killed);
	free_common(e, killed);
	memset(s, 0, sizeof(*s));
	/* without a journal, or ended in order, nothing is left of its memory */
	if (killed && sim.config.journal)
		return;
	sim_files_forget();
	sim.model.held.epoch = 0;
	sim.model.committed.epoch = 0;
}

static void
free_end(enum sim_end_id end, bool killed)
{
	struct sim_end *e = &sim.end[end];

	sim_secure_forget(end);
	if (end == SIM_PRIMARY)
		free_primary(e);
	else
		free_secondary(e, killed);
	for (unsigned int i = 0; i < SIM_CORES; i++)
		if (sim.core[i].end == end)
			sim.core[i].on = false;
}

void
sim_end_stop(enum sim_end_id end)
{
	enum sim_end_id before = sim.running;

	sim_trace("%s ends in order", end == SIM_PRIMARY ? "primary" : "secondary");
	sim.running = end;
	sim_ports_drought(end, false);
	sim_wire_collect(end);
	sim_check_counters(end);
	if (end == SIM_PRIMARY)
		sim_guest_resume();
	free_end(end, false);
	sim_tcp_process_gone(end, false);
	sim_ports_drain(end);
	sim_check_pools(end);
	sim.running = before;
}

void
sim_end_kill(enum sim_end_id end, bool silent)
{
	enum sim_end_id before = sim.running;

	sim_trace("%s is killed%s", end == SIM_PRIMARY ? "primary" : "secondary",
		silent ? " without a word" : "");
	sim.running = end;
	sim_wire_collect(end);
	if (end == SIM_SECONDARY)
		sim_check_killed();
	sim_tcp_process_gone(end, silent);
	free_end(end, true);
	sim_ports_refill(end);
	if (end == SIM_PRIMARY) /* the guardian's work */
		sim_guest_resume();
	sim.running = before;
}

void
sim_end_clean(enum sim_end_id end)
{
	if (sim.end[end].up)
		free_end(end, true);
	sim_ports_refill(end);
}
