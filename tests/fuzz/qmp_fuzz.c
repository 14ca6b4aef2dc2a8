/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a QEMU says on its QMP socket: greeting, answers, events. The input: u8 options, u8 commands
 * that are carried out (a bit each), then all that QEMU ever says. The text is read as JSON
 * besides, whatever QMP makes of it.
 *
 * Checked: what fails does so in one sentence; strings fit their buffers and come back from what
 * they are quoted to; values lie within the text.
 */
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"
#include "memory_backend.h"
#include "qmp.h"

#define OPTION_OOB  0x01
#define SAY_MAX	    150000u /* bytes: a socket takes them without being read */
#define DEADLINE_MS 60000u  /* nothing waits: all that will be said is there */
#define VALUES_MAX  2000u   /* of a text that are looked at */

static struct colo_qmp qmp;
static struct {
	int fd[2]; /* ours, QEMU's */
	const uint8_t *says;
	size_t n;
	unsigned int values;
} t;

int __wrap_colo_unix_connect(const char *path, int abort_fd, uint64_t deadline,
	enum colo_outcome *outcome, struct colo_error *err);

/* Connected to a QEMU that has said everything already. */
int
__wrap_colo_unix_connect(const char *path, int abort_fd, uint64_t deadline,
	enum colo_outcome *outcome, struct colo_error *err)
{
	static const int size = 1 << 20;

	(void)path;
	(void)abort_fd;
	(void)deadline;
	(void)err;
	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, t.fd) == 0);
	setsockopt(t.fd[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	FUZZ_CHECK(fcntl(t.fd[0], F_SETFL, O_NONBLOCK) == 0);
	FUZZ_CHECK(t.n == 0 || send(t.fd[1], t.says, t.n, MSG_DONTWAIT) == (ssize_t)t.n);
	shutdown(t.fd[1], SHUT_WR);
	*outcome = COLO_OUTCOME_OK;
	return t.fd[0];
}

static void
check_outcome(enum colo_outcome got, const struct colo_error *err)
{
	FUZZ_CHECK(
		got == COLO_OUTCOME_OK || got == COLO_OUTCOME_REFUSED || got == COLO_OUTCOME_GONE);
	if (got != COLO_OUTCOME_OK)
		fuzz_check_sentence(err->text, sizeof(err->text));
}

static bool
is_inside(const struct colo_json *inner, const char *text, size_t length)
{
	return inner->at >= text && inner->length <= length &&
	       (size_t)(inner->at - text) <= length - inner->length && inner->length > 0;
}

/* A string that is decoded is the same one after it was quoted. */
static void
check_string(const struct colo_json *value)
{
	char text[64], quoted[512], again[64];
	struct colo_json parsed;
	int n = colo_json_string(value, text, sizeof(text)), q;

	if (n < 0)
		return;
	FUZZ_CHECK((size_t)n < sizeof(text) && strlen(text) == (size_t)n);
	q = colo_json_quote(text, quoted, sizeof(quoted));
	FUZZ_CHECK(q > 0 && (size_t)q < sizeof(quoted) && strlen(quoted) == (size_t)q);
	FUZZ_CHECK(colo_json_parse(quoted, (size_t)q, &parsed) == 0);
	FUZZ_CHECK(colo_json_string(&parsed, again, sizeof(again)) == n);
	FUZZ_CHECK(strcmp(text, again) == 0);
}

static void
walk(const struct colo_json *value, unsigned int depth)
{
	static const char *const names[] = {"return", "error", "id", "QMP", "desc", "a", ""};
	struct colo_json inner;
	uint64_t number;

	FUZZ_CHECK(depth <= COLO_JSON_DEPTH_MAX);
	if (++t.values > VALUES_MAX)
		return;
	check_string(value);
	(void)colo_json_u64(value, &number);
	(void)colo_json_is_true(value);
	for (unsigned int i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!colo_json_member(value, names[i], &inner))
			continue;
		FUZZ_CHECK(is_inside(&inner, value->at, value->length));
		walk(&inner, depth + 1);
	}
	for (unsigned int i = 0; i < 3 && colo_json_element(value, i, &inner); i++) {
		FUZZ_CHECK(is_inside(&inner, value->at, value->length));
		walk(&inner, depth + 1);
	}
}

static void
read_json(const char *text, size_t n)
{
	char *exact = (char *)fuzz_copy((const uint8_t *)text, n);
	struct colo_json value;

	t.values = 0;
	if (colo_json_parse(exact, n, &value) == 0) {
		FUZZ_CHECK(is_inside(&value, exact, n));
		walk(&value, 0);
	}
	free(exact);
}

/* One after the other, until QEMU has nothing more to say. */
static void
carry_out(uint8_t commands)
{
	uint64_t deadline = colo_deadline(DEADLINE_MS);
	struct colo_error err = {""};
	char status[COLO_QMP_STATUS_MAX], text[48];
	struct colo_json reply;
	bool running;

	if (commands & 0x01)
		check_outcome(colo_qmp_status(&qmp, deadline, status, &running, &err), &err);
	if (commands & 0x02)
		check_outcome(colo_qmp_qom_string(&qmp, "/objects/m", "mem-path", deadline, text,
				      sizeof(text), &err),
			&err);
	if (commands & 0x04)
		check_outcome(colo_memory_backend_check(
				      &qmp, "/dev/null", "pc.ram", 4096, deadline, &err),
			&err);
	if (commands & 0x08)
		check_outcome(colo_qmp_pump(&qmp, &err), &err);
	if (!(commands & 0x10))
		return;
	if (colo_qmp_command_oob(&qmp, "yank", "{}", deadline, &reply, &err) == COLO_OUTCOME_OK) {
		FUZZ_CHECK(is_inside(&reply, qmp.line, sizeof(qmp.line)));
		t.values = 0;
		walk(&reply, 0);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	uint8_t options = fuzz_u8(&in), commands = fuzz_u8(&in);
	uint64_t deadline = colo_deadline(DEADLINE_MS);
	struct colo_error err = {""};
	enum colo_outcome got;

	t.n = SAY_MAX;
	t.says = fuzz_bytes(&in, &t.n);
	read_json((const char *)t.says, t.n);
	if (options & OPTION_OOB)
		got = colo_qmp_open_oob(&qmp, "/qmp", COLO_NO_ABORT, deadline, &err);
	else
		got = colo_qmp_open(&qmp, "/qmp", COLO_NO_ABORT, deadline, &err);
	check_outcome(got, &err);
	FUZZ_CHECK((got == COLO_OUTCOME_OK) == (qmp.fd >= 0));
	if (got == COLO_OUTCOME_OK)
		carry_out(commands);
	FUZZ_CHECK(qmp.used <= sizeof(qmp.line) && qmp.taken <= qmp.used);
	colo_qmp_close(&qmp);
	close(t.fd[1]);
	return 0;
}
