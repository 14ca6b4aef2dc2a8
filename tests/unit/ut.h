/* SPDX-License-Identifier: BSD-3-Clause */
/* What each unit test program needs: a table of cases, run by CUnit, exit status 1 on a failure. */
#ifndef COLO_UT_H
#define COLO_UT_H

#include <CUnit/Basic.h>
#include <CUnit/CUnit.h>

struct ut_case {
	const char *name;
	CU_TestFunc run;
};

static inline int
ut_run(const char *suite_name, const struct ut_case *cases, unsigned int n)
{
	CU_pSuite suite;
	unsigned int failures;

	if (CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	suite = CU_add_suite(suite_name, NULL, NULL);
	for (unsigned int i = 0; suite != NULL && i < n; i++)
		CU_add_test(suite, cases[i].name, cases[i].run);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failures = CU_get_number_of_failures();
	if (CU_get_number_of_tests_run() != n)
		failures++;
	CU_cleanup_registry();
	return failures != 0;
}

#define UT_RUN(suite_name, cases) ut_run(suite_name, cases, sizeof(cases) / sizeof((cases)[0]))

#endif
