/* SPDX-License-Identifier: BSD-3-Clause */
/* Both state machines together: the life of a session and of its epochs, and their ends. */
#include "seal_device.h"
#include "secondary_actions.h"
#include "session_state.h"
#include "ut_ends.h"

static bool
same(const struct colo_memory *a, const struct colo_memory *b, uint64_t size)
{
	return memcmp(a->addr, b->addr, size) == 0;
}

/* Is guest memory there what it is here? */
static bool
ends_agree(const struct ut_ends *e)
{
	const struct colo_blocks *b = e->r->blocks;

	return same(&b[0].block[0].guest, &b[1].block[0].guest, UT_ENDS_BLOCK) &&
	       same(&b[0].block[1].guest, &b[1].block[1].guest, UT_ENDS_DEVICE);
}

static bool
cache_is_guest(const struct ut_ends *e)
{
	const struct colo_block *b = e->r->blocks[1].block;

	return same(&b[0].guest, &b[0].cache, UT_ENDS_BLOCK) &&
	       same(&b[1].guest, &b[1].cache, UT_ENDS_DEVICE);
}

/* Guest memory of the secondary's first block; free() it. */
static uint8_t *
snapshot(const struct ut_ends *e)
{
	uint8_t *copy = malloc(UT_ENDS_BLOCK);

	CU_ASSERT_PTR_NOT_NULL_FATAL(copy);
	memcpy(copy, e->r->blocks[1].block[0].guest.addr, UT_ENDS_BLOCK);
	return copy;
}

static bool
is_snapshot(const struct ut_ends *e, const uint8_t *copy)
{
	return memcmp(copy, e->r->blocks[1].block[0].guest.addr, UT_ENDS_BLOCK) == 0;
}

/* Protected, and @p n checkpoints are committed and flushed; the next waits to be asked for. */
static void
protect(struct ut_ends *e, uint64_t n)
{
	uint64_t session = e->p.sessions + 1;

	colo_primary_start(&e->p);
	UT_ENDS_UNTIL(e, e->p.sessions == session && e->p.checkpoints >= n);
	e->p.config.interval_ms = 3600000;
	e->p.due_us = UINT64_MAX;
	UT_ENDS_UNTIL(e, e->p.state == COLO_PRIMARY_READY);
	e->p.due_us = UINT64_MAX;
	UT_ENDS_UNTIL(e, e->p.state == COLO_PRIMARY_READY && !e->p.guest_paused);
}

static void
test_life(void)
{
	struct ut_ends *e = ut_ends_new();

	protect(e, 3);
	CU_ASSERT_TRUE(ends_agree(e));
	CU_ASSERT_TRUE(cache_is_guest(e));
	CU_ASSERT_EQUAL(e->s.committed, e->p.committed);
	CU_ASSERT_EQUAL(e->p.last.epoch, e->p.committed);
	CU_ASSERT_FALSE(e->paused);
	colo_primary_stop(&e->p);
	UT_ENDS_UNTIL(e, e->p.state == COLO_PRIMARY_STOPPED && e->s.state == COLO_SECONDARY_LISTEN);
	/* a second session in the same process copies everything again */
	protect(e, 1);
	CU_ASSERT_TRUE(ends_agree(e));
	CU_ASSERT_EQUAL(e->p.sessions, 2);
	CU_ASSERT_EQUAL(e->s.sessions, 2);
	ut_ends_free(e);
}

/* The secondary has the first block from the primary's hello only: like any other, twice. */
static void
test_extra_block(void)
{
	struct ut_ends *e = ut_ends_new_with(1);
	struct colo_blocks *b = &e->r->blocks[1];
	uint8_t *at;

	CU_ASSERT_EQUAL(b->n, 1);
	protect(e, 3);
	CU_ASSERT_EQUAL_FATAL(b->n, 2);
	CU_ASSERT_TRUE(b->block[0].extra);
	CU_ASSERT_TRUE(ends_agree(e));
	CU_ASSERT_TRUE(cache_is_guest(e));
	at = b->block[0].guest.addr;
	colo_primary_stop(&e->p);
	UT_ENDS_UNTIL(e, e->p.state == COLO_PRIMARY_STOPPED && e->s.state == COLO_SECONDARY_LISTEN);
	CU_ASSERT_EQUAL(b->n, 2); /* the checkpoint is whole: it may be taken over from */
	protect(e, 1);
	CU_ASSERT_PTR_EQUAL(b->block[0].guest.addr, at);
	CU_ASSERT_TRUE(ends_agree(e));
	/* a hello that is refused leaves the checkpoint, blocks and all */
	colo_primary_stop(&e->p);
	UT_ENDS_UNTIL(e, e->p.state == COLO_PRIMARY_STOPPED && e->s.state == COLO_SECONDARY_LISTEN);
	b->rules.max = UT_ENDS_BLOCK - COLO_PAGE_SIZE;
	colo_primary_start(&e->p);
	UT_ENDS_UNTIL(e, e->p.state == COLO_PRIMARY_LEAVING);
	CU_ASSERT_EQUAL(e->s.state, COLO_SECONDARY_LISTEN);
	CU_ASSERT_NOT_EQUAL(e->s.committed, 0);
	CU_ASSERT_TRUE(ends_agree(e));
	ut_ends_free(e);
}

static void
test_verify(void)
{
	struct ut_ends *e = ut_ends_new();

	e->p.verify.peer = &e->r->blocks[1];
	e->p.config.verify = true;
	protect(e, 2);
	CU_ASSERT_TRUE(e->verified >= 2);
	CU_ASSERT_EQUAL(e->mismatches, 0);
	/* one bit of a page that no checkpoint sends, at the block's very end */
	e->r->blocks[1].block[0].guest.addr[UT_ENDS_BLOCK - COLO_PAGE_SIZE - 1] ^= 1;
	e->p.checkpoint_wanted = true;
	UT_ENDS_UNTIL(e, e->p.mismatch);
	/* the secondary's verdict by digest, and ours by bytes */
	CU_ASSERT_EQUAL(e->p.report.mismatches, 2);
	UT_ENDS_UNTIL(e, !e->paused);
	ut_ends_free(e);
}

/* The secondary lives, but its verdict does not come: the guest must not stand still for ever. */
static void
test_verify_limit(void)
{
	struct ut_ends *e = ut_ends_new();

	e->p.config.verify = true;
	colo_primary_start(&e->p);
	UT_ENDS_UNTIL(e, e->p.state == COLO_PRIMARY_VERIFYING);
	CU_ASSERT_TRUE(e->paused);
	e->cut = true;
	ut_ends_pass(e, UT_ENDS_LIMIT_MS - 100);
	CU_ASSERT_EQUAL(e->p.state, COLO_PRIMARY_VERIFYING);
	ut_ends_pass(e, 500);
	CU_ASSERT_EQUAL(e->p.state, COLO_PRIMARY_STOPPED);
	CU_ASSERT_EQUAL(e->p.leave_status, COLO_EXIT_UNPROTECTED);
	CU_ASSERT_FALSE(e->paused);
	ut_ends_free(e);
}

/* The wire dies under a checkpoint: what arrived of it is undone, the guest runs on. */
static void
test_lost_receiving(void)
{
	struct ut_ends *e = ut_ends_new();
	uint8_t *before;

	protect(e, 2);
	before = snapshot(e);
	e->p.checkpoint_wanted = true;
	UT_ENDS_UNTIL(e, e->p.state == COLO_PRIMARY_SENDING);
	/* pages arrive, END does not */
	e->frozen_primary = true;
	for (unsigned int i = 0; i < 200; i++)
		ut_ends_turn(e);
	CU_ASSERT_EQUAL(e->s.state, COLO_SECONDARY_RECEIVING);
	CU_ASSERT_FALSE(cache_is_guest(e));
	CU_ASSERT_TRUE(is_snapshot(e, before));
	e->frozen_primary = false;
	e->cut = true;
	ut_ends_pass(e, 2 * UT_ENDS_LIMIT_MS);
	CU_ASSERT_EQUAL(e->p.state, COLO_PRIMARY_STOPPED);
	CU_ASSERT_EQUAL(e->s.state, COLO_SECONDARY_LISTEN);
	CU_ASSERT_FALSE(e->paused);
	CU_ASSERT_TRUE(is_snapshot(e, before));
	CU_ASSERT_TRUE(cache_is_guest(e));
	CU_ASSERT_NOT_EQUAL(e->s.committed, 0);
	free(before);
	ut_ends_free(e);
}

/* The primary is gone after the commit: the flush is finished all the same. */
static void
test_lost_flushing(void)
{
	struct ut_ends *e = ut_ends_new();
	uint32_t committed;

	protect(e, 2);
	committed = e->s.committed;
	e->no_jobs = true;
	e->p.checkpoint_wanted = true;
	UT_ENDS_UNTIL(e, e->s.state == COLO_SECONDARY_FLUSHING);
	e->frozen_primary = true;
	colo_session_close(e->session[0]);
	UT_ENDS_UNTIL(e, e->s.session_over);
	CU_ASSERT_EQUAL(e->s.state, COLO_SECONDARY_FLUSHING);
	CU_ASSERT_FALSE(ends_agree(e));
	e->no_jobs = false;
	UT_ENDS_UNTIL(e, e->s.state == COLO_SECONDARY_LISTEN);
	CU_ASSERT_EQUAL(e->s.committed, committed + 1);
	CU_ASSERT_TRUE(ends_agree(e));
	CU_ASSERT_TRUE(cache_is_guest(e));
	ut_ends_free(e);
}

/* BEGIN over an open epoch would change its kind under the poll cores. */
static void
test_begin_while_open(void)
{
	struct ut_ends *e = ut_ends_new();
	struct colo_control_request begin = {
		.op = COLO_CONTROL_BEGIN, .kind = COLO_EPOCH_CHECKPOINT};

	e->next = COLO_SOURCE_BUSY; /* the first round never begins */
	colo_primary_start(&e->p);
	UT_ENDS_UNTIL(e, e->p.state == COLO_PRIMARY_COLLECTING);
	CU_ASSERT_EQUAL(e->s.opened, 1);
	colo_lane_ask(&e->p.lane, &begin, sizeof(begin), e->now_us);
	UT_ENDS_UNTIL(e, !e->p.lane.waiting);
	CU_ASSERT_EQUAL(e->s.opened, 1);
	CU_ASSERT_EQUAL(e->s.state, COLO_SECONDARY_PRECOPY);
	CU_ASSERT_EQUAL(e->r->receive.phase.kind, COLO_EPOCH_PRECOPY);
	ut_ends_free(e);
}

static void
test_end_without_epoch(void)
{
	struct ut_ends *e = ut_ends_new();

	colo_primary_start(&e->p);
	UT_ENDS_UNTIL(e, e->s.state == COLO_SECONDARY_PRECOPY && e->s.opened == 1 &&
				 e->r->receive.phase.epoch == 0);
	e->s.sync.known = true;
	colo_secondary_dispatch(&e->s, COLO_SECONDARY_EV_END);
	CU_ASSERT_FALSE(e->s.sync.known);
	CU_ASSERT_EQUAL(e->s.deadline_us, 0);
	CU_ASSERT_EQUAL(e->s.state, COLO_SECONDARY_PRECOPY);
	ut_ends_free(e);
}

static void
test_first_epoch_is_precopy(void)
{
	struct ut_ends *e = ut_ends_new();

	colo_primary_start(&e->p);
	UT_ENDS_UNTIL(e, e->s.state == COLO_SECONDARY_PRECOPY);
	CU_ASSERT_EQUAL(e->s.opened, 0);
	e->s.begin_kind = COLO_EPOCH_CHECKPOINT;
	colo_secondary_dispatch(&e->s, COLO_SECONDARY_EV_BEGIN);
	CU_ASSERT_EQUAL(e->s.opened, 0);
	CU_ASSERT_EQUAL(e->s.state, COLO_SECONDARY_PRECOPY);
	ut_ends_free(e);
}

/* A source that fails while its guest runs is asked again by the next start. */
static void
test_source_fails_once(void)
{
	struct ut_ends *e = ut_ends_new();

	e->next = COLO_SOURCE_FAILED;
	colo_primary_start(&e->p);
	UT_ENDS_UNTIL(e, e->p.state == COLO_PRIMARY_LEAVING);
	UT_ENDS_UNTIL(e, e->p.state == COLO_PRIMARY_STOPPED);
	CU_ASSERT_EQUAL(e->resumes, 1);
	UT_ENDS_UNTIL(e, e->s.state == COLO_SECONDARY_LISTEN);
	e->next = COLO_SOURCE_DONE;
	protect(e, 1);
	CU_ASSERT_TRUE(ends_agree(e));
	ut_ends_free(e);
}

/* Who waits for its source to let the guest run leaves the core to it: no work is done. */
static void
test_leaving_rests(void)
{
	struct ut_ends *e = ut_ends_new();

	protect(e, 1);
	e->next = COLO_SOURCE_BUSY;
	e->slow_resume = true;
	e->p.checkpoint_wanted = true;
	UT_ENDS_UNTIL(e, e->paused);
	colo_primary_stop(&e->p);
	UT_ENDS_UNTIL(e, e->p.state == COLO_PRIMARY_LEAVING && e->resumes == 2);
	for (unsigned int i = 0; i < 100; i++) {
		e->now_us += UT_ENDS_TURN_US;
		CU_ASSERT_FALSE(colo_primary_poll(&e->p, e->now_us));
	}
	CU_ASSERT_EQUAL(e->p.state, COLO_PRIMARY_LEAVING);
	e->status = COLO_SOURCE_DONE;
	CU_ASSERT_TRUE(colo_primary_poll(&e->p, e->now_us));
	CU_ASSERT_EQUAL(e->p.state, COLO_PRIMARY_STOPPED);
	ut_ends_free(e);
}

/* What the process stood still itself does not count: nothing could have come meanwhile. */
static void
test_own_standstill(void)
{
	struct ut_ends *e = ut_ends_new();

	colo_primary_start(&e->p);
	UT_ENDS_UNTIL(e, e->p.state == COLO_PRIMARY_SENDING);
	CU_ASSERT_FALSE(e->paused && e->p.hold_until_us != 0);
	e->cut = true;
	e->s.deadline_us = e->now_us + UT_ENDS_LIMIT_MS * 1000;
	e->now_us += 5 * UT_ENDS_LIMIT_MS * 1000;
	ut_ends_turn(e);
	CU_ASSERT(e->p.state == COLO_PRIMARY_SENDING || e->p.state == COLO_PRIMARY_ENDING);
	CU_ASSERT_EQUAL(e->s.state, COLO_SECONDARY_PRECOPY);
	ut_ends_pass(e, UT_ENDS_LIMIT_MS - 100);
	CU_ASSERT(e->p.state == COLO_PRIMARY_SENDING || e->p.state == COLO_PRIMARY_ENDING);
	CU_ASSERT_EQUAL(e->s.state, COLO_SECONDARY_PRECOPY);
	ut_ends_pass(e, 2 * UT_ENDS_LIMIT_MS);
	CU_ASSERT_EQUAL(e->p.state, COLO_PRIMARY_STOPPED);
	CU_ASSERT_EQUAL(e->s.state, COLO_SECONDARY_LISTEN);
	ut_ends_free(e);
}

/* The operator's limit for the guest counts it all the same. */
static void
test_hold_counts_standstill(void)
{
	struct ut_ends *e = ut_ends_new();

	protect(e, 1);
	e->next = COLO_SOURCE_BUSY;
	e->p.checkpoint_wanted = true;
	UT_ENDS_UNTIL(e, e->p.hold_until_us != 0);
	e->now_us += UT_ENDS_LIMIT_MS * 1000;
	ut_ends_turn(e);
	CU_ASSERT_EQUAL(e->p.state, COLO_PRIMARY_LEAVING);
	ut_ends_free(e);
}

/* ---- which loss is a reason to take over ---- */

enum ending {
	STOPS, /* the operator's word */
	HOLD,  /* the primary gives up, its guest runs on */
	FAILS, /* ... for its source's sake */
	TOO_LATE,
	DIES_LATE, /* the secondary gives up: END came, the rest did not */
	NONSENSE,  /* a word that is none */
	BREAKS,	   /* the connection closes without a word */
	SILENT,	   /* nothing is heard any more */
	GUEST_GONE /* the primary says so */
};

static void
end_by(struct ut_ends *e, enum ending how)
{
	switch (how) {
	case STOPS:
		colo_primary_stop(&e->p);
		break;
	case HOLD:
		e->p.checkpoint_wanted = true;
		e->next = COLO_SOURCE_BUSY;
		UT_ENDS_UNTIL(e, e->p.state == COLO_PRIMARY_COLLECTING);
		ut_ends_pass(e, UT_ENDS_LIMIT_MS + 100);
		break;
	case FAILS:
		e->p.checkpoint_wanted = true;
		e->next = COLO_SOURCE_FAILED;
		break;
	case TOO_LATE:
		CU_ASSERT_EQUAL(e->s.state, COLO_SECONDARY_RECEIVING);
		colo_secondary_dispatch(&e->s, COLO_SECONDARY_EV_DEADLINE);
		break;
	case DIES_LATE: /* silent, but not for its whole limit, when the epoch's is over */
		CU_ASSERT_EQUAL(e->s.state, COLO_SECONDARY_RECEIVING);
		e->frozen_primary = true;
		ut_ends_pass(e, UT_ENDS_LIMIT_MS * 3 / 4);
		CU_ASSERT_EQUAL(e->s.state, COLO_SECONDARY_RECEIVING);
		colo_secondary_dispatch(&e->s, COLO_SECONDARY_EV_DEADLINE);
		break;
	case NONSENSE:
		colo_session_put_text(e->session[0]->peer, (enum colo_message)99, "x");
		break;
	case BREAKS:
		colo_session_close(e->session[0]);
		break;
	case SILENT:
		e->frozen_primary = true;
		ut_ends_pass(e, UT_ENDS_LIMIT_MS + 100);
		break;
	case GUEST_GONE:
		colo_error_set(&e->source.error, "it is gone");
		e->status = COLO_SOURCE_GONE;
		break;
	}
}

static void
count_failover(struct colo_adapter *a)
{
	(*(unsigned int *)a->state)++;
}

static enum colo_adapter_status
never_done(struct colo_adapter *a)
{
	(void)a;
	return COLO_ADAPTER_BUSY;
}

static void
run_loss(enum ending how, bool takes_over)
{
	static const struct colo_adapter_ops ops = {
		.name = "ut", .failover = count_failover, .poll = never_done};
	struct ut_ends *e = ut_ends_new();
	unsigned int failovers = 0;
	struct colo_adapter adapter = {.ops = &ops, .state = &failovers};

	e->s.config.failover_on_peer_loss = true;
	e->s.adapter = &adapter;
	protect(e, 2);
	end_by(e, how);
	UT_ENDS_UNTIL(e,
		e->s.state == COLO_SECONDARY_LISTEN || e->s.state == COLO_SECONDARY_FAILING_OVER);
	CU_ASSERT_EQUAL(failovers, takes_over);
	CU_ASSERT_NOT_EQUAL(e->s.committed, 0);
	/* whoever is told takes over all the same */
	colo_secondary_failover(&e->s);
	CU_ASSERT_EQUAL(failovers, 1);
	ut_ends_free(e);
}

/* A primary that lives runs its guest: only the operator may have another one run. */
static void
test_living(void)
{
	run_loss(STOPS, false);
	run_loss(HOLD, false);
	run_loss(FAILS, false);
	run_loss(TOO_LATE, false);
	run_loss(NONSENSE, false);
}

static void
test_dead(void)
{
	run_loss(BREAKS, true);
	run_loss(SILENT, true);
	run_loss(DIES_LATE, true);
	run_loss(GUEST_GONE, true);
}

static unsigned int n_told;

static void
count_text(void *context, bool warning, const char *text)
{
	(void)context;
	(void)text;
	n_told += warning;
}

/* Keys that cannot be made end the session, in a state that goes on by itself, once. */
static void
test_no_keys(void)
{
	struct colo_seal_device none = {.name = "none"};
	struct ut_ends *e = ut_ends_new();
	struct colo_seal_flow flow = {{0}};
	struct colo_seals *seals = &e->s.seals;

	protect(e, 1);
	e->no_jobs = true;
	e->p.checkpoint_wanted = true;
	UT_ENDS_UNTIL(e, e->s.state == COLO_SECONDARY_FLUSHING);
	n_told = 0;
	e->notify[1].text = count_text;
	seals->keys.device = &none;
	colo_seal_keys_add(&seals->keys, &flow, 0, 0, false);
	for (unsigned int i = 0; i < 3; i++) {
		seals->on = seals->renewing = seals->keys.flow[0].retiring = true;
		for (unsigned int n = 0; n < 100; n++)
			ut_ends_turn(e);
		CU_ASSERT_TRUE(e->s.session_over);
		CU_ASSERT_EQUAL(n_told, 1);
	}
	e->no_jobs = false;
	UT_ENDS_UNTIL(e, e->s.state == COLO_SECONDARY_LISTEN);
	CU_ASSERT_EQUAL(n_told, 2); /* what it waits for */
	ut_ends_free(e);
}

/* HELLO's limit begins after the turn that emptied the blocks, however long that took. */
static void
test_hello_limit(void)
{
	struct ut_ends *e = ut_ends_new();

	colo_primary_start(&e->p);
	UT_ENDS_UNTIL(e, e->s.state == COLO_SECONDARY_HELLO);
	CU_ASSERT_EQUAL(e->s.deadline_us, 0);
	e->frozen_primary = true; /* its START does not come */
	ut_ends_pass(e, UT_ENDS_LIMIT_MS - 100);
	CU_ASSERT_EQUAL(e->s.state, COLO_SECONDARY_HELLO);
	ut_ends_pass(e, 200);
	CU_ASSERT_EQUAL(e->s.state, COLO_SECONDARY_LISTEN);
	ut_ends_free(e);
}

/* What a session left in the lane's ring does nothing once that session is over. */
static void
test_stale_request(void)
{
	struct ut_ends *e = ut_ends_new();
	struct colo_control_request begin = {
		.op = COLO_CONTROL_BEGIN, .kind = COLO_EPOCH_CHECKPOINT};
	uint32_t sequence;

	protect(e, 1);
	colo_primary_stop(&e->p);
	UT_ENDS_UNTIL(e, e->p.state == COLO_PRIMARY_STOPPED && e->s.state == COLO_SECONDARY_LISTEN);
	sequence = e->s.lane.sequence;
	colo_lane_ask(&e->p.lane, &begin, sizeof(begin), e->now_us);
	for (unsigned int i = 0; i < 3; i++) { /* into the ring, past poll cores that take none */
		void *m;

		if (rte_ring_dequeue(e->r->send.lane.tx, &m) == 0)
			CU_ASSERT_EQUAL(rte_ring_enqueue(e->r->receive.lane.rx, m), 0);
	}
	UT_ENDS_UNTIL(e, rte_ring_empty(e->r->receive.lane.rx));
	CU_ASSERT_EQUAL(e->s.lane.sequence, sequence);
	ut_ends_free(e);
}

static void
fake_failover(struct colo_adapter *a)
{
	colo_error_set(&a->error, "it fails on purpose");
}

static enum colo_adapter_status
fake_failed(struct colo_adapter *a)
{
	a->may_run = *(const bool *)a->state;
	return COLO_ADAPTER_FAILED;
}

/* A takeover fails; @return true if a new primary is taken afterwards. */
static bool
taken_after_takeover(bool may_run)
{
	static const struct colo_adapter_ops ops = {
		.name = "ut", .failover = fake_failover, .poll = fake_failed};
	struct ut_ends *e = ut_ends_new();
	struct colo_adapter adapter = {.ops = &ops, .state = &may_run};
	uint8_t *before;
	bool taken;

	e->s.config.stay = true;
	e->s.adapter = &adapter;
	protect(e, 1);
	before = snapshot(e);
	colo_secondary_failover(&e->s);
	UT_ENDS_UNTIL(e, e->s.state == COLO_SECONDARY_LISTEN && e->p.state == COLO_PRIMARY_STOPPED);
	CU_ASSERT_NOT_EQUAL(e->s.committed, 0);
	colo_primary_start(&e->p);
	UT_ENDS_UNTIL(e, e->p.state == COLO_PRIMARY_LEAVING || e->p.sessions == 2);
	taken = e->p.sessions == 2;
	CU_ASSERT_EQUAL(is_snapshot(e, before), !taken);
	CU_ASSERT_EQUAL(e->s.committed != 0, !taken);
	free(before);
	ut_ends_free(e);
	return taken;
}

/* The memory of a guest that may run is not emptied for a new primary. */
static void
test_takeover_failed(void)
{
	CU_ASSERT_FALSE(taken_after_takeover(true));
	CU_ASSERT_TRUE(taken_after_takeover(false));
}

/* ---- a guest that runs here between checkpoints ---- */

#define LOG_WORDS (2 * COLO_PIECE_WORDS) /* of the first block */

/* Adapter lockstep, as the test wants it. */
struct here {
	struct ut_ends *e;
	struct colo_adapter adapter;
	_Atomic uint64_t log[LOG_WORDS];
	enum colo_adapter_guest guest;
	unsigned int asked; /* the last step; 0: takeover */
	unsigned int n[4];  /* how often each was asked for: takeover, pause, load, resume */
	unsigned int holds; /* steps that it does not answer: bits by number */
	bool busy;	    /* it was asked, and has not answered */
	enum colo_adapter_step fails; /* answers this one with failed; 0: none */
	uint32_t epoch;		      /* of the last load */
};

static void
here_ask(struct colo_adapter *a, enum colo_adapter_step step, uint32_t epoch)
{
	struct here *h = a->state;

	CU_ASSERT_FALSE(h->busy);
	h->asked = step;
	h->n[step]++;
	h->busy = true;
	if (step == COLO_ADAPTER_LOAD)
		h->epoch = epoch;
}

static void
here_failover(struct colo_adapter *a)
{
	here_ask(a, 0, 0);
}

static enum colo_adapter_status
here_poll(struct colo_adapter *a)
{
	struct here *h = a->state;

	if (h->busy && (h->holds >> h->asked & 1))
		return COLO_ADAPTER_BUSY;
	if (h->busy && h->asked == COLO_ADAPTER_PAUSE && h->fails != COLO_ADAPTER_PAUSE &&
		h->guest == COLO_ADAPTER_GUEST_RUNNING)
		h->guest = COLO_ADAPTER_GUEST_PAUSED;
	if (h->busy && h->asked == COLO_ADAPTER_LOAD && h->fails != COLO_ADAPTER_LOAD)
		h->guest = COLO_ADAPTER_GUEST_PAUSED;
	if (h->busy && (h->asked == COLO_ADAPTER_RESUME || h->asked == 0) &&
		(h->fails == 0 || h->fails != h->asked))
		h->guest = COLO_ADAPTER_GUEST_RUNNING;
	h->busy = false;
	if (h->fails != 0 && h->asked == h->fails) {
		colo_error_set(&a->error, "it fails on purpose");
		return COLO_ADAPTER_FAILED;
	}
	return COLO_ADAPTER_DONE;
}

static enum colo_adapter_guest
here_guest(struct colo_adapter *a)
{
	return ((struct here *)a->state)->guest;
}

static const struct colo_adapter_ops here_ops = {.name = "ut",
	.failover = here_failover,
	.step = here_ask,
	.guest = here_guest,
	.poll = here_poll};

static void
here_begin(struct here *h)
{
	memset(h, 0, sizeof(*h));
	h->e = ut_ends_new();
	h->guest = COLO_ADAPTER_GUEST_WAITING;
	h->adapter = (struct colo_adapter){.ops = &here_ops, .log = {h->log}, .state = h};
	h->e->s.adapter = &h->adapter;
	h->e->s.config.stay = true;
	colo_secondary_init(&h->e->s); /* it looks at the adapter */
}

/* The guest here writes: pages that checkpoints send, and others, the last one of the block too. */
static void
here_write(struct here *h, uint8_t what)
{
	static const uint32_t pages[] = {0, 2, 63, 300, 511, 513, 514};

	for (unsigned int i = 0; i < RTE_DIM(pages); i++) {
		atomic_fetch_or(&h->log[pages[i] / 64], 1ull << pages[i] % 64);
		memset(colo_page_addr(&h->e->r->blocks[1].block[0].guest, pages[i]), what,
			COLO_PAGE_SIZE);
	}
}

/* Protected, the guest here runs and has written. */
static void
here_protect(struct here *h)
{
	protect(h->e, 2);
	UT_ENDS_UNTIL(h->e, h->guest == COLO_ADAPTER_GUEST_RUNNING);
	here_write(h, 0xee);
}

/* The next checkpoint is on its way: pages arrive, END does not. */
static void
here_receive(struct here *h)
{
	h->e->p.checkpoint_wanted = true;
	UT_ENDS_UNTIL(h->e, h->e->p.state == COLO_PRIMARY_SENDING);
	h->e->frozen_primary = true;
	for (unsigned int i = 0; i < 200; i++)
		ut_ends_turn(h->e);
	CU_ASSERT_EQUAL(h->e->s.state, COLO_SECONDARY_RECEIVING);
}

static void
lose_primary(struct here *h)
{
	h->e->frozen_primary = true;
	colo_session_close(h->e->session[0]);
	UT_ENDS_UNTIL(h->e, h->e->s.state == COLO_SECONDARY_LISTEN);
}

static bool
log_is_empty(const struct here *h)
{
	for (unsigned int w = 0; w < LOG_WORDS; w++)
		if (atomic_load(&h->log[w]) != 0)
			return false;
	return true;
}

static void
test_here_life(void)
{
	struct here h;
	unsigned int loads;
	uint64_t committed;

	here_begin(&h);
	here_protect(&h);
	CU_ASSERT_EQUAL(h.n[COLO_ADAPTER_LOAD], h.e->s.checkpoints);
	CU_ASSERT_EQUAL(h.n[COLO_ADAPTER_RESUME], h.e->s.checkpoints);
	/* one before the session, and one at each commit */
	CU_ASSERT_EQUAL(h.n[COLO_ADAPTER_PAUSE], h.e->s.checkpoints + 1);
	CU_ASSERT_FALSE(ends_agree(h.e));
	committed = h.e->p.checkpoints;
	loads = h.n[COLO_ADAPTER_LOAD];
	h.holds = 1u << COLO_ADAPTER_PAUSE;
	h.e->p.checkpoint_wanted = true;
	/* the primary has its answer, and its guest runs, while the guest here has none yet */
	UT_ENDS_UNTIL(h.e, h.e->p.checkpoints == committed + 1 && !h.e->paused);
	CU_ASSERT_EQUAL(h.e->s.state, COLO_SECONDARY_PAUSING);
	UT_ENDS_UNTIL(h.e, h.e->s.begin_waits);
	CU_ASSERT_FALSE(log_is_empty(&h));
	CU_ASSERT_FALSE(ends_agree(h.e));
	h.holds = 1u << COLO_ADAPTER_LOAD;
	UT_ENDS_UNTIL(h.e, h.e->s.state == COLO_SECONDARY_LOADING);
	CU_ASSERT_TRUE(log_is_empty(&h));
	CU_ASSERT_TRUE(ends_agree(h.e));
	CU_ASSERT_TRUE(cache_is_guest(h.e));
	CU_ASSERT_TRUE(h.e->s.behind);
	h.holds = 0;
	UT_ENDS_UNTIL(h.e, h.e->s.state == COLO_SECONDARY_RECEIVING);
	CU_ASSERT_EQUAL(h.n[COLO_ADAPTER_LOAD], loads + 1);
	CU_ASSERT_EQUAL(h.epoch, h.e->s.committed);
	CU_ASSERT_FALSE(h.e->s.behind);
	CU_ASSERT_EQUAL(h.e->s.guest_failures, 0);
	ut_ends_free(h.e);
}

static void
test_here_verify(void)
{
	struct here h;

	here_begin(&h);
	here_protect(&h);
	h.e->p.config.verify = true;
	h.e->p.checkpoint_wanted = true;
	UT_ENDS_UNTIL(h.e, h.guest == COLO_ADAPTER_GUEST_PAUSED);
	UT_ENDS_UNTIL(h.e, h.guest == COLO_ADAPTER_GUEST_RUNNING);
	here_write(&h, 0x77); /* differs, as it may */
	UT_ENDS_UNTIL(h.e, h.e->verified == 1);
	CU_ASSERT_EQUAL(h.e->mismatches, 0);
	h.e->r->blocks[1].block[0].cache.addr[5] ^= 1;
	h.e->p.checkpoint_wanted = true;
	h.e->r->blocks[1].block[0].cache.addr[200 * COLO_PAGE_SIZE] ^= 1; /* not sent */
	UT_ENDS_UNTIL(h.e, h.e->p.mismatch);
	ut_ends_free(h.e);
}

/* Nothing that arrived reaches the guest here; it goes on alone from where it is. */
static void
test_here_aborted(void)
{
	struct here h;
	uint8_t *before;

	here_begin(&h);
	here_protect(&h);
	here_receive(&h);
	before = snapshot(h.e);
	memset(h.n, 0, sizeof(h.n));
	lose_primary(&h);
	CU_ASSERT_TRUE(is_snapshot(h.e, before));
	CU_ASSERT_FALSE(log_is_empty(&h));
	CU_ASSERT_EQUAL(h.guest, COLO_ADAPTER_GUEST_RUNNING);
	CU_ASSERT_FALSE(h.e->s.cache_whole);
	for (unsigned int c = 0; c < 2; c++)
		CU_ASSERT_EQUAL(colo_dirty_count(&h.e->r->blocks[1].block[0].recorded[c]), 0);
	colo_secondary_failover(&h.e->s);
	UT_ENDS_UNTIL(h.e, h.e->s.state == COLO_SECONDARY_FAILED_OVER);
	CU_ASSERT_TRUE(is_snapshot(h.e, before));
	CU_ASSERT_TRUE(h.n[0] == 1 && h.n[COLO_ADAPTER_PAUSE] == 0);
	free(before);
	ut_ends_free(h.e);
}

/* The guest is gone with its hypervisor: its successor gets the checkpoint while the cache has it.
 */
static void
check_successor(bool whole)
{
	struct here h;
	uint8_t *checkpoint;

	here_begin(&h);
	protect(h.e, 2);
	checkpoint = snapshot(h.e);
	here_write(&h, 0xee);
	if (!whole)
		here_receive(&h);
	lose_primary(&h);
	CU_ASSERT_EQUAL(h.e->s.cache_whole, whole);
	h.guest = COLO_ADAPTER_GUEST_WAITING;
	memset(h.n, 0, sizeof(h.n));
	colo_secondary_failover(&h.e->s);
	if (whole)
		UT_ENDS_UNTIL(h.e, h.e->s.state == COLO_SECONDARY_FAILED_OVER);
	else
		UT_ENDS_UNTIL(h.e, h.e->s.state == COLO_SECONDARY_LISTEN);
	CU_ASSERT_EQUAL(is_snapshot(h.e, checkpoint), whole);
	for (unsigned int i = 0; i < 4; i++)
		CU_ASSERT_EQUAL(h.n[i], whole);
	CU_ASSERT_EQUAL(strstr(h.adapter.error.text, "have overwritten") != NULL, !whole);
	free(checkpoint);
	ut_ends_free(h.e);
}

static void
test_here_successor(void)
{
	check_successor(true);
	check_successor(false);
}

/* A step fails: the session ends, the commit stays, and is caught up with before a takeover. */
static void
check_step_fails(enum colo_adapter_step step)
{
	struct here h;
	uint32_t committed;

	here_begin(&h);
	here_protect(&h);
	committed = h.e->s.committed;
	h.fails = step;
	h.e->p.checkpoint_wanted = true;
	UT_ENDS_UNTIL(h.e, h.e->s.state == COLO_SECONDARY_LISTEN);
	UT_ENDS_UNTIL(h.e, h.e->p.state == COLO_PRIMARY_STOPPED);
	CU_ASSERT_EQUAL(h.e->p.leave_status, COLO_EXIT_UNPROTECTED);
	CU_ASSERT_FALSE(h.e->paused);
	CU_ASSERT_EQUAL(h.e->s.committed, committed + 1);
	CU_ASSERT_EQUAL(h.e->s.guest_failures, 1);
	CU_ASSERT_TRUE(h.e->s.behind && h.e->s.cache_whole);
	CU_ASSERT_EQUAL(ends_agree(h.e), step != COLO_ADAPTER_PAUSE);
	/* still: no takeover, and nothing hangs */
	colo_secondary_failover(&h.e->s);
	UT_ENDS_UNTIL(h.e, !h.busy && h.e->s.state == COLO_SECONDARY_LISTEN);
	CU_ASSERT_EQUAL(h.n[0], 0);
	CU_ASSERT_EQUAL(h.e->s.guest_failures, 2);
	if (h.guest == COLO_ADAPTER_GUEST_RUNNING)
		here_write(&h, 0x99);
	h.fails = 0;
	colo_secondary_failover(&h.e->s);
	UT_ENDS_UNTIL(h.e, h.e->s.state == COLO_SECONDARY_FAILED_OVER);
	CU_ASSERT_TRUE(ends_agree(h.e));
	CU_ASSERT_EQUAL(h.epoch, committed + 1);
	CU_ASSERT_EQUAL(h.n[0], 1);
	ut_ends_free(h.e);
}

static void
test_here_steps_fail(void)
{
	check_step_fails(COLO_ADAPTER_PAUSE);
	check_step_fails(COLO_ADAPTER_LOAD);
	check_step_fails(COLO_ADAPTER_RESUME);
}

/* The primary goes, or the operator wants the takeover, in the middle of a flush: it is finished.
 */
static void
check_cut_flush(enum colo_secondary_state state, enum colo_adapter_step step, bool failover)
{
	struct here h;

	here_begin(&h);
	here_protect(&h);
	h.e->no_jobs = state == COLO_SECONDARY_FLUSHING;
	h.holds = 1u << step;
	h.e->p.checkpoint_wanted = true;
	UT_ENDS_UNTIL(h.e, h.e->s.state == state);
	if (failover) {
		colo_secondary_failover(&h.e->s);
	} else {
		h.e->frozen_primary = true;
		colo_session_close(h.e->session[0]);
	}
	UT_ENDS_UNTIL(h.e, h.e->s.session_over);
	CU_ASSERT_EQUAL(h.e->s.state, state);
	h.holds = 0;
	h.e->no_jobs = false;
	UT_ENDS_UNTIL(h.e,
		h.e->s.state == (failover ? COLO_SECONDARY_FAILED_OVER : COLO_SECONDARY_LISTEN));
	CU_ASSERT_TRUE(ends_agree(h.e));
	CU_ASSERT_EQUAL(h.guest, COLO_ADAPTER_GUEST_RUNNING);
	CU_ASSERT_EQUAL(h.n[0], failover);
	CU_ASSERT_FALSE(h.e->s.behind);
	ut_ends_free(h.e);
}

static void
test_here_cut_flush(void)
{
	static const struct {
		enum colo_secondary_state state;
		enum colo_adapter_step step; /* that it waits for, or would */
	} at[] = {
		{COLO_SECONDARY_PAUSING, COLO_ADAPTER_PAUSE},
		{COLO_SECONDARY_FLUSHING, COLO_ADAPTER_LOAD},
		{COLO_SECONDARY_LOADING, COLO_ADAPTER_LOAD},
		{COLO_SECONDARY_RESUMING, COLO_ADAPTER_RESUME},
	};

	for (unsigned int i = 0; i < RTE_DIM(at); i++) {
		check_cut_flush(at[i].state, at[i].step, false);
		check_cut_flush(at[i].state, at[i].step, true);
	}
}

/* It goes away, or is not where it should be: the session ends. */
static void
test_here_lost(void)
{
	static const enum colo_adapter_guest guests[] = {COLO_ADAPTER_GUEST_UNREACHABLE,
		COLO_ADAPTER_GUEST_WAITING, COLO_ADAPTER_GUEST_PAUSED};
	struct here h;

	for (unsigned int i = 0; i < 2 * RTE_DIM(guests); i++) {
		here_begin(&h);
		here_protect(&h);
		if (i % 2 != 0)
			here_receive(&h);
		h.e->frozen_primary = false;
		h.guest = guests[i / 2];
		UT_ENDS_UNTIL(h.e, h.e->s.state == COLO_SECONDARY_LISTEN);
		UT_ENDS_UNTIL(h.e, h.e->p.state == COLO_PRIMARY_STOPPED);
		CU_ASSERT_FALSE(h.e->paused);
		CU_ASSERT_EQUAL(h.e->s.guest_failures, 1);
		CU_ASSERT_EQUAL(h.e->s.cache_whole, i % 2 == 0);
		ut_ends_free(h.e);
	}
	/* in the full copy nobody may run */
	here_begin(&h);
	colo_primary_start(&h.e->p);
	UT_ENDS_UNTIL(h.e, h.e->s.state == COLO_SECONDARY_PRECOPY);
	h.guest = COLO_ADAPTER_GUEST_PAUSED;
	for (unsigned int i = 0; i < 10; i++)
		ut_ends_turn(h.e);
	CU_ASSERT_EQUAL(h.e->s.guest_failures, 0);
	h.guest = COLO_ADAPTER_GUEST_RUNNING;
	UT_ENDS_UNTIL(h.e, h.e->s.state == COLO_SECONDARY_LISTEN);
	CU_ASSERT_EQUAL(h.e->s.guest_failures, 1);
	ut_ends_free(h.e);
}

/* Memory is a running guest's until it has said that it stands still. */
static void
test_here_parked(void)
{
	struct here h;
	uint8_t *before;

	here_begin(&h);
	here_protect(&h);
	before = snapshot(h.e);
	colo_primary_stop(&h.e->p);
	UT_ENDS_UNTIL(
		h.e, h.e->p.state == COLO_PRIMARY_STOPPED && h.e->s.state == COLO_SECONDARY_LISTEN);
	h.holds = 1u << COLO_ADAPTER_PAUSE;
	colo_primary_start(&h.e->p);
	UT_ENDS_UNTIL(h.e, h.e->s.state == COLO_SECONDARY_PARKING);
	for (unsigned int i = 0; i < 1000; i++)
		ut_ends_turn(h.e);
	CU_ASSERT_EQUAL(h.e->s.state, COLO_SECONDARY_PARKING);
	CU_ASSERT_TRUE(is_snapshot(h.e, before));
	CU_ASSERT_NOT_EQUAL(h.e->s.committed, 0);
	h.holds = 0;
	UT_ENDS_UNTIL(h.e, h.e->s.state == COLO_SECONDARY_PRECOPY);
	CU_ASSERT_EQUAL(h.guest, COLO_ADAPTER_GUEST_PAUSED);
	CU_ASSERT_TRUE(log_is_empty(&h));
	CU_ASSERT_EQUAL(h.e->s.committed, 0);
	h.e->p.checkpoint_wanted = true;
	UT_ENDS_UNTIL(h.e, h.guest == COLO_ADAPTER_GUEST_RUNNING);
	CU_ASSERT_TRUE(ends_agree(h.e));
	free(before);
	ut_ends_free(h.e);
}

/* The primary is gone before it was let in: the guest runs on as if nothing had been. */
static void
test_here_unparked(void)
{
	struct here h;
	uint8_t *before;

	for (int failover = 0; failover < 2; failover++) {
		here_begin(&h);
		here_protect(&h);
		before = snapshot(h.e);
		colo_primary_stop(&h.e->p);
		UT_ENDS_UNTIL(h.e, h.e->p.state == COLO_PRIMARY_STOPPED &&
					   h.e->s.state == COLO_SECONDARY_LISTEN);
		h.holds = 1u << COLO_ADAPTER_PAUSE;
		memset(h.n, 0, sizeof(h.n));
		h.e->s.config.failover_on_peer_loss = true; /* this one is no loss */
		colo_primary_start(&h.e->p);
		UT_ENDS_UNTIL(h.e, h.e->s.state == COLO_SECONDARY_PARKING);
		if (failover) {
			colo_secondary_failover(&h.e->s);
		} else {
			h.e->frozen_primary = true;
			colo_session_close(h.e->session[0]);
			UT_ENDS_UNTIL(h.e, h.e->s.session_over);
		}
		h.holds = 0;
		UT_ENDS_UNTIL(h.e, h.e->s.state == (failover ? COLO_SECONDARY_FAILED_OVER
							     : COLO_SECONDARY_LISTEN));
		CU_ASSERT_EQUAL(h.n[0], failover);
		CU_ASSERT_EQUAL(h.guest, COLO_ADAPTER_GUEST_RUNNING);
		CU_ASSERT_EQUAL(h.n[COLO_ADAPTER_RESUME], 1);
		CU_ASSERT_EQUAL(h.n[COLO_ADAPTER_LOAD], 0);
		CU_ASSERT_TRUE(is_snapshot(h.e, before));
		CU_ASSERT_NOT_EQUAL(h.e->s.committed, 0);
		CU_ASSERT_FALSE(log_is_empty(&h));
		free(before);
		ut_ends_free(h.e);
	}
}

static void
test_here_not_parked(void)
{
	struct here h;

	here_begin(&h);
	h.guest = COLO_ADAPTER_GUEST_UNREACHABLE;
	colo_primary_start(&h.e->p);
	UT_ENDS_UNTIL(h.e, h.e->p.state == COLO_PRIMARY_LEAVING);
	CU_ASSERT_EQUAL(h.n[COLO_ADAPTER_PAUSE], 0);
	UT_ENDS_UNTIL(h.e, h.e->p.state == COLO_PRIMARY_STOPPED);
	h.guest = COLO_ADAPTER_GUEST_WAITING;
	h.fails = COLO_ADAPTER_PAUSE;
	colo_primary_start(&h.e->p);
	UT_ENDS_UNTIL(h.e, h.e->p.state == COLO_PRIMARY_LEAVING);
	CU_ASSERT_EQUAL(h.e->s.guest_failures, 1);
	UT_ENDS_UNTIL(h.e, h.e->p.state == COLO_PRIMARY_STOPPED);
	h.fails = 0;
	here_protect(&h);
	ut_ends_free(h.e);
}

/* A cache that a given-up epoch has changed takes no further one, only a full copy. */
static void
test_here_no_begin(void)
{
	struct here h;

	here_begin(&h);
	here_protect(&h);
	h.e->s.begin_kind = COLO_EPOCH_CHECKPOINT;
	h.e->s.state = COLO_SECONDARY_IDLE;
	h.e->s.cache_whole = false;
	colo_secondary_dispatch(&h.e->s, COLO_SECONDARY_EV_BEGIN);
	CU_ASSERT_EQUAL(h.e->s.state, COLO_SECONDARY_IDLE);
	h.e->s.cache_whole = true;
	colo_secondary_dispatch(&h.e->s, COLO_SECONDARY_EV_BEGIN);
	CU_ASSERT_EQUAL(h.e->s.state, COLO_SECONDARY_RECEIVING);
	ut_ends_free(h.e);
}

/* ---- lost, called again, resumed ---- */

static struct ut_ends *
begin_resumable(void)
{
	struct ut_ends *e = ut_ends_new();

	e->p.config.reconnect_ms = 5000;
	e->p.config.stay = false;
	return e;
}

/* A checkpoint that nothing of gets through; then the wire is whole again. */
static void
blip(struct ut_ends *e)
{
	e->p.checkpoint_wanted = true;
	e->cut = true;
	UT_ENDS_UNTIL(e, e->p.state == COLO_PRIMARY_SENDING);
	for (unsigned int i = 0; e->p.state != COLO_PRIMARY_STOPPED && i < 1000; i++)
		ut_ends_pass(e, 20);
	CU_ASSERT_EQUAL_FATAL(e->p.state, COLO_PRIMARY_STOPPED);
	CU_ASSERT_FALSE(e->paused);
	e->cut = false;
}

/* The next session is on, and a checkpoint was taken in it. */
static void
protect_again(struct ut_ends *e, uint64_t session)
{
	uint64_t before;

	for (unsigned int i = 0; e->p.sessions < session && i < 1000; i++)
		ut_ends_pass(e, 20);
	CU_ASSERT_EQUAL_FATAL(e->p.sessions, session);
	before = e->p.checkpoints;
	e->p.checkpoint_wanted = true;
	e->p.due_us = 0;
	UT_ENDS_UNTIL(e, e->p.checkpoints > before);
	e->p.due_us = UINT64_MAX;
	UT_ENDS_UNTIL(e, e->p.state == COLO_PRIMARY_READY && !e->p.guest_paused);
}

static void
test_resume(void)
{
	struct ut_ends *e = begin_resumable();
	uint32_t held;

	protect(e, 3);
	held = e->p.committed;
	for (uint64_t n = 2; n < 6; n++) {
		blip(e);
		protect_again(e, n);
		CU_ASSERT_EQUAL(e->p.resumed, n - 1);
		CU_ASSERT_EQUAL(e->s.resumed, n - 1);
		CU_ASSERT_EQUAL(e->p.committed, held + n - 1);
		CU_ASSERT_EQUAL(e->p.checkpoints, 3 + n - 1);
		CU_ASSERT_TRUE(e->p.last.pages > 0 && e->p.last.pages < 20);
		CU_ASSERT_TRUE(ends_agree(e));
		CU_ASSERT_TRUE(cache_is_guest(e));
	}
	CU_ASSERT_EQUAL(e->p.full_copies, 1);
	CU_ASSERT_EQUAL(e->s.full_copies, 1);
	CU_ASSERT_EQUAL(e->ends[0], 0);
	ut_ends_free(e);
}

/* The secondary commits, its answer is lost: it holds one more than the primary knows. */
static void
test_resume_in_doubt(void)
{
	struct ut_ends *e = begin_resumable();
	uint32_t held;
	void *m;

	protect(e, 2);
	held = e->p.committed;
	e->p.checkpoint_wanted = true;
	UT_ENDS_UNTIL(e, e->p.state == COLO_PRIMARY_ENDING);
	e->frozen_primary = true;
	UT_ENDS_UNTIL(e, e->s.committed == held + 1 && e->s.state == COLO_SECONDARY_IDLE);
	e->cut = true;
	while (rte_ring_dequeue(e->r->send.lane.rx, &m) == 0)
		rte_pktmbuf_free(m); /* the answer */
	e->frozen_primary = false;
	for (unsigned int i = 0; e->p.state != COLO_PRIMARY_STOPPED && i < 1000; i++)
		ut_ends_pass(e, 20);
	CU_ASSERT_EQUAL(e->p.committed, held);
	CU_ASSERT_EQUAL(e->p.doubt, held + 1);
	e->cut = false;
	protect_again(e, 2);
	CU_ASSERT_EQUAL(e->p.resumed, 1);
	CU_ASSERT_EQUAL(e->p.committed, held + 2);
	CU_ASSERT_TRUE(ends_agree(e));
	ut_ends_free(e);
}

/* What is not the same any more: a full copy, and both say why. */
static void
check_full_copy(struct ut_ends *e)
{
	protect_again(e, 2);
	CU_ASSERT_EQUAL(e->p.resumed, 0);
	CU_ASSERT_EQUAL(e->s.resumed, 0);
	CU_ASSERT_EQUAL(e->p.full_copies, 2);
	CU_ASSERT_EQUAL(e->s.full_copies, 2);
	CU_ASSERT_TRUE(ends_agree(e));
	ut_ends_free(e);
}

static void
test_no_resume(void)
{
	for (unsigned int i = 0; i < 4; i++) {
		struct ut_ends *e = begin_resumable();

		protect(e, 2);
		blip(e);
		if (i == 0) /* another run of the primary */
			e->p.instance++;
		if (i == 1) /* a secondary that holds nothing */
			e->s.committed = 0;
		if (i == 2) /* ... or something else */
			e->s.committed += 5;
		if (i == 3) /* a primary that knows of no checkpoint */
			e->p.committed = 0;
		check_full_copy(e);
	}
}

/* Checkpoints of two full copies have the same numbers: one is never taken for the other. */
static void
test_no_resume_from_before(void)
{
	struct ut_ends *e = begin_resumable();
	uint64_t before;

	protect(e, 2);
	before = e->s.instance;
	blip(e);
	e->s.committed = 0; /* another secondary at the same address */
	protect_again(e, 2);
	CU_ASSERT_EQUAL(e->p.full_copies, 2);
	blip(e);
	e->s.instance = before; /* the first one is back, with a checkpoint of that number */
	protect_again(e, 3);
	CU_ASSERT_EQUAL(e->p.resumed, 0);
	CU_ASSERT_EQUAL(e->p.full_copies, 3);
	CU_ASSERT_EQUAL(e->s.full_copies, 3);
	CU_ASSERT_TRUE(ends_agree(e));
	/* of the copy at hand it is known what changed */
	blip(e);
	protect_again(e, 4);
	CU_ASSERT_EQUAL(e->p.resumed, 1);
	CU_ASSERT_TRUE(ends_agree(e));
	ut_ends_free(e);
}

/* Nobody answers for as long as --reconnect says: it ends, with the status of a lost session. */
static void
test_reconnect_limit(void)
{
	struct ut_ends *e = begin_resumable();

	protect(e, 2);
	blip(e);
	colo_session_free(e->session[1]);
	e->session[1] = NULL;
	for (unsigned int i = 0; e->p.state != COLO_PRIMARY_CLOSED && i < 1000; i++) {
		e->now_us += 20000;
		colo_primary_poll(&e->p, e->now_us);
		ut_rig_turn(e->r);
	}
	CU_ASSERT_EQUAL(e->p.state, COLO_PRIMARY_CLOSED);
	CU_ASSERT_EQUAL(e->end_status, COLO_EXIT_UNPROTECTED);
	ut_ends_free(e);
}

/* `stop` ends the calling. */
static void
test_stop_calling(void)
{
	struct ut_ends *e = begin_resumable();

	e->p.config.stay = true;
	protect(e, 2);
	blip(e);
	colo_primary_stop(&e->p);
	ut_ends_pass(e, 1000);
	CU_ASSERT_EQUAL(e->p.state, COLO_PRIMARY_STOPPED);
	CU_ASSERT_EQUAL(e->p.sessions, 1);
	ut_ends_free(e);
}

/* Sessions that are lost again and again before a checkpoint is committed: calling is no use. */
static void
test_fruitless(void)
{
	struct ut_ends *e = begin_resumable();
	unsigned int lost = 0;

	protect(e, 2);
	blip(e);
	e->cut = true; /* sessions over TCP come about, frames do not get through */
	for (unsigned int i = 0; e->p.state != COLO_PRIMARY_CLOSED && i < 5000; i++)
		ut_ends_pass(e, 20);
	lost = e->p.sessions;
	CU_ASSERT_EQUAL(e->p.state, COLO_PRIMARY_CLOSED);
	CU_ASSERT_TRUE(lost >= 3 && lost <= 5);
	ut_ends_free(e);
}

static const struct ut_case cases[] = {
	{"two sessions", test_life},
	{"a block that only the primary names", test_extra_block},
	{"verify, by digest and by bytes", test_verify},
	{"a verdict that does not come", test_verify_limit},
	{"lost while receiving", test_lost_receiving},
	{"lost while flushing", test_lost_flushing},
	{"BEGIN over an open epoch", test_begin_while_open},
	{"END without an epoch", test_end_without_epoch},
	{"the first epoch is precopy", test_first_epoch_is_precopy},
	{"a source that fails once", test_source_fails_once},
	{"its own standstill", test_own_standstill},
	{"... counts against --hold", test_hold_counts_standstill},
	{"rests while its source works", test_leaving_rests},
	{"a primary that lives is not taken over from", test_living},
	{"one that is dead, or has no guest, is", test_dead},
	{"no keys, said once", test_no_keys},
	{"lost, resumed", test_resume},
	{"resumed from a checkpoint in doubt", test_resume_in_doubt},
	{"a full copy where one does not know", test_no_resume},
	{"a full copy where the checkpoint is of an earlier one", test_no_resume_from_before},
	{"called again, but not for ever", test_reconnect_limit},
	{"not called any more", test_stop_calling},
	{"fruitless calls", test_fruitless},
	{"HELLO's limit", test_hello_limit},
	{"a request of an old session", test_stale_request},
	{"a new primary after a failed takeover", test_takeover_failed},
	{"a guest here: commits", test_here_life},
	{"a guest here: verify", test_here_verify},
	{"a guest here: a given-up checkpoint", test_here_aborted},
	{"a guest here: its hypervisor's successor", test_here_successor},
	{"a guest here: steps that fail", test_here_steps_fail},
	{"a guest here: flushes cut short", test_here_cut_flush},
	{"a guest here: lost", test_here_lost},
	{"a guest here: parked", test_here_parked},
	{"a guest here: a primary that leaves again", test_here_unparked},
	{"a guest here: not parked", test_here_not_parked},
	{"a guest here: no epoch over a changed cache", test_here_no_begin},
};

int
main(void)
{
	ut_eal_start(256);
	return UT_RUN("epoch", cases);
}
