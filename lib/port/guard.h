/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * Bursts of a driver that shares memory with its peer's process. net_memif unmaps that memory on
 * EAL's interrupt thread as soon as the peer's process is gone, while a poll core may be copying
 * frames from or to it (DPDK 22.11): the peer's death would be ours, too. A guarded burst that
 * faults is given up instead.
 */
#ifndef COLO_PORT_GUARD_H
#define COLO_PORT_GUARD_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_ethdev.h>

/**
 * Catch SIGSEGV and SIGBUS. One outside of a guarded burst ends the process, as it would without.
 * Main lcore, at start.
 * @return 0, or -1 with errno.
 */
int colo_guard_install(void);

/**
 * rte_eth_rx_burst(). @p cut is counted up by one when the burst was given up; its frames and
 * mbufs, at most a burst's, are lost then. Any thread, once installed.
 */
uint16_t colo_guard_rx(
	uint16_t port, uint16_t queue, struct rte_mbuf **frames, uint16_t n, uint64_t *cut);

/** rte_eth_tx_burst(), likewise: all @p n frames count as sent when it was given up. */
uint16_t colo_guard_tx(
	uint16_t port, uint16_t queue, struct rte_mbuf **frames, uint16_t n, uint64_t *cut);

#endif
