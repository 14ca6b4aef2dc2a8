/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Page packets with one thing wrong, each in a turn of a real receiver: counted by its reason, and
 * by no other; not a byte of cache or guest memory changes, nothing is recorded, nothing
 * acknowledged. The boundaries of every check: n - 1, n, n + 1.
 */
#include "ut_packet.h"
#include "ut_rig.h"

#define EPOCH	 7u
#define PAGES	 600u /* of block 0: a piece and a bit */
#define N_BLOCKS 2u

static struct {
	struct ut_rig *rig;
	struct colo_receiver *r; /* channel 0's */
	struct rte_mempool *pool;
	struct ut_packet packet;
	uint64_t packet_number;
	uint8_t page[3 * COLO_PAGE_SIZE]; /* contents that are not zero and do not compress */
	uint8_t text[2 * COLO_PAGE_SIZE]; /* ... that do */
	uint8_t *cache[N_BLOCKS], *guest[N_BLOCKS];
	struct colo_counters counters;
	uint64_t digest, pages, cum, recorded;
} t;

static void
open_epoch(enum colo_epoch_kind kind, uint32_t epoch)
{
	t.rig->receive.phase.epoch = epoch;
	t.rig->receive.phase.kind = kind;
	colo_gate_raise(&t.rig->receive.gate);
	colo_receive_poll(t.r);
}

/* Memory that no zero page or wrong page could leave as it is. */
static void
begin(uint32_t mtu, unsigned int ip_version)
{
	struct ut_rig_options o = {.mtu = mtu,
		.ip_version = ip_version,
		.n_channels = 2,
		.window = 64,
		.n_blocks = N_BLOCKS,
		.block_size = {PAGES * COLO_PAGE_SIZE, COLO_PAGE_SIZE}};

	t.rig = ut_rig_new(&o);
	t.r = t.rig->receive.channel[0];
	t.packet_number = 0;
	colo_send_poll(t.rig->send.channel[0]); /* adopts the session: its template is ours */
	for (unsigned int i = 0; i < N_BLOCKS; i++) {
		struct colo_block *b = &t.rig->blocks[1].block[i];

		memset(b->cache.addr, 0xcc, b->size);
		memset(b->guest.addr, 0x99, b->size);
		memset(b->touched, 1, b->n_pieces);
		t.cache[i] = malloc(b->size);
		t.guest[i] = malloc(b->size);
	}
	open_epoch(COLO_EPOCH_CHECKPOINT, EPOCH);
}

static void
end(void)
{
	for (unsigned int i = 0; i < N_BLOCKS; i++) {
		free(t.cache[i]);
		free(t.guest[i]);
	}
	ut_rig_free(t.rig);
}

static uint64_t
n_recorded(void)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < N_BLOCKS; i++)
		for (unsigned int c = 0; c < 2; c++)
			n += colo_dirty_count(&t.rig->blocks[1].block[i].recorded[c]);
	return n;
}

static void
remember(void)
{
	for (unsigned int i = 0; i < N_BLOCKS; i++) {
		memcpy(t.cache[i], t.rig->blocks[1].block[i].cache.addr,
			t.rig->blocks[1].block[i].size);
		memcpy(t.guest[i], t.rig->blocks[1].block[i].guest.addr,
			t.rig->blocks[1].block[i].size);
	}
	t.counters = t.r->counters;
	t.digest = t.r->digest;
	t.pages = t.r->pages;
	t.cum = t.r->window.cum;
	t.recorded = n_recorded();
}

static bool
is_outcome(unsigned int i)
{
	return i >= COLO_rx_placed && i <= COLO_drop_handover_full;
}

/* @return the one counter of outcomes that went up, by one; COLO_N_COUNTERS if none or several. */
static enum colo_counter
outcome(void)
{
	enum colo_counter which = COLO_N_COUNTERS;

	for (unsigned int i = 0; i < COLO_N_COUNTERS; i++) {
		if (!is_outcome(i) || t.r->counters.n[i] == t.counters.n[i])
			continue;
		if (which != COLO_N_COUNTERS || t.r->counters.n[i] != t.counters.n[i] + 1)
			return COLO_N_COUNTERS;
		which = i;
	}
	return which;
}

static bool
unchanged(void)
{
	for (unsigned int i = 0; i < N_BLOCKS; i++) {
		const struct colo_block *b = &t.rig->blocks[1].block[i];

		if (memcmp(t.cache[i], b->cache.addr, b->size) != 0 ||
			memcmp(t.guest[i], b->guest.addr, b->size) != 0)
			return false;
	}
	return t.r->digest == t.digest && t.r->pages == t.pages && t.r->window.cum == t.cum &&
	       t.r->window.highest == t.cum && t.r->progress.cum == t.cum &&
	       n_recorded() == t.recorded;
}

static void
inject_mbuf(struct rte_mbuf *m)
{
	remember();
	CU_ASSERT_EQUAL_FATAL(rte_ring_enqueue(t.rig->in[1][0], m), 0);
	colo_receive_poll(t.r);
}

static void
inject(void)
{
	inject_mbuf(ut_packet_mbuf(&t.packet, t.pool, 0));
}

/* A zero run, a raw page, a compressed one in the other block; at the next slot. */
static void
make_valid(void)
{
	ut_packet_init(&t.packet, &t.rig->send.channel[0]->template, EPOCH, t.r->window.cum,
		++t.packet_number);
	ut_packet_add_zero(&t.packet, 0, 3, 4);
	ut_packet_add_raw(&t.packet, 0, 10, 0, t.page, COLO_PAGE_SIZE);
	ut_packet_add_zstd(&t.packet, 1, 0, t.text, COLO_PAGE_SIZE);
	ut_packet_seal(&t.packet);
}

/* A packet with nothing in it yet, for the test to fill and seal. */
static void
make_empty(void)
{
	ut_packet_init(&t.packet, &t.rig->send.channel[0]->template, EPOCH, t.r->window.cum,
		++t.packet_number);
}

static void
check_drop(enum colo_counter why, const char *what)
{
	uint64_t largest = t.r->window.largest_packet;
	enum colo_counter got;

	inject();
	got = outcome();
	if (got != why || !unchanged())
		printf("\n    %s: %s, %s", what,
			got == COLO_N_COUNTERS ? "none or several" : colo_counter_name[got],
			unchanged() ? "nothing changed" : "something CHANGED");
	CU_ASSERT_EQUAL(got, why);
	CU_ASSERT_TRUE(unchanged());
	/* a packet number that is believed is told to the primary, which measures by it */
	CU_ASSERT_EQUAL(t.r->window.largest_packet, largest);
}

static void
check_placed(const char *what)
{
	enum colo_counter got;

	inject();
	got = outcome();
	if (got != COLO_rx_placed)
		printf("\n    %s: %s", what,
			got == COLO_N_COUNTERS ? "none or several" : colo_counter_name[got]);
	CU_ASSERT_EQUAL(got, COLO_rx_placed);
	CU_ASSERT_EQUAL(t.r->window.cum, t.cum + 1);
	/* so that the same pages may come again */
	for (unsigned int i = 0; i < N_BLOCKS; i++)
		colo_dirty_clear(&t.rig->blocks[1].block[i].recorded[0]);
}

/* ---- one bend each ---- */

struct bend {
	const char *what;
	void (*bend)(struct ut_packet *p);
	enum colo_counter why; /* COLO_rx_placed: it is legal */
};

static void
check_bends(const struct bend *bends, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		make_valid();
		bends[i].bend(&t.packet);
		ut_packet_seal_crc(&t.packet);
		if (bends[i].why == COLO_rx_placed)
			check_placed(bends[i].what);
		else
			check_drop(bends[i].why, bends[i].what);
	}
	make_valid(); /* nothing that was dropped stands in its way */
	check_placed("valid");
}

#define BEND(name, statement)                                                                     \
	static void name(struct ut_packet *p)                                                     \
	{                                                                                         \
		struct colo_header *h = ut_packet_header(p);                                      \
		struct colo_record *zero = ut_packet_record(p, 0), *raw = ut_packet_record(p, 1), \
				   *zstd = ut_packet_record(p, 2);                                \
                                                                                                  \
		(void)h, (void)zero, (void)raw, (void)zstd;                                       \
		statement;                                                                        \
	}

BEND(nothing, )
BEND(version_less, h->version--)
BEND(version_more, h->version++)
BEND(type_none, h->type = 0)
BEND(type_feedback, (h->type = COLO_FRAME_FEEDBACK, h->n_records = 0))
BEND(type_more, h->type = COLO_FRAME_CONTROL + 1)
BEND(channel_other, h->channel = 1)
BEND(channel_none, h->channel = 2)
BEND(channel_far, h->channel = 255)
BEND(session_less, h->session = rte_cpu_to_be_32(UT_RIG_SESSION - 1))
BEND(session_more, h->session = rte_cpu_to_be_32(UT_RIG_SESSION + 1))
BEND(session_zero, h->session = 0)
BEND(epoch_less, h->epoch = rte_cpu_to_be_32(EPOCH - 1))
BEND(epoch_more, h->epoch = rte_cpu_to_be_32(EPOCH + 1))
BEND(epoch_zero, h->epoch = 0)
BEND(length_less, h->length = rte_cpu_to_be_16(p->payload - 1))
BEND(length_more, h->length = rte_cpu_to_be_16(p->payload + 1))
BEND(length_zero, h->length = 0)
BEND(no_records, h->n_records = 0)
BEND(records_too_many, h->n_records = COLO_MAX_RECORDS + 1)
BEND(records_far_too_many, h->n_records = 255)
/* The record table begins to eat the payload, or the payload the table. */
BEND(records_less, h->n_records--)
BEND(window_end, h->slot = rte_cpu_to_be_32(t.r->window.credit))
BEND(window_far, h->slot = rte_cpu_to_be_32(t.r->window.credit + COLO_WINDOW_MAX))
BEND(window_half, h->slot = rte_cpu_to_be_32(t.r->window.cum + 0x7fffffff))

static const struct bend header_bends[] = {
	{"valid", nothing, COLO_rx_placed},
	{"version - 1", version_less, COLO_drop_version},
	{"version + 1", version_more, COLO_drop_version},
	{"type 0", type_none, COLO_drop_type},
	{"type feedback", type_feedback, COLO_drop_type},
	{"type 4", type_more, COLO_drop_type},
	{"other channel, our port", channel_other, COLO_drop_channel},
	{"channel n", channel_none, COLO_drop_channel},
	{"channel 255", channel_far, COLO_drop_channel},
	{"session - 1", session_less, COLO_drop_session},
	{"session + 1", session_more, COLO_drop_session},
	{"session 0", session_zero, COLO_drop_session},
	{"epoch - 1", epoch_less, COLO_drop_epoch},
	{"epoch + 1", epoch_more, COLO_drop_epoch},
	{"epoch 0", epoch_zero, COLO_drop_epoch},
	{"length - 1", length_less, COLO_drop_length},
	{"length + 1", length_more, COLO_drop_length},
	{"length 0", length_zero, COLO_drop_length},
	{"0 records", no_records, COLO_drop_records},
	{"17 records", records_too_many, COLO_drop_records},
	{"255 records", records_far_too_many, COLO_drop_records},
	{"a record less than there are", records_less, COLO_drop_length},
	{"slot at the credit", window_end, COLO_drop_window},
	{"slot far beyond it", window_far, COLO_drop_window},
	{"slot half the numbers away", window_half, COLO_drop_window},
};

static void
test_header(void)
{
	begin(4200, 4);
	check_bends(header_bends, RTE_DIM(header_bends));
	end();
	begin(4200, 6);
	check_bends(header_bends, RTE_DIM(header_bends));
	end();
}

BEND(block_last, (zero->block = 0, raw->block = 0, zstd->block = N_BLOCKS - 1))
BEND(block_none, zstd->block = N_BLOCKS)
BEND(block_far, zstd->block = 255)
BEND(kind_zero, zstd->kind = 0)
BEND(kind_more, zstd->kind = COLO_RECORD_ZSTD + 1)
BEND(kind_far, zstd->kind = 255)
BEND(zero_last, (zero->page = RTE_BE32(6), zero->count = RTE_BE16(4)))
BEND(zero_overlap, (zero->page = RTE_BE32(7), zero->count = RTE_BE16(4)))
BEND(zero_count_none, zero->count = 0)
BEND(zero_length, (zero->length = RTE_BE16(1), raw->length = RTE_BE16(COLO_PAGE_SIZE - 1)))
BEND(zero_offset, zero->offset = RTE_BE16(COLO_PART_ALIGN))
BEND(zero_crc, zero->crc = RTE_BE32(1))
BEND(raw_page_last, (zero->block = 0, raw->page = RTE_BE32(PAGES - 1)))
BEND(raw_page_none, raw->page = RTE_BE32(PAGES))
BEND(raw_page_far, raw->page = UINT32_MAX)
BEND(raw_count_none, raw->count = 0)
BEND(raw_count_more, raw->count = RTE_BE16(2))
BEND(raw_offset, raw->offset = RTE_BE16(COLO_PART_ALIGN))
BEND(raw_offset_page, raw->offset = RTE_BE16(COLO_PAGE_SIZE))
BEND(raw_offset_far, raw->offset = UINT16_MAX)
BEND(raw_length_less, raw->length = RTE_BE16(COLO_PAGE_SIZE - 1))
BEND(raw_length_more, raw->length = RTE_BE16(COLO_PAGE_SIZE + 1))
BEND(raw_length_none, raw->length = 0)
BEND(raw_crc, raw->crc ^= 1)
BEND(raw_contents, ut_packet_contents(p, 1)[COLO_PAGE_SIZE - 1] ^= 0x80)
BEND(zstd_page_none, zstd->page = RTE_BE32(1))
BEND(zstd_count_none, zstd->count = 0)
BEND(zstd_count_more, zstd->count = RTE_BE16(2))
BEND(zstd_offset, zstd->offset = RTE_BE16(1))
BEND(zstd_length_none, zstd->length = 0)
BEND(zstd_length_more, zstd->length = RTE_BE16(COLO_PAGE_SIZE + 1))
BEND(zstd_length_far, zstd->length = UINT16_MAX)
BEND(zstd_length_plus, zstd->length = rte_cpu_to_be_16(rte_be_to_cpu_16(zstd->length) + 1))
BEND(zstd_length_minus, zstd->length = rte_cpu_to_be_16(rte_be_to_cpu_16(zstd->length) - 1))
BEND(zstd_crc, zstd->crc ^= RTE_BE32(0x80000000))
BEND(zstd_magic, ut_packet_contents(p, 2)[0] ^= 1)
BEND(zstd_body, memset(ut_packet_contents(p, 2) + 5, 0xff, 8))
BEND(zstd_as_raw, zstd->kind = COLO_RECORD_RAW)
BEND(raw_as_zstd, raw->kind = COLO_RECORD_ZSTD)
BEND(raw_as_zero, raw->kind = COLO_RECORD_ZERO)
BEND(zero_as_raw, zero->kind = COLO_RECORD_RAW)
BEND(descending, (zero->block = 1, zero->page = 0, zero->count = RTE_BE16(1)))
BEND(same_page, (zstd->block = 0, zstd->page = raw->page))
BEND(next_page, (zstd->block = 0, zstd->page = rte_cpu_to_be_32(11)))
BEND(page_before, (zstd->block = 0, zstd->page = rte_cpu_to_be_32(9)))

static const struct bend record_bends[] = {
	{"block n - 1", block_last, COLO_rx_placed},
	{"block n", block_none, COLO_drop_block},
	{"block 255", block_far, COLO_drop_block},
	{"kind 0", kind_zero, COLO_drop_kind},
	{"kind 4", kind_more, COLO_drop_kind},
	{"kind 255", kind_far, COLO_drop_kind},
	{"zero run up to the next record", zero_last, COLO_rx_placed},
	{"zero run into the next record", zero_overlap, COLO_drop_overlap},
	{"zero run of none", zero_count_none, COLO_drop_geometry},
	{"zero run with payload", zero_length, COLO_drop_geometry},
	{"zero run with an offset", zero_offset, COLO_drop_geometry},
	{"zero run with a CRC", zero_crc, COLO_drop_geometry},
	{"raw, page n - 1", raw_page_last, COLO_rx_placed},
	{"raw, page n", raw_page_none, COLO_drop_range},
	{"raw, page 2^32 - 1", raw_page_far, COLO_drop_range},
	{"raw, count 0", raw_count_none, COLO_drop_geometry},
	{"raw, count 2", raw_count_more, COLO_drop_geometry},
	{"raw, offset 16", raw_offset, COLO_drop_geometry},
	{"raw, offset 4096", raw_offset_page, COLO_drop_geometry},
	{"raw, offset 65535", raw_offset_far, COLO_drop_geometry},
	{"raw, 4095 bytes", raw_length_less, COLO_drop_geometry},
	{"raw, 4097 bytes", raw_length_more, COLO_drop_geometry},
	{"raw, 0 bytes", raw_length_none, COLO_drop_geometry},
	{"raw, CRC", raw_crc, COLO_drop_content_crc},
	{"raw, contents", raw_contents, COLO_drop_content_crc},
	{"zstd, page n", zstd_page_none, COLO_drop_range},
	{"zstd, count 0", zstd_count_none, COLO_drop_geometry},
	{"zstd, count 2", zstd_count_more, COLO_drop_geometry},
	{"zstd, offset 1", zstd_offset, COLO_drop_geometry},
	{"zstd, 0 bytes", zstd_length_none, COLO_drop_geometry},
	{"zstd, 4097 bytes", zstd_length_more, COLO_drop_geometry},
	{"zstd, 65535 bytes", zstd_length_far, COLO_drop_geometry},
	{"zstd, a byte more than there is", zstd_length_plus, COLO_drop_length},
	{"zstd, a byte left over", zstd_length_minus, COLO_drop_length},
	{"zstd, CRC", zstd_crc, COLO_drop_content_crc},
	{"zstd, no frame", zstd_magic, COLO_drop_decode},
	{"zstd, damaged", zstd_body, COLO_drop_decode},
	{"zstd called raw", zstd_as_raw, COLO_drop_geometry},
	{"raw called zstd", raw_as_zstd, COLO_drop_decode},
	{"raw called zero", raw_as_zero, COLO_drop_geometry},
	{"zero called raw", zero_as_raw, COLO_drop_geometry},
	{"blocks that descend", descending, COLO_drop_overlap},
	{"a page twice in a packet", same_page, COLO_drop_overlap},
	{"the page after", next_page, COLO_rx_placed},
	{"the page before", page_before, COLO_drop_overlap},
};

static void
test_records(void)
{
	begin(4200, 4);
	check_bends(record_bends, RTE_DIM(record_bends));
	end();
}

/* Runs of zeros at the end of a block: n - 1, n and n + 1 pages long. */
static void
test_zero_runs(void)
{
	static const struct {
		uint32_t page;
		uint16_t count;
		enum colo_counter why;
	} runs[] = {
		{0, 1, COLO_rx_placed},
		{0, PAGES - 1, COLO_rx_placed},
		{0, PAGES, COLO_rx_placed},
		{0, PAGES + 1, COLO_drop_range},
		{0, UINT16_MAX, COLO_drop_range},
		{511, 2, COLO_rx_placed},
		{PAGES - 1, 1, COLO_rx_placed},
		{PAGES - 1, 2, COLO_drop_range},
		{PAGES - 1, UINT16_MAX, COLO_drop_range},
		{PAGES, 0, COLO_drop_range},
		{PAGES, 1, COLO_drop_range},
		{UINT32_MAX, 1, COLO_drop_range},
		{UINT32_MAX, UINT16_MAX, COLO_drop_range},
	};

	begin(4200, 4);
	for (unsigned int i = 0; i < RTE_DIM(runs); i++) {
		make_empty();
		ut_packet_add_zero(&t.packet, 0, runs[i].page, runs[i].count);
		ut_packet_seal(&t.packet);
		if (runs[i].why == COLO_rx_placed)
			check_placed("zero run");
		else
			check_drop(runs[i].why, "zero run");
	}
	end();
}

/* Where a page needs several packets, its parts have one legal geometry. */
static void
check_part(uint16_t offset, uint16_t length, enum colo_counter why)
{
	make_empty();
	ut_packet_add_raw(&t.packet, 0, 5, offset, t.page, length);
	ut_packet_seal(&t.packet);
	if (why == COLO_rx_placed)
		check_placed("part");
	else
		check_drop(why, "part");
}

static void
test_parts(void)
{
	const uint16_t part = colo_part_size(1500, COLO_IPV4_UDP_LEN, false);
	const uint16_t last = COLO_PAGE_SIZE - 2 * part;

	begin(1500, 4);
	check_part(0, part, COLO_rx_placed);
	check_part(part, part, COLO_rx_placed);
	check_part(2 * part, last, COLO_rx_placed);
	check_part(0, COLO_PAGE_SIZE, COLO_drop_geometry);
	for (int d = -1; d <= 1; d += 2) {
		check_part(0, part + d, COLO_drop_geometry);
		check_part(part + d, part, COLO_drop_geometry);
		check_part(part, part + d, COLO_drop_geometry);
		check_part(2 * part + d, last, COLO_drop_geometry);
		check_part(2 * part, last + d, COLO_drop_geometry);
	}
	check_part(2 * part, part, COLO_drop_geometry);
	check_part(3 * part, 0, COLO_drop_geometry);
	check_part(3 * part, part, COLO_drop_geometry);
	check_part(COLO_PART_ALIGN, part, COLO_drop_geometry);
	check_part(COLO_PAGE_SIZE, part, COLO_drop_geometry);
	end();
}

/* Two parts of a page in a packet: in order, overlapping, in the wrong order. */
static void
test_parts_order(void)
{
	const uint16_t part = colo_part_size(1500, COLO_IPV4_UDP_LEN, false);
	static const struct {
		unsigned int first, second;
		enum colo_counter why;
	} pairs[] = {{0, 1, COLO_rx_placed}, {0, 0, COLO_drop_overlap}, {1, 0, COLO_drop_overlap},
		{1, 1, COLO_drop_overlap}};

	begin(1500, 4);
	for (unsigned int i = 0; i < RTE_DIM(pairs); i++) {
		make_empty();
		ut_packet_add_raw(&t.packet, 0, 5, pairs[i].first * part, t.page, part);
		ut_packet_add_raw(&t.packet, 0, 5, pairs[i].second * part, t.page + part, part);
		ut_packet_seal(&t.packet);
		if (pairs[i].why == COLO_rx_placed)
			check_placed("two parts");
		else
			check_drop(pairs[i].why, "two parts");
	}
	end();
}

static void
test_number_of_records(void)
{
	begin(4200, 4);
	for (unsigned int n = COLO_MAX_RECORDS - 1; n <= COLO_MAX_RECORDS + 1; n++) {
		make_empty();
		for (unsigned int i = 0; i < n; i++)
			ut_packet_add_zero(&t.packet, 0, 2 * i, 1);
		ut_packet_seal(&t.packet);
		if (n <= COLO_MAX_RECORDS)
			check_placed("records");
		else
			check_drop(COLO_drop_records, "records");
	}
	end();
}

/* The payload ends a byte too early, or too late; the frame's own lengths are right. */
static void
test_payload_length(void)
{
	begin(4200, 4);
	for (int d = -1; d <= 1; d++) {
		make_valid();
		t.packet.payload += d;
		ut_packet_seal(&t.packet);
		if (d == 0)
			check_placed("payload");
		else
			check_drop(COLO_drop_length, "payload");
	}
	/* shorter than its record table, by a byte */
	make_empty();
	ut_packet_add_zero(&t.packet, 0, 0, 1);
	t.packet.payload--;
	ut_packet_seal(&t.packet);
	check_drop(COLO_drop_length, "half a record");
	/* shorter than its header, by a byte; and the header alone */
	make_empty();
	t.packet.payload--;
	ut_packet_seal(&t.packet);
	check_drop(COLO_drop_short, "half a header");
	make_empty();
	ut_packet_seal(&t.packet);
	check_drop(COLO_drop_records, "a header alone");
	end();
}

/* What decodes to 4095 or 4097 bytes, to two pages, or is cut. */
static void
test_zstd_sizes(void)
{
	static const uint32_t bad[] = {
		0, 1, COLO_PAGE_SIZE - 1, COLO_PAGE_SIZE + 1, 2 * COLO_PAGE_SIZE};

	begin(4200, 4);
	for (unsigned int i = 0; i < RTE_DIM(bad); i++) {
		make_empty();
		ut_packet_add_zstd(&t.packet, 0, 1, t.text, bad[i]);
		ut_packet_seal(&t.packet);
		check_drop(COLO_drop_decode, "size");
	}
	make_empty();
	ut_packet_add_zstd(&t.packet, 0, 1, t.text, COLO_PAGE_SIZE);
	ut_packet_record(&t.packet, 0)->length =
		rte_cpu_to_be_16(rte_be_to_cpu_16(ut_packet_record(&t.packet, 0)->length) - 1);
	t.packet.payload--;
	ut_packet_seal(&t.packet);
	check_drop(COLO_drop_decode, "cut");
	/* 4096 and 4097 bytes of something else */
	for (uint16_t n = COLO_PAGE_SIZE; n <= COLO_PAGE_SIZE + 1; n++) {
		make_empty();
		ut_packet_add(&t.packet, COLO_RECORD_ZSTD, 0, 1, t.page, n);
		ut_packet_seal(&t.packet);
		check_drop(n == COLO_PAGE_SIZE ? COLO_drop_decode : COLO_drop_geometry, "junk");
	}
	/* one good record before a bad one is not placed either */
	make_empty();
	ut_packet_add_raw(&t.packet, 0, 1, 0, t.page, COLO_PAGE_SIZE);
	ut_packet_add(&t.packet, COLO_RECORD_ZSTD, 0, 2, t.page, 100);
	ut_packet_seal(&t.packet);
	check_drop(COLO_drop_decode, "good and bad");
	end();
}

/* Any bit of UDP's payload: the CRCs leave none alone. */
static void
test_every_byte(void)
{
	begin(4200, 4);
	make_valid();
	for (uint32_t at = 0; at < t.packet.payload; at += at < 128 ? 1 : 37) {
		for (unsigned int bit = 0; bit < 8; bit += at < 128 ? 1 : 7) {
			uint8_t *byte = t.packet.bytes + t.packet.outer + at;

			*byte ^= 1u << bit;
			inject();
			CU_ASSERT_NOT_EQUAL(outcome(), COLO_N_COUNTERS);
			CU_ASSERT_NOT_EQUAL(outcome(), COLO_rx_placed);
			CU_ASSERT_TRUE(unchanged());
			*byte ^= 1u << bit;
		}
	}
	check_placed("valid");
	end();
}

/* Slots: the last one of the credit, one placed before, the one that was dropped. */
static void
test_slots(void)
{
	begin(4200, 4);
	make_empty();
	ut_packet_header(&t.packet)->slot = rte_cpu_to_be_32(t.r->window.credit - 1);
	ut_packet_add_zero(&t.packet, 0, 1, 1);
	ut_packet_seal(&t.packet);
	inject();
	CU_ASSERT_EQUAL(outcome(), COLO_rx_placed);
	CU_ASSERT_EQUAL(t.r->window.cum, 0);
	CU_ASSERT_TRUE(t.r->unreported == 0); /* a gap is told at once */
	inject();
	CU_ASSERT_EQUAL(outcome(), COLO_rx_duplicate);
	CU_ASSERT_EQUAL(t.r->pages, t.pages);
	CU_ASSERT_EQUAL(t.r->digest, t.digest);
	ut_packet_header(&t.packet)->slot = rte_cpu_to_be_32((uint32_t)-1); /* before the first */
	ut_packet_seal(&t.packet);
	inject();
	CU_ASSERT_EQUAL(outcome(), COLO_drop_window);
	end();
}

/* A page that came already in this checkpoint, in another slot: alone, and within a run. */
static void
test_twice(void)
{
	begin(4200, 4);
	make_empty();
	ut_packet_add_raw(&t.packet, 0, 20, 0, t.page, COLO_PAGE_SIZE);
	ut_packet_seal(&t.packet);
	inject();
	CU_ASSERT_EQUAL(outcome(), COLO_rx_placed);
	make_empty();
	ut_packet_add_raw(&t.packet, 0, 20, 0, t.page + 1, COLO_PAGE_SIZE);
	ut_packet_seal(&t.packet);
	check_drop(COLO_drop_twice, "raw");
	make_empty();
	ut_packet_add_zstd(&t.packet, 0, 20, t.text, COLO_PAGE_SIZE);
	ut_packet_seal(&t.packet);
	check_drop(COLO_drop_twice, "zstd");
	for (uint32_t first = 17; first <= 21; first++) {
		make_empty();
		ut_packet_add_zero(&t.packet, 0, first, 4);
		ut_packet_seal(&t.packet);
		if (first <= 20)
			check_drop(COLO_drop_twice, "run");
	}
	check_placed("the run behind it");
	end();
}

/* In precopy a page may come again: the guest runs. */
static void
test_twice_precopy(void)
{
	begin(4200, 4);
	open_epoch(COLO_EPOCH_PRECOPY, EPOCH + 1);
	for (unsigned int i = 0; i < 2; i++) {
		make_empty();
		ut_packet_header(&t.packet)->epoch = rte_cpu_to_be_32(EPOCH + 1);
		ut_packet_add_raw(&t.packet, 0, 20, 0, t.page + i, COLO_PAGE_SIZE);
		ut_packet_seal(&t.packet);
		check_placed("precopy");
		CU_ASSERT_EQUAL(memcmp(t.rig->blocks[1].block[0].cache.addr + 20 * COLO_PAGE_SIZE,
					t.page + i, COLO_PAGE_SIZE),
			0);
		CU_ASSERT_EQUAL(memcmp(t.rig->blocks[1].block[0].guest.addr + 20 * COLO_PAGE_SIZE,
					t.page + i, COLO_PAGE_SIZE),
			0);
	}
	end();
}

static void
test_no_epoch_no_session(void)
{
	begin(4200, 4);
	open_epoch(COLO_EPOCH_CHECKPOINT, 0);
	make_valid();
	check_drop(COLO_drop_epoch, "no epoch is open");
	make_valid();
	ut_packet_header(&t.packet)->epoch = 0;
	ut_packet_seal(&t.packet);
	check_drop(COLO_drop_epoch, "epoch 0 while none is open");
	t.rig->receive.phase.session = false;
	open_epoch(COLO_EPOCH_CHECKPOINT, 0);
	make_valid();
	check_drop(COLO_drop_session, "no session");
	end();
}

/* Wherever a driver splits a frame: placed, if the outer headers are in one piece. */
static void
test_segments(void)
{
	begin(4200, 4);
	make_valid();
	for (uint32_t split = 1; split < t.packet.outer + t.packet.payload;
		split += split < 160 ? 1 : 97) {
		make_valid();
		inject_mbuf(ut_packet_mbuf(&t.packet, t.pool, split));
		CU_ASSERT_EQUAL(
			outcome(), split < t.packet.outer ? COLO_drop_short : COLO_rx_placed);
		for (unsigned int i = 0; i < N_BLOCKS; i++)
			colo_dirty_clear(&t.rig->blocks[1].block[i].recorded[0]);
	}
	CU_ASSERT_EQUAL(memcmp(t.rig->blocks[1].block[0].cache.addr + 10 * COLO_PAGE_SIZE, t.page,
				COLO_PAGE_SIZE),
		0);
	CU_ASSERT_EQUAL(memcmp(t.rig->blocks[1].block[1].cache.addr, t.text, COLO_PAGE_SIZE), 0);
	end();
}

/* A control frame is the control core's: all of it, however many segments it has. */
static void
test_control(void)
{
	begin(4200, 4);
	for (uint32_t split = 0; split <= t.rig->send.channel[0]->template.length + 40u;
		split += 45) {
		struct rte_mbuf *m, *out = NULL;

		make_empty();
		ut_packet_control(&t.packet, true);
		m = ut_packet_mbuf(&t.packet, t.pool, split);
		inject_mbuf(m);
		CU_ASSERT_EQUAL(outcome(), COLO_rx_control);
		CU_ASSERT_TRUE(unchanged());
		CU_ASSERT_EQUAL_FATAL(rte_ring_dequeue(t.rig->receive.lane.rx, (void **)&out), 0);
		CU_ASSERT_PTR_EQUAL(out, m);
		CU_ASSERT_EQUAL(rte_mempool_in_use_count(t.pool), m->nb_segs);
		rte_pktmbuf_free(m);
		CU_ASSERT_EQUAL(rte_mempool_in_use_count(t.pool), 0);
	}
	end();
}

/* What is no request takes no room in the ring. */
static void
test_control_bad(void)
{
	struct colo_control_request *ask;

	begin(4200, 4);
	make_empty();
	ut_packet_control(&t.packet, true);
	ask = (struct colo_control_request *)(ut_packet_header(&t.packet) + 1);
	t.packet.payload++;
	ut_packet_seal(&t.packet);
	check_drop(COLO_drop_control, "a byte more");
	t.packet.payload -= 2;
	ut_packet_seal(&t.packet);
	check_drop(COLO_drop_control, "a byte less");
	ut_packet_control(&t.packet, true);
	ask->op = COLO_CONTROL_VERIFY + 1;
	ut_packet_seal(&t.packet);
	check_drop(COLO_drop_control, "unknown");
	ut_packet_control(&t.packet, false);
	check_drop(COLO_drop_control, "an answer");
	CU_ASSERT_EQUAL(rte_ring_count(t.rig->receive.lane.rx), 0);
	end();
}

static void
test_control_full(void)
{
	begin(4200, 4);
	make_empty();
	ut_packet_control(&t.packet, true);
	for (unsigned int i = 0; i < COLO_LANE_RING - 1; i++) {
		inject();
		CU_ASSERT_EQUAL(outcome(), COLO_rx_control);
	}
	check_drop(COLO_drop_handover_full, "one more than the ring holds");
	end();
	CU_ASSERT_EQUAL(rte_mempool_in_use_count(t.pool), 0);
}

static const struct ut_case cases[] = {
	{"header", test_header},
	{"records", test_records},
	{"zero runs", test_zero_runs},
	{"parts of a page", test_parts},
	{"order of parts", test_parts_order},
	{"number of records", test_number_of_records},
	{"payload longer or shorter", test_payload_length},
	{"zstd of other sizes", test_zstd_sizes},
	{"every byte counts", test_every_byte},
	{"slots", test_slots},
	{"a page twice in a checkpoint", test_twice},
	{"a page twice in precopy", test_twice_precopy},
	{"no epoch, no session", test_no_epoch_no_session},
	{"frames in two segments", test_segments},
	{"control frames", test_control},
	{"no control frames", test_control_bad},
	{"more control frames than fit", test_control_full},
};

int
main(void)
{
	ut_eal_start(256);
	t.pool = rte_pktmbuf_pool_create("frames", 1023, 0, 0, 16384, SOCKET_ID_ANY);
	if (t.pool == NULL)
		return 1;
	srand(1);
	for (unsigned int i = 0; i < sizeof(t.page); i++)
		t.page[i] = rand() | 1;
	for (unsigned int i = 0; i < sizeof(t.text); i++)
		t.text[i] = 'a' + rand() % 3;
	return UT_RUN("parse", cases);
}
