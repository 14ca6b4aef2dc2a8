/* SPDX-License-Identifier: BSD-3-Clause */
/* A peer made by hand, for tests: it says what no session would say. */
#ifndef COLO_UT_RUDE_H
#define COLO_UT_RUDE_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "ut_session.h"

/** A peer that does not keep to the protocol; by TLS, it has the key. */
struct rude {
	int fd;
	struct colo_tls_stream *tls; /* NULL: plain */
};

/* Connect and say nothing. */
static inline struct rude
rude_dial(struct colo_session *s)
{
	struct sockaddr_in sa = {.sin_family = AF_INET,
		.sin_port = htons(colo_session_port(s)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct timeval limit = {.tv_sec = 2};
	const int on = 1; /* what is said is to be there when the session looks */
	struct rude r = {.fd = socket(AF_INET, SOCK_STREAM, 0)};

	CU_ASSERT_EQUAL_FATAL(connect(r.fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	setsockopt(r.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(r.fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	return r;
}

/* Connect, and by TLS shake hands. */
static inline struct rude
rude_call(struct colo_session *s)
{
	struct rude r = rude_dial(s);
	bool worked;

	if (ut_tls == NULL)
		return r;
	r.tls = colo_tls_stream_new(ut_tls, r.fd, false);
	CU_ASSERT_PTR_NOT_NULL_FATAL(r.tls);
	for (unsigned int i = 0; i < 500; i++) {
		if (colo_tls_handshake(r.tls, &worked) != COLO_TLS_AGAIN)
			break;
		CU_ASSERT_EQUAL(poll_at(s, ut_now_ms), COLO_SESSION_NOTHING);
		real_pause();
	}
	CU_ASSERT_TRUE_FATAL(colo_tls_is_up(r.tls));
	return r;
}

static inline void
rude_close(struct rude *r)
{
	if (r->tls != NULL)
		colo_tls_stream_free(r->tls);
	r->tls = NULL;
	close(r->fd);
}

/* @return bytes sent: all, or less if the peer does not read. */
static inline size_t
rude_bytes(struct rude *r, const void *bytes, size_t length)
{
	size_t sent = 0;
	ssize_t n;

	if (r->tls != NULL)
		return colo_tls_write(r->tls, bytes, length, &sent) == COLO_TLS_OK ? sent : 0;
	n = send(r->fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
	return n > 0 ? (size_t)n : 0;
}

static inline void
rude_send(struct rude *r, uint16_t type, const void *body, size_t length)
{
	uint8_t message[4 + COLO_SESSION_BODY_MAX] = {
		type >> 8, type & 0xff, length >> 8, length & 0xff};

	memcpy(message + 4, body, length);
	CU_ASSERT_EQUAL(rude_bytes(r, message, 4 + length), 4 + length);
}

static inline void
rude_hello(struct rude *r)
{
	struct colo_hello hello = make_hello();
	uint8_t body[COLO_SESSION_BODY_MAX];

	rude_send(r, COLO_MESSAGE_HELLO, body, colo_hello_pack(body, &hello));
}

static inline int
rude_receive(struct rude *r, struct colo_session *s, uint64_t now, char *text)
{
	uint8_t got[300];
	size_t n = 0, taken;
	ssize_t plain;

	for (unsigned int i = 0; i < 500 && n == 0; i++) {
		poll_at(s, now);
		if (r->tls != NULL) {
			if (colo_tls_read(r->tls, got, sizeof(got) - 1, &taken) == COLO_TLS_OK)
				n = taken;
		} else {
			plain = recv(r->fd, got, sizeof(got) - 1, MSG_DONTWAIT);
			n = plain > 0 ? (size_t)plain : 0;
		}
		real_pause();
	}
	if (n < 4)
		return -1;
	got[n] = '\0';
	snprintf(text, sizeof(got), "%s", n > 5 ? (char *)got + 5 : "");
	return got[0] << 8 | got[1];
}

#endif
