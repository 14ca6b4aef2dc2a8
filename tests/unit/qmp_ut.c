/* SPDX-License-Identifier: BSD-3-Clause */
/* The QMP client against a server that behaves, and one that does not. */
#include <sys/eventfd.h>

#include "fake_qmp.h"
#include "memory_backend.h"
#include "qmp.h"
#include "ut.h"

static struct fake_qmp fake;
static struct colo_qmp qmp;
static struct colo_error err;

static enum colo_outcome
open_ms(uint32_t ms)
{
	err.text[0] = '\0';
	return colo_qmp_open(&qmp, fake.path, COLO_NO_ABORT, colo_deadline(ms), &err);
}

static enum colo_outcome
command_ms(const char *command, uint32_t ms)
{
	err.text[0] = '\0';
	return colo_qmp_command(&qmp, command, NULL, colo_deadline(ms), NULL, &err);
}

static bool
said(const char *words)
{
	return strstr(err.text, words) != NULL;
}

static void
test_commands(void)
{
	char status[COLO_QMP_STATUS_MAX], text[64];
	struct colo_json reply, value;
	bool running = false;

	fake_start(&fake);
	CU_ASSERT_EQUAL_FATAL(open_ms(2000), COLO_OUTCOME_OK);
	CU_ASSERT_EQUAL(fake_count(&fake, "qmp_capabilities"), 1);
	CU_ASSERT_EQUAL(colo_qmp_status(&qmp, colo_deadline(2000), status, &running, &err), 0);
	CU_ASSERT_TRUE(running);
	CU_ASSERT_STRING_EQUAL(status, "running");
	CU_ASSERT_EQUAL(command_ms("stop", 2000), COLO_OUTCOME_OK);
	CU_ASSERT_EQUAL(colo_qmp_status(&qmp, colo_deadline(2000), NULL, &running, &err), 0);
	CU_ASSERT_FALSE(running);
	CU_ASSERT_EQUAL(colo_qmp_qom_string(&qmp, "/machine", "type", colo_deadline(2000), text,
				sizeof(text), &err),
		0);
	CU_ASSERT_STRING_EQUAL(text, "pc-i440fx-7.2-machine");
	CU_ASSERT_EQUAL(
		colo_qmp_qom_string(&qmp, "/machine", "type", colo_deadline(2000), text, 21, &err),
		COLO_OUTCOME_REFUSED);
	CU_ASSERT_EQUAL(
		colo_qmp_qom_string(&qmp, "/machine", "type", colo_deadline(2000), text, 22, &err),
		COLO_OUTCOME_OK);
	fake_rule(&fake, "a", "\"return\":{\"x\":5}");
	CU_ASSERT_EQUAL(
		colo_qmp_command(&qmp, "a", "{\"y\":1}", colo_deadline(2000), &reply, &err), 0);
	CU_ASSERT_TRUE(colo_json_member(&reply, "x", &value));
	colo_qmp_close(&qmp);
	colo_qmp_close(&qmp);
	CU_ASSERT_EQUAL(command_ms("stop", 100), COLO_OUTCOME_GONE);
	fake_stop(&fake);
}

static void
test_errors(void)
{
	static char huge[COLO_QMP_COMMAND_MAX];

	fake_start(&fake);
	CU_ASSERT_EQUAL_FATAL(open_ms(2000), COLO_OUTCOME_OK);
	fake_rule(&fake, "a", "\"error\":{\"class\":\"GenericError\",\"desc\":\"not now\"}");
	CU_ASSERT_EQUAL(command_ms("a", 2000), COLO_OUTCOME_REFUSED);
	CU_ASSERT_TRUE(said("refused `a`: not now"));
	fake_rule(&fake, "a", "\"error\":{\"desc\":\"two\\nlines, \\u001b[31mred\\u007f\"}");
	CU_ASSERT_EQUAL(command_ms("a", 2000), COLO_OUTCOME_REFUSED);
	CU_ASSERT_TRUE(said("refused `a`: two?lines, ?[31mred?"));
	/* the link is as good as before */
	CU_ASSERT_EQUAL(command_ms("stop", 2000), COLO_OUTCOME_OK);
	memset(huge, ' ', sizeof(huge) - 1);
	CU_ASSERT_EQUAL(colo_qmp_command(&qmp, "a", huge, colo_deadline(2000), NULL, &err),
		COLO_OUTCOME_REFUSED);
	CU_ASSERT_EQUAL(command_ms("stop", 2000), COLO_OUTCOME_OK);
	fake_rule(&fake, "a", "\"neither\":1");
	CU_ASSERT_EQUAL(command_ms("a", 2000), COLO_OUTCOME_GONE);
	colo_qmp_close(&qmp);
	fake_stop(&fake);
}

/* A late answer is not taken for the next command's. */
static void
test_late_answer(void)
{
	uint64_t began = colo_monotonic_us();

	fake_start(&fake);
	CU_ASSERT_EQUAL_FATAL(open_ms(2000), COLO_OUTCOME_OK);
	fake_rule(&fake, "a", "!silent");
	CU_ASSERT_EQUAL(command_ms("a", 50), COLO_OUTCOME_TIMEOUT);
	CU_ASSERT_TRUE(said("did not answer `a` in time"));
	CU_ASSERT(colo_monotonic_us() - began >= 50000);
	fake_rule(&fake, "b", "{\"error\":{\"desc\":\"late\"},\"id\":2}\n\"return\":{}");
	CU_ASSERT_EQUAL(command_ms("b", 2000), COLO_OUTCOME_OK);
	colo_qmp_close(&qmp);
	fake_stop(&fake);
}

/* However much it talks, the deadline counts. */
static void
test_flood(void)
{
	uint64_t began;

	fake_start(&fake);
	CU_ASSERT_EQUAL_FATAL(open_ms(2000), COLO_OUTCOME_OK);
	fake_rule(&fake, "a", "!flood");
	began = colo_monotonic_us();
	CU_ASSERT_EQUAL(command_ms("a", 100), COLO_OUTCOME_TIMEOUT);
	CU_ASSERT(colo_monotonic_us() - began < 4000000);
	CU_ASSERT_EQUAL(colo_qmp_pump(&qmp, &err), COLO_OUTCOME_OK);
	colo_qmp_close(&qmp);
	fake_stop(&fake);
}

static void
test_events(void)
{
	fake_start(&fake);
	CU_ASSERT_EQUAL_FATAL(open_ms(2000), COLO_OUTCOME_OK);
	fake_rule(&fake, "a",
		"{\"event\":\"STOP\"}\r\n{\"event\":\"RESUME\",\"data\":{}}\r\n"
		"{\"event\":\"A_NAME_LONGER_THAN_ANY_EVENT_OF_OURS_HAS\"}\r\n"
		"{\"event\":\"RESUME\"}\r\n{\"event\":\"SHUTDOWN\"}\n\"return\":{}");
	CU_ASSERT_EQUAL(command_ms("a", 2000), COLO_OUTCOME_OK);
	CU_ASSERT_EQUAL(qmp.stops, 1);
	CU_ASSERT_EQUAL(qmp.resumes, 2);
	CU_ASSERT_EQUAL(qmp.shutdowns, 1);
	CU_ASSERT_EQUAL(colo_qmp_pump(&qmp, &err), COLO_OUTCOME_OK);
	fake.drop = true;
	for (int i = 0; i < 5000 && colo_qmp_pump(&qmp, &err) == COLO_OUTCOME_OK; i++)
		usleep(1000);
	CU_ASSERT_EQUAL(qmp.fd, -1);
	CU_ASSERT_TRUE(said("closed its QMP connection"));
	fake_stop(&fake);
}

static void
test_abort(void)
{
	int fd = eventfd(0, EFD_NONBLOCK);
	uint64_t began;

	fake_start(&fake);
	CU_ASSERT_EQUAL_FATAL(colo_qmp_open(&qmp, fake.path, fd, colo_deadline(2000), &err), 0);
	fake_rule(&fake, "a", "!silent");
	eventfd_write(fd, 1);
	began = colo_monotonic_us();
	CU_ASSERT_EQUAL(command_ms("a", 5000), COLO_OUTCOME_ABORTED);
	CU_ASSERT(colo_monotonic_us() - began < 4000000);
	CU_ASSERT_EQUAL(colo_qmp_pump(&qmp, &err), COLO_OUTCOME_OK);
	CU_ASSERT_EQUAL(qmp.abort_fd, fd);
	colo_qmp_close(&qmp);
	close(fd);
	fake_stop(&fake);
}

static void
test_open(void)
{
	char path[COLO_UNIX_PATH_MAX + 2];
	enum colo_outcome got;

	fake_start(&fake);
	fake.greeting = NULL;
	CU_ASSERT_EQUAL(open_ms(50), COLO_OUTCOME_TIMEOUT);
	CU_ASSERT_TRUE(said("does not greet"));
	CU_ASSERT_EQUAL(qmp.fd, -1);
	fake.greeting = "SSH-2.0-OpenSSH_9.2";
	CU_ASSERT_EQUAL(open_ms(2000), COLO_OUTCOME_GONE);
	CU_ASSERT_TRUE(said("does not speak QMP"));
	fake.greeting = "{\"hello\":1}";
	CU_ASSERT_EQUAL(open_ms(2000), COLO_OUTCOME_GONE);
	CU_ASSERT_TRUE(said("no greeting"));
	fake.greeting = FAKE_GREETING;
	fake_rule(&fake, "qmp_capabilities", "!close");
	CU_ASSERT_EQUAL(open_ms(2000), COLO_OUTCOME_GONE);
	CU_ASSERT_TRUE(said("closed"));
	fake_stop(&fake);
	CU_ASSERT_EQUAL(open_ms(2000), COLO_OUTCOME_REFUSED);
	CU_ASSERT_TRUE(said("No such file"));
	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[COLO_UNIX_PATH_MAX + 1] = '\0';
	got = colo_qmp_open(&qmp, path, COLO_NO_ABORT, colo_deadline(50), &err);
	CU_ASSERT(got == COLO_OUTCOME_REFUSED && said("108 bytes is not accepted"));
	path[COLO_UNIX_PATH_MAX] = '\0';
	got = colo_qmp_open(&qmp, path, COLO_NO_ABORT, colo_deadline(50), &err);
	CU_ASSERT(got == COLO_OUTCOME_REFUSED && said("cannot connect"));
	got = colo_qmp_open(&qmp, "", COLO_NO_ABORT, colo_deadline(50), &err);
	CU_ASSERT(got == COLO_OUTCOME_REFUSED && said("0 bytes is not accepted"));
}

/* A line of the longest length is taken; one byte more ends the link. */
static void
test_long_lines(void)
{
	static char line[COLO_QMP_LINE_MAX + 2];

	for (size_t length = COLO_QMP_LINE_MAX - 1; length <= COLO_QMP_LINE_MAX + 1; length++) {
		/* the server adds \r\n, which belong to the line */
		memset(line, ' ', sizeof(line));
		memcpy(line, FAKE_GREETING, strlen(FAKE_GREETING));
		line[length - 2] = '\0';
		fake_start(&fake);
		fake.greeting = line;
		CU_ASSERT_EQUAL(open_ms(2000),
			length <= COLO_QMP_LINE_MAX ? COLO_OUTCOME_OK : COLO_OUTCOME_GONE);
		CU_ASSERT_EQUAL(said("longer than"), length > COLO_QMP_LINE_MAX);
		colo_qmp_close(&qmp);
		fake_stop(&fake);
	}
}

static enum colo_outcome
check_backend(const char *memdev, const char *mem_path, const char *name)
{
	fake.memdev = memdev;
	fake.mem_path = mem_path;
	err.text[0] = '\0';
	return colo_memory_backend_check(&qmp, fake.path, name, 4096, colo_deadline(2000), &err);
}

static void
test_memory_backend(void)
{
	static const char good[] = "[{\"id\":\"a\",\"size\":4096,\"share\":true}]";
	static const char two[] = "[{\"size\":4096},{\"id\":\"a\",\"size\":4096,\"share\":true}]";

	fake_start(&fake);
	CU_ASSERT_EQUAL_FATAL(open_ms(2000), COLO_OUTCOME_OK);
	/* any file of ours will do: the socket */
	CU_ASSERT_EQUAL(check_backend(good, fake.path, "a"), COLO_OUTCOME_OK);
	CU_ASSERT_EQUAL(check_backend(good, fake.path, "/objects/a"), COLO_OUTCOME_OK);
	CU_ASSERT_EQUAL(check_backend(good, fake.path, "b"), COLO_OUTCOME_REFUSED);
	CU_ASSERT_TRUE(said("as block a, not as b"));
	CU_ASSERT_EQUAL(
		check_backend("[{\"id\":\"a\",\"size\":4096,\"share\":false}]", fake.path, "a"),
		COLO_OUTCOME_REFUSED);
	CU_ASSERT_TRUE(said("without share=on"));
	CU_ASSERT_EQUAL(
		check_backend("[{\"id\":\"a\",\"size\":8192,\"share\":true}]", fake.path, "a"),
		COLO_OUTCOME_REFUSED);
	CU_ASSERT_TRUE(said("both must agree"));
	CU_ASSERT_EQUAL(check_backend(good, "/dev/null", "a"), COLO_OUTCOME_REFUSED);
	CU_ASSERT_TRUE(said("has no memory backend on"));
	CU_ASSERT_EQUAL(check_backend("[]", "/dev/null", "a"), COLO_OUTCOME_REFUSED);
	CU_ASSERT_EQUAL(
		check_backend("[{\"id\":\"a\\n\",\"size\":1,\"share\":true}]", fake.path, "a"),
		COLO_OUTCOME_OK); /* no id: it cannot be told */
	/* what cannot be told is not held against it */
	CU_ASSERT_EQUAL(check_backend(good, "relative", "a"), COLO_OUTCOME_OK);
	CU_ASSERT_EQUAL(check_backend(good, "/no/such/file", "a"), COLO_OUTCOME_OK);
	CU_ASSERT_EQUAL(check_backend(two, "/dev/null", "a"), COLO_OUTCOME_OK);
	CU_ASSERT_EQUAL(check_backend(two, fake.path, "b"), COLO_OUTCOME_REFUSED);
	fake_rule(&fake, "query-memdev", "\"error\":{\"desc\":\"unknown\"}");
	CU_ASSERT_EQUAL(check_backend(good, fake.path, "b"), COLO_OUTCOME_OK);
	fake_rule(&fake, "query-memdev", "!close");
	CU_ASSERT_EQUAL(check_backend(good, fake.path, "a"), COLO_OUTCOME_GONE);
	colo_qmp_close(&qmp);
	fake_stop(&fake);
}

/* @p n elements that are nothing, then @p last. */
static const char *
long_list(const char *before, unsigned int n, const char *last)
{
	static char text[1024];
	size_t used = (size_t)snprintf(text, sizeof(text), "%s", before);

	for (unsigned int i = 0; i < n; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "0,");
	snprintf(text + used, sizeof(text) - used, "%s", last);
	return text;
}

/* Of a list as long as a line only the beginning is looked at: to go through all of it, each
 * element from the beginning, took seconds. */
static void
test_long_lists(void)
{
	static const char last[] = "{\"id\":\"a\",\"size\":4096,\"share\":true}]";
	static const char greeting[] = "{\"QMP\":{\"capabilities\":[";

	fake_start(&fake);
	CU_ASSERT_EQUAL_FATAL(open_ms(2000), COLO_OUTCOME_OK);
	CU_ASSERT_EQUAL(check_backend(long_list("[", COLO_MAX_BACKENDS - 1, last), fake.path, "b"),
		COLO_OUTCOME_REFUSED);
	CU_ASSERT_TRUE(said("as block a, not as b"));
	CU_ASSERT_EQUAL(check_backend(long_list("[", COLO_MAX_BACKENDS, last), fake.path, "b"),
		COLO_OUTCOME_OK);
	colo_qmp_close(&qmp);
	fake_stop(&fake);
	for (unsigned int n = COLO_QMP_CAPABILITIES_MAX - 1; n <= COLO_QMP_CAPABILITIES_MAX; n++) {
		bool seen = n < COLO_QMP_CAPABILITIES_MAX;

		fake_start(&fake);
		fake.greeting = long_list(greeting, n, "\"oob\"]}}");
		CU_ASSERT_EQUAL(colo_qmp_open_oob(
					&qmp, fake.path, COLO_NO_ABORT, colo_deadline(2000), &err),
			seen ? COLO_OUTCOME_OK : COLO_OUTCOME_REFUSED);
		colo_qmp_close(&qmp);
		fake_stop(&fake);
	}
}

int
main(void)
{
	static const struct ut_case cases[] = {
		{"commands", test_commands},
		{"errors", test_errors},
		{"a late answer", test_late_answer},
		{"a flood of events", test_flood},
		{"events, and the end", test_events},
		{"abort", test_abort},
		{"what is no QMP socket", test_open},
		{"lines of n-1, n, n+1 bytes", test_long_lines},
		{"memory backends", test_memory_backend},
		{"long lists", test_long_lists},
	};

	return UT_RUN("qmp", cases);
}
