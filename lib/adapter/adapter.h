/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * What stands between the secondary's guest memory and the guest that runs, or will run, on it.
 */
#ifndef COLO_ADAPTER_ADAPTER_H
#define COLO_ADAPTER_ADAPTER_H

#include <stdbool.h>
#include <stdint.h>

#include "block.h"
#include "colo_error.h"

enum colo_adapter_status {
	COLO_ADAPTER_IDLE = 0,
	COLO_ADAPTER_BUSY, /**< failover under way */
	COLO_ADAPTER_DONE, /**< the guest runs here */
	/** see error and may_run; failover may be tried again */
	COLO_ADAPTER_FAILED,
};

struct colo_adapter;

struct colo_adapter_ops {
	const char *name;
	/**
	 * Check @p spec, reach the standby, let it wait for the stream. Main lcore; may block for a
	 * bounded time. @return 0 or -1 with @p err.
	 */
	int (*start)(struct colo_adapter *a, const char *spec, struct colo_error *err);
	/**
	 * Let the standby take over from guest memory, which holds a committed and flushed epoch
	 * and does not change from now on. Control core; never blocks.
	 */
	void (*failover)(struct colo_adapter *a);
	/** Control core; never blocks. */
	enum colo_adapter_status (*poll)(struct colo_adapter *a);
	/** Main lcore, at the end. Bounded time. Safe to call twice. */
	void (*stop)(struct colo_adapter *a);
};

struct colo_adapter {
	const struct colo_adapter_ops *ops;
	struct colo_blocks *blocks; /**< secondary's; the last is the device state's */
	struct colo_error error;    /**< valid when poll() says FAILED */
	/** valid when FAILED: the standby may run the guest all the same; leave its memory alone */
	bool may_run;
	uint64_t takeover_us; /**< valid when DONE: from failover() to the standby's RESUME event */
	void *state;
};

extern const struct colo_adapter_ops colo_adapter_standby;

#endif
