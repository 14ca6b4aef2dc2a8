/* SPDX-License-Identifier: BSD-3-Clause */
/* The guardian: when it resumes the guest, and when it keeps its hands off. */
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "fake_qmp.h"
#include "guardian.h"
#include "ut.h"

static struct fake_qmp fake;

/* What the primary does with its guardian before it dies. */
enum life {
	SAYS_NOTHING,
	SAYS_RUNS,
	SAYS_STOPPED,
	SAYS_BOTH,
	ENDS_WELL
};

static char left_dir[64], left_file[128]; /* what the primary leaves behind */

static void __attribute__((noreturn)) live(enum life life)
{
	struct colo_error err;
	int handle = colo_guardian_start(fake.path, true, &err);

	if (handle <= 2)
		_exit(1);
	if (left_file[0] != '\0')
		colo_guardian_clean(handle, left_file);
	if (life == SAYS_STOPPED || life == SAYS_BOTH)
		colo_guardian_note(handle, true);
	if (life == SAYS_RUNS || life == SAYS_BOTH)
		colo_guardian_note(handle, false);
	if (life == ENDS_WELL)
		colo_guardian_release(handle);
	raise(SIGKILL);
	_exit(1);
}

/* Let a primary live and die, wait until its guardian (which becomes our child) is gone too. */
static void
run_life(enum life life)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0)
		live(life);
	CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
	CU_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	CU_ASSERT(waitpid(-1, &status, 0) > 0);
	CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CU_ASSERT_EQUAL(waitpid(-1, &status, 0), -1);
}

static void
expect(enum life life, bool running_before, bool running_after)
{
	fake_start(&fake);
	fake.running = running_before;
	run_life(life);
	CU_ASSERT_EQUAL(fake.running, running_after);
	fake_stop(&fake);
}

static void
test_resumes(void)
{
	expect(SAYS_NOTHING, false, true);
	expect(SAYS_STOPPED, false, true);
	expect(SAYS_STOPPED, true, true);
}

static void
test_keeps_off(void)
{
	expect(SAYS_RUNS, false, false);
	expect(SAYS_BOTH, false, false);
	expect(ENDS_WELL, false, false);
}

/* Only a paused guest is resumed, not one that waits, crashed or shut down. */
static void
test_other_states(void)
{
	static const char *const states[] = {
		"inmigrate", "shutdown", "internal-error", "prelaunch"};

	for (unsigned int i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		fake_start(&fake);
		fake.running = false;
		fake.status = states[i];
		run_life(SAYS_STOPPED);
		CU_ASSERT_EQUAL(fake_count(&fake, "query-status"), 1);
		CU_ASSERT_EQUAL(fake_count(&fake, "cont"), 0);
		fake_stop(&fake);
	}
}

/* QEMU refuses once, or closes: the guardian tries again. */
static void *
mend(void *arg)
{
	usleep(100000);
	fake_rule(arg, "cont", NULL);
	return NULL;
}

static void
test_tries_again(void)
{
	pthread_t thread;

	fake_start(&fake);
	fake.running = false;
	fake_rule(&fake, "cont", "!close");
	pthread_create(&thread, NULL, mend, &fake);
	run_life(SAYS_STOPPED);
	pthread_join(thread, NULL);
	CU_ASSERT(fake_count(&fake, "cont") > 1);
	CU_ASSERT_TRUE(fake.running);
	fake_stop(&fake);
}

/* It outlives what ends everything else on the terminal, and holds nothing that others wait for. */
static void
test_outlives(void)
{
	char path[64], name[32] = "";
	struct colo_error err;
	int handle, status;
	int held[2];
	pid_t pid;
	FILE *f;

	fake_start(&fake);
	fake.running = false;
	CU_ASSERT_EQUAL_FATAL(pipe(held), 0);
	handle = colo_guardian_start(fake.path, true, &err);
	CU_ASSERT_FATAL(handle > 2);
	close(held[1]);
	CU_ASSERT_EQUAL(read(held[0], name, 1), 0); /* nobody else has its other end */
	close(held[0]);
	/* it is our only child */
	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	f = fopen(path, "r");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	CU_ASSERT_EQUAL(fscanf(f, "%d", &pid), 1);
	fclose(f);
	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	f = fopen(path, "r");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	CU_ASSERT_PTR_NOT_NULL(fgets(name, sizeof(name), f));
	CU_ASSERT_STRING_EQUAL(name, "dpdk-colo-guard\n");
	fclose(f);
	CU_ASSERT_NOT_EQUAL(getpgid(pid), getpgid(0));
	kill(pid, SIGINT);
	kill(pid, SIGTERM);
	kill(pid, SIGHUP);
	usleep(20000);
	CU_ASSERT_EQUAL(waitpid(pid, &status, WNOHANG), 0);
	close(handle); /* without a word */
	CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
	CU_ASSERT_TRUE(fake.running);
	fake_stop(&fake);
}

/* A file and its directory are removed after a kill, and left to an orderly end. */
static void
test_cleans(void)
{
	static const enum life lives[] = {SAYS_NOTHING, SAYS_RUNS, SAYS_STOPPED, ENDS_WELL};
	FILE *f;

	for (unsigned int i = 0; i < sizeof(lives) / sizeof(lives[0]); i++) {
		fake_start(&fake);
		snprintf(left_dir, sizeof(left_dir), "/tmp/colo-left-XXXXXX");
		CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(left_dir));
		snprintf(left_file, sizeof(left_file), "%s/file", left_dir);
		f = fopen(left_file, "w");
		CU_ASSERT_PTR_NOT_NULL_FATAL(f);
		fclose(f);
		run_life(lives[i]);
		CU_ASSERT_EQUAL(access(left_file, F_OK) == 0, lives[i] == ENDS_WELL);
		CU_ASSERT_EQUAL(access(left_dir, F_OK) == 0, lives[i] == ENDS_WELL);
		unlink(left_file);
		rmdir(left_dir);
		left_file[0] = '\0';
		fake_stop(&fake);
	}
}

static void
test_without(void)
{
	struct colo_error err = {{0}};

	CU_ASSERT_EQUAL(colo_guardian_start("/no/such/socket", true, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "no QMP socket at /no/such/socket"));
	colo_guardian_note(-1, true);
	colo_guardian_note(0, true);
	colo_guardian_release(-1);
	colo_guardian_release(0);
	CU_ASSERT_EQUAL(fcntl(0, F_GETFD) >= 0, true);
}

/* A guardian that was killed takes no primary with it. */
static void
test_killed(void)
{
	struct colo_error err;
	char path[64];
	int handle;
	pid_t pid;
	FILE *f;

	fake_start(&fake);
	handle = colo_guardian_start(fake.path, true, &err);
	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	f = fopen(path, "r");
	CU_ASSERT_EQUAL(fscanf(f, "%d", &pid), 1);
	fclose(f);
	kill(pid, SIGKILL);
	CU_ASSERT_EQUAL(waitpid(pid, NULL, 0), pid);
	colo_guardian_note(handle, true);
	colo_guardian_release(handle);
	fake_stop(&fake);
}

int
main(void)
{
	static const struct ut_case cases[] = {
		{"resumes", test_resumes},
		{"keeps its hands off", test_keeps_off},
		{"other run states", test_other_states},
		{"tries again", test_tries_again},
		{"cleans up", test_cleans},
		{"outlives the terminal", test_outlives},
		{"without a guardian", test_without},
		{"guardian killed", test_killed},
	};

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	return UT_RUN("guardian", cases);
}
