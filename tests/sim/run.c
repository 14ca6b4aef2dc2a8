/* SPDX-License-Identifier: BSD-3-Clause */
/* One seed: turns of cores, frames and mishaps in the order of virtual time, checked at each. */
#include <signal.h>
#include <string.h>

#include <rte_random.h>

#include "hypervisor.h"
#include "sim.h"
#include "secure.h"

#define CALM_COMMITS	3u /* checkpoints that must come once the network works again */
#define DRIZZLE_COMMITS 10u
#define REPAIR_US	(20 * SIM_MS)

/* ---- cores ---- */

void
sim_cores_set(enum sim_end_id end)
{
	struct sim_core *core = &sim.core[end * (1 + SIM_MAX_CHANNELS)];

	for (unsigned int i = 0; i < 1 + SIM_MAX_CHANNELS; i++)
		core[i] = (struct sim_core){.end = end,
			.kind = i == 0 ? SIM_CONTROL : SIM_POLL,
			.channel = i == 0 ? 0 : i - 1,
			.on = i <= sim.config.n_channels,
			.next_us = sim.now + sim_below(100),
			.turn_us = (uint32_t)sim_between(1, 6)};
}

static uint64_t
next_turn_us(const struct sim_core *core)
{
	return RTE_MAX(core->next_us, core->stalled_us);
}

void
sim_wake(enum sim_end_id end)
{
	struct sim_core *core = &sim.core[end * (1 + SIM_MAX_CHANNELS)];

	for (unsigned int i = 0; i < 1 + SIM_MAX_CHANNELS; i++)
		if (core[i].on && core[i].next_us > sim.now + 40)
			core[i].next_us = sim.now + sim_between(1, 40);
}

static bool
control_turn(enum sim_end_id end)
{
	uint64_t now_us = sim_clock_us(end);

	if (end == SIM_PRIMARY)
		return colo_primary_poll(&sim.primary.p, now_us);
	return colo_secondary_poll(&sim.secondary.s, now_us);
}

static bool
poll_turn(const struct sim_core *core)
{
	struct sim_end *e = &sim.end[core->end];
	bool worked = core->end == SIM_PRIMARY
			      ? colo_send_poll(sim.primary.send.channel[core->channel])
			      : colo_receive_poll(sim.secondary.receive.channel[core->channel]);

	return colo_job_poll(&e->job, &e->counters) || worked;
}

/* A core at rest looks less and less often, as with --idle adaptive. */
static void
plan(struct sim_core *core, bool worked)
{
	uint64_t us = core->turn_us + sim_below(3);

	core->idle = worked ? 0 : core->idle + 1;
	if (core->idle > 8)
		us += sim_below(sim.config.idle_us + 1);
	core->next_us = sim.now + us;
	if (worked)
		sim_wake(core->end);
}

static void
check_after(enum sim_end_id end)
{
	if (end == SIM_PRIMARY)
		sim_check_primary();
	else
		sim_check_secondary();
}

static void
count_kill(void)
{
	SIM_COUNT(kills_inside);
	if (sim.running == SIM_SECONDARY && sim.secondary.seen == COLO_SECONDARY_FLUSHING)
		SIM_COUNT(kills_flush);
}

static void
turn(struct sim_core *core)
{
	enum sim_end_id end = core->end;
	bool worked;

	SIM_COUNT(turns);
	sim.running = end;
	if (sim.kill.armed && sim.kill.end == end && sigsetjmp(sim.kill.at, 0) != 0) {
		count_kill();
		sim_killed(end, sim.kill.silent);
		return;
	}
	sim.kill.inside = true;
	worked = core->kind == SIM_CONTROL ? control_turn(end) : poll_turn(core);
	sim.kill.inside = false;
	sim_wire_collect(end);
	check_after(end);
	if (core->kind == SIM_CONTROL)
		sim_check_silence(end);
	plan(core, worked);
}

/* ---- processes ---- */

static void
start(enum sim_end_id end)
{
	if (end == SIM_PRIMARY && sim.guest.gone)
		sim_guest_new();
	if (sim.kill.armed && sim.kill.end == end && sigsetjmp(sim.kill.at, 0) != 0) {
		SIM_COUNT(kills_inside);
		sim_killed(end, sim.kill.silent);
		return;
	}
	sim.kill.inside = true;
	sim_end_start(end);
	sim.kill.inside = false;
	check_after(end);
}

static void
start_waiting(void)
{
	for (enum sim_end_id end = 0; end < SIM_N_ENDS; end++)
		if (!sim.end[end].up && sim.end[end].restart_us <= sim.now)
			start(end);
}

/* ---- time ---- */

static uint64_t
restart_us(void)
{
	uint64_t next = SIM_NEVER;

	for (unsigned int end = 0; end < SIM_N_ENDS; end++)
		if (!sim.end[end].up)
			next = RTE_MIN(next, sim.end[end].restart_us);
	return next;
}

static struct sim_core *
next_core(void)
{
	struct sim_core *first = NULL;

	for (unsigned int i = 0; i < SIM_CORES; i++) {
		struct sim_core *core = &sim.core[i];

		if (core->on && (first == NULL || next_turn_us(core) < next_turn_us(first)))
			first = core;
	}
	return first;
}

/* The next thing that happens, if it does before @p until. */
static bool
step(uint64_t until)
{
	struct sim_core *core = next_core();
	uint64_t core_us = core != NULL ? next_turn_us(core) : SIM_NEVER;
	uint64_t wire_us = sim_wire_next_us(), next;
	uint64_t other_us = RTE_MIN(RTE_MIN(sim_timers_next_us(), restart_us()),
		RTE_MIN(sim.source.at_us, sim.guest.write_us));

	if (sim.config.lockstep && sim.end[SIM_SECONDARY].up)
		other_us = RTE_MIN(other_us, sim.hypervisor.write_us);
	next = RTE_MIN(RTE_MIN(core_us, wire_us), other_us);
	if (next >= until) {
		sim.now = RTE_MAX(sim.now, until);
		return false;
	}
	sim.now = RTE_MAX(sim.now, next);
	if (other_us <= next) {
		sim_timers();
		start_waiting();
		if (sim.end[SIM_PRIMARY].up && sim.source.at_us <= sim.now)
			sim_source_step();
		if (sim.guest.write_us <= sim.now)
			sim_guest_tick();
		if (sim.config.lockstep && sim.end[SIM_SECONDARY].up &&
			sim.hypervisor.write_us <= sim.now)
			sim_hypervisor_tick();
	} else if (wire_us <= next) {
		sim_wire_step();
	} else {
		turn(core);
	}
	sim_check_always();
	return true;
}

static void
run_until(uint64_t until)
{
	while (step(until))
		;
}

/* ---- a seed ---- */

static void
chaos(void)
{
	uint64_t end_us = sim.now + sim.config.chaos_us;

	sim.calm = sim.lossy_calm = sim.calm_session = false;
	sim_wire_weather(sim.config.severity);
	while (sim.now < end_us) {
		uint64_t pause = sim_between(1, sim.config.mishap_every_us * 2ull);

		run_until(RTE_MIN(sim.now + pause, end_us));
		sim_mishap();
		sim_check_always();
		/* a quick operator, or none */
		if (sim_chance(500000))
			sim_operator_repair();
	}
}

/*
 * How long it may take until checkpoints come again. What was lost is noticed within the limits of
 * the sessions (one that never began: COLO_SESSION_ANSWER_MS); TCP's own retries are added.
 */
static uint64_t
calm_limit_us(void)
{
	return 16000 * SIM_MS;
}

static uint64_t
wait_for_commits(unsigned int n)
{
	uint64_t begin_us = sim.now, goal = sim.count[SIM_commits] + n;

	while (sim.count[SIM_commits] < goal) {
		run_until(sim.now + REPAIR_US);
		sim_operator_repair();
		sim_tcp_rogue_step();
		SIM_CHECK(sim.now - begin_us < calm_limit_us(),
			"the network works again for %.0f ms, and of %u checkpoints %llu are "
			"missing",
			(sim.now - begin_us) / 1000.0, n,
			(unsigned long long)(goal - sim.count[SIM_commits]));
	}
	return sim.now - begin_us;
}

static void
calm(void)
{
	uint64_t took_us;

	sim_trace("calm");
	sim.calm = true;
	sim_mishaps_over();
	took_us = wait_for_commits(CALM_COMMITS);
	sim.longest_calm_us = RTE_MAX(sim.longest_calm_us, took_us);
}

/*
 * A wire that loses some frames and does nothing else is no reason to lose protection. (Once it may
 * be: five losses in a row happen.)
 */
static void
drizzle(void)
{
	uint64_t left = sim.count[SIM_left];

	if (sim.config.hold_ms[SIM_PRIMARY] < 100 ||
		sim.config.peer_timeout_ms[SIM_PRIMARY] < 100 ||
		sim.config.peer_timeout_ms[SIM_SECONDARY] < 100 || !sim_chance(500000))
		return;
	sim_trace("drizzle");
	sim.lossy_calm = true;
	sim_wire_calm((uint32_t)sim_between(10000, 50000));
	wait_for_commits(DRIZZLE_COMMITS);
	SIM_CHECK(sim.count[SIM_left] <= left + 1,
		"of %u checkpoints over a wire that loses %u ppm protection was lost %u times",
		DRIZZLE_COMMITS, sim.line[0].loss, (unsigned int)(sim.count[SIM_left] - left));
	sim.lossy_calm = false;
}

/* Both ends are told to end, and do; nothing is left of them. */
static void
finish(void)
{
	uint64_t limit_us = sim.now + 12000 * SIM_MS;

	sim.calm_session = false;
	colo_primary_quit(&sim.primary.p);
	colo_secondary_quit(&sim.secondary.s);
	while (!sim.end[SIM_PRIMARY].ended || !sim.end[SIM_SECONDARY].ended) {
		SIM_CHECK(sim.now < limit_us, "told to quit, and an end goes on");
		run_until(sim.now + SIM_MS);
	}
	sim_end_stop(SIM_PRIMARY);
	sim_end_stop(SIM_SECONDARY);
	sim_secure_check();
}

static void
reset(uint64_t seed)
{
	sim.now = 1000 * SIM_MS;
	sim.digest = 0xcbf29ce484222325ull;
	memset(&sim.model, 0, sizeof(sim.model));
	memset(&sim.guest, 0, sizeof(sim.guest));
	memset(&sim.source, 0, sizeof(sim.source));
	memset(sim.end, 0, sizeof(sim.end));
	memset(&sim.primary, 0, sizeof(sim.primary));
	memset(&sim.secondary, 0, sizeof(sim.secondary));
	memset(sim.core, 0, sizeof(sim.core));
	memset(sim.line, 0, sizeof(sim.line));
	memset(&sim.kill, 0, sizeof(sim.kill));
	memset(&sim.ambush, 0, sizeof(sim.ambush));
	sim_config_choose(seed);
	rte_srand(seed);
	sim_memory_reset();
	sim_tcp_reset();
	sim_wire_reset();
	sim_timers_reset();
	sim_wire_calm(0);
	sim_guest_new();
	for (enum sim_end_id end = 0; end < SIM_N_ENDS; end++)
		sim_end_start(end);
	check_after(SIM_PRIMARY);
	check_after(SIM_SECONDARY);
}

bool
sim_seed(uint64_t seed)
{
	sim.failure[0] = '\0';
	sim.in_seed = true;
	if (sigsetjmp(sim.failed, 1) == 0) {
		reset(seed);
		if (sim.trace)
			sim_config_print(stdout);
		for (unsigned int i = 0; i < sim.config.rounds; i++) {
			chaos();
			calm();
			drizzle();
		}
		finish();
	} else {
		for (enum sim_end_id end = 0; end < SIM_N_ENDS; end++)
			sim_end_clean(end);
	}
	sim.in_seed = false;
	return sim.failure[0] == '\0';
}
