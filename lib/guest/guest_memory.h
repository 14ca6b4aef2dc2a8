/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * A stretch of mapped memory: a named file that a QEMU maps too, or an unnamed one of our own.
 */
#ifndef COLO_GUEST_MEMORY_H
#define COLO_GUEST_MEMORY_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "colo_error.h"

/** Written at start by the main lcore, read-only for everyone afterwards. */
struct colo_memory {
	uint8_t *addr;	     /**< NULL: not mapped */
	uint64_t size;	     /**< bytes mapped, a multiple of page_size */
	uint64_t page_size;  /**< of the mapping: 4096, or the huge pages' */
	int fd;		     /**< the file's; -1: none */
	bool created;	     /**< the file is ours: colo_memory_free() removes it */
	char path[PATH_MAX]; /**< empty: unnamed */
};

/**
 * Map @p size bytes. With @p path: the file is opened, or created (0600) with that size; one that
 * is shorter is refused, and so is one whose file system lacks the room, and on hugetlbfs a name
 * with "map_" in it (DPDK removes such). Without: unnamed memory in 2 MiB pages if enough are free,
 * else in 4 KiB pages, and a warning says so; less than 2 MiB take 4 KiB pages. Preferably on @p
 * numa_node if it is >= 0. The address is a multiple of 2 MiB.
 * @return 0, or -1 with @p err filled. Main lcore, at start.
 */
int colo_memory_map(struct colo_memory *m, const char *path, uint64_t size, int numa_node,
	struct colo_error *err);

/**
 * Give all pages back to the host: the memory reads as zeros and costs nothing again. Huge pages
 * stay reserved for it. Bytes of a file beyond `size` are left alone.
 * @return 0, or -1 with @p err: huge pages were taken by another process meanwhile; do not touch
 * the memory then.
 */
int colo_memory_discard(struct colo_memory *m, struct colo_error *err);

/** Unmap; remove the file if it was created here, unless @p keep_file. */
void colo_memory_free(struct colo_memory *m, bool keep_file);

#endif
