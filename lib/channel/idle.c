/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * spin -> yield -> short sleep: two spinning cores on one CPU lose 54 % of their polls. Yields that
 * go on for a millisecond took a tenth of a checkpoint's CPU time on two CPUs (bench-qemu).
 */
#include <sched.h>
#include <time.h>

#include <rte_pause.h>

#include "idle.h"

#define SPIN_TURNS  16u	   /* about a microsecond */
#define YIELD_TURNS 32u	   /* tens of microseconds: who has work for this core may have a turn */
#define SLEEP_NS    30000L /* with a timer slack of 1 ns; bounds how late work is seen */

void
colo_idle(struct colo_idler *idler, bool worked)
{
	const struct timespec nap = {.tv_nsec = SLEEP_NS};

	if (worked) {
		idler->turns = 0;
		return;
	}
	rte_pause();
	if (!idler->adaptive)
		return;
	if (idler->turns < SPIN_TURNS + YIELD_TURNS)
		idler->turns++;
	if (idler->turns >= SPIN_TURNS + YIELD_TURNS)
		nanosleep(&nap, NULL);
	else if (idler->turns >= SPIN_TURNS)
		sched_yield();
}

void
colo_idle_share(struct colo_idler *idler)
{
	if (idler->adaptive)
		sched_yield();
}
