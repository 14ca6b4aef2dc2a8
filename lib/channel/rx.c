/* SPDX-License-Identifier: BSD-3-Clause */
/* A burst off the queue; what belongs to another channel is handed over to its poll core. */
#include <rte_udp.h>

#include "guard.h"
#include "rx.h"

/*
 * Where a frame belongs is read from its UDP port alone; colo_frame_check() looks at everything.
 * A port that is none of ours is left to it too: it counts why.
 */
static unsigned int
channel_of(const struct colo_rx *rx, struct rte_mbuf *m)
{
	const struct colo_frame_filter *f = rx->filter;
	uint32_t at = COLO_ETHER_LEN - sizeof(struct rte_udp_hdr) +
		      (f->local.ip_version == 6 ? COLO_IPV6_UDP_LEN : COLO_IPV4_UDP_LEN);
	const struct rte_udp_hdr *udp;

	if (!rx->session || rte_pktmbuf_data_len(m) < at + sizeof(*udp))
		return rx->channel;
	udp = rte_pktmbuf_mtod_offset(m, const struct rte_udp_hdr *, at);
	for (unsigned int c = 0; c < f->n_channels; c++)
		if (rte_be_to_cpu_16(udp->dst_port) == f->local.channel_port[c])
			return c;
	return rx->channel;
}

static bool
hand_over(struct colo_rx *rx, struct rte_mbuf *m)
{
	unsigned int c = channel_of(rx, m);

	if (likely(c == rx->channel))
		return false;
	if (rte_ring_enqueue(rx->handover[c], m) == 0) {
		rx->counters->n[COLO_rx_handed_over]++;
	} else {
		rx->counters->n[COLO_drop_handover_full]++;
		rte_pktmbuf_free(m);
	}
	return true;
}

uint16_t
colo_rx_burst(struct colo_rx *rx, struct rte_mbuf **frames, bool *worked)
{
	struct rte_mbuf *burst[COLO_BURST];
	uint16_t n, kept;

	kept = rte_ring_dequeue_burst(
		rx->handover[rx->channel], (void **)frames, COLO_BURST / 2, NULL);
	if (rx->guarded)
		n = colo_guard_rx(rx->port_id, rx->queue, burst, COLO_BURST - kept,
			&rx->counters->n[COLO_rx_cut]);
	else
		n = rte_eth_rx_burst(rx->port_id, rx->queue, burst, COLO_BURST - kept);
	*worked = n > 0 || kept > 0;
	for (uint16_t i = 0; i < n; i++)
		if (!hand_over(rx, burst[i]))
			frames[kept++] = burst[i];
	return kept;
}
