/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * Everything the two ends are made of, put together by the main lcore at start and taken apart at
 * the end. A pair has both.
 */
#ifndef COLO_APP_ENDS_H
#define COLO_APP_ENDS_H

#include "config.h"
#include "primary.h"
#include "secondary.h"

struct colo_primary_end {
	struct colo_blocks blocks;
	struct colo_port port;
	struct colo_steering steering;
	struct colo_send_end send;
	struct colo_job job;
	struct colo_source source;
	struct colo_seal_device *seal; /**< NULL: frames are not sealed; set before start */
	bool source_started;
	struct colo_session *session;
	struct colo_tls *tls; /**< set before the start, the caller's; NULL: none */
	struct colo_primary primary;
};

struct colo_secondary_end {
	struct colo_blocks blocks;
	struct colo_journal journal;
	bool recovered; /**< --recover, and nothing of what was found may be removed yet */
	struct colo_port port;
	struct colo_steering steering;
	struct colo_receive_end receive;
	struct colo_job job;
	struct colo_adapter adapter;
	struct colo_seal_device *seal; /**< NULL: frames are not sealed; set before start */
	uint16_t seal_lane;	       /**< first queue pair of ours */
	bool adapter_started;
	struct colo_session *session;
	struct colo_tls *tls; /**< set before the start, the caller's; NULL: none */
	struct colo_secondary secondary;
};

/** @return 0, or -1 with @p err; colo_primary_end_stop() undoes it, also half-way. */
int colo_primary_end_start(struct colo_primary_end *e, const struct colo_config *c,
	uint16_t port_id, const struct colo_notify *notify, struct colo_error *err);
/** Poll cores and control core have stopped. */
void colo_primary_end_stop(struct colo_primary_end *e);

/** @p specs, @p n_specs: the blocks, without the device state's. */
int colo_secondary_end_start(struct colo_secondary_end *e, const struct colo_config *c,
	const struct colo_block_spec *specs, unsigned int n_specs, uint16_t port_id,
	const struct colo_notify *notify, struct colo_error *err);
void colo_secondary_end_stop(struct colo_secondary_end *e);

/* ---- what both are made with (ends.c) ---- */

struct colo_rings_spec {
	struct colo_lane_rings *lane;
	struct rte_ring **handover;
	unsigned int n_channels;
	const char *end; /**< in the rings' names */
};

int colo_rings_make(const struct colo_rings_spec *spec, struct colo_error *err);
/**
 * Free the rings with the frames in them, which in a pair may be of the other end's mempools:
 * before either end is stopped. Safe to call twice.
 */
void colo_rings_free(struct colo_lane_rings *lane, struct rte_ring **handover);
/** --window, or what suits the driver. */
unsigned int colo_window_size(const struct colo_config *c, uint16_t port_id);
int colo_end_port(struct colo_port *port, struct colo_steering *steering,
	const struct colo_config *c, uint16_t port_id, struct colo_error *err);
#endif
