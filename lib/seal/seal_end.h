/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * Seals of one end of a channel: its poll core seals what goes out and opens what comes in, the
 * control lane's frames too where they pass through it (the first channel).
 */
#ifndef COLO_SEAL_SEAL_END_H
#define COLO_SEAL_SEAL_END_H

#include "counters.h"
#include "frame.h"
#include "replay.h"
#include "seal.h"

/** Owner: the channel's poll core; the flows' keys are the control core's. */
struct colo_seal_end {
	struct colo_seal_core core;
	struct colo_seal_flow tx, rx, lane_tx, lane_rx;
	struct colo_replay replay, lane_replay;
};

/** Enter the flows of a channel's end into @p keys. Main lcore, at start. */
void colo_seal_end_add(struct colo_seal_end *e, struct colo_seal_keys *keys, uint8_t channel,
	bool is_primary, uint16_t lane);

/** A session begins: forget the packet numbers of the one before. Poll core, at the gate. */
void colo_seal_end_adopt(struct colo_seal_end *e, uint8_t shift);

/**
 * Seal frames[*n_sealed .. n), in order, as far as there are keys. Poll core.
 * @p outer: bytes before colo_header. @return false if one has to wait (count tx_no_key).
 */
bool colo_seal_queue(struct colo_seal_end *e, struct rte_mbuf **frames, uint16_t *n_sealed,
	uint16_t n, uint32_t outer);

/**
 * Open a frame that passed colo_frame_check(). Poll core.
 * @return COLO_FRAME_OK, with f->head filled, or the counter of why it is dropped.
 */
enum colo_counter colo_seal_take(struct colo_seal_end *e, struct colo_frame *f);

#endif
