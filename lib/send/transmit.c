/* SPDX-License-Identifier: BSD-3-Clause */
/* Frames to the driver; what it does not take now waits for the next turn. */
#include <string.h>

#include "guard.h"
#include "send.h"

bool
colo_transmit(struct colo_sender *s)
{
	uint16_t sent;

	if (s->n_sealed == 0)
		return false;
	if (s->end->port->guarded)
		sent = colo_guard_tx(
			s->end->port->id, s->id, s->tx, s->n_sealed, &s->counters.n[COLO_tx_cut]);
	else
		sent = rte_eth_tx_burst(s->end->port->id, s->id, s->tx, s->n_sealed);
	if (sent < s->n_sealed)
		s->counters.n[COLO_tx_ring_full]++;
	if (sent < s->n_tx)
		memmove(s->tx, s->tx + sent, (s->n_tx - sent) * sizeof(s->tx[0]));
	s->n_tx -= sent;
	s->n_sealed -= sent;
	return sent > 0;
}
