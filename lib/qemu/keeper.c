/* SPDX-License-Identifier: BSD-3-Clause */
/* The keeper: the primary's calls, and the process that carries them out. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "beside.h"
#include "free_guest.h"
#include "keeper.h"
#include "qmp.h"

/* What the primary asks for. */
enum request_kind {
	WATCH = 1,
	PAUSED,
	RUNS,
	FREE,
	GONE,
	UNWATCH,
	END,
};

struct request {
	uint32_t kind;
	uint64_t number;   /* of the answer wanted; 0: none */
	uint64_t deadline; /* monotonic µs, the clock of both processes */
};

struct answer {
	uint64_t number;
	int32_t result;
	struct colo_error why; /* valid if result is not 0 */
};

#define ANSWER_MS	 10u	/* of the caller's time, kept for the answer's way */
#define OWN_FREE_MS	 60000u /* how long it tries when nobody waits for it */
#define LOOK_MS		 100u	/* a QEMU that takes longer to say its state is blocked */
#define LISTENS_AGAIN_US 5000u
#define LINE_MS		 100u /* a terminal that takes no line for so long does not get it */

/* The process's. */
struct keeper {
	int fd; /* to the primary */
	uint32_t hold_ms;
	bool watched;	     /* a stream is on */
	uint64_t watch_us;   /* ... which has begun before */
	uint64_t told_since; /* 0: runs, as the primary says; else stands still since, monotonic µs
			      */
	uint64_t seen_since; /* the same, as QEMU's events say */
	struct colo_qmp qmp;
	char path[COLO_UNIX_PATH_MAX + 1];
};

static void __attribute__((format(printf, 1, 2))) say(const char *format, ...)
{
	char line[2 * COLO_ERROR_TEXT_MAX];
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	if (n < 0)
		return;
	if ((size_t)n >= sizeof(line))
		n = sizeof(line) - 1;
	/* a pipe that nobody empties must not keep us */
	if (colo_wait_fd(STDERR_FILENO, POLLOUT, COLO_NO_ABORT, colo_deadline(LINE_MS)) == 0 &&
		write(STDERR_FILENO, line, (size_t)n) < 0)
		return;
}

/* Connected, with a link that QEMU has not closed meanwhile. */
static enum colo_outcome
connect_qmp(struct keeper *k, uint64_t deadline, struct colo_error *err)
{
	if (k->qmp.fd >= 0 && colo_qmp_pump(&k->qmp, err) == COLO_OUTCOME_OK)
		return COLO_OUTCOME_OK;
	return colo_qmp_open_oob(&k->qmp, k->path, k->qmp.abort_fd, deadline, err);
}

static void
unwatch(struct keeper *k)
{
	k->watched = false;
	k->told_since = k->seen_since = 0;
}

/* QEMU is there, and its guest stands still: another try once it has for too long again. */
static void
try_later(struct keeper *k)
{
	k->watched = true;
	k->told_since = colo_monotonic_us();
}

static int
watch(struct keeper *k, uint64_t deadline, struct colo_error *err)
{
	unwatch(k);
	if (connect_qmp(k, deadline, err) != COLO_OUTCOME_OK)
		return -1;
	k->watched = true;
	k->watch_us = colo_monotonic_us();
	k->seen_since = k->qmp.stopped ? colo_monotonic_us() : 0;
	return 0;
}

/*
 * For the primary. One that comes back after the keeper freed its guest has no stream any more,
 * and whatever migration there is now is not its own.
 */
static int
free_as_asked(struct keeper *k, uint64_t deadline, struct colo_error *err)
{
	uint64_t look_deadline = colo_deadline(LOOK_MS);
	bool needed = k->watched;
	enum colo_outcome got;

	unwatch(k);
	got = connect_qmp(k, deadline, err);
	if (got == COLO_OUTCOME_OK && !needed)
		got = colo_guest_is_stuck(
			&k->qmp, look_deadline < deadline ? look_deadline : deadline, &needed, err);
	if (got == COLO_OUTCOME_OK && needed)
		got = colo_free_guest(&k->qmp, k->watch_us, deadline, err);
	if (got == COLO_OUTCOME_TIMEOUT && needed)
		try_later(k);
	return got == COLO_OUTCOME_OK ? 0 : -1;
}

/* Does anybody listen where QEMU did? One that ends closes that socket, too, in its own time. */
static bool
nobody_listens(const struct keeper *k, uint64_t deadline)
{
	enum colo_outcome got;
	int fd;

	for (;;) {
		fd = colo_unix_connect(k->path, COLO_NO_ABORT, deadline, &got, NULL);
		if (fd < 0)
			return got == COLO_OUTCOME_REFUSED;
		close(fd);
		if (colo_deadline_left(deadline) == 0)
			return false;
		(void)colo_wait_fd(-1, 0, COLO_NO_ABORT, colo_monotonic_us() + LISTENS_AGAIN_US);
	}
}

/* The link alone is no proof: QEMU may have closed that. */
static bool
is_gone(struct keeper *k, uint64_t deadline)
{
	enum colo_outcome got = COLO_OUTCOME_GONE;
	bool running;

	if (k->qmp.fd >= 0)
		got = colo_qmp_status(&k->qmp, deadline, NULL, &running, NULL);
	return got == COLO_OUTCOME_GONE && nobody_listens(k, deadline);
}

/* Nobody asked. @p abort_fd: lets the primary interrupt, when it comes back. */
static void
free_by_itself(struct keeper *k, const char *reason, int abort_fd)
{
	uint64_t began = colo_monotonic_us(), deadline = colo_deadline(OWN_FREE_MS);
	struct colo_error why;
	enum colo_outcome got;

	k->qmp.abort_fd = abort_fd;
	got = connect_qmp(k, deadline, &why);
	if (got == COLO_OUTCOME_OK)
		got = colo_free_guest(&k->qmp, 0, deadline, &why);
	k->qmp.abort_fd = COLO_NO_ABORT;
	if (got == COLO_OUTCOME_ABORTED)
		return;
	if (got == COLO_OUTCOME_OK)
		say("dpdk-colo-keep: %s: the guest of QEMU at %s is freed (%llu us) and runs on "
		    "UNPROTECTED\n",
			reason, k->path, (unsigned long long)(colo_monotonic_us() - began));
	else
		say("dpdk-colo-keep: %s, and the guest is NOT FREED: %s\n", reason, why.text);
	unwatch(k);
	if (got == COLO_OUTCOME_TIMEOUT)
		try_later(k);
}

static void
tell(struct keeper *k, bool paused)
{
	k->told_since = k->watched && paused ? colo_monotonic_us() : 0;
	/* QEMU has as long again to let it run */
	if (!paused && k->seen_since != 0)
		k->seen_since = colo_monotonic_us();
}

static void
answer(const struct keeper *k, const struct request *r, int result, const struct colo_error *why)
{
	struct answer a = {.number = r->number, .result = result, .why = *why};

	/* a primary that is gone is noticed elsewhere, one that does not read has given up */
	if (send(k->fd, &a, sizeof(a), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return;
}

/* @return false: the primary has ended in order. */
static bool
carry_out(struct keeper *k, const struct request *r)
{
	struct colo_error why = {{0}};

	switch ((enum request_kind)r->kind) {
	case WATCH:
		answer(k, r, watch(k, r->deadline, &why), &why);
		return true;
	case FREE:
		answer(k, r, free_as_asked(k, r->deadline, &why), &why);
		return true;
	case GONE:
		answer(k, r, is_gone(k, r->deadline) ? 0 : -1, &why);
		return true;
	case PAUSED:
	case RUNS:
		tell(k, r->kind == PAUSED);
		return true;
	case UNWATCH:
		unwatch(k);
		return true;
	case END:
		unwatch(k);
		return false;
	}
	return true;
}

/* What the primary said. @return false: it has ended. */
static bool
take_request(struct keeper *k)
{
	struct request r;
	ssize_t n = recv(k->fd, &r, sizeof(r), MSG_DONTWAIT);

	if (n == (ssize_t)sizeof(r))
		return carry_out(k, &r);
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

/* What QEMU said. A link that broke is opened again when it is needed. */
static void
take_events(struct keeper *k)
{
	if (k->qmp.fd >= 0 && colo_qmp_pump(&k->qmp, NULL) != COLO_OUTCOME_OK)
		k->qmp.stopped = false;
	if (!k->watched || !k->qmp.stopped)
		k->seen_since = 0;
	else if (k->seen_since == 0)
		k->seen_since = colo_monotonic_us();
}

/* When the guest has stood still for too long; 0: it runs. The primary knows better than events. */
static uint64_t
hold_deadline(const struct keeper *k)
{
	uint64_t since = k->told_since != 0 ? k->told_since : k->seen_since;

	return k->watched && since != 0 ? since + (uint64_t)k->hold_ms * 1000u : 0;
}

static void
check_hold(struct keeper *k)
{
	uint64_t deadline = hold_deadline(k);
	bool stuck = true;
	char reason[96];

	if (deadline == 0 || colo_deadline_left(deadline) > 0)
		return;
	if (k->told_since == 0) {
		/* only seen: an operator may have stopped it */
		if (colo_guest_is_stuck(&k->qmp, colo_deadline(LOOK_MS), &stuck, NULL) != 0)
			return;
		k->seen_since = colo_monotonic_us();
	}
	snprintf(reason, sizeof(reason), "the guest stood still for more than %u ms", k->hold_ms);
	if (stuck)
		free_by_itself(k, reason, k->fd);
}

static void
wait_for_something(const struct keeper *k)
{
	struct pollfd p[2] = {{.fd = k->fd, .events = POLLIN}, {.fd = k->qmp.fd, .events = POLLIN}};
	uint64_t deadline = hold_deadline(k);

	/* an error of poll(2) is one of its descriptors': reading says more */
	if (poll(p, 2, deadline != 0 ? colo_deadline_left(deadline) : -1) < 0)
		return;
}

static void
keep(int fd, void *arg)
{
	struct keeper *k = arg;

	k->fd = fd;
	do {
		wait_for_something(k);
		take_events(k);
		check_hold(k);
	} while (take_request(k));
	if (k->watched)
		free_by_itself(k, "the primary is gone", COLO_NO_ABORT);
}

/* The process's directory is another one: make the path absolute; it need not exist yet. */
static int
set_path(struct keeper *k, const char *path, struct colo_error *err)
{
	char here[PATH_MAX] = "";
	int n;

	if (path[0] != '/' && getcwd(here, sizeof(here)) == NULL)
		return colo_error_set(
			err, "no current directory to find %s in: %s", path, strerror(errno));
	n = snprintf(k->path, sizeof(k->path), "%s%s%s", here, path[0] != '/' ? "/" : "", path);
	if (n < 0 || (size_t)n >= sizeof(k->path))
		return colo_error_set(err, "path of QMP socket %s%s%s has more than %u bytes", here,
			path[0] != '/' ? "/" : "", path, COLO_UNIX_PATH_MAX);
	return 0;
}

static const struct colo_beside keeper_process = {
	.name = "dpdk-colo-keep", .keeps_stderr = true, .live = keep};

int
colo_keeper_start(const char *qmp_path, uint32_t hold_ms, bool confined, struct colo_error *err)
{
	struct keeper *k = calloc(1, sizeof(*k));
	int handle = -1;

	if (k == NULL)
		return colo_error_set(err, "no memory for the keeper");
	k->hold_ms = hold_ms;
	k->qmp.fd = -1;
	k->qmp.abort_fd = COLO_NO_ABORT;
	if (set_path(k, qmp_path, err) == 0)
		handle = colo_beside_start(&keeper_process, k, confined, err);
	free(k);
	return handle;
}

/* @return 0, or -1 (a keeper that is gone, or does not read). */
static int
send_request(int handle, const struct request *r)
{
	return send(handle, r, sizeof(*r), MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof(*r) ? 0 : -1;
}

/* Answers that came too late for an earlier call are passed over. */
static int
await_answer(int handle, uint64_t number, uint64_t deadline, struct answer *a)
{
	while (colo_wait_fd(handle, POLLIN, COLO_NO_ABORT, deadline) == COLO_OUTCOME_OK) {
		ssize_t n = recv(handle, a, sizeof(*a), MSG_DONTWAIT);

		if (n == (ssize_t)sizeof(*a) && a->number == number)
			return 0;
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			return -1;
	}
	return -1;
}

static int
ask(int handle, enum request_kind kind, uint32_t timeout_ms, struct colo_error *err)
{
	struct request r = {.kind = kind, .number = colo_monotonic_us()};
	uint64_t deadline = colo_deadline(timeout_ms);
	struct answer a;

	if (handle <= 0)
		return 0;
	r.deadline = deadline - (timeout_ms > ANSWER_MS ? ANSWER_MS : timeout_ms) * 1000u;
	if (send_request(handle, &r) != 0)
		return colo_error_set(err, "the keeper process is gone");
	if (await_answer(handle, r.number, deadline, &a) != 0)
		return colo_error_set(
			err, "the keeper process did not answer within %u ms", timeout_ms);
	if (a.result == 0)
		return 0;
	a.why.text[sizeof(a.why.text) - 1] = '\0';
	return colo_error_set(err, "%s", a.why.text);
}

static void
note(int handle, enum request_kind kind)
{
	struct request r = {.kind = kind};

	/* a keeper that is gone cannot be told */
	if (handle > 0 && send_request(handle, &r) != 0)
		return;
}

int
colo_keeper_watch(int handle, uint32_t timeout_ms, struct colo_error *err)
{
	return ask(handle, WATCH, timeout_ms, err);
}

void
colo_keeper_paused(int handle, bool paused)
{
	note(handle, paused ? PAUSED : RUNS);
}

int
colo_keeper_free(int handle, uint32_t timeout_ms, struct colo_error *err)
{
	return ask(handle, FREE, timeout_ms, err);
}

bool
colo_keeper_gone(int handle, uint32_t timeout_ms)
{
	struct colo_error err;

	return handle > 0 && ask(handle, GONE, timeout_ms, &err) == 0;
}

void
colo_keeper_unwatch(int handle)
{
	note(handle, UNWATCH);
}

void
colo_keeper_end(int handle)
{
	if (handle <= 0)
		return;
	note(handle, END);
	close(handle);
}
