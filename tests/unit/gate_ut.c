/* SPDX-License-Identifier: BSD-3-Clause */
/* The gate: what is written before it is raised is what a poll core sees, and the other way. */
#include <pthread.h>

#include "gate.h"
#include "ut.h"

#define PHASES 20000u

static struct colo_gate gate;
static struct colo_gate_seat seat;

static void
test_one_thread(void)
{
	uint32_t wanted;

	CU_ASSERT_FALSE(colo_gate_changed(&gate, &seat, &wanted));
	CU_ASSERT_TRUE(colo_gate_arrived(&gate, &seat));
	colo_gate_raise(&gate);
	CU_ASSERT_FALSE(colo_gate_arrived(&gate, &seat));
	CU_ASSERT_TRUE(colo_gate_changed(&gate, &seat, &wanted));
	CU_ASSERT_FALSE(colo_gate_arrived(&gate, &seat)); /* seen is not adopted */
	colo_gate_arrive(&seat, wanted);
	CU_ASSERT_TRUE(colo_gate_arrived(&gate, &seat));
	CU_ASSERT_FALSE(colo_gate_changed(&gate, &seat, &wanted));
}

/* Raised twice, adopted once: there once the later one is adopted. */
static void
test_twice(void)
{
	uint32_t first, second;

	colo_gate_raise(&gate);
	CU_ASSERT_TRUE(colo_gate_changed(&gate, &seat, &first));
	colo_gate_raise(&gate);
	colo_gate_arrive(&seat, first);
	CU_ASSERT_FALSE(colo_gate_arrived(&gate, &seat));
	CU_ASSERT_TRUE(colo_gate_changed(&gate, &seat, &second));
	CU_ASSERT_NOT_EQUAL(first, second);
	colo_gate_arrive(&seat, second);
	CU_ASSERT_TRUE(colo_gate_arrived(&gate, &seat));
}

static void
test_wrap(void)
{
	uint32_t wanted;

	atomic_store(&gate.wanted, UINT32_MAX);
	atomic_store(&seat.at, UINT32_MAX);
	colo_gate_raise(&gate);
	CU_ASSERT_TRUE(colo_gate_changed(&gate, &seat, &wanted));
	CU_ASSERT_EQUAL(wanted, 0);
	colo_gate_arrive(&seat, wanted);
	CU_ASSERT_TRUE(colo_gate_arrived(&gate, &seat));
}

static struct {
	uint64_t phase[8]; /* plain memory: the gate alone orders it */
	uint64_t done[8];
	unsigned int torn;
} shared;

static void *
poll_core(void *arg)
{
	uint64_t last = 0;
	uint32_t wanted;

	(void)arg;
	while (last < PHASES) {
		if (!colo_gate_changed(&gate, &seat, &wanted)) {
			sched_yield();
			continue;
		}
		for (unsigned int i = 0; i < 8; i++) {
			shared.torn += shared.phase[i] != shared.phase[0];
			shared.done[i] = shared.phase[i];
		}
		last = shared.phase[0];
		colo_gate_arrive(&seat, wanted);
	}
	return NULL;
}

static void
test_two_threads(void)
{
	unsigned int late = 0;
	pthread_t thread;

	CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, poll_core, NULL), 0);
	for (uint64_t n = 1; n <= PHASES; n++) {
		for (unsigned int i = 0; i < 8; i++)
			shared.phase[i] = n;
		colo_gate_raise(&gate);
		while (!colo_gate_arrived(&gate, &seat))
			sched_yield();
		for (unsigned int i = 0; i < 8; i++)
			late += shared.done[i] != n;
	}
	pthread_join(thread, NULL);
	CU_ASSERT_EQUAL(shared.torn, 0);
	CU_ASSERT_EQUAL(late, 0);
}

static const struct ut_case cases[] = {
	{"raise, adopt, arrive", test_one_thread},
	{"raised twice", test_twice},
	{"numbers wrap", test_wrap},
	{"two threads", test_two_threads},
};

int
main(void)
{
	return UT_RUN("gate", cases);
}
