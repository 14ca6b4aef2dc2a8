/* SPDX-License-Identifier: BSD-3-Clause */
/* Ports, their rings and their pools, used by one seed after the other. */
#include <stdio.h>
#include <stdlib.h>

#include <rte_eth_ring.h>
#include <rte_mbuf.h>
#include <rte_mbuf_pool_ops.h>

#include "sim.h"
#include "ports.h"
#include "wire.h"

#define ROOM (COLO_MTU_MAX + COLO_ETHER_LEN + 64 + RTE_PKTMBUF_HEADROOM)

struct sim_ports sim_ports;

static void
must(bool condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "colo-sim: cannot make %s\n", what);
	exit(1);
}

/* No cache, last in first out: few mbufs are in use, and those stay in the CPU's cache. */
static struct rte_mempool *
make_pool(const char *what, enum sim_end_id end, uint16_t priv, uint16_t room)
{
	char name[RTE_MEMPOOL_NAMESIZE];
	struct rte_mempool *pool;

	snprintf(name, sizeof(name), "sim_%s_%u", what, end);
	pool = rte_pktmbuf_pool_create_by_ops(
		name, SIM_MBUFS, 0, priv, room, SOCKET_ID_ANY, "stack");
	must(pool != NULL, name);
	return pool;
}

static struct rte_ring *
make_ring(const char *what, enum sim_end_id end, unsigned int queue)
{
	char name[RTE_RING_NAMESIZE];
	struct rte_ring *ring;

	snprintf(name, sizeof(name), "sim_%s_%u_%u", what, end, queue);
	ring = rte_ring_create(
		name, SIM_RING, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ | RING_F_EXACT_SZ);
	must(ring != NULL, name);
	return ring;
}

static void
start_port(enum sim_end_id end)
{
	struct rte_eth_conf conf = {0};
	char name[32];
	int id;

	snprintf(name, sizeof(name), "sim_%u", end);
	id = rte_eth_from_rings(name, sim_ports.in[end], SIM_MAX_CHANNELS, sim_ports.out[end],
		SIM_MAX_CHANNELS, SOCKET_ID_ANY);
	must(id >= 0, "a port");
	sim_ports.id[end] = (uint16_t)id;
	must(rte_eth_dev_configure(sim_ports.id[end], SIM_MAX_CHANNELS, SIM_MAX_CHANNELS, &conf) ==
			0,
		"a port's configuration");
	for (uint16_t q = 0; q < SIM_MAX_CHANNELS; q++)
		must(rte_eth_rx_queue_setup(sim_ports.id[end], q, SIM_RING, SOCKET_ID_ANY, NULL,
			     sim_ports.rx_pool[end]) == 0 &&
				rte_eth_tx_queue_setup(
					sim_ports.id[end], q, SIM_RING, SOCKET_ID_ANY, NULL) == 0,
			"a port's queues");
	must(rte_eth_dev_start(sim_ports.id[end]) == 0, "a port that starts");
}

void
sim_ports_make(void)
{
	for (enum sim_end_id end = 0; end < SIM_N_ENDS; end++) {
		for (unsigned int q = 0; q < SIM_MAX_CHANNELS; q++) {
			sim_ports.out[end][q] = make_ring("out", end, q);
			sim_ports.in[end][q] = make_ring("in", end, q);
		}
		sim_ports.rx_pool[end] = make_pool("rx", end, 0, ROOM);
		sim_ports.tx_pool[end] = make_pool("tx", end, 0, ROOM);
		sim_ports.page_pool[end] = make_pool(
			"page", end, RTE_ALIGN(COLO_PAGE_MBUF_PRIV, RTE_MBUF_PRIV_ALIGN), 0);
		start_port(end);
	}
}

static void
drain(struct rte_ring *ring)
{
	void *m;

	while (rte_ring_dequeue(ring, &m) == 0)
		rte_pktmbuf_free(m);
}

void
sim_ports_drain(enum sim_end_id end)
{
	for (unsigned int q = 0; q < SIM_MAX_CHANNELS; q++) {
		drain(sim_ports.out[end][q]);
		drain(sim_ports.in[end][q]);
	}
}

static void
forget_object(struct rte_mempool *pool, void *opaque, void *object, unsigned int i)
{
	rte_pktmbuf_init(pool, opaque, object, i);
	rte_mempool_put(pool, object);
}

static void
refill(struct rte_mempool *pool)
{
	void *object;

	while (rte_mempool_get(pool, &object) == 0)
		;
	rte_mempool_obj_iter(pool, forget_object, NULL);
}

void
sim_ports_refill(enum sim_end_id end)
{
	sim_ports_drain(end);
	sim_ports.n_taken[end] = 0;
	refill(sim_ports.rx_pool[end]);
	refill(sim_ports.tx_pool[end]);
	refill(sim_ports.page_pool[end]);
}

/* All that is free just now; a few come back only when it is over. */
void
sim_ports_drought(enum sim_end_id end, bool on)
{
	unsigned int *n = &sim_ports.n_taken[end];

	while (!on && *n > 0)
		rte_pktmbuf_free(sim_ports.taken[end][--*n]);
	while (on && *n < SIM_MBUFS) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(sim_ports.tx_pool[end]);

		if (m == NULL)
			break;
		sim_ports.taken[end][(*n)++] = m;
	}
}
