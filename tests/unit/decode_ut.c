/* SPDX-License-Identifier: BSD-3-Clause */
/* Contents of records: where they are taken from, what is no page, and what the CRC says. */
#include "ut_packet.h"
#include "ut_rig.h"

static struct {
	struct ut_rig *rig;
	struct colo_receiver *r;
	struct rte_mempool *pool;
	struct colo_page_packet packet;
	uint8_t page[COLO_PAGE_SIZE];
	uint8_t text[COLO_PAGE_SIZE];
} t;

static void
begin(void)
{
	const struct ut_rig_options o = {.mtu = 9000,
		.ip_version = 4,
		.n_channels = 1,
		.window = 64,
		.n_blocks = 1,
		.block_size = {64 * COLO_PAGE_SIZE}};

	t.rig = ut_rig_new(&o);
	t.r = t.rig->receive.channel[0];
	memset(&t.packet, 0, sizeof(t.packet));
	t.packet.frame.mbuf = rte_pktmbuf_alloc(t.pool);
	CU_ASSERT_PTR_NOT_NULL_FATAL(t.packet.frame.mbuf);
}

static void
end(void)
{
	rte_pktmbuf_free(t.packet.frame.mbuf);
	CU_ASSERT_EQUAL(rte_mempool_in_use_count(t.pool), 0);
	ut_rig_free(t.rig);
}

/* A record as parse leaves it, its payload behind what there is. */
static struct colo_parsed_record *
add(uint8_t kind, const void *payload, uint16_t length, uint32_t crc)
{
	struct colo_parsed_record *rec = &t.packet.record[t.packet.n_records++];
	char *to = rte_pktmbuf_append(t.packet.frame.mbuf, length);

	CU_ASSERT_PTR_NOT_NULL_FATAL(to);
	memcpy(to, payload, length);
	*rec = (struct colo_parsed_record){.kind = kind,
		.length = length,
		.count = 1,
		.crc = crc,
		.payload = rte_pktmbuf_pkt_len(t.packet.frame.mbuf) - length};
	return rec;
}

static struct colo_parsed_record *
add_zstd(const void *contents, size_t size, int level)
{
	uint8_t out[2 * COLO_PAGE_SIZE];
	size_t n = ZSTD_compress(out, sizeof(out), contents, size, level);

	CU_ASSERT_FALSE_FATAL(ZSTD_isError(n));
	return add(COLO_RECORD_ZSTD, out, n, colo_crc32(contents, size));
}

/* Raw contents are used where they lie. */
static void
test_raw(void)
{
	const struct colo_parsed_record *rec;

	begin();
	rec = add(COLO_RECORD_RAW, t.page, COLO_PAGE_SIZE, colo_crc32(t.page, COLO_PAGE_SIZE));
	add(COLO_RECORD_RAW, t.text, 1408, colo_crc32(t.text, 1408));
	CU_ASSERT_TRUE(colo_decode(t.r, &t.packet));
	CU_ASSERT_PTR_EQUAL(rec->contents,
		rte_pktmbuf_mtod_offset(t.packet.frame.mbuf, uint8_t *, rec->payload));
	CU_ASSERT_EQUAL(memcmp(rec[1].contents, t.text, 1408), 0);
	CU_ASSERT_EQUAL(rec[1].length, 1408);
	end();
}

/* As many as a packet may have, each with room of its own; a zero run has no contents. */
static void
test_many(void)
{
	uint8_t pages[COLO_MAX_RECORDS][COLO_PAGE_SIZE];

	begin();
	for (unsigned int i = 0; i < COLO_MAX_RECORDS; i++) {
		memset(pages[i], 0x30 + i, COLO_PAGE_SIZE);
		pages[i][i] = 0;
		if (i == 7)
			t.packet.record[t.packet.n_records++] =
				(struct colo_parsed_record){.kind = COLO_RECORD_ZERO, .count = 5};
		else
			add_zstd(pages[i], COLO_PAGE_SIZE, 1 + i);
	}
	CU_ASSERT_TRUE(colo_decode(t.r, &t.packet));
	for (unsigned int i = 0; i < COLO_MAX_RECORDS; i++) {
		if (i == 7) {
			CU_ASSERT_PTR_NULL(t.packet.record[i].contents);
			continue;
		}
		CU_ASSERT_EQUAL(memcmp(t.packet.record[i].contents, pages[i], COLO_PAGE_SIZE), 0);
		CU_ASSERT_EQUAL(t.packet.record[i].length, COLO_PAGE_SIZE);
	}
	end();
}

/* A payload in two segments, split at its ends and in the middle. */
static void
test_segments(void)
{
	static const uint32_t splits[] = {1, 2, 2000, COLO_PAGE_SIZE - 1, COLO_PAGE_SIZE};

	for (unsigned int i = 0; i < RTE_DIM(splits); i++) {
		struct rte_mbuf *second;
		uint32_t rest = COLO_PAGE_SIZE - splits[i];

		begin();
		add(COLO_RECORD_RAW, t.page, splits[i], colo_crc32(t.page, COLO_PAGE_SIZE));
		t.packet.record[0].length = COLO_PAGE_SIZE;
		second = rte_pktmbuf_alloc(t.pool);
		memcpy(rte_pktmbuf_append(second, rest), t.page + splits[i], rest);
		CU_ASSERT_EQUAL(rte_pktmbuf_chain(t.packet.frame.mbuf, second), 0);
		CU_ASSERT_TRUE(colo_decode(t.r, &t.packet));
		CU_ASSERT_EQUAL(memcmp(t.packet.record[0].contents, t.page, COLO_PAGE_SIZE), 0);
		end();
	}
}

static void
check_drop(enum colo_counter why)
{
	CU_ASSERT_FALSE(colo_decode(t.r, &t.packet));
	for (unsigned int i = COLO_rx_placed; i <= COLO_drop_handover_full; i++)
		CU_ASSERT_EQUAL(t.r->counters.n[i], i == why);
	end();
}

static void
test_crc(void)
{
	begin();
	add(COLO_RECORD_RAW, t.page, 100, colo_crc32(t.page, 100) ^ 1);
	check_drop(COLO_drop_content_crc);
	begin();
	add_zstd(t.text, COLO_PAGE_SIZE, 1)->crc ^= 0x80000000;
	check_drop(COLO_drop_content_crc);
	/* one that follows good ones drops them all, and is counted once */
	begin();
	add(COLO_RECORD_RAW, t.page, 100, colo_crc32(t.page, 100));
	add_zstd(t.text, COLO_PAGE_SIZE, 1);
	add(COLO_RECORD_RAW, t.page, 100, 0);
	add(COLO_RECORD_RAW, t.page, 100, 0);
	check_drop(COLO_drop_content_crc);
}

/* A record that says more than the frame has: parse does not let it through, and if it did ... */
static void
test_beyond(void)
{
	begin();
	add(COLO_RECORD_RAW, t.page, 100, 0)->length = 101;
	check_drop(COLO_drop_length);
	begin();
	add(COLO_RECORD_RAW, t.page, 100, 0)->payload = 1000;
	check_drop(COLO_drop_length);
}

static void
check_zstd(const void *bytes, uint16_t length, enum colo_counter why)
{
	begin();
	add(COLO_RECORD_ZSTD, bytes, length, colo_crc32(t.text, COLO_PAGE_SIZE));
	if (why != COLO_FRAME_OK) {
		check_drop(why);
		return;
	}
	CU_ASSERT_TRUE(colo_decode(t.r, &t.packet));
	CU_ASSERT_EQUAL(memcmp(t.packet.record[0].contents, t.text, COLO_PAGE_SIZE), 0);
	end();
}

static size_t
compress(uint8_t *out, const uint8_t *contents, size_t size, int level, bool checksum, bool sized,
	const void *dictionary)
{
	ZSTD_CCtx *c = ZSTD_createCCtx();
	size_t n;

	ZSTD_CCtx_setParameter(c, ZSTD_c_compressionLevel, level);
	ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, checksum);
	ZSTD_CCtx_setParameter(c, ZSTD_c_contentSizeFlag, sized);
	if (dictionary != NULL) /* far enough back */
		ZSTD_CCtx_setParameter(c, ZSTD_c_windowLog, 15);
	if (dictionary != NULL)
		ZSTD_CCtx_refPrefix(c, dictionary, COLO_PAGE_SIZE);
	n = ZSTD_compress2(c, out, 2 * COLO_PAGE_SIZE, contents, size);
	CU_ASSERT_FALSE(ZSTD_isError(n));
	ZSTD_freeCCtx(c);
	return n;
}

/* Whatever frame decodes to the page is good, however it was made. */
static void
test_zstd_forms(void)
{
	uint8_t out[4 * COLO_PAGE_SIZE];
	size_t n, m;

	for (int level = -7; level <= 19; level++) {
		n = compress(out, t.text, COLO_PAGE_SIZE, level, level % 2, level % 3, NULL);
		check_zstd(out, n, COLO_FRAME_OK);
	}
	/* two frames, half a page each; a frame to be skipped before the page's */
	n = compress(out, t.text, 2048, 1, false, true, NULL);
	m = compress(out + n, t.text + 2048, 2048, 1, false, true, NULL);
	check_zstd(out, n + m, COLO_FRAME_OK);
	check_zstd(out, n, COLO_drop_decode);
	memcpy(out, "\x50\x2a\x4d\x18\x03\x00\x00\x00xyz", 11);
	n = compress(out + 11, t.text, COLO_PAGE_SIZE, 1, false, true, NULL);
	check_zstd(out, n + 11, COLO_FRAME_OK);
	check_zstd(out, 11, COLO_drop_decode);
}

/* What needs what we do not have, or holds what it should not. */
static void
test_zstd_bad(void)
{
	uint8_t out[4 * COLO_PAGE_SIZE], prefix[COLO_PAGE_SIZE];
	size_t n = compress(out, t.text, COLO_PAGE_SIZE, 1, true, true, NULL);

	out[n - 1] ^= 1; /* its own checksum */
	check_zstd(out, n, COLO_drop_decode);
	out[n - 1] ^= 1;
	for (size_t cut = 1; cut < n; cut += 7)
		check_zstd(out, n - cut, COLO_drop_decode);
	check_zstd(out, n + 1, COLO_drop_decode); /* something behind it */
	memcpy(prefix, t.page, COLO_PAGE_SIZE);
	n = compress(out, t.page, COLO_PAGE_SIZE, 3, false, true, prefix);
	CU_ASSERT_TRUE(n < 200); /* it copies from the prefix, which is not there */
	check_zstd(out, n, COLO_drop_decode);
	/* a frame that says it will be 2^60 bytes, and one that says 2 GiB of window */
	check_zstd("\x28\xb5\x2f\xfd\xe0\x00\x00\x00\x00\x00\x00\x00\x10\x01\x00\x00", 16,
		COLO_drop_decode);
	check_zstd("\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00", 9, COLO_drop_decode);
	/* 4096 zeros as a block of run length: legal, and not the page that the CRC is of */
	check_zstd("\x28\xb5\x2f\xfd\x60\x00\x0f\x03\x80\x00\x00", 11, COLO_drop_content_crc);
}

static void
test_zstd_random(void)
{
	uint8_t out[2 * COLO_PAGE_SIZE];
	size_t n = compress(out, t.text, COLO_PAGE_SIZE, 1, false, true, NULL);
	unsigned int wrong = 0;

	begin();
	for (unsigned int i = 0; i < 5000; i++) {
		uint8_t damaged[2 * COLO_PAGE_SIZE];

		memcpy(damaged, out, n);
		for (unsigned int k = 0; k <= i % 4; k++)
			damaged[rand() % n] ^= 1 + rand() % 255;
		t.packet.n_records = 0;
		rte_pktmbuf_reset(t.packet.frame.mbuf);
		add(COLO_RECORD_ZSTD, damaged, n, colo_crc32(t.text, COLO_PAGE_SIZE));
		if (colo_decode(t.r, &t.packet) &&
			memcmp(t.packet.record[0].contents, t.text, COLO_PAGE_SIZE) != 0)
			wrong++;
	}
	CU_ASSERT_EQUAL(wrong, 0);
	end();
}

static const struct ut_case cases[] = {
	{"raw", test_raw},
	{"as many as there may be", test_many},
	{"two segments", test_segments},
	{"CRC", test_crc},
	{"beyond the frame", test_beyond},
	{"zstd, every form", test_zstd_forms},
	{"zstd, what is no page", test_zstd_bad},
	{"zstd, damaged at random", test_zstd_random},
};

int
main(void)
{
	ut_eal_start(128);
	t.pool = rte_pktmbuf_pool_create("frames", 63, 0, 0, 32768, SOCKET_ID_ANY);
	if (t.pool == NULL)
		return 1;
	srand(1);
	for (unsigned int i = 0; i < COLO_PAGE_SIZE; i++) {
		t.page[i] = rand();
		t.text[i] = 'a' + rand() % 3;
	}
	return UT_RUN("decode", cases);
}
