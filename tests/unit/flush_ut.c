/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Flush and undo against a copy of the test's own: recorded pages of all channels, both ends of
 * words, pieces and blocks, and not a byte else.
 */
#include <stdlib.h>
#include <string.h>

#include "flush.h"
#include "page.h"
#include "ut.h"

#define CHANNELS 3u
#define PAGES	 (2 * COLO_PIECE_PAGES + 65)

static struct colo_blocks blocks;
static struct colo_flush flush = {.blocks = &blocks, .n_channels = CHANNELS};
static struct colo_piece_list list;
static struct colo_counters counters;
static uint8_t *cache[2], *guest[2]; /* what they must be */

static void
begin(void)
{
	struct colo_error err;

	memset(&blocks, 0, sizeof(blocks));
	memset(&counters, 0, sizeof(counters));
	for (unsigned int i = 0; i < 2; i++) {
		struct colo_block_spec spec = {.size = (i ? PAGES : 1) * COLO_PAGE_SIZE};

		snprintf(spec.name, sizeof(spec.name), "block%u", i);
		CU_ASSERT_EQUAL_FATAL(
			colo_blocks_add_secondary(&blocks, &spec, CHANNELS, -1, &err), 0);
		cache[i] = malloc(spec.size);
		guest[i] = malloc(spec.size);
		for (uint64_t at = 0; at < spec.size; at++) {
			cache[i][at] = rand();
			guest[i][at] = rand();
		}
		memcpy(blocks.block[i].cache.addr, cache[i], spec.size);
		memcpy(blocks.block[i].guest.addr, guest[i], spec.size);
	}
	CU_ASSERT_EQUAL_FATAL(colo_piece_list_init(&list, &blocks), 0);
}

static void
end(void)
{
	for (unsigned int i = 0; i < 2; i++) {
		free(cache[i]);
		free(guest[i]);
	}
	colo_piece_list_fini(&list);
	colo_blocks_free(&blocks, false);
}

/* Recorded by @p channel; the model is what copying will make of it. */
static void
record(unsigned int block, uint32_t page, unsigned int channel, bool undo)
{
	size_t at = (size_t)page * COLO_PAGE_SIZE;

	colo_dirty_set(&blocks.block[block].recorded[channel], page);
	if (undo)
		memcpy(cache[block] + at, guest[block] + at, COLO_PAGE_SIZE);
	else
		memcpy(guest[block] + at, cache[block] + at, COLO_PAGE_SIZE);
}

static void
run(bool undo)
{
	colo_flush_collect(&flush, &list);
	for (uint32_t i = 0; i < list.n; i++) {
		if (undo)
			colo_undo_piece(&flush, &list.ref[i], &counters);
		else
			colo_flush_piece(&flush, &list.ref[i], &counters);
	}
}

static void
check(void)
{
	for (unsigned int i = 0; i < 2; i++) {
		struct colo_block *b = &blocks.block[i];

		CU_ASSERT_EQUAL(memcmp(b->cache.addr, cache[i], b->size), 0);
		CU_ASSERT_EQUAL(memcmp(b->guest.addr, guest[i], b->size), 0);
		for (unsigned int c = 0; c < CHANNELS; c++) {
			CU_ASSERT_EQUAL(colo_dirty_count(&b->recorded[c]), 0);
			for (uint32_t w = 0; w < b->n_pieces * COLO_PIECE_WORDS; w++)
				CU_ASSERT_EQUAL(b->recorded[c].words[w], 0);
		}
	}
}

static void
test_nothing(void)
{
	begin();
	run(false);
	CU_ASSERT_EQUAL(list.n, 0);
	check();
	run(true);
	check();
	CU_ASSERT_EQUAL(counters.n[COLO_flush_pages], 0);
	end();
}

/* Only pieces with a recorded page are listed, each once, whoever recorded it. */
static void
test_collect(void)
{
	begin();
	record(1, 1, 0, false);
	record(1, 2, 1, false);
	record(1, 2 * COLO_PIECE_PAGES, 2, false);
	record(0, 0, 2, false);
	colo_flush_collect(&flush, &list);
	CU_ASSERT_EQUAL(list.n, 3);
	CU_ASSERT_TRUE(list.ref[0].block == 0 && list.ref[0].piece == 0);
	CU_ASSERT_TRUE(list.ref[1].block == 1 && list.ref[1].piece == 0);
	CU_ASSERT_TRUE(list.ref[2].block == 1 && list.ref[2].piece == 2);
	for (uint32_t i = 0; i < list.n; i++)
		colo_flush_piece(&flush, &list.ref[i], &counters);
	check();
	CU_ASSERT_EQUAL(counters.n[COLO_flush_pages], 4);
	run(false); /* forgotten */
	CU_ASSERT_EQUAL(list.n, 0);
	end();
}

static void
check_ends(bool undo)
{
	static const uint32_t pages[] = {0, 63, 64, 511, 512, 1023, 1024, PAGES - 2, PAGES - 1};

	begin();
	for (unsigned int i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
		record(1, pages[i], i % CHANNELS, undo);
		run(undo);
		check();
	}
	record(0, 0, 1, undo);
	run(undo);
	check();
	CU_ASSERT_EQUAL(counters.n[COLO_flush_pages], undo ? 0 : 10);
	end();
}

static void
test_ends(void)
{
	check_ends(false);
	check_ends(true);
}

static void
check_random(bool undo)
{
	begin();
	for (unsigned int round = 0; round < 10; round++) {
		for (uint32_t page = 0; page < PAGES; page++)
			while (rand() % (2 + round) == 0) /* by several channels, sometimes */
				record(1, page, rand() % CHANNELS, undo);
		run(undo);
		check();
	}
	end();
}

static void
test_random(void)
{
	static const char *const versions[] = {"portable", "avx2", "avx512"};

	for (unsigned int i = 0; i < 3; i++) {
		colo_page_init(versions[i]);
		check_random(false);
		check_random(true);
	}
	colo_page_init(NULL);
}

/* Undone, then recorded again and flushed: as if the epoch given up had never been. */
static void
test_undo_then_flush(void)
{
	uint8_t *at;

	begin();
	at = colo_page_addr(&blocks.block[1].cache, 7);
	record(1, 7, 0, true);
	run(true);
	check();
	memset(at, 0x42, COLO_PAGE_SIZE);
	memset(cache[1] + 7 * COLO_PAGE_SIZE, 0x42, COLO_PAGE_SIZE);
	record(1, 7, 1, false);
	run(false);
	check();
	CU_ASSERT_EQUAL(*colo_page_addr(&blocks.block[1].guest, 7), 0x42);
	end();
}

/* ---- with dirty logs ---- */

static _Atomic uint64_t words[3 * COLO_PIECE_WORDS];
static _Atomic uint64_t *logs[COLO_MAX_BLOCKS]; /* block 0 has none */

static void
begin_log(void)
{
	begin();
	memset(words, 0, sizeof(words));
	logs[1] = words;
	flush.log = logs;
}

static void
end_log(void)
{
	for (unsigned int w = 0; w < sizeof(words) / sizeof(words[0]); w++)
		CU_ASSERT_EQUAL(words[w], 0);
	flush.log = NULL;
	end();
}

/* The guest here writes a page of block 1; a flush takes that back. */
static void
write_here(uint32_t page)
{
	size_t at = (size_t)page * COLO_PAGE_SIZE;

	atomic_fetch_or(&words[page / 64], 1ull << page % 64);
	memset(blocks.block[1].guest.addr + at, rand(), COLO_PAGE_SIZE);
	memcpy(guest[1] + at, cache[1] + at, COLO_PAGE_SIZE);
}

static void
test_rolled_back(void)
{
	static const uint32_t pages[] = {0, 63, 64, 511, 512, 1023, 1024, PAGES - 2, PAGES - 1};

	begin_log();
	for (unsigned int i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
		write_here(pages[i]);
		record(1, pages[(i + 4) % 9], 1, false);
		record(0, 0, 2, false);
		run(false);
		check();
	}
	CU_ASSERT_EQUAL(counters.n[COLO_flush_rolled_back], 9);
	CU_ASSERT_EQUAL(counters.n[COLO_flush_pages], 27);
	/* recorded and written here: counted as recorded */
	write_here(100);
	record(1, 100, 0, false);
	run(false);
	check();
	CU_ASSERT_EQUAL(counters.n[COLO_flush_rolled_back], 9);
	end_log();
}

static void
test_rolled_back_random(void)
{
	begin_log();
	for (unsigned int round = 0; round < 10; round++) {
		for (uint32_t page = 0; page < PAGES; page++) {
			if (rand() % 3 == 0)
				write_here(page);
			if (rand() % 3 == 0)
				record(1, page, rand() % CHANNELS, false);
		}
		run(false);
		check();
	}
	end_log();
}

/* Bits that name no page of the block change nothing outside it, and are taken all the same. */
static void
test_stray_bits(void)
{
	static uint8_t after[COLO_PIECE_SIZE];
	uint64_t size = PAGES * COLO_PAGE_SIZE, mapped;

	begin_log();
	mapped = blocks.block[1].guest.size;
	CU_ASSERT_TRUE_FATAL(mapped - size <= sizeof(after));
	memset(blocks.block[1].guest.addr + size, 0x5a, mapped - size);
	memset(after, 0x5a, sizeof(after));
	memset(words, 0xff, sizeof(words));
	memcpy(guest[1], cache[1], size);
	run(false);
	check();
	CU_ASSERT_EQUAL(memcmp(blocks.block[1].guest.addr + size, after, mapped - size), 0);
	CU_ASSERT_EQUAL(counters.n[COLO_flush_rolled_back], PAGES);
	end_log();
}

/* Undo has nothing to do with logs; and what is forgotten is not flushed. */
static void
test_forget(void)
{
	begin_log();
	CU_ASSERT_FALSE(colo_flush_forget(&flush));
	colo_dirty_set(&blocks.block[1].recorded[2], PAGES - 1);
	CU_ASSERT_TRUE(colo_flush_forget(&flush));
	CU_ASSERT_FALSE(colo_flush_forget(&flush));
	atomic_fetch_or(&words[PAGES / 64], 1);
	colo_flush_forget_log(&flush);
	run(false);
	check();
	CU_ASSERT_EQUAL(counters.n[COLO_flush_pages], 0);
	end_log();
}

static const struct ut_case cases[] = {
	{"rolled back", test_rolled_back},
	{"rolled back, random pages", test_rolled_back_random},
	{"bits beyond the end", test_stray_bits},
	{"forgotten", test_forget},
	{"nothing recorded", test_nothing},
	{"pieces collected", test_collect},
	{"ends of words, pieces, blocks", test_ends},
	{"random pages", test_random},
	{"undone, then flushed", test_undo_then_flush},
};

int
main(void)
{
	srand(8);
	return UT_RUN("flush", cases);
}
