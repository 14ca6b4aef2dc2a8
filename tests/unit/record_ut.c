/* SPDX-License-Identifier: BSD-3-Clause */
/* What is remembered of a packet that was placed: dirty bits, sums, slot, and when to tell. */
#include "ut_rig.h"

#define PAGES (COLO_PIECE_PAGES + 5)

static struct {
	struct ut_rig *rig;
	struct colo_receiver *r;
	struct colo_block *b;
	struct colo_page_packet packet;
	struct rte_mbuf *m;
} t;

static void
begin(uint8_t kind)
{
	const struct ut_rig_options o = {.mtu = 1500,
		.ip_version = 4,
		.n_channels = 2,
		.window = 64,
		.n_blocks = 2,
		.block_size = {COLO_PAGE_SIZE, PAGES * COLO_PAGE_SIZE}};

	t.rig = ut_rig_new(&o);
	t.r = t.rig->receive.channel[1];
	colo_receive_poll(t.r);
	t.r->kind = kind;
	t.b = &t.rig->blocks[1].block[1];
	memset(t.b->touched, 1, t.b->n_pieces);
	memset(&t.packet, 0, sizeof(t.packet));
	t.m = t.packet.frame.mbuf = rte_pktmbuf_alloc(t.rig->port[0].tx_pool);
	rte_pktmbuf_append(t.m, 500);
}

static void
end(void)
{
	rte_pktmbuf_free(t.m);
	ut_rig_free(t.rig);
}

static void
add(uint8_t kind, uint32_t page, uint16_t offset, uint16_t count, uint32_t crc)
{
	t.packet.record[t.packet.n_records++] = (struct colo_parsed_record){.kind = kind,
		.block = 1,
		.page = page,
		.offset = offset,
		.count = count,
		.crc = crc};
}

static void
record(uint64_t slot)
{
	t.packet.slot = slot;
	colo_record(t.r, &t.packet);
	t.packet.n_records = 0;
}

static void
test_dirty(void)
{
	begin(COLO_EPOCH_CHECKPOINT);
	add(COLO_RECORD_RAW, 0, 0, 1, 1);
	add(COLO_RECORD_RAW, 10, 1408, 1, 1); /* any part */
	add(COLO_RECORD_ZSTD, PAGES - 1, 0, 1, 1);
	record(0);
	CU_ASSERT_EQUAL(colo_dirty_count(&t.b->recorded[1]), 3);
	CU_ASSERT_TRUE(colo_dirty_get(&t.b->recorded[1], 0));
	CU_ASSERT_TRUE(colo_dirty_get(&t.b->recorded[1], 10));
	CU_ASSERT_TRUE(colo_dirty_get(&t.b->recorded[1], PAGES - 1));
	/* its own channel's, its own block's */
	CU_ASSERT_EQUAL(colo_dirty_count(&t.b->recorded[0]), 0);
	CU_ASSERT_EQUAL(colo_dirty_count(&t.rig->blocks[1].block[0].recorded[1]), 0);
	end();
}

/* Zero pages are recorded where they may have changed something. */
static void
test_dirty_zero(void)
{
	begin(COLO_EPOCH_CHECKPOINT);
	t.b->touched[0] = 0;
	add(COLO_RECORD_ZERO, 510, 0, 7, 0);
	record(0);
	CU_ASSERT_EQUAL(colo_dirty_count(&t.b->recorded[1]), 5);
	CU_ASSERT_FALSE(colo_dirty_get(&t.b->recorded[1], 511));
	CU_ASSERT_TRUE(colo_dirty_get(&t.b->recorded[1], 512));
	CU_ASSERT_TRUE(colo_dirty_get(&t.b->recorded[1], PAGES - 1));
	CU_ASSERT_EQUAL(t.r->pages, 7); /* all of them count */
	end();
}

static void
test_precopy(void)
{
	begin(COLO_EPOCH_PRECOPY);
	add(COLO_RECORD_RAW, 0, 0, 1, 1);
	add(COLO_RECORD_ZERO, 1, 0, 3, 0);
	record(0);
	CU_ASSERT_EQUAL(colo_dirty_count(&t.b->recorded[1]), 0);
	CU_ASSERT_EQUAL(t.r->pages, 4);
	CU_ASSERT_EQUAL(t.r->zero_pages, 3);
	end();
}

/* A page counts once, however many parts it has; each part is in the digest. */
static void
test_sums(void)
{
	uint64_t digest = colo_digest(1, 5, 0, 11) + colo_digest(1, 5, 1408, 12) +
			  colo_digest(1, 5, 2816, 13) + colo_digest(1, 6, 0, 14) +
			  colo_digest(1, 7, 0, 9 /* the run's length */);

	begin(COLO_EPOCH_CHECKPOINT);
	add(COLO_RECORD_RAW, 5, 2816, 1, 13);
	record(1);
	CU_ASSERT_EQUAL(t.r->pages, 0);
	add(COLO_RECORD_RAW, 5, 0, 1, 11);
	add(COLO_RECORD_RAW, 5, 1408, 1, 12);
	record(0);
	CU_ASSERT_EQUAL(t.r->pages, 1);
	add(COLO_RECORD_ZSTD, 6, 0, 1, 14);
	add(COLO_RECORD_ZERO, 7, 0, 9, 0);
	record(2);
	CU_ASSERT_EQUAL(t.r->pages, 11);
	CU_ASSERT_EQUAL(t.r->zero_pages, 9);
	CU_ASSERT_EQUAL(t.r->digest, digest);
	CU_ASSERT_EQUAL(t.r->wire_bytes, 1500);
	CU_ASSERT_EQUAL(t.r->window.cum, 3);
	CU_ASSERT_EQUAL(t.r->counters.n[COLO_rx_placed], 3);
	CU_ASSERT_EQUAL(t.r->counters.n[COLO_rx_bytes], 1500);
	CU_ASSERT_EQUAL(t.r->counters.n[COLO_rx_pages], 11);
	CU_ASSERT_EQUAL(t.r->counters.n[COLO_rx_pages_zero], 9);
	end();
}

/* Nothing is seen by the control core until it is published. */
static void
test_publish(void)
{
	begin(COLO_EPOCH_CHECKPOINT);
	add(COLO_RECORD_ZERO, 0, 0, 2, 0);
	record(0);
	CU_ASSERT_EQUAL(t.r->progress.cum, 0);
	CU_ASSERT_EQUAL(t.r->progress.pages, 0);
	colo_record_publish(t.r);
	CU_ASSERT_EQUAL(t.r->progress.cum, 1);
	CU_ASSERT_EQUAL(t.r->progress.pages, 2);
	CU_ASSERT_EQUAL(t.r->progress.zero_pages, 2);
	CU_ASSERT_EQUAL(t.r->progress.digest, t.r->digest);
	CU_ASSERT_EQUAL(t.r->progress.wire_bytes, 500);
	end();
}

/* At once: when asked for, and where a gap opens; not while it stays open. */
static void
test_at_once(void)
{
	begin(COLO_EPOCH_CHECKPOINT);
	record(0);
	CU_ASSERT_FALSE(t.r->feedback_due);
	CU_ASSERT_EQUAL(t.r->unreported, 1);
	record(2);
	CU_ASSERT_TRUE(t.r->feedback_due);
	t.r->feedback_due = false;
	record(3);
	record(5);
	CU_ASSERT_FALSE(t.r->feedback_due);
	record(1);
	record(4);
	CU_ASSERT_FALSE(t.r->feedback_due);
	CU_ASSERT_EQUAL(t.r->window.cum, 6);
	t.packet.frame.flags = COLO_FLAG_ACK_NOW;
	record(6);
	CU_ASSERT_TRUE(t.r->feedback_due);
	end();
}

static const struct ut_case cases[] = {
	{"dirty bits", test_dirty},
	{"dirty bits of zero pages", test_dirty_zero},
	{"precopy records nothing", test_precopy},
	{"sums", test_sums},
	{"published", test_publish},
	{"feedback at once", test_at_once},
};

int
main(void)
{
	ut_eal_start(64);
	return UT_RUN("record", cases);
}
