/* SPDX-License-Identifier: BSD-3-Clause */
/* The journal: what each moment of a commit leaves behind, and what is not believed. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "journal.h"
#include "page.h"
#include "ut.h"

#define PAGES 1500u /* more than two pieces, the last of them partial */

static struct {
	char dir[64], journal[96], guest[96], cache[96];
	struct colo_blocks blocks;
	struct colo_journal j;
	struct colo_error err;
} t;

static int
open_blocks(uint64_t size)
{
	struct colo_block_spec spec = {.name = "pc.ram", .size = size};

	strcpy(spec.guest_path, t.guest);
	strcpy(spec.cache_path, t.cache);
	memset(&t.blocks, 0, sizeof(t.blocks));
	return colo_blocks_add_secondary(&t.blocks, &spec, 1, -1, &t.err);
}

static void
begin(void)
{
	colo_page_init(NULL);
	memset(&t, 0, sizeof(t));
	strcpy(t.dir, "/tmp/journal_ut.XXXXXX");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(t.dir));
	snprintf(t.journal, sizeof(t.journal), "%s/journal", t.dir);
	snprintf(t.guest, sizeof(t.guest), "%s/guest", t.dir);
	snprintf(t.cache, sizeof(t.cache), "%s/cache", t.dir);
	CU_ASSERT_EQUAL_FATAL(open_blocks(PAGES * COLO_PAGE_SIZE), 0);
	CU_ASSERT_EQUAL_FATAL(colo_journal_open(&t.j, t.journal, &t.blocks, false, &t.err), 0);
}

static void
end(void)
{
	colo_journal_close(&t.j, false);
	colo_blocks_free(&t.blocks, false);
	unlink(t.journal);
	unlink(t.guest);
	unlink(t.cache);
	CU_ASSERT_EQUAL(rmdir(t.dir), 0);
}

/* The process is gone, its files are not. @return what colo_journal_open() says then. */
static int
die_and_recover(uint64_t size)
{
	colo_journal_close(&t.j, true);
	t.blocks.block[0].cache.created = false;
	colo_blocks_free(&t.blocks, true);
	CU_ASSERT_EQUAL_FATAL(open_blocks(size), 0);
	return colo_journal_open(&t.j, t.journal, &t.blocks, true, &t.err);
}

static void
fill(struct colo_memory *m, uint8_t byte)
{
	memset(m->addr, byte, PAGES * COLO_PAGE_SIZE);
}

static bool
holds(const struct colo_memory *m, uint8_t byte)
{
	for (uint64_t i = 0; i < PAGES * COLO_PAGE_SIZE; i++)
		if (m->addr[i] != byte)
			return false;
	return true;
}

static void
test_nothing_committed(void)
{
	begin();
	CU_ASSERT_EQUAL(die_and_recover(PAGES * COLO_PAGE_SIZE), 0);
	CU_ASSERT_EQUAL(colo_journal_committed(&t.j), 0);
	end();
}

/* Killed in a flush: guest memory is partly of each checkpoint, the cache all of the new one. */
static void
test_killed_in_flush(void)
{
	begin();
	fill(&t.blocks.block[0].guest, 1);
	fill(&t.blocks.block[0].cache, 2);
	colo_journal_commit(&t.j, 7);
	memset(t.blocks.block[0].guest.addr + 5 * COLO_PAGE_SIZE, 2, 100 * COLO_PAGE_SIZE + 17);
	CU_ASSERT_EQUAL(die_and_recover(PAGES * COLO_PAGE_SIZE), 0);
	CU_ASSERT_EQUAL(colo_journal_committed(&t.j), 7);
	CU_ASSERT_TRUE(holds(&t.blocks.block[0].guest, 2));
	/* and once more: it is no longer under way */
	fill(&t.blocks.block[0].cache, 3);
	CU_ASSERT_EQUAL(die_and_recover(PAGES * COLO_PAGE_SIZE), 0);
	CU_ASSERT_EQUAL(colo_journal_committed(&t.j), 7);
	CU_ASSERT_TRUE(holds(&t.blocks.block[0].guest, 2));
	end();
}

/* Killed while the next checkpoint arrives: the cache is of no checkpoint, guest memory is. */
static void
test_killed_between_flushes(void)
{
	begin();
	colo_journal_commit(&t.j, 8);
	fill(&t.blocks.block[0].guest, 4);
	colo_journal_flushed(&t.j);
	fill(&t.blocks.block[0].cache, 9);
	CU_ASSERT_EQUAL(die_and_recover(PAGES * COLO_PAGE_SIZE), 0);
	CU_ASSERT_EQUAL(colo_journal_committed(&t.j), 8);
	CU_ASSERT_TRUE(holds(&t.blocks.block[0].guest, 4));
	colo_journal_forget(&t.j, 7);
	CU_ASSERT_EQUAL(colo_journal_committed(&t.j), 0);
	end();
}

static void
test_other_blocks(void)
{
	begin();
	colo_journal_commit(&t.j, 3);
	CU_ASSERT_EQUAL(die_and_recover((PAGES - 1) * COLO_PAGE_SIZE), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(t.err.text, "other blocks"));
	end();
}

static void
test_files_gone(void)
{
	begin();
	colo_journal_commit(&t.j, 3);
	unlink(t.cache);
	CU_ASSERT_EQUAL(die_and_recover(PAGES * COLO_PAGE_SIZE), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(t.err.text, "is not there"));
	end();
}

static void
test_not_a_journal(void)
{
	begin();
	t.j.page->magic ^= 1;
	CU_ASSERT_EQUAL(die_and_recover(PAGES * COLO_PAGE_SIZE), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(t.err.text, "not a journal"));
	end();
	begin();
	t.j.page->version++;
	CU_ASSERT_EQUAL(die_and_recover(PAGES * COLO_PAGE_SIZE), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(t.err.text, "version"));
	end();
	begin();
	unlink(t.journal);
	CU_ASSERT_EQUAL(die_and_recover(PAGES * COLO_PAGE_SIZE), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(t.err.text, "no journal"));
	end();
}

/* A checkpoint is not forgotten by leaving an option out. */
static void
test_without_recover(void)
{
	begin();
	colo_journal_commit(&t.j, 3);
	colo_journal_flushed(&t.j);
	colo_journal_close(&t.j, true);
	CU_ASSERT_EQUAL(colo_journal_open(&t.j, t.journal, &t.blocks, false, &t.err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(t.err.text, "left checkpoint 3"));
	end();
	begin();
	colo_journal_close(&t.j, true);
	CU_ASSERT_EQUAL(colo_journal_open(&t.j, t.journal, &t.blocks, false, &t.err), 0);
	end();
}

/* Without one every call does nothing. */
static void
test_no_journal(void)
{
	struct colo_journal none = {0};

	colo_journal_commit(&none, 1);
	colo_journal_flushed(&none);
	colo_journal_forget(&none, 7);
	CU_ASSERT_EQUAL(colo_journal_committed(&none), 0);
	colo_journal_close(&none, false);
}

int
main(void)
{
	static const struct ut_case cases[] = {
		{"nothing committed", test_nothing_committed},
		{"killed in a flush", test_killed_in_flush},
		{"killed between flushes", test_killed_between_flushes},
		{"journal of other blocks", test_other_blocks},
		{"files that are gone", test_files_gone},
		{"not a journal", test_not_a_journal},
		{"a checkpoint, without --recover", test_without_recover},
		{"no journal", test_no_journal},
	};

	return UT_RUN("journal", cases);
}
