/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Contents into the cache, in precopy into guest memory too, and nowhere else: every other byte of
 * both is compared. With each version of the page operations that this CPU has.
 */
#include "ut_rig.h"

#define PIECES	3u
#define PAGES	(2 * COLO_PIECE_PAGES + 5)
#define PATTERN 0x5a

static struct {
	struct ut_rig *rig;
	struct colo_receiver *r;
	struct colo_block *b;
	struct colo_page_packet packet;
	uint8_t *cache, *guest; /* what they must be */
	uint8_t contents[COLO_PAGE_SIZE + 64];
} t;

/* Both memories full of a pattern, pieces touched as @p touched says. */
static void
begin(uint8_t kind, bool touched)
{
	const struct ut_rig_options o = {.mtu = 1500,
		.ip_version = 4,
		.n_channels = 1,
		.window = 64,
		.n_blocks = 1,
		.block_size = {PAGES * COLO_PAGE_SIZE}};

	t.rig = ut_rig_new(&o);
	t.r = t.rig->receive.channel[0];
	t.r->kind = kind;
	t.b = &t.rig->blocks[1].block[0];
	memset(&t.packet, 0, sizeof(t.packet));
	t.cache = malloc(t.b->size);
	t.guest = malloc(t.b->size);
	memset(t.cache, touched ? PATTERN : 0, t.b->size);
	memset(t.guest, touched ? PATTERN : 0, t.b->size);
	memcpy(t.b->cache.addr, t.cache, t.b->size);
	memcpy(t.b->guest.addr, t.guest, t.b->size);
	memset(t.b->touched, touched, PIECES);
}

static void
place_and_check(void)
{
	colo_place(t.r, &t.packet);
	colo_page_fence();
	CU_ASSERT_EQUAL(memcmp(t.cache, t.b->cache.addr, t.b->size), 0);
	CU_ASSERT_EQUAL(memcmp(t.guest, t.b->guest.addr, t.b->size), 0);
	t.packet.n_records = 0;
}

static void
end(void)
{
	free(t.cache);
	free(t.guest);
	ut_rig_free(t.rig);
}

/* A record of contents; @p shift: they may lie anywhere in an mbuf. */
static void
add(uint32_t page, uint16_t offset, uint16_t length, unsigned int shift)
{
	t.packet.record[t.packet.n_records++] = (struct colo_parsed_record){
		.kind = COLO_RECORD_RAW,
		.page = page,
		.offset = offset,
		.length = length,
		.count = 1,
		.contents = t.contents + shift,
	};
	memcpy(t.cache + (size_t)page * COLO_PAGE_SIZE + offset, t.contents + shift, length);
	if (t.r->kind == COLO_EPOCH_PRECOPY)
		memcpy(t.guest + (size_t)page * COLO_PAGE_SIZE + offset, t.contents + shift,
			length);
}

static void
add_zero(uint32_t page, uint16_t count)
{
	t.packet.record[t.packet.n_records++] =
		(struct colo_parsed_record){.kind = COLO_RECORD_ZERO, .page = page, .count = count};
	memset(t.cache + (size_t)page * COLO_PAGE_SIZE, 0, (size_t)count * COLO_PAGE_SIZE);
	if (t.r->kind == COLO_EPOCH_PRECOPY)
		memset(t.guest + (size_t)page * COLO_PAGE_SIZE, 0, (size_t)count * COLO_PAGE_SIZE);
}

static void
check_pages(uint8_t kind)
{
	static const uint32_t pages[] = {0, 1, 511, 512, 1023, 1024, PAGES - 2, PAGES - 1};

	begin(kind, true);
	for (unsigned int i = 0; i < RTE_DIM(pages); i++) {
		add(pages[i], 0, COLO_PAGE_SIZE, i * 7);
		place_and_check();
	}
	for (unsigned int i = 0; i < RTE_DIM(pages); i++) /* several in one packet */
		add(pages[i], 0, COLO_PAGE_SIZE, 64 - i);
	place_and_check();
	end();
}

static void
check_parts(uint8_t kind)
{
	begin(kind, true);
	add(PAGES - 1, 0, 1408, 3);
	place_and_check();
	add(PAGES - 1, 2816, 1280, 5); /* in any order */
	place_and_check();
	add(PAGES - 1, 1408, 1408, 1);
	place_and_check();
	end();
}

static void
check_zeros(uint8_t kind)
{
	begin(kind, true);
	add_zero(0, 1);
	place_and_check();
	add_zero(510, 4); /* across two pieces */
	place_and_check();
	add_zero(PAGES - 1, 1);
	place_and_check();
	add_zero(0, PAGES);
	place_and_check();
	CU_ASSERT_EQUAL(t.r->counters.n[COLO_rx_zero_skipped], 0);
	end();
}

static void
every_version(void (*check)(uint8_t kind))
{
	static const char *const versions[] = {"portable", "avx2", "avx512"};

	for (unsigned int i = 0; i < RTE_DIM(versions); i++) {
		colo_page_init(versions[i]);
		check(COLO_EPOCH_CHECKPOINT);
		check(COLO_EPOCH_PRECOPY);
	}
	colo_page_init(NULL);
}

static void
test_pages(void)
{
	every_version(check_pages);
}

static void
test_parts(void)
{
	every_version(check_parts);
}

static void
test_zeros(void)
{
	every_version(check_zeros);
}

/* Zero pages of pieces that nobody touched cost nothing, and do not touch them. */
static void
test_untouched(void)
{
	begin(COLO_EPOCH_CHECKPOINT, false);
	add_zero(0, PAGES);
	place_and_check();
	CU_ASSERT_EQUAL(t.r->counters.n[COLO_rx_zero_skipped], PAGES);
	CU_ASSERT_EQUAL(t.b->touched[0] + t.b->touched[1] + t.b->touched[2], 0);
	add(512, 0, 1408, 0); /* any part touches its piece, and no other */
	place_and_check();
	CU_ASSERT_EQUAL(t.b->touched[0], 0);
	CU_ASSERT_EQUAL(t.b->touched[1], 1);
	CU_ASSERT_EQUAL(t.b->touched[2], 0);
	add_zero(511, 2); /* one of each */
	place_and_check();
	CU_ASSERT_EQUAL(t.r->counters.n[COLO_rx_zero_skipped], PAGES + 1);
	end();
}

/* In precopy a guest page may hold what its cache page does not: both become zeros. */
static void
test_zero_guest(void)
{
	begin(COLO_EPOCH_PRECOPY, true);
	memset(t.b->cache.addr, 0, COLO_PAGE_SIZE);
	memset(t.cache, 0, COLO_PAGE_SIZE);
	add_zero(0, 1);
	place_and_check();
	end();
}

static const struct ut_case cases[] = {
	{"pages", test_pages},
	{"parts", test_parts},
	{"zero pages", test_zeros},
	{"zero pages of untouched memory", test_untouched},
	{"guest and cache differ", test_zero_guest},
};

int
main(void)
{
	ut_eal_start(64);
	srand(2);
	for (unsigned int i = 0; i < sizeof(t.contents); i++)
		t.contents[i] = rand();
	return UT_RUN("place", cases);
}
