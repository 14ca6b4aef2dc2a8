/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * The keeper: a process beside a primary whose QEMU streams COLO to it (source `colo` with qmp=).
 * It keeps a QMP connection with out-of-band commands, so that it can free the guest even while
 * QEMU's main loop waits for us: `yank` of the migration, then `x-colo-lost-heartbeat`. It does so
 * when it is asked, when the primary is killed while a stream is on, and when the guest stands
 * still longer than --hold allows, for instance because the primary hangs (SIGSTOP).
 *
 * The guest is freed if it runs afterwards; a guest that is not in COLO state is left as it is.
 */
#ifndef COLO_QEMU_KEEPER_H
#define COLO_QEMU_KEEPER_H

#include <stdbool.h>
#include <stdint.h>

#include "colo_error.h"

/**
 * Start the keeper of the guest at @p qmp_path (a unix socket). Nothing is connected yet. Main
 * lcore, *before* rte_eal_init(): it forks.
 * @p hold_ms: how long the guest may stand still before the keeper frees it by itself.
 * @return a handle > 2 for the calls below, or -1 with @p err.
 */
int colo_keeper_start(
	const char *qmp_path, uint32_t hold_ms, bool confined, struct colo_error *err);

/*
 * The calls below: one thread, the source's. @p handle <= 0: no keeper, nothing is done, 0.
 */

/**
 * A stream begins: connect to QMP and negotiate, if that is not done yet; from now on a killed
 * primary's guest is freed. Waits up to @p timeout_ms.
 * @return 0, or -1 with @p err: the keeper could not free the guest.
 */
int colo_keeper_watch(int handle, uint32_t timeout_ms, struct colo_error *err);

/** The guest stands still from now on (true), or was let go (false). Does not block. */
void colo_keeper_paused(int handle, bool paused);

/**
 * Free the guest now: it runs on, not in COLO state. Waits up to @p timeout_ms. The stream is over
 * for the keeper, whatever comes of it; its sockets are closed. A migration that QEMU has begun
 * after the stream is left alone.
 * @return 0 (also when the guest ran, in no migration, before), or -1 with @p err: what to send to
 * QEMU by hand.
 */
int colo_keeper_free(int handle, uint32_t timeout_ms, struct colo_error *err);

/**
 * Ask whether the guest's QEMU has gone, after something that looks like it. Waits up to
 * @p timeout_ms. @return true: its QMP socket is closed; false also if that is not known.
 */
bool colo_keeper_gone(int handle, uint32_t timeout_ms);

/** The stream ended by itself and the guest needs no help. Does not block. */
void colo_keeper_unwatch(int handle);

/** Orderly end of the program. Closes the handle. */
void colo_keeper_end(int handle);

#endif
