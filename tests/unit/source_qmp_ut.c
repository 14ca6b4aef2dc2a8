/* SPDX-License-Identifier: BSD-3-Clause */
/* Source qmp against a fake QEMU: requests in and out of order, and everything that can go wrong.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "device_state.h"
#include "fake_qmp.h"
#include "page.h"
#include "source.h"
#include "ut.h"
#include "wait.h"

#define RAM_SIZE    ((uint64_t)2 * COLO_PIECE_SIZE + COLO_PAGE_SIZE)
#define DEVICE_SIZE (64u << 10)

static struct fake_qmp fake;
static struct colo_blocks blocks;
static struct colo_block_spec spec[2];
static struct colo_source source;
static struct colo_error err;
static char ram_path[256];
static uint8_t *ram;

static void
begin(void)
{
	int fd;

	fake_start(&fake);
	snprintf(ram_path, sizeof(ram_path), "%s.ram", fake.dir);
	fd = open(ram_path, O_RDWR | O_CREAT | O_EXCL, 0600);
	CU_ASSERT_EQUAL_FATAL(ftruncate(fd, (off_t)RAM_SIZE), 0);
	ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	memset(&blocks, 0, sizeof(blocks));
	memset(spec, 0, sizeof(spec));
	snprintf(spec[0].name, sizeof(spec[0].name), "pc.ram");
	snprintf(spec[0].guest_path, sizeof(spec[0].guest_path), "%s", ram_path);
	spec[0].size = RAM_SIZE;
	spec[1] = spec[0];
	source = (struct colo_source){.ops = &colo_source_qmp,
		.blocks = &blocks,
		.specs = spec,
		.n_specs = 1,
		.device_block_size = DEVICE_SIZE};
	/* QEMU's own view of the file */
	fake.memdev = "[{\"id\":\"pc.ram\",\"size\":4198400,\"share\":true}]";
	fake.mem_path = ram_path;
}

static void
end(void)
{
	source.ops->stop(&source);
	source.ops->stop(&source);
	colo_blocks_free(&blocks, false);
	munmap(ram, RAM_SIZE);
	unlink(ram_path);
	fake_stop(&fake);
}

static int
start_with(const char *more)
{
	char args[512];

	err.text[0] = '\0';
	snprintf(args, sizeof(args), "path=%s%s", fake.path, more);
	return source.ops->start(&source, args, &err);
}

static bool
said(const char *words)
{
	bool found = strstr(err.text, words) != NULL;

	if (!found)
		printf("said: %s\n", err.text);
	return found;
}

static void
collect_all(void)
{
	for (unsigned int b = 0; b < blocks.n; b++)
		for (uint32_t i = 0; i < blocks.block[b].n_pieces; i++)
			source.ops->collect_piece(&source, b, i);
}

/* Wait until the request is over; as soon as it may be collected it is. */
static enum colo_source_status
await(bool *collected)
{
	enum colo_source_status status = COLO_SOURCE_BUSY;

	*collected = false;
	for (int i = 0; i < 100000; i++) {
		status = source.ops->poll(&source);
		if (status == COLO_SOURCE_COLLECT && !*collected) {
			collect_all();
			*collected = true;
		} else if (status != COLO_SOURCE_BUSY && status != COLO_SOURCE_COLLECT) {
			break;
		}
		usleep(50);
	}
	err = source.error;
	return status;
}

static enum colo_source_status
run_request(enum colo_source_request request)
{
	bool collected;

	source.ops->request(&source, request);
	return await(&collected);
}

static void
await_running(void)
{
	for (int i = 0; i < 5000 && !fake.running; i++)
		usleep(1000);
	CU_ASSERT_TRUE(fake.running);
}

static void
test_epochs(void)
{
	const uint8_t *device;
	uint64_t length;
	bool collected;

	begin();
	CU_ASSERT_TRUE(source.ops->staged);
	CU_ASSERT_EQUAL_FATAL(start_with(""), 0);
	CU_ASSERT_EQUAL(blocks.n, 2);
	CU_ASSERT_STRING_EQUAL(blocks.block[0].name, "pc.ram");
	CU_ASSERT_EQUAL(blocks.block[0].guest.path[0], '\0'); /* a copy, not the file */
	CU_ASSERT_STRING_EQUAL(blocks.block[1].name, COLO_DEVICE_BLOCK_NAME);
	CU_ASSERT_EQUAL(blocks.block[1].size, DEVICE_SIZE);
	CU_ASSERT_EQUAL(source.ops->poll(&source), COLO_SOURCE_DONE);

	ram[COLO_PIECE_SIZE] = 1;
	source.ops->request(&source, COLO_SOURCE_ROUND);
	CU_ASSERT_EQUAL(await(&collected), COLO_SOURCE_DONE);
	CU_ASSERT_TRUE(collected);
	CU_ASSERT_EQUAL(colo_dirty_count(&blocks.block[0].todo), 1);
	CU_ASSERT_TRUE(fake.running);
	CU_ASSERT_EQUAL(fake_count(&fake, "stop"), 0);

	ram[RAM_SIZE - 1] = 2;
	source.ops->request(&source, COLO_SOURCE_PAUSE);
	CU_ASSERT_EQUAL(await(&collected), COLO_SOURCE_DONE);
	CU_ASSERT_TRUE(collected);
	CU_ASSERT_FALSE(fake.running);
	CU_ASSERT_EQUAL(colo_dirty_count(&blocks.block[0].todo), 2);
	CU_ASSERT_EQUAL(memcmp(blocks.block[0].guest.addr, ram, RAM_SIZE), 0);
	device = colo_device_state_load(
		blocks.block[1].guest.addr, blocks.block[1].size, NULL, &length, &err);
	CU_ASSERT_PTR_NOT_NULL_FATAL(device);
	CU_ASSERT_EQUAL(length, fake.device_length - 8);
	CU_ASSERT_EQUAL(memcmp(device, fake.device + 8, length), 0);

	source.ops->request(&source, COLO_SOURCE_RESUME);
	CU_ASSERT_EQUAL(await(&collected), COLO_SOURCE_DONE);
	CU_ASSERT_FALSE(collected);
	CU_ASSERT_TRUE(fake.running);
	CU_ASSERT_EQUAL(run_request(COLO_SOURCE_RESUME), COLO_SOURCE_DONE);
	CU_ASSERT_EQUAL(fake_count(&fake, "cont"), 1);
	end();
}

/* Requests one on the other's heels: none is lost, none interrupts itself. */
static void
test_many_requests(void)
{
	unsigned int failed = 0;

	begin();
	CU_ASSERT_EQUAL_FATAL(start_with(""), 0);
	for (int i = 0; i < 150; i++) {
		failed += run_request(COLO_SOURCE_ROUND) != COLO_SOURCE_DONE;
		failed += run_request(COLO_SOURCE_PAUSE) != COLO_SOURCE_DONE;
		failed += run_request(COLO_SOURCE_RESUME) != COLO_SOURCE_DONE;
	}
	CU_ASSERT_EQUAL(failed, 0);
	CU_ASSERT_TRUE(fake.running);
	end();
}

/* RESUME while a PAUSE hangs: it does not wait for the PAUSE's deadline. */
static void
test_resume_overtakes(void)
{
	uint64_t began;

	begin();
	CU_ASSERT_EQUAL_FATAL(start_with(",timeout=60000"), 0);
	fake_rule(&fake, "xen-save-devices-state", "!silent");
	source.ops->request(&source, COLO_SOURCE_PAUSE);
	for (int i = 0; i < 10000 && fake_count(&fake, "xen-save-devices-state") == 0; i++)
		usleep(100);
	CU_ASSERT_EQUAL(source.ops->poll(&source), COLO_SOURCE_COLLECT);
	CU_ASSERT_FALSE(fake.running);
	began = colo_monotonic_us();
	CU_ASSERT_EQUAL(run_request(COLO_SOURCE_RESUME), COLO_SOURCE_DONE);
	CU_ASSERT(colo_monotonic_us() - began < 10000000);
	CU_ASSERT_TRUE(fake.running);
	/* and the next one works */
	fake_rule(&fake, "xen-save-devices-state", NULL);
	CU_ASSERT_EQUAL(run_request(COLO_SOURCE_PAUSE), COLO_SOURCE_DONE);
	CU_ASSERT_EQUAL(run_request(COLO_SOURCE_RESUME), COLO_SOURCE_DONE);
	end();
}

/* A PAUSE that fails says so, and leaves a guest that runs. */
static void
expect_failed_pause(const char *words)
{
	CU_ASSERT_EQUAL(run_request(COLO_SOURCE_PAUSE), COLO_SOURCE_FAILED);
	CU_ASSERT_TRUE(said(words));
	CU_ASSERT_TRUE(fake.running);
}

static void
test_failures(void)
{
	static char big[DEVICE_SIZE + 8];

	begin();
	CU_ASSERT_EQUAL_FATAL(start_with(",timeout=400"), 0);
	fake_rule(&fake, "xen-save-devices-state", "\"error\":{\"desc\":\"disk full\"}");
	expect_failed_pause("disk full");
	fake_rule(&fake, "xen-save-devices-state", "!silent");
	expect_failed_pause("did not answer `xen-save-devices-state` in time");
	fake_rule(&fake, "xen-save-devices-state", "\"return\":{}");
	expect_failed_pause("cannot read the device state");
	fake_rule(&fake, "xen-save-devices-state", NULL);
	fake_rule(&fake, "query-status", "!silent");
	expect_failed_pause("did not answer `query-status` in time");
	fake_rule(&fake, "query-status", NULL);
	fake_rule(&fake, "stop", "!silent"); /* may be carried out all the same: it owes a cont */
	fake.running = true;
	CU_ASSERT_EQUAL(run_request(COLO_SOURCE_PAUSE), COLO_SOURCE_FAILED);
	CU_ASSERT_TRUE(fake_count(&fake, "cont") > 0);
	fake_rule(&fake, "stop", NULL);
	/* nonsense on the line: a new connection resumes the guest */
	fake_rule(&fake, "xen-save-devices-state", "!garbage");
	expect_failed_pause("no JSON");
	fake_rule(&fake, "xen-save-devices-state", "!close");
	expect_failed_pause("closed its QMP connection");
	fake_rule(&fake, "xen-save-devices-state", NULL);
	fake.device = "QEVM\000\000\000\003\004x";
	fake.device_length = 10;
	expect_failed_pause("cut off");
	/* the largest that fits (with its header), and one byte more */
	memcpy(big, "QEVM\000\000\000\003", 8);
	fake.device = big;
	fake.device_length = 8 + DEVICE_SIZE - sizeof(struct colo_device_state);
	CU_ASSERT_EQUAL(run_request(COLO_SOURCE_PAUSE), COLO_SOURCE_DONE);
	CU_ASSERT_EQUAL(run_request(COLO_SOURCE_RESUME), COLO_SOURCE_DONE);
	fake.device_length++;
	expect_failed_pause("give --device-state-size more");
	fake.device_length = 8 + DEVICE_SIZE - sizeof(struct colo_device_state) - 1;
	CU_ASSERT_EQUAL(run_request(COLO_SOURCE_PAUSE), COLO_SOURCE_DONE);
	CU_ASSERT_EQUAL(run_request(COLO_SOURCE_RESUME), COLO_SOURCE_DONE);
	/* memory that moved on does not fit the device state */
	fake_rule(&fake, "query-status",
		"{\"event\":\"RESUME\"}\n\"return\":{\"running\":true,\"status\":\"running\"}");
	fake_rule(&fake, "xen-save-devices-state", NULL);
	fake.device_length = 8 + DEVICE_SIZE - sizeof(struct colo_device_state);
	CU_ASSERT_EQUAL(run_request(COLO_SOURCE_PAUSE), COLO_SOURCE_DONE); /* before the stop */
	CU_ASSERT_EQUAL(run_request(COLO_SOURCE_RESUME), COLO_SOURCE_DONE);
	fake_rule(&fake, "query-status", NULL);
	fake_rule(&fake, "xen-save-devices-state", "!save {\"event\":\"RESUME\"}\n\"return\":{}");
	expect_failed_pause("somebody resumed the guest");
	fake_rule(&fake, "xen-save-devices-state", NULL);
	CU_ASSERT_EQUAL(run_request(COLO_SOURCE_PAUSE), COLO_SOURCE_DONE);
	/* a guest that cannot be resumed is a failure, and stays owed */
	fake_rule(&fake, "cont", "\"error\":{\"desc\":\"not yet\"}");
	CU_ASSERT_EQUAL(run_request(COLO_SOURCE_RESUME), COLO_SOURCE_FAILED);
	CU_ASSERT_TRUE(said("and the guest was not resumed"));
	fake_rule(&fake, "cont", NULL);
	CU_ASSERT_EQUAL(run_request(COLO_SOURCE_RESUME), COLO_SOURCE_DONE);
	CU_ASSERT_TRUE(fake.running);
	CU_ASSERT_EQUAL(run_request((enum colo_source_request)9), COLO_SOURCE_FAILED);
	end();
}

static bool
is_gone(const char *words)
{
	for (int i = 0; i < 5000 && source.ops->poll(&source) != COLO_SOURCE_GONE; i++)
		usleep(1000);
	err = source.error;
	return source.ops->poll(&source) == COLO_SOURCE_GONE && said(words);
}

static void
test_gone(void)
{
	begin();
	CU_ASSERT_EQUAL_FATAL(start_with(""), 0);
	fake.drop = true; /* the link alone */
	for (int i = 0; i < 5000 && fake_count(&fake, "qmp_capabilities") < 2; i++)
		usleep(1000);
	CU_ASSERT_EQUAL(run_request(COLO_SOURCE_PAUSE), COLO_SOURCE_DONE);
	CU_ASSERT_EQUAL(run_request(COLO_SOURCE_RESUME), COLO_SOURCE_DONE);
	unlink(fake.path); /* nobody answers any more */
	fake.drop = true;
	CU_ASSERT_TRUE(is_gone("closed its QMP connection"));
	/* nothing hangs afterwards */
	source.ops->request(&source, COLO_SOURCE_PAUSE);
	CU_ASSERT_EQUAL(source.ops->poll(&source), COLO_SOURCE_GONE);
	end();
	begin();
	CU_ASSERT_EQUAL_FATAL(start_with(""), 0);
	fake_rule(&fake, "query-status",
		"{\"event\":\"SHUTDOWN\"}\n\"return\":{\"running\":false,\"status\":\"shutdown\"}");
	source.ops->request(&source, COLO_SOURCE_PAUSE);
	CU_ASSERT_TRUE(is_gone("shut down"));
	end();
}

/* stop() at any time: bounded, and the guest runs. */
static void
test_stop(void)
{
	uint64_t began;

	begin();
	CU_ASSERT_EQUAL_FATAL(start_with(""), 0);
	CU_ASSERT_EQUAL(run_request(COLO_SOURCE_PAUSE), COLO_SOURCE_DONE);
	source.ops->stop(&source);
	CU_ASSERT_TRUE(fake.running);
	end();

	begin();
	CU_ASSERT_EQUAL_FATAL(start_with(",timeout=60000"), 0);
	fake_rule(&fake, "xen-save-devices-state", "!silent");
	source.ops->request(&source, COLO_SOURCE_PAUSE);
	for (int i = 0; i < 10000 && fake_count(&fake, "xen-save-devices-state") == 0; i++)
		usleep(100);
	began = colo_monotonic_us();
	source.ops->stop(&source);
	CU_ASSERT(colo_monotonic_us() - began < 10000000);
	CU_ASSERT_TRUE(fake.running);
	end();

	begin(); /* the link breaks while the guest stands still */
	CU_ASSERT_EQUAL_FATAL(start_with(""), 0);
	CU_ASSERT_EQUAL(run_request(COLO_SOURCE_PAUSE), COLO_SOURCE_DONE);
	fake.drop = true;
	for (int i = 0; i < 5000 && fake_count(&fake, "qmp_capabilities") < 2; i++)
		usleep(1000);
	CU_ASSERT_FALSE(fake.running);
	source.ops->stop(&source);
	await_running();
	end();
}

static void
test_paused_by_operator(void)
{
	begin();
	fake.running = false;
	CU_ASSERT_EQUAL_FATAL(start_with(""), 0);
	CU_ASSERT_EQUAL(run_request(COLO_SOURCE_PAUSE), COLO_SOURCE_DONE);
	CU_ASSERT_EQUAL(run_request(COLO_SOURCE_RESUME), COLO_SOURCE_DONE);
	source.ops->stop(&source);
	CU_ASSERT_EQUAL(fake_count(&fake, "cont") + fake_count(&fake, "stop"), 0);
	end();
}

/* Stopped and started again on the same blocks: the copy may hold anything, and is compared. */
static void
test_start_again(void)
{
	begin();
	CU_ASSERT_EQUAL_FATAL(start_with(""), 0);
	ram[0] = 1;
	CU_ASSERT_EQUAL(run_request(COLO_SOURCE_ROUND), COLO_SOURCE_DONE);
	source.ops->stop(&source);
	ram[0] = 0;
	ram[COLO_PAGE_SIZE] = 1;
	colo_dirty_clear(&blocks.block[0].todo);
	CU_ASSERT_EQUAL_FATAL(start_with(""), 0);
	CU_ASSERT_EQUAL(blocks.n, 2);
	CU_ASSERT_EQUAL(run_request(COLO_SOURCE_ROUND), COLO_SOURCE_DONE);
	CU_ASSERT_EQUAL(colo_dirty_count(&blocks.block[0].todo), 2);
	end();
}

static void
expect_refused(const char *more, const char *words)
{
	CU_ASSERT_EQUAL(start_with(more), -1);
	CU_ASSERT_TRUE(said(words));
	source.ops->stop(&source);
}

static void
test_refused_args(void)
{
	char args[300];

	begin();
	expect_refused(",speed=1", "no key speed");
	expect_refused(",path=/x", "path is given twice");
	expect_refused(",timeout=99", "100 to 60000");
	expect_refused(",timeout=60001", "100 to 60000");
	expect_refused(",timeout=1s", "100 to 60000");
	CU_ASSERT_EQUAL(source.ops->start(&source, "", &err), -1);
	CU_ASSERT_TRUE(said("needs path=PATH"));
	source.ops->stop(&source);
	snprintf(args, sizeof(args), "path=/%0108d", 1);
	CU_ASSERT_EQUAL(source.ops->start(&source, args, &err), -1);
	CU_ASSERT_TRUE(said("at most 107"));
	source.ops->stop(&source);
	CU_ASSERT_EQUAL(source.ops->start(&source, "path=/no/such/socket", &err), -1);
	CU_ASSERT_TRUE(said("/no/such/socket: No such file"));
	CU_ASSERT_EQUAL(blocks.n, 0);
	end();
	begin();
	CU_ASSERT_EQUAL(start_with(",timeout=60000"), 0);
	end();
}

static void
test_refused_blocks(void)
{
	begin();
	source.n_specs = 0;
	expect_refused("", "exactly one --block");
	source.n_specs = 2;
	expect_refused("", "exactly one --block");
	source.n_specs = 1;
	spec[0].guest_path[0] = '\0';
	expect_refused("", "needs guest=FILE");
	snprintf(spec[0].guest_path, sizeof(spec[0].guest_path), "%s/none", fake.dir);
	expect_refused("", "cannot open");
	snprintf(spec[0].guest_path, sizeof(spec[0].guest_path), "%s", fake.dir);
	expect_refused("", "not a regular file");
	snprintf(spec[0].guest_path, sizeof(spec[0].guest_path), "%s", ram_path);
	spec[0].size = RAM_SIZE + COLO_PAGE_SIZE;
	expect_refused("", "but ");
	spec[0].size = RAM_SIZE - COLO_PAGE_SIZE;
	expect_refused("", "both must agree");
	spec[0].size = RAM_SIZE - 1;
	expect_refused("", "multiple of 4096");
	spec[0].size = 0;
	expect_refused("", "multiple of 4096");
	spec[0].size = RAM_SIZE;
	fake.running = false;
	fake.status = "inmigrate";
	expect_refused("", "waits for an incoming migration");
	fake.running = true;
	CU_ASSERT_EQUAL(start_with(""), 0);
	end();
}

static void
test_find(void)
{
	const char *args = NULL;

	CU_ASSERT_PTR_EQUAL(colo_source_find("qmp,path=/x,y=z", &args, &err), &colo_source_qmp);
	CU_ASSERT_STRING_EQUAL(args, "path=/x,y=z");
	CU_ASSERT_PTR_EQUAL(colo_source_find("qmp", &args, &err), &colo_source_qmp);
	CU_ASSERT_STRING_EQUAL(args, "");
	CU_ASSERT_PTR_NULL(colo_source_find("qm", &args, &err));
	CU_ASSERT_PTR_NULL(colo_source_find("qmpx,path=/x", &args, &err));
	CU_ASSERT_PTR_NULL(colo_source_find("", &args, &err));
	CU_ASSERT_TRUE(said("accepted are"));
}

int
main(void)
{
	static const struct ut_case cases[] = {
		{"epochs", test_epochs},
		{"many requests", test_many_requests},
		{"resume overtakes a pause that hangs", test_resume_overtakes},
		{"failures leave the guest running", test_failures},
		{"guest gone", test_gone},
		{"stop", test_stop},
		{"paused by its operator", test_paused_by_operator},
		{"started again", test_start_again},
		{"refused arguments", test_refused_args},
		{"refused blocks", test_refused_blocks},
		{"sources by name", test_find},
	};

	colo_page_init(NULL);
	return UT_RUN("source_qmp", cases);
}
