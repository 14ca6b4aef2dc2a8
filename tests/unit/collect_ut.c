/* SPDX-License-Identifier: BSD-3-Clause */
/* Comparing a guest's memory file with our copy: what is found, and what is not even read. */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "collect.h"
#include "page.h"
#include "ut.h"

/* a last piece of one page only */
#define N_PIECES 5u
#define N_PAGES	 ((N_PIECES - 1) * COLO_PIECE_PAGES + 1)
#define SIZE	 ((uint64_t)N_PAGES * COLO_PAGE_SIZE)

static struct colo_blocks blocks;
static struct colo_block *block;
static struct colo_collect collect;
static uint8_t *guest; /* as QEMU writes it */
static const uint8_t *seen;
static int fd;

static void
begin_pages(uint32_t n_pages)
{
	struct colo_block_spec spec = {.name = "ram", .size = (uint64_t)n_pages * COLO_PAGE_SIZE};
	struct colo_error err;

	memset(&blocks, 0, sizeof(blocks));
	CU_ASSERT_EQUAL_FATAL(colo_blocks_add_primary(&blocks, &spec, &err), 0);
	block = &blocks.block[0];
	fd = memfd_create("guest", MFD_CLOEXEC);
	CU_ASSERT_EQUAL_FATAL(ftruncate(fd, (off_t)spec.size), 0);
	guest = mmap(NULL, spec.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	seen = mmap(NULL, spec.size, PROT_READ, MAP_SHARED, fd, 0);
	CU_ASSERT_EQUAL_FATAL(colo_collect_init(&collect, block, seen, fd, true, &err), 0);
}

static void
end(void)
{
	munmap(guest, block->size);
	munmap((void *)(uintptr_t)seen, block->size);
	close(fd);
	colo_collect_fini(&collect);
	colo_blocks_free(&blocks, false);
}

/* @return pages found */
static uint64_t
collect_all(void)
{
	struct colo_error err;

	colo_dirty_clear(&block->todo);
	CU_ASSERT_EQUAL(colo_collect_look(&collect, &err), 0);
	for (uint32_t piece = 0; piece < block->n_pieces; piece++)
		colo_collect_piece(&collect, piece);
	CU_ASSERT_EQUAL(memcmp(block->guest.addr, guest, block->size), 0);
	return colo_dirty_count(&block->todo);
}

static void
poke(uint32_t page, uint32_t offset, uint8_t value)
{
	guest[(uint64_t)page * COLO_PAGE_SIZE + offset] = value;
}

static bool
in_summary(uint32_t piece)
{
	return block->todo.summary[piece >> 6] >> (piece & 63) & 1;
}

static void
test_changes(void)
{
	static const uint32_t pages[] = {0, 1, 63, 64, COLO_PIECE_PAGES - 1, COLO_PIECE_PAGES,
		3 * COLO_PIECE_PAGES - 1, N_PAGES - 2, N_PAGES - 1};
	static const uint32_t n = sizeof(pages) / sizeof(pages[0]);

	begin_pages(N_PAGES);
	CU_ASSERT_EQUAL(collect_all(), 0);
	for (uint32_t i = 0; i < n; i++)
		poke(pages[i], i % 2 ? 0 : COLO_PAGE_SIZE - 1, 1);
	CU_ASSERT_EQUAL(collect_all(), n);
	for (uint32_t i = 0; i < n; i++)
		CU_ASSERT_TRUE(colo_dirty_get(&block->todo, pages[i]) &&
			       in_summary(pages[i] / COLO_PIECE_PAGES));
	CU_ASSERT_EQUAL(collect_all(), 0);
	CU_ASSERT_FALSE(in_summary(0));
	/* one byte more, in the first, the last and a middle one of a page */
	poke(1, 1, 7);
	poke(64, 2048, 7);
	poke(N_PAGES - 1, COLO_PAGE_SIZE - 1, 7);
	CU_ASSERT_EQUAL(collect_all(), 3);
	/* a page becomes zeros again */
	poke(63, COLO_PAGE_SIZE - 1, 0);
	CU_ASSERT_EQUAL(collect_all(), 1);
	CU_ASSERT_TRUE(colo_dirty_get(&block->todo, 63));
	end();
}

/* `todo` may hold pages that were not sent yet: they stay. */
static void
test_adds(void)
{
	struct colo_error err;

	begin_pages(N_PAGES);
	poke(7, 0, 1);
	collect_all();
	poke(8, 0, 1);
	CU_ASSERT_EQUAL(colo_collect_look(&collect, &err), 0);
	colo_collect_piece(&collect, 0);
	CU_ASSERT_TRUE(colo_dirty_get(&block->todo, 7) && colo_dirty_get(&block->todo, 8));
	end();
}

/* Pages of the guest's file that take space. */
static uint64_t
allocated(void)
{
	struct stat st;

	CU_ASSERT_EQUAL(fstat(fd, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

static void
test_holes(void)
{
	begin_pages(N_PAGES);
	CU_ASSERT_EQUAL(collect_all(), 0);
	CU_ASSERT_EQUAL(collect.has_data[0] + collect.has_data[2] + collect.has_data[4], 0);
	munmap(guest, block->size); /* comparing in collect_all() would fill the holes itself */
	guest = mmap(NULL, block->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CU_ASSERT_EQUAL(
		fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)SIZE), 0);
	CU_ASSERT_EQUAL(pwrite(fd, "x", 1, 2 * COLO_PIECE_SIZE), 1);
	poke(2 * COLO_PIECE_PAGES, 0, 'x');
	CU_ASSERT_EQUAL(collect_all(), 1);
	CU_ASSERT_EQUAL(collect.has_data[0] + collect.has_data[1] + collect.has_data[3], 0);
	CU_ASSERT_EQUAL(collect.has_data[2], 1);
	/* the other pieces were not read, so they still cost nothing */
	CU_ASSERT(allocated() <= COLO_PIECE_SIZE);
	/* the guest gives it back: zeros to be sent, and nothing allocated by looking */
	CU_ASSERT_EQUAL(
		fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)SIZE), 0);
	poke(2 * COLO_PIECE_PAGES, 0, 0);
	CU_ASSERT_EQUAL(collect_all(), 1);
	CU_ASSERT_TRUE(colo_dirty_get(&block->todo, 2 * COLO_PIECE_PAGES));
	CU_ASSERT_EQUAL(allocated(), 0);
	CU_ASSERT_EQUAL(collect_all(), 0);
	/* and takes it again */
	CU_ASSERT_EQUAL(pwrite(fd, "y", 1, 2 * COLO_PIECE_SIZE + 1), 1);
	poke(2 * COLO_PIECE_PAGES, 1, 'y');
	CU_ASSERT_EQUAL(collect_all(), 1);
	end();
}

/* Only the last page of the file has data. */
static void
test_last_page(void)
{
	for (uint32_t n = COLO_PIECE_PAGES - 1; n <= COLO_PIECE_PAGES + 1; n++) {
		begin_pages(n);
		poke(n - 1, 0, 1);
		CU_ASSERT_EQUAL(collect_all(), 1);
		CU_ASSERT_TRUE(colo_dirty_get(&block->todo, n - 1));
		end();
	}
}

/* A copy that is not new may hold anything. */
static void
test_old_copy(void)
{
	struct colo_error err;

	begin_pages(N_PAGES);
	block->guest.addr[COLO_PIECE_SIZE] = 1;
	colo_collect_fini(&collect);
	CU_ASSERT_EQUAL(colo_collect_init(&collect, block, seen, fd, false, &err), 0);
	CU_ASSERT_EQUAL(collect_all(), 1);
	CU_ASSERT_TRUE(colo_dirty_get(&block->todo, COLO_PIECE_PAGES));
	end();
}

/* A file that was cut is a sentence, not a SIGBUS. */
static void
test_cut_file(void)
{
	struct colo_error err = {{0}};

	begin_pages(N_PAGES);
	poke(0, 0, 1);
	poke(1, 0, 1);
	CU_ASSERT_EQUAL(ftruncate(fd, COLO_PAGE_SIZE), 0);
	CU_ASSERT_EQUAL(colo_collect_look(&collect, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "its file was cut"));
	end();
}

struct share {
	pthread_barrier_t *barrier;
	uint32_t first;
};

static void *
collect_share(void *arg)
{
	struct share *s = arg;

	pthread_barrier_wait(s->barrier);
	for (uint32_t piece = s->first; piece < block->n_pieces; piece += 2)
		colo_collect_piece(&collect, piece);
	return NULL;
}

/* Pieces beside each other, collected by two threads at once, share a word of the summary. */
static void
test_two_collectors(void)
{
	enum {
		PIECES = 64,
		ROUNDS = 300
	};
	pthread_barrier_t barrier;
	unsigned int lost = 0;

	begin_pages(PIECES * COLO_PIECE_PAGES);
	for (uint32_t i = 0; i < PIECES; i++)
		poke(i * COLO_PIECE_PAGES, 0, 1);
	collect_all();
	pthread_barrier_init(&barrier, NULL, 2);
	memset(collect.has_data, 0, PIECES); /* cheap: an empty piece against one page */
	for (unsigned int round = 0; round < ROUNDS; round++) {
		struct share share[2] = {{&barrier, 0}, {&barrier, 1}};
		pthread_t other;

		colo_dirty_clear(&block->todo);
		for (uint32_t i = 0; i < PIECES; i++)
			*colo_page_addr(&block->guest, i * COLO_PIECE_PAGES) = 1;
		pthread_create(&other, NULL, collect_share, &share[1]);
		collect_share(&share[0]);
		pthread_join(other, NULL);
		lost += block->todo.summary[0] != UINT64_MAX;
	}
	CU_ASSERT_EQUAL(lost, 0);
	pthread_barrier_destroy(&barrier);
	end();
}

/* Random changes, every version of the page operations. */
static void
test_random(void)
{
	static const char *const versions[] = {"portable", "avx2", "avx512"};
	unsigned int seed = 11;

	for (unsigned int v = 0; v < 3; v++) {
		colo_page_init(versions[v]);
		begin_pages(N_PAGES);
		for (unsigned int round = 0; round < 20; round++) {
			uint8_t hit[N_PAGES] = {0};
			unsigned int n = 0;

			for (unsigned int i = 0; i < 100; i++) {
				uint32_t page = (uint32_t)rand_r(&seed) % N_PAGES;
				uint32_t at = (uint32_t)rand_r(&seed) % COLO_PAGE_SIZE;

				guest[(uint64_t)page * COLO_PAGE_SIZE + at]++;
				n += hit[page] == 0;
				hit[page] = 1;
			}
			CU_ASSERT_EQUAL(collect_all(), n);
		}
		end();
	}
	colo_page_init(NULL);
}

int
main(void)
{
	static const struct ut_case cases[] = {
		{"changed pages", test_changes},
		{"what was not sent stays", test_adds},
		{"holes", test_holes},
		{"last page of a file", test_last_page},
		{"a copy from before", test_old_copy},
		{"a file that was cut", test_cut_file},
		{"two collectors", test_two_collectors},
		{"random changes", test_random},
	};

	colo_page_init(NULL);
	return UT_RUN("collect", cases);
}
