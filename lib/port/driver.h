/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * What drivers do besides what they say of themselves, in one place. Main lcore, at start.
 */
#ifndef COLO_PORT_DRIVER_H
#define COLO_PORT_DRIVER_H

#include "port.h"

bool colo_driver_is(const char *driver, const char *name);

/**
 * Needs nothing of the kernel once it is started but its sockets and memory: no capability, no
 * ioctl(2) of its own.
 */
bool colo_driver_is_software(const char *driver);

/** Says 1500 or 65535, carries any size that its rings or buffers have room for. */
bool colo_driver_carries_any(const char *driver);

/** Copies, or hands over, chained mbufs with external buffers, whatever it says. */
bool colo_driver_takes_chains(const char *driver, const struct rte_eth_dev_info *info);

/**
 * Value of @p key in the device's arguments (--vdev=NAME,key=value,...).
 * @return false if it is not given.
 */
bool colo_driver_argument(uint16_t id, const char *key, char *value, size_t size);

/** net_memif with zero-copy=yes: it breaks the link when pages are sent from guest memory. */
bool colo_driver_memif_zero_copy(uint16_t id);

/**
 * net_af_packet refuses an MTU of more than 1500, yet carries what its interface and its ring
 * have room for: are they large enough for the port's? @return 0 or -1 with @p err.
 */
int colo_driver_af_packet_check(
	const struct colo_port *p, const struct rte_eth_dev_info *info, struct colo_error *err);

#endif
