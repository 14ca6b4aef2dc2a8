/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * Where source `colo` waits for QEMU's `migrate`: a unix or TCP socket, and what it accepts.
 */
#ifndef COLO_SOURCE_COLO_LISTENER_H
#define COLO_SOURCE_COLO_LISTENER_H

#include <stdbool.h>
#include <stdint.h>

#include "colo_error.h"
#include "wait.h"

#define COLO_LISTENER_HOST_MAX 63u /**< bytes of a numeric address, without NUL */
#define COLO_LISTENER_NAME     128 /**< bytes of `name`, with NUL */

/** Made by the main lcore, then used by one thread. */
struct colo_listener {
	int fd; /**< non-blocking; -1: not open */
	bool is_unix;
	bool bound; /**< the path is ours to remove */
	uint16_t port;
	char path[COLO_UNIX_PATH_MAX + 1];
	char host[COLO_LISTENER_HOST_MAX + 1];
	char name[COLO_LISTENER_NAME]; /**< as it was given, and as QEMU's migrate takes it */
};

/** Take "unix:PATH", "tcp:ADDR:PORT" or "tcp:[ADDR]:PORT" apart. @return 0 or -1. */
int colo_listener_parse(struct colo_listener *l, const char *text);

/**
 * Bind and listen. A unix socket that nobody listens on any more is removed first; a new one is
 * for its owner only. Port 0: any, `name` then says which.
 * @return 0, or -1 with @p err.
 */
int colo_listener_open(struct colo_listener *l, struct colo_error *err);

/** Safe to call again. */
void colo_listener_close(struct colo_listener *l);

/** @return a non-blocking connection, or -1: there is none now. */
int colo_listener_accept(const struct colo_listener *l);

/** After a read: have TCP acknowledge at once, which it forgets by itself again and again. */
void colo_listener_quick_ack(const struct colo_listener *l, int fd);

#endif
