/* SPDX-License-Identifier: BSD-3-Clause */
/* callers.c, lobby.c: floods of callers without the key, and a primary that comes through. */
#include <rte_common.h>

#include "lobby.h"
#include "ut_rude.h"

#define FLOOD 600u /* more than the lobby has places */

static struct rude flood_of[FLOOD];

static uint64_t
count(const struct colo_session *s, enum colo_session_counter i)
{
	return colo_session_counters(s)->n[i];
}

/* A ClientHello with the key, as recorded off the wire. @return its length. */
static size_t
record_hello(uint8_t *bytes, size_t size)
{
	struct colo_tls_stream *client;
	ssize_t length;
	bool worked;
	int fd[2];

	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	client = colo_tls_stream_new(ut_tls, fd[0], false);
	colo_tls_handshake(client, &worked);
	length = read(fd[1], bytes, size);
	CU_ASSERT_FATAL(length > 0);
	colo_tls_stream_free(client);
	close(fd[0]);
	close(fd[1]);
	return (size_t)length;
}

/* A primary gets its session within @p limit_ms of the session's clock; @return when. */
static uint64_t
comes_through(struct colo_session *s, uint64_t now, uint64_t limit_ms)
{
	struct colo_session *primary = new_session();
	struct colo_hello hello = make_hello();
	enum colo_session_event event = COLO_SESSION_NOTHING;
	uint64_t begin = now;
	struct colo_error err;

	CU_ASSERT_EQUAL(
		colo_session_connect(primary, "127.0.0.1", colo_session_port(s), 5000, &err), 0);
	for (; now < begin + limit_ms && event != COLO_SESSION_HELLO; now++) {
		if (colo_session_poll(primary, now) == COLO_SESSION_CONNECTED)
			CU_ASSERT_EQUAL(colo_session_hello(primary, &hello), 0);
		event = poll_at(s, now);
		real_pause();
	}
	CU_ASSERT_EQUAL(event, COLO_SESSION_HELLO);
	colo_session_free(primary);
	return now;
}

static void
dial_many(struct colo_session *s, struct rude *r, unsigned int n, const void *bytes, size_t length)
{
	for (unsigned int i = 0; i < n; i++) {
		r[i] = rude_dial(s);
		if (length > 0)
			send(r[i].fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (i % 50 == 49) /* the kernel's queue has 128 places */
			poll_at(s, ut_now_ms);
	}
	poll_at(s, ut_now_ms);
}

static void
close_many(struct rude *r, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		rude_close(&r[i]);
}

/* Silent ones: the oldest goes, and the primary is served at once. */
static void
silent_flood(void)
{
	struct rude *flood = flood_of;
	struct colo_session *s = new_listening("127.0.0.1");

	ut_now_ms = 1000;
	dial_many(s, flood, FLOOD, NULL, 0);
	CU_ASSERT_EQUAL(count(s, COLO_SESSION_tcp_accepted), FLOOD);
	CU_ASSERT_EQUAL(count(s, COLO_SESSION_tcp_evicted), FLOOD - COLO_LOBBY_PLACES);
	CU_ASSERT(comes_through(s, 1000, 200) < 1200);
	CU_ASSERT_EQUAL(count(s, COLO_SESSION_tcp_late), 0);
	close_many(flood, FLOOD);
	colo_session_free(s);
}

/* A byte each, then silence: by TLS they do not get a place for it. */
static void
one_byte_flood(void)
{
	struct rude *flood = flood_of;
	struct colo_session *s;
	const uint8_t first = COLO_TLS_FIRST_BYTE;

	if (ut_tls == NULL)
		return;
	s = new_listening("127.0.0.1");
	ut_now_ms = 1000;
	dial_many(s, flood, FLOOD, &first, 1);
	CU_ASSERT_EQUAL(count(s, COLO_SESSION_tcp_evicted), FLOOD - COLO_LOBBY_PLACES);
	CU_ASSERT(comes_through(s, 1000, 200) < 1200);
	close_many(flood, FLOOD);
	colo_session_free(s);
}

/* Who has begun, and goes on no further, keeps a place for a while; the oldest gives it back. */
static void
places_come_back(void)
{
	struct rude flood[3 * COLO_SESSION_CALLERS];
	struct colo_session *s = new_listening("127.0.0.1");
	uint8_t bytes[1024] = {0};
	size_t length = ut_tls != NULL ? record_hello(bytes, sizeof(bytes)) : 1;

	ut_now_ms = 1000;
	dial_many(s, flood, 3 * COLO_SESSION_CALLERS, bytes, length);
	/* eight are served; they keep their places so long, and not longer */
	poll_at(s, 1000 + COLO_SESSION_GRACE_MS - 1);
	CU_ASSERT_EQUAL(count(s, COLO_SESSION_tcp_evicted), 0);
	poll_at(s, 1000 + COLO_SESSION_GRACE_MS);
	CU_ASSERT_EQUAL(count(s, COLO_SESSION_tcp_evicted), COLO_SESSION_CALLERS);
	CU_ASSERT(comes_through(s, 1000 + COLO_SESSION_GRACE_MS, 1000) <
		  1000 + 4 * COLO_SESSION_GRACE_MS);
	close_many(flood, 3 * COLO_SESSION_CALLERS);
	colo_session_free(s);
}

/* First records at and beyond the limit, in pieces, and broken off. */
static void
first_records(void)
{
	static const struct {
		uint16_t promised, sent;
		bool hangs_up;
		enum colo_session_counter counts;
	} cases[] = {
		{2048, 2048, false, COLO_SESSION_tcp_handshake_failed},
		{2049, 10, false, COLO_SESSION_tcp_handshake_failed},
		{0, 10, false, COLO_SESSION_tcp_handshake_failed},
		{2048, 2047, true, COLO_SESSION_tcp_closed},
		{2048, 0, true, COLO_SESSION_tcp_closed},
		{2048, 2047, false, COLO_SESSION_tcp_late},
		{2048, 0, false, COLO_SESSION_tcp_late},
	};
	uint8_t record[5 + 2048] = {COLO_TLS_FIRST_BYTE, 3, 1};

	for (unsigned int i = 0; ut_tls != NULL && i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct colo_session *s = new_listening("127.0.0.1");
		struct rude r = rude_dial(s);

		record[3] = cases[i].promised >> 8;
		record[4] = cases[i].promised & 0xff;
		for (size_t at = 0; at < 5u + cases[i].sent; at += 512) {
			poll_at(s, 1000);
			send(r.fd, record + at, RTE_MIN(512u, 5u + cases[i].sent - at),
				MSG_NOSIGNAL);
		}
		if (cases[i].hangs_up)
			shutdown(r.fd, SHUT_WR);
		is_quiet(s, 1000);
		is_quiet(s, 1000 + COLO_SESSION_CALL_MS);
		CU_ASSERT_EQUAL(count(s, cases[i].counts), 1);
		rude_close(&r);
		colo_session_free(s);
	}
}

/* What was recorded of a primary: each makes the server work, none becomes a session. */
static void
replay_flood(void)
{
	struct rude flood[40];
	struct colo_session *s;
	uint8_t hello[1024];
	size_t length;

	if (ut_tls == NULL)
		return; /* without TLS a recorded HELLO is a HELLO */
	s = new_listening("127.0.0.1");
	length = record_hello(hello, sizeof(hello));
	ut_now_ms = 1000;
	dial_many(s, flood, 40, hello, length);
	CU_ASSERT(comes_through(s, 1000, 2000) < 3000);
	CU_ASSERT_EQUAL(count(s, COLO_SESSION_tcp_authenticated), 1);
	close_many(flood, 40);
	colo_session_free(s);
}

/* At most one handshake step a poll, whoever asks. */
static void
one_step_a_poll(void)
{
	struct rude flood[COLO_SESSION_CALLERS];
	struct colo_session *s;
	unsigned int answered, before = 0;
	uint8_t hello[1024], byte;
	size_t length;

	if (ut_tls == NULL)
		return;
	s = new_listening("127.0.0.1");
	length = record_hello(hello, sizeof(hello));
	ut_now_ms = 1000;
	for (unsigned int i = 0; i < COLO_SESSION_CALLERS; i++) {
		flood[i] = rude_dial(s);
		CU_ASSERT_EQUAL(send(flood[i].fd, hello, length, 0), (ssize_t)length);
	}
	for (unsigned int turn = 1; turn <= COLO_SESSION_CALLERS; turn++) {
		poll_at(s, 1000);
		real_pause();
		answered = 0;
		for (unsigned int i = 0; i < COLO_SESSION_CALLERS; i++)
			answered += recv(flood[i].fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
		CU_ASSERT(answered <= before + 1);
		before = answered;
	}
	/* and nobody waits for more than his turn */
	CU_ASSERT_EQUAL(before, COLO_SESSION_CALLERS);
	close_many(flood, COLO_SESSION_CALLERS);
	colo_session_free(s);
}

/* Who has shown the key is not pushed out while his HELLO is due. */
static void
key_holders_stay(void)
{
	struct rude flood[100], holder;
	struct colo_session *s;
	uint8_t hello[1024];
	size_t length;

	if (ut_tls == NULL)
		return;
	s = new_listening("127.0.0.1");
	length = record_hello(hello, sizeof(hello));
	holder = rude_call(s);
	poll_at(s, 2);
	CU_ASSERT_EQUAL(count(s, COLO_SESSION_tcp_authenticated), 1);
	dial_many(s, flood, 100, hello, length);
	for (uint64_t now = 2; now < 1000; now += 10)
		poll_at(s, now);
	CU_ASSERT_EQUAL(count(s, COLO_SESSION_tcp_evicted), 100 - (COLO_SESSION_CALLERS - 1));
	rude_hello(&holder);
	CU_ASSERT_EQUAL(next_event(s, 1000), COLO_SESSION_HELLO);
	rude_close(&holder);
	close_many(flood, 100);
	colo_session_free(s);
}

/* A session that is on notices nothing of a flood. */
static void
session_goes_on(void)
{
	struct rude *flood = flood_of;
	struct both b = make_both("127.0.0.1");
	const uint8_t first = ut_tls != NULL ? COLO_TLS_FIRST_BYTE : 0;

	colo_session_set_timeout(b.primary, 200);
	colo_session_set_timeout(b.secondary, 200);
	dial_many(b.secondary, flood, FLOOD, &first, 1);
	for (uint64_t now = 1; now < 3000; now += 10) {
		enum colo_session_event event = poll_at(b.secondary, now);

		CU_ASSERT(event == COLO_SESSION_NOTHING || event == COLO_SESSION_DROPPED);
		CU_ASSERT_EQUAL(colo_session_poll(b.primary, now), COLO_SESSION_NOTHING);
	}
	CU_ASSERT_EQUAL(count(b.secondary, COLO_SESSION_tcp_evicted) +
				count(b.secondary, COLO_SESSION_tcp_late),
		FLOOD);
	close_many(flood, FLOOD);
	free_both(&b);
}

/* Lines: ten at once, then one a second, which says how many were left out. */
static void
lines_are_few(void)
{
	struct colo_session *s = new_listening("127.0.0.1");
	unsigned int lines = 0;
	struct rude r;

	for (unsigned int i = 0; i < 300; i++) { /* one each 10 ms, for 3 s */
		r = rude_dial(s);
		rude_close(&r);
		lines += poll_at(s, 100000 + 10 * i) == COLO_SESSION_DROPPED;
	}
	CU_ASSERT_EQUAL(count(s, COLO_SESSION_tcp_closed), 300);
	CU_ASSERT_EQUAL(lines, 10 + 2);
	CU_ASSERT_PTR_NOT_NULL(strstr(colo_session_reason(s), "99 more were dropped"));
	/* after a quiet while there are ten again */
	for (unsigned int i = 0; i < 20; i++) {
		r = rude_dial(s);
		rude_close(&r);
		lines += poll_at(s, 200000 + i) == COLO_SESSION_DROPPED;
	}
	CU_ASSERT_EQUAL(lines, 10 + 2 + 10);
	colo_session_free(s);
}

/* The total from accept to a whole HELLO is limited, however busily somebody writes. */
static void
slow_writer(void)
{
	struct colo_session *s = new_listening("127.0.0.1");
	uint8_t bytes[1024] = {0, COLO_MESSAGE_HELLO, 4};
	size_t length = ut_tls != NULL ? record_hello(bytes, sizeof(bytes)) : sizeof(bytes);
	struct rude r = rude_dial(s);
	uint64_t now = 1000;

	poll_at(s, now);
	for (size_t i = 0; now < 1000 + COLO_SESSION_CALL_MS - 10; i++, now += 10) {
		send(r.fd, bytes + i % length, i < length ? 1 : 0, MSG_NOSIGNAL);
		CU_ASSERT_EQUAL(poll_at(s, now), COLO_SESSION_NOTHING);
	}
	CU_ASSERT_EQUAL(poll_at(s, 1000 + COLO_SESSION_CALL_MS - 1), COLO_SESSION_NOTHING);
	CU_ASSERT_EQUAL(poll_at(s, 1000 + COLO_SESSION_CALL_MS), COLO_SESSION_DROPPED);
	CU_ASSERT_EQUAL(count(s, COLO_SESSION_tcp_late), 1);
	rude_close(&r);
	colo_session_free(s);
}

/* A hello of a caller who has not shown the key changes nothing. */
static void
hello_without_key(void)
{
	struct colo_session *s;
	struct colo_hello hello = make_hello();
	uint8_t body[COLO_SESSION_BODY_MAX];
	struct rude plain;

	if (ut_tls == NULL)
		return;
	s = new_listening("127.0.0.1");
	plain = rude_dial(s); /* no TLS */
	hello.session = 99;
	rude_send(&plain, COLO_MESSAGE_HELLO, body, colo_hello_pack(body, &hello));
	CU_ASSERT_EQUAL(next_event(s, 1), COLO_SESSION_DROPPED);
	CU_ASSERT_EQUAL(count(s, COLO_SESSION_tcp_wrong_mode), 1);
	CU_ASSERT_NOT_EQUAL(colo_session_peer_hello(s)->session, 99);
	rude_close(&plain);
	colo_session_free(s);
}

/* ---- the lobby by itself ---- */

static struct colo_lobby l;

static void
lobby(void)
{
	struct colo_visitor v;
	int fd[COLO_LOBBY_PLACES + 1][2];

	colo_lobby_init(&l);
	colo_lobby_look(&l);
	CU_ASSERT_EQUAL(l.n_ready, 0);
	CU_ASSERT_FALSE(colo_lobby_expire(&l, 100000, 0, &v));
	for (unsigned int i = 0; i <= COLO_LOBBY_PLACES; i++) {
		CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM, 0, fd[i]), 0);
		/* the last one takes the place of the first */
		CU_ASSERT_EQUAL(colo_lobby_enter(&l, fd[i][0], "x", 1, i), i < COLO_LOBBY_PLACES);
	}
	CU_ASSERT_EQUAL(send(fd[0][1], "x", 1, MSG_NOSIGNAL), -1);
	colo_lobby_look(&l);
	CU_ASSERT_EQUAL(l.n_ready, 0);
	CU_ASSERT_EQUAL(send(fd[9][1], "x", 1, 0), 1);
	close(fd[5][1]);
	colo_lobby_look(&l);
	CU_ASSERT_EQUAL(l.n_ready, 2);
	v = colo_lobby_leave(&l, l.ready[0]);
	CU_ASSERT_EQUAL(v.fd, fd[5][0]);
	CU_ASSERT_EQUAL(v.since_ms, 5);
	close(v.fd);
	v = colo_lobby_leave(&l, l.ready[1]);
	CU_ASSERT_EQUAL(v.fd, fd[9][0]);
	close(v.fd);
	CU_ASSERT_FALSE(colo_lobby_expire(&l, 100, 100, &v)); /* the oldest came at 1 */
	CU_ASSERT_TRUE(colo_lobby_expire(&l, 101, 100, &v));
	CU_ASSERT_EQUAL(v.since_ms, 1);
	for (unsigned int i = 2; i <= COLO_LOBBY_PLACES; i++)
		CU_ASSERT_EQUAL(colo_lobby_expire(&l, 1000, 0, &v), i <= COLO_LOBBY_PLACES - 2);
	CU_ASSERT_EQUAL(l.n, 0);
	for (unsigned int i = 0; i <= COLO_LOBBY_PLACES; i++)
		if (i != 5)
			close(fd[i][1]);
	colo_lobby_close(&l);
}

int
main(void)
{
	static const struct ut_case cases[] = {
		{"a flood of silent callers", silent_flood},
		{"a flood of callers of one byte", one_byte_flood},
		{"places come back", places_come_back},
		{"first records", first_records},
		{"a flood of recorded hellos", replay_flood},
		{"one handshake step a poll", one_step_a_poll},
		{"who has shown the key stays", key_holders_stay},
		{"a session goes on under a flood", session_goes_on},
		{"lines about callers are few", lines_are_few},
		{"a slow writer", slow_writer},
		{"a hello without the key", hello_without_key},
		{"lobby", lobby},
	};
	int failed = UT_RUN("callers", cases);

	ut_tls = ut_make_tls(UT_KEY);
	failed |= UT_RUN("callers over TLS", cases);
	colo_tls_free(ut_tls);
	return failed;
}
