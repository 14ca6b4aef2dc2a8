/* SPDX-License-Identifier: BSD-3-Clause */
/* Mapped memory: named files that a QEMU maps too, and unnamed memory in huge pages. */
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <numa.h>
#include <numaif.h>

#include "bounds.h"
#include "guest_memory.h"
#include "log.h"

/* What glibc of Debian 12 does not name: 21 is log2 of 2 MiB (linux/memfd.h). */
#ifndef MFD_HUGE_2MB
#define MFD_HUGE_2MB (21u << 26)
#endif

#define SMALL_PAGE 4096u
#define HUGE_PAGE  COLO_PIECE_SIZE

static uint64_t
round_up(uint64_t n, uint64_t unit)
{
	return (n + unit - 1) / unit * unit;
}

/* mmap() places 4 KiB pages anywhere: reserve one piece more than needed and map inside it. */
static uint8_t *
map_aligned(int fd, uint64_t size)
{
	uint64_t span = round_up(size, SMALL_PAGE) + COLO_PIECE_SIZE;
	uint8_t *at, *room = mmap(NULL, span, PROT_NONE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint64_t skip;

	if (room == MAP_FAILED)
		return NULL;
	skip = round_up((uintptr_t)room, COLO_PIECE_SIZE) - (uintptr_t)room;
	at = mmap(room + skip, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	if (at == MAP_FAILED) {
		int error = errno;

		munmap(room, span);
		errno = error;
		return NULL;
	}
	if (skip > 0)
		munmap(room, skip);
	munmap(at + size, span - skip - size);
	return at;
}

/*
 * Without MAP_NORESERVE the kernel sets the huge pages aside here or fails: no SIGBUS later.
 * @return 0 or -1 with errno.
 */
static int
map_fd(struct colo_memory *m)
{
	if (m->page_size == SMALL_PAGE) {
		m->addr = map_aligned(m->fd, m->size);
		return m->addr == NULL ? -1 : 0;
	}
	m->addr = mmap(NULL, m->size, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, 0);
	if (m->addr == MAP_FAILED) {
		m->addr = NULL;
		return -1;
	}
	return 0;
}

/* A preference, not a demand: memory on another node is slow, none is worse. */
static void
place_on_node(const struct colo_memory *m, int node)
{
	struct bitmask *mask;

	if (node < 0 || numa_available() < 0)
		return;
	if (node > numa_max_node()) {
		COLO_LOG(WARNING, "there is no NUMA node %d; memory stays where it falls", node);
		return;
	}
	mask = numa_allocate_nodemask();
	numa_bitmask_setbit(mask, (unsigned int)node);
	if (mbind(m->addr, m->size, MPOL_PREFERRED, mask->maskp, mask->size + 1, 0) != 0)
		COLO_LOG(
			WARNING, "memory is not placed on NUMA node %d: %s", node, strerror(errno));
	numa_bitmask_free(mask);
}

static int
unnamed_try(struct colo_memory *m, uint64_t size, uint64_t page_size, unsigned int flags)
{
	int error;

	m->page_size = page_size;
	m->size = round_up(size, page_size);
	m->fd = memfd_create("dpdk-colo", MFD_CLOEXEC | flags);
	if (m->fd < 0)
		return -1;
	if (ftruncate(m->fd, (off_t)m->size) == 0 && map_fd(m) == 0)
		return 0;
	error = errno;
	close(m->fd);
	m->fd = -1;
	errno = error;
	return -1;
}

static int
map_unnamed(struct colo_memory *m, uint64_t size, struct colo_error *err)
{
	if (size >= HUGE_PAGE && unnamed_try(m, size, HUGE_PAGE, MFD_HUGETLB | MFD_HUGE_2MB) == 0)
		return 0;
	if (size >= HUGE_PAGE)
		COLO_LOG(WARNING,
			"%" PRIu64 " MiB of memory take 4 KiB pages, which is slow: %" PRIu64
			" free huge pages of 2 MiB are needed, reserve: echo N > "
			"/proc/sys/vm/nr_hugepages",
			round_up(size, HUGE_PAGE) >> 20, round_up(size, HUGE_PAGE) / HUGE_PAGE);
	if (unnamed_try(m, size, SMALL_PAGE, 0) != 0)
		return colo_error_set(
			err, "cannot map %" PRIu64 " bytes of memory: %s", size, strerror(errno));
	/* where the host gives transparent huge pages to shared memory on request, take them */
	(void)madvise(m->addr, m->size, MADV_HUGEPAGE);
	return 0;
}

/* Open the file, or make it. */
static int
open_named(struct colo_memory *m, struct colo_error *err)
{
	struct stat st;

	m->fd = open(m->path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (m->fd < 0 && errno == ENOENT) {
		m->fd = open(m->path, O_RDWR | O_CLOEXEC | O_CREAT | O_EXCL, 0600);
		m->created = m->fd >= 0;
	}
	if (m->fd < 0)
		return colo_error_set(
			err, "cannot open memory file %s: %s", m->path, strerror(errno));
	if (fstat(m->fd, &st) != 0 || !S_ISREG(st.st_mode))
		return colo_error_set(err, "%s is not a regular file, memory needs one", m->path);
	return 0;
}

/* Find out what pages the file's file system has. */
static int
named_page_size(struct colo_memory *m, struct statfs *fs, struct colo_error *err)
{
	const char *slash = strrchr(m->path, '/');

	if (fstatfs(m->fd, fs) != 0)
		return colo_error_set(
			err, "cannot ask the file system of %s: %s", m->path, strerror(errno));
	m->page_size = SMALL_PAGE;
	if (fs->f_type != HUGETLBFS_MAGIC)
		return 0;
	m->page_size = (uint64_t)fs->f_bsize;
	if (fnmatch("*map_*", slash != NULL ? slash + 1 : m->path, 0) == 0)
		return colo_error_set(err,
			"%s: a memory file on hugetlbfs must not have map_ in its name, any "
			"starting "
			"DPDK program would remove it",
			m->path);
	return 0;
}

/*
 * tmpfs promises no space: a write to a full one is a SIGBUS. Two files may both be promised the
 * same free space; nothing short of touching every page would tell.
 */
static int
check_space(const struct colo_memory *m, const struct statfs *fs, struct colo_error *err)
{
	uint64_t has, room = (uint64_t)fs->f_bavail * (uint64_t)fs->f_bsize;
	struct stat st;

	if (fs->f_type == HUGETLBFS_MAGIC || fs->f_blocks == 0 || fstat(m->fd, &st) != 0)
		return 0;
	has = (uint64_t)st.st_blocks * 512;
	if (m->size > has && m->size - has > room)
		return colo_error_set(err,
			"the file system of %s has room for %" PRIu64 " bytes, %" PRIu64
			" are needed",
			m->path, room, m->size - has);
	return 0;
}

static int
size_named(struct colo_memory *m, uint64_t size, struct colo_error *err)
{
	struct stat st;

	if (m->created && ftruncate(m->fd, (off_t)m->size) != 0)
		return colo_error_set(err, "cannot make %s %" PRIu64 " bytes long: %s", m->path,
			m->size, strerror(errno));
	if (fstat(m->fd, &st) != 0)
		return colo_error_set(
			err, "cannot ask the size of %s: %s", m->path, strerror(errno));
	if ((uint64_t)st.st_size < size)
		return colo_error_set(err,
			"memory file %s has %" PRIu64 " bytes, its block needs %" PRIu64, m->path,
			(uint64_t)st.st_size, size);
	return 0;
}

static int
map_named(struct colo_memory *m, const char *path, uint64_t size, struct colo_error *err)
{
	struct statfs fs;

	if (strlen(path) >= sizeof(m->path))
		return colo_error_set(err,
			"a memory file's path has %zu bytes, at most %zu are "
			"accepted",
			strlen(path), sizeof(m->path) - 1);
	strcpy(m->path, path);
	if (open_named(m, err) != 0 || named_page_size(m, &fs, err) != 0)
		return -1;
	m->size = round_up(size, m->page_size);
	if (size_named(m, size, err) != 0 || check_space(m, &fs, err) != 0)
		return -1;
	if (map_fd(m) == 0)
		return 0;
	if (m->page_size == SMALL_PAGE)
		return colo_error_set(err, "cannot map %s: %s", path, strerror(errno));
	return colo_error_set(err,
		"cannot map %s: %s; it needs %" PRIu64 " free huge pages of %" PRIu64
		" KiB, reserve them: echo N > /proc/sys/vm/nr_hugepages",
		path, strerror(errno), m->size / m->page_size, m->page_size >> 10);
}

int
colo_memory_map(struct colo_memory *m, const char *path, uint64_t size, int numa_node,
	struct colo_error *err)
{
	bool named = path != NULL && path[0] != '\0';

	memset(m, 0, sizeof(*m));
	m->fd = -1;
	if (size == 0 || size > COLO_MAX_BLOCK_SIZE)
		return colo_error_set(err, "cannot map %" PRIu64 " bytes: 1 to %llu are accepted",
			size, COLO_MAX_BLOCK_SIZE);
	if ((named ? map_named(m, path, size, err) : map_unnamed(m, size, err)) != 0) {
		colo_memory_free(m, false);
		return -1;
	}
	place_on_node(m, numa_node);
	(void)madvise(m->addr, m->size, MADV_DONTFORK);
	return 0;
}

/*
 * Punching a hole into hugetlb memory gives its reservation back too; mapping it once more renews
 * that (it belongs to the file, so the second mapping need not stay).
 */
static int
reserve_again(const struct colo_memory *m, struct colo_error *err)
{
	void *again;

	if (m->page_size == SMALL_PAGE)
		return 0;
	again = mmap(NULL, m->size, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, 0);
	if (again == MAP_FAILED)
		return colo_error_set(err, "%" PRIu64 " huge pages of %s are no longer free: %s",
			m->size / m->page_size, m->path[0] != '\0' ? m->path : "unnamed memory",
			strerror(errno));
	munmap(again, m->size);
	return 0;
}

int
colo_memory_discard(struct colo_memory *m, struct colo_error *err)
{
	if (fallocate(m->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)m->size) == 0)
		return reserve_again(m, err);
	if (errno != EOPNOTSUPP)
		return colo_error_set(err, "cannot discard %s: %s",
			m->path[0] != '\0' ? m->path : "unnamed memory", strerror(errno));
	/* a file system without holes: zeros it must be, at the price of writing them */
	memset(m->addr, 0, m->size);
	return 0;
}

void
colo_memory_free(struct colo_memory *m, bool keep_file)
{
	if (m->addr != NULL)
		munmap(m->addr, m->size);
	if (m->fd >= 0)
		close(m->fd);
	if (m->created && !keep_file)
		unlink(m->path);
	memset(m, 0, sizeof(*m));
	m->fd = -1;
}
