/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * State of source `qmp`, shared by its two files: qmp_start.c (options, memory, first contact with
 * QEMU; main lcore) and qmp.c (requests, on a thread of their own).
 */
#ifndef COLO_SOURCE_QMP_SOURCE_H
#define COLO_SOURCE_QMP_SOURCE_H

#include <pthread.h>
#include <stdatomic.h>

#include "collect.h"
#include "private_dir.h"
#include "qmp.h"
#include "source.h"

struct qmp_source {
	/* main lcore in start(); read-only afterwards */
	struct colo_source *source;
	char path[COLO_UNIX_PATH_MAX + 1]; /* QMP socket */
	uint32_t step_ms;
	int ram_fd;
	uint8_t *ram; /* QEMU's memory file, read-only; NULL: not mapped */
	uint64_t ram_size;
	struct colo_private_dir dir; /* where QEMU saves its device state */
	char device_file[COLO_PRIVATE_PATH_MAX];
	uint8_t *device; /* [device_size] the thread reads that file into it */
	uint64_t device_size;
	int wake_fd; /* eventfd: there is something new in `wanted` or `quit` */
	pthread_t thread;
	bool thread_runs;

	/* see colo_collect for who writes what */
	struct colo_collect collect;

	/* the thread's (main lcore's before it starts) */
	struct colo_qmp qmp;
	bool stopped_by_us; /* the guest, or it may be; then we owe it a `cont` */
	uint32_t done;	    /* sequence of the last request carried out */
	uint32_t rings;	    /* of wake_fd, heard so far: one for each request, one to quit */

	/* control core writes, thread reads: sequence << 8 | enum colo_source_request */
	_Atomic uint64_t wanted;
	/* thread writes, control core reads: sequence << 8 | enum colo_source_status */
	_Atomic uint64_t progress;
	struct colo_error failed; /* published by progress */
	_Atomic bool gone;
	struct colo_error gone_why; /* published by gone */
	_Atomic bool quit;	    /* main lcore writes, thread reads */

	/* control core's */
	bool told_collect; /* poll() has said COLLECT for this request */
};

/**
 * Check @p args and the block, map QEMU's memory file, connect, add the blocks and what a device
 * state needs. All that start() does but for the thread.
 * @return 0, or -1 with @p err; colo_qmp_source_free() cleans up in either case.
 */
int colo_qmp_source_prepare(struct qmp_source *q, const char *args, struct colo_error *err);

/** Close, unmap, remove and free everything; the thread has ended. */
void colo_qmp_source_free(struct qmp_source *q);

#endif
