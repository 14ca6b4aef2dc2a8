/* SPDX-License-Identifier: BSD-3-Clause */
/* Packet numbers seen before, or too old; against a model that remembers all. */
#include <stdlib.h>

#include "replay.h"
#include "ut.h"

static struct colo_replay r;

static bool
take(uint64_t packet_number)
{
	if (!colo_replay_is_fresh(&r, packet_number))
		return false;
	colo_replay_mark(&r, packet_number);
	return true;
}

static void
test_edges(void)
{
	colo_replay_reset(&r);
	CU_ASSERT_TRUE(take(1));
	CU_ASSERT_FALSE(take(1));
	CU_ASSERT_TRUE(take(0));
	CU_ASSERT_FALSE(take(0));
	CU_ASSERT_TRUE(take(COLO_REPLAY_WINDOW));
	CU_ASSERT_FALSE(take(1));
	CU_ASSERT_TRUE(take(2));
	CU_ASSERT_TRUE(take(2 * COLO_REPLAY_WINDOW + 1));
	CU_ASSERT_FALSE(take(COLO_REPLAY_WINDOW + 1)); /* the first that is too old */
	CU_ASSERT_TRUE(take(COLO_REPLAY_WINDOW + 2));
	CU_ASSERT_FALSE(take(COLO_REPLAY_WINDOW));
	CU_ASSERT_TRUE(take(1ull << 62));
	CU_ASSERT_FALSE(take(2 * COLO_REPLAY_WINDOW + 2));
	CU_ASSERT_TRUE(take((1ull << 62) - 1));
	CU_ASSERT_FALSE(take(UINT64_MAX));
	colo_replay_reset(&r);
	CU_ASSERT_TRUE(take(1));
}

/* Steps of any size around a rising number; nothing is taken twice, nothing near is refused. */
static void
test_random(void)
{
	enum {
		N = 300000
	};
	uint8_t *seen = calloc(1, N);
	uint64_t next = 0;

	CU_ASSERT_PTR_NOT_NULL_FATAL(seen);
	colo_replay_reset(&r);
	while (next < N - 20000) {
		int64_t step = rand() % 8 == 0 ? rand() % 20000 - 15000 : rand() % 200 - 90;
		int64_t number = (int64_t)next + step;
		bool old;

		if (number < 0)
			continue;
		old = next > (uint64_t)number && next - number > COLO_REPLAY_WINDOW;
		CU_ASSERT_EQUAL(take(number), !seen[number] && !old);
		if (!old)
			seen[number] = 1;
		if ((uint64_t)number >= next)
			next = number + 1;
	}
	free(seen);
}

static const struct ut_case cases[] = {
	{"edges", test_edges},
	{"random", test_random},
};

int
main(void)
{
	return UT_RUN("replay", cases);
}
