/* SPDX-License-Identifier: BSD-3-Clause */
/* Blocks: which are refused, what each end gets, what a reset and a free leave. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "block.h"
#include "ut.h"

#define PAGE (uint64_t) COLO_PAGE_SIZE

static char dir[] = "/tmp/colo_ut_XXXXXX"; /* owner: main() */
static struct colo_blocks b;		   /* owner: the running case; empty between cases */

static struct colo_block_spec
spec_of(const char *name, uint64_t size, const char *guest, const char *cache)
{
	struct colo_block_spec s = {.size = size};

	snprintf(s.name, sizeof(s.name), "%s", name);
	if (guest != NULL)
		snprintf(s.guest_path, sizeof(s.guest_path), "%s/%s", dir, guest);
	if (cache != NULL)
		snprintf(s.cache_path, sizeof(s.cache_path), "%s/%s", dir, cache);
	return s;
}

static bool
exists(const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return access(path, F_OK) == 0;
}

static void
test_primary(void)
{
	struct colo_block_spec s = spec_of("pc.ram", 513 * PAGE, NULL, NULL);
	struct colo_block *k = &b.block[0];

	CU_ASSERT_EQUAL_FATAL(colo_blocks_add_primary(&b, &s, NULL), 0);
	CU_ASSERT_EQUAL(b.n, 1);
	CU_ASSERT_STRING_EQUAL(k->name, "pc.ram");
	CU_ASSERT_EQUAL(k->size, 513 * PAGE);
	CU_ASSERT_EQUAL(k->n_pages, 513);
	CU_ASSERT_EQUAL(k->n_pieces, 2);
	CU_ASSERT_EQUAL(k->todo.n_pages, 513);
	CU_ASSERT_PTR_NULL(k->cache.addr);
	CU_ASSERT_PTR_NULL(k->touched);
	CU_ASSERT_PTR_NULL(k->recorded[0].words);
	CU_ASSERT_PTR_EQUAL(colo_page_addr(&k->guest, 512), k->guest.addr + 512 * PAGE);
	*colo_page_addr(&k->guest, 512) = 1; /* last page is mapped */
	colo_blocks_free(&b, false);
	CU_ASSERT_EQUAL(b.n, 0);
}

static void
check_secondary(unsigned int n_channels)
{
	struct colo_block_spec s = spec_of("pc.ram", 512 * PAGE, NULL, NULL);
	struct colo_block *k = &b.block[0];

	CU_ASSERT_EQUAL_FATAL(colo_blocks_add_secondary(&b, &s, n_channels, 0, NULL), 0);
	CU_ASSERT_EQUAL(k->n_pieces, 1);
	CU_ASSERT_PTR_NOT_NULL(k->cache.addr);
	CU_ASSERT_PTR_NOT_EQUAL(k->cache.addr, k->guest.addr);
	CU_ASSERT_EQUAL(k->touched[0], 0);
	CU_ASSERT_PTR_NULL(k->todo.words);
	for (unsigned int c = 0; c < COLO_MAX_CHANNELS; c++)
		CU_ASSERT_EQUAL(k->recorded[c].n_pages, c < n_channels ? 512u : 0u);
	colo_blocks_free(&b, false);
}

static void
test_secondary(void)
{
	struct colo_block_spec s = spec_of("pc.ram", PAGE, NULL, NULL);

	check_secondary(1);
	check_secondary(COLO_MAX_CHANNELS);
	CU_ASSERT_EQUAL(colo_blocks_add_secondary(&b, &s, 0, -1, NULL), -1);
	CU_ASSERT_EQUAL(colo_blocks_add_secondary(&b, &s, COLO_MAX_CHANNELS + 1, -1, NULL), -1);
	CU_ASSERT_EQUAL(b.n, 0);
}

/* @return whether both ends take it; they must agree, and say the size where they do not. */
static bool
takes_size(uint64_t size)
{
	struct colo_block_spec s = spec_of("ram", size, NULL, NULL);
	struct colo_error err = {""};
	int primary = colo_blocks_add_primary(&b, &s, &err), secondary;

	colo_blocks_free(&b, false);
	secondary = colo_blocks_add_secondary(&b, &s, 1, -1, &err);
	colo_blocks_free(&b, false);
	CU_ASSERT_EQUAL(primary, secondary);
	if (secondary != 0)
		CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "block ram has size"));
	return secondary == 0;
}

static void
test_sizes(void)
{
	CU_ASSERT_FALSE(takes_size(0));
	CU_ASSERT_FALSE(takes_size(PAGE / 2));
	CU_ASSERT_FALSE(takes_size(PAGE - 1));
	CU_ASSERT_TRUE(takes_size(PAGE));
	CU_ASSERT_FALSE(takes_size(PAGE + 1));
	CU_ASSERT_FALSE(takes_size(PAGE + PAGE / 2));
	CU_ASSERT_TRUE(takes_size(2 * PAGE));
	CU_ASSERT_FALSE(takes_size(COLO_MAX_BLOCK_SIZE + 1));
	CU_ASSERT_FALSE(takes_size(COLO_MAX_BLOCK_SIZE + PAGE));
	CU_ASSERT_FALSE(takes_size(UINT64_MAX - PAGE + 1));
}

static bool
takes_name(const char *name)
{
	struct colo_block_spec s = {.size = PAGE};
	int result;

	memcpy(s.name, name, strnlen(name, sizeof(s.name)));
	result = colo_blocks_add_primary(&b, &s, NULL);
	if (result == 0)
		CU_ASSERT_STRING_EQUAL(b.block[0].name, name);
	colo_blocks_free(&b, false);
	return result == 0;
}

static void
test_names(void)
{
	char name[COLO_BLOCK_NAME_MAX + 2] = {0};

	CU_ASSERT_FALSE(takes_name(""));
	CU_ASSERT_TRUE(takes_name("/rom@etc/acpi/tables"));
	CU_ASSERT_TRUE(takes_name("0000:00:02.0/virtio-net-pci.rom"));
	CU_ASSERT_TRUE(takes_name(COLO_DEVICE_BLOCK_NAME));
	CU_ASSERT_FALSE(takes_name("pc ram"));
	CU_ASSERT_FALSE(takes_name("pc.ram\n"));
	CU_ASSERT_FALSE(takes_name("pc.r\xc3\xa4m"));
	memset(name, 'n', COLO_BLOCK_NAME_MAX);
	CU_ASSERT_TRUE(takes_name(name));
	name[COLO_BLOCK_NAME_MAX] = 'n'; /* no NUL within the field any more */
	CU_ASSERT_FALSE(takes_name(name));
}

static void
test_find(void)
{
	struct colo_block_spec s = spec_of("a", PAGE, NULL, NULL);
	struct colo_error err = {""};

	CU_ASSERT_EQUAL(colo_blocks_find(&b, "a"), -1);
	CU_ASSERT_EQUAL_FATAL(colo_blocks_add_primary(&b, &s, &err), 0);
	s = spec_of("ab", PAGE, NULL, NULL);
	CU_ASSERT_EQUAL_FATAL(colo_blocks_add_primary(&b, &s, &err), 0);
	CU_ASSERT_EQUAL(colo_blocks_find(&b, "a"), 0);
	CU_ASSERT_EQUAL(colo_blocks_find(&b, "ab"), 1);
	CU_ASSERT_EQUAL(colo_blocks_find(&b, "abc"), -1);
	CU_ASSERT_EQUAL(colo_blocks_add_primary(&b, &s, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "two blocks named ab"));
	CU_ASSERT_EQUAL(colo_blocks_add_secondary(&b, &s, 1, -1, &err), -1);
	CU_ASSERT_EQUAL(b.n, 2);
	colo_blocks_free(&b, false);
}

static void
test_too_many(void)
{
	struct colo_error err = {""};
	struct colo_block_spec s;
	char name[8];

	for (unsigned int i = 0; i <= COLO_MAX_BLOCKS; i++) {
		snprintf(name, sizeof(name), "ram%u", i);
		s = spec_of(name, PAGE, NULL, NULL);
		CU_ASSERT_EQUAL(
			colo_blocks_add_primary(&b, &s, &err), i < COLO_MAX_BLOCKS ? 0 : -1);
	}
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "at most 32"));
	CU_ASSERT_EQUAL(b.n, COLO_MAX_BLOCKS);
	colo_blocks_free(&b, false);
}

/* One file for two memories is refused, by whatever name, and nothing of ours stays behind. */
static void
test_shared_files(void)
{
	struct colo_block_spec s = spec_of("a", PAGE, "one", "one");
	struct colo_error err = {""};

	CU_ASSERT_EQUAL(colo_blocks_add_secondary(&b, &s, 1, -1, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "same file"));
	s = spec_of("a", PAGE, "one", "./one");
	CU_ASSERT_EQUAL(colo_blocks_add_secondary(&b, &s, 1, -1, &err), -1);
	CU_ASSERT_FALSE(exists("one"));
	s = spec_of("a", PAGE, "one", "two");
	CU_ASSERT_EQUAL_FATAL(colo_blocks_add_secondary(&b, &s, 1, -1, &err), 0);
	s = spec_of("c", PAGE, "three", "one");
	CU_ASSERT_EQUAL(colo_blocks_add_secondary(&b, &s, 1, -1, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "blocks a and c"));
	CU_ASSERT_FALSE(exists("three"));
	CU_ASSERT_TRUE(exists("one") && exists("two"));
	s = spec_of("c", PAGE, "two", NULL);
	CU_ASSERT_EQUAL(colo_blocks_add_primary(&b, &s, &err), -1);
	CU_ASSERT_EQUAL(b.n, 1);
	colo_blocks_free(&b, false);
	CU_ASSERT_FALSE(exists("one") || exists("two"));
}

static void
test_free_keeps_guest(void)
{
	struct colo_block_spec s = spec_of("a", PAGE, "guest", "cache");
	char path[PATH_MAX];

	CU_ASSERT_EQUAL_FATAL(colo_blocks_add_secondary(&b, &s, 1, -1, NULL), 0);
	CU_ASSERT_TRUE(exists("guest") && exists("cache"));
	colo_blocks_free(&b, true);
	CU_ASSERT_TRUE(exists("guest"));
	CU_ASSERT_FALSE(exists("cache"));
	snprintf(path, sizeof(path), "%s/guest", dir);
	unlink(path);
}

/* A file from before may hold anything: its pieces count as touched, its bytes stay till reset. */
static void
test_old_files(void)
{
	struct colo_block_spec s = spec_of("a", 513 * PAGE, "old", NULL);
	struct colo_block *k = &b.block[0];
	char path[PATH_MAX];

	CU_ASSERT_EQUAL_FATAL(colo_blocks_add_secondary(&b, &s, 1, -1, NULL), 0);
	CU_ASSERT_EQUAL(k->touched[1], 0);
	*colo_page_addr(&k->guest, 512) = 7;
	colo_blocks_free(&b, true);

	CU_ASSERT_EQUAL_FATAL(colo_blocks_add_secondary(&b, &s, 1, -1, NULL), 0);
	CU_ASSERT_EQUAL(*colo_page_addr(&k->guest, 512), 7);
	CU_ASSERT_EQUAL(k->touched[0], 1);
	CU_ASSERT_EQUAL(k->touched[1], 1);
	CU_ASSERT_EQUAL(colo_blocks_reset(&b, NULL), 0);
	CU_ASSERT_EQUAL(*colo_page_addr(&k->guest, 512), 0);
	CU_ASSERT_EQUAL(k->touched[0] + k->touched[1], 0);
	colo_blocks_free(&b, false);
	CU_ASSERT_TRUE(exists("old")); /* the second time it was not ours */
	snprintf(path, sizeof(path), "%s/old", dir);
	unlink(path);
}

static void
test_reset_secondary(void)
{
	struct colo_block_spec s = spec_of("a", 513 * PAGE, NULL, NULL);
	struct colo_block *k = &b.block[1];

	CU_ASSERT_EQUAL_FATAL(colo_blocks_add_secondary(&b, &s, 2, -1, NULL), 0);
	s = spec_of("b", 513 * PAGE, NULL, NULL);
	CU_ASSERT_EQUAL_FATAL(colo_blocks_add_secondary(&b, &s, 2, -1, NULL), 0);
	memset(k->guest.addr, 1, k->size);
	memset(k->cache.addr, 2, k->size);
	k->touched[0] = k->touched[1] = 1;
	colo_dirty_set(&k->recorded[0], 0);
	colo_dirty_set(&k->recorded[1], 512);
	CU_ASSERT_EQUAL(colo_blocks_reset(&b, NULL), 0);
	for (uint32_t p = 0; p < k->n_pages; p++) {
		CU_ASSERT_EQUAL(*colo_page_addr(&k->guest, p), 0);
		CU_ASSERT_EQUAL(*colo_page_addr(&k->cache, p), 0);
	}
	CU_ASSERT_EQUAL(k->touched[0] + k->touched[1], 0);
	CU_ASSERT_EQUAL(colo_dirty_count(&k->recorded[0]) + colo_dirty_count(&k->recorded[1]), 0);
	colo_blocks_free(&b, false);
}

static void
test_reset_primary(void)
{
	struct colo_block_spec s = spec_of("a", 2 * PAGE, NULL, NULL);

	CU_ASSERT_EQUAL_FATAL(colo_blocks_add_primary(&b, &s, NULL), 0);
	colo_dirty_set(&b.block[0].todo, 1);
	CU_ASSERT_EQUAL(colo_blocks_reset(&b, NULL), 0);
	CU_ASSERT_EQUAL(colo_dirty_count(&b.block[0].todo), 0);
	colo_blocks_free(&b, false);
}

static const struct ut_case cases[] = {
	{"a primary's block", test_primary},
	{"a secondary's block, one bitmap a channel", test_secondary},
	{"sizes", test_sizes},
	{"names", test_names},
	{"finding; a name twice", test_find},
	{"one block too many", test_too_many},
	{"one file for two memories", test_shared_files},
	{"free keeps guest memory if asked to", test_free_keeps_guest},
	{"files from before", test_old_files},
	{"a secondary's reset", test_reset_secondary},
	{"a primary's reset", test_reset_primary},
};

int
main(void)
{
	int failed;

	if (mkdtemp(dir) == NULL)
		return 1;
	failed = UT_RUN("block", cases);
	return failed | (rmdir(dir) != 0); /* nothing may be left in it */
}
