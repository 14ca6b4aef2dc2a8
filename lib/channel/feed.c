/* SPDX-License-Identifier: BSD-3-Clause */
/* Feed: its rings are made, emptied and freed. */
#include <stdio.h>
#include <string.h>

#include <rte_errno.h>

#include "feed.h"

int
colo_feed_init(struct colo_feed *f, unsigned int n_channels, struct colo_error *err)
{
	char name[RTE_RING_NAMESIZE];

	f->n_channels = n_channels;
	atomic_store_explicit(&f->closed, 0, memory_order_relaxed);
	for (unsigned int c = 0; c < n_channels; c++) {
		snprintf(name, sizeof(name), "colo_feed%u", c);
		f->ring[c] = rte_ring_create_elem(name, sizeof(struct colo_feed_page),
			COLO_FEED_RING, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
		if (f->ring[c] == NULL)
			return colo_error_set(err,
				"no memory for the feed of channel %u (%s): give EAL more with -m "
				"MB",
				c, rte_strerror(rte_errno));
	}
	return 0;
}

void
colo_feed_fini(struct colo_feed *f)
{
	for (unsigned int c = 0; c < COLO_MAX_CHANNELS; c++)
		rte_ring_free(f->ring[c]);
	memset(f, 0, sizeof(*f));
}

void
colo_feed_reset(struct colo_feed *f)
{
	for (unsigned int c = 0; c < f->n_channels; c++)
		rte_ring_reset(f->ring[c]);
	atomic_store_explicit(&f->closed, 0, memory_order_relaxed);
}
