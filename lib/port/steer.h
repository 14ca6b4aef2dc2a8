/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * Which queue a channel's frames land on is not luck: by RSS (the UDP port is chosen so that the
 * device's hash, key and table lead to the queue: rte_thash), by an rte_flow rule, or because the
 * device pairs its queues one to one (net_ring, net_memif, net_null, ...).
 */
#ifndef COLO_PORT_STEER_H
#define COLO_PORT_STEER_H

#include <rte_flow.h>

#include "port.h"

enum colo_steer {
	COLO_STEERED_PAIRED,
	COLO_STEERED_RSS,
	COLO_STEERED_FLOW
};

/** Owner: main lcore at start, then the control core (one session at a time). */
struct colo_steering {
	enum colo_steer how;
	struct rte_flow *flow[COLO_MAX_CHANNELS];
};

/** "paired", "rss", "flow" */
const char *colo_steer_name(enum colo_steer how);

/**
 * Choose how the port steers. @p wanted: NULL for the best the device offers, or a name.
 * @return 0, or -1 with @p err when the device cannot do what is wanted.
 */
int colo_steer_choose(struct colo_steering *s, const struct colo_port *p, const char *wanted,
	struct colo_error *err);

/**
 * Choose @p local's channel ports (from @p base up) so that frames from @p peer's source port land
 * on queue i for channel i, and install rules where rules do it. Control core.
 * @return 0 or -1 with @p err.
 */
int colo_steer_ports(struct colo_steering *s, const struct colo_port *p, uint16_t base,
	const struct colo_address *peer, struct colo_address *local, struct colo_error *err);

/** Remove rules. */
void colo_steer_clear(struct colo_steering *s, const struct colo_port *p);

/** Queue that the device's RSS picks for a frame of @p peer to @p local's @p port. */
uint16_t colo_steer_rss_queue(const struct colo_port *p, const struct colo_address *peer,
	const struct colo_address *local, uint16_t port);

#endif
