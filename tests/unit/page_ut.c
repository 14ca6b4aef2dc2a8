/* SPDX-License-Identifier: BSD-3-Clause */
/* Every version of the page operations against naive code: edges, single bytes, no stray writes. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bounds.h"
#include "page_versions.h"
#include "ut.h"

#define PAGE  COLO_PAGE_SIZE
#define GUARD 64u /* bytes looked at on both sides of what is written */

static const struct colo_page_ops *const versions[] = {
	&colo_page_portable, &colo_page_avx2, &colo_page_avx512};
#define N_VERSIONS (sizeof(versions) / sizeof(versions[0]))

static const unsigned int edges[] = {0, 1, 31, 32, 33, 63, 64, 65, 127, 128, 255, 256, 511, 512,
	513, 1023, 1024, 2047, 2048, 4031, 4032, 4033, 4063, 4064, 4094, 4095};
#define N_EDGES (sizeof(edges) / sizeof(edges[0]))

static void
fill(uint8_t *bytes, size_t n, uint32_t seed)
{
	for (size_t i = 0; i < n; i++) {
		seed = seed * 1664525 + 1013904223;
		bytes[i] = (uint8_t)(seed >> 24);
	}
}

static bool
all(const uint8_t *bytes, size_t n, uint8_t value)
{
	for (size_t i = 0; i < n; i++)
		if (bytes[i] != value)
			return false;
	return true;
}

/* A page with a guard before and after it, all 0xa5. */
static uint8_t *
guarded(void)
{
	uint8_t *room = aligned_alloc(64, PAGE + 2 * GUARD);

	CU_ASSERT_PTR_NOT_NULL_FATAL(room);
	memset(room, 0xa5, PAGE + 2 * GUARD);
	return room + GUARD;
}

static bool
guards_whole(const uint8_t *page)
{
	return all(page - GUARD, GUARD, 0xa5) && all(page + PAGE, GUARD, 0xa5);
}

static void
check_copies(const struct colo_page_ops *ops, const uint8_t *src)
{
	uint8_t *a = guarded(), *b = guarded(), *c = guarded();

	ops->copy(a, src);
	ops->copy2(b, c, src);
	colo_page_fence();
	for (unsigned int i = 0; i < PAGE; i++)
		if (a[i] != src[i] || b[i] != src[i] || c[i] != src[i]) {
			CU_FAIL("copy differs");
			break;
		}
	CU_ASSERT_TRUE(guards_whole(a) && guards_whole(b) && guards_whole(c));
	free(a - GUARD);
	free(b - GUARD);
	free(c - GUARD);
}

static void
test_copy(void)
{
	uint8_t *src = malloc(PAGE + 64);

	fill(src, PAGE + 64, 1);
	for (unsigned int v = 0; v < N_VERSIONS; v++) {
		if (!colo_page_supported(versions[v]))
			continue;
		/* a source in an mbuf begins anywhere */
		for (unsigned int offset = 0; offset <= 64; offset++)
			check_copies(versions[v], src + offset);
	}
	free(src);
}

static void
test_zero(void)
{
	for (unsigned int v = 0; v < N_VERSIONS; v++) {
		uint8_t *page = guarded();

		if (colo_page_supported(versions[v])) {
			versions[v]->zero(page);
			colo_page_fence();
			CU_ASSERT_TRUE(all(page, PAGE, 0));
			CU_ASSERT_TRUE(guards_whole(page));
		}
		free(page - GUARD);
	}
}

static void
check_is_zero(const struct colo_page_ops *ops)
{
	uint8_t *page = guarded(); /* guards are not zero and must not matter */

	memset(page, 0, PAGE);
	CU_ASSERT_TRUE(ops->is_zero(page));
	for (unsigned int i = 0; i < PAGE; i++) {
		page[i] = 1u << (i & 7);
		if (ops->is_zero(page)) {
			CU_FAIL("a byte that is not zero was overlooked");
			break;
		}
		page[i] = 0;
	}
	CU_ASSERT_TRUE(ops->is_zero(page));
	/* the same line over and over is what a compare with the line before must not take for zero
	 */
	memset(page, 0x80, PAGE);
	CU_ASSERT_FALSE(ops->is_zero(page));
	free(page - GUARD);
}

static void
test_is_zero(void)
{
	for (unsigned int v = 0; v < N_VERSIONS; v++)
		if (colo_page_supported(versions[v]))
			check_is_zero(versions[v]);
}

static void
check_equal(const struct colo_page_ops *ops, uint32_t seed)
{
	uint8_t *a = guarded(), *b = guarded();

	memset(b + PAGE, 0x5a, GUARD); /* guards differ and must not matter */
	fill(a, PAGE, seed);
	memcpy(b, a, PAGE);
	CU_ASSERT_TRUE(ops->equal(a, b));
	for (unsigned int i = 0; i < PAGE; i++) {
		b[i] ^= 1u << (i & 7);
		if (ops->equal(a, b)) {
			CU_FAIL("a byte that differs was overlooked");
			break;
		}
		b[i] ^= 1u << (i & 7);
	}
	CU_ASSERT_TRUE(ops->equal(a, a));
	free(a - GUARD);
	free(b - GUARD);
}

static void
test_equal(void)
{
	for (unsigned int v = 0; v < N_VERSIONS; v++)
		for (uint32_t seed = 0; seed < 4; seed++)
			if (colo_page_supported(versions[v]))
				check_equal(versions[v], seed);
}

/* Bit by bit, as IEEE 802.3 defines it. */
static uint32_t
crc_reference(const uint8_t *bytes, size_t n)
{
	uint32_t crc = ~0u;

	for (size_t i = 0; i < n; i++) {
		crc ^= bytes[i];
		for (unsigned int bit = 0; bit < 8; bit++)
			crc = (crc & 1) != 0 ? crc >> 1 ^ 0xedb88320u : crc >> 1;
	}
	return ~crc;
}

/* Between two pages that must not be touched: neither end may be read over. */
static uint8_t *
fenced_pages(unsigned int n)
{
	uint8_t *room =
		mmap(NULL, (n + 2) * (size_t)PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CU_ASSERT_FATAL(room != MAP_FAILED);
	CU_ASSERT_FATAL(mprotect(room + PAGE, n * (size_t)PAGE, PROT_READ | PROT_WRITE) == 0);
	return room + PAGE;
}

static void
test_crc_lengths(void)
{
	const unsigned int n = 3;
	uint8_t *room = fenced_pages(n), *end = room + n * (size_t)PAGE;

	fill(room, n * (size_t)PAGE, 7);
	colo_page_init(NULL);
	for (unsigned int length = 0; length <= 1100; length++) {
		CU_ASSERT_EQUAL(colo_crc32(room, length), crc_reference(room, length));
		CU_ASSERT_EQUAL(
			colo_crc32(end - length, length), crc_reference(end - length, length));
	}
	for (unsigned int length = PAGE - 1; length <= PAGE + 1; length++)
		CU_ASSERT_EQUAL(
			colo_crc32(end - length, length), crc_reference(end - length, length));
	CU_ASSERT_EQUAL(colo_crc32(room, n * (size_t)PAGE), crc_reference(room, n * (size_t)PAGE));
	munmap(room - PAGE, (n + 2) * (size_t)PAGE);
}

static void
test_crc_sees_every_edge(void)
{
	uint8_t *page = calloc(1, PAGE);

	colo_page_init(NULL);
	CU_ASSERT_EQUAL(colo_crc32(page, PAGE), COLO_CRC32_ZERO_PAGE);
	for (unsigned int i = 0; i < N_EDGES; i++) {
		page[edges[i]] = 1;
		CU_ASSERT_NOT_EQUAL(colo_crc32(page, PAGE), COLO_CRC32_ZERO_PAGE);
		page[edges[i]] = 0;
	}
	free(page);
}

static void
test_init_forced(void)
{
	for (unsigned int v = 0; v < N_VERSIONS; v++) {
		bool can = colo_page_supported(versions[v]);

		colo_page_init(versions[v]->name);
		CU_ASSERT_STRING_EQUAL(colo_page.name, can ? versions[v]->name : "portable");
		CU_ASSERT_EQUAL(colo_page.copy, can ? versions[v]->copy : colo_page_portable.copy);
	}
	colo_page_init("mmx");
	CU_ASSERT_STRING_EQUAL(colo_page.name, "portable");
}

/* Not forced, it is the widest one. */
static void
test_init_best(void)
{
	const struct colo_page_ops *best = versions[0];

	for (unsigned int v = 1; v < N_VERSIONS; v++)
		if (colo_page_supported(versions[v]))
			best = versions[v];
	colo_page_init(NULL);
	CU_ASSERT_STRING_EQUAL(colo_page.name, best->name);
	CU_ASSERT_EQUAL(colo_page.is_zero, best->is_zero);
}

static const struct ut_case cases[] = {
	{"copy and copy2 copy exactly one page from any offset", test_copy},
	{"zero writes exactly one page", test_zero},
	{"is_zero sees each single byte", test_is_zero},
	{"equal sees each single byte", test_equal},
	{"crc32 equals the bitwise one and reads no byte too many", test_crc_lengths},
	{"crc32 of a zero page and its edges", test_crc_sees_every_edge},
	{"a forced version is taken, or portable", test_init_forced},
	{"the widest version is taken", test_init_best},
};

int
main(void)
{
	return UT_RUN("page", cases);
}
