/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * What the process may still do once it is set up: capabilities, new privileges, rights of the
 * files it makes. Capabilities are each thread's own, so every thread drops them by itself, in the
 * handler of a signal; those of DPDK and its drivers included.
 */
#ifndef COLO_BASE_PRIVILEGES_H
#define COLO_BASE_PRIVILEGES_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>

#include "colo_error.h"

/** Interrupts each thread once; threads that block everything else must let it in. */
#define COLO_PRIVILEGES_SIGNAL (SIGRTMIN)

/** Bit of a capability CAP_... in the sets below. */
#define COLO_CAPABILITY(number) (1ull << (number))

/** What was done. Filled by colo_privileges_drop(). */
struct colo_privileges {
	uint64_t had;	      /**< capabilities that were permitted */
	uint64_t kept;	      /**< those that still are */
	unsigned int threads; /**< how many dropped them */
};

/**
 * Files, directories and sockets that are made from now on are their owner's alone. Main lcore,
 * before anything is made.
 */
void colo_privileges_private_files(void);

/**
 * All threads of the process: only capabilities in @p keep stay, in every set; no program that is
 * executed later gets more. Main lcore, once all threads that come with the start are there;
 * threads that come later inherit it. Waits for the others, 2 s at most. @return 0, or -1 with @p
 * err.
 */
int colo_privileges_drop(uint64_t keep, struct colo_privileges *done, struct colo_error *err);

/** The same for the calling thread alone. @return 0 or an errno. */
int colo_privileges_drop_own(uint64_t keep);

/** Names of the capabilities of @p set, as capabilities(7) has them; "none". @return @p text. */
const char *colo_privileges_names(uint64_t set, char *text, size_t size);

#endif
