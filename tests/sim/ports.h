/* SPDX-License-Identifier: BSD-3-Clause */
/* Two net_ring ports, made once: the NICs that every seed uses. */
#ifndef COLO_SIM_PORTS_H
#define COLO_SIM_PORTS_H

#include <rte_mempool.h>
#include <rte_ring.h>

#include "sim.h"

#define SIM_RING  256u	/* frames a driver takes before it is looked at */
#define SIM_MBUFS 1535u /* of each pool */

struct sim_ports {
	struct rte_ring *out[SIM_N_ENDS][SIM_MAX_CHANNELS], *in[SIM_N_ENDS][SIM_MAX_CHANNELS];
	uint16_t id[SIM_N_ENDS];
	struct rte_mempool *rx_pool[SIM_N_ENDS], *tx_pool[SIM_N_ENDS], *page_pool[SIM_N_ENDS];
	/* mbufs that somebody else has for a time */
	struct rte_mbuf *taken[SIM_N_ENDS][SIM_MBUFS];
	unsigned int n_taken[SIM_N_ENDS];
};

extern struct sim_ports sim_ports;

/* Empty an end's rings: what it sent goes on its way, what waits for it is gone. */
void sim_ports_drain(enum sim_end_id end);
/* All mbufs of an end that died: back into their pools, as a new process finds them. */
void sim_ports_refill(enum sim_end_id end);
void sim_ports_drought(enum sim_end_id end, bool on);

#endif
