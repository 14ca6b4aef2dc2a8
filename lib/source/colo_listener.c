/* SPDX-License-Identifier: BSD-3-Clause */
/* The socket that QEMU migrates to: unix or TCP. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "bounds.h"
#include "colo_listener.h"
#include "connection.h"
#include "text.h"

#define BACKLOG 64 /* a main channel and 16 multifd channels come at once */

static int
parse_unix(struct colo_listener *l, const char *path)
{
	if (path[0] == '\0' || strlen(path) > COLO_UNIX_PATH_MAX)
		return -1;
	l->is_unix = true;
	strcpy(l->path, path);
	return 0;
}

static int
parse_tcp(struct colo_listener *l, const char *text)
{
	const char *colon = strrchr(text, ':');
	size_t length = colon != NULL ? (size_t)(colon - text) : 0;
	uint64_t port;

	if (length == 0 || colo_parse_digits(colon + 1, &port) != 0 || port > UINT16_MAX)
		return -1;
	if (text[0] == '[' && text[length - 1] == ']') {
		text++;
		length -= 2;
	} else if (memchr(text, ':', length) != NULL) {
		return -1;
	}
	if (length == 0 || length > COLO_LISTENER_HOST_MAX)
		return -1;
	l->is_unix = false;
	l->port = (uint16_t)port;
	memcpy(l->host, text, length);
	l->host[length] = '\0';
	return 0;
}

int
colo_listener_parse(struct colo_listener *l, const char *text)
{
	*l = (struct colo_listener){.fd = -1};
	if (strlen(text) >= sizeof(l->name))
		return -1;
	strcpy(l->name, text);
	if (strncmp(text, "unix:", 5) == 0)
		return parse_unix(l, text + 5);
	if (strncmp(text, "tcp:", 4) == 0)
		return parse_tcp(l, text + 4);
	return -1;
}

/* Is what is at the path a socket that some process still listens on? */
static bool
is_listened_on(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	bool dead;

	if (fd < 0)
		return true;
	dead = connect(fd, (const struct sockaddr *)address, sizeof(*address)) != 0 &&
	       errno == ECONNREFUSED;
	close(fd);
	return !dead;
}

static int
make_room(const struct colo_listener *l, const struct sockaddr_un *address, struct colo_error *err)
{
	struct stat st;

	if (lstat(l->path, &st) != 0)
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return colo_error_set(
			err, "cannot listen on %s: there is a file that is no socket", l->path);
	if (is_listened_on(address))
		return colo_error_set(err,
			"cannot listen on %s: another program listens there; choose another path",
			l->path);
	if (unlink(l->path) != 0)
		return colo_error_set(
			err, "cannot remove the stale socket %s: %s", l->path, strerror(errno));
	return 0;
}

static int
open_unix(struct colo_listener *l, struct colo_error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	strcpy(address.sun_path, l->path);
	if (make_room(l, &address, err) != 0)
		return -1;
	l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (l->fd < 0)
		return colo_error_set(err, "no socket: %s", strerror(errno));
	/* before bind(2): the path never has other rights */
	if (fchmod(l->fd, 0600) != 0 ||
		bind(l->fd, (const struct sockaddr *)&address, sizeof(address)) != 0)
		return colo_error_set(err, "cannot listen on %s: %s", l->path, strerror(errno));
	l->bound = true;
	return 0;
}

int
colo_listener_open(struct colo_listener *l, struct colo_error *err)
{
	if (l->is_unix) {
		if (open_unix(l, err) != 0)
			return -1;
	} else {
		l->fd = colo_socket_listen(l->host, l->port, err);
		if (l->fd < 0)
			return -1;
		l->port = colo_socket_port(l->fd);
		snprintf(l->name, sizeof(l->name),
			strchr(l->host, ':') != NULL ? "tcp:[%s]:%u" : "tcp:%s:%u", l->host,
			l->port);
	}
	if (listen(l->fd, BACKLOG) != 0)
		return colo_error_set(err, "cannot listen on %s: %s", l->name, strerror(errno));
	return 0;
}

void
colo_listener_close(struct colo_listener *l)
{
	if (l->bound)
		unlink(l->path);
	l->bound = false;
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
}

int
colo_listener_accept(const struct colo_listener *l)
{
	const int on = 1;
	int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd >= 0 && !l->is_unix)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return fd;
}

void
colo_listener_quick_ack(const struct colo_listener *l, int fd)
{
	const int on = 1;

	if (!l->is_unix)
		setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on));
}
