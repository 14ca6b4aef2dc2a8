/* SPDX-License-Identifier: BSD-3-Clause */
/* Digests of whole blocks: the same on both ends if and only if every byte is. */
#include <stdlib.h>
#include <string.h>

#include "page.h"
#include "ut.h"
#include "verify.h"
#include "wire.h"

#define PAGES (COLO_PIECE_PAGES + 3)

static struct colo_blocks primary, secondary;
static struct colo_verify v[2];
static struct colo_counters counters;

static void
begin(void)
{
	struct colo_error err;

	memset(&primary, 0, sizeof(primary));
	memset(&secondary, 0, sizeof(secondary));
	for (unsigned int i = 0; i < 2; i++) {
		struct colo_block_spec spec = {.size = (i ? PAGES : 1) * COLO_PAGE_SIZE};

		snprintf(spec.name, sizeof(spec.name), "block%u", i);
		CU_ASSERT_EQUAL_FATAL(colo_blocks_add_primary(&primary, &spec, &err), 0);
		CU_ASSERT_EQUAL_FATAL(colo_blocks_add_secondary(&secondary, &spec, 1, -1, &err), 0);
	}
	v[0].blocks = &primary;
	v[1].blocks = &secondary;
}

static void
end(void)
{
	colo_blocks_free(&primary, false);
	colo_blocks_free(&secondary, false);
}

/* The digests of one end, its pieces in the order that @p backwards says. */
static void
take(struct colo_verify *x, bool backwards)
{
	struct colo_piece_list list;

	CU_ASSERT_EQUAL_FATAL(colo_piece_list_init(&list, x->blocks), 0);
	colo_piece_list_all(&list, x->blocks);
	colo_verify_reset(x);
	for (uint32_t i = 0; i < list.n; i++)
		colo_verify_piece(x, &list.ref[backwards ? list.n - 1 - i : i], &counters);
	colo_piece_list_fini(&list);
}

static bool
agree(unsigned int block)
{
	take(&v[0], false);
	take(&v[1], true);
	return atomic_load(&v[0].sum[block]) == atomic_load(&v[1].sum[block]);
}

/* Memory that nobody touched is zeros, and is taken for such without a look. */
static void
test_untouched(void)
{
	uint64_t sum = 0;

	begin();
	CU_ASSERT_TRUE(agree(0));
	CU_ASSERT_TRUE(agree(1));
	for (uint32_t page = 0; page < PAGES; page++)
		sum += colo_digest(1, page, 0, COLO_CRC32_ZERO_PAGE);
	CU_ASSERT_EQUAL(atomic_load(&v[0].sum[1]), sum);
	memset(secondary.block[1].touched, 1, secondary.block[1].n_pieces);
	CU_ASSERT_TRUE(agree(1)); /* with a look it is the same */
	end();
}

static void
fill(void)
{
	for (unsigned int i = 0; i < 2; i++) {
		for (uint64_t at = 0; at < primary.block[i].size; at++)
			primary.block[i].guest.addr[at] = rand();
		memcpy(secondary.block[i].guest.addr, primary.block[i].guest.addr,
			primary.block[i].size);
		memset(secondary.block[i].touched, 1, secondary.block[i].n_pieces);
	}
}

static void
test_sum(void)
{
	uint64_t sum = 0;

	begin();
	fill();
	CU_ASSERT_TRUE(agree(0) && agree(1));
	for (uint32_t page = 0; page < PAGES; page++)
		sum += colo_digest(1, page, 0,
			colo_crc32(colo_page_addr(&primary.block[1].guest, page), COLO_PAGE_SIZE));
	CU_ASSERT_EQUAL(atomic_load(&v[1].sum[1]), sum);
	CU_ASSERT_NOT_EQUAL(atomic_load(&v[0].sum[0]), atomic_load(&v[0].sum[1]));
	CU_ASSERT_EQUAL(atomic_load(&v[0].sum[2]), 0);
	end();
}

/* One bit, anywhere; two pages that changed places; the cache is not looked at. */
static void
test_difference(void)
{
	static const uint64_t at[] = {
		0, 4095, 4096, 511 * 4096ull, 512 * 4096ull, PAGES * 4096ull - 1};
	uint8_t page[COLO_PAGE_SIZE];
	uint8_t *guest;

	begin();
	fill();
	guest = secondary.block[1].guest.addr;
	for (unsigned int i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		guest[at[i]] ^= 1u << (i % 8);
		CU_ASSERT_FALSE(agree(1));
		CU_ASSERT_TRUE(agree(0));
		guest[at[i]] ^= 1u << (i % 8);
	}
	memcpy(page, guest, COLO_PAGE_SIZE);
	memcpy(guest, guest + COLO_PAGE_SIZE, COLO_PAGE_SIZE);
	memcpy(guest + COLO_PAGE_SIZE, page, COLO_PAGE_SIZE);
	CU_ASSERT_FALSE(agree(1));
	memcpy(guest, primary.block[1].guest.addr, 2 * COLO_PAGE_SIZE);
	secondary.block[1].cache.addr[0] ^= 1;
	CU_ASSERT_TRUE(agree(1));
	end();
}

static const struct ut_case cases[] = {
	{"untouched memory", test_untouched},
	{"sum", test_sum},
	{"differences", test_difference},
};

int
main(void)
{
	srand(9);
	colo_page_init(NULL);
	return UT_RUN("verify", cases);
}
