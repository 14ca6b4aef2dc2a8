/* SPDX-License-Identifier: BSD-3-Clause */
/* The session: who may say what when, deadlines, liveness. Bytes are connection.c's, bodies
 * hello.c's. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "connection.h"
#include "hello.h"

#define MESSAGES_PER_POLL  64u	 /* so that a talkative peer cannot keep the control core here */
#define DEFAULT_TIMEOUT_MS 1000u /* until set_timeout() */

enum state {
	STATE_IDLE,	   /* no session; a listening end listens */
	STATE_CONNECTING,  /* primary: TCP is not up yet */
	STATE_CONNECTED,   /* primary: own hello() is due */
	STATE_HELLO_SENT,  /* primary: ACCEPT or REFUSE is due */
	STATE_GOT_ACCEPT,  /* primary: own start() is due */
	STATE_GOT_HELLO,   /* secondary: own accept() or refuse() is due */
	STATE_ACCEPT_SENT, /* secondary: START is due */
	STATE_ON,	   /* both: liveness counts */
};

enum caller_use {
	CALLER_FREE,
	CALLER_WAITING, /* its hello is due */
	CALLER_LEAVING, /* it was refused, and may read why */
	CALLER_PEER,	/* the session's connection */
};

/** An accepted connection, or the one that a primary made. */
struct caller {
	enum caller_use use;
	uint64_t since_ms; /* accepted, or began to leave */
	char name[COLO_ENDPOINT_TEXT];
	struct colo_connection connection;
};

/** All of it is the control core's, but for the start and the end, which are the main lcore's. */
struct colo_session {
	enum state state;
	bool clock_stale; /* state is new: the next poll() sets since_ms and heard_ms */
	uint64_t now_ms;
	uint64_t since_ms;  /* begin of the state */
	uint64_t heard_ms;  /* last sign of life */
	uint64_t pinged_ms; /* last PING sent */
	uint32_t timeout_ms;
	int listen_fd;
	/* primary, while connecting */
	int dial_fd; /* an attempt under way; -1: wait for attempt_ms */
	char host[64];
	uint16_t port;
	uint32_t connect_timeout_ms;
	uint64_t attempt_ms; /* begin of the last attempt */
	int attempt_code;    /* errno that ended it */

	struct caller caller[COLO_SESSION_CALLERS];
	struct caller *peer;	   /* the one in use as CALLER_PEER, NULL: none */
	struct colo_hello hello;   /* secondary: peer's; primary: what was sent */
	struct colo_hello scratch; /* a hello being checked: it may be refused */
	struct colo_accept accept; /* primary: peer's */
	struct colo_error reason;
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
	for (unsigned int i = 0; i < COLO_SESSION_CALLERS; i++)
		s->caller[i].connection.fd = -1;
	return s;
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

/** Every change of state goes through here. */
static void
set_state(struct colo_session *s, enum state state)
{
	s->state = state;
	s->clock_stale = true;
}

static void
close_caller(struct caller *c)
{
	colo_connection_close(&c->connection);
	c->use = CALLER_FREE;
}

/** No session any more; what was buffered for the peer is sent if it goes at once. */
static void
end_session(struct colo_session *s)
{
	if (s->dial_fd >= 0)
		close(s->dial_fd);
	s->dial_fd = -1;
	if (s->peer != NULL)
		close_caller(s->peer);
	s->peer = NULL;
	set_state(s, STATE_IDLE);
}

static void __attribute__((format(printf, 2, 3)))
set_reason(struct colo_session *s, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(s->reason.text, sizeof(s->reason.text), format, ap);
	va_end(ap);
}

/** Best effort: a peer that reads nothing learns nothing. */
static void
put_text(struct caller *c, enum colo_message type, const char *text)
{
	uint8_t body[1 + COLO_SESSION_REASON_MAX];

	colo_connection_put(&c->connection, type, body, colo_text_pack(body, text));
	colo_connection_flush(&c->connection);
}

/** The session is lost for the reason already set; the peer is told it if it can hear. */
static enum colo_session_event
lost(struct colo_session *s)
{
	if (s->peer != NULL)
		put_text(s->peer, COLO_MESSAGE_ABORT, s->reason.text);
	end_session(s);
	return COLO_SESSION_LOST;
}

/* ---- primary: connecting ---- */

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
	set_state(s, STATE_CONNECTING);
	return 0;
}

static enum colo_session_event
connected(struct colo_session *s)
{
	struct caller *c = &s->caller[0]; /* an end that connects has no callers */

	colo_connection_open(&c->connection, s->dial_fd);
	s->dial_fd = -1;
	c->use = CALLER_PEER;
	s->peer = c;
	set_state(s, STATE_CONNECTED);
	return COLO_SESSION_CONNECTED;
}

static void
dial_again(struct colo_session *s)
{
	if (s->now_ms - s->attempt_ms < COLO_SESSION_RETRY_MS)
		return;
	s->attempt_ms = s->now_ms;
	s->dial_fd = colo_socket_connect(s->host, s->port, &s->attempt_code, NULL);
}

static enum colo_session_event
poll_connecting(struct colo_session *s)
{
	int code;

	if (s->attempt_ms == 0)
		s->attempt_ms = s->now_ms;
	if (s->dial_fd >= 0) {
		code = colo_socket_connected(s->dial_fd);
		if (code == 0)
			return connected(s);
		if (code != EINPROGRESS) {
			s->attempt_code = code;
			close(s->dial_fd);
			s->dial_fd = -1;
		}
	}
	if (s->now_ms - s->since_ms >= s->connect_timeout_ms) {
		set_reason(s, "no connection to %s, TCP port %u within %u ms: %s", s->host, s->port,
			s->connect_timeout_ms,
			s->attempt_code != 0 ? strerror(s->attempt_code) : "no answer");
		return lost(s);
	}
	if (s->dial_fd < 0)
		dial_again(s);
	return COLO_SESSION_NOTHING;
}

/* ---- secondary: callers ---- */

static void
refuse_caller(struct colo_session *s, struct caller *c, const char *why)
{
	put_text(c, COLO_MESSAGE_REFUSE, why);
	c->use = CALLER_LEAVING;
	c->since_ms = s->now_ms;
}

static void
accept_callers(struct colo_session *s)
{
	for (unsigned int i = 0; i < COLO_SESSION_CALLERS; i++) {
		struct caller *c = &s->caller[i];
		int fd;

		if (c->use != CALLER_FREE)
			continue;
		fd = colo_socket_accept(s->listen_fd, c->name);
		if (fd < 0)
			return;
		colo_connection_open(&c->connection, fd);
		c->use = CALLER_WAITING;
		c->since_ms = s->now_ms;
		if (s->peer != NULL)
			refuse_caller(s, c, "busy with another session");
	}
}

/** A refused caller: what it still says is not read for its meaning. */
static void
poll_leaving(struct colo_session *s, struct caller *c)
{
	colo_connection_flush(&c->connection);
	for (unsigned int i = 0; i < MESSAGES_PER_POLL; i++) {
		c->connection.rx_taken = c->connection.rx_used;
		if (!colo_connection_fill(&c->connection))
			break;
	}
	if (colo_connection_gone(&c->connection) != NULL ||
		s->now_ms - c->since_ms >= COLO_SESSION_LINGER_MS)
		close_caller(c);
}

/** Judge what should be a hello. @return 0, or -1 with the reason set. */
static int
check_call(struct colo_session *s, const struct caller *c, const struct colo_message_view *m)
{
	struct colo_error err;

	if (m->type != COLO_MESSAGE_HELLO)
		colo_error_set(&err, "message of type %u (%s) instead of HELLO", m->type,
			colo_message_name(m->type));
	else if (colo_hello_check(m->body, m->length, &s->scratch, &err) == 0)
		return 0;
	set_reason(s, "caller %s: wrong message: %s", c->name, err.text);
	return -1;
}

static enum colo_session_event
take_call(struct colo_session *s, struct caller *c, const struct colo_message_view *m)
{
	if (check_call(s, c, m) < 0) {
		refuse_caller(s, c, s->reason.text);
		return COLO_SESSION_DROPPED;
	}
	if (s->peer != NULL) {
		refuse_caller(s, c, "busy with another session");
		return COLO_SESSION_NOTHING;
	}
	s->hello = s->scratch;
	c->use = CALLER_PEER;
	s->peer = c;
	set_state(s, STATE_GOT_HELLO);
	return COLO_SESSION_HELLO;
}

static enum colo_session_event
drop_caller(struct colo_session *s, struct caller *c, const char *why)
{
	set_reason(s, "caller %s: %s", c->name, why);
	close_caller(c);
	return COLO_SESSION_DROPPED;
}

static enum colo_session_event
poll_waiting(struct colo_session *s, struct caller *c)
{
	struct colo_message_view m;
	bool filled = colo_connection_fill(&c->connection);
	const char *gone = colo_connection_gone(&c->connection);
	char late[64];

	switch (colo_connection_next(&c->connection, &m)) {
	case COLO_MESSAGE_READY:
		return take_call(s, c, &m);
	case COLO_MESSAGE_TOO_LONG:
		set_reason(s, "caller %s: wrong message: its body is longer than %u bytes", c->name,
			COLO_SESSION_BODY_MAX);
		refuse_caller(s, c, s->reason.text);
		return COLO_SESSION_DROPPED;
	case COLO_MESSAGE_NONE:
		break;
	}
	if (gone != NULL && !filled)
		return drop_caller(s, c, gone);
	if (s->now_ms - c->since_ms >= COLO_SESSION_CALL_MS) {
		snprintf(late, sizeof(late), "no HELLO within %u ms", COLO_SESSION_CALL_MS);
		return drop_caller(s, c, late);
	}
	return COLO_SESSION_NOTHING;
}

/** @return the first thing to be told; what other callers said waits in their buffers. */
static enum colo_session_event
poll_callers(struct colo_session *s)
{
	enum colo_session_event event = COLO_SESSION_NOTHING;

	accept_callers(s);
	for (unsigned int i = 0; i < COLO_SESSION_CALLERS && event == COLO_SESSION_NOTHING; i++) {
		if (s->caller[i].use == CALLER_LEAVING)
			poll_leaving(s, &s->caller[i]);
		else if (s->caller[i].use == CALLER_WAITING)
			event = poll_waiting(s, &s->caller[i]);
	}
	return event;
}

/* ---- both: the peer ---- */

static enum colo_session_event
wrong(struct colo_session *s, const char *what)
{
	set_reason(s, "wrong message from peer: %s", what);
	return lost(s);
}

static enum colo_session_event
wrong_time(struct colo_session *s, const struct colo_message_view *m)
{
	char what[64];

	snprintf(what, sizeof(what), "%s (type %u) at the wrong time", colo_message_name(m->type),
		m->type);
	return wrong(s, what);
}

static enum colo_session_event
take_accept(struct colo_session *s, const struct colo_message_view *m)
{
	struct colo_error err;

	if (s->state != STATE_HELLO_SENT)
		return wrong_time(s, m);
	if (colo_accept_check(m->body, m->length, s->hello.n_channels, &s->accept, &err) < 0)
		return wrong(s, err.text);
	set_state(s, STATE_GOT_ACCEPT);
	return COLO_SESSION_ACCEPTED;
}

static enum colo_session_event
take_start(struct colo_session *s, const struct colo_message_view *m)
{
	struct colo_error err;

	if (s->state != STATE_ACCEPT_SENT)
		return wrong_time(s, m);
	if (colo_start_check(m->body, m->length, s->hello.n_channels, s->hello.address.channel_port,
		    &err) < 0)
		return wrong(s, err.text);
	set_state(s, STATE_ON);
	return COLO_SESSION_STARTED;
}

/** REFUSE and ABORT: the end of the session, for a reason that the peer gives. */
static enum colo_session_event
take_end(struct colo_session *s, const struct colo_message_view *m, enum colo_session_event event)
{
	char text[COLO_SESSION_REASON_MAX + 1];
	struct colo_error err;

	if (event == COLO_SESSION_REFUSED && s->state != STATE_CONNECTED &&
		s->state != STATE_HELLO_SENT)
		return wrong_time(s, m);
	if (colo_text_check(m->body, m->length, colo_message_name(m->type), text, &err) < 0)
		return wrong(s, err.text);
	set_reason(s, "%s", text);
	end_session(s);
	return event;
}

/** PING, PONG and BYE have no body. */
static enum colo_session_event
take_empty(struct colo_session *s, const struct colo_message_view *m)
{
	struct colo_error err;

	if (colo_empty_check(m->length, colo_message_name(m->type), &err) < 0)
		return wrong(s, err.text);
	if (m->type == COLO_MESSAGE_BYE) {
		set_reason(s, "peer ended the session");
		end_session(s);
		return COLO_SESSION_BYE;
	}
	if (s->state != STATE_ON)
		return wrong_time(s, m);
	/* A peer that does not read its answers does not get more of them. */
	if (m->type == COLO_MESSAGE_PING && s->peer->connection.tx_used < COLO_MESSAGE_LENGTH)
		colo_connection_put(&s->peer->connection, COLO_MESSAGE_PONG, NULL, 0);
	return COLO_SESSION_NOTHING;
}

static enum colo_session_event
take_message(struct colo_session *s, const struct colo_message_view *m)
{
	switch (m->type) {
	case COLO_MESSAGE_ACCEPT:
		return take_accept(s, m);
	case COLO_MESSAGE_START:
		return take_start(s, m);
	case COLO_MESSAGE_REFUSE:
		return take_end(s, m, COLO_SESSION_REFUSED);
	case COLO_MESSAGE_ABORT:
		return take_end(s, m, COLO_SESSION_ABORTED);
	case COLO_MESSAGE_PING:
	case COLO_MESSAGE_PONG:
	case COLO_MESSAGE_BYE:
		return take_empty(s, m);
	default: /* a second HELLO, or a type that does not exist */
		return wrong_time(s, m);
	}
}

/** Everything received, up to the first event. A peer's last words count more than its end. */
static enum colo_session_event
read_peer(struct colo_session *s)
{
	struct colo_connection *c = &s->peer->connection;
	enum colo_session_event event;
	struct colo_message_view m;

	for (unsigned int i = 0; i < MESSAGES_PER_POLL; i++) {
		switch (colo_connection_next(c, &m)) {
		case COLO_MESSAGE_READY:
			event = take_message(s, &m);
			if (event != COLO_SESSION_NOTHING)
				return event;
			break;
		case COLO_MESSAGE_TOO_LONG:
			return wrong(s, "its body is longer than 4096 bytes");
		case COLO_MESSAGE_NONE:
			if (colo_connection_fill(c)) {
				s->heard_ms = s->now_ms;
				break;
			}
			if (colo_connection_gone(c) == NULL)
				return COLO_SESSION_NOTHING;
			set_reason(s, "%s", colo_connection_gone(c));
			return lost(s);
		}
	}
	return COLO_SESSION_NOTHING;
}

/** Has the peer been silent too long for this state? */
static enum colo_session_event
check_deadline(struct colo_session *s)
{
	uint64_t waited = s->now_ms - s->since_ms;

	if (s->state == STATE_HELLO_SENT && waited >= COLO_SESSION_ANSWER_MS)
		set_reason(s, "no answer to HELLO within %u ms", COLO_SESSION_ANSWER_MS);
	else if (s->state == STATE_ACCEPT_SENT && waited >= COLO_SESSION_ANSWER_MS)
		set_reason(s, "no START within %u ms", COLO_SESSION_ANSWER_MS);
	else if (s->state == STATE_ON && s->now_ms - s->heard_ms >= s->timeout_ms)
		set_reason(s, "no sign of life for %" PRIu64 " ms", s->now_ms - s->heard_ms);
	else
		return COLO_SESSION_NOTHING;
	return lost(s);
}

static void
send_ping(struct colo_session *s)
{
	struct colo_connection *c = &s->peer->connection;

	if (s->state != STATE_ON || s->now_ms - s->pinged_ms < s->timeout_ms / 4)
		return;
	s->pinged_ms = s->now_ms;
	if (c->tx_used == 0)
		colo_connection_put(c, COLO_MESSAGE_PING, NULL, 0);
}

static enum colo_session_event
poll_peer(struct colo_session *s)
{
	enum colo_session_event event = read_peer(s);

	if (event == COLO_SESSION_NOTHING)
		event = check_deadline(s);
	if (s->peer == NULL)
		return event;
	send_ping(s);
	colo_connection_flush(&s->peer->connection);
	return event;
}

enum colo_session_event
colo_session_poll(struct colo_session *s, uint64_t now_ms)
{
	enum colo_session_event event = COLO_SESSION_NOTHING;

	s->now_ms = now_ms;
	if (s->clock_stale) {
		s->clock_stale = false;
		s->since_ms = now_ms;
		s->heard_ms = now_ms;
		s->pinged_ms = now_ms;
	}
	if (s->state == STATE_CONNECTING)
		event = poll_connecting(s);
	else if (s->peer != NULL)
		event = poll_peer(s);
	if (event == COLO_SESSION_NOTHING && s->listen_fd >= 0)
		event = poll_callers(s);
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
	set_state(s, STATE_HELLO_SENT);
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
	set_state(s, STATE_ACCEPT_SENT);
	return 0;
}

int
colo_session_refuse(struct colo_session *s, const char *why)
{
	if (s->state != STATE_GOT_HELLO)
		return not_now(s, "REFUSE");
	refuse_caller(s, s->peer, why);
	s->peer = NULL;
	set_state(s, STATE_IDLE);
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
	set_state(s, STATE_ON);
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
		put_text(s->peer, COLO_MESSAGE_ABORT, why);
	end_session(s);
}

void
colo_session_bye(struct colo_session *s)
{
	if (s->peer != NULL)
		colo_connection_put(&s->peer->connection, COLO_MESSAGE_BYE, NULL, 0);
	end_session(s);
}

void
colo_session_close(struct colo_session *s)
{
	if (s->peer != NULL)
		s->peer->connection.tx_used = 0;
	end_session(s);
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

void
colo_session_free(struct colo_session *s)
{
	if (s == NULL)
		return;
	end_session(s);
	for (unsigned int i = 0; i < COLO_SESSION_CALLERS; i++)
		if (s->caller[i].use != CALLER_FREE)
			close_caller(&s->caller[i]);
	if (s->listen_fd >= 0)
		close(s->listen_fd);
	free(s);
}
