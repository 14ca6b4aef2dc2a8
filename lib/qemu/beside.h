/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * A process beside the primary, which outlives a killed one: what guardian and keeper share. It
 * holds one end of a socket pair (SOCK_SEQPACKET), the primary the other; reading its end tells it
 * when the primary is gone. It has a session of its own and ignores what ends everything else on
 * a terminal, and keeps no other descriptor, no working directory, nothing that others wait for.
 */
#ifndef COLO_QEMU_BESIDE_H
#define COLO_QEMU_BESIDE_H

#include <stdbool.h>

#include "colo_error.h"

/** What the process is. */
struct colo_beside {
	const char *name;  /**< as ps shows it, at most 15 bytes */
	bool keeps_stderr; /**< it may have something to say to whoever started the primary */
	/** Its life; the process ends when this returns. @p fd is its end of the socket pair. */
	void (*live)(int fd, void *arg);
};

/**
 * Start it. Main lcore, *before* rte_eal_init(): it forks, so there must be no other thread and no
 * hugepages mapped yet. It is nobody's child: nobody has to reap it.
 * @p confined: it gets by without capabilities, and with the system calls of COLO_SYSCALLS_BESIDE.
 * @return the primary's end of the socket pair, > 2, or -1 with @p err.
 */
int colo_beside_start(
	const struct colo_beside *what, void *arg, bool confined, struct colo_error *err);

#endif
