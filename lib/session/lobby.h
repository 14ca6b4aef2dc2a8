/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * Connections that have not said enough yet. Whoever connects waits here, where it costs a file
 * descriptor and no buffer, so that a flood of silent ones does not keep out the one that speaks:
 * when all places are taken, the one that has been silent for longest has to go. One thread.
 */
#ifndef COLO_SESSION_LOBBY_H
#define COLO_SESSION_LOBBY_H

#include <stdbool.h>
#include <stdint.h>

#include "connection.h"

#define COLO_LOBBY_PLACES 256u
#define COLO_LOBBY_READY  16u /**< that colo_lobby_look() finds at a time */

struct colo_visitor {
	int fd;		   /**< -1: a free place */
	uint16_t needs;	   /**< bytes that it has to say to be called in */
	uint64_t since_ms; /**< accepted */
	char name[COLO_ENDPOINT_TEXT];
};

/** The visitors are in a ring by age: from `oldest` on, `n` places, some free again. */
struct colo_lobby {
	unsigned int oldest, n;
	struct colo_visitor visitor[COLO_LOBBY_PLACES];
	uint16_t ready[COLO_LOBBY_READY]; /**< places, from the last look */
	unsigned int n_ready;
};

/** Empty. */
void colo_lobby_init(struct colo_lobby *l);
void colo_lobby_close(struct colo_lobby *l);

/** Take in @p fd, which is the lobby's from now on. @return false: somebody had to go for it. */
bool colo_lobby_enter(
	struct colo_lobby *l, int fd, const char *name, uint16_t needs, uint64_t now_ms);
/** Find those who said what they need to, or hung up, the oldest first. Places stay valid until the
 * next enter or look. */
void colo_lobby_look(struct colo_lobby *l);
/** Out of the lobby with its socket, which is the caller's from now on. */
struct colo_visitor colo_lobby_leave(struct colo_lobby *l, unsigned int place);
/** Close the oldest if it came @p limit_ms ago or earlier; @p gone is a copy. @return true: so. */
bool colo_lobby_expire(
	struct colo_lobby *l, uint64_t now_ms, uint64_t limit_ms, struct colo_visitor *gone);

#endif
