/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * The guardian: a tiny process that outlives a killed primary for a moment, to let its guest run
 * again. Without it a SIGKILL in the middle of a checkpoint would leave the guest stopped, with
 * nobody to resume it.
 *
 * It holds one end of a socket pair. A primary that ends in order says so; when the socket just
 * closes, the guardian connects to the guest's QMP socket and sends `cont` if the guest is paused.
 */
#ifndef COLO_QEMU_GUARDIAN_H
#define COLO_QEMU_GUARDIAN_H

#include <stdbool.h>

#include "colo_error.h"

#define COLO_GUARDIAN_RETRY_MS 2000u /**< how long it tries to reach the QMP socket */

/**
 * Start the guardian of the guest at @p qmp_path. Main lcore, *before* rte_eal_init(): it forks,
 * so there must be no other thread and no hugepages mapped yet.
 * @return a handle > 2 for the calls below, or -1 with @p err.
 */
int colo_guardian_start(const char *qmp_path, bool confined, struct colo_error *err);

/**
 * Tell the guardian whether it is us who keep the guest stopped; then it resumes nothing that an
 * operator paused. If it is never told, it resumes a guest that is paused. Any one thread; does
 * not block. @p handle <= 0: no guardian, nothing is done.
 */
void colo_guardian_note(int handle, bool stopped_by_us);

/**
 * Tell the guardian of a file in a directory of its own: it removes both if the primary is killed.
 * Once, main lcore. @p path has less than COLO_PRIVATE_PATH_MAX bytes; @p handle <= 0: nothing.
 */
void colo_guardian_clean(int handle, const char *path);

/** Orderly end: the guest needs no help. Closes the handle; @p handle <= 0: nothing is done. */
void colo_guardian_release(int handle);

#endif
