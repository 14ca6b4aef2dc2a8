/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control protocol with the hypervisor of a guest that runs between checkpoints: lines of text,
 * one question and one answer at a time. Every wait has a deadline, every line a bound.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "device_state.h"
#include "lockstep.h"

#define SAY_MAX	   (PATH_MAX + 256) /* bytes of a line of ours */
#define QUOTED_MAX 80		    /* bytes of a line that are quoted in a sentence */

static enum colo_outcome
send_bytes(struct lockstep *l, const void *bytes, size_t length, uint64_t deadline,
	struct colo_error *err)
{
	enum colo_outcome got = colo_send_all(l->fd, bytes, length, l->quit_fd, deadline);

	if (got == COLO_OUTCOME_TIMEOUT)
		colo_error_set(err, "the hypervisor does not read what it is sent within %u ms",
			l->config.answer_ms);
	else if (got == COLO_OUTCOME_ABORTED)
		colo_error_set(err, "dpdk-colo ends");
	else if (got != COLO_OUTCOME_OK)
		colo_error_set(err, "the hypervisor has closed the connection");
	return got;
}

static enum colo_outcome __attribute__((format(printf, 4, 5)))
say(struct lockstep *l, uint64_t deadline, struct colo_error *err, const char *format, ...)
{
	char line[SAY_MAX];
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(line)) {
		colo_error_set(err, "a line of %d bytes is too long to be said", n);
		return COLO_OUTCOME_GONE;
	}
	return send_bytes(l, line, (size_t)n, deadline, err);
}

/* ---- lines that come in ---- */

static bool
is_printable(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (text[i] < ' ' || text[i] > '~')
			return false;
	return true;
}

/*
 * Take a whole line out of what came.
 * @return 1: @p line has it, without the newline; 0: there is none yet; -1: nonsense, with @p err.
 */
static int
take_line(struct lockstep *l, char line[COLO_LOCKSTEP_LINE_MAX], struct colo_error *err)
{
	const char *end = memchr(l->in, '\n', l->n_in);
	size_t length;

	if (end == NULL && l->n_in < sizeof(l->in))
		return 0;
	if (end == NULL)
		return colo_error_set(err,
			"the hypervisor sent a line of more than %zu bytes, which is the most that "
			"is accepted",
			sizeof(l->in));
	length = (size_t)(end - l->in);
	if (!is_printable(l->in, length))
		return colo_error_set(err, "the hypervisor sent a line with bytes that are not "
					   "printable ASCII");
	memcpy(line, l->in, length);
	line[length] = '\0';
	l->n_in -= length + 1;
	memmove(l->in, end + 1, l->n_in);
	return 1;
}

/* Whatever there is, without waiting. @return OK, or GONE with @p err. */
static enum colo_outcome
receive(struct lockstep *l, struct colo_error *err)
{
	ssize_t n;

	do
		n = recv(l->fd, l->in + l->n_in, sizeof(l->in) - l->n_in, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n > 0)
		l->n_in += (size_t)n;
	if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)))
		return COLO_OUTCOME_OK;
	colo_error_set(err, "the hypervisor has closed the connection");
	return COLO_OUTCOME_GONE;
}

static enum colo_outcome
hear(struct lockstep *l, const char *question, uint64_t deadline, char line[COLO_LOCKSTEP_LINE_MAX],
	struct colo_error *err)
{
	for (;;) {
		enum colo_outcome got;
		int taken = take_line(l, line, err);

		if (taken != 0)
			return taken > 0 ? COLO_OUTCOME_OK : COLO_OUTCOME_GONE;
		got = colo_wait_fd(l->fd, POLLIN, l->quit_fd, deadline);
		if (got == COLO_OUTCOME_TIMEOUT)
			colo_error_set(err, "the hypervisor did not answer `%s` within %u ms",
				question, l->config.answer_ms);
		else if (got == COLO_OUTCOME_ABORTED)
			colo_error_set(err, "dpdk-colo ends");
		else if (got == COLO_OUTCOME_OK)
			got = receive(l, err);
		if (got != COLO_OUTCOME_OK)
			return got;
	}
}

/* ---- hello ---- */

enum colo_outcome
colo_lockstep_greet(struct lockstep *l, struct colo_error *err)
{
	uint64_t deadline = colo_deadline(l->config.answer_ms);
	enum colo_outcome got = say(l, deadline, err, "hello version=%u blocks=%u log=%s\n",
		COLO_LOCKSTEP_VERSION, l->n_blocks, l->log.path);

	for (unsigned int i = 0; got == COLO_OUTCOME_OK && i < l->n_blocks; i++)
		got = say(l, deadline, err,
			"block size=%" PRIu64 " log-offset=%" PRIu64 " name=%s file=%s\n",
			l->log.header->block[i].size, l->log.header->block[i].offset,
			l->adapter->blocks->block[i].name, l->file[i]);
	l->hello_deadline = deadline;
	return got;
}

static enum colo_outcome
take_hello(struct lockstep *l, const char *line, struct colo_error *err)
{
	static const struct {
		const char *name;
		enum colo_adapter_guest guest;
	} guests[] = {
		{"waiting", COLO_ADAPTER_GUEST_WAITING},
		{"running", COLO_ADAPTER_GUEST_RUNNING},
		{"paused", COLO_ADAPTER_GUEST_PAUSED},
	};
	char wanted[64];

	for (unsigned int i = 0; i < sizeof(guests) / sizeof(guests[0]); i++) {
		snprintf(wanted, sizeof(wanted), "hello version=%u guest=%s", COLO_LOCKSTEP_VERSION,
			guests[i].name);
		if (strcmp(line, wanted) != 0)
			continue;
		if (guests[i].guest == COLO_ADAPTER_GUEST_RUNNING && l->held) {
			colo_error_set(err, "the hypervisor says that its guest runs, which was "
					    "paused and not resumed; a guest that is paused, or "
					    "waiting for a load, is accepted");
			return COLO_OUTCOME_GONE;
		}
		l->greeted = true;
		atomic_store_explicit(&l->guest, guests[i].guest, memory_order_release);
		return COLO_OUTCOME_OK;
	}
	colo_error_set(err,
		"the hypervisor said `%.*s`; hello version=%u guest=waiting|running|paused is "
		"accepted",
		QUOTED_MAX, line, COLO_LOCKSTEP_VERSION);
	return COLO_OUTCOME_GONE;
}

enum colo_outcome
colo_lockstep_listen(struct lockstep *l, struct colo_error *err)
{
	char line[COLO_LOCKSTEP_LINE_MAX];
	enum colo_outcome got = receive(l, err);
	int taken;

	if (got != COLO_OUTCOME_OK || l->n_in == 0)
		return got;
	if (!l->greeted) {
		taken = take_line(l, line, err);
		if (taken <= 0)
			return taken == 0 ? COLO_OUTCOME_OK : COLO_OUTCOME_GONE;
		got = take_hello(l, line, err);
		if (got != COLO_OUTCOME_OK || l->n_in == 0)
			return got;
	}
	colo_error_set(err, "the hypervisor spoke without being asked");
	return COLO_OUTCOME_GONE;
}

/* ---- steps ---- */

static enum colo_outcome
expect(struct lockstep *l, const char *question, const char *answer, uint64_t deadline,
	struct colo_error *err)
{
	static const char failed[] = "failed";
	char line[COLO_LOCKSTEP_LINE_MAX];
	enum colo_outcome got = hear(l, question, deadline, line, err);

	if (got != COLO_OUTCOME_OK || strcmp(line, answer) == 0)
		return got;
	if (strncmp(line, failed, strlen(failed)) == 0 &&
		(line[strlen(failed)] == ' ' || line[strlen(failed)] == '\0')) {
		colo_error_set(err, "the hypervisor could not %s:%s", question,
			line[strlen(failed)] != '\0' ? line + strlen(failed)
						     : " it does not say why");
		return COLO_OUTCOME_REFUSED;
	}
	colo_error_set(err,
		"the hypervisor answered `%.*s` to `%s`; %s, or failed with a reason, is accepted",
		QUOTED_MAX, line, question, answer);
	return COLO_OUTCOME_GONE;
}

static enum colo_outcome
ask(struct lockstep *l, const char *question, const char *answer, struct colo_error *err)
{
	uint64_t deadline = colo_deadline(l->config.answer_ms);
	enum colo_outcome got = say(l, deadline, err, "%s\n", question);

	return got == COLO_OUTCOME_OK ? expect(l, question, answer, deadline, err) : got;
}

static enum colo_outcome
load(struct lockstep *l, struct colo_error *err)
{
	const struct colo_blocks *blocks = l->adapter->blocks;
	const struct colo_block *device = &blocks->block[blocks->n - 1];
	uint64_t deadline = colo_deadline(l->config.answer_ms);
	enum colo_outcome got;
	const uint8_t *bytes;
	uint64_t length;

	bytes = colo_device_state_load(device->guest.addr, device->size, NULL, &length, err);
	if (bytes == NULL)
		return COLO_OUTCOME_REFUSED;
	got = say(
		l, deadline, err, "load epoch=%" PRIu32 " length=%" PRIu64 "\n", l->epoch, length);
	if (got == COLO_OUTCOME_OK)
		got = send_bytes(l, bytes, length, deadline, err);
	return got == COLO_OUTCOME_OK ? expect(l, "load", "loaded", deadline, err) : got;
}

static void
set_guest(struct lockstep *l, enum colo_adapter_guest guest)
{
	atomic_store_explicit(&l->guest, guest, memory_order_release);
}

static enum colo_outcome
pause_guest(struct lockstep *l, struct colo_error *err)
{
	enum colo_outcome got = ask(l, "pause", "paused", err);

	if (got != COLO_OUTCOME_OK)
		return got;
	l->held = true;
	if (atomic_load_explicit(&l->guest, memory_order_relaxed) == COLO_ADAPTER_GUEST_RUNNING)
		set_guest(l, COLO_ADAPTER_GUEST_PAUSED);
	return got;
}

/*
 * Whatever is answered: it may run from here on. One that came anew, after its predecessor was last
 * looked at, has no guest that could.
 */
static enum colo_outcome
let_go(struct lockstep *l, const char *question, const char *answer, struct colo_error *err)
{
	enum colo_outcome got;

	if (atomic_load_explicit(&l->guest, memory_order_relaxed) == COLO_ADAPTER_GUEST_WAITING) {
		colo_error_set(err, "the hypervisor at %s was replaced, and has no guest yet",
			l->config.control);
		return COLO_OUTCOME_REFUSED;
	}

	l->held = false;
	got = ask(l, question, answer, err);
	if (got == COLO_OUTCOME_OK)
		set_guest(l, COLO_ADAPTER_GUEST_RUNNING);
	return got;
}

enum colo_outcome
colo_lockstep_carry_out(struct lockstep *l, unsigned int step, struct colo_error *err)
{
	enum colo_outcome got;

	if (l->fd < 0 || !l->greeted) {
		colo_error_set(err, "no hypervisor is connected to %s", l->config.control);
		return COLO_OUTCOME_REFUSED;
	}
	/* what came before the question is not its answer */
	got = colo_lockstep_listen(l, err);
	if (got != COLO_OUTCOME_OK)
		return got;
	switch (step) {
	case COLO_ADAPTER_PAUSE:
		return pause_guest(l, err);
	case COLO_ADAPTER_LOAD:
		got = load(l, err);
		if (got == COLO_OUTCOME_OK)
			set_guest(l, COLO_ADAPTER_GUEST_PAUSED);
		return got;
	case COLO_ADAPTER_RESUME:
		return let_go(l, "resume", "resumed", err);
	default:
		return let_go(l, "takeover", "taken-over", err);
	}
}
