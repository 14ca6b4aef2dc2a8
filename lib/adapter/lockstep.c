/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Adapter `lockstep`: a guest runs at the secondary between checkpoints, by a hypervisor that
 * connects to our control socket and logs what its guest writes. At each commit it is paused,
 * rolled back by the flush, given the device state, and resumed; at failover it goes on alone.
 *
 * A thread of its own talks to it. Control core and thread share `wanted`, `progress`, `guest`.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lockstep.h"
#include "log.h"
#include "thread.h"

/* ---- thread ---- */

static void
publish(struct lockstep *l, uint32_t number, enum colo_adapter_status status)
{
	atomic_store_explicit(&l->progress, (uint64_t)number << 8 | status, memory_order_release);
}

/* After the takeover the connection is of no interest, whoever closes it. */
static void
drop(struct lockstep *l, const struct colo_error *why)
{
	if (!l->took_over)
		COLO_LOG(WARNING, "hypervisor at %s: %s", l->config.control, why->text);
	/* before the close: whoever sees the connection end finds nobody */
	atomic_store_explicit(&l->guest, COLO_ADAPTER_GUEST_UNREACHABLE, memory_order_release);
	close(l->fd);
	l->fd = -1;
	l->n_in = 0;
	l->greeted = false;
}

static void
handle_step(struct lockstep *l, uint32_t number, unsigned int step)
{
	enum colo_outcome got;

	l->failed.text[0] = '\0';
	got = colo_lockstep_carry_out(l, step, &l->failed);
	l->done = number;
	if (got == COLO_OUTCOME_OK) {
		l->takeover_us = colo_monotonic_us() - l->asked_us;
		l->took_over = step == COLO_LOCKSTEP_TAKE_OVER;
		publish(l, number, COLO_ADAPTER_DONE);
		return;
	}
	/* it was told that it is alone, and may go on as such whatever became of its answer */
	l->may_run = step == COLO_LOCKSTEP_TAKE_OVER && got != COLO_OUTCOME_REFUSED;
	if (got != COLO_OUTCOME_REFUSED)
		drop(l, &l->failed);
	publish(l, number, COLO_ADAPTER_FAILED);
}

static void
refuse(struct lockstep *l, int fd)
{
	static const char busy[] = "failed another hypervisor is connected\n";

	(void)send(fd, busy, sizeof(busy) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	close(fd);
	COLO_LOG(WARNING, "a second hypervisor at %s is refused: one is connected",
		l->config.control);
}

static void
take_caller(struct lockstep *l)
{
	int fd = accept4(l->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct colo_error why = {{0}};

	if (fd < 0)
		return;
	if (l->fd >= 0) {
		refuse(l, fd);
		return;
	}
	l->fd = fd;
	l->n_in = 0;
	l->greeted = false;
	if (colo_lockstep_greet(l, &why) != COLO_OUTCOME_OK)
		drop(l, &why);
}

static void
take_words(struct lockstep *l)
{
	struct colo_error why = {{0}};
	bool greeted = l->greeted;

	if (colo_lockstep_listen(l, &why) != COLO_OUTCOME_OK)
		drop(l, &why);
	else if (l->greeted && !greeted)
		COLO_LOG(NOTICE, "a hypervisor is connected to %s", l->config.control);
}

static void
check_hello(struct lockstep *l)
{
	struct colo_error why;

	if (l->fd < 0 || l->greeted || colo_deadline_left(l->hello_deadline) != 0)
		return;
	colo_error_set(&why, "no hello within %u ms", l->config.answer_ms);
	drop(l, &why);
}

static void
wait_for_work(struct lockstep *l)
{
	struct pollfd p[4] = {
		{.fd = l->wake_fd, .events = POLLIN},
		{.fd = l->quit_fd, .events = POLLIN},
		{.fd = l->listen_fd, .events = POLLIN},
		{.fd = l->fd, .events = POLLIN},
	};
	bool awaits_hello = l->fd >= 0 && !l->greeted;

	if (poll(p, 4, awaits_hello ? colo_deadline_left(l->hello_deadline) : -1) < 0)
		return;
	if (p[3].revents != 0)
		take_words(l);
	if (p[2].revents != 0)
		take_caller(l);
	check_hello(l);
}

static void *
lockstep_thread(void *arg)
{
	struct lockstep *l = arg;

	while (!atomic_load_explicit(&l->quit, memory_order_acquire)) {
		uint64_t wanted;
		eventfd_t count;

		/* before `wanted` is read: what is asked for afterwards rings again */
		(void)eventfd_read(l->wake_fd, &count);
		wanted = atomic_load_explicit(&l->wanted, memory_order_acquire);
		if (wanted >> 8 == l->done)
			wait_for_work(l);
		else
			handle_step(l, (uint32_t)(wanted >> 8), wanted & 0xff);
	}
	return NULL;
}

/* ---- control core ---- */

static enum colo_adapter_status
lockstep_poll(struct colo_adapter *a)
{
	struct lockstep *l = a->state;
	uint64_t progress = atomic_load_explicit(&l->progress, memory_order_acquire);
	enum colo_adapter_status status = (enum colo_adapter_status)(progress & 0xff);

	if (progress >> 8 != atomic_load_explicit(&l->wanted, memory_order_relaxed) >> 8)
		return COLO_ADAPTER_BUSY;
	if (status == COLO_ADAPTER_FAILED) {
		a->error = l->failed;
		a->may_run = l->may_run;
	}
	if (status == COLO_ADAPTER_DONE)
		a->takeover_us = l->takeover_us;
	return status;
}

static void
ask_for(struct lockstep *l, unsigned int what, uint32_t epoch)
{
	uint64_t number = (atomic_load_explicit(&l->wanted, memory_order_relaxed) >> 8) + 1;

	l->epoch = epoch;
	l->asked_us = colo_monotonic_us();
	atomic_store_explicit(&l->wanted, (number & UINT32_MAX) << 8 | what, memory_order_release);
	(void)eventfd_write(l->wake_fd, 1);
}

static void
lockstep_step(struct colo_adapter *a, enum colo_adapter_step step, uint32_t epoch)
{
	ask_for(a->state, step, epoch);
}

static void
lockstep_failover(struct colo_adapter *a)
{
	if (lockstep_poll(a) != COLO_ADAPTER_BUSY)
		ask_for(a->state, COLO_LOCKSTEP_TAKE_OVER, 0);
}

static enum colo_adapter_guest
lockstep_guest(struct colo_adapter *a)
{
	struct lockstep *l = a->state;

	return (enum colo_adapter_guest)atomic_load_explicit(&l->guest, memory_order_acquire);
}

/* ---- main lcore ---- */

/* The hypervisor maps guest memory by its files, wherever it was started. */
static int
find_files(struct lockstep *l, struct colo_error *err)
{
	const struct colo_blocks *blocks = l->adapter->blocks;

	for (unsigned int i = 0; i < l->n_blocks; i++) {
		const struct colo_block *b = &blocks->block[i];

		if (b->guest.path[0] == '\0')
			return colo_error_set(err,
				"block %s has no guest=FILE: --adapter lockstep needs one for each "
				"--block, which the hypervisor maps",
				b->name);
		l->file[i] = realpath(b->guest.path, NULL);
		if (l->file[i] == NULL || strchr(l->file[i], '\n') != NULL)
			return colo_error_set(err,
				"guest memory's file of block %s cannot be named in a line: %s",
				b->name,
				l->file[i] == NULL ? strerror(errno) : "its path has a newline");
	}
	return 0;
}

/* What an earlier run left at the path may go, if it is a socket that nobody listens on. */
static int
remove_stale(const char *path, const struct sockaddr_un *address, struct colo_error *err)
{
	struct stat st;
	int fd, rc;

	if (lstat(path, &st) != 0)
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return colo_error_set(err,
			"control socket %s is there and is no socket: a new path is accepted",
			path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	rc = fd < 0 ? -1 : connect(fd, (const struct sockaddr *)address, sizeof(*address));
	if (rc != 0 && errno == ECONNREFUSED)
		rc = unlink(path);
	else
		rc = -1;
	if (fd >= 0)
		close(fd);
	if (rc != 0)
		return colo_error_set(err,
			"somebody listens on control socket %s: a path of its own is accepted",
			path);
	return 0;
}

static int
listen_at(struct lockstep *l, struct colo_error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *path = l->config.control;
	mode_t before;
	int rc;

	memcpy(address.sun_path, path, strlen(path) + 1);
	if (remove_stale(path, &address, err) != 0)
		return -1;
	l->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (l->listen_fd < 0)
		return colo_error_set(err, "no socket: %s", strerror(errno));
	before = umask(0177); /* ours alone from its first moment on */
	rc = bind(l->listen_fd, (const struct sockaddr *)&address, sizeof(address));
	umask(before);
	l->listens = rc == 0;
	if (rc != 0 || listen(l->listen_fd, 1) != 0)
		return colo_error_set(
			err, "cannot listen on control socket %s: %s", path, strerror(errno));
	return 0;
}

static int
make_events(struct lockstep *l, struct colo_error *err)
{
	l->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	l->quit_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (l->wake_fd < 0 || l->quit_fd < 0)
		return colo_error_set(err, "no eventfd: %s", strerror(errno));
	return 0;
}

static int
lockstep_start(struct colo_adapter *a, const char *spec, struct colo_error *err)
{
	struct lockstep *l = calloc(1, sizeof(*l));

	a->state = l;
	if (l == NULL)
		return colo_error_set(err, "no memory for the lockstep adapter");
	l->adapter = a;
	l->n_blocks = a->blocks->n - 1;
	l->fd = l->listen_fd = l->wake_fd = l->quit_fd = -1;
	if (colo_lockstep_config_parse(&l->config, spec, err) != 0 || make_events(l, err) != 0 ||
		find_files(l, err) != 0 || listen_at(l, err) != 0)
		return -1;
	if (colo_lockstep_log_open(
		    &l->log, l->config.dirty_log, a->blocks, l->n_blocks, a->log, err) != 0)
		return -1;
	if (colo_thread_start(&l->thread, "colo-lockstep", lockstep_thread, l, err) != 0)
		return -1;
	l->thread_runs = true;
	return 0;
}

static void
close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

static void
lockstep_stop(struct colo_adapter *a)
{
	struct lockstep *l = a->state;

	if (l == NULL)
		return;
	if (l->thread_runs) {
		atomic_store_explicit(&l->quit, true, memory_order_release);
		(void)eventfd_write(l->quit_fd, 1);
		pthread_join(l->thread, NULL);
	}
	close_fd(l->fd);
	close_fd(l->listen_fd);
	close_fd(l->wake_fd);
	close_fd(l->quit_fd);
	if (l->listens)
		unlink(l->config.control);
	memset(a->log, 0, sizeof(a->log));
	colo_lockstep_log_close(&l->log);
	for (unsigned int i = 0; i < l->n_blocks; i++)
		free(l->file[i]);
	free(l);
	a->state = NULL;
}

const struct colo_adapter_ops colo_adapter_lockstep = {
	.name = "lockstep",
	.start = lockstep_start,
	.failover = lockstep_failover,
	.step = lockstep_step,
	.guest = lockstep_guest,
	.poll = lockstep_poll,
	.stop = lockstep_stop,
};
