/* SPDX-License-Identifier: BSD-3-Clause */
/* synthetic_pages.c: shares are what was asked for, sets hold each page once, all from the seed. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <zstd.h>

#include "bounds.h"
#include "synthetic_pages.h"
#include "ut.h"

static struct colo_synthetic_config config;
static struct colo_synthetic_pages pages;
static uint64_t page_a[512], page_b[512];

static void
open_pages(const char *args)
{
	struct colo_error err;

	CU_ASSERT_EQUAL_FATAL(colo_synthetic_config_parse(&config, args, &err), 0);
	CU_ASSERT_EQUAL_FATAL(colo_synthetic_pages_open(&pages, &config, &err), 0);
}

static bool
make(uint64_t page, uint32_t set, uint64_t *out)
{
	return colo_synthetic_pages_make(&pages, page, set, (uint8_t *)out);
}

static unsigned int
count_zero(unsigned int n, uint32_t set)
{
	unsigned int zero = 0;

	for (unsigned int i = 0; i < n; i++)
		zero += !make(i, set, page_a);
	return zero;
}

static void
zero_shares(void)
{
	open_pages("zero=0");
	CU_ASSERT_EQUAL(count_zero(4096, 0), 0);
	open_pages("zero=100,dirty-zero=100");
	CU_ASSERT_EQUAL(count_zero(4096, 0), 4096);
	CU_ASSERT_EQUAL(count_zero(4096, 1), 4096);
	open_pages("");
	CU_ASSERT_EQUAL(count_zero(4096, 1), 0);
	/* 51200 pages = 100 pieces: 18 of them zero as a whole, and as much again singly */
	CU_ASSERT(abs((int)count_zero(51200, 0) - 18432) < 600);
	open_pages("dirty-zero=25");
	CU_ASSERT(abs((int)count_zero(51200, 3) - 12800) < 600);
}

static void
whole_pieces_stay_zero(void)
{
	unsigned int whole = 0;

	open_pages("");
	for (unsigned int piece = 0; piece < 100; piece++) {
		unsigned int zero = 0;

		for (unsigned int i = 0; i < COLO_PIECE_PAGES; i++)
			zero += !make(piece * COLO_PIECE_PAGES + i, 0, page_a);
		whole += zero == COLO_PIECE_PAGES;
	}
	CU_ASSERT_EQUAL(whole, 18);
}

static void
contents_follow_seed_page_and_set(void)
{
	open_pages("zero=0,seed=5");
	make(7, 1, page_a);
	make(7, 1, page_b);
	CU_ASSERT_EQUAL(memcmp(page_a, page_b, 4096), 0);
	make(7, 2, page_b);
	CU_ASSERT_NOT_EQUAL(memcmp(page_a, page_b, 4096), 0);
	make(8, 1, page_b);
	CU_ASSERT_NOT_EQUAL(memcmp(page_a, page_b, 4096), 0);
	open_pages("zero=0,seed=6");
	make(7, 1, page_b);
	CU_ASSERT_NOT_EQUAL(memcmp(page_a, page_b, 4096), 0);
}

static size_t
compressed(const char *args)
{
	static uint8_t out[8192];
	size_t sum = 0;

	open_pages(args);
	for (unsigned int i = 0; i < 64; i++) {
		make(i, 1, page_a);
		sum += ZSTD_compress(out, sizeof(out), page_a, 4096, -1);
	}
	return sum / 64;
}

static void
compressible_as_asked(void)
{
	size_t half = compressed("");

	CU_ASSERT(half > 1950 && half < 2200);
	CU_ASSERT(compressed("compress=0") > 4000);
	CU_ASSERT(compressed("compress=100") < 100);
}

/* Even with compress=100 every set differs and no page is zero. */
static void
never_zero_when_generated(void)
{
	open_pages("compress=100,zero=0");
	for (unsigned int i = 0; i < 1000; i++) {
		memset(page_a, 0, 4096);
		CU_ASSERT_TRUE(make(i, 0, page_a));
		CU_ASSERT_NOT_EQUAL(page_a[0], 0);
		make(i, 1, page_b);
		CU_ASSERT_NOT_EQUAL(page_a[0], page_b[0]);
	}
}

/* Walk a set: @return pages seen, after checking that each came once and exists. */
static unsigned int
walk(uint64_t n_pages, uint32_t set, uint8_t *seen)
{
	struct colo_synthetic_walk w;
	unsigned int n = 0;
	uint64_t page;

	memset(seen, 0, n_pages);
	colo_synthetic_walk_begin(&w, &config, n_pages, set);
	while (colo_synthetic_walk_next(&w, &page)) {
		CU_ASSERT_FATAL(page < n_pages);
		CU_ASSERT_EQUAL(seen[page], 0);
		seen[page] = 1;
		n++;
	}
	return n;
}

static void
sets_hold_each_page_once(void)
{
	static uint8_t seen[4097];
	static const uint64_t sizes[] = {
		1, 2, 3, 63, 64, 65, 127, 128, 129, 1000, 4095, 4096, 4097};
	char args[64];

	for (unsigned int i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (unsigned int clustered = 0; clustered < 2; clustered++) {
			uint64_t counts[3] = {sizes[i], sizes[i] / 2, sizes[i] - 1};

			for (unsigned int k = 0; k < 3; k++) {
				snprintf(args, sizeof(args), "dirty=%u,pattern=%s",
					(unsigned int)counts[k],
					clustered ? "clustered" : "random");
				open_pages(args);
				CU_ASSERT_EQUAL(walk(sizes[i], k + 1, seen), counts[k]);
			}
		}
	}
}

static void
sets_differ_and_repeat(void)
{
	static uint8_t a[4096], b[4096];
	unsigned int runs = 0;

	open_pages("dirty=500");
	walk(4096, 1, a);
	walk(4096, 2, b);
	CU_ASSERT_NOT_EQUAL(memcmp(a, b, 4096), 0);
	walk(4096, 1, b);
	CU_ASSERT_EQUAL(memcmp(a, b, 4096), 0);
	for (unsigned int i = 1; i < 4096; i++)
		runs += a[i] && !a[i - 1];
	CU_ASSERT(runs > 300);
	open_pages("dirty=512,pattern=clustered");
	walk(4096, 1, b);
	runs = b[0];
	for (unsigned int i = 1; i < 4096; i++)
		runs += b[i] && !b[i - 1];
	CU_ASSERT(runs <= 8);
}

static void
from_an_image(void)
{
	char path[] = "/tmp/colo_synthetic_ut_XXXXXX", args[128];
	int fd = mkstemp(path);
	static uint8_t image[3 * 4096 + 100];
	unsigned int from_image = 0;

	memset(image, 0xaa, 4096);
	memset(image + 2 * 4096, 0xcc, 4096); /* the page between them is zero */
	CU_ASSERT_EQUAL(write(fd, image, sizeof(image)), (ssize_t)sizeof(image));
	snprintf(args, sizeof(args), "image=%s", path);
	open_pages(args);
	CU_ASSERT_EQUAL(pages.image_pages, 3);
	CU_ASSERT_TRUE(make(0, 0, page_a));
	CU_ASSERT_EQUAL(memcmp(page_a, image, 4096), 0);
	CU_ASSERT_FALSE(make(1, 0, page_a));
	CU_ASSERT_TRUE(make(5, 0, page_a));
	CU_ASSERT_EQUAL(memcmp(page_a, image + 2 * 4096, 4096), 0);
	CU_ASSERT_TRUE(make(3, 0, page_a));
	CU_ASSERT_EQUAL(memcmp(page_a, image, 4096), 0);
	colo_synthetic_pages_close(&pages);
	snprintf(args, sizeof(args), "mix=30,zero=0,image=%s", path);
	open_pages(args);
	for (unsigned int i = 0; i < 3000; i += 3) {
		make(i, 0, page_a);
		from_image += memcmp(page_a, image, 4096) == 0;
	}
	CU_ASSERT(from_image > 220 && from_image < 380);
	/* An image that shrinks while it is in use is zeros, not a crash. */
	CU_ASSERT_EQUAL(ftruncate(fd, 0), 0);
	make(0, 0, page_a);
	colo_synthetic_pages_close(&pages);
	close(fd);
	unlink(path);
}

static void
images_that_are_refused(void)
{
	char path[] = "/tmp/colo_synthetic_ut_XXXXXX", args[128];
	struct colo_error err;
	int fd = mkstemp(path);

	snprintf(args, sizeof(args), "image=%s", path);
	CU_ASSERT_EQUAL_FATAL(colo_synthetic_config_parse(&config, args, &err), 0);
	CU_ASSERT_EQUAL(ftruncate(fd, 4095), 0);
	CU_ASSERT_EQUAL(colo_synthetic_pages_open(&pages, &config, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "4096"));
	CU_ASSERT_EQUAL(ftruncate(fd, 4096), 0);
	CU_ASSERT_EQUAL(colo_synthetic_pages_open(&pages, &config, &err), 0);
	colo_synthetic_pages_close(&pages);
	unlink(path);
	close(fd);
	CU_ASSERT_EQUAL(colo_synthetic_pages_open(&pages, &config, &err), -1);
	CU_ASSERT_EQUAL_FATAL(colo_synthetic_config_parse(&config, "image=/tmp", &err), 0);
	CU_ASSERT_EQUAL(colo_synthetic_pages_open(&pages, &config, &err), -1);
}

int
main(void)
{
	static const struct ut_case cases[] = {
		{"shares of zero pages", zero_shares},
		{"half of the zero pages are whole pieces", whole_pieces_stay_zero},
		{"contents follow seed, page and set", contents_follow_seed_page_and_set},
		{"compressible as asked", compressible_as_asked},
		{"generated pages are never zero", never_zero_when_generated},
		{"sets hold each page once", sets_hold_each_page_once},
		{"sets differ, and repeat", sets_differ_and_repeat},
		{"contents from an image", from_an_image},
		{"images that are refused", images_that_are_refused},
	};

	return UT_RUN("synthetic_pages", cases);
}
