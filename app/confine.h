/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * --privileges drop: what a set-up process gives away, and what it keeps for its driver.
 */
#ifndef COLO_APP_CONFINE_H
#define COLO_APP_CONFINE_H

#include "config.h"
#include "port.h"

/**
 * Drop what is not needed any more, and log what that was; a kernel that refuses gets one warning.
 * Main lcore, once everything but the loops of the lcores has been started. @p ports: those in use.
 */
void colo_confine(
	const struct colo_config *c, const struct colo_port *const *ports, unsigned int n);

#endif
