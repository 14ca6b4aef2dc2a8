/* SPDX-License-Identifier: BSD-3-Clause */
/* Lost slots are encoded again from the source: nothing was copied just to be able to do so. */
#include "send.h"

static bool
resend_slot(struct colo_sender *s, uint64_t slot_number)
{
	const struct colo_slot *slot = colo_send_window_at(&s->window, slot_number);
	struct colo_item items[COLO_MAX_RECORDS];
	uint8_t *out = s->zstd_again;

	for (unsigned int i = 0; i < slot->n_records; i++) {
		colo_pick_again(s, &slot->record[i], out, &items[i]);
		if (items[i].record.kind == COLO_RECORD_ZSTD)
			out += items[i].length;
	}
	/* asked for at once: what is resent is what the epoch waits for */
	return colo_encode(s, slot_number, items, slot->n_records, false, COLO_FLAG_ACK_NOW);
}

void
colo_resend(struct colo_sender *s)
{
	uint64_t slot;

	while (s->n_tx < COLO_BURST && colo_send_window_lost(&s->window, &slot)) {
		if (!resend_slot(s, slot))
			return;
		s->resent++;
		s->counters.n[COLO_tx_resent]++;
	}
}
