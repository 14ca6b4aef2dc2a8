/* SPDX-License-Identifier: BSD-3-Clause */
/* Mapping, discarding and freeing memory: unnamed, on the file system of /tmp and /dev/shm, and on
 * huge pages where the machine has some free (said, and passed over, where not). */
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bounds.h"
#include "guest_memory.h"
#include "ut.h"

#define MIB (1ull << 20)

/* owner: main(); made before and removed after the cases */
static char dir[2][64] = {"/tmp/colo_ut_XXXXXX", "/dev/shm/colo_ut_XXXXXX"};
static char joined[128]; /* owner: path_in(), valid until its next call */

static const char *
path_in(unsigned int d, const char *name)
{
	snprintf(joined, sizeof(joined), "%s/%s", dir[d], name);
	return joined;
}

static void
make_file(const char *path, off_t size)
{
	FILE *f = fopen(path, "w");

	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	fputs("content", f);
	fclose(f);
	CU_ASSERT_EQUAL_FATAL(truncate(path, size), 0);
}

static off_t
file_size(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? st.st_size : -1;
}

/* Bytes of the host's memory that the mapping's file holds. */
static uint64_t
held(const struct colo_memory *m)
{
	struct stat st;

	return fstat(m->fd, &st) == 0 ? (uint64_t)st.st_blocks * 512 : ~0ull;
}

static void
check_mapping(const struct colo_memory *m, uint64_t size)
{
	CU_ASSERT_PTR_NOT_NULL_FATAL(m->addr);
	CU_ASSERT_TRUE(m->size >= size && m->size - size < m->page_size);
	CU_ASSERT_EQUAL(m->size % m->page_size, 0);
	CU_ASSERT_EQUAL((uintptr_t)m->addr % COLO_PIECE_SIZE, 0);
	m->addr[0] = 1;
	m->addr[m->size - 1] = 1;
}

static void
test_unnamed(void)
{
	const uint64_t sizes[] = {1, 4096, 2 * MIB - 4096, 2 * MIB, 2 * MIB + 4096, 5 * MIB};

	for (unsigned int i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct colo_error err = {""};
		struct colo_memory m;

		CU_ASSERT_EQUAL_FATAL(
			colo_memory_map(&m, i % 2 ? NULL : "", sizes[i], -1, &err), 0);
		CU_ASSERT_EQUAL(m.path[0], 0);
		CU_ASSERT_FALSE(m.created);
		check_mapping(&m, sizes[i]);
		colo_memory_free(&m, false);
		CU_ASSERT_PTR_NULL(m.addr);
		CU_ASSERT_EQUAL(m.fd, -1);
	}
}

static void
test_untouched_costs_nothing(void)
{
	struct colo_memory m;

	CU_ASSERT_EQUAL_FATAL(colo_memory_map(&m, path_in(1, "big"), 64 * MIB, -1, NULL), 0);
	CU_ASSERT_EQUAL(held(&m), 0);
	CU_ASSERT_EQUAL(m.addr[5 * MIB], 0);
	m.addr[63 * MIB] = 1;
	CU_ASSERT_TRUE(held(&m) > 0);
	CU_ASSERT_TRUE(held(&m) <= 4 * MIB);
	colo_memory_free(&m, false);
}

static void
test_sizes_refused(void)
{
	struct colo_error err = {""};
	struct colo_memory m;

	CU_ASSERT_EQUAL(colo_memory_map(&m, NULL, 0, -1, &err), -1);
	CU_ASSERT_PTR_NULL(m.addr);
	CU_ASSERT_EQUAL(colo_memory_map(&m, NULL, COLO_MAX_BLOCK_SIZE + 1, -1, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "4398046511105"));
	colo_memory_free(&m, false); /* harmless */
}

static void
check_created(unsigned int d)
{
	const char *path = path_in(d, "new");
	struct colo_error err = {""};
	struct colo_memory m;
	struct stat st;

	CU_ASSERT_EQUAL_FATAL(colo_memory_map(&m, path, 3 * MIB + 4096, -1, &err), 0);
	CU_ASSERT_TRUE(m.created);
	CU_ASSERT_EQUAL(m.page_size, 4096);
	check_mapping(&m, 3 * MIB + 4096);
	CU_ASSERT_EQUAL(stat(path, &st), 0);
	CU_ASSERT_EQUAL(st.st_mode & 07777, 0600);
	CU_ASSERT_EQUAL(st.st_size, (off_t)(3 * MIB + 4096));
	colo_memory_free(&m, false);
	CU_ASSERT_EQUAL(file_size(path), -1);

	CU_ASSERT_EQUAL_FATAL(colo_memory_map(&m, path, 4096, -1, &err), 0);
	m.addr[9] = 9;
	colo_memory_free(&m, true);
	CU_ASSERT_EQUAL(file_size(path), 4096);
	CU_ASSERT_EQUAL_FATAL(colo_memory_map(&m, path, 4096, -1, &err), 0);
	CU_ASSERT_FALSE(m.created);
	CU_ASSERT_EQUAL(m.addr[9], 9);
	colo_memory_free(&m, false);
	CU_ASSERT_EQUAL(file_size(path), 4096); /* it was there before: it stays */
	unlink(path);
}

static void
test_created_files(void)
{
	check_created(0);
	check_created(1);
}

static void
test_file_sizes(void)
{
	const char *path = path_in(0, "sized");
	struct colo_error err = {""};
	struct colo_memory m;

	make_file(path, 8191);
	CU_ASSERT_EQUAL(colo_memory_map(&m, path, 8192, -1, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, path));
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "8191"));
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "8192"));
	CU_ASSERT_EQUAL(file_size(path), 8191);
	for (off_t size = 8192; size <= 8193; size++) {
		make_file(path, size);
		CU_ASSERT_EQUAL_FATAL(colo_memory_map(&m, path, 8192, -1, &err), 0);
		CU_ASSERT_EQUAL(m.size, 8192);
		CU_ASSERT_EQUAL(memcmp(m.addr, "content", 8), 0);
		colo_memory_free(&m, false);
		CU_ASSERT_EQUAL(file_size(path), size);
	}
	unlink(path);
}

static void
test_paths_refused(void)
{
	char long_path[PATH_MAX + 1];
	struct colo_error err = {""};
	struct colo_memory m;

	CU_ASSERT_EQUAL(colo_memory_map(&m, dir[0], 4096, -1, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, dir[0]));
	/* a pipe of our own, no device: a mistake in the code under test must not harm the machine
	 */
	CU_ASSERT_EQUAL_FATAL(mkfifo(path_in(0, "pipe"), 0600), 0);
	CU_ASSERT_EQUAL(colo_memory_map(&m, path_in(0, "pipe"), 4096, -1, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "regular file"));
	CU_ASSERT_EQUAL(unlink(path_in(0, "pipe")), 0); /* it is still there */
	CU_ASSERT_EQUAL(colo_memory_map(&m, path_in(0, "no/such"), 4096, -1, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "No such file"));
	memset(long_path, 'x', PATH_MAX);
	long_path[PATH_MAX] = 0;
	CU_ASSERT_EQUAL(colo_memory_map(&m, long_path, 4096, -1, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "at most 4095"));
	CU_ASSERT_EQUAL(m.fd, -1);
}

/* A file that could not hold its block is refused and not left behind. */
static void
test_no_room(void)
{
	const char *path = path_in(1, "huge");
	struct colo_error err = {""};
	struct colo_memory m;

	CU_ASSERT_EQUAL(colo_memory_map(&m, path, COLO_MAX_BLOCK_SIZE, -1, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, path));
	CU_ASSERT_EQUAL(file_size(path), -1);
}

static void
check_discard(const char *path, uint64_t size)
{
	struct colo_error err = {""};
	struct colo_memory m;

	CU_ASSERT_EQUAL_FATAL(colo_memory_map(&m, path, size, -1, &err), 0);
	memset(m.addr, 0xee, m.size);
	CU_ASSERT_TRUE(held(&m) >= size);
	CU_ASSERT_EQUAL(colo_memory_discard(&m, &err), 0);
	CU_ASSERT_EQUAL(held(&m), 0);
	for (uint64_t i = 0; i < m.size; i += 64)
		if (m.addr[i] != 0) {
			CU_FAIL("a byte is left after discard");
			break;
		}
	CU_ASSERT_EQUAL(m.addr[m.size - 1], 0);
	m.addr[m.size - 1] = 1; /* and it is memory again */
	colo_memory_free(&m, false);
}

static void
test_discard(void)
{
	check_discard(NULL, 2 * MIB + 4096);
	check_discard(path_in(0, "discard"), 2 * MIB + 4096);
	check_discard(path_in(1, "discard"), 2 * MIB + 4096);
}

/* Only the block's part of a longer file is ours. */
static void
test_discard_leaves_the_rest(void)
{
	const char *path = path_in(1, "longer");
	struct colo_memory m, all;

	make_file(path, 3 * 4096);
	CU_ASSERT_EQUAL_FATAL(colo_memory_map(&all, path, 3 * 4096, -1, NULL), 0);
	memset(all.addr, 5, all.size);
	CU_ASSERT_EQUAL_FATAL(colo_memory_map(&m, path, 2 * 4096, -1, NULL), 0);
	CU_ASSERT_EQUAL(colo_memory_discard(&m, NULL), 0);
	CU_ASSERT_EQUAL(all.addr[2 * 4096 - 1], 0);
	CU_ASSERT_EQUAL(all.addr[2 * 4096], 5);
	CU_ASSERT_EQUAL(file_size(path), 3 * 4096);
	colo_memory_free(&m, false);
	colo_memory_free(&all, false);
	unlink(path);
}

/* Nodes are a wish: one that does not exist is no reason to fail. */
static void
test_numa(void)
{
	const int nodes[] = {-1, 0, 9999};
	struct colo_memory m;

	for (unsigned int i = 0; i < 3; i++) {
		CU_ASSERT_EQUAL_FATAL(colo_memory_map(&m, NULL, 4096, nodes[i], NULL), 0);
		check_mapping(&m, 4096);
		colo_memory_free(&m, false);
	}
}

static unsigned long
free_huge_pages(void)
{
	FILE *f = fopen("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "r");
	unsigned long n = 0;

	if (f != NULL && fscanf(f, "%lu", &n) != 1)
		n = 0;
	if (f != NULL)
		fclose(f);
	return n;
}

/* Huge pages are shared with whatever else runs here, so their number is not asserted. */
static void
test_unnamed_huge(void)
{
	struct colo_memory m;

	if (free_huge_pages() < 16) {
		printf("(no free 2 MiB huge pages: passed over) ");
		return;
	}
	CU_ASSERT_EQUAL_FATAL(colo_memory_map(&m, NULL, 2 * MIB + 4096, 0, NULL), 0);
	CU_ASSERT_EQUAL(m.page_size, 2 * MIB);
	CU_ASSERT_EQUAL(m.size, 4 * MIB);
	check_mapping(&m, 2 * MIB + 4096);
	colo_memory_free(&m, false);
	check_discard(NULL, 4 * MIB);
}

/*
 * A hugetlbfs of our own that has two pages at most, in a mount namespace of this process, so that
 * nothing else that runs here sees it or takes from it. Needs root.
 */
static bool
mount_huge(const char *where)
{
	if (mkdir(where, 0700) != 0)
		return false;
	if (unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
		mount("none", where, "hugetlbfs", 0, "pagesize=2M,size=4M") == 0)
		return true;
	rmdir(where);
	return false;
}

static void
check_named_huge(const char *path)
{
	struct colo_error err = {""};
	struct colo_memory m;

	CU_ASSERT_EQUAL_FATAL(colo_memory_map(&m, path, 2 * MIB + 4096, -1, &err), 0);
	CU_ASSERT_EQUAL(m.page_size, 2 * MIB);
	CU_ASSERT_EQUAL(file_size(path), (off_t)(4 * MIB));
	check_mapping(&m, 2 * MIB + 4096);
	colo_memory_free(&m, true);
	CU_ASSERT_EQUAL_FATAL(colo_memory_map(&m, path, 4 * MIB, -1, &err), 0);
	CU_ASSERT_EQUAL(m.addr[0], 1);
	colo_memory_free(&m, false);
	CU_ASSERT_EQUAL(colo_memory_map(&m, path, 4 * MIB + 4096, -1, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "has 4194304 bytes"));
	unlink(path);
	CU_ASSERT_EQUAL(colo_memory_map(&m, path, 4 * MIB + 4096, -1, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "3 free huge pages"));
	CU_ASSERT_EQUAL(file_size(path), -1);
	check_discard(path, 4 * MIB);
}

/* A discarded page must still be ours when it is touched again: SIGBUS would be the alternative. */
static void
check_discard_keeps_reserved(const char *path, const char *other_path)
{
	struct colo_error err = {""};
	struct colo_memory m, other;

	CU_ASSERT_EQUAL_FATAL(colo_memory_map(&m, path, 4 * MIB, -1, &err), 0);
	memset(m.addr, 1, m.size);
	CU_ASSERT_EQUAL(colo_memory_discard(&m, &err), 0);
	CU_ASSERT_EQUAL(colo_memory_map(&other, other_path, 2 * MIB, -1, &err), -1);
	colo_memory_free(&other, false);
	colo_memory_free(&m, false);
}

static void
test_named_huge(void)
{
	char where[80], path[128], other[128], bad[128];
	struct colo_error err = {""};
	struct colo_memory m;

	snprintf(where, sizeof(where), "%s/map_dir", dir[0]); /* only the file's name matters */
	if (free_huge_pages() < 16 || !mount_huge(where)) {
		printf("(not root, or no free 2 MiB huge pages: passed over) ");
		return;
	}
	snprintf(path, sizeof(path), "%s/ram", where);
	snprintf(other, sizeof(other), "%s/other", where);
	snprintf(bad, sizeof(bad), "%s/colo_map_0", where);
	check_named_huge(path);
	check_discard_keeps_reserved(path, other);
	CU_ASSERT_EQUAL(colo_memory_map(&m, bad, 2 * MIB, -1, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "map_"));
	CU_ASSERT_EQUAL(file_size(bad), -1);
	CU_ASSERT_EQUAL(umount(where), 0);
	CU_ASSERT_EQUAL(rmdir(where), 0);
}

static const struct ut_case cases[] = {
	{"unnamed memory of every size", test_unnamed},
	{"untouched memory costs nothing", test_untouched_costs_nothing},
	{"sizes out of range are refused", test_sizes_refused},
	{"files are created, kept or removed", test_created_files},
	{"a file must be as long as its block", test_file_sizes},
	{"paths that cannot be memory are refused", test_paths_refused},
	{"no room on the file system", test_no_room},
	{"discard gives every page back", test_discard},
	{"discard leaves what is beyond the block", test_discard_leaves_the_rest},
	{"NUMA nodes, one that does not exist too", test_numa},
	{"unnamed memory in huge pages", test_unnamed_huge},
	{"files on hugetlbfs", test_named_huge},
};

int
main(void)
{
	int failed;

	if (mkdtemp(dir[0]) == NULL || mkdtemp(dir[1]) == NULL)
		return 1;
	failed = UT_RUN("guest_memory", cases);
	failed |= rmdir(dir[0]) != 0 || rmdir(dir[1]) != 0; /* nothing may be left in them */
	return failed;
}
