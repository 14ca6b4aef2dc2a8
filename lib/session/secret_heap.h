/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * OpenSSL copies keys, and what it derives from them, into memory that it allocates. From the start
 * on all of that is one arena that is neither in core files nor swapped, and of a fixed size, so
 * that no caller can make it grow.
 */
#ifndef COLO_SESSION_SECRET_HEAP_H
#define COLO_SESSION_SECRET_HEAP_H

#include "colo_error.h"

#define COLO_SECRET_HEAP_SIZE \
	(16u << 20) /**< bytes; nine connections and OpenSSL itself need 3 MiB */

/**
 * Once, before anything else of OpenSSL is called, by the program. @return 0, or -1 with @p err:
 * it works as before, and keys may be in core files or be swapped out.
 */
int colo_secret_heap_start(struct colo_error *err);

#endif
