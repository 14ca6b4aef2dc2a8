/* SPDX-License-Identifier: BSD-3-Clause */
/* Adapter standby against a fake QEMU in -incoming: the stream it gets, and what can go wrong. */
#include <fcntl.h>
#include <sys/stat.h>

#include "adapter.h"
#include "device_state.h"
#include "fake_qmp.h"
#include "migration_stream.h"
#include "ut.h"
#include "wait.h"

#define RAM_SIZE    (64u << 10)
#define DEVICE_SIZE (1u << 20)

static struct fake_qmp fake;
static struct colo_blocks blocks;
static struct colo_adapter adapter;
static struct colo_error err;
static char ram_path[256];
static const char *machine = ""; /* of the device state */
static uint8_t received[DEVICE_SIZE + COLO_STREAM_HEAD_MAX];
static size_t n_received;

static void
store_device_state(uint64_t length)
{
	static uint8_t bytes[DEVICE_SIZE];
	struct colo_block primary = blocks.block[1];

	for (uint64_t i = 0; i < length; i++)
		bytes[i] = (uint8_t)(i * 7);
	CU_ASSERT_EQUAL_FATAL(colo_dirty_init(&primary.todo, primary.n_pages), 0);
	CU_ASSERT_EQUAL_FATAL(colo_device_state_store(&primary, machine, bytes, length, &err), 0);
	colo_dirty_fini(&primary.todo);
}

static void
begin(void)
{
	struct colo_block_spec spec = {.name = "pc.ram", .size = RAM_SIZE};
	struct colo_block_spec device = {.name = COLO_DEVICE_BLOCK_NAME, .size = DEVICE_SIZE};

	fake_start(&fake);
	fake.running = false;
	fake.status = "inmigrate";
	snprintf(ram_path, sizeof(ram_path), "%s.ram", fake.dir);
	snprintf(spec.guest_path, sizeof(spec.guest_path), "%s", ram_path);
	memset(&blocks, 0, sizeof(blocks));
	CU_ASSERT_EQUAL_FATAL(colo_blocks_add_secondary(&blocks, &spec, 1, -1, &err), 0);
	CU_ASSERT_EQUAL_FATAL(colo_blocks_add_secondary(&blocks, &device, 1, -1, &err), 0);
	fake.memdev = "[{\"id\":\"pc.ram\",\"size\":65536,\"share\":true}]";
	fake.mem_path = ram_path;
	adapter = (struct colo_adapter){.ops = &colo_adapter_standby, .blocks = &blocks};
}

static void
end(void)
{
	adapter.ops->stop(&adapter);
	adapter.ops->stop(&adapter);
	colo_blocks_free(&blocks, false);
	fake_stop(&fake);
}

static bool
said(const char *words)
{
	bool found = strstr(err.text, words) != NULL;

	if (!found)
		printf("said: %s\n", err.text);
	return found;
}

static int
start_with(const char *more)
{
	char spec[512];

	err.text[0] = '\0';
	snprintf(spec, sizeof(spec), "unix:%s%s", fake.path, more);
	return adapter.ops->start(&adapter, spec, &err);
}

/* What a standby does with its migration socket: takes all until the half-close, then runs. */
static void *
take_stream(void *arg)
{
	struct pollfd p = {.fd = fake.migration_fd, .events = POLLIN};
	ssize_t n = 1;
	int fd;

	n_received = 0;
	if (poll(&p, 1, 5000) != 1)
		return NULL;
	fd = accept(fake.migration_fd, NULL, NULL);
	while (n > 0 && n_received < sizeof(received)) {
		n = read(fd, received + n_received, sizeof(received) - n_received);
		n_received += n > 0 ? (size_t)n : 0;
	}
	close(fd);
	fake.status = arg != NULL ? arg : "inmigrate";
	fake.running = arg == NULL;
	return NULL;
}

static enum colo_adapter_status
await(void)
{
	enum colo_adapter_status status = COLO_ADAPTER_BUSY;

	for (int i = 0; i < 15000 && status == COLO_ADAPTER_BUSY; i++) {
		status = adapter.ops->poll(&adapter);
		usleep(1000);
	}
	err = adapter.error;
	return status;
}

/* The fake listens where the adapter said it should. */
static enum colo_adapter_status
fail_over(const char *status_after)
{
	enum colo_adapter_status status;
	pthread_t thread;

	CU_ASSERT_EQUAL_FATAL(strncmp(fake.uri, "unix:", 5), 0);
	fake.migration_fd = fake_listen(fake.uri + 5);
	pthread_create(&thread, NULL, take_stream, (void *)(uintptr_t)status_after);
	adapter.ops->failover(&adapter);
	status = await();
	pthread_join(thread, NULL);
	return status;
}

static void
check_stream(uint64_t length)
{
	uint8_t head[COLO_STREAM_HEAD_MAX + COLO_MIGRATION_RAM_END], tail[COLO_STREAM_TAIL_SIZE];
	int n = colo_migration_head(head, "pc-i440fx-7.2", &blocks, &err);
	size_t wrong = 0;

	colo_migration_ram_end(head + n);
	n += COLO_MIGRATION_RAM_END;

	CU_ASSERT_EQUAL_FATAL(n_received, (size_t)n + length + sizeof(tail));
	CU_ASSERT_EQUAL(memcmp(received, head, (size_t)n), 0);
	for (uint64_t i = 0; i < length; i++)
		wrong += received[(size_t)n + i] != (uint8_t)(i * 7);
	CU_ASSERT_EQUAL(wrong, 0);
	colo_migration_tail(tail);
	CU_ASSERT_EQUAL(memcmp(received + n + length, tail, sizeof(tail)), 0);
}

static void
test_takeover(void)
{
	static const uint64_t lengths[] = {
		1, 20000, DEVICE_SIZE - sizeof(struct colo_device_state)};
	char dir[300];
	struct stat st;

	for (unsigned int i = 0; i < 3; i++) {
		begin();
		CU_ASSERT_EQUAL_FATAL(start_with(""), 0);
		CU_ASSERT_EQUAL(fake_count(&fake, "migrate-incoming"), 1);
		/* nobody else may enter where the stream is awaited */
		snprintf(dir, sizeof(dir), "%s", fake.uri + 5);
		*strrchr(dir, '/') = '\0';
		CU_ASSERT_EQUAL(stat(dir, &st), 0);
		CU_ASSERT_EQUAL(st.st_mode & 0777, 0700);
		CU_ASSERT_EQUAL(adapter.ops->poll(&adapter), COLO_ADAPTER_IDLE);
		store_device_state(lengths[i]);
		CU_ASSERT_EQUAL(fail_over(NULL), COLO_ADAPTER_DONE);
		check_stream(lengths[i]);
		CU_ASSERT(adapter.takeover_us > 0 && adapter.takeover_us < 5000000);
		CU_ASSERT_EQUAL(fake_count(&fake, "cont"), 0);
		/* asked once more: it is done */
		adapter.ops->failover(&adapter);
		CU_ASSERT_EQUAL(adapter.ops->poll(&adapter), COLO_ADAPTER_DONE);
		adapter.ops->stop(&adapter);
		CU_ASSERT_EQUAL(stat(dir, &st), -1);
		end();
	}
}

/* The guest is paused after the load (-S): it is let go. */
static void
test_paused_after_load(void)
{
	begin();
	CU_ASSERT_EQUAL_FATAL(start_with(""), 0);
	store_device_state(100);
	CU_ASSERT_EQUAL(fail_over("paused"), COLO_ADAPTER_DONE);
	CU_ASSERT_EQUAL(fake_count(&fake, "cont"), 1);
	CU_ASSERT_TRUE(fake.running);
	end();
}

/* incoming=PATH: it listens there already, and is not told to. */
static void
test_incoming(void)
{
	char more[300];
	pthread_t thread;

	begin();
	snprintf(more, sizeof(more), ",incoming=%s", fake.migration);
	fake.migration_fd = fake_listen(fake.migration);
	CU_ASSERT_EQUAL_FATAL(start_with(more), 0);
	CU_ASSERT_EQUAL(fake_count(&fake, "migrate-incoming"), 0);
	store_device_state(100);
	pthread_create(&thread, NULL, take_stream, NULL);
	adapter.ops->failover(&adapter);
	CU_ASSERT_EQUAL(await(), COLO_ADAPTER_DONE);
	pthread_join(thread, NULL);
	check_stream(100);
	adapter.ops->stop(&adapter);
	CU_ASSERT_EQUAL(access(fake.migration, F_OK), 0); /* not ours to remove */
	end();
}

/* A standby was told to listen so many times by now. */
static void
await_prepared(unsigned int times)
{
	for (int i = 0; i < 3000 && fake_count(&fake, "migrate-incoming") < times; i++)
		usleep(1000);
	CU_ASSERT_EQUAL(fake_count(&fake, "migrate-incoming"), times);
}

static void
test_failures(void)
{
	begin();
	CU_ASSERT_EQUAL_FATAL(start_with(""), 0);
	adapter.ops->failover(&adapter);
	CU_ASSERT_EQUAL(await(), COLO_ADAPTER_FAILED);
	CU_ASSERT_TRUE(said("no device state has arrived"));
	store_device_state(0);
	adapter.ops->failover(&adapter);
	CU_ASSERT_EQUAL(await(), COLO_ADAPTER_FAILED);
	CU_ASSERT_TRUE(said("there is no device state to take over from"));
	store_device_state(100);
	adapter.ops->failover(&adapter); /* nobody listens */
	CU_ASSERT_EQUAL(await(), COLO_ADAPTER_FAILED);
	CU_ASSERT_TRUE(said("cannot connect to"));
	/* nothing was sent yet: the standby is as good as before */
	CU_ASSERT_FALSE(adapter.may_run);
	CU_ASSERT_EQUAL(fake_count(&fake, "migrate-incoming"), 1);
	CU_ASSERT_EQUAL(fail_over("internal-error"), COLO_ADAPTER_FAILED);
	CU_ASSERT_TRUE(said("status internal-error after the load"));
	CU_ASSERT_TRUE(adapter.may_run);
	end();

	begin();
	CU_ASSERT_EQUAL_FATAL(start_with(""), 0);
	store_device_state(100);
	fake_rule(&fake, "query-migrate",
		"\"return\":{\"status\":\"failed\",\"error-desc\":\"bad section\"}");
	CU_ASSERT_EQUAL(fail_over("inmigrate"), COLO_ADAPTER_FAILED);
	CU_ASSERT_TRUE(said("did not load the device state: bad section"));
	/* it took its stream: whatever waits there now is prepared from the beginning */
	await_prepared(2);
	end();

	begin();
	CU_ASSERT_EQUAL_FATAL(start_with(""), 0);
	store_device_state(100);
	fake_rule(&fake, "query-status", "!close");
	CU_ASSERT_EQUAL(fail_over("inmigrate"), COLO_ADAPTER_FAILED);
	CU_ASSERT_TRUE(said("ended while it loaded"));
	end();
}

/* The standby ends while it waits; another one comes, is prepared, and takes over. */
static void
test_another_standby(void)
{
	begin();
	CU_ASSERT_EQUAL_FATAL(start_with(""), 0);
	store_device_state(100);
	fake.drop = true;
	await_prepared(2);
	usleep(20000);
	CU_ASSERT_EQUAL(adapter.ops->poll(&adapter), COLO_ADAPTER_IDLE);
	CU_ASSERT_EQUAL(fail_over(NULL), COLO_ADAPTER_DONE);
	check_stream(100);
	end();
}

/* The device state says of which machine type it is: another one would not load it. */
static void
test_machine(void)
{
	begin();
	CU_ASSERT_EQUAL_FATAL(start_with(""), 0);
	machine = "pc-q35-7.2";
	store_device_state(100);
	adapter.ops->failover(&adapter);
	CU_ASSERT_EQUAL(await(), COLO_ADAPTER_FAILED);
	CU_ASSERT_TRUE(said("is a machine pc-i440fx-7.2, the guest's is pc-q35-7.2"));
	CU_ASSERT_FALSE(adapter.may_run); /* nothing was sent */
	machine = "pc-i440fx-7.2";
	store_device_state(100);
	CU_ASSERT_EQUAL(fail_over(NULL), COLO_ADAPTER_DONE);
	check_stream(100);
	machine = "";
	end();
}

/* stop() in the middle of a takeover that hangs. */
static void
test_stop(void)
{
	uint64_t began;

	begin();
	CU_ASSERT_EQUAL_FATAL(start_with(""), 0);
	store_device_state(100);
	fake_rule(&fake, "qom-get", "!silent");
	adapter.ops->failover(&adapter);
	usleep(20000);
	CU_ASSERT_EQUAL(adapter.ops->poll(&adapter), COLO_ADAPTER_BUSY);
	began = colo_monotonic_us();
	adapter.ops->stop(&adapter);
	CU_ASSERT(colo_monotonic_us() - began < 5000000);
	end();
}

static void
expect_refused(const char *spec, const char *words)
{
	err.text[0] = '\0';
	CU_ASSERT_EQUAL(adapter.ops->start(&adapter, spec, &err), -1);
	CU_ASSERT_TRUE(said(words));
	adapter.ops->stop(&adapter);
}

static void
test_refused(void)
{
	char spec[300];

	begin();
	snprintf(spec, sizeof(spec), "unix:%s", fake.path);
	expect_refused("tcp:1.2.3.4:5", "unix:PATH[,incoming=PATH] is");
	expect_refused("", "unix:PATH[,incoming=PATH] is");
	expect_refused("unix:", "0 bytes");
	expect_refused("unix:/a,out=/b", "unix:PATH[,incoming=PATH] is");
	expect_refused("unix:/a,incoming=/b,incoming=/c", "unix:PATH[,incoming=PATH] is");
	expect_refused("unix:/a,incoming=", "0 bytes");
	expect_refused("unix:/no/such/socket", "/no/such/socket: No such file");
	fake.status = "running";
	expect_refused(spec, "does not wait for an incoming migration (status running); start it "
			     "with -incoming defer");
	fake.status = "inmigrate";
	fake.memdev = "[{\"id\":\"pc.ram\",\"size\":65536,\"share\":false}]";
	expect_refused(spec, "without share=on");
	fake.memdev = "[{\"id\":\"pc.ram\",\"size\":32768,\"share\":true}]";
	expect_refused(spec, "both must agree");
	fake.memdev = "[{\"id\":\"pc.ram\",\"size\":65536,\"share\":true}]";
	fake_rule(&fake, "migrate-incoming", "\"error\":{\"desc\":\"already started\"}");
	expect_refused(spec, "already started; a standby that was told so before");
	fake.greeting = "220 mail.example ESMTP";
	expect_refused(spec, "does not speak QMP");
	end();
}

int
main(void)
{
	static const struct ut_case cases[] = {
		{"takeover", test_takeover},
		{"paused after the load", test_paused_after_load},
		{"incoming=PATH", test_incoming},
		{"failures", test_failures},
		{"another standby", test_another_standby},
		{"machine type", test_machine},
		{"stop", test_stop},
		{"refused", test_refused},
	};

	return UT_RUN("standby", cases);
}
