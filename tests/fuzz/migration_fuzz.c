/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The stream of a takeover, which is built from what a primary has told us: the machine's and the
 * blocks' names and memory. The input: u8 options, u8 how memory is filled, u16 room for pages at a
 * time, u8 length and the machine's name, per block u8 length and name, then a saved device state.
 *
 * Checked: what is built stays within its bounds, and our parser of a primary's stream finds in it
 * the same blocks and pages; a device state is taken only with its header and its end.
 */
#include "block.h"
#include "colo_stream.h"
#include "fuzz_stream.h"
#include "migration_stream.h"
#include "page.h"

#include <rte_log.h>

enum option {
	OPTION_SHARED = 0x01,	 /* block 1's memory is a file: its pages are not sent */
	OPTION_UNTOUCHED = 0x02, /* nothing was placed in block 2 */
	OPTION_FEWER = 0x04,	 /* one block and the device state's */
};

#define BLOCKS	      4u /* the last is the device state's */
#define CONFIGURATION 8u /* bytes before the configuration */

static const uint32_t n_pages[BLOCKS] = {1, 3, 6, 1};

static struct {
	struct colo_blocks blocks;
	struct colo_stream s;
	struct ut_image image;
	uint8_t device[64];
	unsigned int event[16]; /* how often it came */
} t;

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct colo_error err = {""};

	(void)argc;
	(void)argv;
	rte_log_set_global_level(RTE_LOG_CRIT);
	colo_page_init(NULL);
	for (unsigned int i = 0; i < BLOCKS; i++) {
		struct colo_block_spec spec = {.size = n_pages[i] * (uint64_t)COLO_PAGE_SIZE};

		snprintf(spec.name, sizeof(spec.name), "block%u", i);
		FUZZ_CHECK(colo_blocks_add_secondary(&t.blocks, &spec, 1, -1, &err) == 0);
	}
	return 0;
}

/* @return true if the name is one that a block can have. */
static bool
take_name(struct fuzz_input *in, char *name, size_t max)
{
	size_t n = fuzz_u8(in) % (max + 1);
	const uint8_t *bytes = fuzz_bytes(in, &n);

	memset(name, 0, max + 1);
	for (size_t i = 0; i < n; i++) {
		if (bytes[i] < 0x20 || bytes[i] > 0x7e)
			return false;
		name[i] = (char)bytes[i];
	}
	return n > 0;
}

/* Names that a block may have; others keep the ones they had at first. */
static void
name_blocks(struct fuzz_input *in)
{
	/* all of them first, so that none is given that a later one has */
	for (unsigned int i = 0; i + 1 < t.blocks.n; i++)
		snprintf(t.blocks.block[i].name, sizeof(t.blocks.block[i].name), "block%u", i);
	for (unsigned int i = 0; i + 1 < t.blocks.n; i++) {
		struct colo_block *b = &t.blocks.block[i];
		char name[COLO_BLOCK_NAME_MAX + 1];

		if (take_name(in, name, COLO_BLOCK_NAME_MAX) &&
			strcmp(name, COLO_DEVICE_BLOCK_NAME) != 0 &&
			colo_block_check(name, b->size, NULL) == 0 &&
			colo_blocks_find(&t.blocks, name) < 0)
			memcpy(b->name, name, sizeof(name));
	}
}

static void
fill_blocks(uint8_t options, uint8_t how)
{
	for (unsigned int i = 0; i < t.blocks.n; i++) {
		struct colo_block *b = &t.blocks.block[i];

		for (uint32_t page = 0; page < b->n_pages; page++)
			memset(colo_page_addr(&b->guest, page),
				(how >> (page + i) % 8 & 1) * (int)(page + 1), COLO_PAGE_SIZE);
		b->touched[0] = 1;
		strcpy(b->guest.path, i == 1 && (options & OPTION_SHARED) ? "/memory" : "");
	}
	if (options & OPTION_UNTOUCHED && t.blocks.n > 3) {
		memset(t.blocks.block[2].guest.addr, 0, t.blocks.block[2].size);
		t.blocks.block[2].touched[0] = 0;
	}
}

/* ---- what our own parser makes of it ---- */

static void
parse(const uint8_t *bytes, size_t n)
{
	struct colo_error err = {""};

	for (;;) {
		struct iovec iov[COLO_STREAM_IOV];
		enum colo_stream_event event = colo_stream_next(&t.s, &err);
		unsigned int n_iov;
		size_t done;

		if (event == COLO_STREAM_FAILED)
			fprintf(stderr, "%s\n", err.text);
		FUZZ_CHECK(event >= 0);
		t.event[event]++;
		if (event != COLO_STREAM_MORE)
			continue;
		if (n == 0)
			return;
		n_iov = colo_stream_want(&t.s, iov);
		done = ut_scatter(iov, n_iov, bytes, n);
		colo_stream_got(&t.s, done);
		bytes += done;
		n -= done;
	}
}

/* A COLO primary opens the return path before its RAM: ours is none, so it is put in between. */
static void
parse_head(const uint8_t *head, size_t n, const char *machine)
{
	static const uint8_t open_return_path[] = {0x08, 0, 1, 0, 0};
	size_t at = CONFIGURATION + 5 + strlen(machine);

	FUZZ_CHECK(n > at);
	parse(head, at);
	parse(open_return_path, sizeof(open_return_path));
	parse(head + at, n - at);
}

static void
check_image(void)
{
	FUZZ_CHECK(t.image.n == t.blocks.n - 1);
	for (unsigned int i = 0; i < t.image.n; i++) {
		const struct colo_block *b = &t.blocks.block[i];

		FUZZ_CHECK(t.image.size[i] == b->size);
		FUZZ_CHECK(strcmp(t.s.blocks.block[i].name, b->name) == 0);
		if (!colo_migration_shared(b))
			FUZZ_CHECK(memcmp(t.image.memory[i], b->guest.addr, b->size) == 0);
	}
}

/* Everything behind the head. */
static void
parse_rest(size_t room)
{
	struct colo_migration_cursor cursor = {0};
	uint8_t *out = malloc(room), end[COLO_MIGRATION_RAM_END];
	size_t n;

	FUZZ_CHECK(out != NULL);
	while ((n = colo_migration_pages(&cursor, &t.blocks, out, room)) > 0) {
		FUZZ_CHECK(n <= room);
		parse(out, n);
	}
	free(out);
	colo_migration_ram_end(end);
	parse(end, sizeof(end));
	FUZZ_CHECK(t.event[COLO_STREAM_RAM_END] == 1);
}

static void
build(struct fuzz_input *in, uint8_t options, uint8_t how, size_t room)
{
	uint8_t *head = malloc(COLO_STREAM_HEAD_MAX);
	char machine[COLO_MACHINE_NAME_MAX + 2];
	struct colo_error err = {""};
	bool good = take_name(in, machine, COLO_MACHINE_NAME_MAX + 1);
	int n;

	FUZZ_CHECK(head != NULL);
	t.blocks.n = options & OPTION_FEWER ? 2 : BLOCKS;
	name_blocks(in);
	fill_blocks(options, how);
	n = colo_migration_head(head, machine, &t.blocks, &err);
	FUZZ_CHECK(n <= (int)COLO_STREAM_HEAD_MAX);
	if (n < 0) {
		FUZZ_CHECK(machine[0] == '\0' || strlen(machine) > COLO_MACHINE_NAME_MAX);
		fuzz_check_sentence(err.text, sizeof(err.text));
	} else if (good) {
		memset(t.event, 0, sizeof(t.event));
		fuzz_image_init(&t.image, 0);
		colo_stream_init(&t.s, &t.image.sink, t.device, sizeof(t.device));
		parse_head(head, (size_t)n, machine);
		parse_rest(room);
		check_image();
		ut_image_free(&t.image);
	}
	free(head);
	t.blocks.n = BLOCKS;
}

static void
check_savevm(const uint8_t *bytes, size_t n)
{
	uint8_t *exact = fuzz_copy(bytes, n);
	struct colo_error err = {""};

	if (colo_savevm_check(exact, n, &err) != 0)
		fuzz_check_sentence(err.text, sizeof(err.text));
	else
		FUZZ_CHECK(n > COLO_SAVEVM_HEADER_SIZE && memcmp(bytes, "QEVM", 4) == 0 &&
			   bytes[n - 1] == 0);
	free(exact);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	uint8_t options = fuzz_u8(&in), how = fuzz_u8(&in);
	size_t room = COLO_MIGRATION_PAGE_MAX + fuzz_u16(&in);

	build(&in, options, how, room);
	check_savevm(in.at, in.left);
	return 0;
}
