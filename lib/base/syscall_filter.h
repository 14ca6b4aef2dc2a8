/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * Which system calls the process may still make: a list of those that are allowed, by seccomp(2).
 * What is not on it fails with EPERM (clone3 with ENOSYS, so that libc takes clone), and the
 * kernel's audit log names it. Failing is preferred to being killed: a call that was forgotten
 * costs what it was for, not the guest's protection.
 */
#ifndef COLO_BASE_SYSCALL_FILTER_H
#define COLO_BASE_SYSCALL_FILTER_H

#include "colo_error.h"

enum colo_syscall_profile {
	COLO_SYSCALLS_SOFTWARE, /**< dpdk-colo on drivers that need nothing but sockets and memory
				 */
	COLO_SYSCALLS_HARDWARE, /**< ... on any other: ioctl(2) and sockets of every kind, too */
	COLO_SYSCALLS_BESIDE,	/**< guardian and keeper: one thread, unix sockets */
};

/**
 * For all threads of the process, for ever. Main lcore, after colo_privileges_drop().
 * @return number of system calls that are allowed, or -1 with @p err.
 */
int colo_syscall_filter(enum colo_syscall_profile profile, struct colo_error *err);

#endif
