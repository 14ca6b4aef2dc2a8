/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * spin -> yield -> short sleep: two spinning cores on one CPU lose 54 % of their polls. Yields that
 * go on for a millisecond took a tenth of a checkpoint's CPU time on two CPUs (bench-qemu).
 */
#include <sched.h>
#include <time.h>

#include <rte_pause.h>

#include "idle.h"

#define SPIN_TURNS  16u /* about a microsecond */
#define YIELD_TURNS 32u /* tens of microseconds: who has work for this core may have a turn */
#define NAP_TURNS   64u /* some milliseconds; an epoch's gaps are shorter */
/* With a timer slack of 1 ns; bound how late work is seen, within an epoch and between two. */
#define NAP_NS	 30000L
#define SLEEP_NS 100000L

void
colo_idle(struct colo_idler *idler, bool worked)
{
	const uint32_t naps = SPIN_TURNS + YIELD_TURNS, sleeps = naps + NAP_TURNS;
	struct timespec nap = {.tv_nsec = NAP_NS};

	if (worked) {
		idler->turns = 0;
		return;
	}
	rte_pause();
	if (!idler->adaptive)
		return;
	if (idler->turns < sleeps)
		idler->turns++;
	if (idler->turns >= sleeps) /* many cores that nap on few CPUs would use them up */
		nap.tv_nsec = SLEEP_NS;
	if (idler->turns >= naps)
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
