/* SPDX-License-Identifier: BSD-3-Clause */
/* Mean, deviation and percentiles of a stream of numbers, in a fixed amount of memory. */
#include <math.h>
#include <string.h>

#include "statistics.h"

#define EXACT_BITS 8 /* of the leading bits of a value that a bucket keeps */

static unsigned int
bucket_of(uint32_t value)
{
	unsigned int shift = 0;

	if (value >> EXACT_BITS != 0)
		shift = 32 - __builtin_clz(value) - EXACT_BITS;
	return shift * (1u << (EXACT_BITS - 1)) + (value >> shift);
}

static uint32_t
middle_of(unsigned int bucket)
{
	unsigned int half = 1u << (EXACT_BITS - 1);
	unsigned int shift = bucket < 2 * half ? 0 : bucket / half - 1;
	uint32_t first = (bucket - shift * half) << shift;

	return first + ((1u << shift) - 1) / 2;
}

void
colo_statistics_reset(struct colo_statistics *s)
{
	memset(s, 0, sizeof(*s));
}

void
colo_statistics_add(struct colo_statistics *s, uint32_t value)
{
	double delta = value - s->mean;

	s->n++;
	s->mean += delta / s->n;
	s->m2 += delta * (value - s->mean);
	if (value > s->max)
		s->max = value;
	s->bucket[bucket_of(value)]++;
}

uint32_t
colo_statistics_percentile(const struct colo_statistics *s, double percent)
{
	uint64_t rank = ceil(percent / 100 * s->n), seen = 0;
	uint32_t value;

	for (unsigned int i = 0; i < COLO_STATISTICS_BUCKETS; i++) {
		seen += s->bucket[i];
		if (seen >= rank && seen > 0) {
			value = middle_of(i);
			return value < s->max ? value : s->max;
		}
	}
	return 0;
}

double
colo_statistics_stddev(const struct colo_statistics *s)
{
	return s->n == 0 ? 0 : sqrt(s->m2 / s->n);
}
