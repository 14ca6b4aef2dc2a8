/* SPDX-License-Identifier: BSD-3-Clause */
/* What a poll core does without work: spins, or yields, then sleeps; and is back at once. */
#include <time.h>

#include "idle.h"
#include "ut.h"

#define MANY 5000u

static uint64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

/* CPU time of this thread: a spinning core uses what passes, a sleeping one does not. */
static uint64_t
cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static void
test_spin(void)
{
	struct colo_idler idler = {.adaptive = false};
	uint64_t start = cpu_ns();

	for (unsigned int i = 0; i < MANY; i++)
		colo_idle(&idler, false);
	CU_ASSERT_EQUAL(idler.turns, 0); /* it never counts towards a sleep */
	CU_ASSERT_TRUE(cpu_ns() > start);
}

static void
test_adaptive(void)
{
	struct colo_idler idler = {.adaptive = true};
	uint32_t at;
	uint64_t start, cpu;

	for (unsigned int i = 0; i < MANY; i++) {
		at = idler.turns;
		colo_idle(&idler, false);
		if (idler.turns == at)
			break; /* as deep as it gets */
	}
	CU_ASSERT_TRUE(idler.turns > 0 && idler.turns < MANY);
	start = now_ns();
	cpu = cpu_ns();
	for (unsigned int i = 0; i < 100; i++)
		colo_idle(&idler, false);
	CU_ASSERT_TRUE(now_ns() - start >= 100 * 50000ull); /* slept */
	CU_ASSERT_TRUE(cpu_ns() - cpu < now_ns() - start);
	colo_idle(&idler, true);
	CU_ASSERT_EQUAL(idler.turns, 0);
}

/* With work each turn there is no system call to pay for: it costs next to nothing. */
static void
test_work(void)
{
	struct colo_idler idler = {.adaptive = true};
	uint64_t start = cpu_ns();

	for (unsigned int i = 0; i < 100000; i++)
		colo_idle(&idler, true);
	CU_ASSERT_EQUAL(idler.turns, 0);
	CU_ASSERT_TRUE(cpu_ns() - start < 50000000);
}

/* Giving way after a piece of a job is no idling: the count of turns stays as it is. */
static void
test_share(void)
{
	struct colo_idler idler = {.adaptive = true, .turns = 7};
	uint64_t start = now_ns();

	colo_idle_share(&idler);
	CU_ASSERT_EQUAL(idler.turns, 7);
	idler.adaptive = false; /* a dedicated core makes no system call */
	for (unsigned int i = 0; i < 1000; i++)
		colo_idle_share(&idler);
	CU_ASSERT_EQUAL(idler.turns, 7);
	CU_ASSERT_TRUE(now_ns() - start < 1000000000ull);
}

static const struct ut_case cases[] = {
	{"spin", test_spin},
	{"adaptive", test_adaptive},
	{"work", test_work},
	{"giving way", test_share},
};

int
main(void)
{
	return UT_RUN("idle", cases);
}
