/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * The sync point at the secondary: has every channel placed every slot that the primary counted,
 * and do pages and digests agree? Control core.
 */
#ifndef COLO_EPOCH_SYNC_H
#define COLO_EPOCH_SYNC_H

#include "receive.h"
#include "wire.h"

/** END as it came, in host byte order. */
struct colo_sync {
	bool known;
	unsigned int n;
	struct {
		uint64_t end_slot, pages, digest;
	} end[COLO_MAX_CHANNELS];
};

/** Sums over all channels of the epoch that is open or was closed last. */
struct colo_sync_sums {
	uint64_t pages, zero_pages, wire_bytes, cum;
};

/** Take END's body. @return false if it does not fit the session. */
bool colo_sync_take(
	struct colo_sync *s, const struct colo_control_request *r, unsigned int n_channels);

/** @return true when every channel has placed all slots below its end. */
bool colo_sync_complete(const struct colo_sync *s, const struct colo_receive_end *end);

/** Every poll core has left the phase before. */
bool colo_sync_quiet(struct colo_receive_end *end);

/**
 * Do counts and digests agree? Only when complete and quiet: nothing changes any more.
 * @return enum colo_control_result, @p detail the channel that differs.
 */
enum colo_control_result colo_sync_check(
	const struct colo_sync *s, const struct colo_receive_end *end, uint8_t *detail);

void colo_sync_sum(const struct colo_receive_end *end, struct colo_sync_sums *sums);

#endif
