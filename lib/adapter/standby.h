/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * State of adapter `standby`, shared by its two files: takeover.c (what is said to the standby's
 * QEMU) and standby.c (when, on a thread of its own).
 */
#ifndef COLO_ADAPTER_STANDBY_H
#define COLO_ADAPTER_STANDBY_H

#include <pthread.h>
#include <stdatomic.h>

#include "adapter.h"
#include "private_dir.h"
#include "qmp.h"

/* A block whose memory the standby shares, as it is at start: blocks move when a session begins. */
struct standby_memory {
	char name[COLO_BLOCK_NAME_MAX + 1];
	uint64_t size;
	char path[PATH_MAX];
};

#define STANDBY_BUFFER (256u << 10) /* bytes */

struct standby {
	/* main lcore in start(); read-only afterwards */
	struct standby_memory *memory; /* [n_memory] */
	unsigned int n_memory;
	struct colo_adapter *adapter;
	char path[COLO_UNIX_PATH_MAX + 1];     /* QMP socket */
	char incoming[COLO_UNIX_PATH_MAX + 1]; /* migration socket */
	bool asks_to_listen;		       /* incoming is ours: migrate-incoming makes it */
	struct colo_private_dir dir;
	int wake_fd; /* eventfd: there is something new in `wanted` or `quit` */
	pthread_t thread;
	bool thread_runs;

	/* the thread's (main lcore's before it starts) */
	uint8_t *buffer; /* [STANDBY_BUFFER] what is sent of pages at a time */
	struct colo_qmp qmp;
	bool ready;    /* it waits for the stream, and has not been sent any of it */
	uint32_t done; /* number of failovers carried out */

	/* control core writes, thread reads */
	_Atomic uint32_t wanted; /* number of failovers asked for */
	uint64_t asked_us;	 /* monotonic; published by wanted */
	/* thread writes, control core reads: number << 8 | enum colo_adapter_status */
	_Atomic uint64_t progress;
	struct colo_error failed; /* published by progress */
	bool sent;		  /* any of the stream; published by progress */
	uint64_t takeover_us;	  /* published by progress */
	_Atomic bool quit;	  /* main lcore writes, thread reads */
};

/**
 * Connect to the standby, check that it waits with our memory as its RAM, and let it listen: then
 * only the stream is missing (`ready`).
 * @return OK, or why not, with @p err and the connection closed.
 */
enum colo_outcome colo_standby_prepare(
	struct standby *s, int abort_fd, uint64_t deadline, struct colo_error *err);

/**
 * Send the stream and wait until the guest runs. `ready` stays true as long as nothing was sent.
 * @return OK, or why not, with @p err.
 */
enum colo_outcome colo_standby_take_over(struct standby *s, struct colo_error *err);

#endif
