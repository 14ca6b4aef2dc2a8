/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * First stage of both ends: a burst off a channel's queue. Where the device's steering sends
 * frames to another queue (kernel fanout of net_af_packet), they are handed over by a ring.
 */
#ifndef COLO_CHANNEL_RX_H
#define COLO_CHANNEL_RX_H

#include <rte_ring.h>

#include "counters.h"
#include "frame.h"
#include "port.h"

#define COLO_HANDOVER_RING 4096u /**< frames for one channel; a window fits */

/** Owner: the channel's poll core. */
struct colo_rx {
	uint16_t port_id;
	uint16_t queue;
	uint8_t channel;
	bool guarded; /**< the port's */
	bool session; /**< adopted at the gate */
	const struct colo_frame_filter *filter;
	struct rte_ring **handover; /**< [channel]; multi producer, single consumer */
	struct colo_counters *counters;
};

/**
 * Up to COLO_BURST frames for this channel, not yet checked. Poll cores.
 * @return their number in @p frames; @p worked says whether anything at all came.
 */
uint16_t colo_rx_burst(struct colo_rx *rx, struct rte_mbuf **frames, bool *worked);

#endif
