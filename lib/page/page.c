/* SPDX-License-Identifier: BSD-3-Clause */
/* Page operations: the portable version, the choice of a version at start, and the CRC. */
#include <string.h>

#include <rte_net_crc.h>
#include <rte_vect.h>

#include "bounds.h"
#include "page_versions.h"

static void
copy_portable(void *dst, const void *src)
{
	memcpy(dst, src, COLO_PAGE_SIZE);
}

static void
copy2_portable(void *dst1, void *dst2, const void *src)
{
	memcpy(dst1, src, COLO_PAGE_SIZE);
	memcpy(dst2, src, COLO_PAGE_SIZE);
}

static void
zero_portable(void *dst)
{
	memset(dst, 0, COLO_PAGE_SIZE);
}

/* A page is zero if its first cache line is and each byte equals the one 64 bytes before. */
static bool
is_zero_portable(const void *page)
{
	const uint64_t *w = page;

	if ((w[0] | w[1] | w[2] | w[3] | w[4] | w[5] | w[6] | w[7]) != 0)
		return false;
	return memcmp(page, (const uint8_t *)page + 64, COLO_PAGE_SIZE - 64) == 0;
}

/*
 * The same for all versions: the C library chooses by CPU too, and reads a few lines of one page
 * before those of the other. Line by line in turn was a quarter slower on cold pages.
 */
bool
colo_page_equal(const void *a, const void *b)
{
	return memcmp(a, b, COLO_PAGE_SIZE) == 0;
}

const struct colo_page_ops colo_page_portable = {
	.name = "portable",
	.copy = copy_portable,
	.copy2 = copy2_portable,
	.zero = zero_portable,
	.is_zero = is_zero_portable,
	.equal = colo_page_equal,
};

/* Usable before colo_page_init() too, only slower. */
struct colo_page_ops colo_page = {
	.name = "portable",
	.copy = copy_portable,
	.copy2 = copy2_portable,
	.zero = zero_portable,
	.is_zero = is_zero_portable,
	.equal = colo_page_equal,
};

bool
colo_page_supported(const struct colo_page_ops *ops)
{
	if (ops == &colo_page_avx512)
		return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
	if (ops == &colo_page_avx2)
		return __builtin_cpu_supports("avx2");
	return true;
}

/*
 * EAL allows 256-bit vectors by default, and rte_net_crc asks once, in its first call of
 * set_alg: lift the limit for that call only, so that no driver chooses otherwise because of us.
 * An operator who set --force-max-simd-bitwidth is obeyed. Falls back to what the CPU has.
 */
static void
choose_crc(void)
{
	uint16_t allowed = rte_vect_get_max_simd_bitwidth();

	(void)rte_vect_set_max_simd_bitwidth(RTE_VECT_SIMD_512);
	rte_net_crc_set_alg(RTE_NET_CRC_AVX512);
	if (allowed != 0) /* 0: before rte_eal_init(), which sets its default itself */
		(void)rte_vect_set_max_simd_bitwidth(allowed);
}

void
colo_page_init(const char *force)
{
	const struct colo_page_ops *const versions[] = {
		&colo_page_avx512, &colo_page_avx2, &colo_page_portable};

	choose_crc();
	colo_page = colo_page_portable;
	for (unsigned int i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
		if (!colo_page_supported(versions[i]))
			continue;
		if (force != NULL && strcmp(force, versions[i]->name) != 0)
			continue;
		colo_page = *versions[i];
		return;
	}
}

uint32_t
colo_crc32(const void *bytes, size_t length)
{
	return rte_net_crc_calc(bytes, (uint32_t)length, RTE_NET_CRC32_ETH);
}
