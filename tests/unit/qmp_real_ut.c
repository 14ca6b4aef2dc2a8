/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Source qmp, guardian and adapter standby with a real QEMU: checkpoints by hand, without a
 * datapath, and a takeover. Skipped where there is no QEMU.
 */
#include <glob.h>

#include "adapter.h"
#include "device_state.h"
#include "guardian.h"
#include "page.h"
#include "qemu_guest.h"
#include "qmp.h"
#include "source.h"
#include "ut.h"

#define DEVICE_SIZE (1u << 20)
#define SKIPPED	    77 /* what meson takes for it */

static char *const runs[] = {NULL};
static char *const waits[] = {"-incoming", "defer", NULL};

static bool
await_status(const struct qemu_guest *g, const char *wanted)
{
	char status[COLO_QMP_STATUS_MAX] = "";
	static struct colo_qmp q;
	bool running;

	for (int i = 0; i < 300; i++) {
		if (colo_qmp_open(&q, g->qmp, COLO_NO_ABORT, colo_deadline(300), NULL) == 0) {
			(void)colo_qmp_status(&q, colo_deadline(300), status, &running, NULL);
			colo_qmp_close(&q);
		}
		if (strcmp(status, wanted) == 0)
			return true;
		usleep(10000);
	}
	return false;
}

/* Start a QEMU and wait until it is in @p status. */
static void
start_guest(struct qemu_guest *g, const char *name, const char *share, char *const *extra,
	const char *status)
{
	guest_start(g, name, share, extra);
	CU_ASSERT_TRUE_FATAL(await_status(g, status));
}

static int guardian; /* handle; 0: none */

/* A primary without a datapath. */
struct primary {
	struct colo_blocks blocks;
	struct colo_block_spec spec;
	struct colo_source source;
};

static int
primary_start(struct primary *p, const struct qemu_guest *g, uint64_t size, struct colo_error *err)
{
	char args[512];

	memset(p, 0, sizeof(*p));
	snprintf(p->spec.name, sizeof(p->spec.name), "pc.ram");
	snprintf(p->spec.guest_path, sizeof(p->spec.guest_path), "%s", g->ram);
	p->spec.size = size;
	p->source.ops = &colo_source_qmp;
	p->source.blocks = &p->blocks;
	p->source.specs = &p->spec;
	p->source.n_specs = 1;
	p->source.device_block_size = DEVICE_SIZE;
	p->source.guardian = guardian;
	snprintf(args, sizeof(args), "path=%s", g->qmp);
	return p->source.ops->start(&p->source, args, err);
}

static void
primary_stop(struct primary *p)
{
	p->source.ops->stop(&p->source);
	p->source.ops->stop(&p->source);
	colo_blocks_free(&p->blocks, false);
}

static void
collect_all(struct primary *p)
{
	for (unsigned int b = 0; b < p->blocks.n; b++)
		for (uint32_t i = 0; i < p->blocks.block[b].n_pieces; i++)
			p->source.ops->collect_piece(&p->source, b, i);
}

/* Carry out one request as the control core does. */
static enum colo_source_status
do_request(struct primary *p, enum colo_source_request request)
{
	enum colo_source_status status = COLO_SOURCE_BUSY;
	bool collected = false;

	p->source.ops->request(&p->source, request);
	for (int i = 0; i < 60000; i++) {
		status = p->source.ops->poll(&p->source);
		if (status == COLO_SOURCE_COLLECT && !collected) {
			collect_all(p);
			collected = true;
		} else if (status != COLO_SOURCE_BUSY && status != COLO_SOURCE_COLLECT) {
			break;
		}
		usleep(100);
	}
	CU_ASSERT_EQUAL(collected, request != COLO_SOURCE_RESUME && status != COLO_SOURCE_FAILED &&
					   status != COLO_SOURCE_GONE);
	return status;
}

/* The datapath's place: only pages in `todo` reach the other side. @return pages. */
static uint64_t
transfer(struct primary *p, struct colo_blocks *to)
{
	uint64_t n = 0;

	for (unsigned int b = 0; b < p->blocks.n; b++) {
		struct colo_block *block = &p->blocks.block[b];

		for (uint32_t page = 0; page < block->n_pages; page++) {
			if (!colo_dirty_get(&block->todo, page))
				continue;
			memcpy(colo_page_addr(&to->block[b].guest, page),
				colo_page_addr(&block->guest, page), COLO_PAGE_SIZE);
			n++;
		}
		colo_dirty_clear(&block->todo);
	}
	return n;
}

static void
secondary_blocks(struct colo_blocks *blocks, const struct qemu_guest *g)
{
	struct colo_block_spec spec = {.name = "pc.ram", .size = GUEST_RAM_SIZE};
	struct colo_block_spec device = {.name = COLO_DEVICE_BLOCK_NAME, .size = DEVICE_SIZE};
	struct colo_error err;

	memset(blocks, 0, sizeof(*blocks));
	snprintf(spec.guest_path, sizeof(spec.guest_path), "%s", g->ram);
	CU_ASSERT_EQUAL_FATAL(colo_blocks_add_secondary(blocks, &spec, 1, -1, &err), 0);
	CU_ASSERT_EQUAL_FATAL(colo_blocks_add_secondary(blocks, &device, 1, -1, &err), 0);
}

/* Does a memory file hold what @p memory does? */
static bool
same_as_file(const char *path, const uint8_t *memory, size_t size)
{
	uint8_t *bytes = malloc(size);
	FILE *f = fopen(path, "r");
	bool same = bytes != NULL && f != NULL && fread(bytes, size, 1, f) == 1 &&
		    memcmp(bytes, memory, size) == 0;

	if (f != NULL)
		fclose(f);
	free(bytes);
	return same;
}

static enum colo_adapter_status
await_adapter(struct colo_adapter *a)
{
	enum colo_adapter_status status = COLO_ADAPTER_BUSY;

	for (int i = 0; i < 12000 && status == COLO_ADAPTER_BUSY; i++) {
		status = a->ops->poll(a);
		usleep(1000);
	}
	return status;
}

/* @return the guest's counter in the image, which 16 pages must agree on. */
static uint32_t
counter_in(const struct colo_block *block)
{
	uint32_t first, other;

	memcpy(&first, block->guest.addr + GUEST_COUNTER_AT, sizeof(first));
	for (unsigned int i = 1; i < GUEST_PAGES; i++) {
		memcpy(&other, block->guest.addr + GUEST_COUNTER_AT + i * COLO_PAGE_SIZE,
			sizeof(other));
		/* a checkpoint may fall into the loop that stores it */
		CU_ASSERT(other == first || other + 1 == first);
	}
	return first;
}

static void
check_counting_on(const struct qemu_guest *old, const struct qemu_guest *new, uint32_t committed)
{
	struct guest_output before = guest_read(old), after;

	CU_ASSERT_TRUE(guest_counts_beyond(new, committed + 100));
	after = guest_read(new);
	CU_ASSERT_TRUE(after.consecutive);
	CU_ASSERT_FALSE(after.complained);
	/* from the committed checkpoint on: this number or the next, printed before or not */
	CU_ASSERT(after.first == committed || after.first == committed + 1);
	CU_ASSERT(before.last >= committed - 1);
	CU_ASSERT(before.consecutive && !before.complained);
}

static void
test_takeover(void)
{
	struct qemu_guest old, new;
	struct colo_blocks second;
	struct colo_adapter adapter = {.ops = &colo_adapter_standby, .blocks = &second};
	struct colo_error err = {{0}};
	struct primary p;
	uint32_t committed = 0;
	char spec[300];

	start_guest(&old, "old", "on", runs, "running");
	guest_paths(&new, "new");
	secondary_blocks(&second, &new);
	start_guest(&new, "new", "on", waits, "inmigrate");
	snprintf(spec, sizeof(spec), "unix:%s", new.qmp);
	CU_ASSERT_EQUAL_FATAL(primary_start(&p, &old, GUEST_RAM_SIZE, &err), 0);
	CU_ASSERT_EQUAL_FATAL(adapter.ops->start(&adapter, spec, &err), 0);
	CU_ASSERT_TRUE(guest_counts_beyond(&old, 10));
	CU_ASSERT_EQUAL(do_request(&p, COLO_SOURCE_ROUND), COLO_SOURCE_DONE);
	CU_ASSERT(transfer(&p, &second) >= GUEST_PAGES);
	for (int i = 0; i < 5; i++) {
		usleep(50000);
		CU_ASSERT_EQUAL(do_request(&p, COLO_SOURCE_PAUSE), COLO_SOURCE_DONE);
		CU_ASSERT_TRUE(same_as_file(old.ram, p.blocks.block[0].guest.addr, GUEST_RAM_SIZE));
		CU_ASSERT_EQUAL(do_request(&p, COLO_SOURCE_RESUME), COLO_SOURCE_DONE);
		CU_ASSERT(transfer(&p, &second) >= GUEST_PAGES);
		CU_ASSERT_TRUE(same_as_file(new.ram, p.blocks.block[0].guest.addr, GUEST_RAM_SIZE));
		committed = counter_in(&second.block[0]);
	}
	CU_ASSERT_TRUE(guest_counts_beyond(&old, committed + 20));
	CU_ASSERT_EQUAL(p.source.ops->poll(&p.source), COLO_SOURCE_DONE);
	guest_kill(&old);
	for (int i = 0; i < 5000 && p.source.ops->poll(&p.source) != COLO_SOURCE_GONE; i++)
		usleep(1000);
	CU_ASSERT_EQUAL(p.source.ops->poll(&p.source), COLO_SOURCE_GONE);
	CU_ASSERT_EQUAL(adapter.ops->poll(&adapter), COLO_ADAPTER_IDLE);
	adapter.ops->failover(&adapter);
	CU_ASSERT_EQUAL(await_adapter(&adapter), COLO_ADAPTER_DONE);
	printf("takeover in %llu us %s", (unsigned long long)adapter.takeover_us,
		adapter.error.text);
	CU_ASSERT(adapter.takeover_us > 0 && adapter.takeover_us < 5000000);
	check_counting_on(&old, &new, committed);
	adapter.ops->stop(&adapter);
	adapter.ops->stop(&adapter);
	primary_stop(&p);
	guest_kill(&new);
	colo_blocks_free(&second, false);
}

/* stop() between PAUSE and RESUME leaves a running guest; a guest paused by hand stays paused. */
static void
test_who_stopped_it(void)
{
	struct qemu_guest g;
	struct colo_error err = {{0}};
	struct primary p;
	static struct colo_qmp q;

	start_guest(&g, "who", "on", runs, "running");
	CU_ASSERT_EQUAL_FATAL(primary_start(&p, &g, GUEST_RAM_SIZE, &err), 0);
	CU_ASSERT_EQUAL(do_request(&p, COLO_SOURCE_PAUSE), COLO_SOURCE_DONE);
	primary_stop(&p);
	CU_ASSERT_TRUE(await_status(&g, "running"));

	CU_ASSERT_EQUAL_FATAL(
		colo_qmp_open(&q, g.qmp, COLO_NO_ABORT, colo_deadline(2000), &err), 0);
	CU_ASSERT_EQUAL(colo_qmp_command(&q, "stop", NULL, colo_deadline(2000), NULL, &err), 0);
	colo_qmp_close(&q);
	CU_ASSERT_EQUAL_FATAL(primary_start(&p, &g, GUEST_RAM_SIZE, &err), 0);
	CU_ASSERT_EQUAL(do_request(&p, COLO_SOURCE_PAUSE), COLO_SOURCE_DONE);
	CU_ASSERT_EQUAL(do_request(&p, COLO_SOURCE_RESUME), COLO_SOURCE_DONE);
	primary_stop(&p);
	CU_ASSERT_TRUE(await_status(&g, "paused"));
	guest_kill(&g);
}

/* A primary that has its guest stopped, until it is killed. */
static void
hold_stopped(const struct qemu_guest *g, int ready)
{
	struct colo_error err = {{0}};
	struct primary p;

	guardian = colo_guardian_start(g->qmp, true, &err);
	if (guardian < 0 || primary_start(&p, g, GUEST_RAM_SIZE, &err) != 0)
		_exit(1);
	if (do_request(&p, COLO_SOURCE_PAUSE) != COLO_SOURCE_DONE)
		_exit(1);
	if (write(ready, "r", 1) == 1)
		pause();
	_exit(1);
}

/* Directories of ours in TMPDIR, which is this test's own. */
static unsigned int
count_private_dirs(void)
{
	glob_t found;
	unsigned int n;
	char pattern[256];

	snprintf(pattern, sizeof(pattern), "%s/dpdk-colo-*", guest_dir);
	n = glob(pattern, 0, NULL, &found) == 0 ? (unsigned int)found.gl_pathc : 0;
	globfree(&found);
	return n;
}

static void
test_guardian(void)
{
	struct qemu_guest g;
	int ready[2];
	pid_t pid;
	char byte;

	start_guest(&g, "guard", "on", runs, "running");
	CU_ASSERT_EQUAL_FATAL(pipe(ready), 0);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		close(ready[0]);
		hold_stopped(&g, ready[1]);
	}
	close(ready[1]);
	CU_ASSERT_EQUAL(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	CU_ASSERT_EQUAL(count_private_dirs(), 1);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	CU_ASSERT_TRUE(await_status(&g, "running"));
	for (int i = 0; i < 3000 && count_private_dirs() > 0; i++)
		usleep(1000);
	CU_ASSERT_EQUAL(count_private_dirs(), 0);
	guest_kill(&g);
}

static void
expect_refused(const struct qemu_guest *g, uint64_t size, const char *words)
{
	struct colo_error err = {{0}};
	struct primary p;

	CU_ASSERT_EQUAL(primary_start(&p, g, size, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, words));
	if (strstr(err.text, words) == NULL)
		printf("said: %s\n", err.text);
	primary_stop(&p);
}

static void
test_refusals(void)
{
	struct qemu_guest g, other;
	struct colo_blocks second;
	struct colo_adapter adapter = {.ops = &colo_adapter_standby, .blocks = &second};
	struct colo_error err = {{0}};
	char spec[300];

	start_guest(&g, "refuse", "on", runs, "running");
	expect_refused(&g, GUEST_RAM_SIZE - COLO_PAGE_SIZE, "both must agree");
	expect_refused(&g, GUEST_RAM_SIZE + COLO_PAGE_SIZE, "only");
	other = g;
	snprintf(other.ram, sizeof(other.ram), "%s/bios", guest_dir);
	expect_refused(&other, COLO_PAGE_SIZE, "has no memory backend on");
	guest_paths(&other, "other");
	secondary_blocks(&second, &other);
	snprintf(spec, sizeof(spec), "unix:%s", g.qmp);
	CU_ASSERT_EQUAL(adapter.ops->start(&adapter, spec, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(
		strstr(err.text, "does not wait for an incoming migration (status "));
	adapter.ops->stop(&adapter);
	guest_kill(&g);
	start_guest(&g, "refuse", "off", waits, "inmigrate");
	expect_refused(&g, GUEST_RAM_SIZE, "waits for an incoming migration");
	guest_kill(&g);
	start_guest(&g, "refuse", "off", runs, "running");
	expect_refused(&g, GUEST_RAM_SIZE, "without share=on");
	guest_kill(&g);
	colo_blocks_free(&second, false);
}

/* A damaged device state: the standby says no, we say so, and guest memory stays. */
static void
test_bad_device_state(void)
{
	struct qemu_guest g;
	struct colo_blocks second;
	struct colo_adapter adapter = {.ops = &colo_adapter_standby, .blocks = &second};
	static const uint8_t junk[] = "\004\000\000\000\001\003xyz\000\000\000\000";
	struct colo_error err = {{0}};
	struct colo_block no_todo;
	char spec[300];

	guest_paths(&g, "bad");
	secondary_blocks(&second, &g);
	no_todo = second.block[1]; /* what stores is a primary's */
	CU_ASSERT_EQUAL_FATAL(colo_dirty_init(&no_todo.todo, no_todo.n_pages), 0);
	start_guest(&g, "bad", "on", waits, "inmigrate");
	snprintf(spec, sizeof(spec), "unix:%s", g.qmp);
	CU_ASSERT_EQUAL_FATAL(adapter.ops->start(&adapter, spec, &err), 0);
	adapter.ops->failover(&adapter);
	CU_ASSERT_EQUAL(await_adapter(&adapter), COLO_ADAPTER_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(adapter.error.text, "no device state"));
	CU_ASSERT_EQUAL(colo_device_state_store(&no_todo, "", junk, sizeof(junk), &err), 0);
	adapter.ops->failover(&adapter);
	CU_ASSERT_EQUAL(await_adapter(&adapter), COLO_ADAPTER_FAILED);
	printf("%s ", adapter.error.text);
	CU_ASSERT_PTR_NOT_NULL(strstr(adapter.error.text, g.qmp));
	colo_dirty_fini(&no_todo.todo);
	adapter.ops->stop(&adapter);
	guest_kill(&g);
	colo_blocks_free(&second, false);
}

int
main(void)
{
	static const struct ut_case cases[] = {
		{"checkpoints, then the standby takes over", test_takeover},
		{"who stopped the guest", test_who_stopped_it},
		{"killed while the guest stands still", test_guardian},
		{"what does not fit is refused", test_refusals},
		{"a device state that does not load", test_bad_device_state},
	};
	int result;

	colo_page_init(NULL);
	if (!guest_prepare()) {
		printf("skipped: %s does not run\n", guest_qemu());
		return SKIPPED;
	}
	result = UT_RUN("source qmp, guardian, standby: a real QEMU", cases);
	guest_cleanup();
	return result;
}
