/* SPDX-License-Identifier: BSD-3-Clause */
/* The keeper: when it frees the guest, by which commands, and when it keeps its hands off. */
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "fake_qmp.h"
#include "keeper.h"
#include "ut.h"
#include "wait.h"

#define HOLD_MS 100u
#define LONG_MS 2000u

static struct fake_qmp fake;

static void
fake_start_oob(void)
{
	fake_start(&fake);
	fake.greeting = FAKE_OOB_GREETING;
}

/* The only child that we have: keepers of a killed primary become ours. */
static pid_t
only_child(void)
{
	char path[64];
	pid_t pid = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	f = fopen(path, "r");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	CU_ASSERT_EQUAL(fscanf(f, "%d", &pid), 1);
	fclose(f);
	return pid;
}

static void
expect_end(void)
{
	int status;

	CU_ASSERT(waitpid(-1, &status, 0) > 0);
	CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CU_ASSERT_EQUAL(waitpid(-1, &status, 0), -1);
}

static int
start(uint32_t hold_ms)
{
	struct colo_error err = {{0}};
	int handle = colo_keeper_start(fake.path, hold_ms, true, &err);

	CU_ASSERT_FATAL(handle > 2);
	return handle;
}

static void
end(int handle)
{
	colo_keeper_end(handle);
	expect_end();
}

/* The guest's place in a migration. */
static void
place(bool running, const char *status, const char *migrates, bool blocked)
{
	fake.running = running;
	fake.status = status;
	fake.migrates = migrates;
	fake.blocked = blocked;
}

static unsigned int
all_remedies(void)
{
	return fake_count(&fake, "oob yank") + fake_count(&fake, "x-colo-lost-heartbeat") +
	       fake_count(&fake, "cont") + fake_count(&fake, "migrate_cancel");
}

/* Let it become true within two seconds. */
#define AWAIT(condition)                                                  \
	do {                                                              \
		uint64_t deadline_ = colo_deadline(LONG_MS);              \
		while (!(condition) && colo_deadline_left(deadline_) > 0) \
			usleep(1000);                                     \
		CU_ASSERT_TRUE(condition);                                \
	} while (0)

static void
test_frees(void)
{
	static const struct {
		bool running;
		const char *status, *migrates;
		bool blocked;
		const char *after; /* migration */
	} places[] = {
		{false, "colo", "colo", true, "completed"},
		{false, "colo", "colo", false, "completed"},
		{false, "finish-migrate", "colo", false, "completed"},
		{true, "", "colo", false, "completed"},
		{true, "", "active", false, "failed"},
		{true, "", NULL, false, NULL},
		{false, "finish-migrate", "pre-switchover", false, "cancelled"},
		{false, "postmigrate", "completed", false, "completed"},
	};
	struct colo_error err = {{0}};

	for (unsigned int i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		const char *after = places[i].after;
		int handle;

		fake_start_oob();
		handle = start(LONG_MS);
		CU_ASSERT_EQUAL(colo_keeper_watch(handle, LONG_MS, &err), 0);
		place(places[i].running, places[i].status, places[i].migrates, places[i].blocked);
		CU_ASSERT_EQUAL(colo_keeper_free(handle, LONG_MS, &err), 0);
		CU_ASSERT_TRUE(fake.running);
		CU_ASSERT_FALSE(fake.blocked);
		CU_ASSERT(after == NULL ? fake.migrates == NULL : fake_migrates(&fake, after));
		/* where nothing is on, nothing is ended */
		CU_ASSERT_EQUAL(fake_count(&fake, "oob yank"), places[i].migrates != NULL);
		CU_ASSERT_EQUAL(fake_count(&fake, "x-colo-lost-heartbeat"),
			places[i].migrates != NULL && strcmp(places[i].migrates, "colo") == 0);
		end(handle);
		fake_stop(&fake);
	}
}

/*
 * A manager has freed the guest itself and migrates again, before we are asked: that one is left
 * alone. What is as old as the stream is ended.
 */
static void
test_next_migration(void)
{
	static const struct {
		const char *says;
		unsigned int yanks;
	} migrations[] = {
		{"\"return\":{\"status\":\"setup\"}", 0},
		{"\"return\":{\"status\":\"active\",\"total-time\":19}", 0},
		{"\"return\":{\"status\":\"active\",\"total-time\":60000}", 1},
		{"\"return\":{\"status\":\"active\"}", 1},
	};
	struct colo_error err = {{0}};

	for (unsigned int i = 0; i < sizeof(migrations) / sizeof(migrations[0]); i++) {
		int handle;

		fake_start_oob();
		handle = start(LONG_MS);
		CU_ASSERT_EQUAL(colo_keeper_watch(handle, LONG_MS, &err), 0);
		usleep(20000);
		fake.migrates = "active";
		fake_rule(&fake, "query-migrate", migrations[i].says);
		CU_ASSERT_EQUAL(
			colo_keeper_free(handle, 100, &err), migrations[i].yanks == 0 ? 0 : -1);
		CU_ASSERT_EQUAL(all_remedies(), migrations[i].yanks);
		end(handle);
		fake_stop(&fake);
	}
}

/* A QEMU that answers is there; one whose link alone broke as well; nobody at its socket: gone. */
static void
test_gone(void)
{
	struct colo_error err = {{0}};
	uint64_t began;
	int handle;

	CU_ASSERT_FALSE(colo_keeper_gone(0, 10));
	fake_start_oob();
	handle = start(LONG_MS);
	CU_ASSERT_EQUAL(colo_keeper_watch(handle, LONG_MS, &err), 0);
	CU_ASSERT_FALSE(colo_keeper_gone(handle, 100));
	fake.blocked = true;
	CU_ASSERT_FALSE(colo_keeper_gone(handle, 100));
	fake.blocked = false;
	fake.drop = true;
	AWAIT(!fake.drop);
	CU_ASSERT_FALSE(colo_keeper_gone(handle, 100));
	fake_stop(&fake);
	began = colo_monotonic_us();
	CU_ASSERT_TRUE(colo_keeper_gone(handle, LONG_MS));
	CU_ASSERT(colo_monotonic_us() - began < LONG_MS * 500);
	end(handle);
}

/* What somebody else stopped stays so. */
static void
test_leaves_stopped(void)
{
	static const char *const states[] = {"paused", "shutdown", "io-error", "guest-panicked"};
	struct colo_error err = {{0}};

	for (unsigned int i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		int handle;

		fake_start_oob();
		handle = start(LONG_MS);
		CU_ASSERT_EQUAL(colo_keeper_watch(handle, LONG_MS, &err), 0);
		place(false, states[i], "active", false);
		CU_ASSERT_EQUAL(colo_keeper_free(handle, LONG_MS, &err), 0);
		CU_ASSERT_FALSE(fake.running);
		CU_ASSERT_EQUAL(all_remedies(), 1); /* yank */
		end(handle);
		fake_stop(&fake);
	}
}

/* Cancelled in COLO state, QEMU does not come out of it: say so, in time. */
static void
test_cannot_free(void)
{
	struct colo_error err = {{0}};
	uint64_t began, took;
	int handle;

	fake_start_oob();
	handle = start(LONG_MS);
	CU_ASSERT_EQUAL(colo_keeper_watch(handle, LONG_MS, &err), 0);
	place(false, "colo", "cancelling", false);
	began = colo_monotonic_us();
	CU_ASSERT_EQUAL(colo_keeper_free(handle, 200, &err), -1);
	took = colo_monotonic_us() - began;
	CU_ASSERT(took > 150000 && took < 400000);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "run state colo, migration cancelling"));
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "\"exec-oob\":\"yank\""));
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "x-colo-lost-heartbeat"));
	CU_ASSERT_EQUAL(fake_count(&fake, "migrate_cancel"), 0);
	CU_ASSERT_FALSE(fake.running);
	end(handle);
	fake_stop(&fake);
}

/* Not freed in the time that the primary has for it: tried again, nobody has to ask. */
static void
test_tries_later(void)
{
	struct colo_error err = {{0}};
	int handle;

	fake_start_oob();
	handle = start(HOLD_MS);
	CU_ASSERT_EQUAL(colo_keeper_watch(handle, LONG_MS, &err), 0);
	place(false, "colo", "cancelling", false);
	CU_ASSERT_EQUAL(colo_keeper_free(handle, HOLD_MS / 2, &err), -1);
	CU_ASSERT_FALSE(fake.running);
	place(false, "colo", "colo", false);
	AWAIT(fake.running);
	end(handle);
	fake_stop(&fake);
}

/* The primary is killed while the guest stands still, or runs, in a stream. */
static void
run_killed(bool unwatched, bool running)
{
	struct colo_error err = {{0}};
	int status;
	pid_t pid;

	fake_start_oob();
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		int handle = start(LONG_MS);

		if (colo_keeper_watch(handle, LONG_MS, &err) != 0)
			_exit(1);
		colo_keeper_paused(handle, !running);
		if (unwatched)
			colo_keeper_unwatch(handle);
		place(running, "colo", "colo", !running);
		raise(SIGKILL);
	}
	/* the place is the child's own copy: the keeper's QEMU is here */
	place(running, "colo", "colo", false);
	CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
	CU_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	expect_end();
	CU_ASSERT_EQUAL(fake.running, running || !unwatched);
	CU_ASSERT_EQUAL(fake_migrates(&fake, "completed"), !unwatched);
	fake_stop(&fake);
}

static void
test_killed(void)
{
	run_killed(false, false);
	run_killed(false, true);
	run_killed(true, false);
}

/* The primary hangs: hold is over, not before; later it comes back. */
static void
test_hold(void)
{
	struct colo_error err = {{0}};
	uint64_t began, took;
	int handle;

	fake_start_oob();
	handle = start(HOLD_MS);
	CU_ASSERT_EQUAL(colo_keeper_watch(handle, LONG_MS, &err), 0);
	place(false, "colo", "colo", true);
	began = colo_monotonic_us();
	colo_keeper_paused(handle, true);
	AWAIT(fake.running);
	took = colo_monotonic_us() - began;
	CU_ASSERT(took >= HOLD_MS * 1000u && took < HOLD_MS * 1000u + 80000);
	AWAIT(fake_migrates(&fake, "completed"));
	usleep(50000); /* it looks again, and is content */
	CU_ASSERT_EQUAL(fake_count(&fake, "oob yank"), 1);
	/* it comes back; by now the guest may be in another migration */
	colo_keeper_paused(handle, false);
	fake.migrates = "active";
	CU_ASSERT_EQUAL(colo_keeper_free(handle, LONG_MS, &err), 0);
	CU_ASSERT_TRUE(fake_migrates(&fake, "active"));
	CU_ASSERT_EQUAL(fake_count(&fake, "oob yank"), 1);
	/* and is protected again */
	CU_ASSERT_EQUAL(colo_keeper_watch(handle, LONG_MS, &err), 0);
	CU_ASSERT_EQUAL(colo_keeper_free(handle, LONG_MS, &err), 0);
	CU_ASSERT_EQUAL(fake_count(&fake, "oob yank"), 2);
	end(handle);
	fake_stop(&fake);
}

static void
test_within_hold(void)
{
	struct colo_error err = {{0}};
	int handle;

	fake_start_oob();
	handle = start(HOLD_MS);
	CU_ASSERT_EQUAL(colo_keeper_watch(handle, LONG_MS, &err), 0);
	for (int i = 0; i < 4; i++) {
		colo_keeper_paused(handle, true);
		usleep(HOLD_MS * 400);
		colo_keeper_paused(handle, false);
	}
	/* nobody is told that an unwatched guest is back */
	colo_keeper_paused(handle, true);
	colo_keeper_unwatch(handle);
	usleep(HOLD_MS * 2000);
	/* and a pause outside of a stream is not ours */
	colo_keeper_paused(handle, true);
	usleep(HOLD_MS * 2000);
	CU_ASSERT_EQUAL(all_remedies(), 0);
	end(handle);
	fake_stop(&fake);
}

#define STOPPED "{\"event\":\"STOP\"}\r\n"
#define RESUMED "{\"event\":\"RESUME\"}\r\n"

/* The primary hung before it could say that the guest stands still: QEMU says so. */
static void
test_hold_by_events(void)
{
	static const struct {
		const char *status, *migrates, *says;
		bool blocked, freed;
	} places[] = {
		{"colo", "colo", STOPPED, true, true},
		{"colo", "colo", STOPPED, false, true},
		{"finish-migrate", "colo", STOPPED, false, true},
		{"colo", "colo", STOPPED RESUMED, false, false},
		{"paused", "active", STOPPED, false, false}, /* an operator */
		{"finish-migrate", "pre-switchover", STOPPED, false, false},
	};
	struct colo_error err = {{0}};

	for (unsigned int i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		int handle;

		fake_start_oob();
		handle = start(HOLD_MS);
		CU_ASSERT_EQUAL(colo_keeper_watch(handle, LONG_MS, &err), 0);
		place(false, places[i].status, places[i].migrates, places[i].blocked);
		fake.says = places[i].says;
		if (places[i].freed) {
			AWAIT(fake.running);
		} else {
			usleep(HOLD_MS * 3500);
			CU_ASSERT_EQUAL(all_remedies(), 0);
			fake.says = RESUMED;
			usleep(HOLD_MS * 1000);
		}
		end(handle);
		fake_stop(&fake);
	}
}

/* QEMU died and another one is there: the next stream finds it. */
static void
test_new_qemu(void)
{
	struct colo_error err = {{0}};
	int handle;

	fake_start_oob();
	handle = start(HOLD_MS);
	CU_ASSERT_EQUAL(colo_keeper_watch(handle, LONG_MS, &err), 0);
	fake.drop = true;
	AWAIT(!fake.drop);
	CU_ASSERT_EQUAL(colo_keeper_watch(handle, LONG_MS, &err), 0);
	CU_ASSERT_EQUAL(fake_count(&fake, "qmp_capabilities"), 2);
	CU_ASSERT_EQUAL(colo_keeper_watch(handle, LONG_MS, &err), 0);
	CU_ASSERT_EQUAL(fake_count(&fake, "qmp_capabilities"), 2);
	fake.drop = true;
	AWAIT(!fake.drop);
	place(false, "colo", "colo", false);
	CU_ASSERT_EQUAL(colo_keeper_free(handle, LONG_MS, &err), 0);
	CU_ASSERT_TRUE(fake.running);
	end(handle);
	fake_stop(&fake);
}

static void
test_refusals(void)
{
	struct colo_error err = {{0}};
	char path[COLO_UNIX_PATH_MAX + 2];
	int handle;

	fake_start(&fake); /* without oob */
	handle = start(HOLD_MS);
	CU_ASSERT_EQUAL(colo_keeper_watch(handle, LONG_MS, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "offers no out-of-band commands"));
	fake.greeting = NULL;
	CU_ASSERT_EQUAL(colo_keeper_watch(handle, 100, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "another client holds it"));
	fake.greeting = FAKE_OOB_GREETING;
	fake_rule(&fake, "qmp_capabilities", "\"error\":{\"desc\":\"not today\"}");
	CU_ASSERT_EQUAL(colo_keeper_watch(handle, LONG_MS, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "not today"));
	CU_ASSERT_EQUAL(all_remedies(), 0);
	fake_stop(&fake);
	CU_ASSERT_EQUAL(colo_keeper_watch(handle, LONG_MS, &err), -1);
	CU_ASSERT_EQUAL(colo_keeper_free(handle, LONG_MS, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, fake.path));
	end(handle);

	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[COLO_UNIX_PATH_MAX] = '\0';
	handle = colo_keeper_start(path, HOLD_MS, true, &err);
	CU_ASSERT(handle > 2);
	end(handle);
	path[COLO_UNIX_PATH_MAX] = 'x';
	path[COLO_UNIX_PATH_MAX + 1] = '\0';
	CU_ASSERT_EQUAL(colo_keeper_start(path, HOLD_MS, true, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "more than 107 bytes"));
}

/* QEMU talks nonsense, hangs or closes when it matters. */
static void
test_bad_qemu(void)
{
	static const char *const how[] = {"!garbage", "!close", "!silent", "!flood",
		"\"return\":[]", "\"return\":{\"status\":17,\"running\":true}"};
	struct colo_error err = {{0}};

	for (unsigned int i = 0; i < sizeof(how) / sizeof(how[0]); i++) {
		static const char *const commands[] = {"yank", "query-status"};

		for (unsigned int c = 0; c < 2; c++) {
			uint64_t began;
			int handle;

			if (c == 0 && how[i][0] != '!')
				continue; /* nobody looks at what yank returns */
			fake_start_oob();
			handle = start(HOLD_MS);
			CU_ASSERT_EQUAL(colo_keeper_watch(handle, LONG_MS, &err), 0);
			place(false, "colo", "colo", false);
			fake_rule(&fake, commands[c], how[i]);
			began = colo_monotonic_us();
			CU_ASSERT_EQUAL(colo_keeper_free(handle, 150, &err), -1);
			CU_ASSERT(colo_monotonic_us() - began < 300000);
			end(handle);
			fake_stop(&fake);
		}
	}
}

static void
test_without(void)
{
	static const int handles[] = {-1, 0};
	struct colo_error err;

	for (unsigned int i = 0; i < 2; i++) {
		CU_ASSERT_EQUAL(colo_keeper_watch(handles[i], 10, &err), 0);
		CU_ASSERT_EQUAL(colo_keeper_free(handles[i], 10, &err), 0);
		colo_keeper_paused(handles[i], true);
		colo_keeper_unwatch(handles[i]);
		colo_keeper_end(handles[i]);
	}
	CU_ASSERT(fcntl(0, F_GETFD) >= 0);
}

/* A keeper that is gone, or hangs, takes no primary with it. */
static void
test_keeper_gone(void)
{
	struct colo_error err = {{0}};
	uint64_t began;
	int handle;
	pid_t pid;

	fake_start_oob();
	handle = start(HOLD_MS);
	pid = only_child();
	CU_ASSERT_EQUAL(kill(pid, SIGSTOP), 0);
	began = colo_monotonic_us();
	CU_ASSERT_EQUAL(colo_keeper_watch(handle, 50, &err), -1);
	CU_ASSERT(colo_monotonic_us() - began < 150000);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "did not answer within 50 ms"));
	for (int i = 0; i < 10000; i++)
		colo_keeper_paused(handle, true);
	CU_ASSERT_EQUAL(kill(pid, SIGCONT), 0);
	usleep(50000);
	/* the late answer, that it could not in time, is nobody's */
	CU_ASSERT_EQUAL(colo_keeper_watch(handle, LONG_MS, &err), 0);
	kill(pid, SIGKILL);
	CU_ASSERT_EQUAL(waitpid(pid, NULL, 0), pid);
	CU_ASSERT_EQUAL(colo_keeper_free(handle, LONG_MS, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "keeper process is gone"));
	colo_keeper_paused(handle, true);
	colo_keeper_end(handle);
	fake_stop(&fake);
}

/* It outlives what ends everything else on the terminal, and holds nothing that others wait for. */
static void
test_outlives(void)
{
	struct colo_error err = {{0}};
	char path[64], name[32] = "";
	int handle, held[2];
	pid_t pid;
	FILE *f;

	fake_start_oob();
	CU_ASSERT_EQUAL_FATAL(pipe(held), 0);
	handle = start(HOLD_MS);
	close(held[1]);
	CU_ASSERT_EQUAL(read(held[0], name, 1), 0); /* nobody else has its other end */
	close(held[0]);
	pid = only_child();
	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	f = fopen(path, "r");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	CU_ASSERT_PTR_NOT_NULL(fgets(name, sizeof(name), f));
	CU_ASSERT_STRING_EQUAL(name, "dpdk-colo-keep\n");
	fclose(f);
	CU_ASSERT_NOT_EQUAL(getsid(pid), getsid(0));
	CU_ASSERT_EQUAL(colo_keeper_watch(handle, LONG_MS, &err), 0);
	place(false, "colo", "colo", true);
	kill(pid, SIGINT);
	kill(pid, SIGTERM);
	kill(pid, SIGHUP);
	usleep(20000);
	CU_ASSERT_EQUAL(waitpid(pid, NULL, WNOHANG), 0);
	close(handle); /* without a word */
	expect_end();
	CU_ASSERT_TRUE(fake.running);
	fake_stop(&fake);
}

int
main(void)
{
	static const struct ut_case cases[] = {
		{"frees", test_frees},
		{"the migration after the stream's", test_next_migration},
		{"a QEMU that is gone", test_gone},
		{"leaves stopped what others stopped", test_leaves_stopped},
		{"cannot free", test_cannot_free},
		{"tries later", test_tries_later},
		{"primary killed", test_killed},
		{"primary hangs", test_hold},
		{"primary is in time", test_within_hold},
		{"primary hangs, events tell", test_hold_by_events},
		{"another QEMU", test_new_qemu},
		{"refusals", test_refusals},
		{"a bad QEMU", test_bad_qemu},
		{"without a keeper", test_without},
		{"keeper hangs or is gone", test_keeper_gone},
		{"outlives the terminal", test_outlives},
	};

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	return UT_RUN("keeper", cases);
}
