/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Adapter `standby`: a QEMU waits in -incoming, with our guest memory as its RAM. At failover it is
 * given one synthesized migration stream (migration_stream.h) and goes on from there.
 *
 * A thread of its own talks to it. Control core and thread share `wanted` and `progress`.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "log.h"
#include "standby.h"
#include "thread.h"

#define START_MS      5000u /* to connect, ask, and let it listen */
#define RETRY_MS      500u  /* a standby that went away is looked for so often */
#define RETRY_OPEN_MS 1000u /* and so long each time */

#define INCOMING_FILE "incoming"

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
	got = colo_standby_take_over(s, &s->failed);
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
	} else if (colo_standby_prepare(s, s->wake_fd, colo_deadline(RETRY_OPEN_MS), &why) ==
		   COLO_OUTCOME_OK) {
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
	if (status == COLO_ADAPTER_FAILED) {
		a->error = s->failed;
		a->may_run = s->sent;
	}
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
keep_memory(struct standby *s, struct colo_error *err)
{
	const struct colo_blocks *blocks = s->adapter->blocks;

	s->memory = calloc(blocks->n, sizeof(*s->memory));
	s->buffer = malloc(STANDBY_BUFFER);
	if (s->memory == NULL || s->buffer == NULL)
		return colo_error_set(err, "no memory for the standby adapter");
	for (unsigned int i = 0; i + 1 < blocks->n; i++) {
		const struct colo_block *b = &blocks->block[i];
		struct standby_memory *m = &s->memory[s->n_memory];

		if (b->guest.path[0] == '\0')
			continue;
		memcpy(m->name, b->name, sizeof(m->name));
		m->size = b->size;
		memcpy(m->path, b->guest.path, sizeof(m->path));
		s->n_memory++;
	}
	return 0;
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
	if (read_spec(s, spec, err) != 0 || keep_memory(s, err) != 0 ||
		make_incoming_path(s, err) != 0)
		return -1;
	if (colo_standby_prepare(s, COLO_NO_ABORT, colo_deadline(START_MS), err) != COLO_OUTCOME_OK)
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
	free(s->memory);
	free(s->buffer);
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
