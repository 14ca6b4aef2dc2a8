/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * Keys of a session's seals, as a control core handles them: made when a session begins, renewed
 * before they are used up, wiped when it is over. Both state machines have one. Control core.
 */
#ifndef COLO_EPOCH_SEALS_H
#define COLO_EPOCH_SEALS_H

#include "gate.h"
#include "seal.h"
#include "session.h"

#define COLO_SEALS_LOOK_US 1000u /**< how often it is looked whether a key is used up */

struct colo_seals {
	struct colo_seal_keys keys; /**< keys.device NULL: frames are never sealed */
	uint8_t shift;		    /**< log2 of packets with one key; main lcore, before */
	bool on;		    /**< keys of a session are there */
	bool renewing;		    /**< a generation is retired, the gate is not passed yet */
	uint64_t looked_us;
	struct colo_error error; /**< valid when colo_seals_poll() fails */
};

/**
 * A session begins: keys from what it exports. No poll core is in a session.
 * @return 0, or -1 with @p err.
 */
int colo_seals_begin(
	struct colo_seals *s, const struct colo_session *session, struct colo_error *err);

/**
 * While a session is on: have the next keys ready. @p quiet: all poll cores have arrived at
 * @p gate. @return 0, or -1: the session cannot go on, see s->error.
 */
int colo_seals_poll(struct colo_seals *s, struct colo_gate *gate, bool quiet, uint64_t now_us);

/** No poll core is in a session any more: forget the keys. Does nothing if there are none. */
void colo_seals_end(struct colo_seals *s);

#endif
