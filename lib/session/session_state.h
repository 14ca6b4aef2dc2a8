/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of a session share: its state, its callers, and what each file does. */
#ifndef COLO_SESSION_SESSION_STATE_H
#define COLO_SESSION_SESSION_STATE_H

#include "connection.h"
#include "hello.h"
#include "lobby.h"
#include "session.h"
#include "tls.h"

#define COLO_MESSAGES_PER_POLL 64u /* a talkative peer cannot keep the control core here */

enum colo_session_state {
	STATE_IDLE,	   /* no session; a listening end listens */
	STATE_CONNECTING,  /* primary: TCP, or TLS, is not up yet */
	STATE_CONNECTED,   /* primary: own hello() is due */
	STATE_HELLO_SENT,  /* primary: ACCEPT or REFUSE is due */
	STATE_GOT_ACCEPT,  /* primary: own start() is due */
	STATE_GOT_HELLO,   /* secondary: own accept() or refuse() is due */
	STATE_ACCEPT_SENT, /* secondary: START is due */
	STATE_ON,	   /* both: liveness counts */
};

enum colo_caller_use {
	CALLER_FREE,
	CALLER_GREETING, /* its TLS handshake is under way */
	CALLER_WAITING,	 /* its hello is due */
	CALLER_LEAVING,	 /* it was refused, and may read why */
	CALLER_PEER,	 /* the session's connection */
};

/** An accepted connection that has spoken, or the one that a primary made. */
struct colo_caller {
	enum colo_caller_use use;
	uint64_t came_ms;  /* accepted */
	uint64_t since_ms; /* first looked at, or began to leave */
	char name[COLO_ENDPOINT_TEXT];
	struct colo_connection connection;
};

/** How many lines about dropped callers may still be written. */
struct colo_drop_log {
	uint32_t left;	   /* lines, at once */
	uint64_t given_ms; /* when one was given last */
	uint64_t unsaid;   /* callers dropped without a line since the last one */
};

/** All of it is the control core's, but for the start and the end, which are the main lcore's. */
struct colo_session {
	enum colo_session_state state;
	bool clock_stale; /* state is new: the next poll() sets since_ms and heard_ms */
	uint64_t now_ms;
	uint64_t since_ms; /* begin of the state */
	uint64_t heard_ms; /* last sign of life */
	bool forgiven;	   /* ... and since then once more time was given, for our own standstill */
	uint64_t pinged_ms; /* last PING sent */
	uint32_t timeout_ms;
	int listen_fd;
	struct colo_tls *tls; /* NULL: plain; its owner's, outlives the session */
	/* primary, while connecting */
	int dial_fd; /* an attempt under way; -1: wait for attempt_ms */
	char host[64];
	uint16_t port;
	uint32_t connect_timeout_ms;
	uint64_t attempt_ms;   /* begin of the last attempt */
	uint64_t handshake_ms; /* begin of the last TLS handshake */
	int attempt_code;      /* errno that ended it; 0: no answer yet */

	struct colo_lobby lobby;
	struct colo_caller caller[COLO_SESSION_CALLERS];
	unsigned int turn;	   /* caller whose handshake comes first in the next poll */
	struct colo_caller *peer;  /* the one in use as CALLER_PEER, NULL: none */
	struct colo_hello hello;   /* secondary: peer's; primary: what was sent */
	struct colo_hello scratch; /* a hello being checked: it may be refused */
	struct colo_accept accept; /* primary: peer's */
	struct colo_drop_log drop_log;
	struct colo_session_counters counters;
	struct colo_error reason;
};

/* session.c */

/** Every change of state goes through here. */
void colo_session_set_state(struct colo_session *s, enum colo_session_state state);
void __attribute__((format(printf, 2, 3)))
colo_session_set_reason(struct colo_session *s, const char *format, ...);
/** Best effort: a peer that reads nothing learns nothing. */
void colo_session_put_text(struct colo_caller *c, enum colo_message type, const char *text);
void colo_session_close_caller(struct colo_caller *c);
/** No session any more; what was buffered for the peer is sent if it goes at once. */
void colo_session_end(struct colo_session *s);
/** The session is lost for the reason already set; the peer is told it if it can hear. */
enum colo_session_event colo_session_lost(struct colo_session *s);

/* dial.c: primary, from nothing to a connection */
enum colo_session_event colo_session_poll_dial(struct colo_session *s);
/** Give up an attempt to connect, if one is under way. */
void colo_session_hang_up(struct colo_session *s);

/* callers.c: secondary, from a connection to a hello */
enum colo_session_event colo_session_poll_callers(struct colo_session *s);
void colo_session_refuse_caller(struct colo_session *s, struct colo_caller *c, const char *why);

/* peer.c: both, what the peer says */
enum colo_session_event colo_session_poll_peer(struct colo_session *s);

#endif
