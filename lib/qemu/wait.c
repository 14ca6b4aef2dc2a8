/* SPDX-License-Identifier: BSD-3-Clause */
/* Waits with a deadline and an abort: poll(2) around non-blocking unix sockets. */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "wait.h"

#define CONNECT_RETRY_US 10000u /* a listener whose backlog is full is asked again so often */

static_assert(COLO_UNIX_PATH_MAX == sizeof(((struct sockaddr_un *)0)->sun_path) - 1, "sun_path");

uint64_t
colo_monotonic_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

uint64_t
colo_deadline(uint32_t ms)
{
	return colo_monotonic_us() + (uint64_t)ms * 1000u;
}

int
colo_deadline_left(uint64_t deadline)
{
	uint64_t now = colo_monotonic_us();
	uint64_t ms;

	if (now >= deadline)
		return 0;
	ms = (deadline - now + 999) / 1000;
	return ms > INT_MAX ? INT_MAX : (int)ms;
}

enum colo_outcome
colo_wait_fd(int fd, short events, int abort_fd, uint64_t deadline)
{
	/* poll(2) ignores negative descriptors */
	struct pollfd p[2] = {{.fd = fd, .events = events}, {.fd = abort_fd, .events = POLLIN}};

	for (;;) {
		int n = poll(p, 2, colo_deadline_left(deadline));

		if (n < 0 && errno != EINTR)
			return COLO_OUTCOME_GONE;
		if (n > 0 && p[1].revents != 0)
			return COLO_OUTCOME_ABORTED;
		if (n > 0)
			return COLO_OUTCOME_OK;
		if (colo_deadline_left(deadline) == 0)
			return COLO_OUTCOME_TIMEOUT;
	}
}

/* One attempt, or several while the listener's backlog is full. */
static enum colo_outcome
connect_until(int fd, const struct sockaddr_un *address, int abort_fd, uint64_t deadline)
{
	while (connect(fd, (const struct sockaddr *)address, sizeof(*address)) != 0) {
		enum colo_outcome slept;

		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return COLO_OUTCOME_REFUSED;
		if (colo_deadline_left(deadline) == 0)
			return COLO_OUTCOME_TIMEOUT;
		slept = colo_wait_fd(-1, 0, abort_fd, colo_monotonic_us() + CONNECT_RETRY_US);
		if (slept == COLO_OUTCOME_ABORTED)
			return slept;
	}
	return COLO_OUTCOME_OK;
}

int
colo_unix_connect(const char *path, int abort_fd, uint64_t deadline, enum colo_outcome *outcome,
	struct colo_error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t length = strlen(path);
	int fd;

	*outcome = COLO_OUTCOME_REFUSED;
	if (length == 0 || length > COLO_UNIX_PATH_MAX)
		return colo_error_set(err,
			"socket path of %zu bytes is not accepted: 1 to %u bytes are", length,
			COLO_UNIX_PATH_MAX);
	memcpy(address.sun_path, path, length + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return colo_error_set(err, "no socket: %s", strerror(errno));
	*outcome = connect_until(fd, &address, abort_fd, deadline);
	if (*outcome == COLO_OUTCOME_OK)
		return fd;
	if (*outcome == COLO_OUTCOME_REFUSED)
		colo_error_set(err, "cannot connect to %s: %s", path, strerror(errno));
	else
		colo_error_set(err, "cannot connect to %s: %s", path,
			*outcome == COLO_OUTCOME_TIMEOUT ? "its listener is too busy" : "aborted");
	close(fd);
	return -1;
}

enum colo_outcome
colo_send_all(int fd, const void *bytes, size_t length, int abort_fd, uint64_t deadline)
{
	const char *p = bytes;

	while (length > 0) {
		ssize_t n = send(fd, p, length, MSG_NOSIGNAL | MSG_DONTWAIT);
		enum colo_outcome ready;

		if (n >= 0) {
			p += n;
			length -= (size_t)n;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN && errno != EWOULDBLOCK)
			return COLO_OUTCOME_GONE;
		ready = colo_wait_fd(fd, POLLOUT, abort_fd, deadline);
		if (ready != COLO_OUTCOME_OK)
			return ready;
	}
	return COLO_OUTCOME_OK;
}
