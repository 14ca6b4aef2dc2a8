/* SPDX-License-Identifier: BSD-3-Clause */
/* What everything stands on: the stream of random numbers, clocks, failure, trace. */
#include <stdarg.h>
#include <string.h>

#include "clock.h"
#include "sim.h"

struct sim sim;

/* SplitMix64 (public domain, S. Vigna). */
uint64_t
sim_random(void)
{
	uint64_t x = sim.random.state += 0x9e3779b97f4a7c15ull;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

uint64_t
sim_below(uint64_t n)
{
	return sim_random() % n;
}

uint64_t
sim_between(uint64_t lo, uint64_t hi)
{
	return lo + sim_below(hi - lo + 1);
}

bool
sim_chance(uint32_t ppm)
{
	return ppm != 0 && sim_below(1000000) < ppm;
}

uint64_t
sim_clock_us(enum sim_end_id end)
{
	int64_t drift = (int64_t)sim.now / 1000 * sim.config.clock_ppm[end] / 1000;

	return sim.config.clock_offset_us[end] + sim.now + (uint64_t)drift;
}

/* The library's clock, COLO_SIM_CLOCK. */
uint64_t
colo_sim_now_us(void)
{
	sim_hook();
	return sim_clock_us(sim.running);
}

void
sim_hook(void)
{
	struct sim_kill *k = &sim.kill;

	if (!k->inside || !k->armed || k->end != sim.running || --k->countdown != 0)
		return;
	k->armed = k->inside = false;
	siglongjmp(k->at, 1);
}

void
sim_fail(const char *format, ...)
{
	char why[sizeof(sim.failure)];
	va_list ap;

	va_start(ap, format);
	vsnprintf(why, sizeof(why), format, ap);
	va_end(ap);
	snprintf(sim.failure, sizeof(sim.failure),
		"at %.3f ms: %.600s (primary %s epoch %u, secondary %s epoch %u committed %u)",
		sim.now / 1000.0, why, colo_primary_state_name(sim.primary.p.state),
		sim.primary.p.epoch, colo_secondary_state_name(sim.secondary.s.state),
		sim.secondary.s.epoch, sim.secondary.s.committed);
	siglongjmp(sim.failed, 1);
}

void
sim_trace(const char *format, ...)
{
	va_list ap;

	if (!sim.trace)
		return;
	printf("%12.3f ms  ", sim.now / 1000.0);
	va_start(ap, format);
	vprintf(format, ap);
	va_end(ap);
	putchar('\n');
}

void
sim_note(uint64_t what)
{
	sim.digest = (sim.digest ^ what) * 0x100000001b3ull;
	sim.digest ^= sim.digest >> 29;
}
