/* SPDX-License-Identifier: BSD-3-Clause */
/* Page operations with AVX-512: one cache line a load, a store. */
#include <immintrin.h>

#include "bounds.h"
#include "page_versions.h"

#define AVX512 __attribute__((target("avx512f,avx512bw")))
#define LINES  (COLO_PAGE_SIZE / 64) /* of a page, one vector each */
#define STEP   8u		     /* vectors in flight at a time */

AVX512 static void
copy_avx512(void *dst, const void *src)
{
	const __m512i *s = src;
	__m512i *d = dst;

	for (unsigned int i = 0; i < LINES; i += STEP) {
		__m512i v[STEP];

		for (unsigned int j = 0; j < STEP; j++)
			v[j] = _mm512_loadu_si512(&s[i + j]);
		for (unsigned int j = 0; j < STEP; j++)
			_mm512_stream_si512(&d[i + j], v[j]);
	}
}

AVX512 static void
copy2_avx512(void *dst1, void *dst2, const void *src)
{
	const __m512i *s = src;
	__m512i *d1 = dst1;
	__m512i *d2 = dst2;

	for (unsigned int i = 0; i < LINES; i += STEP) {
		__m512i v[STEP];

		for (unsigned int j = 0; j < STEP; j++)
			v[j] = _mm512_loadu_si512(&s[i + j]);
		for (unsigned int j = 0; j < STEP; j++)
			_mm512_stream_si512(&d1[i + j], v[j]);
		for (unsigned int j = 0; j < STEP; j++)
			_mm512_stream_si512(&d2[i + j], v[j]);
	}
}

AVX512 static void
zero_avx512(void *dst)
{
	__m512i *d = dst;

	for (unsigned int i = 0; i < LINES; i++)
		_mm512_stream_si512(&d[i], _mm512_setzero_si512());
}

AVX512 static bool
is_zero_avx512(const void *page)
{
	const __m512i *p = page;
	__m512i any = _mm512_loadu_si512(&p[0]);

	/* most pages that are not zero say so in their first line */
	if (_mm512_test_epi64_mask(any, any) != 0)
		return false;
	for (unsigned int i = 0; i < LINES; i += STEP) {
		for (unsigned int j = 0; j < STEP; j++)
			any = _mm512_or_si512(any, _mm512_loadu_si512(&p[i + j]));
		if (_mm512_test_epi64_mask(any, any) != 0)
			return false;
	}
	return true;
}

const struct colo_page_ops colo_page_avx512 = {
	.name = "avx512",
	.copy = copy_avx512,
	.copy2 = copy2_avx512,
	.zero = zero_avx512,
	.is_zero = is_zero_avx512,
	.equal = colo_page_equal,
};
