/* SPDX-License-Identifier: BSD-3-Clause */
/* Both state machines together: the life of a session and of its epochs, and their ends. */
#include "secondary_actions.h"
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

static const struct ut_case cases[] = {
	{"two sessions", test_life},
	{"verify, by digest and by bytes", test_verify},
	{"a verdict that does not come", test_verify_limit},
	{"lost while receiving", test_lost_receiving},
	{"lost while flushing", test_lost_flushing},
	{"BEGIN over an open epoch", test_begin_while_open},
	{"END without an epoch", test_end_without_epoch},
	{"the first epoch is precopy", test_first_epoch_is_precopy},
	{"a source that fails once", test_source_fails_once},
	{"HELLO's limit", test_hello_limit},
	{"a request of an old session", test_stale_request},
	{"a new primary after a failed takeover", test_takeover_failed},
};

int
main(void)
{
	ut_eal_start(256);
	return UT_RUN("epoch", cases);
}
