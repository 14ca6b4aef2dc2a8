/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Both state machines over the rig of ut_rig.h, in one thread: sessions over the loopback, a source
 * that does what the test says, jobs done between turns. The state machines' time is the test's: a
 * few microseconds a turn, so that a busy machine reaches no limit, and one that is to be reached
 * need not be waited for. (The channels' windows run on the real clock.)
 */
#ifndef COLO_UT_ENDS_H
#define COLO_UT_ENDS_H

#include "clock.h"
#include "primary.h"
#include "secondary.h"
#include "ut_rig.h"

#define UT_ENDS_BLOCK	 (COLO_PIECE_SIZE + 3 * COLO_PAGE_SIZE) /* its last piece is short */
#define UT_ENDS_DEVICE	 (2 * COLO_PAGE_SIZE)
#define UT_ENDS_TURN_US	 5u
#define UT_ENDS_TURNS	 400000u
#define UT_ENDS_LIMIT_MS 1000u

struct ut_ends {
	struct ut_rig *r;
	struct colo_job job[2];
	struct colo_steering steering[2];
	struct colo_session *session[2];
	struct colo_source source;
	struct colo_primary p;
	struct colo_journal journal; /* none: its calls do nothing */
	struct colo_secondary s;
	struct colo_notify notify[2];
	struct colo_counters counters;
	uint64_t now_us;
	/* what the test holds back */
	bool cut;	     /* no frame gets through */
	bool no_jobs;	     /* poll cores do no piece of the secondary's jobs */
	bool frozen_primary; /* its control core does not run */
	bool slow_resume;    /* RESUME is not carried out */
	/* the source */
	enum colo_source_status status; /* of the last request */
	enum colo_source_status next;	/* what the next ROUND or PAUSE ends with */
	bool paused;
	uint32_t writes; /* of the guest, so far */
	unsigned int resumes;
	/* what was told */
	unsigned int epochs[2], ends[2];
	int end_status;
	uint64_t mismatches, verified;
};

/* The guest's work between two epochs: some pages of the block, and its device state. */
static inline void
ut_ends_write(struct ut_ends *e)
{
	static const uint32_t pages[] = {0, 1, 63, 64, 511, 512, 514};
	struct colo_blocks *b = &e->r->blocks[0];

	e->writes++;
	for (unsigned int i = 0; i < RTE_DIM(pages); i++) {
		memset(colo_page_addr(&b->block[0].guest, pages[i]), (uint8_t)(e->writes * 7 + i),
			COLO_PAGE_SIZE);
		colo_dirty_set(&b->block[0].todo, pages[i]);
	}
	memset(b->block[1].guest.addr, (uint8_t)e->writes, COLO_PAGE_SIZE);
	colo_dirty_set(&b->block[1].todo, 0);
}

/* The inverse of colo_tsc_us(). */
static inline uint64_t
ut_ends_tsc(const struct ut_ends *e)
{
	uint64_t hz = rte_get_tsc_hz();

	return e->now_us / 1000000 * hz + (e->now_us % 1000000 + 1) * hz / 1000000;
}

static inline void
ut_ends_request(struct colo_source *source, enum colo_source_request request)
{
	struct ut_ends *e = source->state;

	if (request == COLO_SOURCE_RESUME) {
		e->resumes++;
		if (e->slow_resume) {
			e->status = COLO_SOURCE_BUSY;
			return;
		}
		e->paused = false;
		e->status = COLO_SOURCE_DONE;
		return;
	}
	e->status = e->next;
	if (request == COLO_SOURCE_PAUSE) {
		e->paused = true;
		atomic_store(&source->paused_tsc, ut_ends_tsc(e));
	}
	if (e->status == COLO_SOURCE_FAILED)
		colo_error_set(&source->error, "the source fails on purpose");
	else
		ut_ends_write(e);
}

static inline enum colo_source_status
ut_ends_source_poll(struct colo_source *source)
{
	return ((struct ut_ends *)source->state)->status;
}

static const struct colo_source_ops ut_ends_source = {
	.name = "ut", .request = ut_ends_request, .poll = ut_ends_source_poll};

static inline void
ut_ends_text(void *context, bool warning, const char *text)
{
	(void)context;
	(void)warning;
	(void)text;
}

static inline void
ut_ends_progress(void *context, uint64_t done, uint64_t total)
{
	(void)context;
	(void)done;
	(void)total;
}

static inline void
ut_ends_epoch(void *context, const struct colo_epoch_report *report)
{
	struct ut_ends *e = context;

	e->epochs[report->is_secondary]++;
	e->mismatches += report->mismatches;
	e->verified += report->verified;
}

static inline void
ut_ends_end(void *context, int status)
{
	struct ut_ends *e = context;

	e->ends[0]++;
	e->end_status = status;
}

static inline void
ut_ends_primary(struct ut_ends *e, uint16_t port)
{
	struct colo_primary *p = &e->p;

	e->source = (struct colo_source){
		.ops = &ut_ends_source, .blocks = &e->r->blocks[0], .state = e};
	p->config = (struct colo_primary_config){.host = "127.0.0.1",
		.port = port,
		.connect_timeout_ms = 1000,
		.peer_timeout_ms = UT_ENDS_LIMIT_MS,
		.hold_ms = UT_ENDS_LIMIT_MS,
		.precopy_threshold = 100,
		.precopy_rounds = 10,
		.mtu = e->r->o.mtu,
		.udp_port = UT_RIG_PORT,
		.stay = true};
	p->blocks = &e->r->blocks[0];
	p->send = &e->r->send;
	p->port = &e->r->port[0];
	p->steering = &e->steering[0];
	p->session = e->session[0];
	p->source = &e->source;
	p->notify = &e->notify[0];
	p->job = &e->job[0];
	p->local = e->r->address[0];
	colo_primary_init(p);
	for (unsigned int i = 0; i < p->blocks->n; i++)
		colo_dirty_set_range(&p->blocks->block[i].todo, 0, p->blocks->block[i].n_pages);
}

static inline void
ut_ends_secondary(struct ut_ends *e)
{
	struct colo_secondary *s = &e->s;

	s->config = (struct colo_secondary_config){.peer_timeout_ms = UT_ENDS_LIMIT_MS,
		.hold_ms = UT_ENDS_LIMIT_MS,
		.udp_port = UT_RIG_PORT + 100,
		.mtu = e->r->o.mtu};
	s->blocks = &e->r->blocks[1];
	s->receive = &e->r->receive;
	s->port = &e->r->port[1];
	s->steering = &e->steering[1];
	s->session = e->session[1];
	s->notify = &e->notify[1];
	s->job = &e->job[1];
	s->journal = &e->journal;
	s->local = e->r->address[1];
	colo_secondary_init(s);
}

static inline struct ut_ends *
ut_ends_new_with(uint32_t extra_blocks)
{
	const struct ut_rig_options o = {.mtu = 4200,
		.ip_version = 4,
		.n_channels = 2,
		.window = 64,
		.n_blocks = 2,
		.block_size = {UT_ENDS_BLOCK, UT_ENDS_DEVICE},
		.extra_blocks = extra_blocks};
	struct ut_ends *e = aligned_alloc(64, sizeof(*e));
	struct colo_error err = {""};

	CU_ASSERT_PTR_NOT_NULL_FATAL(e);
	memset(e, 0, sizeof(*e));
	e->now_us = colo_now_us();
	e->r = ut_rig_new(&o);
	/* the state machines open the session */
	memset(&e->r->send.phase, 0, sizeof(e->r->send.phase));
	memset(&e->r->receive.phase, 0, sizeof(e->r->receive.phase));
	for (unsigned int end = 0; end < 2; end++) {
		colo_job_init(&e->job[end]);
		CU_ASSERT_EQUAL_FATAL(
			colo_piece_list_init(&e->job[end].list, &e->r->blocks[end]), 0);
		e->session[end] = colo_session_new(&err);
		CU_ASSERT_PTR_NOT_NULL_FATAL(e->session[end]);
		e->notify[end] = (struct colo_notify){.context = e,
			.text = ut_ends_text,
			.progress = ut_ends_progress,
			.epoch = ut_ends_epoch,
			.end = ut_ends_end};
	}
	CU_ASSERT_EQUAL_FATAL(colo_session_listen(e->session[1], "127.0.0.1", 0, &err), 0);
	ut_ends_secondary(e);
	ut_ends_primary(e, colo_session_port(e->session[1]));
	return e;
}

static inline struct ut_ends *
ut_ends_new(void)
{
	return ut_ends_new_with(0);
}

static inline void
ut_ends_free(struct ut_ends *e)
{
	for (unsigned int end = 0; end < 2; end++) {
		if (e->session[end] != NULL)
			colo_session_free(e->session[end]);
		colo_piece_list_fini(&e->job[end].list);
	}
	ut_rig_free(e->r);
	free(e);
}

static inline void
ut_ends_lose(struct ut_ends *e)
{
	void *m;

	for (unsigned int end = 0; end < 2; end++)
		for (unsigned int c = 0; c < e->r->o.n_channels; c++)
			while (rte_ring_dequeue(e->r->out[end][c], &m) == 0)
				rte_pktmbuf_free(m);
}

/* One turn of everything. */
static inline void
ut_ends_turn(struct ut_ends *e)
{
	e->now_us += UT_ENDS_TURN_US;
	if (!e->frozen_primary)
		colo_primary_poll(&e->p, e->now_us);
	colo_secondary_poll(&e->s, e->now_us);
	ut_rig_turn(e->r);
	if (e->cut)
		ut_ends_lose(e);
	else
		ut_rig_carry(e->r);
	while (colo_job_poll(&e->job[0], &e->counters))
		;
	while (!e->no_jobs && colo_job_poll(&e->job[1], &e->counters))
		;
}

/* Turns until @p condition holds. */
#define UT_ENDS_UNTIL(e, condition)                             \
	do {                                                    \
		unsigned int turns = 0;                         \
                                                                \
		while (!(condition) && turns++ < UT_ENDS_TURNS) \
			ut_ends_turn(e);                        \
		CU_ASSERT_FATAL(condition);                     \
	} while (0)

/* So long passes, in steps that are short against every limit. */
static inline void
ut_ends_pass(struct ut_ends *e, uint32_t ms)
{
	for (uint32_t passed = 0; passed < ms; passed += 20) {
		e->now_us += 20000;
		for (unsigned int i = 0; i < 4; i++)
			ut_ends_turn(e);
	}
}

#endif
