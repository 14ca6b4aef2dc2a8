/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Three sources by the contract of source.h: one that sends from the guest's own memory, one that
 * compares a copy, and one whose guest streams. What a real one's thread does comes in steps.
 */
#include <string.h>

#include "page.h"
#include "sim.h"

static struct colo_block *
block_of(uint32_t n, uint32_t *page)
{
	return &sim.end[SIM_PRIMARY].blocks.block[sim_block_of(n, page)];
}

void
sim_source_begin(struct colo_source *s)
{
	struct sim_source *src = &sim.source;

	memset(src, 0, sizeof(*src));
	src->at_us = SIM_NEVER;
	s->ops = &sim_source_ops[sim.config.source];
	s->blocks = &sim.end[SIM_PRIMARY].blocks;
	if (sim.config.source != SIM_TODO)
		return;
	/* the guest's memory is this process's: it began anew with it */
	for (uint32_t n = 0, page; n < sim_n_pages(); n++) {
		struct colo_block *b = block_of(n, &page);

		sim_page_make(sim.guest.image.value[n], colo_page_addr(&b->guest, page));
	}
}

static void
later(uint64_t us)
{
	sim.source.at_us = sim.now + us;
}

/* How long a source's thread takes, QMP included. */
static uint64_t
work_us(void)
{
	return sim_chance(30000) && !sim.calm ? sim_below(50 * SIM_MS) : sim_between(5, 800);
}

static void
done(void)
{
	sim.source.status = COLO_SOURCE_DONE;
	sim.source.at_us = SIM_NEVER;
	sim_wake(SIM_PRIMARY);
}

static void
fail(const char *why)
{
	SIM_COUNT(source_failures);
	sim.source.status = COLO_SOURCE_FAILED;
	sim.source.at_us = SIM_NEVER;
	colo_error_set(&sim.primary.source.error, "%s", why);
	sim_wake(SIM_PRIMARY);
}

static void
publish(uint32_t from, uint32_t to, bool all)
{
	for (uint32_t n = from, page; n < to; n++) {
		struct colo_block *b = block_of(n, &page);

		if (all || sim.guest.dirty[n])
			colo_dirty_set(&b->todo, page);
		sim.guest.dirty[n] = false;
	}
}

static uint32_t
first_of_device(void)
{
	return sim_n_pages() - sim.config.block_pages[sim.config.n_blocks - 1];
}

/* ---- from the guest's own memory ---- */

static void
step_todo(void)
{
	struct sim_source *src = &sim.source;

	if (src->request == COLO_SOURCE_RESUME) { /* it ran on at once; now it writes */
		sim_guest_write((unsigned int)sim_below(6));
		src->at_us = SIM_NEVER;
		return;
	}
	sim_guest_write((unsigned int)sim_below(8));
	if (src->request == COLO_SOURCE_PAUSE)
		sim_guest_pause();
	publish(0, sim_n_pages(), !src->all_known);
	src->all_known = true;
	if (src->fail_next)
		fail("the source fails on purpose");
	else
		done();
	src->fail_next = false;
}

/* ---- a copy that is compared ---- */

static void
collect_piece(struct colo_source *s, unsigned int block, uint32_t piece)
{
	struct colo_block *b = &s->blocks->block[block];
	uint32_t first = piece * COLO_PIECE_PAGES;
	uint32_t end = RTE_MIN(first + COLO_PIECE_PAGES, b->n_pages), before = 0;

	for (unsigned int i = 0; i < block; i++)
		before += sim.config.block_pages[i];
	for (uint32_t page = first; page < end; page++) {
		const uint8_t *now = sim.guest.bytes + (uint64_t)(before + page) * COLO_PAGE_SIZE;
		uint8_t *copy = colo_page_addr(&b->guest, page);

		if (colo_page.equal(now, copy))
			continue;
		memcpy(copy, now, COLO_PAGE_SIZE);
		colo_dirty_set(&b->todo, page);
	}
}

static void
copy_device(void)
{
	for (uint32_t n = first_of_device(), page; n < sim_n_pages(); n++) {
		struct colo_block *b = block_of(n, &page);

		memcpy(colo_page_addr(&b->guest, page),
			sim.guest.bytes + (uint64_t)n * COLO_PAGE_SIZE, COLO_PAGE_SIZE);
		colo_dirty_set(&b->todo, page);
	}
}

static void
step_staged(void)
{
	struct sim_source *src = &sim.source;

	if (src->request == COLO_SOURCE_RESUME) {
		sim_guest_resume();
		done();
	} else if (src->step++ == 0) {
		if (src->request == COLO_SOURCE_PAUSE)
			sim_guest_pause();
		src->status = COLO_SOURCE_COLLECT;
		later(work_us());
		sim_wake(SIM_PRIMARY);
	} else if (src->fail_next) {
		src->fail_next = false;
		fail("the source fails on purpose");
	} else {
		if (src->request == COLO_SOURCE_PAUSE)
			copy_device();
		done();
	}
}

/* ---- a guest that streams ---- */

static void
list_pages(uint32_t from, uint32_t to, bool all)
{
	struct sim_source *src = &sim.source;

	src->n_order = src->at_order = 0;
	for (uint32_t n = from; n < to; n++)
		if (all || sim.guest.dirty[n])
			src->order[src->n_order++] = n;
	for (unsigned int i = src->n_order; i > 1 && sim_chance(700000); i--) {
		unsigned int k = (unsigned int)sim_below(i);
		uint32_t n = src->order[i - 1];

		src->order[i - 1] = src->order[k];
		src->order[k] = n;
	}
}

static bool
feed_page(uint32_t n)
{
	uint32_t page;
	struct colo_block *b = block_of(n, &page);
	bool zero = sim.guest.image.value[n] == 0;
	struct colo_feed_page put = {.page = page,
		.block = (uint16_t)(b - sim.end[SIM_PRIMARY].blocks.block),
		.zero = zero && sim_chance(500000)};
	unsigned int channel = (unsigned int)sim_below(sim.config.n_channels);

	memcpy(colo_page_addr(&b->guest, page), sim.guest.bytes + (uint64_t)n * COLO_PAGE_SIZE,
		COLO_PAGE_SIZE);
	sim.guest.dirty[n] = false;
	return colo_feed_put(sim.primary.source.feed, channel, &put, 1) == 1;
}

static void
end_of_stream(void)
{
	struct sim_source *src = &sim.source;

	if (src->fail_next) {
		src->fail_next = false;
		fail("the stream breaks on purpose");
		return;
	}
	if (src->request == COLO_SOURCE_ROUND)
		sim.primary.source.precopy_over = ++src->fed_rounds >= src->wanted_rounds;
	done();
}

static void
begin_stream(void)
{
	struct sim_source *src = &sim.source;

	src->step = 1;
	if (src->request == COLO_SOURCE_PAUSE) {
		sim_guest_pause();
		for (uint32_t n = first_of_device(); n < sim_n_pages(); n++)
			sim.guest.dirty[n] = true;
		list_pages(0, sim_n_pages(), false);
	} else {
		list_pages(0, first_of_device(), src->fed_rounds == 0);
	}
}

static void
step_feed(void)
{
	struct sim_source *src = &sim.source;
	unsigned int n = (unsigned int)sim_between(1, 40);

	if (src->request == COLO_SOURCE_RESUME || src->request == COLO_SOURCE_RELEASE) {
		sim_guest_resume();
		src->due_us = sim.now + sim.config.interval_ms * SIM_MS;
		if (src->request == COLO_SOURCE_RELEASE) {
			src->called = false;
			src->fed_rounds = 0;
			sim.primary.source.precopy_over = false;
		}
		done();
		return;
	}
	if (src->step == 0)
		begin_stream();
	while (n-- > 0 && src->at_order < src->n_order)
		SIM_CHECK(feed_page(src->order[src->at_order++]), "the feed is full");
	sim_wake(SIM_PRIMARY);
	if (src->at_order == src->n_order)
		end_of_stream();
	else
		later(sim_between(5, 500));
}

void
sim_source_step(void)
{
	switch (sim.config.source) {
	case SIM_TODO:
		step_todo();
		break;
	case SIM_STAGED:
		step_staged();
		break;
	case SIM_FEED:
		step_feed();
		break;
	}
}

/* ---- control core ---- */

static void
request(struct colo_source *s, enum colo_source_request what)
{
	struct sim_source *src = &sim.source;

	(void)s;
	sim_hook();
	SIM_CHECK(what == COLO_SOURCE_RESUME || what == COLO_SOURCE_RELEASE ||
			  src->at_us == SIM_NEVER || src->request == COLO_SOURCE_RESUME,
		"the source is asked for %u while %u is not done", what, src->request);
	SIM_CHECK((what == COLO_SOURCE_RELEASE) <= (sim.config.source == SIM_FEED),
		"RELEASE of a source that does not feed");
	src->request = what;
	if (src->status == COLO_SOURCE_GONE)
		return;
	src->status = COLO_SOURCE_BUSY;
	src->step = 0;
	later(work_us());
	if (!sim.guest.running)
		sim.guest.pause_limit_us += src->at_us - sim.now;
	if (sim.config.source == SIM_TODO && what == COLO_SOURCE_RESUME) {
		src->status = COLO_SOURCE_DONE;
		sim_guest_resume();
	}
}

static enum colo_source_status
poll_status(struct colo_source *s)
{
	(void)s;
	return sim.source.status;
}

static bool
called(struct colo_source *s)
{
	(void)s;
	return sim.source.called;
}

static bool
due(struct colo_source *s)
{
	(void)s;
	return sim.guest.running && sim.now >= sim.source.due_us;
}

void
sim_source_call(void)
{
	sim.source.called = true;
	sim.source.wanted_rounds = (unsigned int)sim_between(1, 3);
}

/* The guest's QEMU dies, or something goes wrong with it. */
void
sim_source_break(bool gone)
{
	/* one that cannot let its guest go has nobody who could; that is told loudly, and no more
	 */
	if (!gone && sim.source.at_us != SIM_NEVER && sim.source.request >= COLO_SOURCE_RESUME)
		return;
	if (!gone) {
		if (sim.config.source == SIM_FEED && sim_chance(500000))
			fail("the stream breaks on purpose");
		else
			sim.source.fail_next = true;
		return;
	}
	SIM_COUNT(source_failures);
	sim.source.status = COLO_SOURCE_GONE;
	sim.source.at_us = SIM_NEVER;
	sim.guest.gone = true;
	sim.guest.pause_limit_us = SIM_NEVER;
	colo_error_set(&sim.primary.source.error, "the guest ends on purpose");
}

const struct colo_source_ops sim_source_ops[3] = {
	[SIM_TODO] = {.name = "todo", .request = request, .poll = poll_status},
	[SIM_STAGED] = {.name = "staged",
		.staged = true,
		.copies = true,
		.request = request,
		.poll = poll_status,
		.collect_piece = collect_piece},
	[SIM_FEED] = {.name = "feed",
		.copies = true,
		.feeds = true,
		.request = request,
		.poll = poll_status,
		.called = called,
		.due = due},
};
