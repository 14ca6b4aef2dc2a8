/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * A temporary directory that only we (and root) may enter, for what we exchange with a QEMU by
 * name: under $TMPDIR, else /tmp. Main lcore.
 */
#ifndef COLO_QEMU_PRIVATE_DIR_H
#define COLO_QEMU_PRIVATE_DIR_H

#include <stddef.h>

#include "colo_error.h"

#define COLO_PRIVATE_PATH_MAX 1024u /**< bytes of a path in it, with NUL */

struct colo_private_dir {
	char path[COLO_PRIVATE_PATH_MAX]; /**< empty: none */
};

/** Make it, mode 0700. @return 0, or -1 with @p err. */
int colo_private_dir_make(struct colo_private_dir *d, struct colo_error *err);

/** The path of @p name in it. @return 0, or -1 with @p err if it has @p size bytes or more. */
int colo_private_dir_path(const struct colo_private_dir *d, const char *name, char *path,
	size_t size, struct colo_error *err);

/** Remove it; the caller has removed what is in it. Safe to call again. */
void colo_private_dir_remove(struct colo_private_dir *d);

#endif
