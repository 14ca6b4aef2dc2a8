/* SPDX-License-Identifier: BSD-3-Clause */
/** @file Microseconds from the time-stamp counter: no system call, for every core. */
#ifndef COLO_CHANNEL_CLOCK_H
#define COLO_CHANNEL_CLOCK_H

#include <stdint.h>

#include <rte_cycles.h>

#ifdef COLO_SIM_CLOCK
/* In tests/sim time is what the simulation says: of the end that runs just now, a tick is 1 us. */
uint64_t colo_sim_now_us(void);

static inline uint64_t
colo_tsc_us(uint64_t tsc)
{
	return tsc;
}

static inline uint64_t
colo_now_us(void)
{
	return colo_sim_now_us();
}
#else
static inline uint64_t
colo_tsc_us(uint64_t tsc)
{
	uint64_t hz = rte_get_tsc_hz();

	return tsc / hz * 1000000 + tsc % hz * 1000000 / hz;
}

/** Monotonic; the same on all cores of a host (invariant TSC), unrelated between hosts. */
static inline uint64_t
colo_now_us(void)
{
	return colo_tsc_us(rte_rdtsc());
}
#endif

#endif
