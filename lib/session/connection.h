/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * One TCP connection that carries a session's messages, plain or by TLS: non-blocking, with a
 * bounded buffer each way. Knows where a message begins and ends, not what it means. One thread.
 */
#ifndef COLO_SESSION_CONNECTION_H
#define COLO_SESSION_CONNECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "colo_error.h"
#include "session.h"
#include "tls.h"

#define COLO_MESSAGE_HEADER 4u /**< bytes: be16 type, be16 length of the body */
#define COLO_MESSAGE_LENGTH (COLO_MESSAGE_HEADER + COLO_SESSION_BODY_MAX) /**< of the largest */
#define COLO_ENDPOINT_TEXT  72u /**< bytes, with NUL, of "[IPv6]:port" */

/** All zeros but fd = -1: closed. */
struct colo_connection {
	int fd;
	bool ended;   /**< peer closed its direction; what it sent before may still be in rx */
	int rx_error; /**< errno that ended reading, 0: none */
	int tx_error; /**< errno that ended writing, 0: none; what is to be sent is dropped */
	uint32_t rx_used;
	uint32_t rx_taken; /**< bytes of rx whose messages were handed out */
	uint32_t tx_used;
	struct colo_tls_stream *tls; /**< the connection's own; NULL: plain */
	uint8_t rx[COLO_MESSAGE_LENGTH];
	uint8_t tx[2 * COLO_MESSAGE_LENGTH];
};

/** A message as it lies in the rx buffer; valid until the next call that takes the connection. */
struct colo_message_view {
	uint16_t type;
	uint16_t length;
	const uint8_t *body;
};

enum colo_message_status {
	COLO_MESSAGE_NONE = 0, /**< not whole yet */
	COLO_MESSAGE_READY,
	COLO_MESSAGE_TOO_LONG, /**< the connection is of no use any more */
};

/** @return a non-blocking listening socket, or -1 with @p err (address not numeric, port taken). */
int colo_socket_listen(const char *host, uint16_t port, struct colo_error *err);
/** @return the port a socket is bound to, 0 if none. */
uint16_t colo_socket_port(int fd);
/** @return an accepted, non-blocking socket and the caller's @p name, or -1: nobody there. */
int colo_socket_accept(int listen_fd, char name[COLO_ENDPOINT_TEXT]);
/**
 * Begin to connect. @return a socket for colo_socket_connected(), or -1 with @p err and @p code:
 * an errno (worth a retry), or 0 if the address is not one.
 */
int colo_socket_connect(const char *host, uint16_t port, int *code, struct colo_error *err);
/** @return 0: connected; EINPROGRESS: not yet; else the errno that ended the attempt. */
int colo_socket_connected(int fd);
/** Read @p n bytes that stay there. @return how many are here, 0: none yet; -1: none will come. */
ssize_t colo_socket_peek(int fd, uint8_t *to, size_t n);
/** poll() is to report the socket once so many bytes are here, or no more will come. */
void colo_socket_wake_at(int fd, size_t n);

/** Take over @p fd with empty buffers. */
void colo_connection_open(struct colo_connection *c, int fd);
/** What is said from now on is said by TLS. @return 0, or -1: out of memory. */
int colo_connection_secure(struct colo_connection *c, struct colo_tls *tls, bool server);
/** Send what can be sent at once, read what is there (so that no reset eats it), close. */
void colo_connection_close(struct colo_connection *c);
/** Append a message. @return 0, or -1 if the peer does not read and the buffer is full. */
int colo_connection_put(struct colo_connection *c, uint16_t type, const void *body, size_t length);
/** One attempt to send what is buffered. */
void colo_connection_flush(struct colo_connection *c);
/** One attempt to receive. @return true if bytes came. */
bool colo_connection_fill(struct colo_connection *c);
/** The next message received, if it is whole. */
enum colo_message_status colo_connection_next(
	struct colo_connection *c, struct colo_message_view *message);

/** Nothing will come any more, and why. @return NULL: it is still open. */
const char *colo_connection_gone(const struct colo_connection *c);

#endif
