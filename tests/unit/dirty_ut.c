/* SPDX-License-Identifier: BSD-3-Clause */
/* Dirty bitmaps against a plain array of bools, at the ends of words, pieces and blocks. */
#include <stdlib.h>
#include <string.h>

#include "dirty.h"
#include "ut.h"

/* Every page by colo_dirty_get(), and that no bit lies beyond n_pages or without its summary. */
static bool
matches(const struct colo_dirty *d, const bool *expected)
{
	uint64_t n = 0;

	for (uint32_t p = 0; p < d->n_pages; p++) {
		if (colo_dirty_get(d, p) != expected[p])
			return false;
		n += expected[p];
	}
	for (uint32_t p = d->n_pages; p < d->n_pieces * COLO_PIECE_PAGES; p++)
		if (colo_dirty_get(d, p))
			return false;
	for (uint32_t piece = 0; piece < d->n_pieces; piece++) {
		bool any = false;

		for (unsigned int w = 0; w < COLO_PIECE_WORDS; w++)
			any |= colo_dirty_piece(d, piece)[w] != 0;
		if (any && (d->summary[piece >> 6] >> (piece & 63) & 1) == 0)
			return false;
	}
	return colo_dirty_count(d) == n;
}

static void
check_shape(uint32_t n_pages, uint32_t n_pieces, uint32_t n_summary)
{
	struct colo_dirty d;

	CU_ASSERT_EQUAL_FATAL(colo_dirty_init(&d, n_pages), 0);
	CU_ASSERT_EQUAL(d.n_pages, n_pages);
	CU_ASSERT_EQUAL(d.n_pieces, n_pieces);
	CU_ASSERT_EQUAL(d.n_summary, n_summary);
	CU_ASSERT_EQUAL((uintptr_t)d.words % 64, 0);
	CU_ASSERT_EQUAL((uintptr_t)d.summary % 64, 0);
	CU_ASSERT_EQUAL(colo_dirty_count(&d), 0);
	colo_dirty_fini(&d);
	CU_ASSERT_PTR_NULL(d.words);
	CU_ASSERT_EQUAL(d.n_pages, 0);
	colo_dirty_fini(&d);
}

static void
test_shape(void)
{
	check_shape(0, 0, 0);
	check_shape(1, 1, 1);
	check_shape(511, 1, 1);
	check_shape(512, 1, 1);
	check_shape(513, 2, 1);
	check_shape(64 * 512 - 1, 64, 1);
	check_shape(64 * 512, 64, 1);
	check_shape(64 * 512 + 1, 65, 2);
	check_shape(1u << 30, 1u << 21, 1u << 15); /* COLO_MAX_BLOCK_SIZE */
}

static void
test_set(void)
{
	const uint32_t pages[] = {
		0, 1, 63, 64, 511, 512, 513, 64 * 512 - 1, 64 * 512, 65 * 512 + 6};
	const uint32_t n_pages = 65 * 512 + 7;
	bool *expected = calloc(n_pages, sizeof(bool));
	struct colo_dirty d;

	CU_ASSERT_EQUAL_FATAL(colo_dirty_init(&d, n_pages), 0);
	for (unsigned int i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
		expected[pages[i]] = true;
		colo_dirty_set(&d, pages[i]);
		colo_dirty_set(&d, pages[i]); /* twice is once */
		CU_ASSERT_TRUE(matches(&d, expected));
	}
	colo_dirty_fini(&d);
	free(expected);
}

static void
check_range(struct colo_dirty *d, bool *expected, uint32_t first, uint32_t count)
{
	colo_dirty_clear(d);
	memset(expected, 0, d->n_pages * sizeof(bool));
	memset(expected + first, 1, count * sizeof(bool));
	colo_dirty_set_range(d, first, count);
	CU_ASSERT_TRUE(matches(d, expected));
}

static void
test_ranges(void)
{
	const uint32_t firsts[] = {0, 1, 63, 64, 65, 511, 512, 513, 1023};
	const uint32_t counts[] = {0, 1, 2, 63, 64, 65, 127, 128, 129, 511, 512, 513, 1024, 1025};
	const uint32_t n_pages = 1023 + 1025; /* the last one ends with the block */
	bool *expected = calloc(n_pages, sizeof(bool));
	struct colo_dirty d;

	CU_ASSERT_EQUAL_FATAL(colo_dirty_init(&d, n_pages), 0);
	for (unsigned int i = 0; i < sizeof(firsts) / sizeof(firsts[0]); i++)
		for (unsigned int j = 0; j < sizeof(counts) / sizeof(counts[0]); j++)
			check_range(&d, expected, firsts[i], counts[j]);
	check_range(&d, expected, n_pages - 1, 1);
	check_range(&d, expected, 0, n_pages);
	colo_dirty_fini(&d);
	free(expected);
}

/* Ranges over more than 64 pieces, so that the summary has inner words too. */
static void
test_long_ranges(void)
{
	const uint32_t n_pages = 200 * 512 - 3;
	bool *expected = calloc(n_pages, sizeof(bool));
	struct colo_dirty d;

	CU_ASSERT_EQUAL_FATAL(colo_dirty_init(&d, n_pages), 0);
	check_range(&d, expected, 0, n_pages);
	check_range(&d, expected, 511, 64 * 512);
	check_range(&d, expected, 63 * 512, 65 * 512);
	check_range(&d, expected, 1, 128 * 512);
	check_range(&d, expected, n_pages - 129 * 512, 129 * 512);
	colo_dirty_fini(&d);
	free(expected);
}

static void
test_ranges_add(void)
{
	struct colo_dirty d;

	CU_ASSERT_EQUAL_FATAL(colo_dirty_init(&d, 2048), 0);
	colo_dirty_set_range(&d, 100, 50);
	colo_dirty_set_range(&d, 140, 1000);
	colo_dirty_set(&d, 99);
	CU_ASSERT_EQUAL(colo_dirty_count(&d), 1041);
	CU_ASSERT_FALSE(colo_dirty_get(&d, 98));
	CU_ASSERT_FALSE(colo_dirty_get(&d, 1140));
	colo_dirty_fini(&d);
}

static void
test_clear_piece(void)
{
	struct colo_dirty d;

	CU_ASSERT_EQUAL_FATAL(colo_dirty_init(&d, 3 * 512), 0);
	colo_dirty_set_range(&d, 0, 3 * 512);
	colo_dirty_clear_piece(&d, 1);
	CU_ASSERT_EQUAL(colo_dirty_count(&d), 1024);
	CU_ASSERT_TRUE(colo_dirty_get(&d, 511));
	CU_ASSERT_FALSE(colo_dirty_get(&d, 512));
	CU_ASSERT_FALSE(colo_dirty_get(&d, 1023));
	CU_ASSERT_TRUE(colo_dirty_get(&d, 1024));
	CU_ASSERT_EQUAL(d.summary[0], 7); /* neighbours of the same word may be at work */
	colo_dirty_set(&d, 600);	  /* what comes after it counts again */
	CU_ASSERT_EQUAL(colo_dirty_count(&d), 1025);
	colo_dirty_fini(&d);
}

static void
test_clear(void)
{
	const uint32_t n_pages = 130 * 512;
	struct colo_dirty d;
	bool *expected = calloc(n_pages, sizeof(bool));

	CU_ASSERT_EQUAL_FATAL(colo_dirty_init(&d, n_pages), 0);
	for (uint32_t p = 0; p < n_pages; p += 509)
		colo_dirty_set(&d, p);
	colo_dirty_set(&d, n_pages - 1);
	colo_dirty_clear(&d);
	CU_ASSERT_TRUE(matches(&d, expected));
	for (uint32_t s = 0; s < d.n_summary; s++)
		CU_ASSERT_EQUAL(d.summary[s], 0);
	colo_dirty_fini(&d);
	free(expected);
}

/* Clearing must cost what is dirty: a bit whose summary is missing stays, which shows it. */
static void
test_clear_follows_the_summary(void)
{
	struct colo_dirty d;

	CU_ASSERT_EQUAL_FATAL(colo_dirty_init(&d, 2 * 512), 0);
	d.words[8] = 1;
	CU_ASSERT_EQUAL(colo_dirty_count(&d), 0);
	colo_dirty_clear(&d);
	CU_ASSERT_EQUAL(d.words[8], 1);
	colo_dirty_fini(&d);
}

static const struct ut_case cases[] = {
	{"pieces and summary words are rounded up", test_shape},
	{"set and get at the ends of words, pieces and blocks", test_set},
	{"ranges from and to every kind of end", test_ranges},
	{"ranges over many summary words", test_long_ranges},
	{"ranges add to what is set", test_ranges_add},
	{"clearing one piece leaves its neighbours", test_clear_piece},
	{"clearing everything", test_clear},
	{"count and clear visit only what the summary names", test_clear_follows_the_summary},
};

int
main(void)
{
	return UT_RUN("dirty", cases);
}
