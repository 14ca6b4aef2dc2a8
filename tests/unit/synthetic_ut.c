/* SPDX-License-Identifier: BSD-3-Clause */
/* synthetic.c: the guest as the control core sees it: rounds, pauses, stillness, device state. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "device_state.h"
#include "log.h"
#include "source.h"
#include "ut.h"

static struct colo_blocks blocks;
static struct colo_source source;

static int
start(const char *args, const struct colo_block_spec *specs, unsigned int n_specs,
	struct colo_error *err)
{
	memset(&blocks, 0, sizeof(blocks));
	source = (struct colo_source){
		.ops = &colo_source_synthetic,
		.blocks = &blocks,
		.specs = specs,
		.n_specs = n_specs,
		.device_block_size = 1u << 20,
	};
	return source.ops->start(&source, args, err);
}

static void
start_well(const char *args)
{
	struct colo_error err = {.text = ""};

	if (start(args, NULL, 0, &err) != 0)
		printf("[%s]", err.text);
	CU_ASSERT_STRING_EQUAL_FATAL(err.text, "");
}

static void
stop(void)
{
	source.ops->stop(&source);
	source.ops->stop(&source);
	colo_blocks_free(&blocks, false);
}

static void
ask(enum colo_source_request request)
{
	const struct timespec ms = {.tv_nsec = 1000000};

	source.ops->request(&source, request);
	for (unsigned int i = 0; i < 5000 && source.ops->poll(&source) == COLO_SOURCE_BUSY; i++)
		nanosleep(&ms, NULL);
	CU_ASSERT_EQUAL(source.ops->poll(&source), COLO_SOURCE_DONE);
}

/* As the poll cores: pick and clear. @return pages of memory, the device state's not counted. */
static uint64_t
take_todo(uint64_t *device_pages)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i + 1 < blocks.n; i++)
		n += colo_dirty_count(&blocks.block[i].todo);
	*device_pages = colo_dirty_count(&blocks.block[blocks.n - 1].todo);
	for (unsigned int i = 0; i < blocks.n; i++)
		colo_dirty_clear(&blocks.block[i].todo);
	return n;
}

static uint8_t *
snapshot(void)
{
	uint8_t *copy = malloc(blocks.block[0].size);

	memcpy(copy, blocks.block[0].guest.addr, blocks.block[0].size);
	return copy;
}

/* todo names exactly the pages that differ from @p before. */
static void
check_todo_is_the_difference(const uint8_t *before)
{
	const struct colo_block *b = &blocks.block[0];
	unsigned int wrong = 0;

	for (uint32_t page = 0; page < b->n_pages; page++)
		wrong += colo_dirty_get(&b->todo, page) !=
			 (memcmp(before + page * 4096ull, colo_page_addr(&b->guest, page), 4096) !=
				 0);
	CU_ASSERT_EQUAL(wrong, 0);
}

static void
first_round_is_everything(void)
{
	uint64_t device;

	start_well("size=8M,dirty=10");
	CU_ASSERT_EQUAL(blocks.n, 2);
	CU_ASSERT_STRING_EQUAL(blocks.block[0].name, "pc.ram");
	CU_ASSERT_STRING_EQUAL(blocks.block[1].name, COLO_DEVICE_BLOCK_NAME);
	CU_ASSERT_EQUAL(source.ops->poll(&source), COLO_SOURCE_DONE);
	ask(COLO_SOURCE_ROUND);
	CU_ASSERT_EQUAL(take_todo(&device), 2048);
	CU_ASSERT_EQUAL(device, 256);
	stop();
}

static void
rounds_and_checkpoints(void)
{
	uint8_t *before;
	uint64_t device;

	start_well("size=8M,dirty=100");
	ask(COLO_SOURCE_ROUND);
	take_todo(&device);
	for (unsigned int i = 0; i < 5; i++) {
		before = snapshot();
		ask(COLO_SOURCE_ROUND);
		check_todo_is_the_difference(before);
		free(before);
		CU_ASSERT_EQUAL(take_todo(&device), 100);
		CU_ASSERT_EQUAL(device, 0);
	}
	before = snapshot();
	for (unsigned int i = 0; i < 5; i++) {
		uint8_t *paused;

		ask(COLO_SOURCE_PAUSE);
		check_todo_is_the_difference(before);
		CU_ASSERT_EQUAL(take_todo(&device), 100);
		CU_ASSERT_EQUAL(device, 4); /* 13000 bytes behind a head of 16 */
		paused = snapshot();
		ask(COLO_SOURCE_RESUME);
		free(before);
		before = paused;
		CU_ASSERT_EQUAL(take_todo(&device), 0); /* known at the next PAUSE only */
	}
	free(before);
	stop();
}

/* Between PAUSE and RESUME, and after a ROUND, memory stands still. */
static void
memory_stands_still(void)
{
	uint8_t *before;

	start_well("size=8M,dirty=2048");
	ask(COLO_SOURCE_ROUND);
	before = snapshot();
	usleep(20000);
	CU_ASSERT_EQUAL(memcmp(before, blocks.block[0].guest.addr, 8u << 20), 0);
	ask(COLO_SOURCE_PAUSE);
	CU_ASSERT_NOT_EQUAL(memcmp(before, blocks.block[0].guest.addr, 8u << 20), 0);
	free(before);
	before = snapshot();
	usleep(20000);
	CU_ASSERT_EQUAL(memcmp(before, blocks.block[0].guest.addr, 8u << 20), 0);
	ask(COLO_SOURCE_RESUME);
	usleep(50000);
	source.ops->stop(&source);
	/* It ran: the next set was on its way before anybody asked. */
	CU_ASSERT_NOT_EQUAL(memcmp(before, blocks.block[0].guest.addr, 8u << 20), 0);
	free(before);
	stop();
}

static void
device_state_changes(void)
{
	const uint8_t *state;
	uint8_t first[13000];
	struct colo_error err;
	uint64_t length;

	start_well("size=1M,dirty=1");
	ask(COLO_SOURCE_PAUSE);
	state = colo_device_state_load(blocks.block[1].guest.addr, 1u << 20, NULL, &length, &err);
	CU_ASSERT_PTR_NOT_NULL_FATAL(state);
	CU_ASSERT_EQUAL(length, 13000);
	memcpy(first, state, sizeof(first));
	ask(COLO_SOURCE_RESUME);
	ask(COLO_SOURCE_PAUSE);
	CU_ASSERT_NOT_EQUAL(memcmp(first, state, sizeof(first)), 0);
	stop();
	start_well("size=1M,dirty=1,device=0");
	ask(COLO_SOURCE_PAUSE);
	CU_ASSERT_PTR_NOT_NULL(
		colo_device_state_load(blocks.block[1].guest.addr, 1u << 20, NULL, &length, &err));
	CU_ASSERT_EQUAL(length, 0);
	stop();
}

static void
same_seed_same_run(void)
{
	uint8_t *a;

	for (unsigned int seed = 1; seed < 3; seed++) {
		char args[64];

		snprintf(args, sizeof(args), "size=4M,dirty=200,seed=%u", seed);
		start_well(args);
		ask(COLO_SOURCE_ROUND);
		ask(COLO_SOURCE_PAUSE);
		ask(COLO_SOURCE_RESUME);
		ask(COLO_SOURCE_PAUSE);
		a = snapshot();
		stop();
		start_well("size=4M,dirty=200,seed=1");
		ask(COLO_SOURCE_ROUND);
		ask(COLO_SOURCE_ROUND);
		ask(COLO_SOURCE_PAUSE);
		CU_ASSERT_EQUAL(memcmp(a, blocks.block[0].guest.addr, 4u << 20) == 0, seed == 1);
		stop();
		free(a);
	}
}

static void
blocks_from_options(void)
{
	static struct colo_block_spec specs[2] = {
		{.name = "ram.lo", .size = 40960}, {.name = "ram.hi", .size = 4096}};
	struct colo_error err;
	uint64_t device;

	CU_ASSERT_EQUAL_FATAL(start("dirty=11", specs, 2, &err), 0);
	CU_ASSERT_EQUAL(blocks.n, 3);
	CU_ASSERT_STRING_EQUAL(blocks.block[1].name, "ram.hi");
	ask(COLO_SOURCE_ROUND);
	take_todo(&device);
	ask(COLO_SOURCE_PAUSE);
	CU_ASSERT_EQUAL(colo_dirty_count(&blocks.block[1].todo), 1);
	CU_ASSERT_EQUAL(take_todo(&device), 11);
	stop();
	CU_ASSERT_EQUAL(start("dirty=12", specs, 2, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "dirty=12"));
	stop();
	CU_ASSERT_EQUAL(start("dirty=1,size=45056", specs, 2, &err), 0);
	stop();
	CU_ASSERT_EQUAL(start("dirty=1,size=4096", specs, 2, &err), -1);
	stop();
}

/* A file from before is emptied first: the run depends on the seed alone. */
static void
file_from_before(void)
{
	char path[] = "/dev/shm/colo_synthetic_ut_XXXXXX";
	struct colo_block_spec spec = {.name = "pc.ram", .size = 1u << 20};
	static uint8_t old[1u << 20];
	struct colo_error err;
	unsigned int left = 0;
	int fd = mkstemp(path);

	memset(old, 0x5a, sizeof(old));
	CU_ASSERT_EQUAL(write(fd, old, sizeof(old)), (ssize_t)sizeof(old));
	strcpy(spec.guest_path, path);
	CU_ASSERT_EQUAL_FATAL(start("dirty=1", &spec, 1, &err), 0);
	for (unsigned int page = 0; page < 256; page++)
		left += memcmp(blocks.block[0].guest.addr + page * 4096, old, 4096) == 0;
	CU_ASSERT_EQUAL(left, 0);
	stop();
	CU_ASSERT_EQUAL(access(path, F_OK), 0);
	unlink(path);
	close(fd);
}

static void
starts_that_fail(void)
{
	struct colo_error err;

	CU_ASSERT_EQUAL(start("size=1M,dirty=256", NULL, 0, &err), 0);
	stop();
	CU_ASSERT_EQUAL(start("size=1M,dirty=257", NULL, 0, &err), -1);
	stop();
	CU_ASSERT_EQUAL(start("size=1M,dirty=1,device=1048496", NULL, 0, &err), 0);
	ask(COLO_SOURCE_PAUSE);
	stop();
	CU_ASSERT_EQUAL(start("size=1M,dirty=1,device=1048497", NULL, 0, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "1048496"));
	stop();
	CU_ASSERT_EQUAL(start("size=1M,dirty=1,image=/nonexistent/x", NULL, 0, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "/nonexistent/x"));
	stop();
	CU_ASSERT_EQUAL(start("colour=red", NULL, 0, &err), -1);
	stop();
}

/* stop() does not wait for a large set to be dirtied. */
static void
stops_in_the_middle(void)
{
	start_well("size=64M,dirty=16384");
	ask(COLO_SOURCE_ROUND);
	ask(COLO_SOURCE_RESUME);
	stop();
	start_well("size=64M,dirty=16384");
	ask(COLO_SOURCE_ROUND);
	source.ops->request(&source, COLO_SOURCE_PAUSE);
	stop();
}

static void
found_by_name(void)
{
	const char *args;
	struct colo_error err;

	CU_ASSERT_PTR_EQUAL(
		colo_source_find("synthetic,size=1G", &args, &err), &colo_source_synthetic);
	CU_ASSERT_STRING_EQUAL(args, "size=1G");
	CU_ASSERT_PTR_EQUAL(colo_source_find("synthetic", &args, &err), &colo_source_synthetic);
	CU_ASSERT_STRING_EQUAL(args, "");
	CU_ASSERT_PTR_NULL(colo_source_find("synthetics", &args, &err));
	CU_ASSERT_PTR_NULL(colo_source_find("synth", &args, &err));
	CU_ASSERT_PTR_NULL(colo_source_find("", &args, &err));
}

int
main(void)
{
	static const struct ut_case cases[] = {
		{"the first round is everything", first_round_is_everything},
		{"rounds and checkpoints", rounds_and_checkpoints},
		{"memory stands still", memory_stands_still},
		{"the device state changes", device_state_changes},
		{"same seed, same run", same_seed_same_run},
		{"blocks from options", blocks_from_options},
		{"a file from before", file_from_before},
		{"starts that fail", starts_that_fail},
		{"stops in the middle", stops_in_the_middle},
		{"found by name", found_by_name},
	};

	/* Without EAL there are no huge pages set aside, and a warning for each block. */
	rte_log_set_level(colo_logtype, RTE_LOG_ERR);
	return UT_RUN("synthetic", cases);
}
