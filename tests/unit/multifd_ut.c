/* SPDX-License-Identifier: BSD-3-Clause */
/* Multifd channels: recorded ones whole, with their main channel, cut off and damaged; limits. */
#include <string.h>

#include "colo_stream.h"
#include "multifd.h"
#include "ut.h"
#include "ut_stream.h"

#define DEVICE_SIZE (1u << 20)
#define CUT_MAX	    65536u
#define FLIP_MAX    4096u

static struct ut_image image;

static uint64_t seed; /* of the sizes in which bytes come; 0: as many as fit */

static size_t
chunk_size(void)
{
	static const size_t most[] = {1, 1500, 5000, 70000, 600000, 100};

	if (seed == 0)
		return SIZE_MAX;
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return 1 + (size_t)(seed >> 33) % most[(seed >> 20) % 6];
}

/* One channel and what it is fed from. */
struct channel {
	struct colo_multifd m;
	struct ut_stream in;
	size_t fed;
};

static struct colo_error err;

/* Read and parse until an event other than MORE, or all is fed. */
static enum colo_multifd_event
feed(struct channel *c, size_t length)
{
	for (;;) {
		enum colo_multifd_event event = colo_multifd_next(&c->m, &err);
		struct iovec iov[COLO_MULTIFD_IOV];
		size_t n = length - c->fed, most;
		unsigned int n_iov;

		if (event == COLO_MULTIFD_HELD)
			continue;
		if (event != COLO_MULTIFD_MORE || n == 0)
			return event;
		most = chunk_size();
		n_iov = colo_multifd_want(&c->m, iov);
		if (n_iov == 0 || n_iov > COLO_MULTIFD_IOV)
			abort();
		n = ut_scatter(iov, n_iov, c->in.bytes + c->fed, n < most ? n : most);
		colo_multifd_got(&c->m, n);
		c->fed += n;
	}
}

/* The same, SYNC released at once. */
static enum colo_multifd_event
feed_all(struct channel *c, size_t length)
{
	for (;;) {
		enum colo_multifd_event event = feed(c, length);

		if (event == COLO_MULTIFD_SYNC)
			colo_multifd_released(&c->m);
		if (event == COLO_MULTIFD_FAILED || event == COLO_MULTIFD_MORE)
			return event;
	}
}

/* A recorded migration: the main channel and all others. */
struct whole {
	struct colo_stream s;
	struct ut_record record;
	struct ut_stream in;
	struct colo_multifd_ids ids;
	struct channel channel[COLO_MAX_CHANNELS];
	uint8_t device[DEVICE_SIZE];
};

static void
whole_init(struct whole *w, const char *name, unsigned int n)
{
	memset(w, 0, sizeof(*w));
	w->record = ut_record_load(name);
	w->in = ut_stream_load(name, 0);
	w->ids.n = n;
	ut_image_reset(&image);
	image.fill = true;
	colo_stream_init(&w->s, &image.sink, w->device, DEVICE_SIZE);
	for (unsigned int i = 0; i < n; i++) {
		struct channel *c = &w->channel[i];

		c->in = ut_stream_load(name, i + 1);
		CU_ASSERT_TRUE(colo_multifd_begins(c->in.bytes));
		CU_ASSERT_FALSE(colo_multifd_begins(w->in.bytes));
		CU_ASSERT_EQUAL(colo_multifd_init(&c->m, &w->s.blocks, &image.sink, &err), 0);
		CU_ASSERT_EQUAL(feed(c, c->in.length), COLO_MULTIFD_INITIAL);
		CU_ASSERT_EQUAL(colo_multifd_claim(&w->ids, &c->m, &err), 0);
		CU_ASSERT_EQUAL(colo_multifd_claim(&w->ids, &c->m, &err), -1);
	}
	CU_ASSERT_EQUAL(w->ids.n_seen, n);
}

/* A flush: every channel has come to its SYNC, then all go on. */
static void
flush(struct whole *w)
{
	for (unsigned int i = 0; i < w->ids.n; i++) {
		struct channel *c = &w->channel[i];

		CU_ASSERT_EQUAL(feed(c, c->in.length), COLO_MULTIFD_SYNC);
		CU_ASSERT_EQUAL(colo_multifd_next(&c->m, &err), COLO_MULTIFD_SYNC);
	}
	for (unsigned int i = 0; i < w->ids.n; i++)
		colo_multifd_released(&w->channel[i].m);
}

static void
run_main(struct whole *w)
{
	size_t fed = 0;

	while (fed < w->in.length) {
		enum colo_stream_event event = colo_stream_next(&w->s, &err);
		struct iovec iov[COLO_STREAM_IOV];
		size_t until = w->in.length, n_iov;

		CU_ASSERT_NOT_EQUAL_FATAL(event, COLO_STREAM_FAILED);
		if (event == COLO_STREAM_FLUSH)
			flush(w);
		if (event >= COLO_STREAM_FLUSH)
			colo_stream_answered(&w->s);
		if (event != COLO_STREAM_MORE)
			continue;
		for (unsigned int i = w->record.n_answered; i-- > 0;)
			if (w->record.answered[i] > fed)
				until = w->record.answered[i];
		n_iov = colo_stream_want(&w->s, iov);
		until = ut_scatter(iov, (unsigned int)n_iov, w->in.bytes + fed, until - fed);
		colo_stream_got(&w->s, until);
		fed += until;
	}
	CU_ASSERT_EQUAL(colo_stream_next(&w->s, &err), COLO_STREAM_CHECKPOINT);
}

static void
decode_whole(const char *name, unsigned int n, enum colo_compression compression,
	unsigned int hold_every)
{
	static struct whole w;

	whole_init(&w, name, n);
	image.hold_every = hold_every;
	run_main(&w);
	for (unsigned int i = 0; i < n; i++) {
		struct channel *c = &w.channel[i];

		CU_ASSERT_EQUAL(c->fed, c->in.length);
		CU_ASSERT_EQUAL(c->m.compression, compression);
		CU_ASSERT_EQUAL(c->m.syncs, w.record.flush);
		CU_ASSERT_EQUAL(colo_multifd_closed(&c->m, &err), 0);
		colo_multifd_fini(&c->m);
		colo_multifd_fini(&c->m);
		free(c->in.bytes);
	}
	CU_ASSERT_EQUAL(w.s.checkpoints, 3);
	CU_ASSERT_EQUAL(image.placed, w.record.normal);
	CU_ASSERT_EQUAL(image.zeros, w.record.zero);
	CU_ASSERT_EQUAL(ut_image_crc32(&image, 0), w.record.crc32);
	CU_ASSERT_EQUAL(image.held > 0, hold_every > 0);
	free(w.in.bytes);
}

static void
decode_recorded(const char *name, unsigned int n, enum colo_compression compression)
{
	for (unsigned int i = 0; i < 8; i++) {
		seed = i;
		decode_whole(name, n, compression, i % 3 * 2);
	}
}

static void
test_none(void)
{
	decode_recorded("multifd", 4, COLO_COMPRESSION_NONE);
}

static void
test_zstd(void)
{
	decode_recorded("zstd", 4, COLO_COMPRESSION_ZSTD);
}

static void
test_zlib(void)
{
	decode_recorded("zlib", 1, COLO_COMPRESSION_ZLIB);
}

/* Blocks as the recorded machine lists them, so that a channel can be fed alone. */
static struct colo_stream_blocks blocks;

static void
add_block(const char *name, uint64_t size)
{
	struct colo_stream_block *b = &blocks.block[blocks.n++];

	memset(b, 0, sizeof(*b));
	memcpy(b->name, name, strlen(name));
	b->size = size;
}

static void
make_blocks(void)
{
	blocks.n = 0;
	add_block("pc.ram", 16 << 20);
	add_block("/rom@etc/acpi/tables", 0x20000);
	add_block("pc.rom", 0x20000);
	add_block("pc.bios", 0x10000);
	add_block("/rom@etc/table-loader", 0x1000);
	add_block("/rom@etc/acpi/rsdp", 0x1000);
	ut_image_reset(&image);
	CU_ASSERT_EQUAL(ut_image_blocks(&image, &blocks, &err), 0);
}

/* The connection of these with the most bytes. */
static struct ut_stream
largest(const char *name, unsigned int n)
{
	struct ut_stream best = ut_stream_load(name, 1);

	for (unsigned int i = 2; i <= n; i++) {
		struct ut_stream other = ut_stream_load(name, i);

		if (other.length > best.length) {
			free(best.bytes);
			best = other;
		} else {
			free(other.bytes);
		}
	}
	return best;
}

static struct channel one;

static enum colo_multifd_event
feed_one(size_t length, uint64_t with_seed)
{
	seed = with_seed;
	one.fed = 0;
	if (colo_multifd_init(&one.m, &blocks, &image.sink, &err) != 0)
		abort();
	return feed_all(&one, length);
}

/* Begun anew for each length: it wants more, and a close is fine between packets only. */
static void
cut_off(const char *name, unsigned int n)
{
	unsigned int wrong = 0, between = 0;

	one.in = largest(name, n);
	CU_ASSERT_FATAL(one.in.length >= CUT_MAX);
	make_blocks();
	for (size_t length = 0; length <= CUT_MAX; length++) {
		wrong += feed_one(length, length % 5 == 0 ? 0 : length) != COLO_MULTIFD_MORE;
		between += colo_multifd_closed(&one.m, &err) == 0;
		wrong += between > one.m.packets + 1 || between < one.m.packets;
		colo_multifd_fini(&one.m);
	}
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT(between >= 2);
	free(one.in.bytes);
}

/* The same, but one that goes on from byte to byte. */
static void
creep(const char *name, unsigned int n)
{
	static struct colo_multifd copy;
	unsigned int wrong = 0, between = 0;

	one.in = largest(name, n);
	make_blocks();
	feed_one(0, 0);
	for (size_t length = 0; length <= CUT_MAX; length++) {
		wrong += feed_all(&one, length) != COLO_MULTIFD_MORE;
		copy = one.m; /* an error stays */
		between += colo_multifd_closed(&copy, &err) == 0;
		wrong += between > one.m.packets + 1 || between < one.m.packets;
	}
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT(between >= 2);
	colo_multifd_fini(&one.m);
	free(one.in.bytes);
}

static void
test_cut_off(void)
{
	cut_off("multifd", 4);
	creep("multifd", 4);
	creep("zstd", 4);
	creep("zlib", 1);
}

static void
flip(const char *name, unsigned int n, uint8_t bits)
{
	unsigned int wrong = 0, failed = 0;

	one.in = largest(name, n);
	make_blocks();
	for (size_t at = 0; at < FLIP_MAX; at++) {
		one.in.bytes[at] ^= bits;
		if (feed_one(20000, at) == COLO_MULTIFD_FAILED) {
			struct colo_error again;

			failed++;
			wrong += colo_multifd_next(&one.m, &again) != COLO_MULTIFD_FAILED ||
				 strcmp(again.text, err.text) != 0 || again.text[0] == '\0';
			wrong += colo_multifd_closed(&one.m, &err) != -1;
		}
		one.in.bytes[at] ^= bits;
		colo_multifd_fini(&one.m);
	}
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT(failed > 20);
	free(one.in.bytes);
}

static void
test_flipped(void)
{
	flip("multifd", 4, 0xff);
	flip("multifd", 4, 0x01);
	flip("zstd", 4, 0xff);
	flip("zstd", 4, 0x08);
	flip("zlib", 1, 0xff);
	flip("zlib", 1, 0x08);
}

/* A channel made by hand: initial packet and what is put behind it. */
static uint8_t made[4 << 20];
static size_t n_made;
static uint64_t number;

static void
put(const void *bytes, size_t n)
{
	memcpy(made + n_made, bytes, n);
	n_made += n;
}

static void
set_be(size_t at, uint64_t v, unsigned int size)
{
	while (size-- > 0)
		made[at++] = (uint8_t)(v >> (8 * size));
}

static void
put_initial(uint8_t id)
{
	n_made = COLO_MULTIFD_INITIAL_SIZE;
	memset(made, 0, n_made);
	set_be(0, COLO_MULTIFD_MAGIC, 4);
	set_be(4, 1, 4);
	made[24] = id;
	number = 0;
}

/* A header of pc.bios, offsets 0, 4096, ... @return where it is. */
static size_t
put_header(uint32_t flags, uint32_t normal, uint32_t zero, uint32_t size)
{
	size_t at = n_made;

	memset(made + at, 0, COLO_MULTIFD_HEADER_SIZE);
	set_be(at, COLO_MULTIFD_MAGIC, 4);
	set_be(at + 4, 1, 4);
	set_be(at + 8, flags, 4);
	set_be(at + 12, flags & 1 ? 0 : COLO_MULTIFD_PAGES, 4);
	set_be(at + 16, normal, 4);
	set_be(at + 20, size, 4);
	set_be(at + 24, ++number, 8);
	set_be(at + 32, zero, 4);
	if (!(flags & 1))
		memcpy(made + at + 64, "pc.bios", 7);
	for (unsigned int i = 0; i < normal + zero && i < COLO_MULTIFD_PAGES; i++)
		set_be(at + 320 + i * 8, (i % 16) * 4096, 8);
	n_made += COLO_MULTIFD_HEADER_SIZE;
	return at;
}

static void
put_pages(unsigned int n)
{
	memset(made + n_made, 'p', n * COLO_PAGE_SIZE);
	n_made += n * COLO_PAGE_SIZE;
}

static enum colo_multifd_event
feed_made(void)
{
	enum colo_multifd_event event;

	one.in.bytes = malloc(n_made);
	memcpy(one.in.bytes, made, n_made);
	make_blocks();
	event = feed_one(n_made, 9);
	free(one.in.bytes);
	return event;
}

static void
accepts(void)
{
	CU_ASSERT_EQUAL(feed_made(), COLO_MULTIFD_MORE);
	CU_ASSERT_EQUAL(one.fed, n_made);
	colo_multifd_fini(&one.m);
}

static void
refuses(const char *words)
{
	CU_ASSERT_EQUAL(feed_made(), COLO_MULTIFD_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, words));
	if (strstr(err.text, words) == NULL)
		printf("\n    \"%s\" instead of \"%s\"\n", err.text, words);
	colo_multifd_fini(&one.m);
}

static void
test_initial(void)
{
	struct colo_multifd_ids ids = {.n = 4};
	struct colo_multifd m = {.id = 4};

	put_initial(3);
	accepts();
	made[3] ^= 1;
	refuses("magic 11223345");
	made[3] ^= 1;
	made[7] = 2;
	refuses("version 2");
	CU_ASSERT_EQUAL(colo_multifd_claim(&ids, &m, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "ids below 4"));
	m.id = 3;
	CU_ASSERT_EQUAL(colo_multifd_claim(&ids, &m, &err), 0);
	CU_ASSERT_EQUAL(colo_multifd_claim(&ids, &m, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "twice"));
	m.id = 0;
	m.uuid[15] = 1;
	CU_ASSERT_EQUAL(colo_multifd_claim(&ids, &m, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "uuid"));
	CU_ASSERT_EQUAL(ids.n_seen, 1);
}

static void
test_magic_and_number(void)
{
	size_t at;

	put_initial(0);
	at = put_header(1, 0, 0, 0);
	accepts();
	made[at] ^= 1;
	refuses("magic 10223344");
	made[at] ^= 1;
	made[at + 7] = 0;
	refuses("version 0");
	made[at + 7] = 1;
	number--;
	put_header(1, 0, 0, 0);
	refuses("packet number 1 after 1");
	n_made -= COLO_MULTIFD_HEADER_SIZE;
	put_header(1, 0, 0, 0);
	accepts();
}

static void
test_sync(void)
{
	static const uint32_t bad[][3] = {{1, 0, 4096}, {0, 1, 0}, {0, 0, 1}};

	for (unsigned int i = 0; i < 3; i++) {
		put_initial(0);
		put_header(1, bad[i][0], bad[i][1], bad[i][2]);
		refuses("a SYNC packet of");
	}
}

static void
test_flags(void)
{
	static const uint32_t bad[] = {
		0x3, 0x5, 0x6, 0x8, 0x10, 0x20, 0x40, 0x41, 0x80, 0x80000000};

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		put_initial(0);
		put_header(bad[i], 0, 1, 0);
		refuses("flags");
	}
	for (uint32_t flags = 0; flags <= 4; flags += 2) {
		put_initial(0);
		put_header(flags, 0, 1, 0);
		put_header(1, 0, 0, 0);
		put_header(flags, 0, 1, 0);
		accepts();
		put_header(flags == 0 ? 2 : 0, 0, 1, 0);
		refuses("cannot change");
	}
}

static void
test_counts(void)
{
	size_t at;

	put_initial(0);
	put_header(0, 128, 0, 128 * 4096);
	put_pages(128);
	put_header(0, 0, 128, 0);
	put_header(0, 64, 64, 64 * 4096);
	put_pages(64);
	accepts();
	put_header(0, 0, 0, 0);
	refuses("1 to pages_alloc");
	put_initial(0);
	put_header(0, 65, 64, 65 * 4096);
	refuses("1 to pages_alloc");
	put_initial(0);
	at = put_header(0, 0, 3, 0);
	set_be(at + 12, 3, 4);
	accepts();
	set_be(at + 12, 2, 4);
	refuses("(2) together");
	set_be(at + 12, 129, 4);
	refuses("pages_alloc 129");
	put_initial(0);
	put_header(0, 0xffffffff, 1, 0);
	refuses("1 to pages_alloc");
}

static void
test_sizes(void)
{
	static const uint32_t bad[] = {0, 4096, 8191, 8193, 0xffffffff};

	for (unsigned int i = 0; i < 5; i++) {
		put_initial(0);
		put_header(0, 2, 0, bad[i]);
		refuses("8192 to 8192 is");
	}
	for (uint32_t flags = 2; flags <= 4; flags += 2) {
		put_initial(0);
		put_header(flags, 2, 0, 0);
		refuses("1 to 16384 is");
		put_initial(0);
		put_header(flags, 2, 0, 1);
		accepts();
		put_initial(0);
		put_header(flags, 2, 0, 16384);
		accepts();
		put_initial(0);
		put_header(flags, 2, 0, 16385);
		refuses("1 to 16384 is");
		put_initial(0);
		put_header(flags, 0, 2, 1);
		refuses("0 to 0 is");
	}
}

static void
test_blocks(void)
{
	size_t at;

	put_initial(0);
	at = put_header(0, 0, 1, 0);
	memcpy(made + at + 64, "pc.bio\0", 7);
	refuses("block pc.bio are");
	memcpy(made + at + 64, "pc.b\nos", 7);
	refuses("block pc.b?os are");
	memset(made + at + 64, 'x', 63);
	refuses("xxx are not accepted");
	memset(made + at + 64, 'x', 64);
	refuses("more than 63 bytes");
	memset(made + at + 64, 'x', 256);
	refuses("more than 63 bytes");
	memset(made + at + 64, 0, 256);
	refuses("block  are");
}

static void
test_no_blocks(void)
{
	struct colo_stream_blocks none = {0};

	put_initial(0);
	put_header(1, 0, 0, 0);
	put_header(0, 0, 1, 0);
	one.in.bytes = made;
	one.fed = 0;
	CU_ASSERT_EQUAL(colo_multifd_init(&one.m, &none, &image.sink, &err), 0);
	CU_ASSERT_EQUAL(feed_all(&one, n_made), COLO_MULTIFD_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "before the main channel's list"));
	colo_multifd_fini(&one.m);
}

static void
test_offsets(void)
{
	static const uint64_t bad[] = {1, 4095, 4097, 0x10000, 0x10001, 0x11000, 1ull << 63};

	for (unsigned int i = 0; i < 2 * sizeof(bad) / sizeof(bad[0]); i++) {
		size_t at;

		put_initial(0);
		at = put_header(0, i % 2, 2 - i % 2, i % 2 * 4096);
		put_pages(i % 2);
		set_be(at + 320 + 8 * (i % 2), 0xf000, 8);
		accepts();
		set_be(at + 320 + 8 * (i % 2), bad[i / 2], 8);
		refuses("of block pc.bios is not");
	}
}

/* What QEMU does: one stream, flushed at the end of every packet. */
struct packer {
	z_stream zlib;
	ZSTD_CStream *zstd;
	bool is_zlib;
};

static void
packer_init(struct packer *p, bool is_zlib, int window_log)
{
	*p = (struct packer){.is_zlib = is_zlib, .zstd = ZSTD_createCStream()};
	ZSTD_CCtx_setParameter(p->zstd, ZSTD_c_windowLog, window_log);
	deflateInit(&p->zlib, 1);
}

static void
packer_fini(struct packer *p)
{
	deflateEnd(&p->zlib);
	ZSTD_freeCStream(p->zstd);
}

/* @return bytes written to @p out. */
static size_t
pack(struct packer *p, const uint8_t *bytes, size_t n, uint8_t *out, size_t size, bool end)
{
	ZSTD_inBuffer from = {bytes, n, 0};
	ZSTD_outBuffer to = {out, size, 0};

	if (!p->is_zlib) {
		ZSTD_compressStream2(p->zstd, &to, &from, end ? ZSTD_e_end : ZSTD_e_flush);
		return to.pos;
	}
	p->zlib.next_in = (uint8_t *)(uintptr_t)bytes;
	p->zlib.avail_in = (uInt)n;
	p->zlib.next_out = out;
	p->zlib.avail_out = (uInt)size;
	deflate(&p->zlib, end ? Z_FINISH : Z_SYNC_FLUSH);
	return size - p->zlib.avail_out;
}

/* A packet that says @p says pages and holds @p bytes bytes. */
static void
put_packed(struct packer *p, unsigned int says, size_t bytes, bool end)
{
	static uint8_t content[COLO_MULTIFD_PAGES * COLO_PAGE_SIZE + 1];
	size_t at = put_header(p->is_zlib ? 2 : 4, says, 0, 0);
	size_t n;

	for (size_t i = 0; i < sizeof(content); i++)
		content[i] = (uint8_t)(i * i >> 8 ^ i >> 9);
	n = pack(p, content, bytes, made + n_made, sizeof(made) - n_made, end);
	n_made += n;
	set_be(at + 20, n, 4);
}

static void
packed(bool is_zlib)
{
	static const int more[] = {-4096, -1, 1, 4096};
	struct packer p;

	for (unsigned int i = 0; i < 5; i++) {
		packer_init(&p, is_zlib, 19);
		put_initial(0);
		put_packed(&p, 16, 16 * 4096, false);
		put_packed(&p, 1, 4096, false);
		put_header(1, 0, 0, 0);
		if (i < 4)
			put_packed(&p, 3, (size_t)(3 * 4096 + more[i]), false);
		else
			put_packed(&p, 3, 3 * 4096, false);
		if (i == 4)
			accepts();
		else
			refuses(more[i] < 0 ? "pages were compressed where 3"
					    : "more bytes than 3");
		packer_fini(&p);
	}
}

static void
test_packed(void)
{
	packed(true);
	packed(false);
}

/* Pages come out as they went in, also when the last one is followed by nothing for long. */
static void
test_packed_content(void)
{
	for (unsigned int is_zlib = 0; is_zlib < 2; is_zlib++) {
		struct packer p;
		unsigned int wrong = 0;

		packer_init(&p, is_zlib, 19);
		put_initial(0);
		put_packed(&p, 16, 16 * 4096, false);
		CU_ASSERT_EQUAL(feed_made(), COLO_MULTIFD_MORE);
		CU_ASSERT_EQUAL(image.placed, 16);
		for (size_t i = 0; i < 65536; i++)
			wrong += image.memory[3][i] != (uint8_t)(i * i >> 8 ^ i >> 9);
		CU_ASSERT_EQUAL(wrong, 0);
		for (unsigned int i = 0; i < 100; i++) /* nothing was read, is all the same */
			CU_ASSERT_EQUAL(colo_multifd_next(&one.m, &err), COLO_MULTIFD_MORE);
		colo_multifd_fini(&one.m);
		packer_fini(&p);
	}
}

/* A stream that stops in the middle of a page can be asked again and again. */
static void
test_packed_waits(void)
{
	struct packer p;

	packer_init(&p, false, 19);
	put_initial(0);
	put_packed(&p, 16, 16 * 4096, false);
	n_made -= 100;
	CU_ASSERT_EQUAL(feed_made(), COLO_MULTIFD_MORE);
	for (unsigned int i = 0; i < 100; i++)
		CU_ASSERT_EQUAL(colo_multifd_next(&one.m, &err), COLO_MULTIFD_MORE);
	CU_ASSERT_EQUAL(colo_multifd_closed(&one.m, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "in the middle"));
	colo_multifd_fini(&one.m);
	packer_fini(&p);
}

static void
test_packed_damage(void)
{
	struct packer p;

	packer_init(&p, true, 19);
	put_initial(0);
	put_packed(&p, 2, 2 * 4096, true);
	refuses("the stream ends");
	packer_fini(&p);
	put_initial(0);
	put_header(2, 1, 0, 8);
	put("nonsense", 8);
	refuses("zlib: incorrect header check");
	put_initial(0);
	put_header(4, 1, 0, 8);
	put("nonsense", 8);
	refuses("zstd: Unknown frame descriptor");
}

static void
test_window(void)
{
	for (int log = COLO_DECODER_WINDOW_LOG - 1; log <= COLO_DECODER_WINDOW_LOG + 1; log++) {
		struct packer p;

		packer_init(&p, false, log);
		put_initial(0);
		put_packed(&p, 2, 2 * 4096, false);
		if (log <= COLO_DECODER_WINDOW_LOG)
			accepts();
		else
			refuses("multifd-zstd-level up to 19");
		packer_fini(&p);
	}
}

/* Neighbouring pages are read together, and the next header with them, in one go. */
static void
test_direct(void)
{
	struct iovec iov[COLO_MULTIFD_IOV];
	size_t at;

	put_initial(0);
	at = put_header(0, 4, 0, 4 * 4096);
	set_be(at + 320 + 3 * 8, 0x8000, 8);
	put_pages(4);
	n_made -= 4 * 4096 - 5000;
	CU_ASSERT_EQUAL(feed_made(), COLO_MULTIFD_MORE);
	CU_ASSERT_EQUAL(image.placed, 1);
	CU_ASSERT_EQUAL(colo_multifd_want(&one.m, iov), 3);
	CU_ASSERT_PTR_EQUAL(iov[0].iov_base, image.memory[3] + 5000);
	CU_ASSERT_EQUAL(iov[0].iov_len, 3 * 4096 - 5000);
	CU_ASSERT_PTR_EQUAL(iov[1].iov_base, image.memory[3] + 0x8000);
	CU_ASSERT_EQUAL(iov[1].iov_len, 4096);
	CU_ASSERT_EQUAL(iov[2].iov_len, COLO_MULTIFD_HEADER_SIZE);
	colo_multifd_got(&one.m, 2 * 4096);
	CU_ASSERT_EQUAL(colo_multifd_next(&one.m, &err), COLO_MULTIFD_MORE);
	CU_ASSERT_EQUAL(image.placed, 3);
	colo_multifd_got(&one.m, 4 * 4096 - 5000 - 2 * 4096 + 7);
	CU_ASSERT_EQUAL(colo_multifd_next(&one.m, &err), COLO_MULTIFD_MORE);
	CU_ASSERT_EQUAL(image.placed, 4);
	CU_ASSERT_EQUAL(colo_multifd_want(&one.m, iov), 1);
	CU_ASSERT_EQUAL(iov[0].iov_len, COLO_MULTIFD_HEADER_SIZE - 7);
	CU_ASSERT_EQUAL(colo_multifd_closed(&one.m, &err), -1);
	colo_multifd_fini(&one.m);
}

/* As many places as a packet can have, none beside another. */
static void
test_scattered(void)
{
	struct iovec iov[COLO_MULTIFD_IOV];
	size_t at;

	put_initial(0);
	at = put_header(0, 128, 0, 128 * 4096);
	memcpy(made + at + 64, "pc.ram\0", 7);
	for (unsigned int i = 0; i < 128; i++)
		set_be(at + 320 + i * 8, (uint64_t)i * 8192, 8);
	CU_ASSERT_EQUAL(feed_made(), COLO_MULTIFD_MORE);
	CU_ASSERT_EQUAL(colo_multifd_want(&one.m, iov), COLO_MULTIFD_IOV);
	colo_multifd_fini(&one.m);
}

static const struct ut_case cases[] = {
	{"recorded channels", test_none},
	{"recorded channels, zstd", test_zstd},
	{"a recorded channel, zlib", test_zlib},
	{"cut off at each of 65536 bytes", test_cut_off},
	{"each of 4096 bytes flipped", test_flipped},
	{"initial packets", test_initial},
	{"magic, version, packet number", test_magic_and_number},
	{"SYNC packets", test_sync},
	{"flags", test_flags},
	{"counts of pages", test_counts},
	{"next size", test_sizes},
	{"block names", test_blocks},
	{"pages before the list of blocks", test_no_blocks},
	{"offsets", test_offsets},
	{"compressed pages, too many or few", test_packed},
	{"what was compressed", test_packed_content},
	{"compressed pages that wait", test_packed_waits},
	{"damaged compressed pages", test_packed_damage},
	{"zstd's window", test_window},
	{"pages go straight to their place", test_direct},
	{"scattered pages", test_scattered},
};

int
main(void)
{
	int failed = UT_RUN("multifd", cases);

	ut_image_free(&image);
	return failed;
}
