/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who calls a secondary: anybody. From accept to a HELLO that checks, with a limit to everything
 * that a caller who has not shown the key can take: time, places, work, lines in the log.
 */
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "session_state.h"

#define RECORD_HEADER	 5u    /* bytes of TLS's, RFC 8446 5.1 */
#define FIRST_RECORD_MAX 2048u /* bytes of a ClientHello; ours has some 250 */
#define ACCEPTS_PER_POLL 64u
#define HANDSHAKE_STEPS	 1u    /* a poll: one costs 100 to 200 us */
#define DROP_LINES	 10u   /* at once */
#define DROP_LINE_MS	 1000u /* then one in so many ms */

static uint64_t *
counter(struct colo_session *s, enum colo_session_counter i)
{
	return &s->counters.n[i];
}

/* ---- how a caller ends ---- */

static bool
may_log(struct colo_session *s)
{
	struct colo_drop_log *l = &s->drop_log;
	uint64_t passed = s->now_ms - l->given_ms;

	if (passed >= DROP_LINES * DROP_LINE_MS || l->given_ms == 0)
		l->left = DROP_LINES;
	else if (l->left == 0 && passed >= DROP_LINE_MS)
		l->left = 1;
	if (l->left == 0)
		return false;
	l->left--;
	l->given_ms = s->now_ms;
	return true;
}

/**
 * Count a caller that is of no use; its place is its owner's to free.
 * @return DROPPED with the reason set, or NOTHING: there were too many lines lately.
 */
static enum colo_session_event
dropped(struct colo_session *s, enum colo_session_counter why, const char *name, const char *text)
{
	struct colo_drop_log *l = &s->drop_log;

	*counter(s, why) += 1;
	if (!may_log(s)) {
		l->unsaid++;
		return COLO_SESSION_NOTHING;
	}
	if (l->unsaid == 0)
		colo_session_set_reason(s, "caller %s: %s", name, text);
	else
		colo_session_set_reason(s,
			"caller %s: %s (%llu more were dropped since the last "
			"such line)",
			name, text, (unsigned long long)l->unsaid);
	l->unsaid = 0;
	return COLO_SESSION_DROPPED;
}

static enum colo_session_event
drop_caller(struct colo_session *s, struct colo_caller *c, enum colo_session_counter why,
	const char *text)
{
	enum colo_session_event event = dropped(s, why, c->name, text);

	colo_session_close_caller(c);
	return event;
}

void
colo_session_refuse_caller(struct colo_session *s, struct colo_caller *c, const char *why)
{
	colo_session_put_text(c, COLO_MESSAGE_REFUSE, why);
	c->use = CALLER_LEAVING;
	c->since_ms = s->now_ms;
}

/* It gets to read why. */
static enum colo_session_event
refuse_and_drop(struct colo_session *s, struct colo_caller *c, enum colo_session_counter why,
	const char *text)
{
	colo_session_refuse_caller(s, c, text);
	return dropped(s, why, c->name, text);
}

/** A refused caller: what it still says is not read for its meaning. */
static void
poll_leaving(struct colo_session *s, struct colo_caller *c)
{
	colo_connection_flush(&c->connection);
	for (unsigned int i = 0; i < COLO_MESSAGES_PER_POLL; i++) {
		c->connection.rx_taken = c->connection.rx_used;
		if (!colo_connection_fill(&c->connection))
			break;
	}
	if (colo_connection_gone(&c->connection) != NULL ||
		s->now_ms - c->since_ms >= COLO_SESSION_LINGER_MS)
		colo_session_close_caller(c);
}

/* ---- from the lobby to a place ---- */

/** Might it have to go for another one? Who has shown the key stays. */
static bool
may_evict(const struct colo_session *s, const struct colo_caller *c)
{
	if (c->use == CALLER_LEAVING)
		return true;
	if (c->use == CALLER_WAITING && s->tls != NULL)
		return false;
	return (c->use == CALLER_GREETING || c->use == CALLER_WAITING) &&
	       s->now_ms - c->since_ms >= COLO_SESSION_GRACE_MS;
}

/** Those that leave go before those that may still become a session, older before newer. */
static bool
goes_before(const struct colo_caller *a, const struct colo_caller *b)
{
	bool a_leaves = a->use == CALLER_LEAVING, b_leaves = b->use == CALLER_LEAVING;

	return a_leaves != b_leaves ? a_leaves : a->since_ms < b->since_ms;
}

/** @return a free place, made free if need be; NULL: there is none. */
static struct colo_caller *
find_place(struct colo_session *s)
{
	struct colo_caller *found = NULL;

	for (unsigned int i = 0; i < COLO_SESSION_CALLERS; i++) {
		struct colo_caller *c = &s->caller[i];

		if (c->use == CALLER_FREE)
			return c;
		if (may_evict(s, c) && (found == NULL || goes_before(c, found)))
			found = c;
	}
	if (found == NULL)
		return NULL;
	if (found->use != CALLER_LEAVING)
		*counter(s, COLO_SESSION_tcp_evicted) += 1;
	colo_session_close_caller(found);
	return found;
}

/** A caller whose first byte is @p first gets its place, or hears that it is wrong here. */
static enum colo_session_event
seat(struct colo_session *s, struct colo_caller *c, const struct colo_visitor *v, int first)
{
	bool speaks_tls = first == COLO_TLS_FIRST_BYTE;

	colo_connection_open(&c->connection, v->fd);
	snprintf(c->name, sizeof(c->name), "%s", v->name);
	c->came_ms = v->since_ms;
	c->since_ms = s->now_ms;
	c->use = CALLER_WAITING;
	if (speaks_tls != (s->tls != NULL))
		return refuse_and_drop(s, c, COLO_SESSION_tcp_wrong_mode,
			speaks_tls ? "TLS, but this end has --insecure; both ends need the same "
				     "--psk-file, or both --insecure"
				   : "no TLS, but this end has a --psk-file; both ends need the "
				     "same --psk-file, or both --insecure");
	if (s->tls == NULL)
		return COLO_SESSION_NOTHING;
	c->use = CALLER_GREETING;
	if (colo_connection_secure(&c->connection, s->tls, true) == 0)
		return COLO_SESSION_NOTHING;
	return drop_caller(s, c, COLO_SESSION_tcp_handshake_failed, "out of memory");
}

enum call {
	CALL_DONE,    /* it has its place, or is gone */
	CALL_WAIT,    /* it has to say more first */
	CALL_NO_ROOM, /* nobody can be called in now */
};

static enum colo_session_event
drop_visitor(
	struct colo_session *s, unsigned int place, enum colo_session_counter why, const char *text)
{
	struct colo_visitor v = colo_lobby_leave(&s->lobby, place);

	close(v.fd);
	return dropped(s, why, v.name, text);
}

/**
 * Is its whole ClientHello here? Until then it gets no place: a primary's comes at once, in one
 * record. @p needs: bytes that it has to have sent. @return 0, or -1: it is no ClientHello of ours.
 */
static int
first_record(const uint8_t head[RECORD_HEADER], size_t *needs)
{
	size_t length = (size_t)head[3] << 8 | head[4];

	*needs = RECORD_HEADER + length;
	return length == 0 || length > FIRST_RECORD_MAX ? -1 : 0;
}

static enum call
judge_call(struct colo_session *s, unsigned int place, int *first, enum colo_session_event *event)
{
	struct colo_visitor *v = &s->lobby.visitor[place];
	uint8_t bytes[RECORD_HEADER + FIRST_RECORD_MAX];
	ssize_t here = colo_socket_peek(v->fd, bytes, sizeof(bytes));
	size_t needs = 1;

	if (here == 0)
		return CALL_WAIT;
	*first = bytes[0];
	if (here > 0 && s->tls != NULL && bytes[0] == COLO_TLS_FIRST_BYTE) {
		needs = RECORD_HEADER;
		if (here >= (ssize_t)needs && first_record(bytes, &needs) < 0) {
			*event = drop_visitor(s, place, COLO_SESSION_tcp_handshake_failed,
				"its first TLS record is longer than any primary's");
			return CALL_DONE;
		}
	}
	if (here >= (ssize_t)needs) {
		colo_socket_wake_at(v->fd, 1);
		return CALL_NO_ROOM; /* until it has a place */
	}
	if (here < 0 || v->needs >= needs) { /* it was reported although it had not said so much */
		*event = drop_visitor(
			s, place, COLO_SESSION_tcp_closed, "connection closed by peer");
		return CALL_DONE;
	}
	v->needs = (uint16_t)needs;
	colo_socket_wake_at(v->fd, needs);
	return CALL_WAIT;
}

static enum call
call_in(struct colo_session *s, unsigned int place, enum colo_session_event *event)
{
	int first;
	enum call call = judge_call(s, place, &first, event);
	struct colo_caller *c;
	struct colo_visitor v;

	if (call != CALL_NO_ROOM)
		return call;
	c = find_place(s);
	if (c == NULL)
		return CALL_NO_ROOM;
	v = colo_lobby_leave(&s->lobby, place);
	*event = seat(s, c, &v, first);
	return CALL_DONE;
}

static void
accept_callers(struct colo_session *s)
{
	const uint16_t needs = s->tls != NULL ? RECORD_HEADER : 1;
	char name[COLO_ENDPOINT_TEXT];
	int fd;

	for (unsigned int i = 0; i < ACCEPTS_PER_POLL; i++) {
		fd = colo_socket_accept(s->listen_fd, name);
		if (fd < 0)
			return;
		*counter(s, COLO_SESSION_tcp_accepted) += 1;
		colo_socket_wake_at(fd, needs);
		if (!colo_lobby_enter(&s->lobby, fd, name, needs, s->now_ms))
			*counter(s, COLO_SESSION_tcp_evicted) += 1;
	}
}

static enum colo_session_event
late(struct colo_session *s, const char *name)
{
	char text[64];

	snprintf(text, sizeof(text), "no HELLO within %u ms", COLO_SESSION_CALL_MS);
	return dropped(s, COLO_SESSION_tcp_late, name, text);
}

static enum colo_session_event
poll_lobby(struct colo_session *s)
{
	enum colo_session_event event = COLO_SESSION_NOTHING;
	struct colo_visitor gone;

	accept_callers(s);
	while (event == COLO_SESSION_NOTHING &&
		colo_lobby_expire(&s->lobby, s->now_ms, COLO_SESSION_CALL_MS, &gone))
		event = late(s, gone.name);
	if (event != COLO_SESSION_NOTHING)
		return event;
	colo_lobby_look(&s->lobby);
	for (unsigned int i = 0; i < s->lobby.n_ready && event == COLO_SESSION_NOTHING; i++)
		if (call_in(s, s->lobby.ready[i], &event) == CALL_NO_ROOM)
			break;
	return event;
}

/* ---- from a place to a session ---- */

/** Judge what should be a hello. @return 0, or -1 with @p err. */
static int
check_call(struct colo_session *s, const struct colo_message_view *m, struct colo_error *err)
{
	struct colo_error why;

	if (m->type != COLO_MESSAGE_HELLO)
		return colo_error_set(err,
			"wrong message: message of type %u (%s) instead of HELLO", m->type,
			colo_message_name(m->type));
	if (colo_hello_check(m->body, m->length, &s->scratch, &why) == 0)
		return 0;
	return colo_error_set(err, "wrong message: %.400s", why.text);
}

static enum colo_session_event
take_call(struct colo_session *s, struct colo_caller *c, const struct colo_message_view *m)
{
	struct colo_error err;

	if (check_call(s, m, &err) < 0)
		return refuse_and_drop(s, c, COLO_SESSION_tcp_wrong_message, err.text);
	if (s->peer != NULL) {
		*counter(s, COLO_SESSION_tcp_busy) += 1;
		colo_session_refuse_caller(s, c, "busy with another session");
		return COLO_SESSION_NOTHING;
	}
	s->hello = s->scratch;
	c->use = CALLER_PEER;
	s->peer = c;
	colo_session_set_state(s, STATE_GOT_HELLO);
	return COLO_SESSION_HELLO;
}

static enum colo_session_event
poll_waiting(struct colo_session *s, struct colo_caller *c)
{
	struct colo_message_view m;
	bool filled = colo_connection_fill(&c->connection);
	const char *gone = colo_connection_gone(&c->connection);

	switch (colo_connection_next(&c->connection, &m)) {
	case COLO_MESSAGE_READY:
		return take_call(s, c, &m);
	case COLO_MESSAGE_TOO_LONG:
		return refuse_and_drop(s, c, COLO_SESSION_tcp_wrong_message,
			"wrong message: its body is longer than 4096 bytes");
	case COLO_MESSAGE_NONE:
		break;
	}
	if (gone != NULL && !filled)
		return drop_caller(s, c, COLO_SESSION_tcp_closed, gone);
	return COLO_SESSION_NOTHING;
}

static enum colo_session_event
poll_greeting(struct colo_session *s, struct colo_caller *c, unsigned int *steps)
{
	bool worked;
	enum colo_tls_status status;

	if (*steps == 0)
		return COLO_SESSION_NOTHING;
	status = colo_tls_handshake(c->connection.tls, &worked);
	if (worked) {
		*steps -= 1;
		s->turn = (unsigned int)(c - s->caller) + 1; /* the others come first next time */
	}
	switch (status) {
	case COLO_TLS_OK:
		*counter(s, COLO_SESSION_tcp_authenticated) += 1;
		c->use = CALLER_WAITING;
		return poll_waiting(s, c);
	case COLO_TLS_AGAIN:
		break;
	case COLO_TLS_ENDED:
		return drop_caller(s, c, COLO_SESSION_tcp_closed, "connection closed by peer");
	case COLO_TLS_FAILED:
		return drop_caller(s, c, COLO_SESSION_tcp_handshake_failed,
			colo_tls_reason(c->connection.tls));
	}
	return COLO_SESSION_NOTHING;
}

static enum colo_session_event
poll_caller(struct colo_session *s, struct colo_caller *c, unsigned int *steps)
{
	enum colo_session_event event = COLO_SESSION_NOTHING;

	if (c->use == CALLER_LEAVING)
		poll_leaving(s, c);
	else if (c->use == CALLER_GREETING)
		event = poll_greeting(s, c, steps);
	else if (c->use == CALLER_WAITING)
		event = poll_waiting(s, c);
	if (event != COLO_SESSION_NOTHING ||
		(c->use != CALLER_GREETING && c->use != CALLER_WAITING) ||
		s->now_ms - c->came_ms < COLO_SESSION_CALL_MS)
		return event;
	event = late(s, c->name);
	colo_session_close_caller(c);
	return event;
}

/** @return the first thing to be told; what other callers said waits in their buffers. */
enum colo_session_event
colo_session_poll_callers(struct colo_session *s)
{
	enum colo_session_event event = poll_lobby(s);
	unsigned int steps = HANDSHAKE_STEPS, first = s->turn;

	for (unsigned int i = 0; i < COLO_SESSION_CALLERS && event == COLO_SESSION_NOTHING; i++)
		event = poll_caller(s, &s->caller[(first + i) % COLO_SESSION_CALLERS], &steps);
	return event;
}
