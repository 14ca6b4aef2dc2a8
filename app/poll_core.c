/* SPDX-License-Identifier: BSD-3-Clause */
/* The loop of a poll core: its channels, a piece of work, and rest if there was none. */
#include "poll_core.h"

static bool
poll_jobs(struct colo_poll_core *c, struct colo_counters *counters)
{
	bool worked = false;

	if (c->receive_job != NULL)
		worked |= colo_job_poll(c->receive_job, counters);
	if (c->send_job != NULL)
		worked |= colo_job_poll(c->send_job, counters);
	return worked;
}

int
colo_poll_run(void *arg)
{
	struct colo_poll_core *c = arg;
	struct colo_counters *counters =
		c->n_receivers > 0 ? &c->receiver[0]->counters : &c->counters;

	while (!atomic_load_explicit(c->stop, memory_order_relaxed)) {
		bool worked = false;

		for (unsigned int i = 0; i < c->n_senders; i++)
			worked |= colo_send_poll(c->sender[i]);
		for (unsigned int i = 0; i < c->n_receivers; i++)
			worked |= colo_receive_poll(c->receiver[i]);
		if (poll_jobs(c, counters)) {
			worked = true;
			colo_idle_share(&c->idler);
		}
		colo_idle(&c->idler, worked);
	}
	return 0;
}
