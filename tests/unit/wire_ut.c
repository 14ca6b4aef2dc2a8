/* SPDX-License-Identifier: BSD-3-Clause */
/* The frames' sizes, the geometry of a page's parts, and the digest. */
#include <stdlib.h>
#include <string.h>

#include "ut.h"
#include "wire.h"

static void
test_layout(void)
{
	CU_ASSERT_EQUAL(sizeof(struct colo_header), 32);
	CU_ASSERT_EQUAL(offsetof(struct colo_header, session), 4);
	CU_ASSERT_EQUAL(offsetof(struct colo_header, packet_number), 8);
	CU_ASSERT_EQUAL(offsetof(struct colo_header, epoch), 16);
	CU_ASSERT_EQUAL(offsetof(struct colo_header, slot), 20);
	CU_ASSERT_EQUAL(offsetof(struct colo_header, length), 24);
	CU_ASSERT_EQUAL(offsetof(struct colo_header, crc), 28);
	CU_ASSERT_EQUAL(sizeof(struct colo_record), 16);
	CU_ASSERT_EQUAL(offsetof(struct colo_record, crc), 12);
	CU_ASSERT_EQUAL(sizeof(struct colo_feedback), 32);
	CU_ASSERT_EQUAL(sizeof(struct colo_channel_end), 24);
	CU_ASSERT_EQUAL(sizeof(struct colo_control_reply), 32);
}

/* Every frame that is not a page packet must fit the smallest MTU. */
static void
test_small_frames_fit(void)
{
	const size_t room =
		COLO_MTU_MIN - COLO_IPV6_UDP_LEN - sizeof(struct colo_header) - COLO_SEAL_TAG_LEN;

	CU_ASSERT_TRUE(
		sizeof(struct colo_feedback) + COLO_FEEDBACK_WORDS * sizeof(uint64_t) <= room);
	CU_ASSERT_TRUE(sizeof(struct colo_control_request) +
			       COLO_MAX_CHANNELS * sizeof(struct colo_channel_end) <=
		       room);
	CU_ASSERT_TRUE(sizeof(struct colo_control_request) +
			       COLO_MAX_BLOCKS * sizeof(struct colo_channel_end) <=
		       room);
	CU_ASSERT_EQUAL(COLO_WINDOW_MAX & (COLO_WINDOW_MAX - 1), 0);
}

/* Parts cover the page, are few enough, and fit the MTU; a part leaves room for an AEAD tag. */
static void
check_parts(uint32_t mtu, uint32_t ip_udp_len, bool sealed)
{
	uint32_t size = colo_part_size(mtu, ip_udp_len, sealed);
	uint32_t overhead = ip_udp_len + sizeof(struct colo_header) + sizeof(struct colo_record);
	uint32_t n = (COLO_PAGE_SIZE + size - 1) / size;

	CU_ASSERT_TRUE_FATAL(size > 0 && size <= COLO_PAGE_SIZE);
	CU_ASSERT_EQUAL(size % COLO_PART_ALIGN, 0);
	CU_ASSERT_TRUE(n >= 1 && n <= COLO_MAX_PARTS);
	CU_ASSERT_TRUE(n * size >= COLO_PAGE_SIZE);
	CU_ASSERT_TRUE((n - 1) * size < COLO_PAGE_SIZE);
	CU_ASSERT_TRUE(overhead + size <= mtu);
	/* without a seal a whole page may take the last bytes of an MTU that is just large enough
	 */
	if (sealed || size < COLO_PAGE_SIZE)
		CU_ASSERT_TRUE(overhead + size + COLO_SEAL_TAG_LEN <= mtu);
	overhead += sealed ? COLO_SEAL_TAG_LEN : 0;
	CU_ASSERT_EQUAL(size == COLO_PAGE_SIZE, overhead + COLO_PAGE_SIZE <= mtu);
}

static void
test_parts_every_mtu(void)
{
	for (uint32_t mtu = COLO_MTU_MIN; mtu <= COLO_MTU_MAX; mtu++) {
		check_parts(mtu, COLO_IPV4_UDP_LEN, false);
		check_parts(mtu, COLO_IPV6_UDP_LEN, false);
		check_parts(mtu, COLO_IPV4_UDP_LEN, true);
		check_parts(mtu, COLO_IPV6_UDP_LEN, true);
	}
}

static void
test_parts_known(void)
{
	CU_ASSERT_EQUAL(colo_part_size(1280, COLO_IPV4_UDP_LEN, false), 1184);
	CU_ASSERT_EQUAL(colo_part_size(1280, COLO_IPV6_UDP_LEN, true), 1168);
	CU_ASSERT_EQUAL(colo_part_size(1500, COLO_IPV4_UDP_LEN, false), 1408);
	CU_ASSERT_EQUAL(colo_part_size(1500, COLO_IPV6_UDP_LEN, false), 1376);
	CU_ASSERT_EQUAL(colo_part_size(4200, COLO_IPV4_UDP_LEN, false), COLO_PAGE_SIZE);
	CU_ASSERT_EQUAL(colo_part_size(4200, COLO_IPV6_UDP_LEN, false), COLO_PAGE_SIZE);
	CU_ASSERT_EQUAL(colo_part_size(9000, COLO_IPV4_UDP_LEN, false), COLO_PAGE_SIZE);
	CU_ASSERT_EQUAL(colo_part_size(9000, COLO_IPV6_UDP_LEN, false), COLO_PAGE_SIZE);
	CU_ASSERT_EQUAL(colo_part_size(4187, COLO_IPV4_UDP_LEN, true), 4080);
	CU_ASSERT_EQUAL(colo_part_size(4188, COLO_IPV4_UDP_LEN, true), COLO_PAGE_SIZE);
	CU_ASSERT_EQUAL(colo_part_size(4207, COLO_IPV6_UDP_LEN, true), 4080);
	CU_ASSERT_EQUAL(colo_part_size(4208, COLO_IPV6_UDP_LEN, true), COLO_PAGE_SIZE);
}

struct place {
	uint8_t block;
	uint32_t page;
	uint32_t offset;
	uint32_t crc;
};

static uint64_t
sum(const struct place *p, const unsigned int *order, unsigned int n)
{
	uint64_t total = 0;

	for (unsigned int i = 0; i < n; i++) {
		const struct place *at = &p[order[i]];

		total += colo_digest(at->block, at->page, at->offset, at->crc);
	}
	return total;
}

static void
test_digest_order(void)
{
	enum {
		N = 200
	};
	unsigned int order[N];
	struct place p[N];
	uint64_t first;

	srand(1);
	for (unsigned int i = 0; i < N; i++) {
		order[i] = i;
		p[i] = (struct place){(uint8_t)(i % 16), i * 77, i % 4 * 1408, (uint32_t)rand()};
	}
	first = sum(p, order, N);
	for (unsigned int round = 0; round < 20; round++) {
		for (unsigned int i = N - 1; i > 0; i--) {
			unsigned int j = (unsigned int)rand() % (i + 1), t = order[i];

			order[i] = order[j];
			order[j] = t;
		}
		CU_ASSERT_EQUAL(sum(p, order, N), first);
	}
	order[0] = order[1]; /* one twice, one not at all */
	CU_ASSERT_NOT_EQUAL(sum(p, order, N), first);
}

/* Two pages that changed places have the same CRCs and must not have the same sum. */
static void
test_digest_place(void)
{
	const unsigned int order[] = {0, 1};
	const struct place p[] = {{0, 1, 0, 0xaaaa}, {0, 2, 0, 0xbbbb}};
	const struct place swapped[] = {{0, 1, 0, 0xbbbb}, {0, 2, 0, 0xaaaa}};
	uint64_t d = colo_digest(1, 2, 3, 4);

	CU_ASSERT_NOT_EQUAL(sum(p, order, 2), sum(swapped, order, 2));
	CU_ASSERT_NOT_EQUAL(colo_digest(2, 2, 3, 4), d);
	CU_ASSERT_NOT_EQUAL(colo_digest(1, 3, 3, 4), d);
	CU_ASSERT_NOT_EQUAL(colo_digest(1, 2, 4, 4), d);
	CU_ASSERT_NOT_EQUAL(colo_digest(1, 2, 3, 5), d);
	CU_ASSERT_NOT_EQUAL(colo_digest(0, 0, 0, 0), 0); /* an empty epoch's sum is 0 */
}

/* Addresses of all legal blocks, pages and offsets are told apart before they are mixed. */
static void
test_digest_address_fields(void)
{
	const uint32_t last_page = (uint32_t)(COLO_MAX_BLOCK_SIZE / COLO_PAGE_SIZE - 1);

	CU_ASSERT_NOT_EQUAL(colo_digest(0, last_page, 4095, 9), colo_digest(1, 0, 0, 9));
	CU_ASSERT_NOT_EQUAL(colo_digest(0, 0, 4095, 9), colo_digest(0, 1, 0, 9));
}

static const struct ut_case cases[] = {
	{"where the fields lie", test_layout},
	{"feedback and control frames fit the smallest MTU", test_small_frames_fit},
	{"parts at every MTU", test_parts_every_mtu},
	{"parts at the MTUs that documents name", test_parts_known},
	{"the digest does not see order", test_digest_order},
	{"the digest sees places", test_digest_place},
	{"the digest's address has room for every field", test_digest_address_fields},
};

int
main(void)
{
	return UT_RUN("wire", cases);
}
