/* SPDX-License-Identifier: BSD-3-Clause */
/* A session and a peer that does not keep to the protocol: plain, and by TLS with the right key. */
#include "ut_rude.h"

static void
silent_caller_is_dropped(void)
{
	struct colo_session *s = new_listening("127.0.0.1");
	struct rude silent = rude_dial(s), honest;
	char byte;

	CU_ASSERT_TRUE(is_quiet(s, 1000));
	/* It does not keep another one from its session. */
	honest = rude_call(s);
	rude_hello(&honest);
	CU_ASSERT_EQUAL(next_event(s, 1000), COLO_SESSION_HELLO);
	CU_ASSERT_TRUE(is_quiet(s, 2999));
	CU_ASSERT_EQUAL(poll_at(s, 3000), COLO_SESSION_DROPPED);
	CU_ASSERT_PTR_NOT_NULL(strstr(colo_session_reason(s), "no HELLO within 2000 ms"));
	CU_ASSERT_EQUAL(recv(silent.fd, &byte, 1, 0), 0);
	CU_ASSERT_TRUE(is_quiet(s, 3000));
	rude_close(&silent);
	rude_close(&honest);
	colo_session_free(s);
}

/* A hello that comes byte by byte is a hello; one that stops half-way is dropped in time. */
static void
slow_callers(void)
{
	struct colo_session *s = new_listening("127.0.0.1");
	struct colo_hello hello = make_hello();
	uint8_t message[4 + COLO_SESSION_BODY_MAX] = {0, COLO_MESSAGE_HELLO};
	size_t length = colo_hello_pack(message + 4, &hello);
	enum colo_session_event event = COLO_SESSION_NOTHING;
	struct rude half = rude_call(s), slow = rude_call(s);

	message[2] = length >> 8;
	message[3] = length & 0xff;
	CU_ASSERT_EQUAL(rude_bytes(&half, message, 20), 20);
	for (size_t i = 0; i < 4 + length; i++) {
		CU_ASSERT_EQUAL(event, COLO_SESSION_NOTHING);
		CU_ASSERT_EQUAL(rude_bytes(&slow, message + i, 1), 1);
		event = poll_at(s, 1000);
	}
	if (event == COLO_SESSION_NOTHING)
		event = next_event(s, 1000);
	CU_ASSERT_EQUAL(event, COLO_SESSION_HELLO);
	CU_ASSERT_EQUAL(next_event(s, 3000), COLO_SESSION_DROPPED);
	rude_close(&half);
	rude_close(&slow);
	colo_session_free(s);
}

static void
wrong_calls(void)
{
	struct colo_session *s = new_listening("127.0.0.1");
	char text[300];
	struct rude r = rude_call(s);

	rude_send(&r, COLO_MESSAGE_PING, "", 0);
	CU_ASSERT_EQUAL(rude_receive(&r, s, 1, text), COLO_MESSAGE_REFUSE);
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "PING"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "instead of HELLO"));
	rude_close(&r);
	r = rude_call(s);
	CU_ASSERT_EQUAL(rude_bytes(&r, "GET / HTTP/1.1\r\n\r\n", 18), 18);
	CU_ASSERT_EQUAL(rude_receive(&r, s, 1, text), COLO_MESSAGE_REFUSE);
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "4096"));
	rude_close(&r);
	r = rude_call(s);
	rude_send(&r, COLO_MESSAGE_HELLO, "\0\7", 2);
	CU_ASSERT_EQUAL(rude_receive(&r, s, 1, text), COLO_MESSAGE_REFUSE);
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "version"));
	rude_close(&r);
	r = rude_call(s);
	rude_close(&r);
	CU_ASSERT_EQUAL(next_event(s, 1), COLO_SESSION_DROPPED);
	colo_session_free(s);
}

/* More callers than there is room for: all get an answer or an end, and room comes back. */
static void
many_callers(void)
{
	struct colo_session *s = new_listening("127.0.0.1");
	struct rude caller[12], last;
	uint64_t now = 1000;

	for (unsigned int i = 0; i < 12; i++)
		caller[i] = rude_dial(s);
	for (; now < 6000; now += 10)
		poll_at(s, now);
	CU_ASSERT_EQUAL(colo_session_counters(s)->n[COLO_SESSION_tcp_accepted], 12);
	CU_ASSERT_EQUAL(colo_session_counters(s)->n[COLO_SESSION_tcp_late], 12);
	last = rude_call(s);
	rude_hello(&last);
	CU_ASSERT_EQUAL(next_event(s, now), COLO_SESSION_HELLO);
	for (unsigned int i = 0; i < 12; i++)
		rude_close(&caller[i]);
	rude_close(&last);
	colo_session_free(s);
}

/* A secondary in a session with a peer that then says @p type with @p body. */
static void
nonsense_in_session(uint16_t type, const void *body, size_t length, const char *names)
{
	struct colo_session *s = new_listening("127.0.0.1");
	struct colo_accept accept = make_accept();
	uint8_t start[16];
	struct rude r = rude_call(s);

	rude_hello(&r);
	CU_ASSERT_EQUAL(next_event(s, 1), COLO_SESSION_HELLO);
	CU_ASSERT_EQUAL(colo_session_accept(s, &accept), 0);
	rude_send(&r, COLO_MESSAGE_START, start, colo_start_pack(start, return_ports, 2));
	CU_ASSERT_EQUAL(next_event(s, 1), COLO_SESSION_STARTED);
	rude_send(&r, type, body, length);
	CU_ASSERT_EQUAL(next_event(s, 1), COLO_SESSION_ABORTED); /* it lives */
	CU_ASSERT_PTR_NOT_NULL(strstr(colo_session_reason(s), names));
	rude_close(&r);
	colo_session_free(s);
}

static void
nonsense(void)
{
	nonsense_in_session(99, "", 0, "type 99");
	nonsense_in_session(0, "", 0, "type 0");
	nonsense_in_session(COLO_MESSAGE_PING, "x", 1, "PING");
	nonsense_in_session(COLO_MESSAGE_BYE, "x", 1, "BYE");
	nonsense_in_session(COLO_MESSAGE_ABORT, "", 0, "ABORT");
	nonsense_in_session(COLO_MESSAGE_GONE, "", 0, "GONE");
	nonsense_in_session(COLO_MESSAGE_REFUSE, "\1x", 2, "REFUSE");
	nonsense_in_session(COLO_MESSAGE_ACCEPT, "", 0, "ACCEPT");
	nonsense_in_session(COLO_MESSAGE_START, "", 0, "START");
	nonsense_in_session(COLO_MESSAGE_HELLO, "", 0, "HELLO");
}

/* An ACCEPT for another number of channels than the hello's. */
static void
wrong_accept(void)
{
	struct colo_session *s = new_session();
	struct colo_hello hello = make_hello();
	struct colo_accept accept = make_accept();
	uint8_t body[COLO_SESSION_BODY_MAX];
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(sa);
	struct colo_error err;
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	enum colo_session_event event = COLO_SESSION_NOTHING;
	struct rude r = {.fd = -1};
	bool worked;

	CU_ASSERT_EQUAL(bind(listener, (struct sockaddr *)&sa, sizeof(sa)), 0);
	CU_ASSERT_EQUAL(listen(listener, 1), 0);
	CU_ASSERT_EQUAL(getsockname(listener, (struct sockaddr *)&sa, &length), 0);
	colo_session_connect(s, "127.0.0.1", ntohs(sa.sin_port), 1000, &err);
	r.fd = accept4(listener, NULL, NULL, 0);
	if (ut_tls != NULL)
		r.tls = colo_tls_stream_new(ut_tls, r.fd, true);
	for (unsigned int i = 0; i < 500 && event == COLO_SESSION_NOTHING; i++) {
		event = poll_at(s, 1);
		if (r.tls != NULL)
			colo_tls_handshake(r.tls, &worked);
		real_pause();
	}
	CU_ASSERT_EQUAL(event, COLO_SESSION_CONNECTED);
	CU_ASSERT_EQUAL(colo_session_hello(s, &hello), 0);
	for (unsigned int i = 0; r.tls != NULL && i < 500 && !colo_tls_is_up(r.tls); i++) {
		colo_tls_handshake(r.tls, &worked);
		real_pause();
	}
	rude_send(&r, COLO_MESSAGE_ACCEPT, body, colo_accept_pack(body, &accept, 3));
	CU_ASSERT_EQUAL(next_event(s, 1), COLO_SESSION_ABORTED);
	CU_ASSERT_PTR_NOT_NULL(strstr(colo_session_reason(s), "ACCEPT"));
	rude_close(&r);
	close(listener);
	colo_session_free(s);
}

static void
end_and_reset(void)
{
	const struct linger reset = {.l_onoff = 1};
	struct both b = make_both("127.0.0.1");
	struct colo_session *s = new_listening("127.0.0.1");
	struct rude r = rude_call(s);

	colo_session_close(b.primary);
	CU_ASSERT_EQUAL(next_event(b.secondary, 1), COLO_SESSION_LOST);
	CU_ASSERT_STRING_EQUAL(colo_session_reason(b.secondary), "connection closed by peer");
	rude_hello(&r);
	CU_ASSERT_EQUAL(next_event(s, 1), COLO_SESSION_HELLO);
	setsockopt(r.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	rude_close(&r);
	CU_ASSERT_EQUAL(next_event(s, 1), COLO_SESSION_LOST);
	CU_ASSERT_PTR_NOT_NULL(strstr(colo_session_reason(s), "closed by peer"));
	colo_session_free(s);
	free_both(&b);
}

/* A peer that sends PING for ever and reads no PONG neither stops nor fills this end. */
static void
flood_of_pings(void)
{
	struct both b = make_both("127.0.0.1");
	struct colo_session *s = new_listening("127.0.0.1");
	struct colo_accept accept = make_accept();
	static uint8_t pings[64 * 1024];
	uint8_t start[16];
	size_t at = 0;
	struct rude r = rude_call(s);

	for (size_t i = 0; i < sizeof(pings); i += 4)
		pings[i + 1] = COLO_MESSAGE_PING;
	rude_hello(&r);
	CU_ASSERT_EQUAL(next_event(s, 1), COLO_SESSION_HELLO);
	CU_ASSERT_EQUAL(colo_session_accept(s, &accept), 0);
	rude_send(&r, COLO_MESSAGE_START, start, colo_start_pack(start, return_ports, 2));
	CU_ASSERT_EQUAL(next_event(s, 1), COLO_SESSION_STARTED);
	for (unsigned int i = 0; i < 20000; i++) {
		/* whole messages only, so a short send must not go on in the middle of one */
		at = (at + rude_bytes(&r, pings + at, sizeof(pings) - at)) % sizeof(pings);
		if (poll_at(s, i) != COLO_SESSION_NOTHING)
			CU_FAIL_FATAL("an event");
	}
	rude_close(&r);
	colo_session_free(s);
	free_both(&b);
}

/* A whole conversation of a primary as bytes. @return its length. */
static size_t
make_conversation(uint8_t *bytes)
{
	struct colo_hello hello = make_hello();
	size_t hello_length = colo_hello_pack(bytes + 4, &hello), at = 4 + hello_length, length;
	const uint8_t ending[] = {
		0, COLO_MESSAGE_PING, 0, 0, 0, COLO_MESSAGE_PONG, 0, 0, 0, COLO_MESSAGE_BYE, 0, 0};

	bytes[0] = 0;
	bytes[1] = COLO_MESSAGE_HELLO;
	bytes[2] = (uint8_t)(hello_length >> 8);
	bytes[3] = (uint8_t)hello_length;
	length = colo_start_pack(bytes + at + 4, return_ports, 2);
	bytes[at] = 0;
	bytes[at + 1] = COLO_MESSAGE_START;
	bytes[at + 2] = 0;
	bytes[at + 3] = (uint8_t)length;
	at += 4 + length;
	memcpy(bytes + at, ending, sizeof(ending));
	return at + sizeof(ending);
}

/* Callers that were of no use; not every one of them is an event. */
static uint64_t
dropped_so_far(const struct colo_session *s)
{
	const uint64_t *n = colo_session_counters(s)->n;

	return n[COLO_SESSION_tcp_wrong_message] + n[COLO_SESSION_tcp_wrong_mode] +
	       n[COLO_SESSION_tcp_late] + n[COLO_SESSION_tcp_closed];
}

/* Each byte of a conversation changed in turn: an event, or none, and the next one is served. */
static void
damaged_conversations(void)
{
	struct colo_session *s = new_listening("127.0.0.1");
	struct colo_accept accept = make_accept();
	uint8_t bytes[COLO_SESSION_BODY_MAX];
	size_t length = make_conversation(bytes);
	unsigned int ended_well = 0;
	uint64_t now = 1000;

	for (size_t at = 0; at <= length; at++) {
		struct rude r = rude_call(s);
		bool over = false;
		uint64_t dropped = dropped_so_far(s);

		bytes[at] ^= at < length ? 0x41 : 0; /* the last round is undamaged */
		CU_ASSERT_EQUAL(rude_bytes(&r, bytes, length), length);
		bytes[at] ^= at < length ? 0x41 : 0;
		for (unsigned int i = 0; i < 300 && !over; i++) {
			enum colo_session_event event = poll_at(s, now);

			if (event == COLO_SESSION_HELLO)
				colo_session_accept(s, &accept);
			over = event == COLO_SESSION_BYE || event == COLO_SESSION_LOST ||
			       event == COLO_SESSION_ABORTED || dropped_so_far(s) != dropped;
			ended_well += event == COLO_SESSION_BYE;
			now += i > 20 ? 500 : 0; /* a length that promises more: its deadline */
		}
		CU_ASSERT_TRUE(over);
		rude_close(&r);
		now += COLO_SESSION_LINGER_MS;
		poll_at(s, now);
	}
	/* an undamaged one, and those whose damaged field may hold anything (MAC, IP, ports, ...)
	 */
	CU_ASSERT(ended_well >= 10 && ended_well <= length * 2 / 3);
	colo_session_free(s);
}

int
main(void)
{
	static const struct ut_case cases[] = {
		{"a silent caller is dropped and blocks nobody", silent_caller_is_dropped},
		{"slow callers", slow_callers},
		{"wrong calls", wrong_calls},
		{"more callers than room", many_callers},
		{"nonsense in a session", nonsense},
		{"a wrong accept", wrong_accept},
		{"connection closed, connection reset", end_and_reset},
		{"a flood of pings", flood_of_pings},
		{"damaged conversations", damaged_conversations},
	};
	int failed = UT_RUN("rude peers", cases);

	ut_tls = ut_make_tls(UT_KEY);
	failed |= UT_RUN("rude peers over TLS", cases);
	colo_tls_free(ut_tls);
	return failed;
}
