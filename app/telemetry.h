/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * Telemetry: /colo/epoch, /colo/channel and /colo/stats, for dpdk-telemetry.py and exporters.
 */
#ifndef COLO_APP_TELEMETRY_H
#define COLO_APP_TELEMETRY_H

#include "colo_error.h"
#include "control.h"

/**
 * Register the commands, once in a process. Main lcore.
 * @return 0, or -1 with @p err if telemetry takes them not.
 */
int colo_telemetry_start(
	const struct colo_control *control, unsigned int n_channels, struct colo_error *err);

/**
 * From here on the commands answer nothing, and nobody looks at the control core any more: it
 * may be freed. (Telemetry cannot unregister a command.) Main lcore.
 */
void colo_telemetry_stop(void);

#endif
