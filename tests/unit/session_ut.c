/* SPDX-License-Identifier: BSD-3-Clause */
/* session.c, dial.c, peer.c: two ends that keep to the protocol, plain and by TLS. */
#include <errno.h>

#include <rte_common.h>

#include "session_state.h"
#include "ut_session.h"

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
		CU_ASSERT_EQUAL(connected(&b, 1), COLO_SESSION_CONNECTED);
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
	CU_ASSERT_EQUAL(connected(&b, 1), COLO_SESSION_CONNECTED);
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
	CU_ASSERT_EQUAL(colo_session_poll(b.primary, 5099), COLO_SESSION_NOTHING);
	CU_ASSERT_EQUAL(colo_session_poll(b.primary, 5150), COLO_SESSION_NOTHING);
	CU_ASSERT_EQUAL(colo_session_poll(b.primary, 5199), COLO_SESSION_NOTHING);
	CU_ASSERT_EQUAL(colo_session_poll(b.primary, 5200), COLO_SESSION_LOST);
	snprintf(wanted, sizeof(wanted), "no sign of life for %u ms", 200);
	CU_ASSERT_STRING_EQUAL(colo_session_reason(b.primary), wanted);
	CU_ASSERT_EQUAL(next_event(b.secondary, 5200), COLO_SESSION_ABORTED);
	free_both(&b);
}

/* @return the moment at which a silent peer is lost, looked for in steps of 10 from @p now on. */
static uint64_t
lost_at(struct colo_session *s, uint64_t now)
{
	while (colo_session_poll(s, now) == COLO_SESSION_NOTHING && now < 100000)
		now += 10;
	return now;
}

/* Who stood still itself gives the peer half a limit more, once, and only then. */
static void
own_standstill(void)
{
	static const struct {
		uint64_t stands, again, lost; /* after the peer was last heard */
	} lives[] = {
		{10, 0, 200},
		{99, 0, 200},
		{110, 0, 210},
		{180, 0, 280},
		{1000, 0, 1100},
		{1000, 1090, 1100}, /* time given is not given twice */
		{1000, 3000, 3000},
	};

	for (unsigned int i = 0; i < RTE_DIM(lives); i++) {
		struct both b = make_both("127.0.0.1");
		uint64_t heard = 1000, now;

		colo_session_set_timeout(b.primary, 200);
		colo_session_set_timeout(b.secondary, 200);
		for (now = 1; now <= heard; now += 3) {
			CU_ASSERT_EQUAL(colo_session_poll(b.secondary, now), COLO_SESSION_NOTHING);
			CU_ASSERT_EQUAL(colo_session_poll(b.primary, now), COLO_SESSION_NOTHING);
		}
		real_pause(); /* what is under way arrives, and is the last */
		CU_ASSERT_EQUAL(colo_session_poll(b.primary, heard), COLO_SESSION_NOTHING);
		b.primary->heard_ms = heard;
		now = heard + lives[i].stands;
		if (lives[i].again != 0) {
			CU_ASSERT_EQUAL(colo_session_poll(b.primary, now), COLO_SESSION_NOTHING);
			now = heard + lives[i].again;
		}
		now = lost_at(b.primary, now) - heard;
		CU_ASSERT(now >= lives[i].lost && now < lives[i].lost + 10);
		free_both(&b);
	}
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
	CU_ASSERT_EQUAL(connected(&(struct both){s, late}, 2100), COLO_SESSION_CONNECTED);
	colo_session_free(late);
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
	CU_ASSERT_EQUAL(connected(&b, 1), COLO_SESSION_CONNECTED);
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
	CU_ASSERT_EQUAL(connected(&b, 1), COLO_SESSION_CONNECTED);
	colo_session_hello(b.primary, &hello);
	CU_ASSERT_EQUAL(colo_session_poll(b.primary, 1000), COLO_SESSION_NOTHING);
	CU_ASSERT_EQUAL(colo_session_poll(b.primary, 1000 + COLO_SESSION_ANSWER_MS - 1),
		COLO_SESSION_NOTHING);
	CU_ASSERT_EQUAL(
		colo_session_poll(b.primary, 1000 + COLO_SESSION_ANSWER_MS), COLO_SESSION_LOST);
	CU_ASSERT_PTR_NOT_NULL(strstr(colo_session_reason(b.primary), "HELLO"));
	free_both(&b);
}

/* Both ends get the same key material; other sessions, and plain ones, do not. */
static void
exported_keys(void)
{
	uint8_t a[32], b[32], before[32] = {0};
	struct both both;

	for (unsigned int i = 0; i < 2; i++) {
		both = make_both("127.0.0.1");
		memset(a, 0, sizeof(a));
		if (ut_tls == NULL) {
			CU_ASSERT_EQUAL(colo_session_export(both.primary, a, sizeof(a)), -1);
			CU_ASSERT_EQUAL(colo_session_export(both.secondary, a, sizeof(a)), -1);
			free_both(&both);
			continue;
		}
		CU_ASSERT_EQUAL(colo_session_export(both.primary, a, sizeof(a)), 0);
		CU_ASSERT_EQUAL(colo_session_export(both.secondary, b, sizeof(b)), 0);
		CU_ASSERT_EQUAL(memcmp(a, b, sizeof(a)), 0);
		CU_ASSERT_NOT_EQUAL(memcmp(a, before, sizeof(a)), 0);
		memcpy(before, a, sizeof(a));
		colo_session_bye(both.primary);
		CU_ASSERT_EQUAL(next_event(both.secondary, 1), COLO_SESSION_BYE);
		CU_ASSERT_EQUAL(colo_session_export(both.primary, a, sizeof(a)), -1);
		CU_ASSERT_EQUAL(colo_session_export(both.secondary, b, sizeof(b)), -1);
		free_both(&both);
	}
}

/* From HELLO at the secondary, from ACCEPTED at the primary; not before. */
static void
keys_when_there_are_any(void)
{
	struct both b = {.primary = new_session(), .secondary = new_listening("127.0.0.1")};
	int wanted = ut_tls != NULL ? 0 : -1;
	struct colo_accept accept = make_accept();
	struct colo_hello hello = make_hello();
	uint8_t key[COLO_TLS_SECRET_MAX + 1];
	struct colo_error err;

	colo_session_connect(b.primary, "127.0.0.1", colo_session_port(b.secondary), 1000, &err);
	CU_ASSERT_EQUAL(connected(&b, 1), COLO_SESSION_CONNECTED);
	CU_ASSERT_EQUAL(colo_session_export(b.primary, key, 32), -1);
	CU_ASSERT_EQUAL(colo_session_export(b.secondary, key, 32), -1);
	colo_session_hello(b.primary, &hello);
	CU_ASSERT_EQUAL(colo_session_export(b.primary, key, 32), -1);
	CU_ASSERT_EQUAL(next_event(b.secondary, 1), COLO_SESSION_HELLO);
	CU_ASSERT_EQUAL(colo_session_export(b.secondary, key, 32), wanted);
	CU_ASSERT_EQUAL(colo_session_export(b.secondary, key, 1), wanted);
	CU_ASSERT_EQUAL(colo_session_export(b.secondary, key, COLO_TLS_SECRET_MAX), wanted);
	CU_ASSERT_EQUAL(colo_session_export(b.secondary, key, 0), -1);
	CU_ASSERT_EQUAL(colo_session_export(b.secondary, key, COLO_TLS_SECRET_MAX + 1), -1);
	CU_ASSERT_EQUAL(colo_session_accept(b.secondary, &accept), 0);
	CU_ASSERT_EQUAL(next_event(b.primary, 1), COLO_SESSION_ACCEPTED);
	CU_ASSERT_EQUAL(colo_session_export(b.primary, key, 32), wanted);
	free_both(&b);
}

/* A primary of another mind about TLS, or with another key: both ends say so, in a sentence. */
static void
ends_disagree(struct colo_tls *primary_tls, enum colo_session_counter counts,
	const char *primary_says, const char *secondary_says)
{
	struct both b = {.primary = new_session(), .secondary = new_listening("127.0.0.1")};
	enum colo_session_event at_primary = COLO_SESSION_NOTHING, event;
	struct colo_hello hello = make_hello();
	bool dropped = false;
	struct colo_error err;

	colo_session_use_tls(b.primary, primary_tls);
	colo_session_connect(b.primary, "127.0.0.1", colo_session_port(b.secondary), 1000, &err);
	for (unsigned int i = 0; i < 500 && (!dropped || at_primary == COLO_SESSION_NOTHING); i++) {
		event = poll_at(b.secondary, 1);
		CU_ASSERT_NOT_EQUAL(event, COLO_SESSION_HELLO);
		dropped |= event == COLO_SESSION_DROPPED;
		if (at_primary == COLO_SESSION_NOTHING)
			at_primary = poll_at(b.primary, 1);
		if (at_primary == COLO_SESSION_CONNECTED) {
			colo_session_hello(b.primary, &hello);
			at_primary = COLO_SESSION_NOTHING;
		}
		real_pause();
	}
	CU_ASSERT_TRUE(dropped);
	CU_ASSERT(at_primary == COLO_SESSION_LOST || at_primary == COLO_SESSION_REFUSED);
	CU_ASSERT_PTR_NOT_NULL(strstr(colo_session_reason(b.primary), primary_says));
	CU_ASSERT_PTR_NOT_NULL(strstr(colo_session_reason(b.secondary), secondary_says));
	CU_ASSERT_EQUAL(colo_session_counters(b.secondary)->n[counts], 1);
	free_both(&b);
}

static void
ends_that_disagree(void)
{
	struct colo_tls *other = ut_make_tls("f" UT_KEY "0");

	if (ut_tls == NULL) {
		ends_disagree(other, COLO_SESSION_tcp_wrong_mode, "it speaks without TLS",
			"TLS, but this end has --insecure");
	} else {
		ends_disagree(NULL, COLO_SESSION_tcp_wrong_mode, "no TLS, but this end has",
			"no TLS, but this end has a --psk-file");
		ends_disagree(other, COLO_SESSION_tcp_handshake_failed,
			"its pre-shared key is not ours", "its pre-shared key is not ours");
	}
	colo_tls_free(other);
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
	CU_ASSERT_EQUAL(connected(&b, 1), COLO_SESSION_CONNECTED);
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
		{"liveness of one that stood still itself", own_standstill},
		{"connecting is tried again until the timeout", connect_is_retried},
		{"answers have a deadline", answers_are_awaited_so_long},
		{"key material of a session", exported_keys},
		{"key material from HELLO and ACCEPTED on", keys_when_there_are_any},
		{"ends that disagree about TLS, or its key", ends_that_disagree},
		{"everything at the wrong time", wrong_times},
		{"own messages are checked", own_messages_are_checked},
	};

	int failed = UT_RUN("session", cases);

	ut_tls = ut_make_tls(UT_KEY);
	failed |= UT_RUN("session over TLS", cases);
	colo_tls_free(ut_tls);
	return failed;
}
