/* SPDX-License-Identifier: BSD-3-Clause */
/* A session's blocks: which lists are refused, and what following one makes, keeps and frees. */
#include <stdlib.h>
#include <string.h>

#include "extra.h"
#include "job.h"
#include "ut.h"

#define KIB   (1ull << 10)
#define MIB   (1ull << 20)
#define RAM   (2 * MIB + 4 * KIB)
#define DIMM  (64 * KIB)
#define STATE (8 * KIB)
#define MAX   (1 * MIB)
#define DEV   COLO_DEVICE_BLOCK_NAME

static struct colo_blocks b; /* owner: the running case */
static struct colo_error err;
static struct colo_listed_block list[COLO_MAX_BLOCKS + 1];
static unsigned int n;

static void
add_ours(const char *name, uint64_t size)
{
	struct colo_block_spec spec = {.size = size};

	strcpy(spec.name, name);
	CU_ASSERT_EQUAL_FATAL(colo_blocks_add_secondary(&b, &spec, 2, -1, &err), 0);
}

/* pc.ram and a dimm by --block, and the device state's. */
static void
begin(uint64_t max)
{
	memset(&b, 0, sizeof(b));
	b.rules = (struct colo_extra_rules){.max = max, .n_channels = 2, .numa_node = -1};
	add_ours("pc.ram", RAM);
	add_ours("dimm", DIMM);
	add_ours(DEV, STATE);
	n = 0;
}

static void
end(void)
{
	colo_blocks_free(&b, false);
}

static void
put(const char *name, uint64_t size)
{
	list[n++] = (struct colo_listed_block){.name = name, .size = size};
}

/* As a primary lists them: ours with so many others between and the device state's last. */
static void
put_all(unsigned int others, uint64_t size)
{
	static char name[COLO_MAX_BLOCKS][16];

	n = 0;
	put("pc.ram", RAM);
	for (unsigned int i = 0; i < others; i++) {
		snprintf(name[i], sizeof(name[i]), "rom%u", i);
		put(name[i], size);
	}
	put("dimm", DIMM);
	put(DEV, STATE);
}

static bool
takes(void)
{
	struct colo_error none = {""};

	err = none;
	return colo_extra_check(&b, list, n, &err) == 0;
}

static void
refuses(const char *words)
{
	struct colo_blocks before = b;

	CU_ASSERT_FALSE(takes());
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, words));
	if (strstr(err.text, words) == NULL)
		printf("\n    \"%s\" instead of \"%s\"\n", err.text, words);
	CU_ASSERT_EQUAL(memcmp(&before, &b, sizeof(b)), 0);
}

/* Every block is where the list has it, can be written to its end, and is emptied by a reset. */
static void
check_followed(void)
{
	CU_ASSERT_TRUE_FATAL(takes());
	CU_ASSERT_EQUAL_FATAL(colo_extra_adopt(&b, list, n, &err), 0);
	CU_ASSERT_EQUAL_FATAL(b.n, n);
	CU_ASSERT_EQUAL(colo_blocks_reset(&b, &err), 0);
	for (unsigned int i = 0; i < n; i++) {
		struct colo_block *k = &b.block[i];
		uint32_t last = k->n_pages - 1;

		CU_ASSERT_STRING_EQUAL(k->name, list[i].name);
		CU_ASSERT_EQUAL(k->size, list[i].size);
		CU_ASSERT_EQUAL(k->n_pages, list[i].size / COLO_PAGE_SIZE);
		CU_ASSERT_EQUAL(k->recorded[0].n_pages, k->n_pages);
		CU_ASSERT_EQUAL(k->recorded[1].n_pages, k->n_pages);
		CU_ASSERT_PTR_NULL(k->recorded[2].words);
		CU_ASSERT_EQUAL(colo_page_addr(&k->guest, last)[4095], 0);
		CU_ASSERT_EQUAL(colo_page_addr(&k->cache, last)[4095], 0);
		colo_page_addr(&k->guest, last)[4095] = 1;
		colo_page_addr(&k->cache, last)[4095] = 1;
		colo_dirty_set(&k->recorded[1], last);
		k->touched[k->n_pieces - 1] = 1;
	}
}

static void
test_same_list(void)
{
	begin(0);
	put_all(0, 0);
	check_followed();
	end();
}

/* The operator's order is not the primary's; what the blocks hold moves with them. */
static void
test_order(void)
{
	uint8_t *ram, *dimm;

	begin(0);
	ram = b.block[0].guest.addr;
	dimm = b.block[1].guest.addr;
	put("dimm", DIMM);
	put("pc.ram", RAM);
	put(DEV, STATE);
	check_followed();
	CU_ASSERT_PTR_EQUAL(b.block[0].guest.addr, dimm);
	CU_ASSERT_PTR_EQUAL(b.block[1].guest.addr, ram);
	/* a pair's, and a hypervisor's, stay where they are */
	b.rules.fixed = true;
	check_followed();
	put_all(0, 0);
	refuses("the primary's block 0 is pc.ram, here it is dimm");
	end();
}

static void
test_extra(void)
{
	uint8_t *kept;

	begin(MAX);
	put_all(3, 4 * KIB);
	check_followed();
	CU_ASSERT_FALSE(b.block[0].extra);
	CU_ASSERT_TRUE(b.block[1].extra);
	CU_ASSERT_EQUAL(b.changes, 1);
	kept = b.block[2].guest.addr;
	/* another session: one stays, one has another size, one is new, one is gone */
	n = 0;
	put("rom1", 4 * KIB);
	put("rom0", 12 * KIB);
	put("dimm", DIMM);
	put("vga", 512 * KIB);
	put("pc.ram", RAM);
	put(DEV, STATE);
	check_followed();
	CU_ASSERT_PTR_EQUAL(b.block[0].guest.addr, kept);
	CU_ASSERT_EQUAL(b.changes, 2);
	/* and one without any */
	put_all(0, 0);
	check_followed();
	CU_ASSERT_FALSE(b.block[0].extra || b.block[1].extra || b.block[2].extra);
	end();
}

static void
test_count(void)
{
	begin(MAX);
	put_all(COLO_MAX_BLOCKS - 4, 4 * KIB);
	check_followed();
	put_all(COLO_MAX_BLOCKS - 3, 4 * KIB);
	check_followed();
	put_all(COLO_MAX_BLOCKS - 2, 4 * KIB);
	refuses("33 blocks, 1 to 32 are accepted");
	n = 0;
	refuses("0 blocks");
	end();
}

/* --extra-blocks bounds the sum, which does not wrap around either. */
static void
test_sum(void)
{
	begin(MAX);
	put_all(2, MAX / 2);
	check_followed();
	list[2].size = MAX / 2 - 4 * KIB;
	check_followed();
	list[2].size = MAX / 2 + 4 * KIB;
	refuses("exceed --extra-blocks, 1048576 bytes");
	put_all(1, MAX + 4 * KIB);
	refuses("with block rom0 of 1052672 bytes");
	put_all(29, COLO_MAX_BLOCK_SIZE);
	refuses("exceed --extra-blocks");
	list[2].size = UINT64_MAX - MAX + 1;
	list[1].size = MAX;
	refuses("block rom1 has size 18446744073708503040: accepted are");
	b.rules.max = UINT64_MAX; /* sizes are bounded all the same */
	put_all(1, COLO_MAX_BLOCK_SIZE + 4 * KIB);
	refuses("block rom0 has size");
	end();
}

static void
test_refused(void)
{
	char name[COLO_BLOCK_NAME_MAX + 2] = "";

	begin(MAX);
	put_all(1, 4 * KIB);
	list[0].name = "ram";
	refuses("the primary has no block pc.ram, which --block names here");
	put_all(1, 4 * KIB);
	list[0].size += 4 * KIB;
	refuses("size of block pc.ram differs: primary 2105344, secondary 2101248");
	put_all(1, 4 * KIB);
	list[3].size *= 2;
	refuses("size of block " DEV " differs");
	put_all(1, 4 * KIB);
	put("rom9", 4 * KIB); /* behind the device state's */
	refuses("last block is rom9, only the device state's is accepted there");
	put_all(2, 4 * KIB);
	list[2].name = "rom0";
	refuses("two blocks named rom0");
	list[2].name = "pc.ram";
	refuses("two blocks named pc.ram");
	list[2].name = "two words";
	refuses("0x20");
	list[2].name = "";
	refuses("1 to 63 bytes");
	memset(name, 'x', COLO_BLOCK_NAME_MAX + 1);
	list[2].name = name;
	refuses("1 to 63 bytes");
	name[COLO_BLOCK_NAME_MAX] = '\0';
	check_followed();
	for (unsigned int size = 0; size < 2; size++) {
		list[1].size = size * 4097;
		refuses("accepted are multiples of 4096");
	}
	b.rules.max = 0;
	put_all(1, 4 * KIB);
	refuses("has a block rom0 of 4096 bytes, which no --block names here");
	end();
}

/* No memory for the second extra block: there is none then, and ours are whole. */
static void
test_no_memory(void)
{
	begin(UINT64_MAX);
	put_all(1, 4 * KIB);
	check_followed();
	put_all(2, 4 * KIB);
	list[2].size = COLO_MAX_BLOCK_SIZE;	    /* its bitmaps alone would be 1 GiB */
	b.rules.n_channels = COLO_MAX_CHANNELS + 1; /* cannot be made, whatever the host has */
	CU_ASSERT_TRUE(takes());
	CU_ASSERT_EQUAL(colo_extra_adopt(&b, list, n, &err), -1);
	CU_ASSERT_EQUAL(b.n, 3);
	CU_ASSERT_STRING_EQUAL(b.block[2].name, DEV);
	b.rules.n_channels = 2;
	put_all(1, 4 * KIB);
	check_followed();
	end();
}

/* Whatever a session brings, its pieces have room in the list made at start. */
static void
test_pieces(void)
{
	struct colo_piece_list l;

	begin(4 * MIB);
	CU_ASSERT_EQUAL_FATAL(colo_piece_list_init(&l, &b), 0);
	CU_ASSERT_EQUAL(l.room, 2 + 1 + 1 + 2 + COLO_MAX_BLOCKS);
	put_all(1, 4 * MIB);
	check_followed();
	colo_piece_list_all(&l, &b);
	CU_ASSERT_EQUAL(l.n, 6);
	put_all(29, 4 * KIB);
	list[1].size = 2 * MIB + 4 * KIB;
	list[2].size = 4 * KIB;
	check_followed();
	colo_piece_list_all(&l, &b);
	CU_ASSERT_EQUAL(l.n, 4 + 2 + 28);
	colo_piece_list_fini(&l);
	b.rules.max = 0;
	CU_ASSERT_EQUAL(colo_extra_pieces(&b), 0);
	end();
}

/* Lists at random, from few names and sizes: taken and followed whole, or refused. */
static void
test_random(void)
{
	static const char *const names[] = {"pc.ram", "dimm", DEV, "vga", "rom", "bios", "acpi"};
	static const uint64_t sizes[] = {RAM, DIMM, STATE, 16 * KIB, 4 * KIB, 0, MAX};
	unsigned int taken = 0;

	begin(MAX);
	srand(7);
	for (unsigned int turn = 0; turn < 20000; turn++) {
		n = 0;
		for (unsigned int k = rand() % 8; k > 0; k--) {
			unsigned int name = rand() % 7;

			put(names[name], sizes[rand() % 8 != 0 ? name : (unsigned int)rand() % 7]);
		}
		if (rand() % 4 != 0)
			put(DEV, STATE);
		if (!takes())
			continue;
		taken++;
		check_followed();
	}
	CU_ASSERT_TRUE(taken > 20);
	end();
}

int
main(void)
{
	static const struct ut_case cases[] = {
		{"the same blocks", test_same_list},
		{"another order", test_order},
		{"extra blocks come, stay and go", test_extra},
		{"how many", test_count},
		{"how much", test_sum},
		{"refused", test_refused},
		{"no memory", test_no_memory},
		{"room for pieces", test_pieces},
		{"lists at random", test_random},
	};

	return UT_RUN("extra", cases);
}
