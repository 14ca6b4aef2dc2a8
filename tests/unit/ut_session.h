/* SPDX-License-Identifier: BSD-3-Clause */
/* Sessions over loopback for tests, plain or by TLS, on a clock of the test's own. */
#ifndef COLO_UT_SESSION_H
#define COLO_UT_SESSION_H

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "hello.h"
#include "session.h"
#include "tls.h"
#include "ut.h"

#define UT_KEY "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static struct colo_tls *ut_tls; /* what new sessions use; NULL: plain */
static uint64_t ut_now_ms = 1;	/* of the last poll */

/* A context with the key @p digits. */
static inline struct colo_tls *
ut_make_tls(const char *digits)
{
	char path[] = "/tmp/colo_psk_XXXXXX";
	int fd = mkstemp(path);
	struct colo_error err = {""};
	struct colo_tls *tls;

	/* also called outside of any test, where CUnit has no assertions */
	if (write(fd, digits, strlen(digits)) != (ssize_t)strlen(digits))
		abort();
	close(fd);
	tls = colo_tls_new(path, &err);
	unlink(path);
	if (tls == NULL) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
	return tls;
}

static inline void
real_pause(void)
{
	const struct timespec ms = {.tv_nsec = 1000000};

	nanosleep(&ms, NULL);
}

static inline struct colo_session *
new_session(void)
{
	struct colo_error err;
	struct colo_session *s = colo_session_new(&err);

	CU_ASSERT_PTR_NOT_NULL_FATAL(s);
	if (ut_tls != NULL)
		colo_session_use_tls(s, ut_tls);
	return s;
}

static inline struct colo_session *
new_listening(const char *host)
{
	struct colo_session *s = new_session();
	struct colo_error err;

	ut_now_ms = 1;
	CU_ASSERT_EQUAL_FATAL(colo_session_listen(s, host, 0, &err), 0);
	CU_ASSERT_NOT_EQUAL_FATAL(colo_session_port(s), 0);
	return s;
}

static inline enum colo_session_event
poll_at(struct colo_session *s, uint64_t now_ms)
{
	ut_now_ms = now_ms;
	return colo_session_poll(s, now_ms);
}

/* Poll until something happens; the session's clock stands, the kernel has half a second. */
static inline enum colo_session_event
next_event(struct colo_session *s, uint64_t now_ms)
{
	for (unsigned int i = 0; i < 500; i++) {
		enum colo_session_event event = poll_at(s, now_ms);

		if (event != COLO_SESSION_NOTHING)
			return event;
		real_pause();
	}
	return COLO_SESSION_NOTHING;
}

/* Nothing happens for some real milliseconds. */
static inline bool
is_quiet(struct colo_session *s, uint64_t now_ms)
{
	for (unsigned int i = 0; i < 10; i++) {
		if (poll_at(s, now_ms) != COLO_SESSION_NOTHING)
			return false;
		real_pause();
	}
	return true;
}

static inline struct colo_hello
make_hello(void)
{
	struct colo_hello h = {
		.session = 77,
		.mtu = 4200,
		.n_channels = 2,
		.n_blocks = 1,
		.peer_timeout_ms = 1000,
		.instance = 0x1234567890abcdefull,
		.seal_shift = 31,
		.hold_ms = 1000,
		.block = {{"pc.ram", 1u << 20}},
		.address = {.ip_version = 4, .ip = {10, 0, 0, 1}, .source_port = 1},
	};

	return h;
}

static inline struct colo_accept
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

/* The primary's connection, which by TLS takes both ends. @return what came instead, if so. */
static inline enum colo_session_event
connected(const struct both *b, uint64_t now_ms)
{
	enum colo_session_event event = COLO_SESSION_NOTHING;

	for (unsigned int i = 0; i < 500 && event == COLO_SESSION_NOTHING; i++) {
		event = poll_at(b->primary, now_ms);
		if (event == COLO_SESSION_NOTHING && ut_tls != NULL)
			event = poll_at(b->secondary, now_ms);
		real_pause();
	}
	return event;
}

/* Up to and with START; every event is checked on the way. */
static inline struct both
make_both(const char *host)
{
	struct both b = {.primary = new_session(), .secondary = new_listening(host)};
	struct colo_hello hello = make_hello();
	struct colo_accept accept = make_accept();
	struct colo_error err;

	CU_ASSERT_EQUAL(
		colo_session_connect(b.primary, host, colo_session_port(b.secondary), 1000, &err),
		0);
	CU_ASSERT_EQUAL_FATAL(connected(&b, 1), COLO_SESSION_CONNECTED);
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

static inline void
free_both(struct both *b)
{
	colo_session_free(b->primary);
	colo_session_free(b->secondary);
}

#endif
