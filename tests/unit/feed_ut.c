/* SPDX-License-Identifier: BSD-3-Clause */
/* The feed: pages in order, no more than fit, closed by epoch, emptied for a session. */
#include <stdbool.h>

#include "feed.h"
#include "ut.h"
#include "ut_eal.h"

static struct colo_feed f;

static void
begin(void)
{
	struct colo_error err;

	CU_ASSERT_EQUAL_FATAL(colo_feed_init(&f, 2, &err), 0);
}

static void
test_order(void)
{
	struct colo_feed_page p, got[4];

	begin();
	for (uint32_t i = 0; i < 10; i++) {
		p = (struct colo_feed_page){.page = UINT32_MAX - i, .block = 31, .zero = i % 2};
		CU_ASSERT_EQUAL(colo_feed_put(&f, 1, &p, 1), 1);
	}
	CU_ASSERT_EQUAL(colo_feed_take(&f, 0, got, 4), 0);
	for (uint32_t i = 0; i < 10;) {
		unsigned int n = colo_feed_take(&f, 1, got, 4);

		CU_ASSERT_EQUAL_FATAL(n, i < 8 ? 4 : 2);
		for (unsigned int k = 0; k < n; k++, i++)
			CU_ASSERT_TRUE(got[k].page == UINT32_MAX - i && got[k].block == 31 &&
				       got[k].zero == i % 2);
	}
	colo_feed_fini(&f);
}

static void
test_full(void)
{
	static struct colo_feed_page many[COLO_FEED_RING];
	unsigned int put;

	begin();
	put = colo_feed_put(&f, 0, many, COLO_FEED_RING);
	CU_ASSERT_EQUAL(put, COLO_FEED_RING - 1);
	CU_ASSERT_EQUAL(colo_feed_put(&f, 0, many, 1), 0);
	CU_ASSERT_EQUAL(colo_feed_take(&f, 0, many, 1), 1);
	CU_ASSERT_EQUAL(colo_feed_put(&f, 0, many, 2), 1);
	colo_feed_reset(&f);
	CU_ASSERT_EQUAL(colo_feed_take(&f, 0, many, 1), 0);
	colo_feed_fini(&f);
}

static void
test_closed(void)
{
	begin();
	CU_ASSERT_FALSE(colo_feed_is_closed(&f, 1));
	colo_feed_close(&f, 1);
	CU_ASSERT_TRUE(colo_feed_is_closed(&f, 1));
	CU_ASSERT_FALSE(colo_feed_is_closed(&f, 2));
	colo_feed_reset(&f); /* a new session counts from 1 again */
	CU_ASSERT_FALSE(colo_feed_is_closed(&f, 1));
	colo_feed_fini(&f);
	colo_feed_fini(&f);
}

static const struct ut_case cases[] = {
	{"order", test_order},
	{"full", test_full},
	{"closed", test_closed},
};

int
main(void)
{
	ut_eal_start(64);
	return UT_RUN("feed", cases);
}
