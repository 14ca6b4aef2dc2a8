/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * The control lane: few, small frames, in order, between the two control cores. The primary asks,
 * the secondary answers; stop and wait, asked again after a probe timeout. Its frames use the first
 * channel's queue pair, so the control core hands them to that poll core and gets what came from
 * any of them by rings.
 */
#ifndef COLO_CHANNEL_LANE_H
#define COLO_CHANNEL_LANE_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_ring.h>

#include "frame.h"
#include "window.h"

#define COLO_LANE_RING 256u /**< frames; more are dropped and counted, and asked for again */

/** Between the control core and the poll cores of one end. Made at start. */
struct colo_lane_rings {
	struct rte_ring *tx; /**< control core -> first channel's poll core; mbufs */
	struct rte_ring *rx; /**< any poll core -> control core; checked frames' mbufs */
};

/**
 * Frames of the control core that go out now; those of a session before @p t's are dropped: sealed
 * with the keys of this one they would use its packet numbers twice. First channel's poll core,
 * once it has adopted the session: the control core may be ahead of it.
 * @return how many, up to @p n, are in @p to.
 */
uint16_t colo_lane_take(struct colo_lane_rings *rings, const struct colo_frame_template *t,
	struct rte_mbuf **to, uint16_t n);

/** Of one kind of request: BEGIN waits for a flush, and tells nothing about END. */
struct colo_lane_rtt {
	uint32_t srtt_us, rttvar_us;
};

/** Primary's side. Owner: control core. */
struct colo_lane {
	struct colo_lane_rings *rings;
	struct rte_mempool *pool;
	struct colo_frame_template template;
	uint64_t next_packet;
	uint32_t sequence; /**< of the request that waits, or of the last */
	bool waiting;
	uint16_t length;
	uint64_t sent_us;
	uint32_t tries;
	struct colo_lane_rtt rtt[COLO_CONTROL_VERIFY + 1]; /* [enum colo_control_op] */
	uint64_t resent;				   /**< counted */
	uint8_t request[COLO_CONTROL_REQUEST_MAX];
};

void colo_lane_init(struct colo_lane *l, struct colo_lane_rings *rings, struct rte_mempool *pool,
	const struct colo_frame_template *t);

/** Ask. @p request's sequence is filled in. One at a time. */
void colo_lane_ask(struct colo_lane *l, struct colo_control_request *request, uint16_t length,
	uint64_t now_us);

/** Ask again if the answer is overdue. Call every turn. */
void colo_lane_timer(struct colo_lane *l, uint64_t now_us);

/**
 * Take a checked control frame. @return true if it answers the request that waits; @p reply is
 * filled then, in host byte order.
 */
bool colo_lane_answer(struct colo_lane *l, const struct colo_frame *f,
	struct colo_control_reply *reply, uint64_t now_us);

/**
 * Has a checked control frame the shape of a request (or of an answer)? Before the control core's
 * ring: what has not does not take room there. Poll cores.
 */
bool colo_lane_legal(const struct colo_frame *f, bool request);

/** Secondary's side. Owner: control core. */
struct colo_lane_server {
	struct colo_lane_rings *rings;
	struct rte_mempool *pool;
	struct colo_frame_template template;
	uint64_t next_packet;
	uint32_t sequence; /**< last request taken */
	bool answered;	   /**< ... and answered: `reply` is sent again if it is asked again */
	struct colo_control_reply reply;
	uint64_t asked_again; /**< counted */
};

void colo_lane_server_init(struct colo_lane_server *l, struct colo_lane_rings *rings,
	struct rte_mempool *pool, const struct colo_frame_template *t);

/** @return the request if it is a new and well-formed one, NULL if not. */
const struct colo_control_request *colo_lane_server_take(
	struct colo_lane_server *l, const struct colo_frame *f);

/** Answer the last request taken; @p reply in host byte order, sequence is filled in. */
void colo_lane_server_answer(struct colo_lane_server *l, const struct colo_control_reply *reply);

#endif
