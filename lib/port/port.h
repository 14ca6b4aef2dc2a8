/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * The ethdev port of one end: its queues, mempools, offloads and addresses. A channel has one
 * queue pair; the control lane shares the first channel's.
 */
#ifndef COLO_PORT_PORT_H
#define COLO_PORT_PORT_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include "bounds.h"
#include "colo_error.h"
#include "session.h"

/** Frames a poll core takes and gives at a time. */
#define COLO_BURST 32u

/** Made by the main lcore at start, read-only for poll cores afterwards. */
struct colo_port {
	uint16_t id;
	uint16_t n_queues;
	int socket; /**< NUMA node of the device, or SOCKET_ID_ANY */
	char driver[RTE_ETH_NAME_MAX_LEN];
	bool started;
	bool guarded; /**< bursts by guard.h: the driver's memory may go away */
	uint32_t mtu;
	uint16_t rxd, txd; /**< descriptors in force */
	bool zero_copy;	   /**< pages go out from where they lie */
	const char *no_zero_copy_why;
	uint64_t rss_offloads; /**< hash functions in force, 0: none */
	uint8_t rss_key[64];
	uint8_t rss_key_len;
	uint16_t reta_size;
	uint16_t reta[RTE_ETH_RSS_RETA_SIZE_512];
	struct rte_ether_addr mac;
	struct rte_mempool *rx_pool;
	struct rte_mempool
		*tx_pool; /**< headers; whole frames where pages are not sent from where they lie */
	struct rte_mempool *page_pool; /**< zero copy: mbufs that point into a block */
};

struct colo_port_spec {
	uint16_t id;
	uint16_t n_queues;
	uint32_t mtu;
	uint16_t rxd, txd;
	bool zero_copy;
	unsigned int window; /**< slots a channel may have outstanding */
};

/**
 * Configure and start the port; every limit of the driver is checked. Main lcore.
 * @return 0, or -1 with @p err. colo_port_stop() undoes it, also half-way.
 */
int colo_port_start(struct colo_port *p, const struct colo_port_spec *spec, struct colo_error *err);
void colo_port_stop(struct colo_port *p);

/** A crossed pair of net_ring ports with @p n_queues queues. @return 0 or -1 with @p err. */
int colo_port_pair(
	uint16_t n_queues, unsigned int entries, uint16_t ids[2], struct colo_error *err);

/** Let the port's device reach @p size bytes at @p addr (zero-copy transmit). 0 or -1. */
int colo_port_register(
	struct colo_port *p, void *addr, uint64_t size, uint64_t page_size, struct colo_error *err);
void colo_port_unregister(struct colo_port *p, void *addr, uint64_t size);

/**
 * This end's address: @p ip as given, or, where it is empty, 169.254.x.y made from the MAC.
 * @return 0 or -1 with @p err.
 */
int colo_port_address(const struct colo_port *p, const char *ip, uint16_t udp_port,
	struct colo_address *address, struct colo_error *err);

/** Room for the callback data of an mbuf that points into a block: its private area. */
#define COLO_PAGE_MBUF_PRIV sizeof(struct rte_mbuf_ext_shared_info)

#endif
