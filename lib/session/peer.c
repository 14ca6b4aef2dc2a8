/* SPDX-License-Identifier: BSD-3-Clause */
/* What the session's peer says, and whether it says it in time. */
#include <inttypes.h>
#include <stdio.h>

#include "session_state.h"

/* Whoever speaks lives, whatever it says. */
static enum colo_session_event
wrong(struct colo_session *s, const char *what)
{
	colo_session_set_reason(s, "wrong message from peer: %s", what);
	(void)colo_session_lost(s);
	return COLO_SESSION_ABORTED;
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
	colo_session_set_state(s, STATE_GOT_ACCEPT);
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
	colo_session_set_state(s, STATE_ON);
	return COLO_SESSION_STARTED;
}

/** REFUSE, ABORT and GONE: the end of the session, for a reason that the peer gives. */
static enum colo_session_event
take_end(struct colo_session *s, const struct colo_message_view *m, enum colo_session_event event)
{
	char text[COLO_SESSION_REASON_MAX + 1];
	struct colo_error err;

	if (event == COLO_SESSION_REFUSED && s->state != STATE_CONNECTED &&
		s->state != STATE_HELLO_SENT)
		return wrong_time(s, m);
	/* only a primary has a guest; HELLO is what makes one */
	if (event == COLO_SESSION_GONE && s->listen_fd < 0)
		return wrong_time(s, m);
	if (colo_text_check(m->body, m->length, colo_message_name(m->type), text, &err) < 0)
		return wrong(s, err.text);
	colo_session_set_reason(s, "%s", text);
	colo_session_end(s);
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
		colo_session_set_reason(s, "peer ended the session");
		colo_session_end(s);
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
	case COLO_MESSAGE_GONE:
		return take_end(s, m, COLO_SESSION_GONE);
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

	for (unsigned int i = 0; i < COLO_MESSAGES_PER_POLL; i++) {
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
				s->forgiven = false;
				break;
			}
			if (colo_connection_gone(c) == NULL)
				return COLO_SESSION_NOTHING;
			colo_session_set_reason(s, "%s", colo_connection_gone(c));
			return colo_session_lost(s);
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
		colo_session_set_reason(
			s, "no answer to HELLO within %u ms", COLO_SESSION_ANSWER_MS);
	else if (s->state == STATE_ACCEPT_SENT && waited >= COLO_SESSION_ANSWER_MS)
		colo_session_set_reason(s, "no START within %u ms", COLO_SESSION_ANSWER_MS);
	else if (s->state == STATE_ON && s->now_ms - s->heard_ms >= s->timeout_ms)
		colo_session_set_reason(
			s, "no sign of life for %" PRIu64 " ms", s->now_ms - s->heard_ms);
	else
		return COLO_SESSION_NOTHING;
	return colo_session_lost(s);
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

enum colo_session_event
colo_session_poll_peer(struct colo_session *s)
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
