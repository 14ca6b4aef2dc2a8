/* SPDX-License-Identifier: BSD-3-Clause */
/* What the prompt's `show` prints. */
#include <inttypes.h>
#include <string.h>

#include <rte_ethdev.h>

#include "config_value.h"
#include "show.h"

const char *const colo_end_name[2] = {"send", "receive"};
static const char *const role_of_end[] = {"primary", "secondary"};

const char *
colo_codec_name(enum colo_codec codec, int level, char *text, size_t size)
{
	if (codec == COLO_CODEC_RAW)
		snprintf(text, size, "raw");
	else
		snprintf(text, size, "zstd:%d", level);
	return text;
}

/* ---- ports ---- */

static void
show_port_stats(uint16_t port, FILE *f)
{
	struct rte_eth_stats s;

	if (rte_eth_stats_get(port, &s) != 0) {
		fputs("  the driver keeps no statistics\n", f);
		return;
	}
	fprintf(f,
		"  rx %" PRIu64 " packets, %" PRIu64 " bytes, %" PRIu64 " missed, %" PRIu64
		" errors, %" PRIu64 " without mbuf\n",
		s.ipackets, s.ibytes, s.imissed, s.ierrors, s.rx_nombuf);
	fprintf(f, "  tx %" PRIu64 " packets, %" PRIu64 " bytes, %" PRIu64 " errors\n", s.opackets,
		s.obytes, s.oerrors);
}

static void
show_port(uint16_t port, FILE *f)
{
	struct rte_eth_dev_info info;
	struct rte_ether_addr mac;
	struct rte_eth_link link = {0};
	char name[RTE_ETH_NAME_MAX_LEN] = "?", mac_text[RTE_ETHER_ADDR_FMT_SIZE] = "?";
	uint16_t mtu = 0;

	if (rte_eth_dev_info_get(port, &info) != 0) {
		fprintf(f, "port %u: gone\n", port);
		return;
	}
	rte_eth_dev_get_name_by_port(port, name);
	if (rte_eth_macaddr_get(port, &mac) == 0)
		rte_ether_format_addr(mac_text, sizeof(mac_text), &mac);
	rte_eth_dev_get_mtu(port, &mtu);
	rte_eth_link_get_nowait(port, &link);
	fprintf(f, "port %u: %s, driver %s, MAC %s, socket %d\n", port, name, info.driver_name,
		mac_text, rte_eth_dev_socket_id(port));
	fprintf(f, "  link %s, MTU %u, %u rx queues of %u, %u tx queues of %u\n",
		link.link_status ? "up" : "down", mtu, info.nb_rx_queues, info.max_rx_queues,
		info.nb_tx_queues, info.max_tx_queues);
	show_port_stats(port, f);
}

void
colo_show_ports(FILE *f)
{
	uint16_t port;

	if (rte_eth_dev_count_avail() == 0)
		fputs("no port\n", f);
	RTE_ETH_FOREACH_DEV (port) {
		show_port(port, f);
	}
}

/* ---- channels ---- */

static void
show_channel_end(unsigned int channel, bool receive, const struct colo_channel_view *v, FILE *f)
{
	fprintf(f, "channel %u %s: lcore %u, port %u queue %u, steering %s, UDP port %u\n", channel,
		colo_end_name[receive], v->lcore, v->port, v->queue,
		v->steering != NULL ? v->steering : "none", v->local_udp_port);
	if (receive)
		fprintf(f, "  every slot below %" PRIu64 " is placed\n", v->cum);
	else
		fprintf(f,
			"  next slot %" PRIu64 ", acknowledged %" PRIu64 ", credit %" PRIu64
			", srtt %" PRIu32 " us, rttvar %" PRIu32 " us\n",
			v->next_slot, v->acked_slot, v->credit, v->srtt_us, v->rttvar_us);
	for (unsigned int i = 0; i < COLO_N_COUNTERS; i++)
		if (v->counters.n[i] != 0)
			fprintf(f, "  %-24s %" PRIu64 "\n", colo_counter_name[i], v->counters.n[i]);
}

void
colo_show_channels(const struct colo_control *control, unsigned int n_channels, FILE *f)
{
	struct colo_channel_view view;

	for (unsigned int i = 0; i < 2 * n_channels; i++) {
		memset(&view, 0, sizeof(view));
		colo_control_channel_view(control, i / 2, i % 2, &view);
		if (view.present)
			show_channel_end(i / 2, i % 2, &view, f);
	}
}

/* ---- blocks ---- */

static void
show_memory(const char *name, const struct colo_memory_view *m, FILE *f)
{
	if (m->page_size == 0)
		return;
	fprintf(f, "  %-6s %s pages, %s\n", name, m->page_size > COLO_PAGE_SIZE ? "2 MiB" : "4 KiB",
		m->path[0] != '\0' ? m->path : "unnamed");
}

void
colo_show_blocks(const struct colo_control *control, FILE *f)
{
	struct colo_block_view b;
	char size[24];

	for (int secondary = 0; secondary < 2; secondary++)
		for (unsigned int i = 0; colo_control_block_view(control, secondary, i, &b); i++) {
			fprintf(f, "%s block %u %s: %s, %" PRIu32 " pages%s\n",
				role_of_end[secondary], i, b.name,
				colo_format_size(b.size, size, sizeof(size)), b.n_pages,
				b.extra ? ", of the primary's list" : "");
			show_memory("guest", &b.guest, f);
			show_memory("cache", &b.cache, f);
		}
}

/* ---- epoch ---- */

static void
show_last(const struct colo_epoch_report *e, FILE *f)
{
	if (e->epoch == 0) {
		fputs("  no epoch yet\n", f);
		return;
	}
	fprintf(f,
		"  last epoch %" PRIu32 ": %" PRIu64 " pages, %" PRIu64 " zero, %" PRIu64
		" bytes on the wire, %" PRIu64 " resent\n",
		e->epoch, e->pages, e->zero_pages, e->wire_bytes, e->resent);
	fprintf(f,
		"  pause %" PRIu32 " us, transfer %" PRIu32 " us, commit %" PRIu32
		" us, flush %" PRIu32 " us%s\n",
		e->pause_us, e->transfer_us, e->commit_us, e->flush_us,
		!e->verified	     ? ""
		: e->mismatches == 0 ? ", verified"
				     : ", DIFFERS");
}

void
colo_show_epoch(const struct colo_control *control, FILE *f)
{
	struct colo_view v;
	char codec[16];

	for (int secondary = 0; secondary < 2; secondary++) {
		memset(&v, 0, sizeof(v));
		colo_control_view(control, secondary, &v);
		if (!v.present)
			continue;
		fprintf(f,
			"%s: state %s, session %08" PRIx32 ", epoch %" PRIu32 ", committed %" PRIu32
			"\n",
			role_of_end[secondary], v.state != NULL ? v.state : "none", v.session,
			v.epoch, v.committed);
		fprintf(f,
			"  %" PRIu64 " checkpoints in this session; %" PRIu64 " sessions, %" PRIu64
			" full copies, %" PRIu64 " resumed without one, %" PRIu64
			" epochs undone since start\n",
			v.checkpoints, v.sessions, v.full_copies, v.resumed, v.aborted);
		if (v.guest_failures != 0)
			fprintf(f,
				"  %" PRIu64 " times the guest here did not follow, or was lost\n",
				v.guest_failures);
		if (!secondary)
			fprintf(f, "  interval %" PRIu32 " ms, codec %s\n", v.interval_ms,
				colo_codec_name(v.codec, v.zstd_level, codec, sizeof(codec)));
		show_last(&v.last, f);
	}
}

/* ---- stats ---- */

void
colo_stats_read(
	const struct colo_control *control, unsigned int n_channels, struct colo_stats *stats)
{
	struct colo_channel_view channel;
	struct colo_view secondary = {.present = false};

	memset(stats, 0, sizeof(*stats));
	for (unsigned int i = 0; i < 2 * n_channels; i++) {
		memset(&channel, 0, sizeof(channel));
		colo_control_channel_view(control, i / 2, i % 2, &channel);
		for (unsigned int n = 0; channel.present && n < COLO_N_COUNTERS; n++)
			stats->channels[i % 2].n[n] += channel.counters.n[n];
	}
	colo_control_view(control, true, &secondary);
	stats->has_callers = secondary.present;
	stats->callers = secondary.callers;
}

static unsigned int
show_channel_stats(
	const struct colo_counters now[2], const struct colo_counters base[2], bool all, FILE *f)
{
	unsigned int rows = 0;
	uint64_t sent, received;

	fprintf(f, "%-24s %14s %14s\n", "counter", "sending end", "receiving end");
	for (unsigned int n = 0; n < COLO_N_COUNTERS; n++) {
		sent = now[0].n[n] - base[0].n[n];
		received = now[1].n[n] - base[1].n[n];
		if (!all && sent == 0 && received == 0)
			continue;
		fprintf(f, "%-24s %14" PRIu64 " %14" PRIu64 "  %s\n", colo_counter_name[n], sent,
			received, colo_counter_help[n]);
		rows++;
	}
	return rows;
}

static unsigned int
show_callers(const struct colo_session_counters *now, const struct colo_session_counters *base,
	bool all, FILE *f)
{
	unsigned int rows = 0;

	for (unsigned int n = 0; n < COLO_SESSION_N_COUNTERS; n++) {
		if (!all && now->n[n] == base->n[n])
			continue;
		fprintf(f, "%-24s %14s %14" PRIu64 "  %s\n", colo_session_counter_name[n], "",
			now->n[n] - base->n[n], colo_session_counter_help[n]);
		rows++;
	}
	return rows;
}

/* An attack is to be seen at a glance: what was refused, by reason; other hosts' words are none. */
static void
show_refused(const struct colo_stats *now, const struct colo_stats *base, FILE *f)
{
	const char *separator = ": ";
	uint64_t n[COLO_N_COUNTERS] = {0}, total = 0;

	for (unsigned int i = COLO_drop_foreign + 1; i <= COLO_drop_handover_full; i++) {
		for (unsigned int end = 0; end < 2; end++)
			n[i] += now->channels[end].n[i] - base->channels[end].n[i];
		total += n[i];
	}
	if (total == 0)
		return;
	fprintf(f, "%" PRIu64 " frames refused", total);
	for (unsigned int i = 0; i < COLO_N_COUNTERS; i++) {
		if (n[i] == 0)
			continue;
		fprintf(f, "%s%" PRIu64 " %s", separator, n[i],
			strchr(colo_counter_name[i], '_') + 1);
		separator = ", ";
	}
	fputc('\n', f);
}

static void
show_callers_refused(
	const struct colo_session_counters *now, const struct colo_session_counters *base, FILE *f)
{
	const char *separator = ": ";
	uint64_t total = 0;

	for (unsigned int i = COLO_SESSION_tcp_handshake_failed; i < COLO_SESSION_N_COUNTERS; i++)
		total += now->n[i] - base->n[i];
	if (total == 0)
		return;
	fprintf(f, "%" PRIu64 " callers refused", total);
	for (unsigned int i = COLO_SESSION_tcp_handshake_failed; i < COLO_SESSION_N_COUNTERS; i++) {
		if (now->n[i] == base->n[i])
			continue;
		fprintf(f, "%s%" PRIu64 " %s", separator, now->n[i] - base->n[i],
			strchr(colo_session_counter_name[i], '_') + 1);
		separator = ", ";
	}
	fputc('\n', f);
}

void
colo_show_stats(const struct colo_control *control, unsigned int n_channels,
	const struct colo_stats *base, bool all, FILE *f)
{
	struct colo_stats now;
	unsigned int rows;

	colo_stats_read(control, n_channels, &now);
	rows = show_channel_stats(now.channels, base->channels, all, f);
	if (now.has_callers)
		rows += show_callers(&now.callers, &base->callers, all, f);
	if (rows == 0)
		fputs("all counters are 0; `show stats all` lists them\n", f);
	show_refused(&now, base, f);
	if (now.has_callers)
		show_callers_refused(&now.callers, &base->callers, f);
}
