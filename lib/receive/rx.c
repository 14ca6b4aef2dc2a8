/* SPDX-License-Identifier: BSD-3-Clause */
/* A burst off the queue: page packets of this channel stay, everything else goes its way. */
#include <string.h>

#include <rte_udp.h>

#include "receive.h"

/*
 * Where a frame belongs is read from its UDP port alone; parse.c checks it all. A port that is
 * none of ours is left to parse.c too, which counts why.
 */
static unsigned int
channel_of(const struct colo_receiver *r, struct rte_mbuf *m)
{
	uint32_t at = COLO_ETHER_LEN - sizeof(struct rte_udp_hdr) +
		(r->filter.local.ip_version == 6 ? COLO_IPV6_UDP_LEN : COLO_IPV4_UDP_LEN);
	const struct rte_udp_hdr *udp;

	if (!r->session || rte_pktmbuf_data_len(m) < at + sizeof(*udp))
		return r->id;
	udp = rte_pktmbuf_mtod_offset(m, const struct rte_udp_hdr *, at);
	for (unsigned int c = 0; c < r->filter.n_channels; c++)
		if (rte_be_to_cpu_16(udp->dst_port) == r->filter.local.channel_port[c])
			return c;
	return r->id;
}

static bool
hand_over(struct colo_receiver *r, struct rte_mbuf *m)
{
	unsigned int c = channel_of(r, m);

	if (likely(c == r->id))
		return false;
	if (rte_ring_enqueue(r->end->handover[c], m) == 0) {
		colo_receive_count(r, COLO_rx_handed_over);
	} else {
		colo_receive_count(r, COLO_drop_handover_full);
		rte_pktmbuf_free(m);
	}
	return true;
}

uint16_t
colo_rx(struct colo_receiver *r, struct rte_mbuf **frames, bool *worked)
{
	struct rte_mbuf *burst[COLO_BURST];
	uint16_t n, kept = 0;

	kept = rte_ring_dequeue_burst(r->end->handover[r->id], (void **)frames, COLO_BURST / 4,
		NULL);
	n = rte_eth_rx_burst(r->end->port->id, r->queue, burst, COLO_BURST - kept);
	*worked = n > 0 || kept > 0;
	for (uint16_t i = 0; i < n; i++)
		if (!hand_over(r, burst[i]))
			frames[kept++] = burst[i];
	return kept;
}
