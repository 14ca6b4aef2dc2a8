/* SPDX-License-Identifier: BSD-3-Clause */
/* Page operations with AVX2: half a cache line a load, a store. */
#include <immintrin.h>

#include "bounds.h"
#include "page_versions.h"

#define AVX2   __attribute__((target("avx2")))
#define HALVES (COLO_PAGE_SIZE / 32) /* lines of a page, one vector each */
#define STEP   8u		     /* vectors in flight at a time */

AVX2 static void
copy_avx2(void *dst, const void *src)
{
	const __m256i *s = src;
	__m256i *d = dst;

	for (unsigned int i = 0; i < HALVES; i += STEP) {
		__m256i v[STEP];

		for (unsigned int j = 0; j < STEP; j++)
			v[j] = _mm256_loadu_si256(&s[i + j]);
		for (unsigned int j = 0; j < STEP; j++)
			_mm256_stream_si256(&d[i + j], v[j]);
	}
}

AVX2 static void
copy2_avx2(void *dst1, void *dst2, const void *src)
{
	const __m256i *s = src;
	__m256i *d1 = dst1;
	__m256i *d2 = dst2;

	for (unsigned int i = 0; i < HALVES; i += STEP) {
		__m256i v[STEP];

		for (unsigned int j = 0; j < STEP; j++)
			v[j] = _mm256_loadu_si256(&s[i + j]);
		for (unsigned int j = 0; j < STEP; j++)
			_mm256_stream_si256(&d1[i + j], v[j]);
		for (unsigned int j = 0; j < STEP; j++)
			_mm256_stream_si256(&d2[i + j], v[j]);
	}
}

AVX2 static void
zero_avx2(void *dst)
{
	__m256i *d = dst;

	for (unsigned int i = 0; i < HALVES; i++)
		_mm256_stream_si256(&d[i], _mm256_setzero_si256());
}

AVX2 static bool
is_zero_avx2(const void *page)
{
	const __m256i *p = page;
	__m256i any = _mm256_or_si256(_mm256_loadu_si256(&p[0]), _mm256_loadu_si256(&p[1]));

	/* most pages that are not zero say so in their first line */
	if (!_mm256_testz_si256(any, any))
		return false;
	for (unsigned int i = 0; i < HALVES; i += STEP) {
		for (unsigned int j = 0; j < STEP; j++)
			any = _mm256_or_si256(any, _mm256_loadu_si256(&p[i + j]));
		if (!_mm256_testz_si256(any, any))
			return false;
	}
	return true;
}

const struct colo_page_ops colo_page_avx2 = {
	.name = "avx2",
	.copy = copy_avx2,
	.copy2 = copy2_avx2,
	.zero = zero_avx2,
	.is_zero = is_zero_avx2,
	.equal = colo_page_equal,
};
