/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a hypervisor says that runs the guest between checkpoints. The input: u8 options, u8 steps
 * that are asked for (two bits each), then what arrives at a time: u8 length and bytes, the first
 * unasked, the next ones each after a question or when more is waited for.
 *
 * Checked: what fails does so in one sentence; the guest is held for running only where the
 * hypervisor has said so, and never after it was paused and not let go.
 */
#include <sys/socket.h>
#include <unistd.h>

#include "device_state.h"
#include "fuzz.h"
#include "lockstep.h"
#include "page.h"

#include <rte_log.h>

#define OPTION_HELD 0x01 /* the guest of a hypervisor before this one was paused */
#define STEPS	    4u

enum colo_outcome __wrap_colo_send_all(
	int fd, const void *bytes, size_t length, int abort_fd, uint64_t deadline);
enum colo_outcome __wrap_colo_wait_fd(int fd, short events, int abort_fd, uint64_t deadline);

static struct lockstep l;
static struct {
	struct colo_blocks blocks;
	struct colo_adapter adapter;
	struct colo_lockstep_log_header header;
	struct fuzz_input in;
	int peer; /* the hypervisor's end; -1: closed */
} t;

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const uint8_t state[] = "\004state\176\0\0\0\3";
	struct colo_error err = {""};

	(void)argc;
	(void)argv;
	rte_log_set_global_level(RTE_LOG_CRIT);
	colo_page_init(NULL);
	for (unsigned int i = 0; i < 2; i++) {
		struct colo_block_spec spec = {.size = COLO_PAGE_SIZE};

		snprintf(spec.name, sizeof(spec.name), "block%u", i);
		FUZZ_CHECK(colo_blocks_add_primary(&t.blocks, &spec, &err) == 0);
	}
	FUZZ_CHECK(
		colo_device_state_store(&t.blocks.block[1], "pc", state, sizeof(state), &err) == 0);
	t.adapter.blocks = &t.blocks;
	return 0;
}

/* What arrives next, or the end. */
static void
arrive(void)
{
	size_t n = fuzz_u8(&t.in);
	const uint8_t *bytes = fuzz_bytes(&t.in, &n);

	if (n > 0 && t.peer >= 0) {
		FUZZ_CHECK(send(t.peer, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)n);
	} else if (t.peer >= 0) {
		close(t.peer);
		t.peer = -1;
	}
}

/* The hypervisor reads everything, and answers at once. */
enum colo_outcome
__wrap_colo_send_all(int fd, const void *bytes, size_t length, int abort_fd, uint64_t deadline)
{
	(void)abort_fd;
	(void)deadline;
	FUZZ_CHECK(fd == l.fd && length > 0 && bytes != NULL);
	arrive();
	return COLO_OUTCOME_OK;
}

enum colo_outcome
__wrap_colo_wait_fd(int fd, short events, int abort_fd, uint64_t deadline)
{
	(void)events;
	(void)abort_fd;
	(void)deadline;
	FUZZ_CHECK(fd == l.fd);
	arrive();
	return COLO_OUTCOME_OK;
}

static void
begin(uint8_t options)
{
	static char file[] = "/guest";
	int fd[2];

	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fd) == 0);
	memset(&l, 0, sizeof(l));
	l.adapter = &t.adapter;
	l.log.header = &t.header;
	l.file[0] = file;
	l.n_blocks = 1;
	l.config.answer_ms = COLO_LOCKSTEP_ANSWER_MS;
	l.fd = fd[0];
	l.quit_fd = -1;
	l.held = options & OPTION_HELD;
	t.peer = fd[1];
}

static uint32_t
guest(void)
{
	uint32_t now = atomic_load(&l.guest);

	FUZZ_CHECK(now == 0 || now == COLO_ADAPTER_GUEST_WAITING ||
		   now == COLO_ADAPTER_GUEST_RUNNING || now == COLO_ADAPTER_GUEST_PAUSED);
	return now;
}

static void
check_outcome(enum colo_outcome got, const struct colo_error *err)
{
	FUZZ_CHECK(
		got == COLO_OUTCOME_OK || got == COLO_OUTCOME_REFUSED || got == COLO_OUTCOME_GONE);
	FUZZ_CHECK(l.n_in <= sizeof(l.in));
	if (got != COLO_OUTCOME_OK)
		fuzz_check_sentence(err->text, sizeof(err->text));
}

/* @return false: the connection is of no use any more. */
static bool
carry_out(unsigned int step)
{
	uint32_t before = guest();
	struct colo_error err = {""};
	enum colo_outcome got = colo_lockstep_carry_out(&l, step, &err);

	check_outcome(got, &err);
	if (guest() == COLO_ADAPTER_GUEST_RUNNING && before != COLO_ADAPTER_GUEST_RUNNING)
		FUZZ_CHECK(got == COLO_OUTCOME_OK && step >= COLO_ADAPTER_RESUME && !l.held);
	if (got == COLO_OUTCOME_OK && step == COLO_ADAPTER_PAUSE)
		FUZZ_CHECK(l.held && guest() != COLO_ADAPTER_GUEST_RUNNING);
	return got != COLO_OUTCOME_GONE;
}

/* Until the hello is whole, or nothing more comes. */
static bool
greet(bool held)
{
	struct colo_error err = {""};
	enum colo_outcome got = COLO_OUTCOME_OK;

	while (!l.greeted && got == COLO_OUTCOME_OK) {
		arrive();
		got = colo_lockstep_listen(&l, &err);
		check_outcome(got, &err);
	}
	if (l.greeted)
		FUZZ_CHECK(!held || guest() != COLO_ADAPTER_GUEST_RUNNING);
	return got == COLO_OUTCOME_OK;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	uint8_t options = fuzz_u8(&in), steps = fuzz_u8(&in);
	struct colo_error err = {""};
	bool on;

	t.in = in;
	begin(options);
	check_outcome(colo_lockstep_listen(&l, &err), &err);
	on = greet(options & OPTION_HELD);
	for (unsigned int i = 0; on && i < STEPS; i++)
		on = carry_out(COLO_ADAPTER_PAUSE + (steps >> (2 * i)) % 4);
	close(l.fd);
	if (t.peer >= 0)
		close(t.peer);
	return 0;
}
