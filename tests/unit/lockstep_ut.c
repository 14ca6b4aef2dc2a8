/* SPDX-License-Identifier: BSD-3-Clause */
/* Adapter lockstep against a hypervisor that the test plays: what is said, and what can go wrong.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "adapter.h"
#include "device_state.h"
#include "lockstep.h"
#include "ut.h"

#define RAM_PAGES   (COLO_PIECE_PAGES + 1)
#define DEVICE_SIZE (2u << 20)
#define ANSWER_MS   150u
#define LONG_MS	    5000 /* far beyond everything that is waited for here */

static char dir[64], control[128], log_path[128], ram_path[128], rom_path[128];
static struct colo_blocks blocks;
static struct colo_adapter adapter;
static struct colo_error err;
static int hypervisor = -1;

static void
begin(void)
{
	struct colo_block_spec spec[3] = {
		{.name = "pc.ram", .size = RAM_PAGES * COLO_PAGE_SIZE},
		{.name = "pc.rom", .size = COLO_PAGE_SIZE},
		{.name = COLO_DEVICE_BLOCK_NAME, .size = DEVICE_SIZE},
	};

	strcpy(dir, "/tmp/lockstep_ut.XXXXXX");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
	snprintf(control, sizeof(control), "%s/control", dir);
	snprintf(log_path, sizeof(log_path), "%s/log", dir);
	snprintf(ram_path, sizeof(ram_path), "%s/ram", dir);
	snprintf(rom_path, sizeof(rom_path), "%s/rom", dir);
	strcpy(spec[0].guest_path, ram_path);
	strcpy(spec[1].guest_path, rom_path);
	memset(&blocks, 0, sizeof(blocks));
	for (unsigned int i = 0; i < 3; i++)
		CU_ASSERT_EQUAL_FATAL(colo_blocks_add_secondary(&blocks, &spec[i], 1, -1, &err), 0);
	adapter = (struct colo_adapter){.ops = &colo_adapter_lockstep, .blocks = &blocks};
}

static int
start(void)
{
	char spec[400];

	err.text[0] = '\0';
	snprintf(spec, sizeof(spec), "control=unix:%s,dirty-log=%s,answer=%u", control, log_path,
		ANSWER_MS);
	return adapter.ops->start(&adapter, spec, &err);
}

static void
end(void)
{
	if (hypervisor >= 0)
		close(hypervisor);
	hypervisor = -1;
	adapter.ops->stop(&adapter);
	adapter.ops->stop(&adapter);
	CU_ASSERT_EQUAL(access(control, F_OK), -1);
	CU_ASSERT_EQUAL(access(log_path, F_OK), -1);
	colo_blocks_free(&blocks, false);
	CU_ASSERT_EQUAL(rmdir(dir), 0);
}

static bool
said(const char *words)
{
	bool found = strstr(err.text, words) != NULL;

	if (!found)
		printf("\n    said '%s', not '%s'\n", err.text, words);
	return found;
}

/* ---- the hypervisor ---- */

static int
call(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, control);
	CU_ASSERT_EQUAL_FATAL(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

/* A line of theirs, byte by byte, so that nothing behind it is taken. "": they are gone. */
static const char *
hear(int fd)
{
	static char line[8192];
	size_t n = 0;

	while (n < sizeof(line) - 1) {
		struct pollfd p = {.fd = fd, .events = POLLIN};

		if (poll(&p, 1, LONG_MS) != 1 || read(fd, &line[n], 1) != 1)
			break;
		if (line[n++] == '\n')
			break;
	}
	line[n] = '\0';
	return line;
}

static void
say(int fd, const char *text)
{
	CU_ASSERT_EQUAL(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static bool
is_gone(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char byte;

	return poll(&p, 1, LONG_MS) == 1 && read(fd, &byte, 1) == 0;
}

static void
await_guest(enum colo_adapter_guest guest)
{
	for (int i = 0; i < LONG_MS && adapter.ops->guest(&adapter) != guest; i++)
		usleep(1000);
	CU_ASSERT_EQUAL(adapter.ops->guest(&adapter), guest);
}

static void
hear_hello(int fd)
{
	char wanted[1024];

	snprintf(wanted, sizeof(wanted), "hello version=1 blocks=2 log=%s\n", log_path);
	CU_ASSERT_STRING_EQUAL(hear(fd), wanted);
	snprintf(wanted, sizeof(wanted), "block size=%u log-offset=4096 name=pc.ram file=%s\n",
		RAM_PAGES * COLO_PAGE_SIZE, ram_path);
	CU_ASSERT_STRING_EQUAL(hear(fd), wanted);
	snprintf(wanted, sizeof(wanted), "block size=4096 log-offset=8192 name=pc.rom file=%s\n",
		rom_path);
	CU_ASSERT_STRING_EQUAL(hear(fd), wanted);
}

static void
connect_as(const char *guest, enum colo_adapter_guest as)
{
	char hello[64];

	if (hypervisor >= 0)
		close(hypervisor);
	await_guest(COLO_ADAPTER_GUEST_UNREACHABLE);
	hypervisor = call();
	hear_hello(hypervisor);
	snprintf(hello, sizeof(hello), "hello version=1 guest=%s\n", guest);
	say(hypervisor, hello);
	await_guest(as);
}

/* ---- steps ---- */

static enum colo_adapter_status
await(void)
{
	enum colo_adapter_status status = COLO_ADAPTER_BUSY;

	for (int i = 0; i < LONG_MS && status == COLO_ADAPTER_BUSY; i++) {
		status = adapter.ops->poll(&adapter);
		usleep(1000);
	}
	err = adapter.error;
	return status;
}

/* All three and the takeover: what is asked, and the right answer. */
static const struct {
	unsigned int step;
	const char *question, *answer;
} steps[] = {
	{COLO_ADAPTER_PAUSE, "pause\n", "paused\n"},
	{COLO_ADAPTER_LOAD, "load epoch=7 length=5\n", "loaded\n"},
	{COLO_ADAPTER_RESUME, "resume\n", "resumed\n"},
	{COLO_LOCKSTEP_TAKE_OVER, "takeover\n", "taken-over\n"},
};
#define N_STEPS (sizeof(steps) / sizeof(steps[0]))

static void
store_device_state(const void *bytes, uint64_t length)
{
	struct colo_block primary = blocks.block[2];

	CU_ASSERT_EQUAL_FATAL(colo_dirty_init(&primary.todo, primary.n_pages), 0);
	CU_ASSERT_EQUAL_FATAL(colo_device_state_store(&primary, "", bytes, length, &err), 0);
	colo_dirty_fini(&primary.todo);
}

static void
ask(unsigned int step)
{
	if (step == COLO_LOCKSTEP_TAKE_OVER)
		adapter.ops->failover(&adapter);
	else
		adapter.ops->step(&adapter, step, 7);
}

/* Step @p i of the table is asked for, and heard. */
static void
ask_and_hear(unsigned int i)
{
	char bytes[5];

	store_device_state("state", 5);
	ask(steps[i].step);
	CU_ASSERT_STRING_EQUAL(hear(hypervisor), steps[i].question);
	if (steps[i].step == COLO_ADAPTER_LOAD) {
		CU_ASSERT_EQUAL(recv(hypervisor, bytes, 5, MSG_WAITALL), 5);
		CU_ASSERT_EQUAL(memcmp(bytes, "state", 5), 0);
	}
	CU_ASSERT_EQUAL(adapter.ops->poll(&adapter), COLO_ADAPTER_BUSY);
}

static void
do_step(unsigned int i)
{
	ask_and_hear(i);
	say(hypervisor, steps[i].answer);
	CU_ASSERT_EQUAL(await(), COLO_ADAPTER_DONE);
}

/* ---- the cases ---- */

/* The control core saw another hypervisor than the one that is there when it is asked for. */
static void
test_replaced(void)
{
	begin();
	CU_ASSERT_EQUAL_FATAL(start(), 0);
	for (unsigned int i = 2; i < N_STEPS; i++) {
		connect_as("waiting", COLO_ADAPTER_GUEST_WAITING);
		ask(steps[i].step);
		CU_ASSERT_EQUAL(await(), COLO_ADAPTER_FAILED);
		CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "has no guest yet"));
		CU_ASSERT_FALSE(adapter.may_run);
		CU_ASSERT_EQUAL(adapter.ops->guest(&adapter), COLO_ADAPTER_GUEST_WAITING);
		do_step(0); /* nothing else was said to it */
	}
	end();
}

static void
test_life(void)
{
	begin();
	CU_ASSERT_EQUAL_FATAL(start(), 0);
	CU_ASSERT_EQUAL(adapter.ops->poll(&adapter), COLO_ADAPTER_IDLE);
	CU_ASSERT_EQUAL(adapter.ops->guest(&adapter), COLO_ADAPTER_GUEST_UNREACHABLE);
	connect_as("waiting", COLO_ADAPTER_GUEST_WAITING);
	do_step(0); /* one that waits has nothing to pause */
	CU_ASSERT_EQUAL(adapter.ops->guest(&adapter), COLO_ADAPTER_GUEST_WAITING);
	for (unsigned int checkpoint = 0; checkpoint < 3; checkpoint++) {
		do_step(0);
		do_step(1);
		CU_ASSERT_EQUAL(adapter.ops->guest(&adapter), COLO_ADAPTER_GUEST_PAUSED);
		do_step(2);
		CU_ASSERT_EQUAL(adapter.ops->guest(&adapter), COLO_ADAPTER_GUEST_RUNNING);
	}
	do_step(0);
	CU_ASSERT_EQUAL(adapter.ops->guest(&adapter), COLO_ADAPTER_GUEST_PAUSED);
	do_step(3);
	CU_ASSERT_EQUAL(adapter.ops->guest(&adapter), COLO_ADAPTER_GUEST_RUNNING);
	CU_ASSERT_FALSE(adapter.may_run);
	CU_ASSERT_TRUE(adapter.takeover_us > 0 && adapter.takeover_us < LONG_MS * 1000);
	end();
}

/* Both files are for this user alone, and the log says what the page of docs says. */
static void
test_log(void)
{
	struct colo_lockstep_log_header h;
	struct stat st;
	uint8_t *map;
	int fd;

	begin();
	CU_ASSERT_EQUAL_FATAL(start(), 0);
	CU_ASSERT_EQUAL(stat(control, &st), 0);
	CU_ASSERT_EQUAL(st.st_mode & 0777, 0600);
	fd = open(log_path, O_RDWR | O_CLOEXEC);
	CU_ASSERT_EQUAL_FATAL(fstat(fd, &st), 0);
	CU_ASSERT_EQUAL(st.st_mode & 0777, 0600);
	CU_ASSERT_EQUAL_FATAL(read(fd, &h, sizeof(h)), (ssize_t)sizeof(h));
	CU_ASSERT_EQUAL(h.magic, 0x434f4c4f444c4f47ull);
	CU_ASSERT_EQUAL(h.version, 1);
	CU_ASSERT_EQUAL(h.n_blocks, 2);
	CU_ASSERT_EQUAL(h.length, (uint64_t)st.st_size);
	CU_ASSERT_STRING_EQUAL(h.block[0].name, "pc.ram");
	CU_ASSERT_EQUAL(h.block[0].size, RAM_PAGES * COLO_PAGE_SIZE);
	CU_ASSERT_EQUAL(h.block[0].offset, 4096);
	CU_ASSERT_EQUAL(h.block[0].length, 2 * 64);
	CU_ASSERT_STRING_EQUAL(h.block[1].name, "pc.rom");
	CU_ASSERT_EQUAL(h.block[1].offset, 8192);
	CU_ASSERT_EQUAL(h.block[1].length, 64);
	CU_ASSERT_EQUAL(offsetof(struct colo_lockstep_log_header, block), 24);
	CU_ASSERT_EQUAL(sizeof(h.block[0]), 88);
	/* what the hypervisor sets is what the flush takes */
	map = mmap(NULL, h.length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CU_ASSERT_FATAL(map != MAP_FAILED);
	((_Atomic uint64_t *)(uintptr_t)(map + h.block[0].offset))[8] |= 1;
	((_Atomic uint64_t *)(uintptr_t)(map + h.block[1].offset))[0] |= 1;
	CU_ASSERT_EQUAL(adapter.log[0][8], 1);
	CU_ASSERT_EQUAL(adapter.log[1][0], 1);
	CU_ASSERT_PTR_NULL(adapter.log[2]);
	munmap(map, h.length);
	close(fd);
	end();
}

static void
test_device_state(void)
{
	static const uint64_t lengths[] = {
		0, 1, 20000, DEVICE_SIZE - sizeof(struct colo_device_state)};
	uint8_t *sent = malloc(DEVICE_SIZE), *got = malloc(DEVICE_SIZE);
	char question[64];

	for (uint64_t i = 0; i < DEVICE_SIZE; i++)
		sent[i] = (uint8_t)(i * 7);
	begin();
	CU_ASSERT_EQUAL_FATAL(start(), 0);
	connect_as("waiting", COLO_ADAPTER_GUEST_WAITING);
	/* none has ever come */
	adapter.ops->step(&adapter, COLO_ADAPTER_LOAD, 1);
	CU_ASSERT_EQUAL(await(), COLO_ADAPTER_FAILED);
	CU_ASSERT_TRUE(said("no device state has arrived"));
	CU_ASSERT_EQUAL(adapter.ops->guest(&adapter), COLO_ADAPTER_GUEST_WAITING);
	for (unsigned int i = 0; i < 4; i++) {
		store_device_state(sent, lengths[i]);
		adapter.ops->step(&adapter, COLO_ADAPTER_LOAD, UINT32_MAX);
		snprintf(question, sizeof(question), "load epoch=4294967295 length=%u\n",
			(unsigned int)lengths[i]);
		CU_ASSERT_STRING_EQUAL(hear(hypervisor), question);
		if (lengths[i] != 0) /* a read of nothing would wait for more */
			CU_ASSERT_EQUAL(recv(hypervisor, got, lengths[i], MSG_WAITALL),
				(ssize_t)lengths[i]);
		CU_ASSERT_EQUAL(memcmp(sent, got, lengths[i]), 0);
		say(hypervisor, "loaded\n");
		CU_ASSERT_EQUAL(await(), COLO_ADAPTER_DONE);
	}
	/* one that does not read it */
	adapter.ops->step(&adapter, COLO_ADAPTER_LOAD, 1);
	CU_ASSERT_EQUAL(await(), COLO_ADAPTER_FAILED);
	CU_ASSERT_TRUE(said("does not read what it is sent within 150 ms"));
	await_guest(COLO_ADAPTER_GUEST_UNREACHABLE);
	end();
	free(sent);
	free(got);
}

/* @p hello is not accepted: the connection ends, and others are taken as before. */
static void
bad_hello(const char *hello, size_t length)
{
	int fd = call();

	hear_hello(fd);
	CU_ASSERT_EQUAL(send(fd, hello, length, MSG_NOSIGNAL), (ssize_t)length);
	CU_ASSERT_TRUE(is_gone(fd));
	CU_ASSERT_EQUAL(adapter.ops->guest(&adapter), COLO_ADAPTER_GUEST_UNREACHABLE);
	close(fd);
}

static void
test_bad_hello(void)
{
	static const char *const hellos[] = {"\n", "hello\n", "hello version=1\n",
		"hello version=2 guest=waiting\n", "hello version=1 guest=asleep\n",
		"hello version=1 guest=waiting \n", " hello version=1 guest=waiting\n",
		"hello version=1 guest=waiting\r\n", "HELLO version=1 guest=waiting\n", "paused\n",
		"hello version=1 guest=waiting\npaused\n", "hello version=1 guest=waiting\nx",
		"hello version=1 guest=waiting\x80\n"};
	char line[COLO_LOCKSTEP_LINE_MAX + 1];
	int fd;

	begin();
	CU_ASSERT_EQUAL_FATAL(start(), 0);
	for (unsigned int i = 0; i < sizeof(hellos) / sizeof(hellos[0]); i++)
		bad_hello(hellos[i], strlen(hellos[i]));
	bad_hello("hello version=1 guest=waiting\0\n", 31);
	/* the longest line; one byte more has no newline in time */
	memset(line, 'x', sizeof(line));
	bad_hello(line, sizeof(line) - 1);
	line[sizeof(line) - 2] = '\n';
	bad_hello(line, sizeof(line) - 1);
	/* nothing at all, and half a word */
	bad_hello("", 0);
	bad_hello("hello vers", 10);
	CU_ASSERT_EQUAL(adapter.ops->poll(&adapter), COLO_ADAPTER_IDLE);
	adapter.ops->step(&adapter, COLO_ADAPTER_PAUSE, 1);
	CU_ASSERT_EQUAL(await(), COLO_ADAPTER_FAILED);
	CU_ASSERT_TRUE(said("no hypervisor is connected to "));
	/* in pieces it is as good as in one */
	fd = call();
	hear_hello(fd);
	for (const char *p = "hello version=1 guest=paused\n"; *p != '\0'; p++) {
		CU_ASSERT_EQUAL(send(fd, p, 1, MSG_NOSIGNAL), 1);
		usleep(100);
	}
	await_guest(COLO_ADAPTER_GUEST_PAUSED);
	close(fd);
	end();
}

/* To each question each wrong answer; @p bytes NULL: the connection is closed, "": silence. */
static void
bad_answer(const char *bytes, size_t length, const char *words)
{
	for (unsigned int i = 0; i < N_STEPS; i++) {
		begin();
		CU_ASSERT_EQUAL_FATAL(start(), 0);
		connect_as("running", COLO_ADAPTER_GUEST_RUNNING);
		ask_and_hear(i);
		if (bytes == NULL) {
			close(hypervisor);
			hypervisor = -1;
		} else {
			CU_ASSERT_EQUAL(
				send(hypervisor, bytes, length, MSG_NOSIGNAL), (ssize_t)length);
		}
		CU_ASSERT_EQUAL(await(), COLO_ADAPTER_FAILED);
		CU_ASSERT_TRUE(said(words));
		CU_ASSERT_EQUAL(adapter.may_run, steps[i].step == COLO_LOCKSTEP_TAKE_OVER);
		await_guest(COLO_ADAPTER_GUEST_UNREACHABLE);
		if (hypervisor >= 0)
			CU_ASSERT_TRUE(is_gone(hypervisor));
		/* and another connection is taken */
		connect_as("paused", COLO_ADAPTER_GUEST_PAUSED);
		do_step(2);
		end();
	}
}

static void
test_bad_answers(void)
{
	static const char *const answers[] = {"\n", "hello version=1 guest=paused\n", "PAUSED\n",
		"paused \n", "loaded x\n", "failedx\n", "ok\n"};
	char line[COLO_LOCKSTEP_LINE_MAX + 1];

	for (unsigned int i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
		bad_answer(answers[i], strlen(answers[i]), "is accepted");
	memset(line, 'x', sizeof(line));
	bad_answer(line, sizeof(line) - 1, "a line of more than 512 bytes");
	line[sizeof(line) - 2] = '\n';
	bad_answer(line, sizeof(line) - 1, "the hypervisor answered `xxx");
	bad_answer("paused\0\n", 8, "not printable ASCII");
	bad_answer("", 0, "` within 150 ms");
	bad_answer("pau", 3, "` within 150 ms");
	bad_answer(NULL, 0, "has closed the connection");
}

/* It could not: the connection stays, and it may be asked again. */
static void
test_failed(void)
{
	for (unsigned int i = 0; i < N_STEPS; i++) {
		begin();
		CU_ASSERT_EQUAL_FATAL(start(), 0);
		connect_as("running", COLO_ADAPTER_GUEST_RUNNING);
		ask_and_hear(i);
		say(hypervisor, "failed the moon is full\n");
		CU_ASSERT_EQUAL(await(), COLO_ADAPTER_FAILED);
		CU_ASSERT_TRUE(said(": the moon is full"));
		CU_ASSERT_FALSE(adapter.may_run);
		ask_and_hear(i);
		say(hypervisor, "failed\n");
		CU_ASSERT_EQUAL(await(), COLO_ADAPTER_FAILED);
		CU_ASSERT_TRUE(said("does not say why"));
		do_step(i);
		end();
	}
}

/* What comes unasked is never taken for an answer. */
static void
test_unasked(void)
{
	begin();
	CU_ASSERT_EQUAL_FATAL(start(), 0);
	connect_as("running", COLO_ADAPTER_GUEST_RUNNING);
	say(hypervisor, "paused\n");
	CU_ASSERT_TRUE(is_gone(hypervisor));
	connect_as("running", COLO_ADAPTER_GUEST_RUNNING);
	ask_and_hear(0);
	say(hypervisor, "paused\nloaded\n");
	CU_ASSERT_EQUAL(await(), COLO_ADAPTER_DONE);
	adapter.ops->step(&adapter, COLO_ADAPTER_LOAD, 7);
	CU_ASSERT_EQUAL(await(), COLO_ADAPTER_FAILED);
	end();
}

/* Paused by us, memory half rolled back: it must not have run meanwhile. */
static void
test_held(void)
{
	begin();
	CU_ASSERT_EQUAL_FATAL(start(), 0);
	connect_as("running", COLO_ADAPTER_GUEST_RUNNING);
	connect_as("running", COLO_ADAPTER_GUEST_RUNNING);
	do_step(0);
	close(hypervisor);
	hypervisor = -1;
	await_guest(COLO_ADAPTER_GUEST_UNREACHABLE);
	bad_hello("hello version=1 guest=running\n", 30);
	connect_as("paused", COLO_ADAPTER_GUEST_PAUSED);
	ask_and_hear(2); /* no answer, but it may have heard */
	CU_ASSERT_EQUAL(await(), COLO_ADAPTER_FAILED);
	connect_as("running", COLO_ADAPTER_GUEST_RUNNING);
	end();
}

static void
test_second(void)
{
	int other;

	begin();
	CU_ASSERT_EQUAL_FATAL(start(), 0);
	connect_as("waiting", COLO_ADAPTER_GUEST_WAITING);
	other = call();
	CU_ASSERT_STRING_EQUAL(hear(other), "failed another hypervisor is connected\n");
	CU_ASSERT_TRUE(is_gone(other));
	close(other);
	do_step(0);
	/* it goes, and its successor is taken; nobody is there in between */
	close(hypervisor);
	hypervisor = -1;
	await_guest(COLO_ADAPTER_GUEST_UNREACHABLE);
	connect_as("waiting", COLO_ADAPTER_GUEST_WAITING);
	do_step(0);
	end();
}

/* stop() in the middle of a step that hangs. */
static void
test_stop(void)
{
	uint64_t began;

	begin();
	CU_ASSERT_EQUAL_FATAL(start(), 0);
	connect_as("running", COLO_ADAPTER_GUEST_RUNNING);
	ask_and_hear(0);
	began = colo_monotonic_us();
	adapter.ops->stop(&adapter);
	CU_ASSERT(colo_monotonic_us() - began < ANSWER_MS * 1000);
	CU_ASSERT_TRUE(is_gone(hypervisor));
	end();
}

static void
expect_refused(const char *words)
{
	CU_ASSERT_EQUAL(start(), -1);
	CU_ASSERT_TRUE(said(words));
	adapter.ops->stop(&adapter);
}

static void
put_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	fputs(text, f);
	fclose(f);
}

static void
test_files(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	uint64_t magic = COLO_LOCKSTEP_LOG_MAGIC;
	int fd;

	begin();
	put_file(control, "");
	expect_refused("is there and is no socket");
	CU_ASSERT_EQUAL(unlink(control), 0);
	/* one who listens; then a socket that nobody listens on */
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	strcpy(address.sun_path, control);
	CU_ASSERT_EQUAL(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	CU_ASSERT_EQUAL(listen(fd, 1), 0);
	expect_refused("somebody listens on control socket");
	close(fd);
	/* not our file */
	put_file(log_path, "a shopping list");
	expect_refused("is there and is no dirty log");
	CU_ASSERT_EQUAL(access(log_path, F_OK), 0);
	CU_ASSERT_EQUAL(access(control, F_OK), -1);
	put_file(log_path, "");
	expect_refused("is there and is no dirty log");
	CU_ASSERT_EQUAL(unlink(log_path), 0);
	CU_ASSERT_EQUAL(symlink(ram_path, log_path), 0);
	expect_refused("cannot look at the dirty log");
	CU_ASSERT_EQUAL(unlink(log_path), 0);
	/* one that an earlier run left */
	put_file(log_path, "");
	fd = open(log_path, O_WRONLY);
	CU_ASSERT_EQUAL(write(fd, &magic, sizeof(magic)), (ssize_t)sizeof(magic));
	close(fd);
	CU_ASSERT_EQUAL(start(), 0);
	end();

	begin();
	strcat(log_path, "/nowhere");
	expect_refused("cannot make the dirty log");
	end();

	begin();
	blocks.block[1].guest.path[0] = '\0';
	expect_refused("block pc.rom has no guest=FILE");
	strcpy(blocks.block[1].guest.path, rom_path);
	end();
}

int
main(void)
{
	static const struct ut_case cases[] = {
		{"life", test_life},
		{"replaced before it is let go", test_replaced},
		{"dirty log", test_log},
		{"device state", test_device_state},
		{"bad hellos", test_bad_hello},
		{"bad answers", test_bad_answers},
		{"failed", test_failed},
		{"unasked", test_unasked},
		{"held", test_held},
		{"a second hypervisor", test_second},
		{"stop", test_stop},
		{"files", test_files},
	};

	return UT_RUN("lockstep", cases);
}
