/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a peer says on the session's TCP connection: messages are found in the bytes, as they come
 * in parts, and each body is checked. The input: u8 channels, u8 bytes of the first part, then
 * what is received.
 *
 * Checked: a body that is accepted is within the limits, and is packed again to the same bytes; one
 * that is refused is in one sentence. Any body is given to every check, whatever its type says.
 */
#include <sys/socket.h>
#include <unistd.h>

#include "bounds.h"
#include "connection.h"
#include "fuzz.h"
#include "hello.h"
#include "wire.h"

static struct colo_connection connection;

/* What was accepted is packed again to what it was. */
static void
check_same(const struct colo_message_view *m, const uint8_t *body, size_t length)
{
	FUZZ_CHECK(length <= COLO_SESSION_BODY_MAX);
	FUZZ_CHECK(length == m->length && memcmp(body, m->body, length) == 0);
}

static void
check_address(const struct colo_address *a)
{
	FUZZ_CHECK(a->ip_version == 4 || a->ip_version == 6);
	FUZZ_CHECK(a->source_port != 0);
}

static void
try_hello(const struct colo_message_view *m, uint8_t *body)
{
	struct colo_error err = {""};
	struct colo_hello hello;

	if (colo_hello_check(m->body, m->length, &hello, &err) != 0) {
		fuzz_check_sentence(err.text, sizeof(err.text));
		return;
	}
	FUZZ_CHECK(hello.n_channels >= 1 && hello.n_channels <= COLO_MAX_CHANNELS);
	FUZZ_CHECK(hello.n_blocks >= 1 && hello.n_blocks <= COLO_MAX_BLOCKS);
	FUZZ_CHECK(hello.mtu >= COLO_MTU_MIN && hello.mtu <= COLO_MTU_MAX);
	for (unsigned int i = 0; i < hello.n_blocks; i++) {
		FUZZ_CHECK(hello.block[i].size <= COLO_MAX_BLOCK_SIZE);
		FUZZ_CHECK(hello.block[i].size % COLO_PAGE_SIZE == 0);
		fuzz_check_sentence(hello.block[i].name, sizeof(hello.block[i].name));
	}
	check_address(&hello.address);
	check_same(m, body, colo_hello_pack(body, &hello));
}

static void
try_accept(const struct colo_message_view *m, unsigned int channels, uint8_t *body)
{
	struct colo_error err = {""};
	struct colo_accept accept;

	if (colo_accept_check(m->body, m->length, channels, &accept, &err) != 0) {
		fuzz_check_sentence(err.text, sizeof(err.text));
		return;
	}
	FUZZ_CHECK(accept.window >= 1 && accept.window <= COLO_WINDOW_MAX);
	fuzz_check_sentence(accept.why, sizeof(accept.why));
	check_address(&accept.address);
	check_same(m, body, colo_accept_pack(body, &accept, channels));
}

static void
try_start(const struct colo_message_view *m, unsigned int channels, uint8_t *body)
{
	uint16_t ports[COLO_MAX_CHANNELS];
	struct colo_error err = {""};

	if (colo_start_check(m->body, m->length, channels, ports, &err) != 0)
		fuzz_check_sentence(err.text, sizeof(err.text));
	else
		check_same(m, body, colo_start_pack(body, ports, channels));
}

static void
try_text(const struct colo_message_view *m, uint8_t *body)
{
	char text[COLO_SESSION_REASON_MAX + 1];
	struct colo_error err = {""};

	if (colo_text_check(m->body, m->length, colo_message_name(m->type), text, &err) != 0) {
		fuzz_check_sentence(err.text, sizeof(err.text));
		return;
	}
	fuzz_check_sentence(text, sizeof(text));
	check_same(m, body, colo_text_pack(body, text));
}

/* The body in memory of exactly its length. */
static void
try_message(const struct colo_message_view *m, unsigned int channels)
{
	uint8_t *body = malloc(COLO_SESSION_BODY_MAX), *exact = fuzz_copy(m->body, m->length);
	struct colo_message_view copy = {m->type, m->length, exact};
	struct colo_error err = {""};

	FUZZ_CHECK(body != NULL);
	FUZZ_CHECK(colo_message_name(m->type)[0] != '\0');
	try_hello(&copy, body);
	try_accept(&copy, channels, body);
	try_start(&copy, channels, body);
	try_text(&copy, body);
	FUZZ_CHECK((colo_empty_check(m->length, "PING", &err) == 0) == (m->length == 0));
	free(exact);
	free(body);
}

/* All messages that are whole. @return false: the connection is of no use any more. */
static bool
take_messages(unsigned int channels)
{
	struct colo_message_view m;
	enum colo_message_status status;

	while ((status = colo_connection_next(&connection, &m)) == COLO_MESSAGE_READY) {
		FUZZ_CHECK(m.length <= COLO_SESSION_BODY_MAX);
		FUZZ_CHECK(m.body + m.length <= connection.rx + sizeof(connection.rx));
		try_message(&m, channels);
	}
	return status == COLO_MESSAGE_NONE;
}

static void
say(int fd, const uint8_t *bytes, size_t n)
{
	FUZZ_CHECK(send(fd, bytes, n, MSG_NOSIGNAL) == (ssize_t)n);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	unsigned int channels = 1 + fuzz_u8(&in) % COLO_MAX_CHANNELS;
	size_t part = fuzz_u8(&in), rest = 4 * COLO_MESSAGE_LENGTH;
	const uint8_t *bytes;
	int fd[2];

	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fd) == 0);
	colo_connection_open(&connection, fd[0]);
	bytes = fuzz_bytes(&in, &part);
	say(fd[1], bytes, part);
	if (colo_connection_fill(&connection) != (part > 0) || take_messages(channels)) {
		bytes = fuzz_bytes(&in, &rest);
		say(fd[1], bytes, rest);
		close(fd[1]);
		fd[1] = -1;
		while (colo_connection_fill(&connection) && take_messages(channels))
			;
	}
	if (fd[1] >= 0)
		close(fd[1]);
	colo_connection_close(&connection);
	return 0;
}
