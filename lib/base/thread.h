/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * Threads for what may block (a QEMU, a guest of our own): neither poll core nor control core.
 */
#ifndef COLO_BASE_THREAD_H
#define COLO_BASE_THREAD_H

#include <pthread.h>

#include "colo_error.h"

#define COLO_THREAD_NAME_MAX 15u /**< bytes, without NUL; longer names are cut */

/**
 * Start @p run(@p arg). It takes no signals, those are the main lcore's (but for
 * COLO_PRIVILEGES_SIGNAL), and runs where its creator may run. Main lcore, at start.
 * @return 0, or -1 with @p err.
 */
int colo_thread_start(pthread_t *thread, const char *name, void *(*run)(void *), void *arg,
	struct colo_error *err);

#endif
