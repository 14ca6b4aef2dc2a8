/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * What stands between the secondary's guest memory and the guest that runs, or will run, on it.
 *
 * | adapter  | the guest at the secondary                          | calls                      |
 * |----------|-----------------------------------------------------|----------------------------|
 * | standby  | waits; runs from the takeover on                    | failover                   |
 * | lockstep | runs between checkpoints; each commit rolls it back | step, guest, log, failover |
 */
#ifndef COLO_ADAPTER_ADAPTER_H
#define COLO_ADAPTER_ADAPTER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "block.h"
#include "colo_error.h"

enum colo_adapter_status {
	COLO_ADAPTER_IDLE = 0,
	COLO_ADAPTER_BUSY, /**< a step or failover is under way */
	COLO_ADAPTER_DONE, /**< the step is done; after failover: the guest runs here, alone */
	/** see error and may_run; the step or failover may be tried again */
	COLO_ADAPTER_FAILED,
};

/** What a guest that runs between checkpoints is asked for, one step at a time. */
enum colo_adapter_step {
	COLO_ADAPTER_PAUSE = 1, /**< it stands still, and all it wrote is in the dirty log */
	COLO_ADAPTER_LOAD,	/**< it takes the device state that guest memory's last block has */
	COLO_ADAPTER_RESUME,
};

/** Where such a guest stands, as far as is known. */
enum colo_adapter_guest {
	COLO_ADAPTER_GUEST_UNREACHABLE = 0, /**< nobody is there to ask */
	COLO_ADAPTER_GUEST_WAITING,	    /**< there is none yet: the first load makes it */
	COLO_ADAPTER_GUEST_RUNNING,
	COLO_ADAPTER_GUEST_PAUSED,
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
	 * and does not change from now on; or the guest that runs here go on alone. Control core;
	 * never blocks.
	 */
	void (*failover)(struct colo_adapter *a);
	/**
	 * Ask for @p step; none is under way. NULL: no guest runs here before the takeover. Control
	 * core; never blocks.
	 */
	void (*step)(struct colo_adapter *a, enum colo_adapter_step step, uint32_t epoch);
	/** NULL where step is. Control core; never blocks. */
	enum colo_adapter_guest (*guest)(struct colo_adapter *a);
	/** Of the last step or failover. Control core; never blocks. */
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
	/**
	 * Dirty log of each block, one bit a page, COLO_PIECE_WORDS words a piece; NULL: has none.
	 * Set by start(); the guest's hypervisor sets bits at any time, takes none back.
	 */
	_Atomic uint64_t *log[COLO_MAX_BLOCKS];
	void *state;
};

extern const struct colo_adapter_ops colo_adapter_standby;
extern const struct colo_adapter_ops colo_adapter_lockstep;

#endif
