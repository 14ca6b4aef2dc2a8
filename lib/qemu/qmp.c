/* SPDX-License-Identifier: BSD-3-Clause */
/* The QMP client: lines in, messages sorted into events and answers, one command at a time. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "qmp.h"

void
colo_qmp_close(struct colo_qmp *q)
{
	if (q->fd >= 0)
		close(q->fd);
	q->fd = -1;
	q->used = q->searched = q->taken = 0;
}

/* The link is of no use any more. */
static enum colo_outcome
gone(struct colo_qmp *q, struct colo_error *err, const char *why)
{
	colo_error_set(err, "QEMU at %s %s", q->path, why);
	colo_qmp_close(q);
	return COLO_OUTCOME_GONE;
}

static enum colo_outcome
read_more(struct colo_qmp *q, uint64_t deadline, struct colo_error *err)
{
	enum colo_outcome ready;
	ssize_t n;

	if (q->used == sizeof(q->line))
		return gone(q, err, "sent a line that is longer than QMP's 64 KiB accepted here");
	ready = colo_wait_fd(q->fd, POLLIN, q->abort_fd, deadline);
	if (ready != COLO_OUTCOME_OK)
		return ready;
	n = recv(q->fd, q->line + q->used, sizeof(q->line) - q->used, MSG_DONTWAIT);
	if (n == 0)
		return gone(q, err, "closed its QMP connection");
	if (n < 0 && errno != EINTR && errno != EAGAIN && errno != EWOULDBLOCK)
		return gone(q, err, "broke its QMP connection");
	if (n > 0)
		q->used += (size_t)n;
	return COLO_OUTCOME_OK;
}

/* Drop the current line, wait for the next whole one. */
static enum colo_outcome
take_line(struct colo_qmp *q, uint64_t deadline, struct colo_error *err)
{
	q->used -= q->taken;
	memmove(q->line, q->line + q->taken, q->used);
	q->taken = q->searched = 0;
	for (;;) {
		char *end = memchr(q->line + q->searched, '\n', q->used - q->searched);
		enum colo_outcome more;

		if (end != NULL) {
			q->taken = (size_t)(end - q->line) + 1;
			return COLO_OUTCOME_OK;
		}
		q->searched = q->used;
		more = read_more(q, deadline, err);
		if (more != COLO_OUTCOME_OK)
			return more;
	}
}

/* @return true if the message was an event. */
static bool
note_event(struct colo_qmp *q, const struct colo_json *message)
{
	char name[32];
	struct colo_json event;

	if (!colo_json_member(message, "event", &event))
		return false;
	if (colo_json_string(&event, name, sizeof(name)) < 0)
		return true; /* none of ours has such a long name */
	if (strcmp(name, "STOP") == 0) {
		q->stops++;
		q->stopped = true;
	} else if (strcmp(name, "RESUME") == 0) {
		q->resumes++;
		q->stopped = false;
	} else if (strcmp(name, "SHUTDOWN") == 0) {
		q->shutdowns++;
	}
	return true;
}

/* The next message, an event or not. */
static enum colo_outcome
take_message(struct colo_qmp *q, uint64_t deadline, struct colo_json *message, bool *is_event,
	struct colo_error *err)
{
	enum colo_outcome got;

	if (q->fd < 0)
		return gone(q, err, "is not connected");
	got = take_line(q, deadline, err);
	if (got != COLO_OUTCOME_OK)
		return got;
	if (colo_json_parse(q->line, q->taken, message) != 0)
		return gone(q, err, "does not speak QMP: it sent a line that is no JSON");
	*is_event = note_event(q, message);
	return COLO_OUTCOME_OK;
}

static bool
is_answer_to(const struct colo_json *message, uint64_t id)
{
	struct colo_json value;
	uint64_t n;

	return colo_json_member(message, "id", &value) && colo_json_u64(&value, &n) == 0 && n == id;
}

/* Wait for the answer to the command that was sent last. */
static enum colo_outcome
await_answer(
	struct colo_qmp *q, uint64_t deadline, struct colo_json *message, struct colo_error *err)
{
	for (;;) {
		enum colo_outcome got;
		bool is_event;

		got = take_message(q, deadline, message, &is_event, err);
		if (got != COLO_OUTCOME_OK)
			return got;
		if (!is_event && is_answer_to(message, q->last_id))
			return COLO_OUTCOME_OK;
		if (colo_deadline_left(deadline) == 0) /* however much it talks */
			return COLO_OUTCOME_TIMEOUT;
	}
}

static enum colo_outcome
send_command(struct colo_qmp *q, const char *verb, const char *command, const char *arguments,
	uint64_t deadline, struct colo_error *err)
{
	char text[COLO_QMP_COMMAND_MAX];
	enum colo_outcome sent;
	int n;

	n = snprintf(text, sizeof(text), "{\"%s\":\"%s\",\"id\":%" PRIu64 "%s%s}\n", verb, command,
		++q->last_id, arguments != NULL ? ",\"arguments\":" : "",
		arguments != NULL ? arguments : "");
	if (n < 0 || (size_t)n >= sizeof(text)) {
		colo_error_set(err, "QMP command `%s` is longer than %u bytes", command,
			COLO_QMP_COMMAND_MAX - 1);
		return COLO_OUTCOME_REFUSED;
	}
	sent = colo_send_all(q->fd, text, (size_t)n, q->abort_fd, deadline);
	/* half a command would spoil the next one */
	return sent == COLO_OUTCOME_OK ? sent : gone(q, err, "does not take QMP commands");
}

/* A sentence is one line, whatever QEMU says. */
static void
make_printable(char *words)
{
	for (; *words != '\0'; words++)
		if ((uint8_t)*words < 0x20 || *words == 0x7f)
			*words = '?';
}

/* Sort an answer into `return` and `error`. */
static enum colo_outcome
open_answer(struct colo_qmp *q, const char *command, const struct colo_json *message,
	struct colo_json *reply, struct colo_error *err)
{
	char words[256] = "no reason given";
	struct colo_json error;

	if (colo_json_member(message, "return", reply))
		return COLO_OUTCOME_OK;
	if (!colo_json_member(message, "error", &error))
		return gone(q, err, "does not speak QMP: its answer has neither return nor error");
	if (colo_json_member_string(&error, "desc", words, sizeof(words)) < 0)
		snprintf(words, sizeof(words), "no reason of at most %zu bytes given",
			sizeof(words) - 1);
	make_printable(words);
	colo_error_set(err, "QEMU at %s refused `%s`: %s", q->path, command, words);
	return COLO_OUTCOME_REFUSED;
}

static enum colo_outcome
carry_out(struct colo_qmp *q, const char *verb, const char *command, const char *arguments,
	uint64_t deadline, struct colo_json *reply, struct colo_error *err)
{
	struct colo_json message, ignored;
	enum colo_outcome got;

	if (q->fd < 0)
		return gone(q, err, "is not connected");
	got = send_command(q, verb, command, arguments, deadline, err);
	if (got == COLO_OUTCOME_OK)
		got = await_answer(q, deadline, &message, err);
	if (got == COLO_OUTCOME_OK)
		return open_answer(q, command, &message, reply != NULL ? reply : &ignored, err);
	if (got == COLO_OUTCOME_TIMEOUT)
		colo_error_set(err, "QEMU at %s did not answer `%s` in time", q->path, command);
	if (got == COLO_OUTCOME_ABORTED)
		colo_error_set(err, "`%s` to QEMU at %s was given up", command, q->path);
	return got;
}

enum colo_outcome
colo_qmp_command(struct colo_qmp *q, const char *command, const char *arguments, uint64_t deadline,
	struct colo_json *reply, struct colo_error *err)
{
	return carry_out(q, "execute", command, arguments, deadline, reply, err);
}

enum colo_outcome
colo_qmp_command_oob(struct colo_qmp *q, const char *command, const char *arguments,
	uint64_t deadline, struct colo_json *reply, struct colo_error *err)
{
	return carry_out(
		q, q->oob ? "exec-oob" : "execute", command, arguments, deadline, reply, err);
}

/* Whether a greeting lists the capability `oob`. */
static bool
offers_oob(const struct colo_json *greeting)
{
	struct colo_json list, element;
	char name[8];

	if (!colo_json_member(greeting, "capabilities", &list))
		return false;
	for (unsigned int i = 0;
		i < COLO_QMP_CAPABILITIES_MAX && colo_json_element(&list, i, &element); i++)
		if (colo_json_string(&element, name, sizeof(name)) > 0 && strcmp(name, "oob") == 0)
			return true;
	return false;
}

static enum colo_outcome
take_greeting(struct colo_qmp *q, uint64_t deadline, struct colo_error *err)
{
	struct colo_json message, greeting;
	enum colo_outcome got;
	bool is_event;

	got = take_message(q, deadline, &message, &is_event, err);
	if (got == COLO_OUTCOME_TIMEOUT)
		colo_error_set(err,
			"%s does not greet as QMP does: another client holds it, or it is no QMP "
			"socket",
			q->path);
	if (got == COLO_OUTCOME_ABORTED)
		colo_error_set(err, "connecting to QEMU at %s was given up", q->path);
	if (got != COLO_OUTCOME_OK)
		return got;
	if (is_event || !colo_json_member(&message, "QMP", &greeting))
		return gone(q, err, "does not speak QMP: its first message is no greeting");
	q->oob = offers_oob(&greeting);
	return COLO_OUTCOME_OK;
}

static enum colo_outcome
negotiate(struct colo_qmp *q, bool oob, uint64_t deadline, struct colo_error *err)
{
	const char *arguments = oob ? "{\"enable\":[\"oob\"]}" : NULL;

	if (oob && !q->oob) {
		colo_error_set(err, "QEMU at %s offers no out-of-band commands", q->path);
		return COLO_OUTCOME_REFUSED;
	}
	q->oob = oob;
	return colo_qmp_command(q, "qmp_capabilities", arguments, deadline, NULL, err);
}

static enum colo_outcome
open_with(struct colo_qmp *q, const char *path, bool oob, int abort_fd, uint64_t deadline,
	struct colo_error *err)
{
	enum colo_outcome got;

	memset(q, 0, offsetof(struct colo_qmp, line));
	q->abort_fd = abort_fd;
	q->fd = colo_unix_connect(path, abort_fd, deadline, &got, err);
	if (q->fd < 0)
		return got;
	snprintf(q->path, sizeof(q->path), "%s", path);
	got = take_greeting(q, deadline, err);
	if (got == COLO_OUTCOME_OK)
		got = negotiate(q, oob, deadline, err);
	if (got != COLO_OUTCOME_OK)
		colo_qmp_close(q);
	return got;
}

enum colo_outcome
colo_qmp_open(struct colo_qmp *q, const char *path, int abort_fd, uint64_t deadline,
	struct colo_error *err)
{
	return open_with(q, path, false, abort_fd, deadline, err);
}

enum colo_outcome
colo_qmp_open_oob(struct colo_qmp *q, const char *path, int abort_fd, uint64_t deadline,
	struct colo_error *err)
{
	return open_with(q, path, true, abort_fd, deadline, err);
}

enum colo_outcome
colo_qmp_pump(struct colo_qmp *q, struct colo_error *err)
{
	int abort_fd = q->abort_fd;
	enum colo_outcome got = COLO_OUTCOME_OK;

	q->abort_fd = COLO_NO_ABORT; /* nothing waits here */
	for (unsigned int i = 0; got == COLO_OUTCOME_OK && i < COLO_QMP_BURST_MAX; i++) {
		struct colo_json message;
		bool is_event;

		got = take_message(q, 0, &message, &is_event, err);
	}
	q->abort_fd = abort_fd;
	return got == COLO_OUTCOME_GONE ? got : COLO_OUTCOME_OK;
}

enum colo_outcome
colo_qmp_status(struct colo_qmp *q, uint64_t deadline, char status[COLO_QMP_STATUS_MAX],
	bool *running, struct colo_error *err)
{
	char name[COLO_QMP_STATUS_MAX];
	struct colo_json reply, value;
	enum colo_outcome got;

	got = colo_qmp_command(q, "query-status", NULL, deadline, &reply, err);
	if (got != COLO_OUTCOME_OK)
		return got;
	if (!colo_json_member(&reply, "running", &value) ||
		colo_json_member_string(&reply, "status", name, sizeof(name)) < 0)
		return gone(q, err, "answers query-status without `running` and `status`");
	*running = colo_json_is_true(&value);
	make_printable(name);
	if (status != NULL)
		memcpy(status, name, sizeof(name));
	return COLO_OUTCOME_OK;
}

enum colo_outcome
colo_qmp_qom_string(struct colo_qmp *q, const char *object, const char *property, uint64_t deadline,
	char *text, size_t size, struct colo_error *err)
{
	char arguments[COLO_QMP_COMMAND_MAX / 2], path[512], name[128];
	struct colo_json reply;
	enum colo_outcome got;

	if (colo_json_quote(object, path, sizeof(path)) < 0 ||
		colo_json_quote(property, name, sizeof(name)) < 0) {
		colo_error_set(
			err, "QOM path of more than %zu bytes is not accepted", sizeof(path) - 3);
		return COLO_OUTCOME_REFUSED;
	}
	snprintf(arguments, sizeof(arguments), "{\"path\":%s,\"property\":%s}", path, name);
	got = colo_qmp_command(q, "qom-get", arguments, deadline, &reply, err);
	if (got != COLO_OUTCOME_OK)
		return got;
	if (colo_json_string(&reply, text, size) >= 0)
		return COLO_OUTCOME_OK;
	colo_error_set(err, "property `%s` of %s in QEMU at %s is no text of at most %zu bytes",
		property, object, q->path, size - 1);
	return COLO_OUTCOME_REFUSED;
}
