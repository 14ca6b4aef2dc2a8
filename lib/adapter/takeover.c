/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is said to the standby's QEMU: first contact while there is time, and the takeover. All of
 * it waits with deadlines.
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "device_state.h"
#include "memory_backend.h"
#include "migration_stream.h"
#include "standby.h"

#define TAKEOVER_MS 10000u /* from failover() until the guest must run */
#define LOOK_MS	    20u	   /* while it loads: how often its run state is asked for */

/* "pc-i440fx-7.2-machine" is the type of the machine that is called pc-i440fx-7.2. */
static enum colo_outcome
ask_machine(struct standby *s, uint64_t deadline, char machine[COLO_MACHINE_NAME_MAX + 1],
	struct colo_error *err)
{
	static const char suffix[] = "-machine";
	char type[COLO_MACHINE_NAME_MAX + sizeof(suffix)];
	enum colo_outcome got;
	size_t length;

	got = colo_qmp_qom_string(&s->qmp, "/machine", "type", deadline, type, sizeof(type), err);
	if (got != COLO_OUTCOME_OK)
		return got;
	length = strlen(type);
	if (length >= sizeof(suffix) && strcmp(type + length - (sizeof(suffix) - 1), suffix) == 0)
		length -= sizeof(suffix) - 1;
	if (length > COLO_MACHINE_NAME_MAX)
		length = COLO_MACHINE_NAME_MAX;
	memcpy(machine, type, length);
	machine[length] = '\0';
	return COLO_OUTCOME_OK;
}

static enum colo_outcome
check_waits(struct standby *s, uint64_t deadline, struct colo_error *err)
{
	char status[COLO_QMP_STATUS_MAX];
	enum colo_outcome got;
	bool running;

	got = colo_qmp_status(&s->qmp, deadline, status, &running, err);
	if (got != COLO_OUTCOME_OK || strcmp(status, "inmigrate") == 0)
		return got;
	colo_error_set(err,
		"standby at %s does not wait for an incoming migration (status %s); start it with "
		"-incoming defer",
		s->path, status);
	return COLO_OUTCOME_REFUSED;
}

/* Its RAM must be our guest memory, as far as it can tell us. */
static enum colo_outcome
check_memory(struct standby *s, uint64_t deadline, struct colo_error *err)
{
	for (unsigned int i = 0; i < s->n_memory; i++) {
		const struct standby_memory *m = &s->memory[i];
		enum colo_outcome got;

		got = colo_memory_backend_check(&s->qmp, m->path, m->name, m->size, deadline, err);
		if (got != COLO_OUTCOME_OK)
			return got;
	}
	return COLO_OUTCOME_OK;
}

static enum colo_outcome
ask_to_listen(struct standby *s, uint64_t deadline, struct colo_error *err)
{
	char uri[COLO_UNIX_PATH_MAX + 8], quoted[2 * sizeof(uri)], arguments[sizeof(quoted) + 16];
	struct colo_error why = {{0}};
	enum colo_outcome got;

	if (!s->asks_to_listen)
		return COLO_OUTCOME_OK;
	unlink(s->incoming); /* of a standby before this one */
	snprintf(uri, sizeof(uri), "unix:%s", s->incoming);
	if (colo_json_quote(uri, quoted, sizeof(quoted)) < 0) {
		colo_error_set(err, "socket path %s has too many bytes to quote", s->incoming);
		return COLO_OUTCOME_REFUSED;
	}
	snprintf(arguments, sizeof(arguments), "{\"uri\":%s}", quoted);
	got = colo_qmp_command(&s->qmp, "migrate-incoming", arguments, deadline, NULL, &why);
	if (got == COLO_OUTCOME_REFUSED)
		colo_error_set(err, "%.400s; a standby that was told so before must be restarted",
			why.text);
	else if (got != COLO_OUTCOME_OK)
		colo_error_set(err, "%s", why.text);
	return got;
}

/* Connect to the standby and bring it to where only the stream is missing. */
enum colo_outcome
colo_standby_prepare(struct standby *s, int abort_fd, uint64_t deadline, struct colo_error *err)
{
	enum colo_outcome got;

	s->ready = false;
	got = colo_qmp_open(&s->qmp, s->path, abort_fd, deadline, err);
	if (got == COLO_OUTCOME_OK)
		got = check_waits(s, deadline, err);
	if (got == COLO_OUTCOME_OK)
		got = check_memory(s, deadline, err);
	if (got == COLO_OUTCOME_OK)
		got = ask_to_listen(s, deadline, err);
	s->ready = got == COLO_OUTCOME_OK;
	if (!s->ready)
		colo_qmp_close(&s->qmp);
	return got;
}

/* ---- the takeover ---- */

static enum colo_outcome
send_part(struct standby *s, int fd, const void *bytes, size_t length, uint64_t deadline,
	struct colo_error *err)
{
	enum colo_outcome got = colo_send_all(fd, bytes, length, s->wake_fd, deadline);

	if (got == COLO_OUTCOME_GONE)
		colo_error_set(err,
			"standby at %s closed the migration stream; its standard error says why",
			s->path);
	else if (got == COLO_OUTCOME_TIMEOUT)
		colo_error_set(err, "standby at %s did not read the stream within %u ms", s->path,
			TAKEOVER_MS);
	else if (got == COLO_OUTCOME_ABORTED)
		colo_error_set(err, "takeover by the standby at %s was given up", s->path);
	return got;
}

static enum colo_outcome
send_pages(struct standby *s, int fd, uint64_t deadline, struct colo_error *err)
{
	struct colo_migration_cursor cursor = {0};
	enum colo_outcome got = COLO_OUTCOME_OK;
	uint8_t end[COLO_MIGRATION_RAM_END];
	size_t n;

	do {
		n = colo_migration_pages(&cursor, s->adapter->blocks, s->buffer, STANDBY_BUFFER);
		if (n > 0)
			got = send_part(s, fd, s->buffer, n, deadline, err);
	} while (n > 0 && got == COLO_OUTCOME_OK);
	if (got != COLO_OUTCOME_OK)
		return got;
	colo_migration_ram_end(end);
	return send_part(s, fd, end, sizeof(end), deadline, err);
}

/* The device state of the checkpoint, if it is for a machine of that type; NULL with why not. */
static const uint8_t *
find_device_state(
	const struct standby *s, const char *machine, uint64_t *length, struct colo_error *err)
{
	const struct colo_blocks *blocks = s->adapter->blocks;
	const struct colo_block *last = &blocks->block[blocks->n - 1];
	const uint8_t *device;
	const char *saved;

	device = colo_device_state_load(last->guest.addr, last->size, &saved, length, err);
	if (device == NULL)
		return NULL;
	if (*length == 0) {
		colo_error_set(err, "there is no device state to take over from");
		return NULL;
	}
	/* QEMU would find out too, but it ends then */
	if (saved[0] != '\0' && strcmp(saved, machine) != 0) {
		colo_error_set(err,
			"standby at %s is a machine %s, the guest's is %s: start it with -machine "
			"%s",
			s->path, machine, saved, saved);
		return NULL;
	}
	return device;
}

/* Head, pages that the standby does not share, device state, tail; see migration_stream.h. */
static enum colo_outcome
send_stream(struct standby *s, const char *machine, uint64_t deadline, struct colo_error *err)
{
	uint8_t head[COLO_STREAM_HEAD_MAX], tail[COLO_STREAM_TAIL_SIZE];
	int fd, head_length = colo_migration_head(head, machine, s->adapter->blocks, err);
	enum colo_outcome got;
	const uint8_t *device;
	uint64_t length;

	device = head_length < 0 ? NULL : find_device_state(s, machine, &length, err);
	if (device == NULL)
		return COLO_OUTCOME_REFUSED;
	fd = colo_unix_connect(s->incoming, s->wake_fd, deadline, &got, err);
	if (fd < 0)
		return got;
	s->ready = false; /* it takes one stream only */
	s->sent = true;
	colo_migration_tail(tail);
	got = send_part(s, fd, head, (size_t)head_length, deadline, err);
	if (got == COLO_OUTCOME_OK)
		got = send_pages(s, fd, deadline, err);
	if (got == COLO_OUTCOME_OK)
		got = send_part(s, fd, device, length, deadline, err);
	if (got == COLO_OUTCOME_OK)
		got = send_part(s, fd, tail, sizeof(tail), deadline, err);
	close(fd); /* while it is open the standby waits for more */
	return got;
}

/* The standby stays in -incoming but will not load: what does it say? */
static void
ask_why(struct standby *s, uint64_t deadline, struct colo_error *err)
{
	char status[32] = "", words[256] = "";
	struct colo_json reply;

	if (colo_qmp_command(&s->qmp, "query-migrate", NULL, deadline, &reply, NULL) !=
		COLO_OUTCOME_OK)
		return;
	(void)colo_json_member_string(&reply, "status", status, sizeof(status));
	(void)colo_json_member_string(&reply, "error-desc", words, sizeof(words));
	if (strcmp(status, "failed") == 0)
		colo_error_set(err, "standby at %s did not load the device state: %s", s->path,
			words[0] != '\0' ? words : "see its standard error");
}

/* @return OK once the guest runs; TIMEOUT: not yet. */
static enum colo_outcome
look_at_guest(struct standby *s, uint64_t deadline, struct colo_error *err)
{
	char status[COLO_QMP_STATUS_MAX];
	enum colo_outcome got;
	bool running;

	if (s->qmp.resumes > 0)
		return COLO_OUTCOME_OK;
	got = colo_qmp_status(&s->qmp, deadline, status, &running, err);
	if (got != COLO_OUTCOME_OK || running)
		return got;
	if (strcmp(status, "paused") == 0) /* it was started with -S */
		return colo_qmp_command(&s->qmp, "cont", NULL, deadline, NULL, err);
	if (strcmp(status, "inmigrate") == 0) {
		err->text[0] = '\0';
		ask_why(s, deadline, err);
		return err->text[0] != '\0' ? COLO_OUTCOME_REFUSED : COLO_OUTCOME_TIMEOUT;
	}
	colo_error_set(err, "standby at %s is in status %s after the load", s->path, status);
	return COLO_OUTCOME_REFUSED;
}

static enum colo_outcome
await_guest(struct standby *s, uint64_t deadline, struct colo_error *err)
{
	for (;;) {
		enum colo_outcome got = look_at_guest(s, deadline, err);

		if (got == COLO_OUTCOME_GONE)
			colo_error_set(err,
				"standby at %s ended while it loaded the device state; its "
				"standard error says why",
				s->path);
		if (got != COLO_OUTCOME_TIMEOUT)
			return got;
		if (colo_deadline_left(deadline) == 0)
			break;
		if (s->qmp.resumes > 0) /* the event came between two answers */
			return COLO_OUTCOME_OK;
		/* an event, most likely RESUME, ends the wait early */
		got = colo_wait_fd(s->qmp.fd, POLLIN, s->wake_fd, colo_deadline(LOOK_MS));
		if (got == COLO_OUTCOME_OK)
			(void)colo_qmp_pump(&s->qmp, NULL);
		if (got == COLO_OUTCOME_ABORTED) {
			colo_error_set(err, "takeover by the standby at %s was given up", s->path);
			return got;
		}
	}
	colo_error_set(
		err, "standby at %s did not run its guest within %u ms", s->path, TAKEOVER_MS);
	return COLO_OUTCOME_TIMEOUT;
}

enum colo_outcome
colo_standby_take_over(struct standby *s, struct colo_error *err)
{
	uint64_t deadline = colo_deadline(TAKEOVER_MS);
	char machine[COLO_MACHINE_NAME_MAX + 1];
	enum colo_outcome got = COLO_OUTCOME_OK;

	if (!s->ready || s->qmp.fd < 0)
		got = colo_standby_prepare(s, s->wake_fd, deadline, err);
	if (got == COLO_OUTCOME_OK)
		got = ask_machine(s, deadline, machine, err);
	s->qmp.resumes = 0;
	if (got == COLO_OUTCOME_OK)
		got = send_stream(s, machine, deadline, err);
	if (got == COLO_OUTCOME_OK)
		got = await_guest(s, deadline, err);
	return got;
}
