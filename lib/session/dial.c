/* SPDX-License-Identifier: BSD-3-Clause */
/* How a primary gets its connection: TCP, then TLS where it is due; tried again until a limit. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "session_state.h"

/* An end that connects has no callers: their first place is the connection's. */
static struct colo_caller *
own_call(struct colo_session *s)
{
	return &s->caller[0];
}

static bool
is_greeting(const struct colo_session *s)
{
	return s->listen_fd < 0 && s->caller[0].use == CALLER_GREETING;
}

void
colo_session_hang_up(struct colo_session *s)
{
	if (s->dial_fd >= 0)
		close(s->dial_fd);
	s->dial_fd = -1;
	if (is_greeting(s))
		colo_session_close_caller(own_call(s));
}

int
colo_session_connect(struct colo_session *s, const char *host, uint16_t port, uint32_t timeout_ms,
	struct colo_error *err)
{
	if (s->state != STATE_IDLE || s->listen_fd >= 0)
		return colo_error_set(err, "the session is in use already");
	s->dial_fd = colo_socket_connect(host, port, &s->attempt_code, err);
	if (s->dial_fd < 0 && s->attempt_code == 0)
		return -1;
	snprintf(s->host, sizeof(s->host), "%s", host);
	s->port = port;
	s->connect_timeout_ms =
		timeout_ms < COLO_SESSION_RETRY_MS ? COLO_SESSION_RETRY_MS : timeout_ms;
	s->attempt_ms = 0;
	colo_session_set_state(s, STATE_CONNECTING);
	return 0;
}

static enum colo_session_event
connected(struct colo_session *s)
{
	struct colo_caller *c = own_call(s);

	c->use = CALLER_PEER;
	s->peer = c;
	colo_session_set_state(s, STATE_CONNECTED);
	return COLO_SESSION_CONNECTED;
}

/* Not worth another attempt: it would end like this one. */
static enum colo_session_event
refused(struct colo_session *s, const char *why)
{
	colo_session_set_reason(
		s, "no TLS session with %s, TCP port %u: %s", s->host, s->port, why);
	return colo_session_lost(s);
}

static enum colo_session_event
picked_up(struct colo_session *s)
{
	struct colo_caller *c = own_call(s);

	colo_connection_open(&c->connection, s->dial_fd);
	s->dial_fd = -1;
	if (s->tls == NULL)
		return connected(s);
	c->use = CALLER_GREETING;
	s->handshake_ms = s->now_ms;
	if (colo_connection_secure(&c->connection, s->tls, false) < 0)
		return refused(s, "out of memory");
	return COLO_SESSION_NOTHING;
}

static enum colo_session_event
poll_greeting(struct colo_session *s)
{
	struct colo_connection *c = &own_call(s)->connection;
	bool worked;

	switch (colo_tls_handshake(c->tls, &worked)) {
	case COLO_TLS_OK:
		return connected(s);
	case COLO_TLS_FAILED:
		return refused(s, colo_tls_reason(c->tls));
	case COLO_TLS_ENDED: /* it may have had too many callers */
		s->attempt_code = ECONNRESET;
		colo_session_hang_up(s);
		break;
	case COLO_TLS_AGAIN:
		s->attempt_code = 0;
		break;
	}
	return COLO_SESSION_NOTHING;
}

static enum colo_session_event
poll_dialling(struct colo_session *s)
{
	int code = colo_socket_connected(s->dial_fd);

	if (code == 0)
		return picked_up(s);
	if (code != EINPROGRESS) {
		s->attempt_code = code;
		colo_session_hang_up(s);
	}
	return COLO_SESSION_NOTHING;
}

static bool
is_too_late(const struct colo_session *s)
{
	/* a handshake that began late still gets the time that the other end grants it */
	if (is_greeting(s) && s->now_ms - s->handshake_ms < COLO_SESSION_CALL_MS)
		return false;
	return s->now_ms - s->since_ms >= s->connect_timeout_ms;
}

static void
dial_again(struct colo_session *s)
{
	if (s->now_ms - s->attempt_ms < COLO_SESSION_RETRY_MS)
		return;
	s->attempt_ms = s->now_ms;
	s->dial_fd = colo_socket_connect(s->host, s->port, &s->attempt_code, NULL);
}

enum colo_session_event
colo_session_poll_dial(struct colo_session *s)
{
	enum colo_session_event event = COLO_SESSION_NOTHING;

	if (s->attempt_ms == 0)
		s->attempt_ms = s->now_ms;
	if (s->dial_fd >= 0)
		event = poll_dialling(s);
	if (event == COLO_SESSION_NOTHING && is_greeting(s))
		event = poll_greeting(s);
	if (event != COLO_SESSION_NOTHING)
		return event;
	if (is_too_late(s)) {
		colo_session_set_reason(s, "no connection to %s, TCP port %u within %u ms: %s",
			s->host, s->port, s->connect_timeout_ms,
			s->attempt_code != 0 ? strerror(s->attempt_code) : "no answer");
		return colo_session_lost(s);
	}
	if (s->dial_fd < 0 && !is_greeting(s))
		dial_again(s);
	return COLO_SESSION_NOTHING;
}
