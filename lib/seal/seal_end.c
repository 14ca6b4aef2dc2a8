/* SPDX-License-Identifier: BSD-3-Clause */
/* A channel's end: which flow a frame belongs to, replays, frames in a queue. Poll cores. */
#include "seal_end.h"

void
colo_seal_end_add(struct colo_seal_end *e, struct colo_seal_keys *keys, uint8_t channel,
	bool is_primary, uint16_t lane)
{
	e->core.device = keys->device;
	e->core.lane = lane;
	colo_seal_keys_add(
		keys, &e->tx, is_primary ? COLO_SEAL_PAGES : COLO_SEAL_FEEDBACK, channel, true);
	colo_seal_keys_add(
		keys, &e->rx, is_primary ? COLO_SEAL_FEEDBACK : COLO_SEAL_PAGES, channel, false);
	if (channel != 0)
		return;
	colo_seal_keys_add(
		keys, &e->lane_tx, is_primary ? COLO_SEAL_REQUESTS : COLO_SEAL_REPLIES, 0, true);
	colo_seal_keys_add(
		keys, &e->lane_rx, is_primary ? COLO_SEAL_REPLIES : COLO_SEAL_REQUESTS, 0, false);
}

void
colo_seal_end_adopt(struct colo_seal_end *e, uint8_t shift)
{
	e->core.shift = shift;
	colo_replay_reset(&e->replay);
	colo_replay_reset(&e->lane_replay);
}

bool
colo_seal_queue(struct colo_seal_end *e, struct rte_mbuf **frames, uint16_t *n_sealed, uint16_t n,
	uint32_t outer)
{
	for (; *n_sealed < n; (*n_sealed)++) {
		struct rte_mbuf *m = frames[*n_sealed];
		const struct colo_header *h =
			rte_pktmbuf_mtod_offset(m, const struct colo_header *, outer);
		struct colo_seal_flow *f = h->type == COLO_FRAME_CONTROL ? &e->lane_tx : &e->tx;

		if (!colo_seal_frame(&e->core, f, m, outer))
			return false;
	}
	return true;
}

enum colo_counter
colo_seal_take(struct colo_seal_end *e, struct colo_frame *f)
{
	bool control = f->type == COLO_FRAME_CONTROL;
	struct colo_replay *replay = control ? &e->lane_replay : &e->replay;

	/* before anything is spent on it */
	if (!colo_replay_is_fresh(replay, f->packet_number))
		return COLO_drop_replay;
	if (!colo_seal_open(&e->core, control ? &e->lane_rx : &e->rx, f->mbuf, f->payload,
		    f->length + COLO_SEAL_TAG_LEN))
		return COLO_drop_seal;
	colo_replay_mark(replay, f->packet_number);
	return colo_frame_opened(f) ? COLO_FRAME_OK : COLO_drop_length;
}
