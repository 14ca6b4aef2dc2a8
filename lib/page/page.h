/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * What the datapath does with the 4096 bytes of a page: copy past the caches, test for zero,
 * compare, checksum. Portable code with AVX2 and AVX-512 versions chosen once, at start.
 */
#ifndef COLO_PAGE_PAGE_H
#define COLO_PAGE_PAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Set by colo_page_init() on the main lcore, read-only afterwards. */
struct colo_page_ops {
	const char *name; /**< "avx512", "avx2", "portable" */
	/**
	 * Copy one page, non-temporal stores; @p dst is 64-byte aligned, @p src need not be (it may
	 * be an mbuf's payload). Not yet ordered: see fence.
	 */
	void (*copy)(void *dst, const void *src);
	/** Copy one page to two places, reading it once; alignment as for copy. */
	void (*copy2)(void *dst1, void *dst2, const void *src);
	void (*zero)(void *dst); /**< one page becomes zeros, non-temporal; aligned */
	bool (*is_zero)(const void *page);
	bool (*equal)(const void *a, const void *b);
};

extern struct colo_page_ops colo_page;

/**
 * Choose the version this CPU has; with @p force ("avx512", "avx2", "portable") that one, for
 * tests: "portable" if there is no such version or the CPU lacks it. Main lcore, at start, before
 * or after rte_eal_init() (a limit by --force-max-simd-bitwidth is known only after it).
 */
void colo_page_init(const char *force);

/** Order non-temporal stores before whatever publishes them (pairs with a load-acquire). */
static inline void
colo_page_fence(void)
{
	__builtin_ia32_sfence();
}

/** CRC-32 (Ethernet, rte_net_crc) of @p length bytes. */
uint32_t colo_crc32(const void *bytes, size_t length);

/** colo_crc32() of a page of zeros. */
#define COLO_CRC32_ZERO_PAGE 0xc71c0011u

#endif
