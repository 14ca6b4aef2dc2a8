/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * Free a guest whose migration peer is lost or hangs, by QMP with out-of-band commands: `yank`
 * closes the migration's sockets, also while QEMU's main loop waits for them; a migration that was
 * not in COLO state then fails by itself, and QEMU puts the guest back as it was; one in COLO state
 * also needs `x-colo-lost-heartbeat`, and the guest runs. docs/qemu.md has QEMU's states.
 *
 * A thread or process of its own: it waits.
 */
#ifndef COLO_QEMU_FREE_GUEST_H
#define COLO_QEMU_FREE_GUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "qmp.h"

/**
 * End the migration, whatever state it is in, and see that the guest does not stand still for it.
 * @p q was opened by colo_qmp_open_oob().
 * @p since_us: monotonic, when the migration was on already; our ends of its sockets are closed, so
 * that one which began later is another one and is left alone. 0: yank at once.
 * @return OK: there is no migration any more and the guest runs, or somebody else stopped it (an
 *         operator's `stop` outside of COLO state, a guest's own shutdown);
 *         TIMEOUT, with what to send by hand; GONE: QEMU is; ABORTED: q->abort_fd, call again.
 */
enum colo_outcome colo_free_guest(
	struct colo_qmp *q, uint64_t since_us, uint64_t deadline, struct colo_error *err);

/**
 * Ask whether the guest stands still for a migration, and not because somebody wants it to: a QEMU
 * that does not answer until @p deadline has its main loop blocked, which counts as well.
 * @return OK with @p stuck, GONE or ABORTED.
 */
enum colo_outcome colo_guest_is_stuck(
	struct colo_qmp *q, uint64_t deadline, bool *stuck, struct colo_error *err);

#endif
