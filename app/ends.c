/* SPDX-License-Identifier: BSD-3-Clause */
/* What both ends are made with: rings, port, steering, the test hook. */
#include <string.h>

#include <rte_errno.h>
#include <rte_malloc.h>
#include <rte_ring.h>

#include "ends.h"

#define WINDOW_AF_PACKET 256u /* its ring has 512 frames by default; half of it never overflows */

int
colo_rings_make(const struct colo_rings_spec *spec, struct colo_error *err)
{
	char name[RTE_RING_NAMESIZE];

	snprintf(name, sizeof(name), "colo_%s_ltx", spec->end);
	spec->lane->tx =
		rte_ring_create(name, COLO_LANE_RING, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
	snprintf(name, sizeof(name), "colo_%s_lrx", spec->end);
	spec->lane->rx = rte_ring_create(name, COLO_LANE_RING, SOCKET_ID_ANY, RING_F_SC_DEQ);
	if (spec->lane->tx == NULL || spec->lane->rx == NULL)
		goto no_memory;
	for (unsigned int c = 0; c < spec->n_channels; c++) {
		snprintf(name, sizeof(name), "colo_%s_ho%u", spec->end, c);
		spec->handover[c] =
			rte_ring_create(name, COLO_HANDOVER_RING, SOCKET_ID_ANY, RING_F_SC_DEQ);
		if (spec->handover[c] == NULL)
			goto no_memory;
	}
	return 0;
no_memory:
	return colo_error_set(
		err, "no memory for rings (%s): give EAL more with -m MB", rte_strerror(rte_errno));
}

static void
free_ring(struct rte_ring **ring)
{
	void *m;

	while (*ring != NULL && rte_ring_dequeue(*ring, &m) == 0)
		rte_pktmbuf_free(m);
	rte_ring_free(*ring);
	*ring = NULL;
}

void
colo_rings_free(struct colo_lane_rings *lane, struct rte_ring **handover)
{
	free_ring(&lane->tx);
	free_ring(&lane->rx);
	for (unsigned int c = 0; c < COLO_MAX_CHANNELS; c++)
		free_ring(&handover[c]);
}

unsigned int
colo_window_size(const struct colo_config *c, uint16_t port_id)
{
	struct rte_eth_dev_info info;

	if (c->window != 0)
		return c->window;
	if (rte_eth_dev_info_get(port_id, &info) == 0 && info.driver_name != NULL &&
		strcmp(info.driver_name, "net_af_packet") == 0)
		return WINDOW_AF_PACKET;
	return RTE_MIN(c->rxd, COLO_WINDOW_MAX);
}

int
colo_end_port(struct colo_port *port, struct colo_steering *steering, const struct colo_config *c,
	uint16_t port_id, struct colo_error *err)
{
	static const char *const steer[] = {
		[COLO_STEER_AUTO] = NULL,
		[COLO_STEER_RSS] = "rss",
		[COLO_STEER_FLOW] = "flow",
		[COLO_STEER_PAIRED] = "paired",
	};
	struct colo_port_spec spec = {
		.id = port_id,
		.n_queues = c->channels,
		.mtu = c->mtu,
		.rxd = c->rxd,
		.txd = c->txd,
		.zero_copy = c->zero_copy,
		.window = colo_window_size(c, port_id),
	};

	if (colo_port_start(port, &spec, err) != 0)
		return -1;
	return colo_steer_choose(steering, port, steer[c->steering], err);
}
