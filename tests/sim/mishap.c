/* SPDX-License-Identifier: BSD-3-Clause */
/* What goes wrong, for how long, and what an operator does: at random, and to set it right again.
 */
#include <string.h>

#include "sim.h"
#include "hypervisor.h"
#include "ports.h"

enum over {
	OVER_WIRE,
	OVER_TCP,
	OVER_DROUGHT
};

struct timer {
	uint64_t at_us; /* SIM_NEVER: off */
	enum over what;
	enum sim_end_id end;
};

#define TIMERS 6u

static struct timer timer[TIMERS];

static struct timer *
timer_of(enum over what, enum sim_end_id end)
{
	return &timer[what * SIM_N_ENDS + end];
}

static void
over(const struct timer *t)
{
	switch (t->what) {
	case OVER_WIRE:
		sim.line[t->end].cut = false;
		break;
	case OVER_TCP:
		sim_tcp_cut(t->end, false);
		break;
	case OVER_DROUGHT:
		sim_ports_drought(t->end, false);
		break;
	}
}

uint64_t
sim_timers_next_us(void)
{
	uint64_t next = SIM_NEVER;

	for (unsigned int i = 0; i < TIMERS; i++)
		next = RTE_MIN(next, timer[i].at_us);
	return next;
}

void
sim_timers(void)
{
	for (unsigned int i = 0; i < TIMERS; i++) {
		if (timer[i].at_us > sim.now)
			continue;
		timer[i].at_us = SIM_NEVER;
		over(&timer[i]);
	}
}

void
sim_timers_reset(void)
{
	for (unsigned int i = 0; i < TIMERS; i++)
		timer[i] = (struct timer){.at_us = SIM_NEVER,
			.what = (enum over)(i / SIM_N_ENDS),
			.end = (enum sim_end_id)(i % SIM_N_ENDS)};
}

/* Mostly short, now and then longer than every limit. */
static uint64_t
how_long_us(void)
{
	uint64_t max = sim_chance(700000)   ? 20 * SIM_MS
		       : sim_chance(700000) ? 300 * SIM_MS
					    : 1500 * SIM_MS;

	return sim_between(50, max);
}

/* @return 0 if it is not the time, and no random number is drawn. */
static uint64_t
how_long_us_if(enum sim_ambush_kind kind, bool now)
{
	return kind == SIM_AMBUSH_NONE || !now ? 0 : how_long_us();
}

static enum sim_end_id
either(void)
{
	return (enum sim_end_id)sim_below(SIM_N_ENDS);
}

static void
cut_wire(enum sim_end_id from, uint64_t us)
{
	SIM_COUNT(cuts);
	sim_trace("wire from end %u is cut for %.3f ms", from, us / 1000.0);
	sim.line[from].cut = true;
	timer_of(OVER_WIRE, from)->at_us = sim.now + us;
}

static void
cut_tcp(enum sim_end_id from, uint64_t us)
{
	SIM_COUNT(tcp_cuts);
	sim_trace("TCP from end %u is cut for %.3f ms", from, us / 1000.0);
	sim_tcp_cut(from, true);
	timer_of(OVER_TCP, from)->at_us = sim.now + us;
}

/* One way or both, the datapath, the session, or the whole network. */
static void
cut_something(void)
{
	uint64_t us = how_long_us();
	bool wire = sim_chance(700000), tcp = sim_chance(600000), both = sim_chance(600000);
	enum sim_end_id from = either();

	for (unsigned int i = 0; i < 1u + both; i++, from = 1 - from) {
		if (wire)
			cut_wire(from, us);
		if (tcp)
			cut_tcp(from, us);
	}
}

void
sim_stall(struct sim_core *core, uint64_t us)
{
	core->stalled_us = RTE_MAX(core->stalled_us, sim.now) + us;
	if (core->end == SIM_PRIMARY && !sim.guest.running && sim.guest.pause_limit_us != SIM_NEVER)
		sim.guest.pause_limit_us += us;
}

static void
stall_core(void)
{
	struct sim_core *core = &sim.core[sim_below(SIM_CORES)];
	uint64_t us = how_long_us();

	if (!core->on)
		return;
	SIM_COUNT(stalls);
	sim_trace("%s core %u of end %u stalls for %.3f ms",
		core->kind == SIM_CONTROL ? "control" : "poll", core->channel, core->end,
		us / 1000.0);
	sim_stall(core, us);
}

static void
freeze(void)
{
	enum sim_end_id end = either();
	uint64_t us = how_long_us();

	SIM_COUNT(freezes);
	sim_trace("end %u is stopped for %.3f ms", end, us / 1000.0);
	for (unsigned int i = 0; i < SIM_CORES; i++)
		if (sim.core[i].on && sim.core[i].end == end)
			sim_stall(&sim.core[i], us);
}

/* It dies within so many calls of what is made up. */
static void
arm(enum sim_end_id end, uint32_t within)
{
	sim.kill.end = end;
	sim.kill.silent = sim_chance(300000);
	sim.kill.countdown = (uint32_t)sim_between(1, within);
	sim.kill.armed = true;
}

static void
kill_end(bool inside)
{
	enum sim_end_id end = either();
	struct sim_kill *k = &sim.kill;

	k->end = end;
	k->silent = sim_chance(300000);
	if (inside) {
		arm(end, 5000);
		return;
	}
	if (!sim.end[end].up)
		return;
	k->armed = false;
	sim_killed(end, k->silent);
}

/* It is dead; another one begins later. */
void
sim_killed(enum sim_end_id end, bool silent)
{
	sim.count[end == SIM_PRIMARY ? SIM_kills_primary : SIM_kills_secondary]++;
	sim_end_kill(end, silent);
	sim.end[end].restart_us = sim.now + how_long_us();
}

static void
stall_poll_cores(enum sim_end_id end, uint64_t us)
{
	for (unsigned int i = 0; i < SIM_CORES; i++)
		if (sim.core[i].on && sim.core[i].end == end && sim.core[i].kind == SIM_POLL)
			sim_stall(&sim.core[i], us);
}

static void
lie_in_wait(void)
{
	static const int often[] = {COLO_SECONDARY_FLUSHING, COLO_SECONDARY_SYNCING,
		COLO_SECONDARY_RECEIVING, COLO_SECONDARY_UNDOING};
	struct sim_ambush *a = &sim.ambush;

	a->kind = 1 + (enum sim_ambush_kind)sim_below(SIM_AMBUSH_KINDS - 1);
	a->end = either();
	a->state = (int)sim_below(a->end == SIM_PRIMARY ? (unsigned int)COLO_PRIMARY_N_STATES
							: COLO_SECONDARY_N_STATES);
	if (a->end == SIM_SECONDARY && sim_chance(600000))
		a->state = often[sim_below(RTE_DIM(often))];
}

/* An end has come into a state. */
void
sim_ambush(enum sim_end_id end, int state)
{
	struct sim_ambush *a = &sim.ambush;
	enum sim_ambush_kind kind = a->kind;
	uint64_t us = how_long_us_if(kind, end == a->end && state == a->state);

	if (us == 0)
		return;
	a->kind = SIM_AMBUSH_NONE;
	SIM_COUNT(ambushes);
	sim_trace("ambush %u", kind);
	if (kind == SIM_AMBUSH_KILL)
		arm(end, 60);
	if (kind == SIM_AMBUSH_STALL || kind == SIM_AMBUSH_BREAK)
		stall_poll_cores(end, us);
	if (kind == SIM_AMBUSH_BREAK)
		sim_tcp_break();
	for (unsigned int i = 0; kind == SIM_AMBUSH_CUT && i < SIM_N_ENDS; i++) {
		cut_wire((enum sim_end_id)i, us);
		cut_tcp((enum sim_end_id)i, us);
	}
}

static void
driver_stalls(void)
{
	SIM_COUNT(driver_stalls);
	sim.line[either()].driver_busy_us = sim.now + how_long_us() / 4;
}

static void
hold_wire(void)
{
	sim.line[either()].held_until_us = sim.now + how_long_us() / 4;
}

static void
drought(void)
{
	enum sim_end_id end = either();

	SIM_COUNT(droughts);
	sim_ports_drought(end, true);
	timer_of(OVER_DROUGHT, end)->at_us = sim.now + how_long_us();
}

/* ---- the operator ---- */

static void
ask_primary(void)
{
	struct colo_primary *p = &sim.primary.p;

	sim.running = SIM_PRIMARY;
	switch (sim_below(7)) {
	case 0:
	case 1:
		sim_source_call();
		colo_primary_start(p);
		break;
	case 2:
		colo_primary_stop(p);
		break;
	case 3:
		colo_primary_checkpoint(p);
		break;
	case 4:
		colo_primary_verify(p);
		break;
	case 5:
		p->config.zstd = sim_chance(500000);
		p->config.zstd_level = (int)sim_between(0, 6) - 3;
		break;
	default:
		p->config.interval_ms = (uint32_t)sim_between(1, 60);
		p->due_us = RTE_MIN(p->due_us, p->now_us + p->config.interval_ms * SIM_MS);
	}
	sim_check_primary();
}

static void
ask_something(void)
{
	SIM_COUNT(operator);
	if (sim.end[SIM_PRIMARY].up && sim_chance(850000)) {
		ask_primary();
	} else if (sim.end[SIM_PRIMARY].up && sim_chance(200000)) {
		colo_primary_quit(&sim.primary.p);
	} else if (sim.end[SIM_SECONDARY].up) {
		sim.running = SIM_SECONDARY;
		if (sim_chance(700000))
			colo_secondary_failover(&sim.secondary.s);
		else
			colo_secondary_quit(&sim.secondary.s);
		sim_check_secondary();
	}
}

static void
break_source(void)
{
	if (sim.end[SIM_PRIMARY].up && sim.source.status != COLO_SOURCE_GONE)
		sim_source_break(sim_chance(150000));
}

static void
forge_well(void)
{
	sim_forge_page((unsigned int)sim_between(1, 20));
	sim_forge_feedback((unsigned int)sim_between(1, 5));
	sim_forge_control((unsigned int)sim_between(1, 5));
}

void
sim_mishap(void)
{
	uint64_t dice = sim_below(100);

	sim_tcp_rogue_step();
	if (sim.config.lockstep && sim_chance(200000))
		sim_hypervisor_mishap();
	if (dice < 18)
		cut_something();
	else if (dice < 25)
		sim_wire_weather(sim.config.severity);
	else if (dice < 31)
		lie_in_wait();
	else if (dice < 42)
		stall_core();
	else if (dice < 47)
		freeze();
	else if (dice < 52)
		kill_end(false);
	else if (dice < 58)
		kill_end(true);
	else if (dice < 61)
		sim_tcp_break();
	else if (dice < 64)
		sim_tcp_rogue();
	else if (dice < 68)
		driver_stalls();
	else if (dice < 72)
		hold_wire();
	else if (dice < 75)
		drought();
	else if (dice < 80)
		sim_wire_replay((unsigned int)sim_between(1, 40));
	else if (dice < 83)
		sim_wire_forge(either(), (unsigned int)sim_between(1, 40));
	else if (dice < 86)
		forge_well();
	else if (dice < 89)
		break_source();
	else
		ask_something();
}

void
sim_mishaps_over(void)
{
	sim.kill.armed = false;
	sim.ambush.kind = SIM_AMBUSH_NONE;
	sim_hypervisor_calm();
	sim.source.fail_next = false;
	for (unsigned int i = 0; i < TIMERS; i++)
		over(&timer[i]);
	sim_timers_reset();
	sim_wire_calm(0);
	for (unsigned int i = 0; i < SIM_CORES; i++)
		sim.core[i].stalled_us = RTE_MIN(sim.core[i].stalled_us, sim.now);
	for (unsigned int end = 0; end < SIM_N_ENDS; end++)
		if (!sim.end[end].up)
			sim.end[end].restart_us = sim.now;
}

/* ---- what an operator does when a session is over, or a process ---- */

static void
new_process(enum sim_end_id end)
{
	sim_end_stop(end);
	if (end == SIM_PRIMARY && sim.guest.gone)
		sim_guest_new();
	sim_end_start(end);
}

void
sim_operator_repair(void)
{
	const struct colo_secondary *s = &sim.secondary.s;
	const struct colo_primary *p = &sim.primary.p;
	bool settled = s->state == COLO_SECONDARY_FAILED_OVER || s->state == COLO_SECONDARY_CLOSED;

	if (sim.end[SIM_SECONDARY].up &&
		(settled || (s->state == COLO_SECONDARY_LISTEN && sim.secondary.adapter.may_run)))
		new_process(SIM_SECONDARY);
	if (!sim.end[SIM_PRIMARY].up)
		return;
	if (p->state == COLO_PRIMARY_CLOSED || (p->state == COLO_PRIMARY_STOPPED && sim.guest.gone))
		new_process(SIM_PRIMARY);
	if (p->state != COLO_PRIMARY_STOPPED)
		return;
	sim.running = SIM_PRIMARY;
	sim_source_call();
	colo_primary_start(&sim.primary.p);
	sim_check_primary();
}
