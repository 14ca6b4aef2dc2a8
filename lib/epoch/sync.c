/* SPDX-License-Identifier: BSD-3-Clause */
/* Every packet of the epoch on every channel has been placed, and counts and digests agree. */
#include <string.h>

#include "sync.h"

bool
colo_sync_take(struct colo_sync *s, const struct colo_control_request *r, unsigned int n_channels)
{
	if (r->n != n_channels)
		return false;
	s->known = true;
	s->n = n_channels;
	for (unsigned int c = 0; c < n_channels; c++) {
		s->end[c].end_slot = rte_be_to_cpu_64(r->end[c].end_slot);
		s->end[c].pages = rte_be_to_cpu_64(r->end[c].pages);
		s->end[c].digest = rte_be_to_cpu_64(r->end[c].digest);
	}
	return true;
}

bool
colo_sync_complete(const struct colo_sync *s, const struct colo_receive_end *end)
{
	if (!s->known)
		return false;
	for (unsigned int c = 0; c < s->n; c++) {
		/* pairs with the store-release in colo_record_publish() */
		uint64_t cum =
			atomic_load_explicit(&end->channel[c]->progress.cum, memory_order_acquire);

		if (cum < s->end[c].end_slot)
			return false;
	}
	return true;
}

bool
colo_sync_quiet(struct colo_receive_end *end)
{
	for (unsigned int c = 0; c < end->n_channels; c++)
		if (!colo_gate_arrived(&end->gate, &end->channel[c]->seat))
			return false;
	return true;
}

enum colo_control_result
colo_sync_check(const struct colo_sync *s, const struct colo_receive_end *end, uint8_t *detail)
{
	for (unsigned int c = 0; c < s->n; c++) {
		const struct colo_receive_progress *p = &end->channel[c]->progress;

		*detail = c;
		if (atomic_load_explicit(&p->cum, memory_order_acquire) != s->end[c].end_slot)
			return COLO_RESULT_COUNT;
		if (atomic_load_explicit(&p->pages, memory_order_relaxed) != s->end[c].pages)
			return COLO_RESULT_COUNT;
		if (atomic_load_explicit(&p->digest, memory_order_relaxed) != s->end[c].digest)
			return COLO_RESULT_DIGEST;
	}
	*detail = 0;
	return COLO_RESULT_OK;
}

void
colo_sync_sum(const struct colo_receive_end *end, struct colo_sync_sums *sums)
{
	memset(sums, 0, sizeof(*sums));
	for (unsigned int c = 0; c < end->n_channels; c++) {
		const struct colo_receive_progress *p = &end->channel[c]->progress;

		sums->cum += atomic_load_explicit(&p->cum, memory_order_acquire);
		sums->pages += atomic_load_explicit(&p->pages, memory_order_relaxed);
		sums->zero_pages += atomic_load_explicit(&p->zero_pages, memory_order_relaxed);
		sums->wire_bytes += atomic_load_explicit(&p->wire_bytes, memory_order_relaxed);
	}
}
