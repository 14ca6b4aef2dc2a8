/* SPDX-License-Identifier: BSD-3-Clause */
/* The device state's block: limits of what fits, which pages are marked, damage found. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <rte_byteorder.h>

#include "device_state.h"
#include "ut.h"

#define SIZE (4 * (uint64_t)COLO_PAGE_SIZE)
#define HEAD sizeof(struct colo_device_state)

static struct colo_blocks blocks; /* owner: the running case; freed at its end */

static struct colo_block *
make_block(void)
{
	struct colo_block_spec spec = {.name = COLO_DEVICE_BLOCK_NAME, .size = SIZE};

	memset(&blocks, 0, sizeof(blocks));
	CU_ASSERT_EQUAL_FATAL(colo_blocks_add_primary(&blocks, &spec, NULL), 0);
	return &blocks.block[0];
}

static void
check_round_trip(struct colo_block *block, const uint8_t *state, uint64_t length)
{
	struct colo_error err;
	const uint8_t *found;
	uint64_t n = ~0ull;

	CU_ASSERT_EQUAL(colo_device_state_store(block, "", state, length, &err), 0);
	found = colo_device_state_load(block->guest.addr, SIZE, NULL, &n, &err);
	CU_ASSERT_PTR_NOT_NULL_FATAL(found);
	CU_ASSERT_EQUAL(n, length);
	CU_ASSERT_EQUAL(memcmp(found, state, length), 0);
}

static void
test_round_trip(void)
{
	const uint64_t lengths[] = {0, 1, 4096 - HEAD - 1, 4096 - HEAD, 4096 - HEAD + 1,
		8192 - HEAD, SIZE - HEAD - 1, SIZE - HEAD, 17};
	struct colo_block *block = make_block();
	uint8_t *state = malloc(SIZE);

	for (unsigned int i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		for (uint64_t b = 0; b < SIZE; b++)
			state[b] = (uint8_t)(b * 7 + i + 1);
		check_round_trip(block, state, lengths[i]);
	}
	free(state);
	colo_blocks_free(&blocks, false);
}

static void
test_too_long(void)
{
	struct colo_block *block = make_block();
	uint8_t *state = calloc(1, SIZE + 1);
	struct colo_error err = {""};

	CU_ASSERT_EQUAL(colo_device_state_store(block, "", state, SIZE - HEAD + 1, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "takes at most 16304"));
	CU_ASSERT_EQUAL(colo_device_state_store(block, "", state, UINT64_MAX, &err), -1);
	CU_ASSERT_EQUAL(colo_dirty_count(&block->todo), 0);
	CU_ASSERT_EQUAL(block->guest.addr[0], 0);
	free(state);
	colo_blocks_free(&blocks, false);
}

/* What `todo` holds after storing, as a mask of the block's four pages. */
static unsigned int
marked(struct colo_block *block, const uint8_t *state, uint64_t length)
{
	unsigned int mask = 0;

	colo_dirty_clear(&block->todo);
	CU_ASSERT_EQUAL(colo_device_state_store(block, "", state, length, NULL), 0);
	for (uint32_t p = 0; p < block->n_pages; p++)
		mask |= (unsigned int)colo_dirty_get(&block->todo, p) << p;
	return mask;
}

static void
test_only_changes_are_marked(void)
{
	struct colo_block *block = make_block();
	uint8_t *state = malloc(SIZE);

	memset(state, 0x11, SIZE);
	CU_ASSERT_EQUAL(marked(block, state, SIZE - HEAD), 0xf);
	CU_ASSERT_EQUAL(marked(block, state, SIZE - HEAD), 0);
	state[0] = 1;
	CU_ASSERT_EQUAL(marked(block, state, SIZE - HEAD), 0x1);
	state[4096 - HEAD - 1] = 1; /* last byte of page 0 */
	CU_ASSERT_EQUAL(marked(block, state, SIZE - HEAD), 0x1);
	state[4096 - HEAD] = 1; /* first of page 1 */
	CU_ASSERT_EQUAL(marked(block, state, SIZE - HEAD), 0x2);
	state[SIZE - HEAD - 1] = 1; /* last of all */
	CU_ASSERT_EQUAL(marked(block, state, SIZE - HEAD), 0x8);
	CU_ASSERT_EQUAL(marked(block, state, 4096), 0x1); /* shorter: only its length is new */
	CU_ASSERT_EQUAL(marked(block, state, 0), 0x1);
	free(state);
	colo_blocks_free(&blocks, false);
}

/* Number in the first 16 bytes by hand, so that byte order is checked, not assumed. */
static void
put_head(uint8_t *memory, const char *magic, uint64_t length)
{
	memcpy(memory, magic, 8);
	for (unsigned int i = 0; i < 8; i++)
		memory[8 + i] = (uint8_t)(length >> (56 - 8 * i));
}

static void
test_damage(void)
{
	uint8_t memory[4096] = {0};
	struct colo_error err = {""};
	uint64_t n = 5;

	CU_ASSERT_PTR_NULL(colo_device_state_load(memory, sizeof(memory), NULL, &n, &err));
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "no device state has arrived"));
	CU_ASSERT_EQUAL(n, 0);
	put_head(memory, "COLODEV2", sizeof(memory) - HEAD);
	CU_ASSERT_PTR_EQUAL(
		colo_device_state_load(memory, sizeof(memory), NULL, &n, &err), memory + HEAD);
	CU_ASSERT_EQUAL(n, sizeof(memory) - HEAD);
	put_head(memory, "COLODEV2", sizeof(memory) - HEAD + 1);
	CU_ASSERT_PTR_NULL(colo_device_state_load(memory, sizeof(memory), NULL, &n, &err));
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "claims 4017 bytes"));
	put_head(memory, "COLODEV2", UINT64_MAX);
	CU_ASSERT_PTR_NULL(colo_device_state_load(memory, sizeof(memory), NULL, &n, &err));
	put_head(memory, "COLODEVX", 10);
	CU_ASSERT_PTR_NULL(colo_device_state_load(memory, sizeof(memory), NULL, &n, &err));
}

static void
test_tiny_memory(void)
{
	uint8_t memory[HEAD] = {0};
	struct colo_error err = {""};
	uint64_t n;

	put_head(memory, "COLODEV2", 0);
	CU_ASSERT_PTR_EQUAL(colo_device_state_load(memory, HEAD, NULL, &n, &err), memory + HEAD);
	CU_ASSERT_PTR_NULL(colo_device_state_load(memory, HEAD - 1, NULL, &n, &err));
	CU_ASSERT_PTR_NULL(colo_device_state_load(memory, 0, NULL, &n, &err));
}

/* The name travels with the state; one of 63 bytes is the longest. */
static void
test_machine(void)
{
	struct colo_block *block = make_block();
	char name[COLO_MACHINE_NAME_MAX + 2];
	struct colo_error err = {""};
	const char *machine = NULL;
	uint64_t n;

	memset(name, 'm', sizeof(name));
	for (unsigned int length = 0; length <= COLO_MACHINE_NAME_MAX + 1; length++) {
		bool fits = length <= COLO_MACHINE_NAME_MAX;

		name[length] = '\0';
		CU_ASSERT_EQUAL(colo_device_state_store(block, name, "x", 1, &err), fits ? 0 : -1);
		name[length] = 'm';
		CU_ASSERT_PTR_NOT_NULL_FATAL(
			colo_device_state_load(block->guest.addr, SIZE, &machine, &n, &err));
		CU_ASSERT_EQUAL(strlen(machine), fits ? length : COLO_MACHINE_NAME_MAX);
	}
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "name has 64 bytes, at most 63"));
	/* a longer one's rest must not stay behind a shorter one */
	CU_ASSERT_EQUAL(colo_device_state_store(block, "pc", "x", 1, &err), 0);
	CU_ASSERT_EQUAL(block->guest.addr[HEAD - 2], 0);
	block->guest.addr[16] = '\n';
	CU_ASSERT_PTR_NULL(colo_device_state_load(block->guest.addr, SIZE, NULL, &n, &err));
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "machine type is no name"));
	memset(block->guest.addr + 16, 'm', COLO_MACHINE_NAME_MAX + 1); /* without an end */
	CU_ASSERT_PTR_NULL(colo_device_state_load(block->guest.addr, SIZE, NULL, &n, &err));
	colo_blocks_free(&blocks, false);
}

static const struct ut_case cases[] = {
	{"what is stored is found again", test_round_trip},
	{"too long a state is refused and changes nothing", test_too_long},
	{"only pages that changed are marked", test_only_changes_are_marked},
	{"damaged or missing states are refused", test_damage},
	{"the machine type's name", test_machine},
	{"memory smaller than the header", test_tiny_memory},
};

int
main(void)
{
	return UT_RUN("device_state", cases);
}
