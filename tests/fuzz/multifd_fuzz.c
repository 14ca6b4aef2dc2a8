/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One multifd channel of a COLO primary. The input: u8 options, u8 bytes of a read (0: as many as
 * wanted), then pieces of the stream: u8 kind and
 *
 *     bytes   u16 length, bytes as they are
 *     initial u8 id
 *     sync    u8 spoil
 *     pages   u8 normal, u8 zero, u8 block, a page number (u8) each, u8 how each is filled,
 *             u8 spoil: made into a packet, its pages compressed as options say
 *
 * Checked: pages lie in their blocks (memory of exactly their size); a page that was told as placed
 * holds what was sent; a channel that failed stays so, with one sentence.
 */
#include "fuzz_stream.h"
#include "multifd.h"

enum option {
	OPTION_COMPRESSION = 0x03, /* enum colo_compression */
	OPTION_HOLD = 0x04,	   /* the sink says "not now" each third time */
	OPTION_NO_BLOCKS = 0x08,   /* the main channel has not listed them yet */
};

enum kind {
	KIND_BYTES,
	KIND_INITIAL,
	KIND_SYNC,
	KIND_PAGES,
	KINDS,
};

/* What is wrong with a packet that is made. */
enum spoil {
	SPOIL_SIZE_MORE = 0x01,
	SPOIL_SIZE_LESS = 0x02,
	SPOIL_FLAGS = 0x04,
	SPOIL_NUMBER = 0x08,
	SPOIL_BODY = 0x10,
	SPOIL_ALLOC = 0x20,
};

#define PACKET_MAX (COLO_MULTIFD_HEADER_SIZE + COLO_MULTIFD_PAGES * 2 * COLO_PAGE_SIZE)
#define TURNS_MAX  100000u
#define READS_MAX  1500u /* of few bytes; then as many as are wanted */

static struct {
	struct colo_multifd m;
	struct colo_stream_blocks blocks;
	struct ut_image image;
	struct colo_multifd_ids ids;
	enum colo_compression compression;
	z_stream zlib;
	ZSTD_CStream *zstd;
	uint64_t number; /* of packets */
	size_t part;	 /* bytes of a read at most */
	unsigned int reads;
	bool failed;
	bool begun; /* the initial packet was fed */
	bool whole; /* nothing was fed but whole packets that nothing is wrong with */
	uint8_t packet[PACKET_MAX];
	uint8_t pages[COLO_MULTIFD_PAGES * COLO_PAGE_SIZE];
} t;

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	FUZZ_CHECK(deflateInit2(&t.zlib, 1, Z_DEFLATED, 12, 5, Z_DEFAULT_STRATEGY) == Z_OK);
	t.zstd = ZSTD_createCStream();
	FUZZ_CHECK(t.zstd != NULL);
	return 0;
}

static void
begin(uint8_t options, uint8_t part)
{
	static const struct colo_stream_blocks listed = {
		.n = 2, .block = {{"pc.ram", 12 * COLO_PAGE_SIZE}, {"vga", COLO_PAGE_SIZE}}};
	struct colo_error err = {""};

	t.compression = (options & OPTION_COMPRESSION) % 3;
	t.part = part != 0 ? part : SIZE_MAX;
	t.number = 0;
	t.reads = 0;
	t.failed = false;
	t.whole = true;
	t.begun = false;
	t.ids = (struct colo_multifd_ids){.n = 4};
	deflateReset(&t.zlib);
	ZSTD_CCtx_reset(t.zstd, ZSTD_reset_session_only);
	fuzz_image_init(&t.image, options & OPTION_HOLD ? 3 : 0);
	FUZZ_CHECK(fuzz_image_blocks(&t.image, &listed, &err) == 0);
	t.blocks = listed;
	if (options & OPTION_NO_BLOCKS)
		t.blocks.n = 0;
	FUZZ_CHECK(colo_multifd_init(&t.m, &t.blocks, &t.image.sink, &err) == 0);
}

static void
end(void)
{
	colo_multifd_fini(&t.m);
	colo_multifd_fini(&t.m);
	ut_image_free(&t.image);
}

/* ---- the channel ---- */

static void
parse(void)
{
	struct colo_error err = {""};

	for (unsigned int turn = 0; turn < TURNS_MAX; turn++) {
		switch (colo_multifd_next(&t.m, &err)) {
		case COLO_MULTIFD_FAILED:
			t.failed = true;
			fuzz_check_sentence(err.text, sizeof(err.text));
			return;
		case COLO_MULTIFD_MORE:
			return;
		case COLO_MULTIFD_INITIAL:
			if (colo_multifd_claim(&t.ids, &t.m, &err) != 0)
				fuzz_check_sentence(err.text, sizeof(err.text));
			break;
		case COLO_MULTIFD_SYNC:
			colo_multifd_released(&t.m);
			break;
		case COLO_MULTIFD_HELD:
			break;
		}
	}
	FUZZ_CHECK(!"a parser that does not end");
}

static void
feed(const uint8_t *bytes, size_t n)
{
	parse();
	while (n > 0 && !t.failed) {
		struct iovec iov[COLO_MULTIFD_IOV];
		unsigned int n_iov = colo_multifd_want(&t.m, iov);
		size_t done;

		if (t.reads++ == READS_MAX)
			t.part = SIZE_MAX;
		FUZZ_CHECK(n_iov > 0 && n_iov <= COLO_MULTIFD_IOV);
		done = ut_scatter(iov, n_iov, bytes, n < t.part ? n : t.part);
		FUZZ_CHECK(done > 0);
		colo_multifd_got(&t.m, done);
		bytes += done;
		n -= done;
		parse();
	}
}

/* ---- packets that are made ---- */

static void
put_be(size_t at, uint64_t value, unsigned int bytes)
{
	for (unsigned int i = 0; i < bytes; i++)
		t.packet[at + i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
}

static void
put_header(uint32_t flags, uint32_t normal, uint32_t zero, uint32_t size, uint8_t spoil)
{
	static const uint32_t other[] = {0x1, 0x2, 0x4, 0x8, 0x6};

	memset(t.packet, 0, COLO_MULTIFD_HEADER_SIZE);
	if (spoil & SPOIL_FLAGS)
		flags = other[(spoil >> 6) + (flags == 0)];
	put_be(0, COLO_MULTIFD_MAGIC, 4);
	put_be(4, 1, 4);
	put_be(8, flags, 4);
	put_be(12, spoil & SPOIL_ALLOC ? normal + zero - 1 : COLO_MULTIFD_PAGES, 4);
	put_be(16, normal, 4);
	put_be(20, size + (spoil & SPOIL_SIZE_MORE ? 1 : 0) - (spoil & SPOIL_SIZE_LESS ? 1 : 0), 4);
	put_be(24, spoil & SPOIL_NUMBER ? t.number : ++t.number, 8);
	put_be(32, zero, 4);
}

/* @return bytes at @p out of @p n pages, as QEMU's multifd compresses them. */
static size_t
compress_pages(uint32_t n, uint8_t *out, size_t room)
{
	ZSTD_inBuffer from = {.src = t.pages, .size = n * (size_t)COLO_PAGE_SIZE};
	ZSTD_outBuffer to = {.dst = out, .size = room};

	if (t.compression == COLO_COMPRESSION_ZSTD) {
		FUZZ_CHECK(ZSTD_compressStream2(t.zstd, &to, &from, ZSTD_e_flush) == 0);
		return to.pos;
	}
	t.zlib.next_in = t.pages;
	t.zlib.avail_in = (uInt)from.size;
	t.zlib.next_out = out;
	t.zlib.avail_out = (uInt)room;
	FUZZ_CHECK(deflate(&t.zlib, Z_SYNC_FLUSH) == Z_OK && t.zlib.avail_in == 0);
	return room - t.zlib.avail_out;
}

static size_t
put_pages(uint32_t n)
{
	uint8_t *out = t.packet + COLO_MULTIFD_HEADER_SIZE;

	if (n == 0)
		return 0;
	if (t.compression != COLO_COMPRESSION_NONE)
		return compress_pages(n, out, sizeof(t.packet) - COLO_MULTIFD_HEADER_SIZE);
	memcpy(out, t.pages, n * (size_t)COLO_PAGE_SIZE);
	return n * (size_t)COLO_PAGE_SIZE;
}

/* Each page's contents: one byte, or a pattern that does not compress well. */
static void
fill_pages(struct fuzz_input *in, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		uint8_t *page = t.pages + i * (size_t)COLO_PAGE_SIZE, how = fuzz_u8(in);

		memset(page, how, COLO_PAGE_SIZE);
		for (uint32_t k = 0; how & 1 && k < COLO_PAGE_SIZE; k++)
			page[k] = (uint8_t)((k * 2654435761u + how) >> 13);
	}
}

/* After a packet that nothing is wrong with: the last page sent for a number is there. */
static void
check_pages(const uint8_t *numbers, uint32_t normal, uint32_t zero, unsigned int block)
{
	for (uint32_t i = 0; i < normal; i++) {
		bool again = false;

		for (uint32_t k = i + 1; k < normal + zero; k++)
			again |= numbers[k] == numbers[i];
		FUZZ_CHECK(again ||
			   memcmp(t.image.memory[block] + numbers[i] * (size_t)COLO_PAGE_SIZE,
				   t.pages + i * (size_t)COLO_PAGE_SIZE, COLO_PAGE_SIZE) == 0);
	}
}

static void
feed_pages(struct fuzz_input *in)
{
	static const uint32_t flags[] = {0, 0x2, 0x4};
	static const char *const names[] = {"pc.ram", "vga", "none"};
	uint32_t normal = fuzz_u8(in) % (COLO_MULTIFD_PAGES + 2);
	uint32_t zero = fuzz_u8(in) % (COLO_MULTIFD_PAGES + 2 - normal);
	unsigned int block = fuzz_u8(in) % 3;
	uint8_t numbers[COLO_MULTIFD_PAGES + 2] = {0}, spoil;
	size_t size;
	bool wrong, good = t.blocks.n != 0 && block < 2 && normal + zero > 0;

	for (uint32_t i = 0; i < normal + zero; i++) {
		numbers[i] = fuzz_u8(in);
		good &= block < 2 && numbers[i] < (block == 0 ? 12 : 1);
	}
	if (normal + zero > COLO_MULTIFD_PAGES)
		return; /* a header has no room for them: KIND_BYTES can say so */
	fill_pages(in, normal);
	spoil = fuzz_u8(in);
	size = put_pages(normal);
	put_header(flags[t.compression], normal, zero, (uint32_t)size, spoil);
	strcpy((char *)t.packet + 64, names[block]);
	for (uint32_t i = 0; i < normal + zero; i++)
		put_be(320 + i * 8, (uint64_t)numbers[i] << COLO_PAGE_SHIFT, 8);
	if ((spoil & SPOIL_BODY) && size > 0)
		t.packet[COLO_MULTIFD_HEADER_SIZE + fuzz_u16(in) % size] ^= 1;
	t.whole &= t.begun;
	wrong = t.whole && t.m.numbered && (spoil & (SPOIL_NUMBER | SPOIL_ALLOC));
	good &= t.whole && spoil == 0 && t.ids.n_seen == 1;
	t.whole &= spoil == 0;
	feed(t.packet, COLO_MULTIFD_HEADER_SIZE + size);
	FUZZ_CHECK(!wrong || t.failed);
	if (good) {
		FUZZ_CHECK(!t.failed);
		check_pages(numbers, normal, zero, block);
	}
}

static void
feed_piece(struct fuzz_input *in)
{
	const uint8_t *bytes;
	uint8_t spoil;
	size_t n;

	switch (fuzz_u8(in) % KINDS) {
	case KIND_BYTES:
		t.whole = false;
		n = fuzz_u16(in);
		bytes = fuzz_bytes(in, &n);
		feed(bytes, n);
		break;
	case KIND_INITIAL:
		memset(t.packet, 0, COLO_MULTIFD_INITIAL_SIZE);
		put_be(0, COLO_MULTIFD_MAGIC, 4);
		put_be(4, 1, 4);
		t.packet[24] = fuzz_u8(in);
		t.whole &= !t.begun;
		t.begun = true;
		FUZZ_CHECK(colo_multifd_begins(t.packet));
		feed(t.packet, COLO_MULTIFD_INITIAL_SIZE);
		break;
	case KIND_SYNC:
		spoil = fuzz_u8(in);
		t.whole &= spoil == 0 && t.begun;
		put_header(0x1, 0, 0, 0, spoil);
		feed(t.packet, COLO_MULTIFD_HEADER_SIZE);
		break;
	case KIND_PAGES:
		feed_pages(in);
		break;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	uint8_t options = fuzz_u8(&in), part = fuzz_u8(&in);
	struct colo_error err = {""}, again = {""};

	begin(options, part);
	while (in.left > 0 && !t.failed)
		feed_piece(&in);
	if (colo_multifd_closed(&t.m, &err) != 0)
		fuzz_check_sentence(err.text, sizeof(err.text));
	else
		FUZZ_CHECK(!t.failed);
	if (t.failed)
		FUZZ_CHECK(colo_multifd_next(&t.m, &again) == COLO_MULTIFD_FAILED &&
			   strcmp(err.text, again.text) == 0);
	end();
	return 0;
}
