/* SPDX-License-Identifier: BSD-3-Clause */
/* What must hold after every turn, whatever happened (docs/architecture.md, "What must always
 * hold"). */
#include <string.h>

#include <rte_mempool.h>

#include "hypervisor.h"
#include "sim.h"
#include "ports.h"

/* ---- secondary: pristine, atomic, whole ---- */

static void
lock(bool guest, bool cache)
{
	struct sim_secondary *it = &sim.secondary;
	const struct colo_blocks *b = &sim.end[SIM_SECONDARY].blocks;

	for (unsigned int i = 0; i < b->n; i++) {
		if (guest != it->guest_locked)
			sim_memory_protect(&b->block[i].guest, guest);
		if (cache != it->cache_locked)
			sim_memory_protect(&b->block[i].cache, cache);
	}
	it->guest_locked = guest;
	it->cache_locked = cache;
}

/* Guest memory may change in a flush, and while it holds no checkpoint. */
static void
lock_for_state(enum colo_secondary_state state)
{
	bool holds = sim.model.held.epoch != 0 || sim.model.committed.epoch != 0;
	bool follows = state == COLO_SECONDARY_PAUSING || state == COLO_SECONDARY_LOADING ||
		       state == COLO_SECONDARY_RESUMING;
	bool rests = follows || state == COLO_SECONDARY_IDLE || state == COLO_SECONDARY_LISTEN ||
		     state >= COLO_SECONDARY_FAILING_OVER;

	lock(holds && state != COLO_SECONDARY_FLUSHING,
		state == COLO_SECONDARY_FLUSHING || (holds && rests));
}

static void
check_commit(const struct colo_secondary *s)
{
	const struct colo_primary *p = &sim.primary.p;
	const struct sim_checkpoint *c = sim_model_find(s->session_id, s->committed);
	struct sim_model *m = &sim.model;

	SIM_COUNT(commits);
	sim_trace("secondary commits epoch %u", s->committed);
	sim_note(s->committed);
	SIM_CHECK(c != NULL,
		"epoch %u of session %08x is committed, and no guest stood still for it",
		s->committed, s->session_id);
	sim_model_compare(&c->image, true, "committed");
	SIM_CHECK(!sim.config.journal || colo_journal_committed(s->journal) == s->committed,
		"the journal does not say what is committed");
	if (sim.end[SIM_PRIMARY].up && p->session_id == s->session_id)
		SIM_CHECK(
			p->committed == 0 ? s->checkpoints == 1 : s->committed <= p->committed + 1,
			"the secondary commits epoch %u, the primary knows of epoch %u only",
			s->committed, p->committed);
	m->committed = *c;
	m->commit_session = s->session_id;
	m->commit_epoch = s->committed;
}

void
sim_secondary_flushed(const struct colo_epoch_report *report)
{
	struct sim_model *m = &sim.model;

	if (report->kind == COLO_EPOCH_PRECOPY) {
		SIM_COUNT(rounds);
		return;
	}
	SIM_CHECK(m->committed.epoch == report->epoch, "epoch %u was flushed, committed is %u",
		report->epoch, m->committed.epoch);
	/* a guest that runs here was let go before, and may have written already */
	if (!sim.config.lockstep) {
		sim_model_compare(&m->committed.image, false, "flushed");
		sim_model_compare_copies("flushed");
	}
	m->held = m->committed;
	m->committed.epoch = 0;
}

/* A new session emptied everything: there is nothing to hold any more, and the journal says so. */
static void
check_emptied(struct sim_secondary *it)
{
	if (sim.config.lockstep)
		sim_hypervisor_emptied();
	SIM_CHECK(!it->adapter.may_run && it->seen != COLO_SECONDARY_FAILED_OVER,
		"memory was emptied that a guest may run on");
	it->emptied = it->cache_stale = false;
	it->guest_locked = it->cache_locked = false;
	sim.model.held.epoch = 0;
	sim.model.committed.epoch = 0;
	SIM_CHECK(it->s.committed == 0 && colo_journal_committed(&it->journal) == 0,
		"memory was emptied, and checkpoint %u is still spoken of", it->s.committed);
}

/* Nothing of a given-up or flushed epoch is left in the cache or in the bitmaps. */
static void
check_at_rest(const struct colo_secondary *s)
{
	if (!sim.secondary.cache_stale)
		sim_model_compare_copies(colo_secondary_state_name(s->state));
	for (unsigned int i = 0; i < s->blocks->n; i++)
		for (unsigned int c = 0; c < sim.config.n_channels; c++)
			SIM_CHECK(colo_dirty_count(&s->blocks->block[i].recorded[c]) == 0,
				"no epoch is open, and pages of block %u are recorded", i);
}

static void
check_change(const struct colo_secondary *s, enum colo_secondary_state before)
{
	const struct sim_checkpoint *held = &sim.model.held;

	sim_trace("secondary %s -> %s", colo_secondary_state_name(before),
		colo_secondary_state_name(s->state));
	sim_note(s->state);
	sim_ambush(SIM_SECONDARY, s->state);
	/* by the number: a guest that runs here may have failed to follow in the same turn */
	if (before == COLO_SECONDARY_SYNCING && s->committed != held->epoch &&
		s->committed != sim.model.committed.epoch)
		check_commit(s);
	if (sim.config.lockstep)
		return;
	if (before == COLO_SECONDARY_UNDOING) {
		SIM_COUNT(undone);
		sim_model_compare_copies("undone");
	}
	if (held->epoch == 0 || s->state == COLO_SECONDARY_FLUSHING)
		return;
	if (s->state == COLO_SECONDARY_LISTEN || s->state == COLO_SECONDARY_IDLE)
		check_at_rest(s);
	if (s->state == COLO_SECONDARY_LISTEN || s->state == COLO_SECONDARY_IDLE ||
		s->state == COLO_SECONDARY_FAILING_OVER || before == COLO_SECONDARY_UNDOING)
		sim_model_compare(&held->image, false, colo_secondary_state_name(s->state));
}

/* With lockstep a commit that its guest does not follow to is in the cache only. */
static uint32_t
expected_commit(const struct colo_secondary *s)
{
	const struct sim_model *m = &sim.model;
	bool pending =
		sim.config.lockstep ? m->committed.epoch != 0 : s->state == COLO_SECONDARY_FLUSHING;

	return pending ? m->committed.epoch : m->held.epoch;
}

void
sim_check_secondary(void)
{
	struct sim_secondary *it = &sim.secondary;
	struct colo_secondary *s = &it->s;
	const struct sim_model *m = &sim.model;

	if (!sim.end[SIM_SECONDARY].up)
		return;
	if (it->emptied)
		check_emptied(it);
	if (s->state != it->seen)
		check_change(s, it->seen);
	if (sim.config.lockstep)
		sim_hypervisor_check();
	it->seen = s->state;
	SIM_CHECK(s->committed == expected_commit(s),
		"the secondary says that it has checkpoint %u, it is %u (and %u)", s->committed,
		m->held.epoch, m->committed.epoch);
	SIM_CHECK(s->state != COLO_SECONDARY_FAILING_OVER || m->held.epoch != 0,
		"a takeover of memory that holds no checkpoint");
	lock_for_state(s->state);
}

/* Before a killed secondary is forgotten: a commit of the very turn that it died in counts. */
void
sim_check_killed(void)
{
	const struct colo_secondary *s = &sim.secondary.s;
	struct sim_model *m = &sim.model;
	uint32_t now = s->committed;

	sim_trace("... in %s, committed %u", colo_secondary_state_name(s->state), now);
	/* what a guest runs on after a takeover is no checkpoint any more */
	m->maybe_none = sim.secondary.emptied || (now == 0 && s->sessions > 0) ||
			s->state >= COLO_SECONDARY_FAILING_OVER;
	if (now == 0 || now == m->held.epoch || now == m->committed.epoch)
		return;
	SIM_CHECK(sim_model_find(s->session_id, now) != NULL,
		"killed after a commit of epoch %u, and no guest stood still for it", now);
	m->committed = *sim_model_find(s->session_id, now);
	m->commit_session = s->session_id;
	m->commit_epoch = now;
}

void
sim_check_recovered(uint32_t committed)
{
	struct sim_model *m = &sim.model;
	uint32_t expected = m->committed.epoch != 0 ? m->committed.epoch : m->held.epoch;

	if (committed == 0) {
		SIM_CHECK(expected == 0 || m->maybe_none,
			"after a restart nothing is left of checkpoint %u", expected);
		m->held.epoch = m->committed.epoch = 0;
		return;
	}
	SIM_CHECK(committed == expected, "after a restart memory holds checkpoint %u, not %u",
		committed, expected);
	if (m->committed.epoch != 0) {
		SIM_COUNT(recovered_flush);
		m->held = m->committed;
	}
	m->committed.epoch = 0;
	sim.secondary.cache_stale = true;
	sim_model_compare(&m->held.image, false, "recovered");
}

/* ---- primary ---- */

static uint64_t
stall_limit_us(void)
{
	return RTE_MAX(sim.config.hold_ms[SIM_PRIMARY], sim.config.peer_timeout_ms[SIM_PRIMARY]) *
	       SIM_MS * 107 / 100;
}

/* A guest whose own memory is compared stands still meanwhile: --verify, not --hold, bounds it. */
static void
allow_verify(const struct colo_primary *p)
{
	struct sim_guest *g = &sim.guest;

	if (sim.config.source != SIM_TODO || g->running)
		return;
	if (p->state == COLO_PRIMARY_VERIFYING ||
		(p->state == COLO_PRIMARY_OPENING && p->verify_now))
		g->pause_limit_us += stall_limit_us();
}

static void
check_committed(struct sim_primary *it)
{
	const struct colo_primary *p = &it->p;
	const struct sim_model *m = &sim.model;

	/* with a request to stop that waited it has left again in the same turn */
	bool begins = it->seen == COLO_PRIMARY_GREETING && p->state != COLO_PRIMARY_GREETING;

	if (!begins && p->session_id == it->seen_session && p->committed > it->seen_committed)
		SIM_CHECK(m->commit_session == p->session_id && m->commit_epoch >= p->committed,
			"the primary believes that epoch %u is committed; the last was %u of "
			"session %08x",
			p->committed, m->commit_epoch, m->commit_session);
	/* a session that resumes goes on from what the secondary has committed in another */
	if (begins)
		SIM_CHECK(m->commit_epoch >= p->committed,
			"the primary resumes from checkpoint %u, the last was %u", p->committed,
			m->commit_epoch);
	it->seen_session = p->session_id;
	it->seen_committed = p->committed;
}

/* Nothing that happened before will end this session, or keep it from beginning. */
static bool
begins_calmly(void)
{
	const struct colo_secondary *s = &sim.secondary.s;

	return sim.calm && sim.end[SIM_SECONDARY].up && s->state == COLO_SECONDARY_LISTEN &&
	       !s->quit_wanted && !sim.secondary.adapter.may_run &&
	       sim.source.status == COLO_SOURCE_DONE;
}

/* A session that began while everything worked ends when it is told to, and not before. */
static void
check_session(const struct colo_primary *p, enum colo_primary_state before)
{
	if (before == COLO_PRIMARY_STOPPED && p->state == COLO_PRIMARY_CONNECTING)
		sim.calm_session = begins_calmly();
	if (before == COLO_PRIMARY_GREETING && p->state == COLO_PRIMARY_OPENING) {
		SIM_COUNT(sessions);
		sim.count[SIM_resumed] += p->committed != 0;
		sim.count[SIM_secured] += p->seals.on;
		SIM_CHECK(p->seals.on == sim.config.secure, "frames are not sealed");
		sim.poisoned = false;
	}
	if (p->state != COLO_PRIMARY_LEAVING || p->leave_status != COLO_EXIT_UNPROTECTED)
		return;
	SIM_COUNT(left);
	SIM_CHECK(!sim.calm_session || sim.lossy_calm,
		"protection was lost, and nothing has gone wrong since the session began");
}

void
sim_check_primary(void)
{
	struct sim_primary *it = &sim.primary;
	const struct colo_primary *p = &it->p;

	if (!sim.end[SIM_PRIMARY].up)
		return;
	check_committed(it);
	if (p->state != it->seen) {
		sim_trace("primary %s -> %s", colo_primary_state_name(it->seen),
			colo_primary_state_name(p->state));
		sim_note(p->state);
		sim_ambush(SIM_PRIMARY, p->state);
		check_session(p, it->seen);
		allow_verify(p);
	}
	it->seen = p->state;
	if (p->state == COLO_PRIMARY_STOPPED || p->state == COLO_PRIMARY_CLOSED)
		SIM_CHECK(sim.guest.running || sim.guest.gone,
			"the session is over, and the guest stands still");
}

/* ---- both ---- */

/* Who hears nothing for longer than the session's limit has to notice, unless it stood still. */
static void
check_heard(enum sim_end_id end, bool on, uint32_t limit_ms)
{
	const struct sim_core *control = &sim.core[end * (1 + SIM_MAX_CHANNELS)];
	struct sim_end *e = &sim.end[end];

	if (!on || control->stalled_us > e->heard_us)
		e->heard_us = RTE_MAX(e->heard_us, RTE_MIN(sim.now, control->stalled_us));
	if (!on)
		e->heard_us = sim.now;
	SIM_CHECK(sim.now - e->heard_us <= limit_ms * SIM_MS * 107 / 100 + 5 * SIM_MS,
		"end %u has heard nothing for %.3f ms, its limit is %u ms", end,
		(sim.now - e->heard_us) / 1000.0, limit_ms);
}

/*
 * States that a secondary may not stay in: after END for the rest of an epoch, in HELLO for START.
 * What its control core stood still is added.
 */
static void
check_waiting(const struct colo_secondary *s)
{
	const struct sim_core *control = &sim.core[SIM_SECONDARY * (1 + SIM_MAX_CHANNELS)];
	struct sim_secondary *it = &sim.secondary;
	bool rest = s->sync.known &&
		    (s->state == COLO_SECONDARY_RECEIVING || s->state == COLO_SECONDARY_PRECOPY);
	uint32_t limit_ms = sim.config.peer_timeout_ms[SIM_SECONDARY];

	if (rest)
		limit_ms = RTE_MAX(limit_ms, sim.config.hold_ms[SIM_SECONDARY]);
	if ((!rest && s->state != COLO_SECONDARY_HELLO) || s->state != it->waits_in)
		it->waits_us = sim.now;
	it->waits_in = s->state;
	it->waits_us = RTE_MAX(it->waits_us, RTE_MIN(sim.now, control->stalled_us));
	SIM_CHECK(sim.now - it->waits_us <= limit_ms * SIM_MS * 107 / 100 + 5 * SIM_MS,
		"the secondary waits for %.3f ms now, the limit is %u ms",
		(sim.now - it->waits_us) / 1000.0, limit_ms);
}

void
sim_check_silence(enum sim_end_id end)
{
	const struct colo_primary *p = &sim.primary.p;
	const struct colo_secondary *s = &sim.secondary.s;
	const uint32_t *limit = sim.config.peer_timeout_ms;

	if (end == SIM_PRIMARY)
		check_heard(end,
			p->state >= COLO_PRIMARY_OPENING && p->state < COLO_PRIMARY_LEAVING,
			limit[SIM_PRIMARY]);
	else
		check_heard(end,
			s->state >= COLO_SECONDARY_PRECOPY && s->state <= COLO_SECONDARY_RESUMING &&
				!s->session_over,
			RTE_MIN(limit[SIM_PRIMARY], limit[SIM_SECONDARY]));
	if (end == SIM_SECONDARY)
		check_waiting(s);
}

void
sim_check_always(void)
{
	const struct sim_guest *g = &sim.guest;

	if (sim.end[SIM_PRIMARY].up && !g->running && !g->gone)
		SIM_CHECK(sim.now <= g->pause_limit_us,
			"the guest stands still for %.3f ms now, --hold is %u ms",
			(sim.now - g->paused_us) / 1000.0, sim.config.hold_ms[SIM_PRIMARY]);
}

static void
check_pool(struct rte_mempool *pool)
{
	SIM_CHECK(rte_mempool_in_use_count(pool) == 0, "%u mbufs of %s were not given back",
		rte_mempool_in_use_count(pool), pool->name);
}

void
sim_check_pools(enum sim_end_id end)
{
	check_pool(sim_ports.rx_pool[end]);
	check_pool(sim_ports.tx_pool[end]);
	check_pool(sim_ports.page_pool[end]);
}

static uint64_t
ends_of_frames(const struct colo_counters *c)
{
	uint64_t n = c->n[COLO_rx_feedback] - c->n[COLO_rx_handed_over];

	for (unsigned int i = COLO_rx_placed; i <= COLO_drop_handover_full; i++)
		n += c->n[i];
	return n;
}

/* Every frame ends in exactly one counter, or still lies in a ring. */
void
sim_check_counters(enum sim_end_id end)
{
	uint64_t n = 0;

	for (unsigned int c = 0; c < sim.config.n_channels; c++) {
		n += rte_ring_count(sim_ports.in[end][c]);
		if (end == SIM_PRIMARY) {
			n += rte_ring_count(sim.primary.send.handover[c]);
			n += ends_of_frames(&sim.primary.send.channel[c]->counters);
		} else {
			n += rte_ring_count(sim.secondary.receive.handover[c]);
			n += ends_of_frames(&sim.secondary.receive.channel[c]->counters);
		}
	}
	SIM_CHECK(n == sim.end[end].frames_in,
		"%s: %llu frames came, %llu ended in a counter or wait in a ring",
		end == SIM_PRIMARY ? "primary" : "secondary",
		(unsigned long long)sim.end[end].frames_in, (unsigned long long)n);
}
