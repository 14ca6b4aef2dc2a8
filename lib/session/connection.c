/* SPDX-License-Identifier: BSD-3-Clause */
/* A session's TCP connection: sockets that never block, messages cut out of the stream. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "connection.h"

#define LISTEN_BACKLOG 128
#define DRAIN_READS    16 /* bounds what close() reads from a peer that goes on sending */

static bool
is_try_again(int code)
{
	return code == EAGAIN || code == EWOULDBLOCK || code == EINTR;
}

/** @return 0 with @p sa and its length, or -1 with @p err. */
static int
parse_endpoint(const char *host, uint16_t port, struct sockaddr_storage *sa, socklen_t *length,
	struct colo_error *err)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM};
	struct addrinfo *found = NULL;

	if (getaddrinfo(host, NULL, &hints, &found) != 0 || found == NULL)
		return colo_error_set(err,
			"\"%s\" is not a numeric IPv4 or IPv6 address, like 192.0.2.1 or "
			"2001:db8::1",
			host);
	memcpy(sa, found->ai_addr, found->ai_addrlen);
	*length = found->ai_addrlen;
	freeaddrinfo(found);
	if (sa->ss_family == AF_INET6)
		((struct sockaddr_in6 *)sa)->sin6_port = htons(port);
	else
		((struct sockaddr_in *)sa)->sin_port = htons(port);
	return 0;
}

/** Bind and listen; @return 0 or an errno. */
static int
bind_and_listen(int fd, const struct sockaddr_storage *sa, socklen_t length)
{
	const int on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (sa->ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, (const struct sockaddr *)sa, length) < 0 || listen(fd, LISTEN_BACKLOG) < 0)
		return errno;
	return 0;
}

int
colo_socket_listen(const char *host, uint16_t port, struct colo_error *err)
{
	struct sockaddr_storage sa = {0};
	socklen_t length;
	int fd, code;

	if (parse_endpoint(host, port, &sa, &length, err) < 0)
		return -1;
	fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return colo_error_set(err, "cannot make a TCP socket: %s", strerror(errno));
	code = bind_and_listen(fd, &sa, length);
	if (code == 0)
		return fd;
	close(fd);
	if (code == EADDRINUSE)
		return colo_error_set(err,
			"TCP port %u of %s is taken by another program; choose a free one", port,
			host);
	return colo_error_set(
		err, "cannot listen on %s, TCP port %u: %s", host, port, strerror(code));
}

static uint16_t
port_of(const struct sockaddr_storage *sa)
{
	if (sa->ss_family == AF_INET6)
		return ntohs(((const struct sockaddr_in6 *)sa)->sin6_port);
	return ntohs(((const struct sockaddr_in *)sa)->sin_port);
}

uint16_t
colo_socket_port(int fd)
{
	struct sockaddr_storage sa = {0};
	socklen_t length = sizeof(sa);

	if (fd < 0 || getsockname(fd, (struct sockaddr *)&sa, &length) < 0)
		return 0;
	return port_of(&sa);
}

static void
name_endpoint(const struct sockaddr_storage *sa, char name[COLO_ENDPOINT_TEXT])
{
	char host[INET6_ADDRSTRLEN] = "?";

	if (sa->ss_family == AF_INET6) {
		inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)sa)->sin6_addr, host,
			sizeof(host));
		snprintf(name, COLO_ENDPOINT_TEXT, "[%s]:%u", host, port_of(sa));
	} else {
		inet_ntop(AF_INET, &((const struct sockaddr_in *)sa)->sin_addr, host, sizeof(host));
		snprintf(name, COLO_ENDPOINT_TEXT, "%s:%u", host, port_of(sa));
	}
}

static void
set_nodelay(int fd)
{
	const int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

int
colo_socket_accept(int listen_fd, char name[COLO_ENDPOINT_TEXT])
{
	struct sockaddr_storage sa = {0};
	socklen_t length = sizeof(sa);
	int fd = accept4(listen_fd, (struct sockaddr *)&sa, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return -1;
	set_nodelay(fd);
	name_endpoint(&sa, name);
	return fd;
}

int
colo_socket_connect(const char *host, uint16_t port, int *code, struct colo_error *err)
{
	struct sockaddr_storage sa = {0};
	socklen_t length;
	int fd;

	*code = 0;
	if (parse_endpoint(host, port, &sa, &length, err) < 0)
		return -1;
	fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		*code = errno;
		return colo_error_set(err, "cannot make a TCP socket: %s", strerror(*code));
	}
	set_nodelay(fd);
	if (connect(fd, (const struct sockaddr *)&sa, length) == 0 || errno == EINPROGRESS)
		return fd;
	*code = errno;
	close(fd);
	return colo_error_set(
		err, "cannot connect to %s, TCP port %u: %s", host, port, strerror(*code));
}

int
colo_socket_connected(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	int code = 0;
	socklen_t length = sizeof(code);

	if (poll(&p, 1, 0) <= 0)
		return EINPROGRESS;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &length) < 0)
		return errno;
	return code;
}

ssize_t
colo_socket_peek(int fd, uint8_t *to, size_t n)
{
	ssize_t got = recv(fd, to, n, MSG_PEEK | MSG_DONTWAIT);

	if (got > 0)
		return got;
	return got < 0 && is_try_again(errno) ? 0 : -1;
}

void
colo_socket_wake_at(int fd, size_t n)
{
	const int bytes = (int)n;

	setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof(bytes));
}

void
colo_connection_open(struct colo_connection *c, int fd)
{
	c->fd = fd;
	c->tls = NULL;
	c->ended = false;
	c->rx_error = 0;
	c->tx_error = 0;
	c->rx_used = 0;
	c->rx_taken = 0;
	c->tx_used = 0;
}

int
colo_connection_secure(struct colo_connection *c, struct colo_tls *tls, bool server)
{
	c->tls = colo_tls_stream_new(tls, c->fd, server);
	return c->tls != NULL ? 0 : -1;
}

void
colo_connection_close(struct colo_connection *c)
{
	if (c->fd < 0)
		return;
	colo_connection_flush(c);
	if (c->tls != NULL)
		colo_tls_close(c->tls);
	shutdown(c->fd, SHUT_WR);
	for (unsigned int i = 0; i < DRAIN_READS; i++)
		if (recv(c->fd, c->rx, sizeof(c->rx), MSG_DONTWAIT) <= 0)
			break;
	colo_tls_stream_free(c->tls);
	close(c->fd);
	colo_connection_open(c, -1);
}

int
colo_connection_put(struct colo_connection *c, uint16_t type, const void *body, size_t length)
{
	uint8_t *at = c->tx + c->tx_used;

	if (length > COLO_SESSION_BODY_MAX ||
		COLO_MESSAGE_HEADER + length > sizeof(c->tx) - c->tx_used)
		return -1;
	at[0] = (uint8_t)(type >> 8);
	at[1] = (uint8_t)type;
	at[2] = (uint8_t)(length >> 8);
	at[3] = (uint8_t)length;
	if (length != 0)
		memcpy(at + COLO_MESSAGE_HEADER, body, length);
	c->tx_used += COLO_MESSAGE_HEADER + (uint32_t)length;
	return 0;
}

/** @return bytes sent, 0: not now, or -1 with tx_error set. */
static ssize_t
send_some(struct colo_connection *c)
{
	enum colo_tls_status status;
	size_t taken;
	ssize_t sent;

	if (c->tls == NULL) {
		sent = send(c->fd, c->tx, c->tx_used, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent >= 0 || is_try_again(errno))
			return sent < 0 ? 0 : sent;
		c->tx_error = errno;
		return -1;
	}
	status = colo_tls_write(c->tls, c->tx, c->tx_used, &taken);
	if (status == COLO_TLS_OK || status == COLO_TLS_AGAIN)
		return status == COLO_TLS_OK ? (ssize_t)taken : 0;
	c->tx_error = status == COLO_TLS_ENDED ? EPIPE : EPROTO;
	return -1;
}

void
colo_connection_flush(struct colo_connection *c)
{
	ssize_t sent;

	if (c->tx_used == 0 || c->fd < 0)
		return;
	if (c->tx_error != 0) {
		c->tx_used = 0;
		return;
	}
	sent = send_some(c);
	if (sent <= 0)
		return;
	c->tx_used -= (uint32_t)sent;
	memmove(c->tx, c->tx + sent, c->tx_used);
}

/** @return bytes received into rx, 0: none, now or ever. */
static size_t
receive_some(struct colo_connection *c)
{
	uint8_t *to = c->rx + c->rx_used;
	size_t room = sizeof(c->rx) - c->rx_used, taken;
	ssize_t got;

	if (c->tls == NULL) {
		got = recv(c->fd, to, room, MSG_DONTWAIT);
		if (got == 0)
			c->ended = true;
		else if (got < 0 && !is_try_again(errno))
			c->rx_error = errno;
		return got > 0 ? (size_t)got : 0;
	}
	switch (colo_tls_read(c->tls, to, room, &taken)) {
	case COLO_TLS_OK:
		return taken;
	case COLO_TLS_AGAIN:
		break;
	case COLO_TLS_ENDED:
		c->ended = true;
		break;
	case COLO_TLS_FAILED:
		c->rx_error = EPROTO;
		break;
	}
	return 0;
}

bool
colo_connection_fill(struct colo_connection *c)
{
	size_t got;

	if (c->fd < 0 || c->ended || c->rx_error != 0)
		return false;
	c->rx_used -= c->rx_taken;
	memmove(c->rx, c->rx + c->rx_taken, c->rx_used);
	c->rx_taken = 0;
	if (c->rx_used == sizeof(c->rx))
		return false; /* a whole message waits to be taken */
	got = receive_some(c);
	c->rx_used += (uint32_t)got;
	return got > 0;
}

enum colo_message_status
colo_connection_next(struct colo_connection *c, struct colo_message_view *message)
{
	const uint8_t *at = c->rx + c->rx_taken;
	uint32_t left = c->rx_used - c->rx_taken;

	if (left < COLO_MESSAGE_HEADER)
		return COLO_MESSAGE_NONE;
	message->type = (uint16_t)(at[0] << 8 | at[1]);
	message->length = (uint16_t)(at[2] << 8 | at[3]);
	if (message->length > COLO_SESSION_BODY_MAX)
		return COLO_MESSAGE_TOO_LONG;
	if (left - COLO_MESSAGE_HEADER < message->length)
		return COLO_MESSAGE_NONE;
	message->body = at + COLO_MESSAGE_HEADER;
	c->rx_taken += COLO_MESSAGE_HEADER + message->length;
	return COLO_MESSAGE_READY;
}

const char *
colo_connection_gone(const struct colo_connection *c)
{
	if (c->ended)
		return "connection closed by peer";
	if (c->rx_error == ECONNRESET || c->tx_error == EPIPE || c->tx_error == ECONNRESET)
		return "connection closed by peer (reset)";
	if (c->tls != NULL && (c->rx_error == EPROTO || c->tx_error == EPROTO))
		return colo_tls_reason(c->tls);
	if (c->rx_error != 0)
		return strerror(c->rx_error);
	if (c->tx_error != 0)
		return strerror(c->tx_error);
	return NULL;
}
