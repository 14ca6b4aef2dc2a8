/* SPDX-License-Identifier: BSD-3-Clause */
/* session.c: two sessions, or one and a rude peer, over loopback, on a clock of the test's own. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "hello.h"
#include "session.h"
#include "ut.h"

static void
real_pause(void)
{
	const struct timespec ms = {.tv_nsec = 1000000};

	nanosleep(&ms, NULL);
}

static struct colo_session *
new_session(void)
{
	struct colo_error err;
	struct colo_session *s = colo_session_new(&err);

	CU_ASSERT_PTR_NOT_NULL_FATAL(s);
	return s;
}

static struct colo_session *
new_listening(const char *host)
{
	struct colo_session *s = new_session();
	struct colo_error err;

	CU_ASSERT_EQUAL_FATAL(colo_session_listen(s, host, 0, &err), 0);
	CU_ASSERT_NOT_EQUAL_FATAL(colo_session_port(s), 0);
	return s;
}

/* Poll until something happens; the session's clock stands, the kernel has half a second. */
static enum colo_session_event
next_event(struct colo_session *s, uint64_t now_ms)
{
	for (unsigned int i = 0; i < 500; i++) {
		enum colo_session_event event = colo_session_poll(s, now_ms);

		if (event != COLO_SESSION_NOTHING)
			return event;
		real_pause();
	}
	return COLO_SESSION_NOTHING;
}

/* Nothing happens for some real milliseconds. */
static bool
is_quiet(struct colo_session *s, uint64_t now_ms)
{
	for (unsigned int i = 0; i < 10; i++) {
		if (colo_session_poll(s, now_ms) != COLO_SESSION_NOTHING)
			return false;
		real_pause();
	}
	return true;
}

static struct colo_hello
make_hello(void)
{
	struct colo_hello h = {
		.session = 77,
		.mtu = 4200,
		.n_channels = 2,
		.n_blocks = 1,
		.peer_timeout_ms = 1000,
		.hold_ms = 1000,
		.block = {{"pc.ram", 1u << 20}},
		.address = {.ip_version = 4, .ip = {10, 0, 0, 1}, .source_port = 1},
	};

	return h;
}

static struct colo_accept
make_accept(void)
{
	struct colo_accept a = {
		.window = 256,
		.address = {.ip_version = 4,
			.ip = {10, 0, 0, 2},
			.source_port = 1,
			.channel_port = {5, 6}},
	};

	return a;
}

struct both {
	struct colo_session *primary, *secondary;
};

static const uint16_t return_ports[2] = {7, 8};

/* Up to and with START; every event is checked on the way. */
static struct both
make_both(const char *host)
{
	struct both b = {.primary = new_session(), .secondary = new_listening(host)};
	struct colo_hello hello = make_hello();
	struct colo_accept accept = make_accept();
	struct colo_error err;

	CU_ASSERT_EQUAL(
		colo_session_connect(b.primary, host, colo_session_port(b.secondary), 1000, &err),
		0);
	CU_ASSERT_EQUAL_FATAL(next_event(b.primary, 1), COLO_SESSION_CONNECTED);
	CU_ASSERT_EQUAL(colo_session_hello(b.primary, &hello), 0);
	CU_ASSERT_EQUAL_FATAL(next_event(b.secondary, 1), COLO_SESSION_HELLO);
	CU_ASSERT_EQUAL(colo_session_peer_hello(b.secondary)->session, 77);
	CU_ASSERT_EQUAL(colo_session_accept(b.secondary, &accept), 0);
	CU_ASSERT_EQUAL_FATAL(next_event(b.primary, 1), COLO_SESSION_ACCEPTED);
	CU_ASSERT_EQUAL(colo_session_peer_accept(b.primary)->address.channel_port[1], 6);
	CU_ASSERT_EQUAL(colo_session_start(b.primary, return_ports, 2), 0);
	CU_ASSERT_EQUAL_FATAL(next_event(b.secondary, 1), COLO_SESSION_STARTED);
	CU_ASSERT_EQUAL(colo_session_peer_hello(b.secondary)->address.channel_port[1], 8);
	return b;
}

static void
free_both(struct both *b)
{
	colo_session_free(b->primary);
	colo_session_free(b->secondary);
}

static void
whole_session(const char *host)
{
	struct both b = make_both(host);

	colo_session_bye(b.primary);
	CU_ASSERT_EQUAL(next_event(b.secondary, 1), COLO_SESSION_BYE);
	CU_ASSERT_TRUE(is_quiet(b.primary, 1));
	free_both(&b);
}

static void
whole_session_ipv4(void)
{
	whole_session("127.0.0.1");
}

static void
whole_session_ipv6(void)
{
	whole_session("::1");
}

/* The same two objects, several sessions: a listening end listens on. */
static void
sessions_one_after_another(void)
{
	struct both b = make_both("127.0.0.1");
	struct colo_hello hello = make_hello();
	struct colo_error err;

	for (uint32_t i = 0; i < 20; i++) {
		colo_session_abort(b.primary, "enough");
		CU_ASSERT_EQUAL(next_event(b.secondary, 1), COLO_SESSION_ABORTED);
		CU_ASSERT_STRING_EQUAL(colo_session_reason(b.secondary), "enough");
		CU_ASSERT_EQUAL(colo_session_connect(b.primary, "127.0.0.1",
					colo_session_port(b.secondary), 1000, &err),
			0);
		CU_ASSERT_EQUAL(next_event(b.primary, 1), COLO_SESSION_CONNECTED);
		hello.session = 100 + i;
		CU_ASSERT_EQUAL(colo_session_hello(b.primary, &hello), 0);
		CU_ASSERT_EQUAL(next_event(b.secondary, 1), COLO_SESSION_HELLO);
		CU_ASSERT_EQUAL(colo_session_peer_hello(b.secondary)->session, 100 + i);
	}
	free_both(&b);
}

static void
refused(void)
{
	struct both b = {.primary = new_session(), .secondary = new_listening("127.0.0.1")};
	struct colo_hello hello = make_hello();
	struct colo_error err;

	colo_session_connect(b.primary, "127.0.0.1", colo_session_port(b.secondary), 1000, &err);
	CU_ASSERT_EQUAL(next_event(b.primary, 1), COLO_SESSION_CONNECTED);
	colo_session_hello(b.primary, &hello);
	CU_ASSERT_EQUAL(next_event(b.secondary, 1), COLO_SESSION_HELLO);
	CU_ASSERT_EQUAL(colo_session_refuse(b.secondary, "block pc.ram is unknown"), 0);
	CU_ASSERT_EQUAL(next_event(b.primary, 1), COLO_SESSION_REFUSED);
	CU_ASSERT_STRING_EQUAL(colo_session_reason(b.primary), "block pc.ram is unknown");
	CU_ASSERT_TRUE(is_quiet(b.secondary, 1));
	free_both(&b);
}

static void
second_caller_is_refused(void)
{
	struct both b = make_both("127.0.0.1");
	struct colo_session *second = new_session();
	struct colo_hello hello = make_hello();
	struct colo_error err;
	enum colo_session_event event = COLO_SESSION_NOTHING;

	colo_session_connect(second, "127.0.0.1", colo_session_port(b.secondary), 1000, &err);
	for (unsigned int i = 0; i < 500 && event != COLO_SESSION_REFUSED; i++) {
		event = colo_session_poll(second, 1);
		if (event == COLO_SESSION_CONNECTED)
			CU_ASSERT_EQUAL(colo_session_hello(second, &hello), 0);
		CU_ASSERT_EQUAL(colo_session_poll(b.secondary, 1), COLO_SESSION_NOTHING);
		real_pause();
	}
	CU_ASSERT_EQUAL(event, COLO_SESSION_REFUSED);
	CU_ASSERT_STRING_EQUAL(colo_session_reason(second), "busy with another session");
	CU_ASSERT_TRUE(is_quiet(b.primary, 1));
	CU_ASSERT_TRUE(is_quiet(b.secondary, 1));
	colo_session_free(second);
	free_both(&b);
}

static void
liveness(void)
{
	struct both b = make_both("127.0.0.1");
	char wanted[64];

	colo_session_set_timeout(b.primary, 200);
	colo_session_set_timeout(b.secondary, 200);
	/* Two that poll stay together for ever. */
	for (uint64_t now = 1; now < 2000; now += 10) {
		CU_ASSERT_EQUAL(colo_session_poll(b.primary, now), COLO_SESSION_NOTHING);
		CU_ASSERT_EQUAL(colo_session_poll(b.secondary, now), COLO_SESSION_NOTHING);
	}
	/* What has arrived counts, however late this end looks. */
	CU_ASSERT_EQUAL(colo_session_poll(b.secondary, 2050), COLO_SESSION_NOTHING);
	real_pause();
	CU_ASSERT_EQUAL(colo_session_poll(b.primary, 5000), COLO_SESSION_NOTHING);
	/* Now the secondary stands still. */
	CU_ASSERT_EQUAL(colo_session_poll(b.primary, 5199), COLO_SESSION_NOTHING);
	CU_ASSERT_EQUAL(colo_session_poll(b.primary, 5200), COLO_SESSION_LOST);
	snprintf(wanted, sizeof(wanted), "no sign of life for %u ms", 200);
	CU_ASSERT_STRING_EQUAL(colo_session_reason(b.primary), wanted);
	CU_ASSERT_EQUAL(next_event(b.secondary, 5200), COLO_SESSION_ABORTED);
	free_both(&b);
}

static void
connect_is_retried(void)
{
	struct colo_session *s = new_session(), *late;
	struct colo_session *holder = new_listening("127.0.0.1");
	uint16_t port = colo_session_port(holder);
	struct colo_error err;

	colo_session_free(holder);
	CU_ASSERT_EQUAL(colo_session_connect(s, "127.0.0.1", port, 500, &err), 0);
	CU_ASSERT_TRUE(is_quiet(s, 1000));
	CU_ASSERT_TRUE(is_quiet(s, 1499));
	CU_ASSERT_EQUAL(colo_session_poll(s, 1500), COLO_SESSION_LOST);
	CU_ASSERT_PTR_NOT_NULL(strstr(colo_session_reason(s), "Connection refused"));
	CU_ASSERT_PTR_NOT_NULL(strstr(colo_session_reason(s), "500 ms"));

	late = new_session();
	CU_ASSERT_EQUAL(colo_session_connect(s, "127.0.0.1", port, 500, &err), 0);
	CU_ASSERT_TRUE(is_quiet(s, 2000));
	CU_ASSERT_EQUAL(colo_session_listen(late, "127.0.0.1", port, &err), 0);
	CU_ASSERT_TRUE(is_quiet(s, 2099)); /* not earlier than 100 ms after the last attempt */
	CU_ASSERT_EQUAL(next_event(s, 2100), COLO_SESSION_CONNECTED);
	colo_session_free(late);
	colo_session_free(s);
}

/* ---- a peer that does not keep to the protocol ---- */

static int
rude_call(struct colo_session *s)
{
	struct sockaddr_in sa = {.sin_family = AF_INET,
		.sin_port = htons(colo_session_port(s)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct timeval limit = {.tv_sec = 2};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	CU_ASSERT_EQUAL_FATAL(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	return fd;
}

static void
rude_send(int fd, uint16_t type, const void *body, size_t length)
{
	uint8_t message[4 + COLO_SESSION_BODY_MAX] = {
		type >> 8, type & 0xff, length >> 8, length & 0xff};

	memcpy(message + 4, body, length);
	CU_ASSERT_EQUAL(send(fd, message, 4 + length, MSG_NOSIGNAL), (ssize_t)(4 + length));
}

static void
rude_hello(int fd)
{
	struct colo_hello hello = make_hello();
	uint8_t body[COLO_SESSION_BODY_MAX];

	rude_send(fd, COLO_MESSAGE_HELLO, body, colo_hello_pack(body, &hello));
}

static int
rude_receive(int fd, struct colo_session *s, uint64_t now, char *text)
{
	uint8_t got[300];
	ssize_t n = 0;

	for (unsigned int i = 0; i < 500 && n <= 0; i++) {
		colo_session_poll(s, now);
		n = recv(fd, got, sizeof(got) - 1, MSG_DONTWAIT);
		real_pause();
	}
	if (n < 4)
		return -1;
	got[n] = '\0';
	snprintf(text, sizeof(got), "%s", n > 5 ? (char *)got + 5 : "");
	return got[0] << 8 | got[1];
}

static void
silent_caller_is_dropped(void)
{
	struct colo_session *s = new_listening("127.0.0.1");
	int silent = rude_call(s), honest;
	char byte;

	CU_ASSERT_TRUE(is_quiet(s, 1000));
	/* It does not keep another one from its session. */
	honest = rude_call(s);
	rude_hello(honest);
	CU_ASSERT_EQUAL(next_event(s, 1000), COLO_SESSION_HELLO);
	CU_ASSERT_TRUE(is_quiet(s, 2999));
	CU_ASSERT_EQUAL(colo_session_poll(s, 3000), COLO_SESSION_DROPPED);
	CU_ASSERT_PTR_NOT_NULL(strstr(colo_session_reason(s), "no HELLO within 2000 ms"));
	CU_ASSERT_EQUAL(recv(silent, &byte, 1, 0), 0);
	CU_ASSERT_TRUE(is_quiet(s, 3000));
	close(silent);
	close(honest);
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
	int half = rude_call(s), slow = rude_call(s);

	message[2] = length >> 8;
	message[3] = length & 0xff;
	CU_ASSERT_EQUAL(send(half, message, 20, 0), 20);
	for (size_t i = 0; i < 4 + length; i++) {
		CU_ASSERT_EQUAL(event, COLO_SESSION_NOTHING);
		CU_ASSERT_EQUAL(send(slow, message + i, 1, 0), 1);
		event = colo_session_poll(s, 1000);
	}
	if (event == COLO_SESSION_NOTHING)
		event = next_event(s, 1000);
	CU_ASSERT_EQUAL(event, COLO_SESSION_HELLO);
	CU_ASSERT_EQUAL(next_event(s, 3000), COLO_SESSION_DROPPED);
	close(half);
	close(slow);
	colo_session_free(s);
}

static void
wrong_calls(void)
{
	struct colo_session *s = new_listening("127.0.0.1");
	char text[300];
	int fd = rude_call(s);

	rude_send(fd, COLO_MESSAGE_PING, "", 0);
	CU_ASSERT_EQUAL(rude_receive(fd, s, 1, text), COLO_MESSAGE_REFUSE);
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "PING"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "instead of HELLO"));
	close(fd);
	fd = rude_call(s);
	CU_ASSERT_EQUAL(send(fd, "GET / HTTP/1.1\r\n\r\n", 18, 0), 18);
	CU_ASSERT_EQUAL(rude_receive(fd, s, 1, text), COLO_MESSAGE_REFUSE);
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "4096"));
	close(fd);
	fd = rude_call(s);
	rude_send(fd, COLO_MESSAGE_HELLO, "\0\2", 2);
	CU_ASSERT_EQUAL(rude_receive(fd, s, 1, text), COLO_MESSAGE_REFUSE);
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "version"));
	close(fd);
	fd = rude_call(s);
	close(fd);
	CU_ASSERT_EQUAL(next_event(s, 1), COLO_SESSION_DROPPED);
	colo_session_free(s);
}

/* More callers than there is room for: all get an answer or an end, and room comes back. */
static void
many_callers(void)
{
	struct colo_session *s = new_listening("127.0.0.1");
	int fd[12], last;
	unsigned int dropped = 0;
	uint64_t now = 1000;

	for (unsigned int i = 0; i < 12; i++)
		fd[i] = rude_call(s);
	for (; now < 6000; now += 10)
		dropped += colo_session_poll(s, now) == COLO_SESSION_DROPPED;
	CU_ASSERT_EQUAL(dropped, 12);
	last = rude_call(s);
	rude_hello(last);
	CU_ASSERT_EQUAL(next_event(s, now), COLO_SESSION_HELLO);
	for (unsigned int i = 0; i < 12; i++)
		close(fd[i]);
	close(last);
	colo_session_free(s);
}

/* A secondary in a session with a peer that then says @p type with @p body. */
static void
nonsense_in_session(uint16_t type, const void *body, size_t length, const char *names)
{
	struct colo_session *s = new_listening("127.0.0.1");
	struct colo_accept accept = make_accept();
	uint8_t start[16];
	int fd = rude_call(s);

	rude_hello(fd);
	CU_ASSERT_EQUAL(next_event(s, 1), COLO_SESSION_HELLO);
	CU_ASSERT_EQUAL(colo_session_accept(s, &accept), 0);
	rude_send(fd, COLO_MESSAGE_START, start, colo_start_pack(start, return_ports, 2));
	CU_ASSERT_EQUAL(next_event(s, 1), COLO_SESSION_STARTED);
	rude_send(fd, type, body, length);
	CU_ASSERT_EQUAL(next_event(s, 1), COLO_SESSION_LOST);
	CU_ASSERT_PTR_NOT_NULL(strstr(colo_session_reason(s), names));
	close(fd);
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
	struct colo_session *holder = new_listening("127.0.0.1");
	struct colo_hello hello = make_hello();
	struct colo_accept accept = make_accept();
	uint8_t body[COLO_SESSION_BODY_MAX];
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(sa);
	struct colo_error err;
	int listener = socket(AF_INET, SOCK_STREAM, 0), fd;

	colo_session_free(holder);
	CU_ASSERT_EQUAL(bind(listener, (struct sockaddr *)&sa, sizeof(sa)), 0);
	CU_ASSERT_EQUAL(listen(listener, 1), 0);
	CU_ASSERT_EQUAL(getsockname(listener, (struct sockaddr *)&sa, &length), 0);
	colo_session_connect(s, "127.0.0.1", ntohs(sa.sin_port), 1000, &err);
	CU_ASSERT_EQUAL(next_event(s, 1), COLO_SESSION_CONNECTED);
	CU_ASSERT_EQUAL(colo_session_hello(s, &hello), 0);
	fd = accept4(listener, NULL, NULL, 0);
	rude_send(fd, COLO_MESSAGE_ACCEPT, body, colo_accept_pack(body, &accept, 3));
	CU_ASSERT_EQUAL(next_event(s, 1), COLO_SESSION_LOST);
	CU_ASSERT_PTR_NOT_NULL(strstr(colo_session_reason(s), "ACCEPT"));
	close(fd);
	close(listener);
	colo_session_free(s);
}

static void
answers_are_awaited_so_long(void)
{
	struct both b = {.primary = new_session(), .secondary = new_listening("127.0.0.1")};
	struct colo_hello hello = make_hello();
	struct colo_accept accept = make_accept();
	struct colo_error err;

	colo_session_connect(b.primary, "127.0.0.1", colo_session_port(b.secondary), 1000, &err);
	CU_ASSERT_EQUAL(next_event(b.primary, 1), COLO_SESSION_CONNECTED);
	colo_session_hello(b.primary, &hello);
	CU_ASSERT_EQUAL(next_event(b.secondary, 1), COLO_SESSION_HELLO);
	CU_ASSERT_EQUAL(colo_session_accept(b.secondary, &accept), 0);
	CU_ASSERT_EQUAL(colo_session_poll(b.secondary, 1000), COLO_SESSION_NOTHING);
	CU_ASSERT_EQUAL(colo_session_poll(b.secondary, 1000 + COLO_SESSION_ANSWER_MS - 1),
		COLO_SESSION_NOTHING);
	CU_ASSERT_EQUAL(
		colo_session_poll(b.secondary, 1000 + COLO_SESSION_ANSWER_MS), COLO_SESSION_LOST);
	CU_ASSERT_PTR_NOT_NULL(strstr(colo_session_reason(b.secondary), "START"));
	free_both(&b);

	b.primary = new_session();
	b.secondary = new_listening("127.0.0.1");
	colo_session_connect(b.primary, "127.0.0.1", colo_session_port(b.secondary), 1000, &err);
	CU_ASSERT_EQUAL(next_event(b.primary, 1), COLO_SESSION_CONNECTED);
	colo_session_hello(b.primary, &hello);
	CU_ASSERT_EQUAL(colo_session_poll(b.primary, 1000), COLO_SESSION_NOTHING);
	CU_ASSERT_EQUAL(colo_session_poll(b.primary, 1000 + COLO_SESSION_ANSWER_MS - 1),
		COLO_SESSION_NOTHING);
	CU_ASSERT_EQUAL(
		colo_session_poll(b.primary, 1000 + COLO_SESSION_ANSWER_MS), COLO_SESSION_LOST);
	CU_ASSERT_PTR_NOT_NULL(strstr(colo_session_reason(b.primary), "HELLO"));
	free_both(&b);
}

static void
end_and_reset(void)
{
	const struct linger reset = {.l_onoff = 1};
	struct both b = make_both("127.0.0.1");
	struct colo_session *s = new_listening("127.0.0.1");
	int fd = rude_call(s);

	colo_session_close(b.primary);
	CU_ASSERT_EQUAL(next_event(b.secondary, 1), COLO_SESSION_LOST);
	CU_ASSERT_STRING_EQUAL(colo_session_reason(b.secondary), "connection closed by peer");
	rude_hello(fd);
	CU_ASSERT_EQUAL(next_event(s, 1), COLO_SESSION_HELLO);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(fd);
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
	int fd = rude_call(s);

	for (size_t i = 0; i < sizeof(pings); i += 4)
		pings[i + 1] = COLO_MESSAGE_PING;
	rude_hello(fd);
	CU_ASSERT_EQUAL(next_event(s, 1), COLO_SESSION_HELLO);
	CU_ASSERT_EQUAL(colo_session_accept(s, &accept), 0);
	rude_send(fd, COLO_MESSAGE_START, start, colo_start_pack(start, return_ports, 2));
	CU_ASSERT_EQUAL(next_event(s, 1), COLO_SESSION_STARTED);
	for (unsigned int i = 0; i < 20000; i++) {
		/* whole messages only, so a short send must not go on in the middle of one */
		ssize_t n = send(fd, pings + at, sizeof(pings) - at, MSG_DONTWAIT | MSG_NOSIGNAL);

		at = n > 0 ? (at + (size_t)n) % sizeof(pings) : at;
		if (colo_session_poll(s, i) != COLO_SESSION_NOTHING)
			CU_FAIL_FATAL("an event");
	}
	close(fd);
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
		int fd = rude_call(s);
		bool over = false;

		bytes[at] ^= at < length ? 0x41 : 0; /* the last round is undamaged */
		CU_ASSERT_EQUAL(send(fd, bytes, length, MSG_NOSIGNAL), (ssize_t)length);
		bytes[at] ^= at < length ? 0x41 : 0;
		for (unsigned int i = 0; i < 300 && !over; i++) {
			enum colo_session_event event = colo_session_poll(s, now);

			if (event == COLO_SESSION_HELLO)
				colo_session_accept(s, &accept);
			over = event == COLO_SESSION_BYE || event == COLO_SESSION_LOST ||
			       event == COLO_SESSION_ABORTED || event == COLO_SESSION_DROPPED;
			ended_well += event == COLO_SESSION_BYE;
			now += i > 20 ? 500 : 0; /* a length that promises more: its deadline */
		}
		CU_ASSERT_TRUE(over);
		close(fd);
		now += COLO_SESSION_LINGER_MS;
		colo_session_poll(s, now);
	}
	/* an undamaged one, and those whose damaged field may hold anything (MAC, IP, ports, ...)
	 */
	CU_ASSERT(ended_well >= 10 && ended_well <= length / 2);
	colo_session_free(s);
}

static void
wrong_times(void)
{
	struct colo_session *s = new_session();
	struct colo_hello hello = make_hello();
	struct colo_accept accept = make_accept();
	struct both b = make_both("127.0.0.1");
	struct colo_error err;

	CU_ASSERT_EQUAL(colo_session_hello(s, &hello), -1);
	CU_ASSERT_EQUAL(colo_session_accept(s, &accept), -1);
	CU_ASSERT_EQUAL(colo_session_refuse(s, "no"), -1);
	CU_ASSERT_EQUAL(colo_session_start(s, return_ports, 2), -1);
	CU_ASSERT_EQUAL(colo_session_port(s), 0);
	colo_session_abort(s, "nothing there");
	colo_session_bye(s);
	colo_session_close(s);
	CU_ASSERT_EQUAL(colo_session_poll(s, 1), COLO_SESSION_NOTHING);
	CU_ASSERT_EQUAL(colo_session_connect(b.primary, "127.0.0.1", 1, 100, &err), -1);
	CU_ASSERT_EQUAL(colo_session_connect(s, "nowhere", 1, 100, &err), -1);
	CU_ASSERT_EQUAL(colo_session_listen(b.secondary, "127.0.0.1", 0, &err), -1);
	CU_ASSERT_EQUAL(
		colo_session_listen(s, "127.0.0.1", colo_session_port(b.secondary), &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "taken"));
	free_both(&b);
	colo_session_free(s);
	colo_session_free(NULL);
}

/* What this end would refuse it does not send. */
static void
own_messages_are_checked(void)
{
	struct both b = {.primary = new_session(), .secondary = new_listening("127.0.0.1")};
	struct colo_hello hello = make_hello();
	struct colo_accept accept = make_accept();
	const uint16_t no_port[2] = {1, 0};
	struct colo_error err;

	colo_session_connect(b.primary, "127.0.0.1", colo_session_port(b.secondary), 1000, &err);
	CU_ASSERT_EQUAL(next_event(b.primary, 1), COLO_SESSION_CONNECTED);
	hello.session = 0;
	CU_ASSERT_EQUAL(colo_session_hello(b.primary, &hello), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(colo_session_reason(b.primary), "session"));
	hello.session = 5;
	CU_ASSERT_EQUAL(colo_session_hello(b.primary, &hello), 0);
	CU_ASSERT_EQUAL(next_event(b.secondary, 1), COLO_SESSION_HELLO);
	accept.window = 100;
	CU_ASSERT_EQUAL(colo_session_accept(b.secondary, &accept), -1);
	accept.window = 128;
	CU_ASSERT_EQUAL(colo_session_accept(b.secondary, &accept), 0);
	CU_ASSERT_EQUAL(next_event(b.primary, 1), COLO_SESSION_ACCEPTED);
	CU_ASSERT_EQUAL(colo_session_start(b.primary, return_ports, 1), -1);
	CU_ASSERT_EQUAL(colo_session_start(b.primary, no_port, 2), -1);
	CU_ASSERT_EQUAL(colo_session_start(b.primary, return_ports, 2), 0);
	CU_ASSERT_EQUAL(next_event(b.secondary, 1), COLO_SESSION_STARTED);
	free_both(&b);
}

int
main(void)
{
	static const struct ut_case cases[] = {
		{"a whole session, IPv4", whole_session_ipv4},
		{"a whole session, IPv6", whole_session_ipv6},
		{"sessions one after another", sessions_one_after_another},
		{"a hello that is refused", refused},
		{"a second caller is refused, the first goes on", second_caller_is_refused},
		{"liveness", liveness},
		{"connecting is tried again until the timeout", connect_is_retried},
		{"a silent caller is dropped and blocks nobody", silent_caller_is_dropped},
		{"slow callers", slow_callers},
		{"wrong calls", wrong_calls},
		{"more callers than room", many_callers},
		{"nonsense in a session", nonsense},
		{"a wrong accept", wrong_accept},
		{"answers have a deadline", answers_are_awaited_so_long},
		{"connection closed, connection reset", end_and_reset},
		{"a flood of pings", flood_of_pings},
		{"damaged conversations", damaged_conversations},
		{"everything at the wrong time", wrong_times},
		{"own messages are checked", own_messages_are_checked},
	};

	return UT_RUN("session", cases);
}
