/* SPDX-License-Identifier: BSD-3-Clause */
/* Every counter has a name of its own and a help text; the order that others rely on. */
#include <stdbool.h>
#include <string.h>

#include "counters.h"
#include "ut.h"

static void
test_names(void)
{
	for (unsigned int i = 0; i < COLO_N_COUNTERS; i++) {
		CU_ASSERT_PTR_NOT_NULL_FATAL(colo_counter_name[i]);
		CU_ASSERT_PTR_NOT_NULL_FATAL(colo_counter_help[i]);
		CU_ASSERT_TRUE(strlen(colo_counter_help[i]) > 0);
		/* what telemetry takes */
		CU_ASSERT_EQUAL(strspn(colo_counter_name[i], "abcdefghijklmnopqrstuvwxyz_"),
			strlen(colo_counter_name[i]));
		CU_ASSERT_TRUE(strlen(colo_counter_name[i]) < 64);
		for (unsigned int k = 0; k < i; k++)
			CU_ASSERT_STRING_NOT_EQUAL(colo_counter_name[i], colo_counter_name[k]);
	}
	CU_ASSERT_STRING_EQUAL(colo_counter_name[COLO_drop_twice], "drop_twice");
	CU_ASSERT_STRING_EQUAL(colo_counter_name[COLO_flush_pages], "flush_pages");
}

/* All that is dropped lies together, and all that is dropped is called so. */
static void
test_drops(void)
{
	for (unsigned int i = 0; i < COLO_N_COUNTERS; i++) {
		bool dropped = i >= COLO_drop_foreign && i <= COLO_drop_handover_full;

		CU_ASSERT_EQUAL(strncmp(colo_counter_name[i], "drop_", 5) == 0, dropped);
	}
}

static void
test_alignment(void)
{
	struct colo_counters two[2];

	CU_ASSERT_EQUAL(sizeof(two[0]) % 64, 0); /* no cache line is shared */
	CU_ASSERT_EQUAL((uintptr_t)&two[1] % 64, 0);
}

static const struct ut_case cases[] = {
	{"names and help", test_names},
	{"what is dropped", test_drops},
	{"alignment", test_alignment},
};

int
main(void)
{
	return UT_RUN("counters", cases);
}
