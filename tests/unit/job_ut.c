/* SPDX-License-Identifier: BSD-3-Clause */
/* Jobs: every piece once, by whoever comes; cancelled, posted again, with real threads. */
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "job.h"
#include "ut.h"

#define THREADS 4u
#define MOST	400u

static struct colo_job job;
static struct colo_blocks blocks;
static struct colo_counters counters;
static _Atomic uint32_t done[2][MOST]; /* [block][piece]: how often */
static _Atomic int tag;		       /* of the job at hand, seen by its pieces */
static _Atomic unsigned int strays;    /* pieces done under another job's tag */

static void
make_blocks(uint32_t first, uint32_t second)
{
	memset(&blocks, 0, sizeof(blocks));
	blocks.n = 2;
	blocks.block[0].n_pieces = first;
	blocks.block[1].n_pieces = second;
}

static void
piece(void *context, const struct colo_piece_ref *ref, struct colo_counters *c)
{
	if ((int)(intptr_t)context != atomic_load(&tag))
		atomic_fetch_add(&strays, 1);
	c->n[COLO_flush_pages]++;
	atomic_fetch_add(&done[ref->block][ref->piece], 1);
}

static void
begin(uint32_t first, uint32_t second)
{
	make_blocks(first, second);
	memset(&job, 0, sizeof(job));
	CU_ASSERT_EQUAL_FATAL(colo_piece_list_init(&job.list, &blocks), 0);
	colo_job_init(&job);
	memset((void *)done, 0, sizeof(done));
	memset(&counters, 0, sizeof(counters));
	atomic_store(&strays, 0);
}

static unsigned int
how_many(unsigned int times)
{
	unsigned int n = 0;

	for (unsigned int b = 0; b < 2; b++)
		for (unsigned int p = 0; p < MOST; p++)
			n += atomic_load(&done[b][p]) == times;
	return n;
}

static void
test_lists(void)
{
	uint64_t summary[2] = {1ull | 1ull << 63, 1};

	begin(65, 2);
	CU_ASSERT_EQUAL(job.list.room, 67);
	colo_piece_list_all(&job.list, &blocks);
	CU_ASSERT_EQUAL(job.list.n, 67);
	CU_ASSERT_TRUE(job.list.ref[64].block == 0 && job.list.ref[64].piece == 64);
	CU_ASSERT_TRUE(job.list.ref[65].block == 1 && job.list.ref[65].piece == 0);
	job.list.n = 0;
	colo_piece_list_add(&job.list, 0, summary, 2);
	colo_piece_list_add(&job.list, 1, summary, 1);
	CU_ASSERT_EQUAL(job.list.n, 5);
	CU_ASSERT_TRUE(job.list.ref[1].block == 0 && job.list.ref[1].piece == 63);
	CU_ASSERT_TRUE(job.list.ref[2].block == 0 && job.list.ref[2].piece == 64);
	CU_ASSERT_TRUE(job.list.ref[3].block == 1 && job.list.ref[3].piece == 0);
	/* never more than there is room for */
	memset(summary, 0xff, sizeof(summary));
	colo_piece_list_add(&job.list, 0, summary, 2);
	CU_ASSERT_EQUAL(job.list.n, 67);
	colo_piece_list_fini(&job.list);
	CU_ASSERT_PTR_NULL(job.list.ref);
	colo_piece_list_fini(&job.list);
	make_blocks(0, 0);
	CU_ASSERT_EQUAL(colo_piece_list_init(&job.list, &blocks), 0);
	colo_piece_list_all(&job.list, &blocks);
	CU_ASSERT_EQUAL(job.list.n, 0);
	colo_piece_list_fini(&job.list);
}

static void
test_one_core(void)
{
	begin(3, 2);
	CU_ASSERT_TRUE(colo_job_done(&job)); /* none was posted */
	CU_ASSERT_FALSE(colo_job_poll(&job, &counters));
	for (int round = 1; round <= 3; round++) {
		atomic_store(&tag, round);
		colo_piece_list_all(&job.list, &blocks);
		colo_job_post(&job, piece, (void *)(intptr_t)round);
		for (unsigned int i = 0; i < 5; i++) {
			CU_ASSERT_FALSE(colo_job_done(&job));
			CU_ASSERT_TRUE(colo_job_poll(&job, &counters));
		}
		CU_ASSERT_FALSE(colo_job_poll(&job, &counters));
		CU_ASSERT_TRUE(colo_job_done(&job));
		CU_ASSERT_TRUE(colo_job_done(&job));
		CU_ASSERT_FALSE(colo_job_poll(&job, &counters));
		CU_ASSERT_EQUAL(how_many(round), 5);
	}
	CU_ASSERT_EQUAL(counters.n[COLO_flush_pages], 15);
	colo_piece_list_fini(&job.list);
}

static void
test_empty(void)
{
	begin(3, 2);
	job.list.n = 0;
	colo_job_post(&job, piece, NULL);
	CU_ASSERT_FALSE(colo_job_poll(&job, &counters));
	CU_ASSERT_TRUE(colo_job_done(&job));
	colo_piece_list_fini(&job.list);
}

static void
test_cancel(void)
{
	for (unsigned int at = 0; at <= 5; at++) {
		begin(3, 2);
		CU_ASSERT_TRUE(colo_job_cancel(&job)); /* none was posted */
		colo_piece_list_all(&job.list, &blocks);
		colo_job_post(&job, piece, NULL);
		for (unsigned int i = 0; i < at; i++)
			colo_job_poll(&job, &counters);
		CU_ASSERT_TRUE(colo_job_cancel(&job));
		CU_ASSERT_FALSE(colo_job_poll(&job, &counters));
		CU_ASSERT_TRUE(colo_job_done(&job));
		CU_ASSERT_EQUAL(how_many(1), at);
		/* and another one after it */
		colo_job_post(&job, piece, NULL);
		while (colo_job_poll(&job, &counters))
			;
		CU_ASSERT_TRUE(colo_job_done(&job));
		CU_ASSERT_EQUAL(how_many(2), at);
		CU_ASSERT_EQUAL(how_many(1), 5 - at);
		colo_piece_list_fini(&job.list);
	}
}

/* A piece that is being done when the job is cancelled is waited for. */
static void
cancel_within(void *context, const struct colo_piece_ref *ref, struct colo_counters *c)
{
	(void)ref;
	(void)c;
	CU_ASSERT_FALSE(colo_job_cancel(&job));
	CU_ASSERT_FALSE(colo_job_cancel(&job)); /* called until true: nothing is counted twice */
	*(unsigned int *)context += 1;
}

static void
test_cancel_busy(void)
{
	unsigned int calls = 0;

	begin(3, 2);
	colo_piece_list_all(&job.list, &blocks);
	colo_job_post(&job, cancel_within, &calls);
	CU_ASSERT_TRUE(colo_job_poll(&job, &counters));
	CU_ASSERT_FALSE(colo_job_poll(&job, &counters));
	CU_ASSERT_TRUE(colo_job_cancel(&job));
	CU_ASSERT_EQUAL(calls, 1);
	colo_piece_list_fini(&job.list);
}

/* Two cores went for the last piece at once, and one of them is at it while the job is cancelled.
 */
static void
test_cancel_overshot(void)
{
	begin(3, 2);
	colo_piece_list_all(&job.list, &blocks);
	colo_job_post(&job, piece, NULL);
	for (unsigned int i = 0; i < 4; i++)
		CU_ASSERT_TRUE(colo_job_poll(&job, &counters));
	atomic_fetch_add(&job.next, 2);
	CU_ASSERT_FALSE(colo_job_cancel(&job));
	atomic_fetch_add(&job.done, 1);
	CU_ASSERT_TRUE(colo_job_cancel(&job));
	colo_piece_list_fini(&job.list);
}

static atomic_bool stop;

static void *
core(void *arg)
{
	struct colo_counters *c = arg;

	while (!atomic_load(&stop))
		if (!colo_job_poll(&job, c))
			sched_yield();
	return NULL;
}

/* Many short jobs of changing length: no piece twice, none forgotten, none of another job. */
static void
test_threads(void)
{
	static struct colo_counters c[THREADS];
	pthread_t thread[THREADS];
	uint64_t all = 0, posted = 0;
	unsigned int wrong = 0;

	begin(MOST, 8);
	memset(c, 0, sizeof(c));
	atomic_store(&stop, false);
	for (unsigned int i = 0; i < THREADS; i++)
		CU_ASSERT_EQUAL_FATAL(pthread_create(&thread[i], NULL, core, &c[i]), 0);
	srand(7);
	for (int round = 1; round <= 2000; round++) {
		bool cancel = rand() % 4 == 0, over = false;

		atomic_store(&tag, round);
		memset((void *)done, 0, sizeof(done));
		colo_piece_list_all(&job.list, &blocks);
		job.list.n = rand() % 3 ? (uint32_t)rand() % 10 : (uint32_t)rand() % job.list.room;
		colo_job_post(&job, piece, (void *)(intptr_t)round);
		while (!over) {
			over = cancel ? colo_job_cancel(&job) : colo_job_done(&job);
			if (!over)
				sched_yield();
		}
		wrong += how_many(0) + how_many(1) != 2 * MOST;
		if (!cancel)
			wrong += how_many(1) != job.list.n;
		posted += how_many(1);
	}
	atomic_store(&stop, true);
	for (unsigned int i = 0; i < THREADS; i++) {
		pthread_join(thread[i], NULL);
		all += c[i].n[COLO_flush_pages];
	}
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT_EQUAL(atomic_load(&strays), 0);
	CU_ASSERT_EQUAL(all, posted);
	colo_piece_list_fini(&job.list);
}

static const struct ut_case cases[] = {
	{"lists of pieces", test_lists},
	{"one core", test_one_core},
	{"no pieces", test_empty},
	{"cancelled", test_cancel},
	{"cancelled in the middle of a piece", test_cancel_busy},
	{"cancelled after two cores claimed at once", test_cancel_overshot},
	{"several threads, many jobs", test_threads},
};

int
main(void)
{
	return UT_RUN("job", cases);
}
