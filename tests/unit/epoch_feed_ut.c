/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Both state machines with a source that feeds: its guest calls, streams its pages while the epoch
 * is on, says when precopy is over and when a checkpoint is due, and is released at the end.
 */
#include "ut_ends.h"

#define PAGES (UT_ENDS_BLOCK / COLO_PAGE_SIZE)

/* What the guest of the test does; one thread, so no atomics. */
static struct {
	struct ut_ends *e;
	bool called, due;
	enum colo_source_status status;
	unsigned int rounds, pauses, resumes, releases;
	unsigned int hold_back; /* requests that stay BUSY until the test says so */
	uint8_t fill;
} g;

/* Feed a page: every 3rd is zeros, said so for every 6th. */
static void
feed_page(unsigned int block, uint32_t page)
{
	bool zero = page % 3 == 0;
	struct colo_feed_page p = {.block = block, .page = page, .zero = page % 6 == 0};
	uint8_t *at = colo_page_addr(&g.e->r->blocks[0].block[block].guest, page);

	memset(at, zero ? 0 : g.fill + page, COLO_PAGE_SIZE);
	CU_ASSERT_EQUAL_FATAL(colo_feed_put(&g.e->r->send.feed, page % 2, &p, 1), 1);
}

/* Descending, so that no two pages of a channel make an ascending packet. */
static void
feed_some(uint32_t step)
{
	g.fill++;
	for (uint32_t page = PAGES; page-- > 0;)
		if (page % step == 0)
			feed_page(0, page);
	feed_page(1, 0);
	feed_page(1, 1);
}

static void
feed_request(struct colo_source *source, enum colo_source_request request)
{
	g.status = COLO_SOURCE_DONE;
	switch (request) {
	case COLO_SOURCE_ROUND:
		g.rounds++;
		feed_some(1);
		source->precopy_over = g.rounds == 3;
		break;
	case COLO_SOURCE_PAUSE:
		g.pauses++;
		g.due = false;
		atomic_store(&source->paused_tsc, ut_ends_tsc(g.e));
		feed_some(g.pauses % 5 + 2);
		break;
	case COLO_SOURCE_RESUME:
		g.resumes++;
		return;
	case COLO_SOURCE_RELEASE:
		g.releases++;
		source->precopy_over = false;
		g.rounds = 0;
		return;
	}
	if (g.hold_back != 0)
		g.status = COLO_SOURCE_BUSY;
}

static enum colo_source_status
feed_poll(struct colo_source *source)
{
	(void)source;
	return g.status;
}

static bool
feed_called(struct colo_source *source)
{
	(void)source;
	return g.called;
}

static bool
feed_due(struct colo_source *source)
{
	(void)source;
	return g.due;
}

static const struct colo_source_ops ops = {
	.name = "ut",
	.copies = true,
	.feeds = true,
	.request = feed_request,
	.poll = feed_poll,
	.called = feed_called,
	.due = feed_due,
};

static struct ut_ends *
begin(void)
{
	struct ut_ends *e = ut_ends_new();
	struct colo_error err;

	memset(&g, 0, sizeof(g));
	g.e = e;
	CU_ASSERT_EQUAL_FATAL(colo_feed_init(&e->r->send.feed, e->r->o.n_channels, &err), 0);
	e->source.ops = &ops;
	e->source.feed = &e->r->send.feed;
	e->p.config.stay = false;
	for (unsigned int i = 0; i < 2; i++)
		colo_dirty_clear(&e->r->blocks[0].block[i].todo);
	return e;
}

static void
end(struct ut_ends *e)
{
	colo_feed_fini(&e->r->send.feed);
	ut_ends_free(e);
}

static bool
ends_agree(const struct ut_ends *e)
{
	const struct colo_blocks *b = e->r->blocks;

	return memcmp(b[0].block[0].guest.addr, b[1].block[0].guest.addr, UT_ENDS_BLOCK) == 0 &&
	       memcmp(b[0].block[1].guest.addr, b[1].block[1].guest.addr, UT_ENDS_DEVICE) == 0;
}

/* Three rounds, precopy's end as the first checkpoint, then whenever one is due. */
static void
protect(struct ut_ends *e, uint64_t n)
{
	uint64_t session = e->p.sessions + 1;

	g.called = true;
	UT_ENDS_UNTIL(e, e->p.sessions == session && e->p.checkpoints == 1);
	g.called = false;
	for (uint64_t i = 2; i <= n; i++) {
		UT_ENDS_UNTIL(e, e->p.state == COLO_PRIMARY_READY && e->p.opened);
		g.due = true;
		UT_ENDS_UNTIL(e, e->p.checkpoints == i);
	}
	UT_ENDS_UNTIL(e, e->p.state == COLO_PRIMARY_READY && !e->p.guest_paused);
}

static void
test_life(void)
{
	struct ut_ends *e = begin();

	ut_ends_pass(e, 100);
	CU_ASSERT_EQUAL(e->p.state, COLO_PRIMARY_STOPPED); /* nobody has called */
	colo_primary_start(&e->p);
	CU_ASSERT_EQUAL(e->p.state, COLO_PRIMARY_STOPPED);
	protect(e, 5);
	CU_ASSERT_EQUAL(g.rounds, 3);
	CU_ASSERT_EQUAL(e->p.rounds, 3);
	CU_ASSERT_EQUAL(g.pauses, 5);
	CU_ASSERT_EQUAL(g.resumes, 5);
	CU_ASSERT_TRUE(ends_agree(e));
	CU_ASSERT_EQUAL(e->s.committed, e->p.committed);
	ut_ends_pass(e, 3 * UT_ENDS_LIMIT_MS); /* not due: no checkpoint, and nothing is late */
	CU_ASSERT_EQUAL(e->p.checkpoints, 5);
	CU_ASSERT_EQUAL(e->p.state, COLO_PRIMARY_READY);
	colo_primary_stop(&e->p);
	UT_ENDS_UNTIL(e, e->p.state == COLO_PRIMARY_STOPPED && e->s.state == COLO_SECONDARY_LISTEN);
	CU_ASSERT_EQUAL(g.releases, 1);
	CU_ASSERT_EQUAL(g.resumes, 5);
	CU_ASSERT_EQUAL(e->ends[0], 0);
	protect(e, 3); /* it calls again */
	CU_ASSERT_TRUE(ends_agree(e));
	colo_primary_quit(&e->p);
	UT_ENDS_UNTIL(e, e->p.state == COLO_PRIMARY_CLOSED);
	CU_ASSERT_EQUAL(g.releases, 2);
	end(e);
}

/* As many checkpoints as were asked for: in order, and the program ends. */
static void
test_epochs(void)
{
	struct ut_ends *e = begin();

	e->p.config.epochs = 1;
	g.called = true;
	UT_ENDS_UNTIL(e, e->p.state == COLO_PRIMARY_CLOSED);
	CU_ASSERT_EQUAL(g.releases, 1);
	CU_ASSERT_EQUAL(e->p.checkpoints, 1);
	CU_ASSERT_EQUAL(e->end_status, COLO_EXIT_OK);
	end(e);
}

/* The guest stands still too long in a checkpoint: it is released, never told that it is loaded. */
static void
test_hold(void)
{
	struct ut_ends *e = begin();

	protect(e, 2);
	g.hold_back = 1;
	g.due = true;
	UT_ENDS_UNTIL(e, e->p.state == COLO_PRIMARY_COLLECTING);
	ut_ends_pass(e, UT_ENDS_LIMIT_MS + 40);
	UT_ENDS_UNTIL(e, e->p.state == COLO_PRIMARY_STOPPED && e->s.state == COLO_SECONDARY_LISTEN);
	CU_ASSERT_EQUAL(g.releases, 1);
	CU_ASSERT_EQUAL(g.resumes, 2);
	CU_ASSERT_EQUAL(e->p.checkpoints, 2);
	CU_ASSERT_EQUAL(e->p.leave_status, COLO_EXIT_UNPROTECTED);
	g.hold_back = 0;
	protect(e, 2);
	CU_ASSERT_TRUE(ends_agree(e));
	end(e);
}

/* A round may last as long as the guest likes while nothing is outstanding, and no longer. */
static void
test_stalled(void)
{
	struct ut_ends *e = begin();

	g.hold_back = 1;
	g.called = true;
	UT_ENDS_UNTIL(e, e->p.state == COLO_PRIMARY_COLLECTING);
	ut_ends_pass(e, 3 * UT_ENDS_LIMIT_MS);
	CU_ASSERT_EQUAL(e->p.state, COLO_PRIMARY_COLLECTING);
	e->cut = true;
	feed_page(0, 1);
	g.called = false;
	ut_ends_pass(e, 3 * UT_ENDS_LIMIT_MS);
	UT_ENDS_UNTIL(e, e->p.state == COLO_PRIMARY_STOPPED);
	CU_ASSERT_EQUAL(g.releases, 1);
	end(e);
}

/* The stream breaks between checkpoints, and in the middle of one. */
static void
test_stream_breaks(void)
{
	struct ut_ends *e = begin();

	for (unsigned int i = 0; i < 2; i++) {
		protect(e, 2);
		if (i == 1) {
			g.hold_back = 1;
			g.due = true;
			UT_ENDS_UNTIL(e, e->p.state == COLO_PRIMARY_COLLECTING);
		}
		colo_error_set(&e->source.error, "the stream broke");
		g.status = COLO_SOURCE_FAILED;
		UT_ENDS_UNTIL(e, e->p.state == COLO_PRIMARY_STOPPED);
		CU_ASSERT_EQUAL(g.releases, i + 1);
		UT_ENDS_UNTIL(e, e->s.state == COLO_SECONDARY_LISTEN);
		CU_ASSERT_NOT_EQUAL(e->s.committed, 0);
	}
	end(e);
}

/* Verified while the guest runs again: what was sent is a copy. */
static void
test_verify(void)
{
	struct ut_ends *e = begin();

	e->p.config.verify = true;
	e->p.verify.peer = &e->r->blocks[1];
	g.called = true;
	UT_ENDS_UNTIL(e, e->p.state == COLO_PRIMARY_VERIFYING);
	CU_ASSERT_EQUAL(g.resumes, 1);
	UT_ENDS_UNTIL(e, e->p.state == COLO_PRIMARY_READY);
	g.due = true;
	UT_ENDS_UNTIL(e, e->p.checkpoints == 2);
	UT_ENDS_UNTIL(e, e->p.state == COLO_PRIMARY_READY);
	CU_ASSERT_EQUAL(e->mismatches, 0);
	CU_ASSERT_NOT_EQUAL(e->verified, 0);
	e->r->blocks[1].block[0].guest.addr[COLO_PAGE_SIZE] ^= 1;
	e->r->blocks[1].block[0].cache.addr[COLO_PAGE_SIZE] ^= 1;
	g.due = true;
	UT_ENDS_UNTIL(e, e->p.checkpoints == 3);
	UT_ENDS_UNTIL(e, e->p.state == COLO_PRIMARY_READY);
	CU_ASSERT_NOT_EQUAL(e->mismatches, 0);
	end(e);
}

static const struct ut_case cases[] = {
	{"calls, rounds, checkpoints when due", test_life},
	{"as many as asked for", test_epochs},
	{"hold limit", test_hold},
	{"a round that waits, and one that stalls", test_stalled},
	{"the stream breaks", test_stream_breaks},
	{"verify", test_verify},
};

int
main(void)
{
	ut_eal_start(256);
	return UT_RUN("epoch_feed", cases);
}
