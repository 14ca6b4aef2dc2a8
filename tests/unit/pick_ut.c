/* SPDX-License-Identifier: BSD-3-Clause */
/* The next record to send: every page of `todo` once, ascending, as zero run, zstd or raw parts. */
#include "ut_rig.h"

#define PAGES (3 * COLO_PIECE_PAGES + 70)

static struct {
	struct ut_rig *rig;
	struct colo_sender *s;
	struct colo_block *b;
	unsigned int *taken; /* [page]: how often, by whole pages; parts count in bytes */
} t;

static void
adopt(bool zstd, int level)
{
	t.rig->send.phase.epoch++;
	t.rig->send.phase.zstd = zstd;
	t.rig->send.phase.zstd_level = level;
	t.rig->send.outbox.list.n = 0;
	colo_gate_raise(&t.rig->send.gate);
	for (unsigned int c = 0; c < t.rig->o.n_channels; c++)
		colo_send_poll(t.rig->send.channel[c]);
}

static void
begin(uint32_t mtu, bool zstd, uint32_t pages)
{
	const struct ut_rig_options o = {.mtu = mtu,
		.ip_version = 4,
		.n_channels = 2,
		.window = 64,
		.n_blocks = 2,
		.block_size = {COLO_PAGE_SIZE, (uint64_t)pages * COLO_PAGE_SIZE}};

	t.rig = ut_rig_new(&o);
	t.s = t.rig->send.channel[0];
	t.b = &t.rig->blocks[0].block[1];
	t.taken = calloc(pages, sizeof(*t.taken));
	adopt(zstd, 1);
}

static void
end(void)
{
	free(t.taken);
	ut_rig_free(t.rig);
}

/* What is in `todo` is to be picked from now on. */
static void
list(void)
{
	struct colo_outbox *box = &t.rig->send.outbox;

	box->list.n = 0;
	for (unsigned int i = 0; i < 2; i++) {
		struct colo_dirty *d = &t.rig->blocks[0].block[i].todo;

		colo_piece_list_add(&box->list, i, d->summary, d->n_summary);
		memset(d->summary, 0, d->n_summary * 8);
	}
	atomic_store(&box->next, 0);
	for (unsigned int c = 0; c < 2; c++)
		colo_pick_reset(t.rig->send.channel[c]);
}

static void
random_page(uint32_t page)
{
	uint8_t *bytes = colo_page_addr(&t.b->guest, page);

	for (unsigned int i = 0; i < COLO_PAGE_SIZE; i++)
		bytes[i] = rand();
}

static bool
pick(struct colo_item *item)
{
	t.s->zstd_used = 0; /* as encode does for each packet */
	return colo_pick(t.s, item);
}

/* Ascending, of this block, with the right bytes; noted in `taken`. */
static void
note(const struct colo_item *item, uint64_t *last)
{
	const struct colo_slot_record *r = &item->record;
	uint64_t at = (uint64_t)r->page * COLO_PAGE_SIZE + item->offset;

	CU_ASSERT_EQUAL(r->block, 1);
	CU_ASSERT_TRUE(at >= *last);
	switch (r->kind) {
	case COLO_RECORD_ZERO:
		CU_ASSERT_PTR_NULL(item->payload);
		CU_ASSERT_EQUAL(item->length, 0);
		for (uint32_t i = 0; i < r->count; i++) {
			CU_ASSERT_TRUE(colo_page.is_zero(colo_page_addr(&t.b->guest, r->page + i)));
			t.taken[r->page + i] += COLO_PAGE_SIZE;
		}
		*last = at + (uint64_t)r->count * COLO_PAGE_SIZE;
		break;
	case COLO_RECORD_RAW:
		CU_ASSERT_PTR_EQUAL(
			item->payload, colo_page_addr(&t.b->guest, r->page) + item->offset);
		t.taken[r->page] += item->length;
		*last = at + item->length;
		break;
	default:
		CU_ASSERT_EQUAL(r->kind, COLO_RECORD_ZSTD);
		CU_ASSERT_EQUAL(item->offset, 0);
		CU_ASSERT_TRUE(item->length > 0 && item->length <= COLO_PAGE_SIZE * 7 / 8);
		t.taken[r->page] += COLO_PAGE_SIZE;
		*last = at + COLO_PAGE_SIZE;
	}
}

/* Random bits and contents: what is picked is what was set, no more and no less. */
static void
check_random(uint32_t mtu, bool zstd)
{
	begin(mtu, zstd, PAGES);
	for (unsigned int round = 0; round < 5; round++) {
		bool set[PAGES] = {false};
		struct colo_item item;
		uint64_t last = 0;

		memset(t.taken, 0, PAGES * sizeof(*t.taken));
		for (uint32_t page = 0; page < PAGES; page++) {
			set[page] = round == 0 || rand() % 3 == 0 || page + 1 == PAGES;
			if (set[page])
				colo_dirty_set(&t.b->todo, page);
			memset(colo_page_addr(&t.b->guest, page), rand() % 3 == 0 ? 7 : 0,
				COLO_PAGE_SIZE);
			if (rand() % 4 == 0)
				random_page(page);
		}
		list();
		while (pick(&item))
			note(&item, &last);
		CU_ASSERT_FALSE(pick(&item));
		for (uint32_t page = 0; page < PAGES; page++)
			CU_ASSERT_EQUAL(t.taken[page], set[page] ? COLO_PAGE_SIZE : 0);
		CU_ASSERT_EQUAL(colo_dirty_count(&t.b->todo), 0); /* taken is cleared */
		for (uint32_t page = 0; page < PAGES; page++)
			CU_ASSERT_FALSE(colo_dirty_get(&t.b->todo, page));
	}
	end();
}

static void
test_random(void)
{
	static const uint32_t mtu[] = {1280, 1500, 4200, 9000};

	for (unsigned int i = 0; i < RTE_DIM(mtu); i++) {
		check_random(mtu[i], false);
		check_random(mtu[i], true);
	}
}

/* A run ends where a page is missing, or is not zero; the page that ended it comes next. */
static void
test_runs(void)
{
	struct colo_item item;

	begin(4200, false, PAGES);
	random_page(14);
	colo_dirty_set_range(&t.b->todo, 3, 7);	  /* 3..9 */
	colo_dirty_set_range(&t.b->todo, 11, 10); /* 11..20, 14 is none */
	colo_dirty_set_range(&t.b->todo, 510, 4); /* across two pieces */
	list();
	CU_ASSERT_TRUE(pick(&item) && item.record.page == 3 && item.record.count == 7);
	CU_ASSERT_TRUE(pick(&item) && item.record.page == 11 && item.record.count == 3);
	CU_ASSERT_TRUE(pick(&item) && item.record.page == 14);
	CU_ASSERT_EQUAL(item.record.kind, COLO_RECORD_RAW);
	CU_ASSERT_TRUE(pick(&item) && item.record.page == 15 && item.record.count == 6);
	CU_ASSERT_TRUE(pick(&item) && item.record.page == 510 && item.record.count == 4);
	CU_ASSERT_FALSE(pick(&item));
	end();
}

/* A run of more pages than a turn of the core that places them shall take. */
static void
test_long_run(void)
{
	const uint32_t pages = COLO_ZERO_RUN_MAX + 2;
	struct colo_item item;

	begin(4200, false, pages);
	colo_dirty_set_range(&t.b->todo, 0, pages);
	list();
	CU_ASSERT_TRUE(pick(&item));
	CU_ASSERT_EQUAL(item.record.count, COLO_ZERO_RUN_MAX);
	CU_ASSERT_TRUE(pick(&item));
	CU_ASSERT_EQUAL(item.record.page, COLO_ZERO_RUN_MAX);
	CU_ASSERT_EQUAL(item.record.count, 2);
	CU_ASSERT_FALSE(pick(&item));
	end();
}

/* Runs do not go from one block into the next. */
static void
test_blocks(void)
{
	struct colo_item item;

	begin(4200, false, PAGES);
	colo_dirty_set(&t.rig->blocks[0].block[0].todo, 0);
	colo_dirty_set_range(&t.b->todo, 0, 2);
	list();
	CU_ASSERT_TRUE(pick(&item) && item.record.block == 0 && item.record.count == 1);
	CU_ASSERT_TRUE(pick(&item) && item.record.block == 1 && item.record.count == 2);
	CU_ASSERT_FALSE(pick(&item));
	end();
}

/* Two channels share the pieces: each goes to one of them. */
static void
test_two_channels(void)
{
	struct colo_item item;
	uint64_t last[2] = {0, 0};
	bool more[2] = {true, true};

	begin(4200, false, PAGES);
	for (uint32_t page = 0; page < PAGES; page++)
		random_page(page);
	colo_dirty_set_range(&t.b->todo, 0, PAGES);
	list();
	for (unsigned int i = 0; more[0] || more[1]; i++) {
		more[i % 2] = colo_pick(t.rig->send.channel[i % 2], &item);
		if (more[i % 2])
			note(&item, &last[i % 2]);
	}
	for (uint32_t page = 0; page < PAGES; page++)
		CU_ASSERT_EQUAL(t.taken[page], COLO_PAGE_SIZE);
	CU_ASSERT_TRUE(last[0] > 0 && last[1] > 0);
	end();
}

/* Compressed only where that saves an eighth, and where the result fits a packet. */
static void
test_worth(void)
{
	struct colo_item item;
	unsigned int zstd = 0, raw = 0;

	begin(4200, true, PAGES);
	for (uint32_t page = 0; page < 64; page++) {
		random_page(page);
		memset(colo_page_addr(&t.b->guest, page), 1, page * 64); /* more and more */
	}
	colo_dirty_set_range(&t.b->todo, 0, 64);
	list();
	while (pick(&item)) {
		if (item.record.kind == COLO_RECORD_RAW) {
			CU_ASSERT_TRUE(item.record.page <= 9);
			raw++;
		} else {
			CU_ASSERT_TRUE(item.record.page >= 8);
			zstd++;
		}
	}
	CU_ASSERT_EQUAL(raw + zstd, 64);
	CU_ASSERT_TRUE(raw >= 8 && zstd >= 54);
	end();
}

static void
test_worth_small(void)
{
	struct colo_item item;

	begin(1280, true, PAGES);
	for (uint32_t page = 0; page < 64; page++) {
		random_page(page);
		memset(colo_page_addr(&t.b->guest, page), 1, page * 64);
	}
	colo_dirty_set_range(&t.b->todo, 0, 64);
	list();
	while (pick(&item))
		CU_ASSERT_TRUE(colo_record_room(item.length) + COLO_SEAL_TAG_LEN <= t.s->room);
	end();
}

static void
check_again(uint32_t mtu, bool zstd)
{
	uint8_t out[2 * COLO_PAGE_SIZE];
	struct colo_item item, again;

	begin(mtu, zstd, PAGES);
	for (uint32_t page = 0; page < PAGES; page++)
		if (page % 3 != 0)
			random_page(page);
	for (uint32_t page = 0; page < PAGES; page += 2)
		memset(colo_page_addr(&t.b->guest, page), page % 3, 3000);
	colo_dirty_set_range(&t.b->todo, 0, PAGES);
	list();
	while (pick(&item)) {
		memset(&again, 0x77, sizeof(again));
		colo_pick_again(t.s, &item.record, out, &again);
		CU_ASSERT_EQUAL(again.record.kind, item.record.kind);
		CU_ASSERT_EQUAL(again.record.page, item.record.page);
		CU_ASSERT_EQUAL(again.record.block, item.record.block);
		CU_ASSERT_EQUAL(again.record.count, item.record.count);
		CU_ASSERT_EQUAL_FATAL(again.length, item.length);
		CU_ASSERT_EQUAL(again.offset, item.offset);
		if (item.length > 0)
			CU_ASSERT_EQUAL(memcmp(again.payload, item.payload, item.length), 0);
	}
	end();
}

/* What is picked again to be resent is the same, byte for byte. */
static void
test_again(void)
{
	check_again(1280, false);
	check_again(1500, true);
	check_again(9000, true);
}

/* A page that a source let change and that does not fit any more: nothing is sent of it. */
static void
test_again_changed(void)
{
	uint8_t out[2 * COLO_PAGE_SIZE];
	struct colo_item item, again;

	begin(4200, true, PAGES);
	memset(colo_page_addr(&t.b->guest, 5), 3, COLO_PAGE_SIZE);
	colo_dirty_set(&t.b->todo, 5);
	list();
	CU_ASSERT_TRUE(pick(&item));
	CU_ASSERT_EQUAL(item.record.kind, COLO_RECORD_ZSTD);
	random_page(5);
	memset(&again, 0x77, sizeof(again));
	colo_pick_again(t.s, &item.record, out, &again);
	CU_ASSERT_EQUAL(again.record.kind, COLO_RECORD_ZSTD);
	CU_ASSERT_EQUAL(again.record.page, 5);
	CU_ASSERT_EQUAL(again.length, 0);
	CU_ASSERT_PTR_NULL(again.payload);
	end();
}

static void
test_reset(void)
{
	struct colo_item item;

	begin(1280, false, PAGES);
	random_page(0);
	random_page(1);
	colo_dirty_set_range(&t.b->todo, 0, 2);
	list();
	CU_ASSERT_TRUE(pick(&item)); /* in the middle of a page */
	t.rig->send.outbox.list.n = 0;
	colo_pick_reset(t.s);
	CU_ASSERT_FALSE(pick(&item));
	end();
}

static const struct ut_case cases[] = {
	{"random pages", test_random},
	{"zero runs", test_runs},
	{"a zero run too long for a record", test_long_run},
	{"two blocks", test_blocks},
	{"two channels", test_two_channels},
	{"worth compressing", test_worth},
	{"worth compressing, small packets", test_worth_small},
	{"picked again", test_again},
	{"picked again, changed", test_again_changed},
	{"reset", test_reset},
};

int
main(void)
{
	ut_eal_start(256);
	srand(4);
	return UT_RUN("pick", cases);
}
