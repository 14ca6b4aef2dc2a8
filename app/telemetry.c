/* SPDX-License-Identifier: BSD-3-Clause */
/* Telemetry commands: the views of the control core as JSON. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <rte_telemetry.h>

#include "show.h"
#include "telemetry.h"

/**
 * Telemetry's callbacks get no pointer of ours, so theirs is here. The telemetry thread holds the
 * lock while it reads; the main lcore holds it to set and clear the pointer.
 */
static struct {
	pthread_mutex_t lock;
	const struct colo_control *control; /* NULL: not started, or stopped */
	unsigned int n_channels;
} telemetry = {.lock = PTHREAD_MUTEX_INITIALIZER};

/** Add @p inner, filled or not (@p rc), to @p outer; frees it if that fails. */
static int
add_inner(struct rte_tel_data *outer, const char *name, struct rte_tel_data *inner, int rc)
{
	if (rc == 0)
		rc = rte_tel_data_add_dict_container(outer, name, inner, 0);
	if (rc != 0)
		rte_tel_data_free(inner);
	return rc;
}

/* ---- /colo/epoch ---- */

static int
fill_epoch(struct rte_tel_data *d, const struct colo_view *v)
{
	const struct colo_epoch_report *e = &v->last;
	char codec[16];

	rte_tel_data_start_dict(d);
	rte_tel_data_add_dict_string(d, "state", v->state != NULL ? v->state : "none");
	rte_tel_data_add_dict_u64(d, "session", v->session);
	rte_tel_data_add_dict_u64(d, "epoch", v->epoch);
	rte_tel_data_add_dict_u64(d, "committed", v->committed);
	rte_tel_data_add_dict_u64(d, "checkpoints", v->checkpoints);
	rte_tel_data_add_dict_u64(d, "aborted", v->aborted);
	rte_tel_data_add_dict_u64(d, "full_copies", v->full_copies);
	rte_tel_data_add_dict_u64(d, "resumed", v->resumed);
	rte_tel_data_add_dict_u64(d, "sessions", v->sessions);
	rte_tel_data_add_dict_u64(d, "guest_failures", v->guest_failures);
	rte_tel_data_add_dict_u64(d, "interval_ms", v->interval_ms);
	rte_tel_data_add_dict_string(
		d, "codec", colo_codec_name(v->codec, v->zstd_level, codec, sizeof(codec)));
	rte_tel_data_add_dict_u64(d, "last_epoch", e->epoch);
	rte_tel_data_add_dict_u64(d, "last_pages", e->pages);
	rte_tel_data_add_dict_u64(d, "last_zero_pages", e->zero_pages);
	rte_tel_data_add_dict_u64(d, "last_wire_bytes", e->wire_bytes);
	rte_tel_data_add_dict_u64(d, "last_resent", e->resent);
	rte_tel_data_add_dict_u64(d, "last_pause_us", e->pause_us);
	rte_tel_data_add_dict_u64(d, "last_transfer_us", e->transfer_us);
	rte_tel_data_add_dict_u64(d, "last_commit_us", e->commit_us);
	return rte_tel_data_add_dict_u64(d, "last_flush_us", e->flush_us);
}

static int
answer_epoch(struct rte_tel_data *d)
{
	struct rte_tel_data *inner;
	struct colo_view view;
	int rc = rte_tel_data_start_dict(d);

	for (int secondary = 0; rc == 0 && secondary < 2; secondary++) {
		memset(&view, 0, sizeof(view));
		colo_control_view(telemetry.control, secondary, &view);
		if (!view.present)
			continue;
		inner = rte_tel_data_alloc();
		if (inner == NULL)
			return -ENOMEM;
		rc = add_inner(
			d, secondary ? "secondary" : "primary", inner, fill_epoch(inner, &view));
	}
	return rc;
}

/* ---- /colo/channel ---- */

static int
fill_counters(struct rte_tel_data *d, const struct colo_counters *c)
{
	int rc = 0;

	for (unsigned int i = 0; rc == 0 && i < COLO_N_COUNTERS; i++)
		rc = rte_tel_data_add_dict_u64(d, colo_counter_name[i], c->n[i]);
	return rc;
}

static int
fill_channel(struct rte_tel_data *d, const struct colo_channel_view *v)
{
	rte_tel_data_start_dict(d);
	rte_tel_data_add_dict_u64(d, "lcore", v->lcore);
	rte_tel_data_add_dict_string(d, "steering", v->steering != NULL ? v->steering : "none");
	rte_tel_data_add_dict_u64(d, "port", v->port);
	rte_tel_data_add_dict_u64(d, "queue", v->queue);
	rte_tel_data_add_dict_u64(d, "local_udp_port", v->local_udp_port);
	rte_tel_data_add_dict_u64(d, "next_slot", v->next_slot);
	rte_tel_data_add_dict_u64(d, "acked_slot", v->acked_slot);
	rte_tel_data_add_dict_u64(d, "credit", v->credit);
	rte_tel_data_add_dict_u64(d, "cum", v->cum);
	rte_tel_data_add_dict_u64(d, "srtt_us", v->srtt_us);
	rte_tel_data_add_dict_u64(d, "rttvar_us", v->rttvar_us);
	return fill_counters(d, &v->counters);
}

static int
answer_channel(struct rte_tel_data *d, unsigned int channel)
{
	struct colo_channel_view view;
	struct rte_tel_data *inner;
	int rc = rte_tel_data_start_dict(d);

	for (int receive = 0; rc == 0 && receive < 2; receive++) {
		memset(&view, 0, sizeof(view));
		colo_control_channel_view(telemetry.control, channel, receive, &view);
		if (!view.present)
			continue;
		inner = rte_tel_data_alloc();
		if (inner == NULL)
			return -ENOMEM;
		rc = add_inner(d, colo_end_name[receive], inner, fill_channel(inner, &view));
	}
	return rc;
}

static int
answer_channel_list(struct rte_tel_data *d)
{
	int rc = rte_tel_data_start_array(d, RTE_TEL_INT_VAL);

	for (unsigned int i = 0; rc == 0 && i < telemetry.n_channels; i++)
		rc = rte_tel_data_add_array_int(d, i);
	return rc;
}

static int
answer_channels(const char *params, struct rte_tel_data *d)
{
	unsigned long channel;
	char *end;

	if (params == NULL || params[0] == '\0')
		return answer_channel_list(d);
	errno = 0;
	channel = strtoul(params, &end, 10);
	if (errno != 0 || *end != '\0' || params[0] < '0' || params[0] > '9' ||
		channel >= telemetry.n_channels)
		return -EINVAL;
	return answer_channel(d, channel);
}

/* ---- /colo/stats ---- */

static int
add_callers(struct rte_tel_data *d, const struct colo_session_counters *c)
{
	struct rte_tel_data *inner = rte_tel_data_alloc();
	int rc = 0;

	if (inner == NULL)
		return -ENOMEM;
	rte_tel_data_start_dict(inner);
	for (unsigned int i = 0; rc == 0 && i < COLO_SESSION_N_COUNTERS; i++)
		rc = rte_tel_data_add_dict_u64(inner, colo_session_counter_name[i], c->n[i]);
	return add_inner(d, "callers", inner, rc);
}

static int
answer_stats(struct rte_tel_data *d)
{
	struct colo_stats stats;
	struct rte_tel_data *inner;
	int rc = rte_tel_data_start_dict(d);

	colo_stats_read(telemetry.control, telemetry.n_channels, &stats);
	for (int receive = 0; rc == 0 && receive < 2; receive++) {
		inner = rte_tel_data_alloc();
		if (inner == NULL)
			return -ENOMEM;
		rte_tel_data_start_dict(inner);
		rc = add_inner(d, colo_end_name[receive], inner,
			fill_counters(inner, &stats.channels[receive]));
	}
	return rc == 0 && stats.has_callers ? add_callers(d, &stats.callers) : rc;
}

/* ---- callbacks: telemetry's thread ---- */

static int
on_command(const char *cmd, const char *params, struct rte_tel_data *d)
{
	int rc = -ENODEV;

	pthread_mutex_lock(&telemetry.lock);
	if (telemetry.control != NULL) {
		if (strcmp(cmd, "/colo/epoch") == 0)
			rc = answer_epoch(d);
		else if (strcmp(cmd, "/colo/channel") == 0)
			rc = answer_channels(params, d);
		else
			rc = answer_stats(d);
	}
	pthread_mutex_unlock(&telemetry.lock);
	return rc;
}

int
colo_telemetry_start(
	const struct colo_control *control, unsigned int n_channels, struct colo_error *err)
{
	static const char *const commands[][2] = {
		{"/colo/epoch", "State, counts and the last epoch of each role. No parameter."},
		{"/colo/channel",
			"Numbers of the channels; with parameter N, both ends of channel N."},
		{"/colo/stats", "Counters of each end, summed over channels. No parameter."},
	};

	pthread_mutex_lock(&telemetry.lock);
	telemetry.control = control;
	telemetry.n_channels = n_channels;
	pthread_mutex_unlock(&telemetry.lock);
	for (unsigned int i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (rte_telemetry_register_cmd(commands[i][0], on_command, commands[i][1]) != 0)
			return colo_error_set(
				err, "telemetry does not take the command %s", commands[i][0]);
	return 0;
}

void
colo_telemetry_stop(void)
{
	pthread_mutex_lock(&telemetry.lock);
	telemetry.control = NULL;
	pthread_mutex_unlock(&telemetry.lock);
}
