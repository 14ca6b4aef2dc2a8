/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * Asks a QEMU whether the RAM block we are told of is the file we are told of.
 */
#ifndef COLO_QEMU_MEMORY_BACKEND_H
#define COLO_QEMU_MEMORY_BACKEND_H

#include "colo_error.h"
#include "qmp.h"

#define COLO_MAX_BACKENDS 32u /**< memory backends of a QEMU that are looked at */

/**
 * Find the memory backend whose file is @p file and compare it with the block: named @p name,
 * @p size bytes, share=on. Where QMP cannot tell (a path that means something else to QEMU than to
 * us, too many backends), nothing is claimed.
 * @return OK (fits, or cannot be told); REFUSED with one sentence; or how the asking failed.
 */
enum colo_outcome colo_memory_backend_check(struct colo_qmp *q, const char *file, const char *name,
	uint64_t size, uint64_t deadline, struct colo_error *err);

#endif
