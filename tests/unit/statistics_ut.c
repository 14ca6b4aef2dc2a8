/* SPDX-License-Identifier: BSD-3-Clause */
/* Unit test of app/statistics.c: against exact results of the same numbers. */
#include "../../app/statistics.c"

#include <stdlib.h>

#include "ut.h"

static struct colo_statistics s;

static void
test_empty(void)
{
	colo_statistics_reset(&s);
	CU_ASSERT_EQUAL(colo_statistics_percentile(&s, 50), 0);
	CU_ASSERT_EQUAL(colo_statistics_stddev(&s), 0);
	CU_ASSERT_EQUAL(s.mean, 0);
	CU_ASSERT_EQUAL(s.max, 0);
}

static void
test_small_are_exact(void)
{
	colo_statistics_reset(&s);
	for (uint32_t v = 1; v <= 100; v++)
		colo_statistics_add(&s, v);
	CU_ASSERT_DOUBLE_EQUAL(s.mean, 50.5, 1e-9);
	CU_ASSERT_DOUBLE_EQUAL(colo_statistics_stddev(&s), 28.866070047722118, 1e-9);
	CU_ASSERT_EQUAL(colo_statistics_percentile(&s, 50), 50);
	CU_ASSERT_EQUAL(colo_statistics_percentile(&s, 50.1), 51);
	CU_ASSERT_EQUAL(colo_statistics_percentile(&s, 99), 99);
	CU_ASSERT_EQUAL(colo_statistics_percentile(&s, 100), 100);
	CU_ASSERT_EQUAL(s.max, 100);
}

static void
test_buckets(void)
{
	static const uint32_t edges[] = {0, 1, 127, 128, 129, 255, 256, 257, 258, 511, 512, 513,
		65535, 65536, 1u << 31, UINT32_MAX - 1, UINT32_MAX};

	for (unsigned int i = 0; i < sizeof(edges) / sizeof(edges[0]); i++) {
		uint32_t v = edges[i], m = middle_of(bucket_of(v));

		CU_ASSERT(bucket_of(v) < COLO_STATISTICS_BUCKETS);
		CU_ASSERT(v >= 256 || m == v);
		CU_ASSERT_DOUBLE_EQUAL(m, v, v / 256.0);
		CU_ASSERT_EQUAL(bucket_of(m), bucket_of(v));
	}
	CU_ASSERT_EQUAL(bucket_of(UINT32_MAX), COLO_STATISTICS_BUCKETS - 1);
}

static void
test_buckets_ascend(void)
{
	unsigned int last = 0;

	for (uint32_t v = 1; v < 1u << 20; v++) {
		unsigned int b = bucket_of(v);

		if (b != last && b != last + 1)
			CU_FAIL("a bucket is skipped");
		last = b;
	}
}

static int
compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void
test_against_sorted(void)
{
	static uint32_t values[10007];
	const unsigned int n = sizeof(values) / sizeof(values[0]);
	uint64_t x = 7;

	colo_statistics_reset(&s);
	for (unsigned int i = 0; i < n; i++) {
		x = x * 6364136223846793005ull + 1442695040888963407ull;
		values[i] = (uint32_t)(x >> 33) >> (x >> 60); /* all magnitudes */
		colo_statistics_add(&s, values[i]);
	}
	qsort(values, n, sizeof(values[0]), compare);
	for (double p = 0.5; p <= 100; p += 0.5) {
		uint32_t exact = values[(unsigned int)ceil(p / 100 * n) - 1];

		CU_ASSERT_DOUBLE_EQUAL(colo_statistics_percentile(&s, p), exact, exact / 256.0);
	}
	CU_ASSERT_EQUAL(s.max, values[n - 1]);
	CU_ASSERT(colo_statistics_percentile(&s, 100) <= s.max);
}

static void
test_percentile_below_max(void)
{
	colo_statistics_reset(&s);
	colo_statistics_add(&s, 1024); /* its bucket's middle is above it */
	CU_ASSERT_EQUAL(colo_statistics_percentile(&s, 99), 1024);
}

int
main(void)
{
	static const struct ut_case cases[] = {
		{"empty", test_empty},
		{"small numbers are exact", test_small_are_exact},
		{"edges of buckets", test_buckets},
		{"buckets ascend", test_buckets_ascend},
		{"against sorted", test_against_sorted},
		{"percentile is not above max", test_percentile_below_max},
	};

	return UT_RUN("statistics", cases);
}
