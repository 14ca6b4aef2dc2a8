/* SPDX-License-Identifier: BSD-3-Clause */
/* The sync point: complete, quiet, and agreeing; each channel and each number by itself. */
#include <stdlib.h>
#include <string.h>

#include "sync.h"
#include "ut.h"

#define CHANNELS 3u

static struct colo_receive_end *end;
static struct colo_sync s;
static struct {
	struct colo_control_request head;
	struct colo_channel_end end[COLO_MAX_CHANNELS];
} __attribute__((packed)) request;

static void
begin(void)
{
	end = aligned_alloc(64, sizeof(*end));
	memset(end, 0, sizeof(*end));
	end->n_channels = CHANNELS;
	memset(&s, 0, sizeof(s));
	memset(&request, 0, sizeof(request));
	request.head.n = CHANNELS;
	for (unsigned int c = 0; c < CHANNELS; c++) {
		struct colo_receiver *r = aligned_alloc(64, sizeof(*r));

		memset(r, 0, sizeof(*r));
		r->progress.cum = 10 + c;
		r->progress.pages = 100 + c;
		r->progress.zero_pages = 50 + c;
		r->progress.digest = 0x8000000000000000ull + c;
		r->progress.wire_bytes = 1000 + c;
		end->channel[c] = r;
		request.end[c].end_slot = rte_cpu_to_be_64(10 + c);
		request.end[c].pages = rte_cpu_to_be_64(100 + c);
		request.end[c].digest = rte_cpu_to_be_64(0x8000000000000000ull + c);
	}
}

static void
finish(void)
{
	for (unsigned int c = 0; c < CHANNELS; c++)
		free(end->channel[c]);
	free(end);
}

static void
test_take(void)
{
	begin();
	CU_ASSERT_FALSE(colo_sync_complete(&s, end)); /* END did not come yet */
	for (unsigned int n = CHANNELS - 1; n <= CHANNELS + 1; n++) {
		request.head.n = n;
		CU_ASSERT_EQUAL(colo_sync_take(&s, &request.head, CHANNELS), n == CHANNELS);
		CU_ASSERT_EQUAL(s.known, n >= CHANNELS);
		CU_ASSERT_EQUAL(s.n, n >= CHANNELS ? CHANNELS : 0);
	}
	for (unsigned int c = 0; c < CHANNELS; c++) {
		CU_ASSERT_EQUAL(s.end[c].end_slot, 10 + c);
		CU_ASSERT_EQUAL(s.end[c].pages, 100 + c);
		CU_ASSERT_EQUAL(s.end[c].digest, 0x8000000000000000ull + c);
	}
	finish();
}

static void
test_complete(void)
{
	begin();
	CU_ASSERT_TRUE(colo_sync_take(&s, &request.head, CHANNELS));
	CU_ASSERT_TRUE(colo_sync_complete(&s, end));
	for (unsigned int c = 0; c < CHANNELS; c++) {
		end->channel[c]->progress.cum--;
		CU_ASSERT_FALSE(colo_sync_complete(&s, end));
		end->channel[c]->progress.cum += 2; /* more than there was: check() will tell */
		CU_ASSERT_TRUE(colo_sync_complete(&s, end));
		end->channel[c]->progress.cum--;
	}
	s.known = false;
	CU_ASSERT_FALSE(colo_sync_complete(&s, end));
	finish();
}

static void
test_quiet(void)
{
	uint32_t wanted;

	begin();
	CU_ASSERT_TRUE(colo_sync_quiet(end));
	colo_gate_raise(&end->gate);
	for (unsigned int c = 0; c < CHANNELS; c++) {
		CU_ASSERT_FALSE(colo_sync_quiet(end));
		CU_ASSERT_TRUE(colo_gate_changed(&end->gate, &end->channel[c]->seat, &wanted));
		colo_gate_arrive(&end->channel[c]->seat, wanted);
	}
	CU_ASSERT_TRUE(colo_sync_quiet(end));
	finish();
}

static void
check_differs(unsigned int c, enum colo_control_result result)
{
	uint8_t detail = 99;

	CU_ASSERT_EQUAL(colo_sync_check(&s, end, &detail), result);
	CU_ASSERT_EQUAL(detail, result == COLO_RESULT_OK ? 0 : c);
}

static void
test_check(void)
{
	begin();
	CU_ASSERT_TRUE(colo_sync_take(&s, &request.head, CHANNELS));
	check_differs(0, COLO_RESULT_OK);
	for (unsigned int c = 0; c < CHANNELS; c++) {
		for (int d = -1; d <= 1; d += 2) {
			end->channel[c]->progress.cum += d;
			check_differs(c, COLO_RESULT_COUNT);
			end->channel[c]->progress.cum -= d;
			end->channel[c]->progress.pages += d;
			check_differs(c, COLO_RESULT_COUNT);
			end->channel[c]->progress.pages -= d;
			end->channel[c]->progress.digest += d;
			check_differs(c, COLO_RESULT_DIGEST);
			end->channel[c]->progress.digest -= d;
		}
	}
	/* sums that agree over all channels and not in each do not */
	end->channel[0]->progress.pages++;
	end->channel[1]->progress.pages--;
	check_differs(0, COLO_RESULT_COUNT);
	finish();
}

static void
test_sum(void)
{
	struct colo_sync_sums sums;

	begin();
	colo_sync_sum(end, &sums);
	CU_ASSERT_EQUAL(sums.cum, 33);
	CU_ASSERT_EQUAL(sums.pages, 303);
	CU_ASSERT_EQUAL(sums.zero_pages, 153);
	CU_ASSERT_EQUAL(sums.wire_bytes, 3003);
	finish();
}

static const struct ut_case cases[] = {
	{"END is taken", test_take},
	{"complete", test_complete},
	{"quiet", test_quiet},
	{"agrees", test_check},
	{"sums", test_sum},
};

int
main(void)
{
	return UT_RUN("sync", cases);
}
