/* SPDX-License-Identifier: BSD-3-Clause */
/* connection.c: messages out of a stream that comes in any pieces, full buffers, ends. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "connection.h"
#include "ut.h"

/* A connection at one end of a socket pair; the test plays the peer at the other. */
struct pair {
	struct colo_connection c;
	int peer;
};

static struct pair
make_pair(void)
{
	struct pair p;
	int fd[2];

	memset(&p, 0, sizeof(p));
	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	colo_connection_open(&p.c, fd[0]);
	p.peer = fd[1];
	return p;
}

static void
messages_byte_by_byte(void)
{
	static const uint8_t stream[] = {0, 5, 0, 0, 1, 2, 0, 3, 'a', 'b', 'c', 0, 8, 0, 0};
	struct pair p = make_pair();
	struct colo_message_view m;
	unsigned int seen = 0;

	for (unsigned int i = 0; i < sizeof(stream); i++) {
		CU_ASSERT_EQUAL(write(p.peer, &stream[i], 1), 1);
		CU_ASSERT_TRUE(colo_connection_fill(&p.c));
		if (colo_connection_next(&p.c, &m) != COLO_MESSAGE_READY)
			continue;
		seen++;
		CU_ASSERT_EQUAL(i, seen == 1 ? 3 : seen == 2 ? 10 : 14);
		CU_ASSERT_EQUAL(m.type, seen == 1 ? 5 : seen == 2 ? 0x102 : 8);
		CU_ASSERT_EQUAL(m.length, seen == 2 ? 3 : 0);
		if (seen == 2)
			CU_ASSERT_EQUAL(memcmp(m.body, "abc", 3), 0);
	}
	CU_ASSERT_EQUAL(seen, 3);
	colo_connection_close(&p.c);
	close(p.peer);
}

static void
body_length_limits(void)
{
	static uint8_t body[COLO_SESSION_BODY_MAX + 1];
	struct pair a = make_pair();
	struct colo_message_view m;
	uint8_t header[4] = {
		0, 1, (COLO_SESSION_BODY_MAX + 1) >> 8, (COLO_SESSION_BODY_MAX + 1) & 0xff};

	CU_ASSERT_EQUAL(colo_connection_put(&a.c, 1, body, COLO_SESSION_BODY_MAX + 1), -1);
	/* The largest body comes through, a second message behind it as well. */
	CU_ASSERT_EQUAL(write(a.peer, "\0\1\x10\0", 4), 4);
	CU_ASSERT_EQUAL(write(a.peer, body, COLO_SESSION_BODY_MAX), COLO_SESSION_BODY_MAX);
	CU_ASSERT_EQUAL(write(a.peer, header, 4), 4);
	CU_ASSERT_TRUE(colo_connection_fill(&a.c));
	CU_ASSERT_EQUAL(a.c.rx_used, COLO_MESSAGE_LENGTH);
	CU_ASSERT_FALSE(colo_connection_fill(&a.c)); /* full: the message has to be taken first */
	CU_ASSERT_EQUAL(colo_connection_next(&a.c, &m), COLO_MESSAGE_READY);
	CU_ASSERT_EQUAL(m.length, COLO_SESSION_BODY_MAX);
	CU_ASSERT_TRUE(colo_connection_fill(&a.c));
	CU_ASSERT_EQUAL(colo_connection_next(&a.c, &m), COLO_MESSAGE_TOO_LONG);
	colo_connection_close(&a.c);
	close(a.peer);
}

static void
put_until_full(void)
{
	static uint8_t body[COLO_SESSION_BODY_MAX];
	struct pair p = make_pair();

	CU_ASSERT_EQUAL(colo_connection_put(&p.c, 1, body, COLO_SESSION_BODY_MAX), 0);
	CU_ASSERT_EQUAL(colo_connection_put(&p.c, 1, body, COLO_SESSION_BODY_MAX - 4), 0);
	CU_ASSERT_EQUAL(colo_connection_put(&p.c, 1, body, 1), -1);
	CU_ASSERT_EQUAL(colo_connection_put(&p.c, 1, body, 0), 0);
	CU_ASSERT_EQUAL(colo_connection_put(&p.c, 1, body, 0), -1);
	colo_connection_close(&p.c);
	close(p.peer);
}

/* A peer that reads little by little gets every byte once, in order. */
static void
partial_writes(void)
{
	struct pair p = make_pair();
	uint8_t body[1000], got[512];
	uint32_t put = 0, received = 0;
	int small = 4096;

	setsockopt(p.c.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	for (unsigned int turn = 0; turn < 2000; turn++) {
		memset(body, (int)(put & 0xff), sizeof(body));
		if (put < 100 && colo_connection_put(&p.c, (uint16_t)put, body, sizeof(body)) == 0)
			put++;
		colo_connection_flush(&p.c);
		ssize_t n = read(p.peer, got, sizeof(got));
		for (ssize_t i = 0; i < n; i++, received++) {
			uint32_t message = received / 1004, at = received % 1004;
			uint8_t want = at == 1	 ? message
				       : at == 2 ? 1000 >> 8
				       : at == 3 ? 1000 & 0xff
						 : 0;

			if (got[i] != (at < 4 ? want : (uint8_t)message))
				CU_FAIL("byte differs");
		}
	}
	CU_ASSERT_EQUAL(put, 100);
	CU_ASSERT_EQUAL(received, 100 * 1004);
	colo_connection_close(&p.c);
	close(p.peer);
}

static void
last_words_before_the_end(void)
{
	struct pair p = make_pair();
	struct colo_message_view m;

	CU_ASSERT_EQUAL(write(p.peer, "\0\7\0\0", 4), 4);
	close(p.peer);
	CU_ASSERT_TRUE(colo_connection_fill(&p.c));
	CU_ASSERT_FALSE(colo_connection_fill(&p.c));
	CU_ASSERT_EQUAL(colo_connection_next(&p.c, &m), COLO_MESSAGE_READY);
	CU_ASSERT_EQUAL(m.type, 7);
	CU_ASSERT_STRING_EQUAL(colo_connection_gone(&p.c), "connection closed by peer");
	/* Sending into it is an error that is kept, not a signal. */
	CU_ASSERT_EQUAL(colo_connection_put(&p.c, 5, NULL, 0), 0);
	colo_connection_flush(&p.c);
	CU_ASSERT_EQUAL(p.c.tx_error, EPIPE);
	colo_connection_close(&p.c);
	colo_connection_close(&p.c);
}

static void
listening(void)
{
	char name[COLO_ENDPOINT_TEXT];
	struct colo_error err;
	int a = colo_socket_listen("127.0.0.1", 0, &err), b, code;
	uint16_t port = colo_socket_port(a);

	CU_ASSERT_FATAL(a >= 0);
	CU_ASSERT_NOT_EQUAL(port, 0);
	CU_ASSERT_EQUAL(colo_socket_listen("127.0.0.1", port, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "taken"));
	CU_ASSERT_EQUAL(colo_socket_listen("localhost", 0, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "localhost"));
	CU_ASSERT_EQUAL(colo_socket_listen("", 0, &err), -1);
	CU_ASSERT_EQUAL(colo_socket_listen("127.0.0.1.5", 0, &err), -1);
	CU_ASSERT_EQUAL(colo_socket_connect("no.such.host", 1, &code, &err), -1);
	CU_ASSERT_EQUAL(code, 0);
	CU_ASSERT_EQUAL(colo_socket_accept(a, name), -1);
	b = colo_socket_connect("127.0.0.1", port, &code, &err);
	CU_ASSERT(b >= 0);
	while (colo_socket_connected(b) == EINPROGRESS)
		;
	close(colo_socket_accept(a, name));
	CU_ASSERT_EQUAL(strncmp(name, "127.0.0.1:", 10), 0);
	close(b);
	close(a);
	CU_ASSERT_EQUAL(colo_socket_port(-1), 0);
}

int
main(void)
{
	static const struct ut_case cases[] = {
		{"messages that come byte by byte", messages_byte_by_byte},
		{"bodies of 4096 and 4097 bytes", body_length_limits},
		{"a full buffer", put_until_full},
		{"partial writes", partial_writes},
		{"last words are read before the end", last_words_before_the_end},
		{"listening and connecting", listening},
	};

	return UT_RUN("connection", cases);
}
