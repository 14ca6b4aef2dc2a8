/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Adapter `standby`: a QEMU waits in -incoming, with our guest memory as its RAM. At failover it is
 * given one synthesized migration stream (migration_stream.h) and goes on from there.
 *
 * A thread of its own talks to it. Control core and thread share `wanted` and `progress`.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "adapter.h"
#include "device_state.h"
#include "log.h"
#include "memory_backend.h"
#include "migration_stream.h"
#include "private_dir.h"
#include "qmp.h"
#include "thread.h"

#define START_MS      5000u  /* to connect, ask, and let it listen */
#define TAKEOVER_MS   10000u /* from failover() until the guest must run */
#define LOOK_MS	      20u    /* while it loads: how often its run state is asked for */
#define RETRY_MS      500u   /* a standby that went away is looked for so often */
#define RETRY_OPEN_MS 1000u  /* and so long each time */

#define INCOMING_FILE "incoming"

struct standby {
	/* main lcore in start(); read-only afterwards */
	struct colo_adapter *adapter;
	char path[COLO_UNIX_PATH_MAX + 1];     /* QMP socket */
	char incoming[COLO_UNIX_PATH_MAX + 1]; /* migration socket */
	bool asks_to_listen;		       /* incoming is ours: migrate-incoming makes it */
	struct colo_private_dir dir;
	int wake_fd; /* eventfd: there is something new in `wanted` or `quit` */
	pthread_t thread;
	bool thread_runs;

	/* the thread's (main lcore's before it starts) */
	struct colo_qmp qmp;
	bool ready;    /* it waits for the stream, and has not been sent any of it */
	uint32_t done; /* number of failovers carried out */

	/* control core writes, thread reads */
	_Atomic uint32_t wanted; /* number of failovers asked for */
	uint64_t asked_us;	 /* monotonic; published by wanted */
	/* thread writes, control core reads: number << 8 | enum colo_adapter_status */
	_Atomic uint64_t progress;
	struct colo_error failed; /* published by progress */
	uint64_t takeover_us;	  /* published by progress */
	_Atomic bool quit;	  /* main lcore writes, thread reads */
};

/* ---- reaching a standby ---- */

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
	const struct colo_blocks *blocks = s->adapter->blocks;

	for (unsigned int i = 0; i + 1 < blocks->n; i++) {
		const struct colo_block *b = &blocks->block[i];
		enum colo_outcome got;

		if (b->guest.path[0] == '\0')
			continue;
		got = colo_memory_backend_check(
			&s->qmp, b->guest.path, b->name, b->size, deadline, err);
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
static enum colo_outcome
prepare(struct standby *s, int abort_fd, uint64_t deadline, struct colo_error *err)
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
		colo_error_set(err, "standby at %s closed the migration stream", s->path);
	else if (got == COLO_OUTCOME_TIMEOUT)
		colo_error_set(err, "standby at %s did not read the stream within %u ms", s->path,
			TAKEOVER_MS);
	else if (got == COLO_OUTCOME_ABORTED)
		colo_error_set(err, "takeover by the standby at %s was given up", s->path);
	return got;
}

/* Head, device state, tail; see migration_stream.h. */
static enum colo_outcome
send_stream(struct standby *s, const char *machine, uint64_t deadline, struct colo_error *err)
{
	const struct colo_blocks *blocks = s->adapter->blocks;
	const struct colo_block *last = &blocks->block[blocks->n - 1];
	uint8_t head[COLO_STREAM_HEAD_MAX], tail[COLO_STREAM_TAIL_SIZE];
	int fd, head_length = colo_migration_head(head, machine, blocks, err);
	enum colo_outcome got;
	const uint8_t *device;
	uint64_t length;

	device = colo_device_state_load(last->guest.addr, last->size, &length, err);
	if (head_length < 0 || device == NULL)
		return COLO_OUTCOME_REFUSED;
	if (length == 0) {
		colo_error_set(err, "there is no device state to take over from");
		return COLO_OUTCOME_REFUSED;
	}
	fd = colo_unix_connect(s->incoming, s->wake_fd, deadline, &got, err);
	if (fd < 0)
		return got;
	s->ready = false; /* it takes one stream only */
	colo_migration_tail(tail);
	got = send_part(s, fd, head, (size_t)head_length, deadline, err);
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

static enum colo_outcome
take_over(struct standby *s, struct colo_error *err)
{
	uint64_t deadline = colo_deadline(TAKEOVER_MS);
	char machine[COLO_MACHINE_NAME_MAX + 1];
	enum colo_outcome got = COLO_OUTCOME_OK;

	if (!s->ready || s->qmp.fd < 0)
		got = prepare(s, s->wake_fd, deadline, err);
	if (got == COLO_OUTCOME_OK)
		got = ask_machine(s, deadline, machine, err);
	s->qmp.resumes = 0;
	if (got == COLO_OUTCOME_OK)
		got = send_stream(s, machine, deadline, err);
	if (got == COLO_OUTCOME_OK)
		got = await_guest(s, deadline, err);
	return got;
}

/* ---- thread ---- */

static void
publish(struct standby *s, uint32_t number, enum colo_adapter_status status)
{
	atomic_store_explicit(&s->progress, (uint64_t)number << 8 | status, memory_order_release);
}

static void
handle_failover(struct standby *s, uint32_t number)
{
	enum colo_outcome got;

	s->failed.text[0] = '\0';
	got = take_over(s, &s->failed);
	s->done = number;
	if (got == COLO_OUTCOME_OK) {
		s->takeover_us = colo_monotonic_us() - s->asked_us;
		publish(s, number, COLO_ADAPTER_DONE);
		return;
	}
	if (!s->ready) /* the next try begins from the beginning */
		colo_qmp_close(&s->qmp);
	publish(s, number, COLO_ADAPTER_FAILED);
}

/* While nothing is asked for, a standby that ends is noticed, and its successor prepared. */
static void
tend(struct standby *s)
{
	struct colo_error why;

	if (s->qmp.fd >= 0) {
		if (colo_qmp_pump(&s->qmp, &why) == COLO_OUTCOME_OK)
			return;
		s->ready = false;
		COLO_LOG(WARNING, "no standby: %s; looking for another one there", why.text);
	} else if (prepare(s, s->wake_fd, colo_deadline(RETRY_OPEN_MS), &why) == COLO_OUTCOME_OK) {
		COLO_LOG(NOTICE, "standby at %s is ready", s->path);
	}
}

/* After the takeover the connection is of no interest, whoever closes it. */
static bool
is_tended(const struct standby *s)
{
	uint64_t progress = atomic_load_explicit(&s->progress, memory_order_relaxed);

	return (progress & 0xff) != COLO_ADAPTER_DONE;
}

static void
wait_for_work(struct standby *s)
{
	struct pollfd p[2] = {
		{.fd = s->wake_fd, .events = POLLIN},
		{.fd = is_tended(s) ? s->qmp.fd : -1, .events = POLLIN},
	};
	bool looks = is_tended(s) && s->qmp.fd < 0;
	int n = poll(p, 2, looks ? (int)RETRY_MS : -1);

	if (p[0].revents == 0 && (n == 0 || p[1].revents != 0))
		tend(s);
}

static void *
standby_thread(void *arg)
{
	struct standby *s = arg;

	while (!atomic_load_explicit(&s->quit, memory_order_acquire)) {
		uint32_t wanted = atomic_load_explicit(&s->wanted, memory_order_acquire);
		eventfd_t count;

		if (wanted == s->done) {
			wait_for_work(s);
			continue;
		}
		/* the ring of this failover; the next ring is the one to quit */
		while (eventfd_read(s->wake_fd, &count) != 0)
			(void)poll(&(struct pollfd){.fd = s->wake_fd, .events = POLLIN}, 1, -1);
		handle_failover(s, wanted);
	}
	return NULL;
}

/* ---- control core ---- */

static enum colo_adapter_status
standby_poll(struct colo_adapter *a)
{
	struct standby *s = a->state;
	uint64_t progress = atomic_load_explicit(&s->progress, memory_order_acquire);
	enum colo_adapter_status status = (enum colo_adapter_status)(progress & 0xff);

	if (progress >> 8 != atomic_load_explicit(&s->wanted, memory_order_relaxed))
		return COLO_ADAPTER_BUSY;
	if (status == COLO_ADAPTER_FAILED)
		a->error = s->failed;
	if (status == COLO_ADAPTER_DONE)
		a->takeover_us = s->takeover_us;
	return status;
}

static void
standby_failover(struct colo_adapter *a)
{
	struct standby *s = a->state;
	enum colo_adapter_status status = standby_poll(a);

	if (status == COLO_ADAPTER_BUSY || status == COLO_ADAPTER_DONE)
		return;
	s->asked_us = colo_monotonic_us();
	atomic_fetch_add_explicit(&s->wanted, 1, memory_order_release);
	(void)eventfd_write(s->wake_fd, 1);
}

/* ---- main lcore ---- */

static int
copy_path(char *out, const char *text, size_t length, const char *what, struct colo_error *err)
{
	if (length == 0 || length > COLO_UNIX_PATH_MAX)
		return colo_error_set(err, "--standby: %s path has %zu bytes, 1 to %u are accepted",
			what, length, COLO_UNIX_PATH_MAX);
	memcpy(out, text, length);
	out[length] = '\0';
	return 0;
}

/* "unix:PATH[,incoming=PATH]" */
static int
read_spec(struct standby *s, const char *spec, struct colo_error *err)
{
	static const char scheme[] = "unix:", key[] = ",incoming=";
	const char *path, *rest;

	if (strncmp(spec, scheme, strlen(scheme)) != 0)
		goto unknown;
	path = spec + strlen(scheme);
	rest = path + strcspn(path, ",");
	if (copy_path(s->path, path, (size_t)(rest - path), "QMP socket's", err) != 0)
		return -1;
	s->asks_to_listen = *rest == '\0';
	if (s->asks_to_listen)
		return 0;
	if (strncmp(rest, key, strlen(key)) != 0 || strchr(rest + 1, ',') != NULL)
		goto unknown;
	rest += strlen(key);
	return copy_path(s->incoming, rest, strlen(rest), "incoming socket's", err);
unknown:
	return colo_error_set(
		err, "--standby %.200s is not accepted: unix:PATH[,incoming=PATH] is", spec);
}

static int
make_incoming_path(struct standby *s, struct colo_error *err)
{
	if (!s->asks_to_listen)
		return 0;
	if (colo_private_dir_make(&s->dir, err) != 0)
		return -1;
	return colo_private_dir_path(&s->dir, INCOMING_FILE, s->incoming, sizeof(s->incoming), err);
}

static int
start_thread(struct standby *s, struct colo_error *err)
{
	s->qmp.abort_fd = s->wake_fd;
	if (colo_thread_start(&s->thread, "colo-standby", standby_thread, s, err) != 0)
		return -1;
	s->thread_runs = true;
	return 0;
}

static int
standby_start(struct colo_adapter *a, const char *spec, struct colo_error *err)
{
	struct standby *s = calloc(1, sizeof(*s));

	a->state = s;
	if (s == NULL)
		return colo_error_set(err, "no memory for the standby adapter");
	s->adapter = a;
	s->qmp.fd = -1;
	s->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (s->wake_fd < 0)
		return colo_error_set(err, "no eventfd: %s", strerror(errno));
	if (read_spec(s, spec, err) != 0 || make_incoming_path(s, err) != 0)
		return -1;
	if (prepare(s, COLO_NO_ABORT, colo_deadline(START_MS), err) != COLO_OUTCOME_OK)
		return -1;
	return start_thread(s, err);
}

static void
standby_stop(struct colo_adapter *a)
{
	struct standby *s = a->state;

	if (s == NULL)
		return;
	if (s->thread_runs) {
		atomic_store_explicit(&s->quit, true, memory_order_release);
		(void)eventfd_write(s->wake_fd, 1);
		pthread_join(s->thread, NULL);
	}
	colo_qmp_close(&s->qmp);
	if (s->wake_fd >= 0)
		close(s->wake_fd);
	if (s->asks_to_listen)
		unlink(s->incoming);
	colo_private_dir_remove(&s->dir);
	free(s);
	a->state = NULL;
}

const struct colo_adapter_ops colo_adapter_standby = {
	.name = "standby",
	.start = standby_start,
	.failover = standby_failover,
	.poll = standby_poll,
	.stop = standby_stop,
};
