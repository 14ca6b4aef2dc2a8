/* SPDX-License-Identifier: BSD-3-Clause */
/* The takeover stream, byte for byte, and the check of a saved device state. */
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
		2, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0x10, 0x7e, 0, 0, 0, 2,
		3, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0x10, 0x7e, 0, 0, 0, 2,
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
		{"tail", test_tail},
		{"limits", test_limits},
		{"saved device state", test_savevm},
	};

	return UT_RUN("migration_stream", cases);
}
