/* SPDX-License-Identifier: BSD-3-Clause */
/** @file The control core's own side of control.h. */
#ifndef COLO_APP_CONTROL_CORE_H
#define COLO_APP_CONTROL_CORE_H

#include <stdatomic.h>

#include <rte_ring.h>
#include <rte_seqlock.h>

#include "control.h"
#include "ends.h"
#include "idle.h"
#include "poll_core.h"

#define COLO_REQUEST_RING 64u
#define COLO_EVENT_RING	  1024u

/** A view that can be read while it is written. */
struct colo_shared_view {
	rte_seqlock_t lock; /**< writer: control core */
	struct colo_view view;
	uint32_t blocks_seen; /**< control core: colo_blocks.changes of what follows */
	unsigned int n_blocks;
	struct colo_block_view block[COLO_MAX_BLOCKS];
};

struct colo_control {
	/* set by the main lcore before launch */
	unsigned int lcore;
	bool has_primary, has_secondary;
	bool auto_start;
	struct colo_primary_end *primary;
	struct colo_secondary_end *secondary;
	struct rte_ring *requests; /**< struct colo_request; main lcore -> control core */
	struct rte_ring *events;   /**< struct colo_event; control core -> main lcore */
	struct colo_notify notify;
	struct colo_poll_core *poll_cores; /**< for views */
	unsigned int n_poll_cores;
	_Atomic bool *stop;
	/* owner: control core */
	struct colo_idler idler;
	bool primary_ended, secondary_ended;
	int exit_status;
	bool quit_wanted;
	uint64_t events_lost;
	uint64_t view_us;
	/* written by the control core, read by anyone */
	struct colo_shared_view view[2]; /**< [0] primary, [1] secondary */
};

/** @return 0 or -1 with @p err. Main lcore. */
int colo_control_init(struct colo_control *c, struct colo_error *err);
void colo_control_fini(struct colo_control *c);

/** Show the blocks as they are before the control core runs. Main lcore, once. */
void colo_control_show_blocks(struct colo_control *c);

/** lcore_function_t: until *stop. @p arg is a struct colo_control. */
int colo_control_run(void *arg);

#endif
