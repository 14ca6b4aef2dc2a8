/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A takeover with all blocks of a real QEMU, VGA memory and ROMs too: what a primary QEMU migrates
 * to a file becomes the blocks of a secondary (pc.ram in a file that the standby maps, the others
 * by the primary's list), a standby takes over from them, and what that one migrates to a file in
 * the end must hold the same. With every QEMU that is there; skipped where there is none.
 */
#include "big_endian.h"
#include "adapter.h"
#include "device_state.h"
#include "extra.h"
#include "page.h"
#include "qemu_guest.h"
#include "qmp.h"
#include "ut.h"

#define DEVICE_SIZE (4u << 20)
#define VGA_SIZE    (16u << 20)
#define SKIPPED	    77						 /* what meson takes for it */
#define QEMU11	    "/var/cache/dpdk-colo/qemu-system-x86_64-11" /* scripts/fetch-qemu11 */

/* A migration stream in a file: the blocks' contents, and where the device sections are. */
struct dump {
	uint8_t *bytes;
	size_t length, at;
	char machine[COLO_MACHINE_NAME_MAX + 1];
	unsigned int n;
	char name[COLO_MAX_BLOCKS][COLO_BLOCK_NAME_MAX + 1];
	uint64_t size[COLO_MAX_BLOCKS];
	uint8_t *memory[COLO_MAX_BLOCKS];
	size_t device, device_end;
};

static struct colo_error err;

/* ---- read a dump ---- */

static uint64_t
take(struct dump *d, unsigned int bytes)
{
	uint64_t v = 0;

	CU_ASSERT_TRUE_FATAL(d->at + bytes <= d->length);
	while (bytes-- > 0)
		v = v << 8 | d->bytes[d->at++];
	return v;
}

static void
take_name(struct dump *d, unsigned int bytes_of_length, char *name, size_t room)
{
	size_t length = take(d, bytes_of_length);

	CU_ASSERT_TRUE_FATAL(length < room && d->at + length <= d->length);
	memcpy(name, d->bytes + d->at, length);
	name[length] = '\0';
	d->at += length;
}

static void
take_list(struct dump *d, uint64_t total)
{
	for (; total > 0; d->n++) {
		CU_ASSERT_TRUE_FATAL(d->n < COLO_MAX_BLOCKS - 1);
		take_name(d, 1, d->name[d->n], sizeof(d->name[0]));
		d->size[d->n] = take(d, 8);
		CU_ASSERT_TRUE_FATAL(d->size[d->n] <= total);
		d->memory[d->n] = calloc(1, d->size[d->n]);
		total -= d->size[d->n];
	}
}

static unsigned int
find(const struct dump *d, const char *name)
{
	unsigned int i = 0;

	while (i < d->n && strcmp(d->name[i], name) != 0)
		i++;
	if (i == d->n)
		printf("no block %s\n", name);
	CU_ASSERT_TRUE_FATAL(i < d->n);
	return i;
}

static void
take_ram(struct dump *d)
{
	static unsigned int block; /* of the page before */
	char name[COLO_BLOCK_NAME_MAX + 1];

	for (;;) {
		uint64_t v = take(d, 8), offset = v & ~0xfffull;

		if (v & 0x10)
			return;
		if (v & 0x04) {
			take_list(d, offset);
			continue;
		}
		if ((v & 0x0a) == 0)
			continue;
		if (!(v & 0x20)) {
			take_name(d, 1, name, sizeof(name));
			block = find(d, name);
		}
		CU_ASSERT_TRUE_FATAL(offset + COLO_PAGE_SIZE <= d->size[block]);
		if (v & 0x02) {
			memset(d->memory[block] + offset, (int)take(d, 1), COLO_PAGE_SIZE);
		} else {
			memcpy(d->memory[block] + offset, d->bytes + d->at, COLO_PAGE_SIZE);
			d->at += COLO_PAGE_SIZE;
		}
	}
}

/* The description at the end says how long it is. */
static void
find_devices(struct dump *d)
{
	d->device = d->at;
	for (d->device_end = d->at; d->device_end + 5 <= d->length; d->device_end++) {
		const uint8_t *p = d->bytes + d->device_end;

		if (p[0] == 6 && p[-1] == 0 && get_be32(p + 1) == d->length - d->device_end - 5)
			return;
	}
	CU_FAIL_FATAL("no description");
}

static void
parse(struct dump *d)
{
	char name[8];

	d->at = 8;
	for (;;) {
		switch (take(d, 1)) {
		case 7:
			take_name(d, 4, d->machine, sizeof(d->machine));
			break;
		case 8:
			(void)take(d, 2);
			d->at += take(d, 2);
			break;
		case 1:
			(void)take(d, 4);
			take_name(d, 1, name, sizeof(name));
			CU_ASSERT_STRING_EQUAL_FATAL(name, "ram");
			(void)take(d, 8);
			take_ram(d);
			break;
		case 2:
		case 3:
			(void)take(d, 4);
			take_ram(d);
			break;
		case 0x7e:
			(void)take(d, 4);
			break;
		case 4:
			d->at--;
			find_devices(d);
			return;
		default:
			CU_FAIL_FATAL("unknown section");
		}
	}
}

static void
command(struct colo_qmp *q, const char *name, const char *arguments, struct colo_json *reply)
{
	err.text[0] = '\0';
	if (colo_qmp_command(q, name, arguments, colo_deadline(5000), reply, &err) !=
		COLO_OUTCOME_OK)
		printf("%s: %s\n", name, err.text);
	CU_ASSERT_STRING_EQUAL_FATAL(err.text, "");
}

/* Stop the guest and read what it migrates. */
static void
dump_guest(struct dump *d, const struct qemu_guest *g)
{
	static struct colo_qmp q;
	char path[300], arguments[400], status[32] = "";
	struct colo_json reply;
	FILE *f;

	memset(d, 0, sizeof(*d));
	snprintf(path, sizeof(path), "%s.dump", g->ram);
	snprintf(arguments, sizeof(arguments), "{\"uri\":\"exec:cat >%s\"}", path);
	CU_ASSERT_EQUAL_FATAL(
		colo_qmp_open(&q, g->qmp, COLO_NO_ABORT, colo_deadline(5000), &err), 0);
	command(&q, "stop", NULL, NULL);
	command(&q, "migrate", arguments, NULL);
	for (int i = 0; i < 2000 && strcmp(status, "completed") != 0; i++) {
		usleep(10000);
		command(&q, "query-migrate", NULL, &reply);
		(void)colo_json_member_string(&reply, "status", status, sizeof(status));
		CU_ASSERT_STRING_NOT_EQUAL_FATAL(status, "failed");
	}
	colo_qmp_close(&q);
	f = fopen(path, "r");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	fseek(f, 0, SEEK_END);
	d->length = (size_t)ftell(f);
	rewind(f);
	d->bytes = malloc(d->length);
	CU_ASSERT_EQUAL_FATAL(fread(d->bytes, 1, d->length, f), d->length);
	fclose(f);
	unlink(path);
	parse(d);
}

static void
free_dump(struct dump *d)
{
	for (unsigned int i = 0; i < d->n; i++)
		free(d->memory[i]);
	free(d->bytes);
}

/* ---- the secondary ---- */

static void
store_device_state(struct colo_block *block, const struct dump *d)
{
	struct colo_block primary = *block; /* what stores is a primary's */

	CU_ASSERT_EQUAL_FATAL(colo_dirty_init(&primary.todo, primary.n_pages), 0);
	CU_ASSERT_EQUAL_FATAL(colo_device_state_store(&primary, d->machine, d->bytes + d->device,
				      d->device_end - d->device, &err),
		0);
	colo_dirty_fini(&primary.todo);
}

/* Its blocks before a session: what the operator names. */
static void
make_blocks(struct colo_blocks *b, const struct qemu_guest *standby)
{
	struct colo_block_spec ram = {.name = "pc.ram", .size = GUEST_RAM_SIZE};
	struct colo_block_spec device = {.name = COLO_DEVICE_BLOCK_NAME, .size = DEVICE_SIZE};

	memset(b, 0, sizeof(*b));
	b->rules = (struct colo_extra_rules){.max = 128 << 20, .n_channels = 1, .numa_node = -1};
	snprintf(ram.guest_path, sizeof(ram.guest_path), "%s", standby->ram);
	CU_ASSERT_EQUAL_FATAL(colo_blocks_add_secondary(b, &ram, 1, -1, &err), 0);
	CU_ASSERT_EQUAL_FATAL(colo_blocks_add_secondary(b, &device, 1, -1, &err), 0);
}

/* The session's blocks, with what the primary has in them. */
static void
fill_blocks(struct colo_blocks *b, const struct dump *d)
{
	struct colo_listed_block list[COLO_MAX_BLOCKS];

	for (unsigned int i = 0; i < d->n; i++)
		list[i] = (struct colo_listed_block){.name = d->name[i], .size = d->size[i]};
	list[d->n] =
		(struct colo_listed_block){.name = COLO_DEVICE_BLOCK_NAME, .size = DEVICE_SIZE};
	CU_ASSERT_EQUAL_FATAL(colo_extra_check(b, list, d->n + 1, &err), 0);
	CU_ASSERT_EQUAL_FATAL(colo_extra_adopt(b, list, d->n + 1, &err), 0);
	CU_ASSERT_EQUAL_FATAL(colo_blocks_reset(b, &err), 0);
	for (unsigned int i = 0; i < d->n; i++) {
		memcpy(b->block[i].guest.addr, d->memory[i], d->size[i]);
		memset(b->block[i].touched, 1, b->block[i].n_pieces);
	}
	store_device_state(&b->block[d->n], d);
}

static enum colo_adapter_status
await_adapter(struct colo_adapter *a)
{
	enum colo_adapter_status status = COLO_ADAPTER_BUSY;

	for (int i = 0; i < 12000 && status == COLO_ADAPTER_BUSY; i++) {
		status = a->ops->poll(a);
		usleep(1000);
	}
	if (status != COLO_ADAPTER_DONE)
		printf("%s\n", a->error.text);
	return status;
}

static void
await_waiting(const struct qemu_guest *g)
{
	char status[COLO_QMP_STATUS_MAX] = "";
	static struct colo_qmp q;
	bool running;

	for (int i = 0; i < 300 && strcmp(status, "inmigrate") != 0; i++) {
		usleep(10000);
		if (colo_qmp_open(&q, g->qmp, COLO_NO_ABORT, colo_deadline(300), NULL) != 0)
			continue;
		(void)colo_qmp_status(&q, colo_deadline(300), status, &running, NULL);
		colo_qmp_close(&q);
	}
	CU_ASSERT_STRING_EQUAL_FATAL(status, "inmigrate");
}

/* What the standby has in its blocks is what the primary had, but for what its guest writes. */
static void
check_same(const struct dump *before, const struct dump *after)
{
	CU_ASSERT_EQUAL_FATAL(before->n, after->n);
	CU_ASSERT_STRING_EQUAL(before->machine, after->machine);
	for (unsigned int i = 0; i < before->n; i++) {
		unsigned int k = find(after, before->name[i]);
		bool same;

		CU_ASSERT_EQUAL_FATAL(before->size[i], after->size[k]);
		same = memcmp(before->memory[i], after->memory[k], before->size[i]) == 0;
		if (!same && strcmp(before->name[i], "pc.ram") != 0) {
			printf("block %s differs\n", before->name[i]);
			CU_FAIL("contents");
		}
	}
}

/* A screenful that no other QEMU has; one page in it, and the last, are zeros. */
static void
paint(struct dump *d)
{
	static const char *const names[] = {"0000:00:02.0/vga.vram", "0000:00:01.0/vga.vram"};
	uint8_t *vga = d->memory[find(d, names[strstr(d->machine, "q35") != NULL])];

	srand(11);
	for (uint64_t i = 0; i < VGA_SIZE; i += 2)
		*(uint16_t *)(void *)(vga + i) = (uint16_t)rand();
	memset(vga + 5 * COLO_PAGE_SIZE, 0, COLO_PAGE_SIZE);
	memset(vga + VGA_SIZE - COLO_PAGE_SIZE, 0, COLO_PAGE_SIZE);
}

/* It was stopped anywhere, in the middle of a line as well, and goes on from there. */
static void
check_output(const struct qemu_guest *old, const struct qemu_guest *standby)
{
	struct qemu_guest both;
	struct guest_output o;
	char cat[1024];

	snprintf(both.out, sizeof(both.out), "%s/both", guest_dir);
	snprintf(cat, sizeof(cat), "cat '%s' '%s' >'%s'", old->out, standby->out, both.out);
	CU_ASSERT_EQUAL_FATAL(system(cat), 0);
	o = guest_read(&both);
	CU_ASSERT_TRUE(o.consecutive);
	CU_ASSERT_FALSE(o.complained);
	CU_ASSERT_TRUE(o.lines > 40);
}

static void
take_over(const char *machine)
{
	char *const runs[] = {"-machine", (char *)(uintptr_t)machine, "-device", "VGA,vgamem_mb=16",
		"-device", "virtio-net-pci", NULL};
	char *const waits[] = {"-machine", (char *)(uintptr_t)machine, "-device",
		"VGA,vgamem_mb=16", "-device", "virtio-net-pci", "-incoming", "defer", NULL};
	static struct colo_blocks blocks;
	struct colo_adapter adapter = {.ops = &colo_adapter_standby, .blocks = &blocks};
	struct qemu_guest old, standby;
	struct dump before, after;
	char spec[300];
	uint32_t last;

	guest_start(&old, "old", "on", runs);
	CU_ASSERT_TRUE_FATAL(guest_counts_beyond(&old, 20));
	dump_guest(&before, &old);
	last = guest_read(&old).last;
	guest_kill(&old);
	paint(&before);
	guest_paths(&standby, "standby");
	make_blocks(&blocks, &standby);
	guest_start(&standby, "standby", "on", waits);
	await_waiting(&standby);
	snprintf(spec, sizeof(spec), "unix:%s", standby.qmp);
	CU_ASSERT_EQUAL_FATAL(adapter.ops->start(&adapter, spec, &err), 0);
	fill_blocks(&blocks, &before);
	adapter.ops->failover(&adapter);
	CU_ASSERT_EQUAL_FATAL(await_adapter(&adapter), COLO_ADAPTER_DONE);
	printf("%s, %u blocks, %zu bytes of devices: %u us ", before.machine, before.n,
		before.device_end - before.device, (unsigned int)adapter.takeover_us);
	CU_ASSERT_TRUE(guest_counts_beyond(&standby, last + 20));
	check_output(&old, &standby);
	adapter.ops->stop(&adapter); /* it holds the QMP socket */
	dump_guest(&after, &standby);
	check_same(&before, &after);
	guest_kill(&standby);
	free_dump(&before);
	free_dump(&after);
	colo_blocks_free(&blocks, false);
}

static void
test_pc(void)
{
	take_over("pc");
}

static void
test_q35(void)
{
	take_over("q35");
}

static const struct ut_case cases[] = {
	{"machine pc", test_pc},
	{"machine q35", test_q35},
};

int
main(void)
{
	int result = SKIPPED;

	colo_page_init(NULL);
	for (unsigned int i = 0; i < 2; i++) {
		if (i == 1 && access(QEMU11, X_OK) != 0)
			continue;
		if (i == 1)
			setenv("COLO_TEST_QEMU", QEMU11, 1);
		if (!guest_prepare()) {
			printf("skipped: %s does not run\n", guest_qemu());
			continue;
		}
		printf("%s\n", guest_qemu());
		result = UT_RUN("takeover with all blocks", cases);
		guest_cleanup();
		if (result != 0)
			break;
	}
	return result;
}
