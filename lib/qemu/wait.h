/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * Waits that end: every one has a deadline and an out-of-band abort. For threads that talk to a
 * QEMU over unix sockets; never for a poll core or the control core.
 */
#ifndef COLO_QEMU_WAIT_H
#define COLO_QEMU_WAIT_H

#include <stddef.h>
#include <stdint.h>

#include "colo_error.h"

/** How something that waits for a QEMU can end. Only 0 is good. */
enum colo_outcome {
	COLO_OUTCOME_OK = 0,
	COLO_OUTCOME_REFUSED = -1, /**< QEMU answered with an error */
	COLO_OUTCOME_TIMEOUT = -2, /**< the deadline is over */
	COLO_OUTCOME_GONE = -3,	   /**< the other end is gone, or speaks nonsense */
	COLO_OUTCOME_ABORTED = -4, /**< abort_fd became readable */
};

#define COLO_NO_ABORT	   (-1) /**< an abort_fd that never ends a wait */
#define COLO_UNIX_PATH_MAX 107u /**< bytes of a unix socket's path, without NUL */

/** Monotonic clock, microseconds. */
uint64_t colo_monotonic_us(void);

/** @return the deadline that is @p ms milliseconds from now (monotonic microseconds). */
uint64_t colo_deadline(uint32_t ms);

/** @return milliseconds until @p deadline, rounded up; 0 once it is over. */
int colo_deadline_left(uint64_t deadline);

/**
 * Wait until @p fd (-1: none, just sleep) is ready for @p events (poll(2)), @p abort_fd is
 * readable, or the deadline is over.
 * @return OK (also for POLLERR and POLLHUP: the next read or write says why), TIMEOUT or ABORTED.
 */
enum colo_outcome colo_wait_fd(int fd, short events, int abort_fd, uint64_t deadline);

/**
 * Connect to the unix stream socket at @p path.
 * @param outcome  why it failed: REFUSED (no such socket, path too long), TIMEOUT or ABORTED
 * @return a non-blocking, close-on-exec descriptor, or -1 with @p outcome and @p err.
 */
int colo_unix_connect(const char *path, int abort_fd, uint64_t deadline, enum colo_outcome *outcome,
	struct colo_error *err);

/** Write all @p length bytes to the non-blocking socket @p fd. @return OK, TIMEOUT, GONE, ABORTED.
 */
enum colo_outcome colo_send_all(
	int fd, const void *bytes, size_t length, int abort_fd, uint64_t deadline);

#endif
