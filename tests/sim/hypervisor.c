/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A hypervisor as docs/lockstep.md wants it, with a guest that writes: first the log, then the
 * page. At each load guest memory must be the checkpoint, whatever the guest has done to it.
 */
#include <string.h>

#include "hypervisor.h"

#define LOG_WORDS (2 * COLO_PIECE_WORDS) /* of the largest block */

static _Atomic uint64_t dirty_log[SIM_MAX_BLOCKS][LOG_WORDS];

static struct sim_hypervisor *
it(void)
{
	return &sim.hypervisor;
}

void
sim_hypervisor_begin(struct colo_adapter *a)
{
	struct sim_hypervisor *h = it();

	memset(h, 0, sizeof(*h));
	memset(dirty_log, 0, sizeof(dirty_log));
	h->guest = COLO_ADAPTER_GUEST_WAITING;
	h->write_us = sim.now + sim.config.tick_us;
	h->back_us = SIM_NEVER;
	for (unsigned int i = 0; i + 1 < sim.config.n_blocks; i++)
		a->log[i] = dirty_log[i];
}

/* Guest memory is what the guest there last made of it. */
static void
check_memory(const char *when)
{
	if (it()->knows)
		sim_model_compare(&it()->image, false, when);
}

/* ---- what the control core asks for ---- */

static void
ask(unsigned int step)
{
	struct sim_hypervisor *h = it();

	sim_hook();
	SIM_CHECK(!h->busy, "the adapter is asked for a step while another is under way");
	h->busy = true;
	h->asked = step;
	h->at_us = sim.now +
		   (sim_chance(50000) && !sim.calm ? sim_below(100 * SIM_MS) : sim_between(5, 500));
}

static const struct sim_checkpoint *
committed(void)
{
	const struct sim_model *m = &sim.model;

	return m->committed.epoch != 0 ? &m->committed : &m->held;
}

static void
step(struct colo_adapter *a, enum colo_adapter_step what, uint32_t epoch)
{
	struct sim_hypervisor *h = it();

	(void)a;
	ask(what);
	if (what != COLO_ADAPTER_LOAD) {
		SIM_CHECK(what == COLO_ADAPTER_PAUSE || h->guest != COLO_ADAPTER_GUEST_WAITING,
			"a guest that was never loaded is let go");
		return;
	}
	SIM_CHECK(epoch != 0 && epoch == committed()->epoch,
		"load of checkpoint %u, committed is %u", epoch, committed()->epoch);
	SIM_CHECK(h->guest != COLO_ADAPTER_GUEST_RUNNING, "a load under a guest that runs");
	sim_model_compare(&committed()->image, false, "load");
	h->loads = epoch;
	h->image = committed()->image;
	h->knows = true;
}

static void
failover(struct colo_adapter *a)
{
	const struct sim_hypervisor *h = it();

	(void)a;
	ask(0);
	SIM_COUNT(takeovers);
	SIM_CHECK(h->guest != COLO_ADAPTER_GUEST_WAITING,
		"a takeover by a hypervisor that has no guest");
}

static void
carry_out(struct sim_hypervisor *h)
{
	switch (h->asked) {
	case COLO_ADAPTER_PAUSE:
		if (h->guest == COLO_ADAPTER_GUEST_RUNNING)
			h->guest = COLO_ADAPTER_GUEST_PAUSED;
		break;
	case COLO_ADAPTER_LOAD:
		h->guest = COLO_ADAPTER_GUEST_PAUSED;
		h->epoch = h->loads;
		break;
	default:
		check_memory("let go");
		SIM_CHECK(h->asked != 0 || h->epoch == committed()->epoch,
			"a takeover by a guest that goes on from checkpoint %u, committed is %u",
			h->epoch, committed()->epoch);
		h->guest = COLO_ADAPTER_GUEST_RUNNING;
	}
}

static enum colo_adapter_status
poll_status(struct colo_adapter *a)
{
	struct sim_hypervisor *h = it();

	if (!h->busy)
		return COLO_ADAPTER_DONE;
	if (h->guest != COLO_ADAPTER_GUEST_UNREACHABLE && sim.now < h->at_us)
		return COLO_ADAPTER_BUSY;
	h->busy = false;
	/* one that came anew, after the control core looked, has no guest to let go */
	if (h->guest == COLO_ADAPTER_GUEST_WAITING &&
		(h->asked == 0 || h->asked == COLO_ADAPTER_RESUME))
		h->fails = true;
	if (h->guest == COLO_ADAPTER_GUEST_UNREACHABLE || h->fails) {
		h->fails = false;
		colo_error_set(&a->error, "the step fails on purpose");
		return COLO_ADAPTER_FAILED;
	}
	carry_out(h);
	return COLO_ADAPTER_DONE;
}

static enum colo_adapter_guest
guest(struct colo_adapter *a)
{
	(void)a;
	return it()->guest;
}

const struct colo_adapter_ops sim_hypervisor_ops = {.name = "sim-lockstep",
	.failover = failover,
	.step = step,
	.guest = guest,
	.poll = poll_status};

/* ---- the guest ---- */

static void
write_page(uint32_t n)
{
	struct sim_hypervisor *h = it();
	uint32_t page;
	unsigned int block = sim_block_of(n, &page);
	struct colo_memory *m = &sim.end[SIM_SECONDARY].blocks.block[block].guest;

	atomic_fetch_or(&dirty_log[block][page / 64], 1ull << page % 64);
	h->image.value[n] = sim_chance(150000) ? 0 : 0x80000000u | (uint32_t)sim_random();
	sim_memory_protect(m, false);
	sim_page_make(h->image.value[n], colo_page_addr(m, page));
	sim_memory_protect(m, sim.secondary.guest_locked);
}

void
sim_hypervisor_tick(void)
{
	struct sim_hypervisor *h = it();
	uint32_t memory = sim_n_pages() - sim.config.block_pages[sim.config.n_blocks - 1];
	bool runs = h->guest == COLO_ADAPTER_GUEST_RUNNING ||
		    (h->guest == COLO_ADAPTER_GUEST_UNREACHABLE &&
			    h->before == COLO_ADAPTER_GUEST_RUNNING);

	h->write_us = sim.now + sim_between(sim.config.tick_us / 2, sim.config.tick_us * 2ull);
	if (sim.now >= h->back_us) {
		h->back_us = SIM_NEVER;
		h->guest = h->before;
	}
	for (unsigned int n = runs && h->knows ? (unsigned int)sim_below(5) : 0; n > 0; n--)
		write_page((uint32_t)sim_below(memory));
}

/* ---- mishaps ---- */

static void
go_away(void)
{
	struct sim_hypervisor *h = it();

	if (h->guest == COLO_ADAPTER_GUEST_UNREACHABLE)
		return;
	h->before = h->guest;
	h->guest = COLO_ADAPTER_GUEST_UNREACHABLE;
	h->back_us = sim.now + sim_below(200 * SIM_MS);
	/* another one, which has no guest yet; what the last one wrote is in the log */
	if (sim_chance(500000)) {
		h->before = COLO_ADAPTER_GUEST_WAITING;
		h->epoch = 0;
	}
	sim_trace("the hypervisor goes away");
}

void
sim_hypervisor_mishap(void)
{
	if (!sim.end[SIM_SECONDARY].up || sim.secondary.s.state >= COLO_SECONDARY_FAILING_OVER)
		return;
	SIM_COUNT(hypervisors);
	if (sim_chance(500000))
		go_away();
	else
		it()->fails = true;
}

void
sim_hypervisor_calm(void)
{
	struct sim_hypervisor *h = it();

	h->fails = false;
	if (h->guest == COLO_ADAPTER_GUEST_UNREACHABLE)
		h->guest = h->before;
	h->back_us = SIM_NEVER;
}

/* ---- what must hold ---- */

void
sim_hypervisor_emptied(void)
{
	SIM_CHECK(it()->guest != COLO_ADAPTER_GUEST_RUNNING,
		"memory was emptied under a guest that runs");
	it()->knows = false;
	it()->epoch = 0;
}

void
sim_hypervisor_check(void)
{
	const struct colo_secondary *s = &sim.secondary.s;
	struct sim_hypervisor *h = it();

	SIM_CHECK(s->state != COLO_SECONDARY_FLUSHING || h->guest != COLO_ADAPTER_GUEST_RUNNING,
		"a flush under a guest that runs");
	if (s->state == COLO_SECONDARY_FLUSHING)
		h->knows = false;
	if (s->state != sim.secondary.seen)
		check_memory(colo_secondary_state_name(s->state));
}
