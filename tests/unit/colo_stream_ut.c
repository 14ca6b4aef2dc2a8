/* SPDX-License-Identifier: BSD-3-Clause */
/* A COLO primary's main channel: recorded ones whole, cut off and damaged, and every limit. */
#include <string.h>

#include "colo_stream.h"
#include "ut.h"
#include "ut_stream.h"

#define DEVICE_SIZE (1u << 20)
#define CUT_MAX	    65536u
#define FLIP_MAX    4096u

static struct ut_image image;

/* One run of a stream through a parser. */
struct run {
	struct colo_stream s;
	uint8_t *device;
	unsigned int count[32]; /* of events */
	const struct ut_record *record;
	unsigned int answers; /* of the record's answers: how many we gave */
	uint64_t seed;	      /* of the sizes in which it comes; 0: as much as fits */
	size_t fed;
	struct colo_error err;
};

static void
run_init(struct run *r, const struct ut_record *record, uint64_t seed)
{
	memset(r, 0, sizeof(*r));
	ut_image_reset(&image);
	r->device = malloc(DEVICE_SIZE);
	r->record = record;
	r->seed = seed;
	colo_stream_init(&r->s, &image.sink, r->device, DEVICE_SIZE);
}

static void
run_fini(struct run *r)
{
	free(r->device);
}

static size_t
chunk_size(struct run *r)
{
	static const size_t most[] = {1, 7, 600, 5000, 20000, 100};

	if (r->seed == 0)
		return SIZE_MAX;
	r->seed = r->seed * 6364136223846793005u + 1442695040888963407u;
	return 1 + (size_t)(r->seed >> 33) % most[(r->seed >> 20) % 6];
}

/* The primary says no more than this until it is answered. */
static size_t
said_until(const struct run *r, size_t length)
{
	if (r->record == NULL)
		return length;
	for (unsigned int i = 0; i < r->record->n_answered; i++)
		if (r->record->answered[i] > r->fed && r->record->answered[i] < length)
			return r->record->answered[i];
	return length;
}

static void
read_some(struct run *r, const uint8_t *bytes, size_t length)
{
	struct iovec iov[COLO_STREAM_IOV];
	unsigned int n_iov = colo_stream_want(&r->s, iov);
	size_t n = said_until(r, length) - r->fed, most = chunk_size(r);

	n = ut_scatter(iov, n_iov, bytes + r->fed, n < most ? n : most);
	colo_stream_got(&r->s, n);
	r->fed += n;
}

/* Feed it all. @return the last event: MORE, FAILED, or what nobody answers in silence. */
static enum colo_stream_event
feed(struct run *r, const uint8_t *bytes, size_t length)
{
	for (;;) {
		enum colo_stream_event event = colo_stream_next(&r->s, &r->err);

		if (event == COLO_STREAM_FAILED)
			return event;
		r->count[event]++;
		if (event >= COLO_STREAM_FLUSH)
			colo_stream_answered(&r->s);
		if (event == COLO_STREAM_MORE) {
			if (r->fed == length)
				return event;
			read_some(r, bytes, length);
		}
	}
}

/* The three answers to every checkpoint, where the recorded secondary gave them. */
static void
check_answers(const uint8_t *bytes, size_t length, const struct ut_record *record)
{
	static const enum colo_stream_event wanted[] = {
		COLO_STREAM_PRECOPY, COLO_STREAM_REQUEST, COLO_STREAM_CHECKPOINT};
	unsigned int at = 1; /* the first one is to the ping */
	struct run r;

	run_init(&r, record, 3);
	while (r.fed < length) {
		enum colo_stream_event event = colo_stream_next(&r.s, &r.err);

		CU_ASSERT_NOT_EQUAL_FATAL(event, COLO_STREAM_FAILED);
		if (event == COLO_STREAM_MORE)
			read_some(&r, bytes, length);
		if (event < COLO_STREAM_FLUSH)
			continue;
		CU_ASSERT_EQUAL(colo_stream_next(&r.s, &r.err), event); /* until answered */
		if (event > COLO_STREAM_FLUSH) {
			CU_ASSERT_EQUAL(event, wanted[at == 1 ? 0 : 1 + at % 2]);
			CU_ASSERT_EQUAL(r.fed, record->answered[at]);
			at++;
		}
		colo_stream_answered(&r.s);
	}
	CU_ASSERT_EQUAL(at, record->n_answered - 2); /* loaded is one more; the last of both */
	CU_ASSERT_EQUAL(colo_stream_next(&r.s, &r.err), COLO_STREAM_CHECKPOINT);
	run_fini(&r);
}

static void
decode_whole(const char *name, const char *machine, unsigned int n_blocks, uint64_t seed,
	unsigned int hold_every)
{
	struct ut_record record = ut_record_load(name);
	struct ut_stream in = ut_stream_load(name, 0);
	struct run r;

	run_init(&r, &record, seed);
	image.hold_every = hold_every;
	image.fill = true;
	CU_ASSERT_EQUAL_FATAL(feed(&r, in.bytes, in.length), COLO_STREAM_MORE);
	CU_ASSERT_STRING_EQUAL(r.s.machine, machine);
	CU_ASSERT_EQUAL(r.s.blocks.n, n_blocks);
	CU_ASSERT_EQUAL(r.s.ping, 1);
	CU_ASSERT_EQUAL(r.count[COLO_STREAM_PING], 1);
	CU_ASSERT_EQUAL(r.count[COLO_STREAM_RAM_END], 1);
	CU_ASSERT_EQUAL(r.count[COLO_STREAM_PRECOPY], 1);
	CU_ASSERT_EQUAL(r.s.checkpoints, 3);
	CU_ASSERT_EQUAL(r.count[COLO_STREAM_REQUEST], 3);
	CU_ASSERT_EQUAL(r.count[COLO_STREAM_STOPPED], 3);
	CU_ASSERT_EQUAL(r.count[COLO_STREAM_CHECKPOINT_RAM_END], 3);
	CU_ASSERT_EQUAL(r.count[COLO_STREAM_CHECKPOINT], 3);
	CU_ASSERT_EQUAL(r.count[COLO_STREAM_HELD], image.held);
	CU_ASSERT_EQUAL(r.s.consumed, in.length);
	CU_ASSERT_EQUAL(colo_stream_closed(&r.s, &r.err), 0);
	if (strncmp(name, "multifd", 7) != 0 && name[0] != 'z') {
		CU_ASSERT_EQUAL(image.placed, record.normal);
		CU_ASSERT_EQUAL(image.zeros, record.zero);
		CU_ASSERT_EQUAL(ut_image_crc32(&image, 0), record.crc32);
		CU_ASSERT_EQUAL(record.flush, 0);
	} else {
		CU_ASSERT_EQUAL(image.placed + image.zeros, 0);
	}
	CU_ASSERT_EQUAL(r.count[COLO_STREAM_FLUSH], record.flush);
	/* the last checkpoint's sections: an id and apic's name first, 00 at the end */
	CU_ASSERT_EQUAL(r.device[0], 4);
	CU_ASSERT_EQUAL(r.device[r.s.device_length - 1], 0);
	run_fini(&r);
	check_answers(in.bytes, in.length, &record);
	free(in.bytes);
}

static void
test_plain(void)
{
	for (uint64_t seed = 0; seed < 12; seed++)
		decode_whole("plain", "pc-i440fx-11.1", 6, seed, seed % 3 * 5);
}

static void
test_q35(void)
{
	for (uint64_t seed = 0; seed < 4; seed++)
		decode_whole("q35", "pc-q35-11.1", 10, seed, seed * 3);
}

static void
test_multifd(void)
{
	for (uint64_t seed = 0; seed < 4; seed++) {
		decode_whole("multifd", "pc-i440fx-11.1", 6, seed, 0);
		decode_whole("zstd", "pc-i440fx-11.1", 6, seed, 0);
		decode_whole("zlib", "pc-i440fx-11.1", 6, seed, 0);
	}
}

/* Cut off anywhere, it wants more, and a close is called what it is. */
static void
test_cut_off(void)
{
	struct ut_record record = ut_record_load("plain");
	struct ut_stream in = ut_stream_load("plain", 0);
	unsigned int wrong = 0;

	for (size_t length = 0; length <= CUT_MAX; length++) {
		struct run r;

		run_init(&r, &record, length % 3 == 0 ? 0 : length);
		wrong += feed(&r, in.bytes, length) != COLO_STREAM_MORE;
		wrong += colo_stream_closed(&r.s, &r.err) != -1;
		wrong += colo_stream_next(&r.s, &r.err) != COLO_STREAM_FAILED;
		run_fini(&r);
	}
	CU_ASSERT_EQUAL(wrong, 0);
	free(in.bytes);
}

/* Where it may be closed: between checkpoints only, anywhere in the rest of the stream. */
static void
test_closed(void)
{
	struct ut_record record = ut_record_load("zlib");
	struct ut_stream in = ut_stream_load("zlib", 0);
	unsigned int fine = 0;
	struct run r;

	run_init(&r, &record, 0);
	for (size_t length = 0; length <= in.length; length++) {
		struct colo_stream copy;

		CU_ASSERT_EQUAL_FATAL(feed(&r, in.bytes, length), COLO_STREAM_MORE);
		copy = r.s;
		fine += colo_stream_closed(&copy, &r.err) == 0;
	}
	CU_ASSERT_EQUAL(fine, 4);
	CU_ASSERT_EQUAL(r.s.checkpoints, 3);
	run_fini(&r);
	free(in.bytes);
}

/* A damaged byte ends in an error that stays, or in a stream that makes sense. */
static void
flip(const char *name, uint8_t bits)
{
	struct ut_record record = ut_record_load(name);
	struct ut_stream in = ut_stream_load(name, 0);
	unsigned int failed = 0, wrong = 0;

	for (size_t at = 0; at < FLIP_MAX; at++) {
		struct run r;

		run_init(&r, &record, at);
		in.bytes[at] ^= bits;
		if (feed(&r, in.bytes, CUT_MAX) == COLO_STREAM_FAILED) {
			struct colo_error again;

			failed++;
			wrong += colo_stream_next(&r.s, &again) != COLO_STREAM_FAILED ||
				 strcmp(again.text, r.err.text) != 0 || again.text[0] == '\0';
		}
		in.bytes[at] ^= bits;
		run_fini(&r);
	}
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT(failed > 100);
	free(in.bytes);
}

static void
test_flipped(void)
{
	flip("plain", 0xff);
	flip("plain", 0x01);
	flip("plain", 0x20);
	flip("q35", 0xff);
	flip("multifd", 0xff);
	flip("multifd", 0x04);
}

/* A stream made by hand. */
struct made {
	size_t n;
	uint8_t b[2 << 20];
};

static struct made made;

static void
put(const void *bytes, size_t n)
{
	memcpy(made.b + made.n, bytes, n);
	made.n += n;
}

static void
put_be(uint64_t v, unsigned int size)
{
	while (size-- > 0)
		made.b[made.n++] = (uint8_t)(v >> (8 * size));
}

/* len8 and that many bytes of one letter. */
static void
put_name(char letter, unsigned int length)
{
	put_be(length, 1);
	for (unsigned int i = 0; i < length; i++)
		made.b[made.n++] = (uint8_t)letter;
}

static void
put_head(void)
{
	made.n = 0;
	put("QEVM\0\0\0\3\7\0\0\0\1m\10\0\1\0\0", 19);
}

static void
put_ram_start(uint64_t total)
{
	put("\1\0\0\0\5\3ram\0\0\0\0\0\0\0\4", 17);
	put_be(total | 4, 8);
}

static void
put_end(void)
{
	put_be(0x10, 8);
	put("\x7e\0\0\0\5", 5);
}

/* Up to where pages may come: block "aa" of two pages. */
static void
put_to_part(void)
{
	put_head();
	put_ram_start(8192);
	put_name('a', 2);
	put_be(8192, 8);
	put_end();
	put("\2\0\0\0\5", 5);
}

static void
put_page(uint64_t word, const char *name)
{
	put_be(word, 8);
	if (name != NULL) {
		put_be(strlen(name), 1);
		put(name, strlen(name));
	}
	if (word & 8)
		for (unsigned int i = 0; i < 4096; i++)
			put("p", 1);
	else
		put_be(0, 1);
}

static const char *const json = "{\"configuration\": {}, \"page_size\": 4096, \"devices\": [{}]}";

static void
put_description(const char *text)
{
	put("\6", 1);
	put_be(strlen(text), 4);
	put(text, strlen(text));
}

/* To the end of precopy, its device sections' body being @p length bytes at @p body. */
static void
put_to_devices(const void *body, size_t length)
{
	put_to_part();
	put_end();
	put("\3\0\0\0\5", 5);
	put_end();
	put("\4", 1);
	put(body, length);
	put("\x7e\0\0\0\1\0", 6);
}

static void
put_to_colo(void)
{
	put_to_devices("x", 1);
	put_description(json);
}

/* What was made is taken without an error. */
static void
accepts(void)
{
	for (uint64_t seed = 0; seed < 3; seed++) {
		struct run r;

		run_init(&r, NULL, seed);
		CU_ASSERT_EQUAL(feed(&r, made.b, made.n), COLO_STREAM_MORE);
		CU_ASSERT_EQUAL(r.fed, made.n);
		run_fini(&r);
	}
}

static void
refuses(const char *words)
{
	struct run r;

	run_init(&r, NULL, 5);
	CU_ASSERT_EQUAL(feed(&r, made.b, made.n), COLO_STREAM_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(r.err.text, words));
	if (strstr(r.err.text, words) == NULL)
		printf("\n    \"%s\" instead of \"%s\"\n", r.err.text, words);
	run_fini(&r);
}

static void
test_head(void)
{
	static const unsigned int lengths[] = {
		0, 1, COLO_MACHINE_NAME_MAX, COLO_MACHINE_NAME_MAX + 1};

	made.n = 0;
	put("QEVN\0\0\0\3", 8);
	refuses("QEVM");
	made.n = 0;
	put("QEVM\0\0\0\2", 8);
	refuses("version 2");
	made.n = 0;
	put("QEVM\0\0\0\3\1\0\0\0\0", 13);
	refuses("configuration (0x07)");
	for (unsigned int i = 0; i < 4; i++) {
		made.n = 0;
		put("QEVM\0\0\0\3\7\0\0\0", 12);
		put_name('m', lengths[i]);
		if (i == 1 || i == 2)
			accepts();
		else
			refuses("machine type's name of");
	}
	made.n = 0;
	put("QEVM\0\0\0\3\7\0\0\0\2m\n", 15);
	refuses("m? is not accepted");
	put_head();
	put("\5", 1);
	refuses("subsections");
	put_head();
	put("\0", 1);
	refuses("section type 0x00");
	put_head();
	put("\4", 1);
	refuses("section type 0x04");
}

static void
test_commands(void)
{
	put_head();
	put("\10\0\2\0\4\1\2\3\4", 9);
	accepts();
	for (char length = 3; length <= 5; length += 2) {
		put_head();
		put("\10\0\2\0", 4);
		put(&length, 1);
		refuses("ping (2, 4 bytes)");
	}
	put_head();
	put("\10\0\10\0\0", 5);
	refuses("QEMU 11 is needed");
	put_head();
	put("\10\0\1\0\0", 5);
	refuses("came twice");
	put_head();
	put("\10\0\13\0\0", 5);
	refuses("before RAM");
	put_to_part();
	put_end();
	put("\10\0\13\0\0", 5);
	accepts();
	put("\10\0\13\0\0", 5);
	refuses("came twice");
}

static void
test_ram_start(void)
{
	static const char *const bad[] = {"\1\0\0\0\5\3rom\0\0\0\0\0\0\0\4",
		"\1\0\0\0\5\2ra\0\0\0\0\0\0\0\4", "\1\0\0\0\5\4ram\n\0\0\0\0\0\0\0\4",
		"\1\0\0\0\5\3ram\0\0\0\1\0\0\0\4", "\1\0\0\0\5\3ram\0\0\0\0\0\0\0\3",
		"\1\0\0\0\5\3ram\0\0\0\0\0\0\0\5"};
	static const char *const words[] = {
		"called rom", "called ra", "called ram?", "instance 1", "version 3", "version 5"};

	for (unsigned int i = 0; i < 6; i++) {
		put_head();
		put(bad[i], i == 1 ? 16 : i == 2 ? 18 : 17);
		refuses(words[i]);
	}
	made.n = 0;
	put("QEVM\0\0\0\3\7\0\0\0\1m\1", 15);
	refuses("return-path");
	put_head();
	put("\2", 1);
	refuses("before its start");
	put_to_part();
	put_end();
	put("\1", 1);
	refuses("after its start");
	put_head();
	put("\1\0\0\0\5\3ram\0\0\0\0\0\0\0\4", 17);
	put_be(0x10, 8);
	refuses("before the blocks' list");
	put_head();
	put_ram_start(0);
	refuses("no RAM blocks");
}

/* One block with this name's length and size, in a list of this total. */
static void
put_listed(unsigned int length, uint64_t size, uint64_t total)
{
	put_head();
	put_ram_start(total);
	put_name('a', length);
	put_be(size, 8);
}

static void
test_block_names(void)
{
	put_listed(0, 4096, 4096);
	refuses("name of 0 bytes");
	put_listed(1, 4096, 4096);
	accepts();
	put_listed(COLO_BLOCK_NAME_MAX, 4096, 4096);
	accepts();
	put_listed(COLO_BLOCK_NAME_MAX + 1, 4096, 4096);
	refuses("name of 64 bytes");
	put_listed(1, 4096, 8192);
	put_name('a', 1);
	put_be(4096, 8);
	refuses("twice");
	put_head();
	put_ram_start(4096);
	put("\2a\0", 3);
	put_be(4096, 8);
	refuses("a? is not accepted");
	put_head();
	put_ram_start(4096);
	put_be(strlen(COLO_DEVICE_BLOCK_NAME), 1);
	put(COLO_DEVICE_BLOCK_NAME, strlen(COLO_DEVICE_BLOCK_NAME));
	put_be(4096, 8);
	refuses("it is ours");
}

static void
test_block_sizes(void)
{
	put_listed(1, 0, 4096);
	refuses("of 0 bytes");
	put_listed(1, 4095, 4096);
	refuses("whole pages");
	put_listed(1, 4097, 8192);
	refuses("whole pages");
	put_listed(1, COLO_MAX_BLOCK_SIZE, COLO_MAX_BLOCK_SIZE);
	refuses("too large for a test"); /* so the list was taken; the sink refused */
	put_listed(1, COLO_MAX_BLOCK_SIZE + 4096, COLO_MAX_BLOCK_SIZE + 4096);
	refuses("whole pages");
	put_listed(1, 8192, 4096);
	refuses("exceeds the total");
	put_listed(1, 4096, 8192); /* and goes on with the next one */
	put_be(0x10, 8);
	refuses("name of 0 bytes");
}

static void
test_block_count(void)
{
	for (unsigned int n = COLO_STREAM_BLOCKS_MAX - 1; n <= COLO_STREAM_BLOCKS_MAX + 1; n++) {
		put_head();
		put_ram_start(n * 4096);
		for (unsigned int i = 0; i < n; i++) {
			put_name((char)('A' + i), 2);
			put_be(4096, 8);
		}
		put_end();
		if (n <= COLO_STREAM_BLOCKS_MAX)
			accepts();
		else
			refuses("more than 31 RAM blocks");
	}
}

static void
test_pages(void)
{
	put_to_part();
	put_page(0x08, "aa");
	put_page(0x1028, NULL);
	put_page(0x22, NULL);
	put_page(0x1002, "aa");
	put_be(0x200, 8);
	put_end();
	accepts();
	put_to_part();
	put_page(0x2008, "aa");
	refuses("offset 0x2000");
	put_to_part();
	put_page(0xfffffffffffff002, "aa");
	refuses("offset 0xfffffffffffff000");
	put_to_part();
	put_page(0x28, NULL);
	refuses("no block was named");
	put_to_part();
	put_page(0x08, "ab");
	refuses("block ab is not");
	put_to_part();
	put_page(0x08, "a");
	refuses("block a is not");
	put_to_part();
	put_page(0x08, "");
	refuses("name of 0 bytes");
	put_to_part();
	put_be(0x02, 8);
	put_name('a', 64);
	refuses("name of 64 bytes");
	put_to_part();
	put_be(0x02, 8);
	put("\2aa\1", 4);
	refuses("byte 0x1");
}

static void
test_records(void)
{
	static const uint64_t bad[] = {0x00, 0x01, 0x0a, 0x18, 0x20, 0x30, 0x40, 0x80, 0x100, 0x208,
		0x220, 0x400, 0x1010, 0x1200};

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		put_to_part();
		put_be(bad[i], 8);
		refuses("is not accepted: pages");
	}
	put_to_part();
	put_be(8196, 8);
	refuses("second list");
	put_listed(2, 4096, 4096);
	put_be(0x08, 8);
	refuses("start section is not accepted");
	put_listed(2, 4096, 4096);
	put_be(4096 | 4, 8);
	refuses("second list");
}

static void
test_section_ids(void)
{
	put_to_part();
	put_be(0x10, 8);
	put("\x7e\0\0\0\6", 5);
	refuses("section id 6");
	put_to_part();
	put_be(0x10, 8);
	put("\x7d\0\0\0\5", 5);
	refuses("a footer (0x7e) is");
	put_to_part();
	put_end();
	put("\3\0\0\0\4", 5);
	refuses("section id 4");
	put_to_part();
	put_end();
	put("\3\0\0\0\5", 5);
	put_end();
	put("\2\0\0\0\5", 5);
	refuses("device sections (0x04)");
}

static void
test_devices(void)
{
	static uint8_t body[DEVICE_SIZE];
	size_t rest = 1 + 6 + 5 + strlen(json); /* in the buffer beside the body */

	put_to_colo();
	accepts();
	put_to_devices(body, DEVICE_SIZE - rest);
	put_description(json);
	accepts();
	put_to_devices(body, DEVICE_SIZE - rest + 1);
	put_description(json);
	refuses("together with the device sections");
	put_to_devices(body, DEVICE_SIZE - 6);
	put("x", 1);
	refuses("without an end");
	put_to_devices("x", 1);
	put("\6", 1);
	put_be(COLO_STREAM_JSON_MAX + 1, 4);
	put(json, strlen(json));
	refuses("description of 2097153 bytes");
}

/* Bytes behind a description that fills the buffer are not overlooked. */
static void
test_devices_full(void)
{
	static uint8_t body[DEVICE_SIZE];
	struct run r;

	put_to_devices(body, DEVICE_SIZE - (1 + 6 + 5 + strlen(json)));
	put_description(json);
	run_init(&r, NULL, 0);
	CU_ASSERT_EQUAL(feed(&r, made.b, made.n - 1), COLO_STREAM_MORE);
	put("x", 1);
	read_some(&r, made.b, made.n);
	CU_ASSERT_EQUAL(colo_stream_next(&r.s, &r.err), COLO_STREAM_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(r.err.text, "without an end"));
	run_fini(&r);
}

/* Is the end of precopy found? With this description, and bytes after it or none. */
static bool
ends(const char *text, bool more)
{
	struct run r;
	bool found;

	put_to_devices("x", 1);
	put_description(text);
	if (more)
		put("x", 1);
	run_init(&r, NULL, 0);
	feed(&r, made.b, made.n);
	found = r.count[COLO_STREAM_PRECOPY] == 1;
	if (found)
		CU_ASSERT_EQUAL(r.s.device_length, 8);
	run_fini(&r);
	return found;
}

static void
test_description(void)
{
	CU_ASSERT_TRUE(ends(json, false));
	CU_ASSERT_FALSE(ends(json, true));
	CU_ASSERT_FALSE(
		ends("{\"configuration\": {}, \"page_size\": 4096, \"devices\": []}", false));
	CU_ASSERT_FALSE(
		ends("{\"configuration\": {}, \"page_size\": 8192, \"devices\": [1]}", false));
	CU_ASSERT_FALSE(ends("{\"configuration\": {}, \"page_size\": 4096}", false));
	CU_ASSERT_FALSE(ends("{\"configuration\": {}, \"devices\": [1]}", false));
	CU_ASSERT_FALSE(
		ends("{\"configuration\": {}, \"page_size\": 4096, \"devices\": [1]", false));
	CU_ASSERT_FALSE(
		ends("{\"page_size\": 4096, \"configuration\": {}, \"devices\": [1]}", false));
}

/* What a guest has put into a device looks like the end, and is not. */
static void
test_planted(void)
{
	static uint8_t body[4096];
	size_t n = 0, planted;
	struct run r;

	made.n = 0;
	put("\x7e\0\0\0\1\0", 6);
	put_description(json);
	planted = made.n;
	for (unsigned int i = 0; i < COLO_STREAM_CANDIDATES + 1; i++, n += planted)
		memcpy(body + n, made.b, planted);
	put_to_devices(body, n);
	put_description(json);
	run_init(&r, NULL, 0);
	CU_ASSERT_EQUAL(feed(&r, made.b, made.n - 1), COLO_STREAM_MORE);
	CU_ASSERT_EQUAL(r.count[COLO_STREAM_PRECOPY], 0);
	CU_ASSERT_EQUAL(colo_stream_next(&r.s, &r.err), COLO_STREAM_MORE);
	read_some(&r, made.b, made.n);
	CU_ASSERT_EQUAL(colo_stream_next(&r.s, &r.err), COLO_STREAM_PRECOPY);
	CU_ASSERT_EQUAL(r.s.device_length, 1 + n + 6);
	run_fini(&r);
	/* one that claims a length is not waited for in place of the real one */
	made.n = 0;
	put("\x7e\0\0\0\1\0\6\0\0\377\377{\"configuration\"", 27);
	memcpy(body, made.b, n = made.n);
	put_to_devices(body, n);
	put_description(json);
	accepts();
}

/* Many that are not complete yet are more than we keep. */
static void
test_candidates(void)
{
	for (unsigned int k = COLO_STREAM_CANDIDATES - 1; k <= COLO_STREAM_CANDIDATES + 1; k++) {
		static uint8_t body[4096];
		size_t n;

		made.n = 0;
		for (unsigned int i = 0; i < k; i++)
			put("\x7e\0\0\0\1\0\6\0\0\377\377{\"configuration\"", 27);
		memcpy(body, made.b, n = made.n);
		put_to_devices(body, n);
		if (k <= COLO_STREAM_CANDIDATES)
			accepts();
		else
			refuses("more than 8 descriptions");
	}
}

/* Up to the checkpoint's device state. @return where the primary is silent first. */
static size_t
put_to_device_size(void)
{
	size_t silent;

	put_to_colo();
	silent = made.n;
	put("\0\0\0\1\0\0\0\3\3\0\0\0\5", 13);
	put_page(0x08, "aa");
	put_end();
	put("\0\0\0\0\4", 5);
	return silent;
}

static void
put_device_state(size_t size)
{
	size_t at;

	put_be(size, 8);
	at = made.n;
	memset(made.b + at, 'd', size);
	made.b[at] = 4;
	made.n += size;
	if (size >= 6)
		memcpy(made.b + made.n - 6, "\x7e\0\0\0\1\0", 6);
}

/* Requests and checkpoints are silent as well: taken apart there. */
static void
colo_phase(size_t silent, const char *words)
{
	struct ut_record record = {.answered = {silent, silent + 4, made.n}, .n_answered = 3};
	struct run r;

	run_init(&r, &record, 0);
	CU_ASSERT_EQUAL(
		feed(&r, made.b, made.n), words == NULL ? COLO_STREAM_MORE : COLO_STREAM_FAILED);
	if (words == NULL)
		CU_ASSERT_EQUAL(r.s.checkpoints, 1);
	if (words != NULL)
		CU_ASSERT_PTR_NOT_NULL(strstr(r.err.text, words));
	run_fini(&r);
}

static void
test_device_size(void)
{
	static const size_t good[] = {7, 8, DEVICE_SIZE - 1, DEVICE_SIZE};
	static const size_t bad[] = {0, 6, DEVICE_SIZE + 1, SIZE_MAX};

	for (unsigned int i = 0; i < 4; i++) {
		size_t silent = put_to_device_size();

		put_device_state(good[i]);
		colo_phase(silent, NULL);
		silent = put_to_device_size();
		put_be(bad[i], 8);
		colo_phase(silent, "device state of");
	}
	for (unsigned int i = 0; i < 3; i++) {
		static const int at[] = {-7, -6, -1}; /* section, footer, end */
		size_t silent = put_to_device_size();

		put_device_state(7);
		made.b[made.n + (size_t)at[i]] ^= 1;
		colo_phase(silent, "this one of 7 bytes does not");
	}
}

static void
test_messages(void)
{
	static const uint8_t messages[] = {0, 2, 3, 4, 5, 6, 7};
	size_t silent;

	for (unsigned int i = 0; i < sizeof(messages); i++) {
		put_to_colo();
		silent = made.n;
		put_be(messages[i], 4);
		colo_phase(silent, "1 (checkpoint-request) is");
		put_to_colo();
		put_be(1, 4);
		put_be(messages[i] == 3 ? 1 : messages[i], 4);
		colo_phase(silent, "3 (vmstate-send) is");
		silent = put_to_device_size();
		made.n--;
		put_be(messages[i] == 4 ? 1 : messages[i], 1);
		colo_phase(silent, "4 (vmstate-size) is");
	}
	put_to_colo();
	put("\0\0\0\1\0\0\0\3\2\0\0\0\5", 13);
	colo_phase(silent, "checkpoint's RAM (0x03)");
	put_to_colo();
	put("\0\0\0\1\0\0\0\3\3\0\0\0\4", 13);
	colo_phase(silent, "section id 4");
	put_to_colo();
	put("\0\0\0\1\0\0\0\3\3\0\0\0\5", 13);
	put_end();
	put("\1", 1);
	colo_phase(silent, "end of a checkpoint's RAM");
}

/* The primary waits for an answer; one that does not is stopped. */
static void
test_impatient(void)
{
	size_t silent = put_to_device_size();
	struct ut_record record = {.answered = {silent}, .n_answered = 1};
	struct run r;

	run_init(&r, &record, 0);
	CU_ASSERT_EQUAL(feed(&r, made.b, silent), COLO_STREAM_MORE);
	read_some(&r, made.b, silent + 5);
	CU_ASSERT_EQUAL(colo_stream_next(&r.s, &r.err), COLO_STREAM_REQUEST);
	CU_ASSERT_EQUAL(colo_stream_next(&r.s, &r.err), COLO_STREAM_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(r.err.text, "1 bytes came before the request"));
	run_fini(&r);
	put_device_state(7);
	put("x", 1);
	record.answered[record.n_answered++] = silent + 4;
	run_init(&r, &record, 0);
	CU_ASSERT_EQUAL(feed(&r, made.b, made.n - 1), COLO_STREAM_MORE);
	CU_ASSERT_EQUAL(r.s.checkpoints, 1);
	run_fini(&r);
}

static void
test_blocks_refused(void)
{
	struct run r;

	put_to_part();
	run_init(&r, NULL, 0);
	image.refuse_blocks = true;
	CU_ASSERT_EQUAL(feed(&r, made.b, made.n), COLO_STREAM_FAILED);
	CU_ASSERT_STRING_EQUAL(r.err.text, "blocks are refused");
	run_fini(&r);
}

/* A page goes straight to its place: no byte of it but the first few passes through us. */
static void
test_direct(void)
{
	struct iovec iov[COLO_STREAM_IOV];
	struct run r;

	put_to_part();
	put_page(0x1008, "aa");
	run_init(&r, NULL, 0);
	CU_ASSERT_EQUAL(feed(&r, made.b, made.n - 4000), COLO_STREAM_MORE);
	CU_ASSERT_EQUAL(colo_stream_want(&r.s, iov), 2);
	CU_ASSERT_PTR_EQUAL(iov[0].iov_base, image.memory[0] + 4096 + 96);
	CU_ASSERT_EQUAL(iov[0].iov_len, 4000);
	CU_ASSERT_EQUAL(iov[1].iov_len, COLO_STREAM_AHEAD);
	CU_ASSERT_EQUAL(image.placed, 0);
	CU_ASSERT_EQUAL(feed(&r, made.b, made.n), COLO_STREAM_MORE);
	CU_ASSERT_EQUAL(image.placed, 1);
	run_fini(&r);
}

static const struct ut_case cases[] = {
	{"a recorded plain stream", test_plain},
	{"a recorded stream of q35, VGA, a DIMM", test_q35},
	{"recorded main channels of multifd", test_multifd},
	{"cut off at each of 65536 bytes", test_cut_off},
	{"closed at each byte", test_closed},
	{"each of 4096 bytes flipped", test_flipped},
	{"head", test_head},
	{"commands", test_commands},
	{"RAM's start", test_ram_start},
	{"block names", test_block_names},
	{"block sizes", test_block_sizes},
	{"block count", test_block_count},
	{"pages", test_pages},
	{"records that are none", test_records},
	{"section ids", test_section_ids},
	{"device sections", test_devices},
	{"device sections and more", test_devices_full},
	{"descriptions", test_description},
	{"planted descriptions", test_planted},
	{"many descriptions", test_candidates},
	{"device state sizes", test_device_size},
	{"order of COLO messages", test_messages},
	{"bytes before an answer", test_impatient},
	{"blocks refused by the sink", test_blocks_refused},
	{"pages go straight to their place", test_direct},
};

int
main(void)
{
	int failed = UT_RUN("colo_stream", cases);

	ut_image_free(&image);
	return failed;
}
