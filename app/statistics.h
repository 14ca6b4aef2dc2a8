/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * Mean, deviation and percentiles of a stream of numbers of any length, in a fixed amount of
 * memory: mean, deviation and maximum are exact, percentiles within 1/256 of the true value.
 */
#ifndef COLO_APP_STATISTICS_H
#define COLO_APP_STATISTICS_H

#include <stdint.h>

/**
 * Log-linear buckets: below 256 one a value; above, 128 for each power of two, so that a bucket
 * is never wider than 1/128 of its values, and its middle never farther off than 1/256.
 */
#define COLO_STATISTICS_BUCKETS (128u * 24 + 256)

/** Zeroed by colo_statistics_reset(). One thread. */
struct colo_statistics {
	uint64_t n;
	double mean, m2; /* Welford: m2 is the sum of squared differences from the mean */
	uint32_t max;
	uint64_t bucket[COLO_STATISTICS_BUCKETS];
};

void colo_statistics_reset(struct colo_statistics *s);

void colo_statistics_add(struct colo_statistics *s, uint32_t value);

/**
 * The smallest value that at least @p percent (0 < percent <= 100) of all values do not exceed;
 * 0 if there are none.
 */
uint32_t colo_statistics_percentile(const struct colo_statistics *s, double percent);

/** Of the values themselves (divided by n, not by n - 1); 0 if there are none. */
double colo_statistics_stddev(const struct colo_statistics *s);

#endif
