/* SPDX-License-Identifier: BSD-3-Clause */
/* Frames are sealed before they go out, and the control lane's join them here. */
#include "send.h"

/* What a session leaves behind goes out no more: its keys are gone. */
static void
drop_unsealed(struct colo_sender *s)
{
	rte_pktmbuf_free_bulk(s->tx + s->n_sealed, s->n_tx - s->n_sealed);
	s->n_tx = s->n_sealed;
}

void
colo_seal(struct colo_sender *s)
{
	/* the control core may be ahead: its BEGIN waits until the session is adopted */
	if (s->id == 0 && s->session && s->n_tx <= COLO_BURST)
		s->n_tx += colo_lane_take(&s->end->lane, &s->template, &s->tx[s->n_tx], COLO_BURST);
	if (s->seal.core.device == NULL)
		s->n_sealed = s->n_tx;
	else if (!s->session)
		drop_unsealed(s);
	else if (!colo_seal_queue(&s->seal, s->tx, &s->n_sealed, s->n_tx, s->template.length))
		s->counters.n[COLO_tx_no_key]++;
}
