/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * Packet numbers that were seen, so that a recorded frame is not believed a second time. As in
 * RFC 4303 (3.4.3): a sliding bitmap; what is older than it cannot be told from a replay and is
 * dropped. Legitimate packets that late are long declared lost, and were sent again under a newer
 * number. Owner: the poll core that opens the flow's frames.
 */
#ifndef COLO_CHANNEL_REPLAY_H
#define COLO_CHANNEL_REPLAY_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define COLO_REPLAY_WINDOW \
	8192u /**< packet numbers; a power of two, more than are ever outstanding */

struct colo_replay {
	uint64_t next; /**< largest packet number marked, + 1 */
	uint64_t seen[COLO_REPLAY_WINDOW / 64];
};

static inline void
colo_replay_reset(struct colo_replay *r)
{
	memset(r, 0, sizeof(*r));
}

/** @return true if @p packet_number was not marked yet, and is not too old to tell. */
static inline bool
colo_replay_is_fresh(const struct colo_replay *r, uint64_t packet_number)
{
	uint64_t i = packet_number % COLO_REPLAY_WINDOW;

	if (packet_number >= r->next)
		return packet_number != UINT64_MAX;
	if (r->next - packet_number > COLO_REPLAY_WINDOW)
		return false;
	return (r->seen[i / 64] >> (i % 64) & 1) == 0;
}

/** A fresh one was found genuine. */
static inline void
colo_replay_mark(struct colo_replay *r, uint64_t packet_number)
{
	uint64_t i = packet_number % COLO_REPLAY_WINDOW;

	if (packet_number >= r->next) {
		/* the numbers in between are unseen; at most one round of the ring is to be cleared
		 */
		uint64_t n = packet_number + 1 - r->next;

		for (uint64_t k = n < COLO_REPLAY_WINDOW ? n : COLO_REPLAY_WINDOW; k-- > 0;) {
			uint64_t at = (packet_number - k) % COLO_REPLAY_WINDOW;

			r->seen[at / 64] &= ~(1ull << (at % 64));
		}
		r->next = packet_number + 1;
	}
	r->seen[i / 64] |= 1ull << (i % 64);
}

#endif
