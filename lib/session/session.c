/* SPDX-License-Identifier: BSD-3-Clause */
/* The session: who may say what when, deadlines, liveness. Bytes are connection.c's, bodies
 * hello.c's. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "session_state.h"

#define DEFAULT_TIMEOUT_MS 1000u /* until set_timeout() */

const char *const colo_session_counter_name[COLO_SESSION_N_COUNTERS] = {
#define X(name, help) #name,
	COLO_SESSION_COUNTERS(X)
#undef X
};

const char *const colo_session_counter_help[COLO_SESSION_N_COUNTERS] = {
#define X(name, help) help,
	COLO_SESSION_COUNTERS(X)
#undef X
};

struct colo_session *
colo_session_new(struct colo_error *err)
{
	struct colo_session *s = calloc(1, sizeof(*s));

	if (s == NULL) {
		colo_error_set(err, "out of memory for the session");
		return NULL;
	}
	s->listen_fd = -1;
	s->dial_fd = -1;
	s->timeout_ms = DEFAULT_TIMEOUT_MS;
	colo_lobby_init(&s->lobby);
	for (unsigned int i = 0; i < COLO_SESSION_CALLERS; i++)
		s->caller[i].connection.fd = -1;
	return s;
}

void
colo_session_use_tls(struct colo_session *s, struct colo_tls *tls)
{
	s->tls = tls;
}

int
colo_session_listen(struct colo_session *s, const char *host, uint16_t port, struct colo_error *err)
{
	if (s->listen_fd >= 0)
		return colo_error_set(err, "the session listens already");
	s->listen_fd = colo_socket_listen(host, port, err);
	return s->listen_fd < 0 ? -1 : 0;
}

uint16_t
colo_session_port(const struct colo_session *s)
{
	return colo_socket_port(s->listen_fd);
}

void
colo_session_set_state(struct colo_session *s, enum colo_session_state state)
{
	s->state = state;
	s->clock_stale = true;
}

void
colo_session_close_caller(struct colo_caller *c)
{
	colo_connection_close(&c->connection);
	c->use = CALLER_FREE;
}

void
colo_session_end(struct colo_session *s)
{
	colo_session_hang_up(s);
	if (s->peer != NULL)
		colo_session_close_caller(s->peer);
	s->peer = NULL;
	colo_session_set_state(s, STATE_IDLE);
}

void
colo_session_set_reason(struct colo_session *s, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(s->reason.text, sizeof(s->reason.text), format, ap);
	va_end(ap);
}

void
colo_session_put_text(struct colo_caller *c, enum colo_message type, const char *text)
{
	uint8_t body[1 + COLO_SESSION_REASON_MAX];

	colo_connection_put(&c->connection, type, body, colo_text_pack(body, text));
	colo_connection_flush(&c->connection);
}

enum colo_session_event
colo_session_lost(struct colo_session *s)
{
	if (s->peer != NULL)
		colo_session_put_text(s->peer, COLO_MESSAGE_ABORT, s->reason.text);
	colo_session_end(s);
	return COLO_SESSION_LOST;
}

/*
 * We have stood still ourselves (stopped, or starved with the peer beside us): then the peer may
 * have heard nothing that it could have answered. It gets half a limit from now on, once.
 */
static void
note_standstill(struct colo_session *s, uint64_t now_ms)
{
	uint32_t half_ms = s->timeout_ms / 2;

	if (s->state != STATE_ON || s->clock_stale || s->forgiven || now_ms - s->now_ms < half_ms)
		return;
	s->forgiven = true;
	if (now_ms - s->heard_ms > half_ms)
		s->heard_ms = now_ms - half_ms;
}

bool
colo_session_lives(const struct colo_session *s)
{
	return s->state == STATE_ON && s->now_ms - s->heard_ms < s->timeout_ms / 2;
}

enum colo_session_event
colo_session_poll(struct colo_session *s, uint64_t now_ms)
{
	enum colo_session_event event = COLO_SESSION_NOTHING;

	note_standstill(s, now_ms);
	s->now_ms = now_ms;
	if (s->clock_stale) {
		s->clock_stale = false;
		s->since_ms = now_ms;
		s->heard_ms = now_ms;
		s->forgiven = false;
		s->pinged_ms = now_ms;
	}
	if (s->state == STATE_CONNECTING)
		event = colo_session_poll_dial(s);
	else if (s->peer != NULL)
		event = colo_session_poll_peer(s);
	if (event == COLO_SESSION_NOTHING && s->listen_fd >= 0)
		event = colo_session_poll_callers(s);
	return event;
}

/* ---- what this end says ---- */

/** A message whose body our own check agrees with. */
static int
say(struct colo_session *s, enum colo_message type, const uint8_t *body, size_t length)
{
	if (colo_connection_put(&s->peer->connection, type, body, length) < 0)
		return colo_error_set(&s->reason, "peer does not read what it is sent");
	colo_connection_flush(&s->peer->connection);
	return 0;
}

static int
not_now(struct colo_session *s, const char *what)
{
	return colo_error_set(&s->reason, "%s was asked for at the wrong time", what);
}

int
colo_session_hello(struct colo_session *s, const struct colo_hello *hello)
{
	uint8_t body[COLO_SESSION_BODY_MAX];
	size_t length;

	if (s->state != STATE_CONNECTED)
		return not_now(s, "HELLO");
	length = colo_hello_pack(body, hello);
	if (colo_hello_check(body, length, &s->hello, &s->reason) < 0 ||
		say(s, COLO_MESSAGE_HELLO, body, length) < 0)
		return -1;
	colo_session_set_state(s, STATE_HELLO_SENT);
	return 0;
}

int
colo_session_accept(struct colo_session *s, const struct colo_accept *accept)
{
	uint8_t body[COLO_SESSION_BODY_MAX];
	size_t length;

	if (s->state != STATE_GOT_HELLO)
		return not_now(s, "ACCEPT");
	length = colo_accept_pack(body, accept, s->hello.n_channels);
	if (colo_accept_check(body, length, s->hello.n_channels, &s->accept, &s->reason) < 0 ||
		say(s, COLO_MESSAGE_ACCEPT, body, length) < 0)
		return -1;
	colo_session_set_state(s, STATE_ACCEPT_SENT);
	return 0;
}

int
colo_session_refuse(struct colo_session *s, const char *why)
{
	if (s->state != STATE_GOT_HELLO)
		return not_now(s, "REFUSE");
	colo_session_refuse_caller(s, s->peer, why);
	s->peer = NULL;
	colo_session_set_state(s, STATE_IDLE);
	return 0;
}

int
colo_session_start(struct colo_session *s, const uint16_t *channel_ports, unsigned int n)
{
	uint16_t checked[COLO_MAX_CHANNELS];
	uint8_t body[COLO_SESSION_BODY_MAX];
	size_t length;

	if (s->state != STATE_GOT_ACCEPT)
		return not_now(s, "START");
	if (n != s->hello.n_channels)
		return colo_error_set(&s->reason,
			"START: %u ports; accepted is one for each of %u channels", n,
			s->hello.n_channels);
	length = colo_start_pack(body, channel_ports, n);
	if (colo_start_check(body, length, n, checked, &s->reason) < 0 ||
		say(s, COLO_MESSAGE_START, body, length) < 0)
		return -1;
	colo_session_set_state(s, STATE_ON);
	return 0;
}

void
colo_session_set_timeout(struct colo_session *s, uint32_t timeout_ms)
{
	if (timeout_ms < COLO_PEER_TIMEOUT_MIN)
		timeout_ms = COLO_PEER_TIMEOUT_MIN;
	if (timeout_ms > COLO_PEER_TIMEOUT_MAX)
		timeout_ms = COLO_PEER_TIMEOUT_MAX;
	s->timeout_ms = timeout_ms;
}

void
colo_session_abort(struct colo_session *s, const char *why)
{
	if (s->peer != NULL)
		colo_session_put_text(s->peer, COLO_MESSAGE_ABORT, why);
	colo_session_end(s);
}

void
colo_session_gone(struct colo_session *s, const char *why)
{
	if (s->peer != NULL)
		colo_session_put_text(s->peer, COLO_MESSAGE_GONE, why);
	colo_session_end(s);
}

void
colo_session_bye(struct colo_session *s)
{
	if (s->peer != NULL)
		colo_connection_put(&s->peer->connection, COLO_MESSAGE_BYE, NULL, 0);
	colo_session_end(s);
}

void
colo_session_close(struct colo_session *s)
{
	if (s->peer != NULL)
		s->peer->connection.tx_used = 0;
	colo_session_end(s);
}

const struct colo_hello *
colo_session_peer_hello(const struct colo_session *s)
{
	return &s->hello;
}

const struct colo_accept *
colo_session_peer_accept(const struct colo_session *s)
{
	return &s->accept;
}

const char *
colo_session_reason(const struct colo_session *s)
{
	return s->reason.text;
}

int
colo_session_export(const struct colo_session *s, uint8_t *secret, size_t n)
{
	const uint8_t context[4] = {(uint8_t)(s->hello.session >> 24),
		(uint8_t)(s->hello.session >> 16), (uint8_t)(s->hello.session >> 8),
		(uint8_t)s->hello.session};

	/* before, hello is another session's */
	if (s->state < STATE_GOT_ACCEPT || s->peer == NULL || s->peer->connection.tls == NULL)
		return -1;
	return colo_tls_export(s->peer->connection.tls, context, sizeof(context), secret, n);
}

const struct colo_session_counters *
colo_session_counters(const struct colo_session *s)
{
	return &s->counters;
}

void
colo_session_free(struct colo_session *s)
{
	if (s == NULL)
		return;
	colo_session_end(s);
	for (unsigned int i = 0; i < COLO_SESSION_CALLERS; i++)
		if (s->caller[i].use != CALLER_FREE)
			colo_session_close_caller(&s->caller[i]);
	colo_lobby_close(&s->lobby);
	if (s->listen_fd >= 0)
		close(s->listen_fd);
	free(s);
}
