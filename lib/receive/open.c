/* SPDX-License-Identifier: BSD-3-Clause */
/* The seal of a frame is opened, and what goes out is sealed. */
#include "receive.h"

enum colo_counter
colo_open(struct colo_receiver *r, struct colo_frame *f)
{
	return r->filter.sealed ? colo_seal_take(&r->seal, f) : COLO_FRAME_OK;
}

void
colo_open_seal(struct colo_receiver *r)
{
	if (r->seal.core.device == NULL) {
		r->n_sealed = r->n_tx;
	} else if (!r->session) { /* what a session leaves behind: its keys are gone */
		rte_pktmbuf_free_bulk(r->tx + r->n_sealed, r->n_tx - r->n_sealed);
		r->n_tx = r->n_sealed;
	} else if (!colo_seal_queue(&r->seal, r->tx, &r->n_sealed, r->n_tx, r->template.length)) {
		colo_receive_count(r, COLO_tx_no_key);
	}
}
