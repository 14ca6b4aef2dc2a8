/* SPDX-License-Identifier: BSD-3-Clause */
/* The takeover stream, byte for byte, and the check of a saved device state. */
#include <stdlib.h>
#include <string.h>

#include "migration_stream.h"
#include "ut.h"

static struct colo_blocks blocks;

static void
add(const char *name, uint64_t size)
{
	struct colo_block *b = &blocks.block[blocks.n++];

	memset(b, 0, sizeof(*b));
	memcpy(b->name, name, strlen(name) + 1);
	b->size = size;
}

static void
test_head(void)
{
	/* clang-format off */
	static const uint8_t wanted[] = {
		'Q', 'E', 'V', 'M', 0, 0, 0, 3,
		7, 0, 0, 0, 2, 'p', 'c',
		1, 0, 0, 0, 2, 3, 'r', 'a', 'm', 0, 0, 0, 0, 0, 0, 0, 4,
		0, 0, 0, 1, 0, 0, 0x10, 4, /* 4 GiB + 4 KiB, and the flag */
		6, 'p', 'c', '.', 'r', 'a', 'm', 0, 0, 0, 1, 0, 0, 0, 0,
		1, 'x', 0, 0, 0, 0, 0, 0, 0x10, 0,
		0, 0, 0, 0, 0, 0, 0, 0x10, 0x7e, 0, 0, 0, 2,
		2, 0, 0, 0, 2,
	};
	/* clang-format on */
	uint8_t out[COLO_STREAM_HEAD_MAX];
	struct colo_error err;

	blocks.n = 0;
	add("pc.ram", 1ull << 32);
	add("x", 4096);
	add(COLO_DEVICE_BLOCK_NAME, 1 << 20); /* is not QEMU's */
	CU_ASSERT_EQUAL_FATAL(colo_migration_head(out, "pc", &blocks, &err), sizeof(wanted));
	CU_ASSERT_EQUAL(memcmp(out, wanted, sizeof(wanted)), 0);
}

static void
test_tail(void)
{
	static const uint8_t wanted[COLO_STREAM_TAIL_SIZE] = {6, 0, 0, 0, 0};
	uint8_t out[COLO_STREAM_TAIL_SIZE];

	colo_migration_tail(out);
	CU_ASSERT_EQUAL(memcmp(out, wanted, sizeof(wanted)), 0);
}

static void
test_ram_end(void)
{
	static const uint8_t wanted[COLO_MIGRATION_RAM_END] = {0, 0, 0, 0, 0, 0, 0, 0x10, 0x7e, 0,
		0, 0, 2, 3, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0x10, 0x7e, 0, 0, 0, 2};
	uint8_t out[COLO_MIGRATION_RAM_END];

	colo_migration_ram_end(out);
	CU_ASSERT_EQUAL(memcmp(out, wanted, sizeof(wanted)), 0);
}

/* A block with memory: shared with the standby by a path, or not. */
static struct colo_block *
add_memory(const char *name, uint32_t n_pages, const char *path)
{
	struct colo_block *b = &blocks.block[blocks.n];

	add(name, n_pages * (uint64_t)COLO_PAGE_SIZE);
	b->n_pages = n_pages;
	b->n_pieces = (n_pages + COLO_PIECE_PAGES - 1) / COLO_PIECE_PAGES;
	b->guest.addr = calloc(n_pages, COLO_PAGE_SIZE);
	b->touched = calloc(b->n_pieces, 1);
	strcpy(b->guest.path, path);
	memset(b->touched, 1, b->n_pieces);
	return b;
}

static void
free_memory(void)
{
	for (unsigned int i = 0; i < blocks.n; i++) {
		free(blocks.block[i].guest.addr);
		free(blocks.block[i].touched);
	}
	blocks.n = 0;
}

/* All that is written, with buffers of @p size bytes; free() it. */
static uint8_t *
all_pages(size_t size, size_t *length)
{
	struct colo_migration_cursor cursor = {0};
	uint8_t *all = calloc(1, 8u << 20), *out = calloc(1, size + 1);
	size_t n;

	*length = 0;
	do {
		out[size] = 0xaa;
		n = colo_migration_pages(&cursor, &blocks, out, size);
		CU_ASSERT_TRUE_FATAL(n <= size && *length + n <= 8u << 20);
		CU_ASSERT_EQUAL(out[size], 0xaa);
		memcpy(all + *length, out, n);
		*length += n;
	} while (n > 0);
	CU_ASSERT_EQUAL(colo_migration_pages(&cursor, &blocks, out, size), 0);
	free(out);
	return all;
}

static void
test_pages(void)
{
	/* clang-format off */
	static const uint8_t rom0[] = {0, 0, 0, 0, 0, 0, 0, 0x08, 3, 'r', 'o', 'm'};
	static const uint8_t rom1[] = {0, 0, 0, 0, 0, 0, 0x10, 0x22, 0};
	static const uint8_t rom2[] = {0, 0, 0, 0, 0, 0, 0x20, 0x28};
	static const uint8_t acpi[] = {0, 0, 0, 0, 0, 0, 0, 0x02, 5, '/', 'a', 'c', 'p', 'i', 0};
	/* clang-format on */
	const size_t page = COLO_PAGE_SIZE, length = 12 + page + 9 + 8 + page + 15;
	static const size_t sizes[] = {
		COLO_MIGRATION_PAGE_MAX, COLO_MIGRATION_PAGE_MAX + 1, 8192, 65536};
	struct colo_block *rom;

	blocks.n = 0;
	memset(add_memory("pc.ram", 2, "/dev/shm/ram")->guest.addr, 0x55, 8192);
	rom = add_memory("rom", 3, "");
	memset(rom->guest.addr, 0x11, page);
	rom->guest.addr[2 * page + 4095] = 0x22;
	add_memory("/acpi", 1, "");
	memset(add_memory(COLO_DEVICE_BLOCK_NAME, 2, "")->guest.addr, 0x77, 8192);
	for (unsigned int i = 0; i < 4; i++) {
		size_t n;
		uint8_t *all = all_pages(sizes[i], &n), *p = all;

		CU_ASSERT_EQUAL_FATAL(n, length);
		CU_ASSERT_EQUAL(memcmp(p, rom0, 12), 0);
		CU_ASSERT_EQUAL(memcmp(p += 12, rom->guest.addr, page), 0);
		CU_ASSERT_EQUAL(memcmp(p += page, rom1, 9), 0);
		CU_ASSERT_EQUAL(memcmp(p += 9, rom2, 8), 0);
		CU_ASSERT_EQUAL(memcmp(p += 8, rom->guest.addr + 2 * page, page), 0);
		CU_ASSERT_EQUAL(memcmp(p += page, acpi, 15), 0);
		free(all);
	}
	free_memory();
}

/* Without an unshared block there is nothing to send; a piece never touched is not read. */
static void
test_untouched_pages(void)
{
	struct colo_block *b;
	size_t n;

	blocks.n = 0;
	add_memory("pc.ram", 600, "/dev/shm/ram");
	add_memory(COLO_DEVICE_BLOCK_NAME, 2, "");
	free(all_pages(COLO_MIGRATION_PAGE_MAX, &n));
	CU_ASSERT_EQUAL(n, 0);
	b = &blocks.block[0];
	b->guest.path[0] = '\0';
	b->guest.addr[0] = 1;
	b->guest.addr[513 * COLO_PAGE_SIZE] = 1;
	free(all_pages(COLO_MIGRATION_PAGE_MAX, &n));
	CU_ASSERT_EQUAL(n, 600 * 8 + 7 + 2 * COLO_PAGE_SIZE + 598);
	b->touched[0] = 0;
	free(all_pages(COLO_MIGRATION_PAGE_MAX, &n));
	CU_ASSERT_EQUAL(n, 600 * 8 + 7 + COLO_PAGE_SIZE + 599);
	free_memory();
}

static void
test_limits(void)
{
	/* a byte more shows that nothing is written behind the end */
	static uint8_t out[COLO_STREAM_HEAD_MAX + 1];
	char name[COLO_BLOCK_NAME_MAX + 1], machine[COLO_MACHINE_NAME_MAX + 2];
	struct colo_error err;

	memset(name, 'n', COLO_BLOCK_NAME_MAX);
	name[COLO_BLOCK_NAME_MAX] = '\0';
	memset(machine, 'm', sizeof(machine));
	machine[COLO_MACHINE_NAME_MAX + 1] = '\0';
	blocks.n = 0;
	for (unsigned int i = 0; i < COLO_MAX_BLOCKS; i++)
		add(name, COLO_MAX_BLOCK_SIZE);
	out[COLO_STREAM_HEAD_MAX] = 0xaa;
	CU_ASSERT_EQUAL(colo_migration_head(out, machine, &blocks, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "64 bytes"));
	machine[COLO_MACHINE_NAME_MAX] = '\0';
	CU_ASSERT(colo_migration_head(out, machine, &blocks, &err) > 0);
	CU_ASSERT_EQUAL(out[COLO_STREAM_HEAD_MAX], 0xaa);
	machine[COLO_MACHINE_NAME_MAX - 1] = '\0';
	CU_ASSERT(colo_migration_head(out, machine, &blocks, &err) > 0);
	CU_ASSERT(colo_migration_head(out, "m", &blocks, &err) > 0);
	CU_ASSERT_EQUAL(colo_migration_head(out, "", &blocks, &err), -1);
	blocks.n = COLO_MAX_BLOCKS + 1;
	CU_ASSERT_EQUAL(colo_migration_head(out, "m", &blocks, &err), -1);
	blocks.n = 1;
	CU_ASSERT_EQUAL(colo_migration_head(out, "m", &blocks, &err), -1);
	blocks.n = 2;
	CU_ASSERT(colo_migration_head(out, "m", &blocks, &err) > 0);
}

static int
check(const char *bytes, size_t length, const char *words)
{
	struct colo_error err = {{0}};
	int result = colo_savevm_check((const uint8_t *)bytes, length, &err);

	if (words != NULL)
		CU_ASSERT_PTR_NOT_NULL(strstr(err.text, words));
	return result;
}

static void
test_savevm(void)
{
	static const char good[] = "QEVM\000\000\000\003\004xyz";

	CU_ASSERT_EQUAL(check(good, sizeof(good), NULL), 0);
	CU_ASSERT_EQUAL(check(good, sizeof(good) - 1, "cut off"), -1);
	CU_ASSERT_EQUAL(check("QEVM\000\000\000\003", 9, NULL), 0);
	CU_ASSERT_EQUAL(check("QEVM\000\000\000\003", 8, "too short"), -1);
	CU_ASSERT_EQUAL(check("", 0, "too short"), -1);
	CU_ASSERT_EQUAL(check("QEVM\000\000\000\004", 9, "begin"), -1);
	CU_ASSERT_EQUAL(check("QEVN\000\000\000\003", 9, "begin"), -1);
}

int
main(void)
{
	static const struct ut_case cases[] = {
		{"head", test_head},
		{"pages", test_pages},
		{"pages of pieces never touched", test_untouched_pages},
		{"end of RAM", test_ram_end},
		{"tail", test_tail},
		{"limits", test_limits},
		{"saved device state", test_savevm},
	};

	return UT_RUN("migration_stream", cases);
}
