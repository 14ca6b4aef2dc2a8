/* SPDX-License-Identifier: BSD-3-Clause */
/* The guest that is protected: it writes pages while it runs, and must not stand still too long. */
#include <string.h>

#include "clock.h"
#include "sim.h"

static uint8_t *
page_of(uint32_t n)
{
	uint32_t page;
	unsigned int block = sim_block_of(n, &page);

	if (sim.config.source != SIM_TODO)
		return sim.guest.bytes + (uint64_t)n * COLO_PAGE_SIZE;
	return colo_page_addr(&sim.end[SIM_PRIMARY].blocks.block[block].guest, page);
}

static uint32_t
new_value(void)
{
	return sim_chance(150000) ? 0 : ++sim.guest.last_value;
}

/* Pages of memory; the device state is written when it stands still. */
static uint32_t
n_memory(void)
{
	return sim_n_pages() - sim.config.block_pages[sim.config.n_blocks - 1];
}

static void
write_page(uint32_t n)
{
	sim.guest.image.value[n] = new_value();
	sim.guest.dirty[n] = true;
	sim_page_make(sim.guest.image.value[n], page_of(n));
}

void
sim_guest_new(void)
{
	struct sim_guest *g = &sim.guest;

	memset(&g->image, 0, sizeof(g->image));
	g->running = true;
	g->gone = false;
	g->write_us = sim.now + sim.config.tick_us;
	if (sim.config.source != SIM_TODO && g->bytes == NULL)
		g->bytes = sim_memory_alloc((uint64_t)sim_n_pages() * COLO_PAGE_SIZE);
	for (uint32_t n = 0; n < sim_n_pages(); n++) {
		g->image.value[n] = new_value();
		g->dirty[n] = true;
		if (sim.config.source != SIM_TODO)
			sim_page_make(g->image.value[n], page_of(n));
	}
}

/* Often the same few, now and then a run of neighbours. */
void
sim_guest_write(unsigned int n)
{
	uint32_t all = n_memory(), at = (uint32_t)sim_below(all);

	for (unsigned int i = 0; i < n; i++) {
		at = sim_chance(400000) ? (at + 1) % all : (uint32_t)sim_below(all);
		write_page(at);
	}
}

/* What stands still has a device state. */
static void
write_device(void)
{
	for (uint32_t n = n_memory(); n < sim_n_pages(); n++)
		if (n == n_memory() || sim_chance(500000))
			write_page(n);
}

void
sim_guest_tick(void)
{
	struct sim_guest *g = &sim.guest;

	g->write_us = sim.now + sim_between(sim.config.tick_us / 2, sim.config.tick_us * 2ull);
	if (!g->running || g->gone || sim.config.source == SIM_TODO)
		return;
	sim_guest_write(1 + (unsigned int)sim_below(4));
}

/* Clocks go wrong by 5 % at most, and a turn of the control core may take its time. */
static uint64_t
pause_limit_us(void)
{
	uint64_t limit = sim.config.hold_ms[SIM_PRIMARY] * SIM_MS * 107 / 100 + 20 * SIM_MS;

	for (unsigned int i = 0; i < SIM_CORES; i++)
		if (sim.core[i].end == SIM_PRIMARY && sim.core[i].stalled_us > sim.now)
			limit += sim.core[i].stalled_us - sim.now;
	return limit;
}

void
sim_guest_pause(void)
{
	struct sim_guest *g = &sim.guest;
	struct colo_primary *p = &sim.primary.p;

	g->running = false;
	g->paused_us = sim.now;
	g->pause_limit_us = sim.now + pause_limit_us();
	atomic_store(&sim.primary.source.paused_tsc, sim_clock_us(SIM_PRIMARY));
	write_device();
	sim_model_capture(p->session_id, p->epoch);
	sim_trace("guest stands still for epoch %u of session %08x", p->epoch, p->session_id);
}

void
sim_guest_resume(void)
{
	struct sim_guest *g = &sim.guest;

	if (g->running)
		return;
	g->running = true;
	g->pause_limit_us = SIM_NEVER;
	g->longest_pause_us = RTE_MAX(g->longest_pause_us, sim.now - g->paused_us);
	sim_trace("guest runs after %.3f ms", (sim.now - g->paused_us) / 1000.0);
}
