/* SPDX-License-Identifier: BSD-3-Clause */
/* The guardian process: waits for the primary's end, and resumes the guest if it was a bad one. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guardian.h"
#include "private_dir.h"
#include "qmp.h"

/* What the primary tells: the first byte of a message; a path follows NOTE_FILE. */
enum note {
	NOTE_RUNS = 'r',
	NOTE_STOPPED = 's',
	NOTE_END = 'e',
	NOTE_FILE = 'f',
};

#define FIRST_HANDLE   3   /* not one of stdin, stdout, stderr */
#define RETRY_PAUSE_MS 20u /* QEMU needs a moment to see that its last client is gone */
#define CHILD_SOCKET   FIRST_HANDLE
#define COMMAND_MS     1000u

/* What the guardian knows when the primary ends. */
struct last_words {
	char note;			  /* 0: it never said any */
	char file[COLO_PRIVATE_PATH_MAX]; /* empty: none */
};

static void
await_end(int fd, struct last_words *last)
{
	char message[1 + COLO_PRIVATE_PATH_MAX];
	ssize_t n;

	*last = (struct last_words){0};
	while (last->note != NOTE_END) {
		n = recv(fd, message, sizeof(message) - 1, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		message[n] = '\0';
		if (message[0] == NOTE_FILE)
			strcpy(last->file, message + 1);
		else
			last->note = message[0];
	}
}

/* The file and its directory; of the latter only if nothing else is in it. */
static void
remove_file(char *file)
{
	char *slash = strrchr(file, '/');

	unlink(file);
	if (slash == NULL)
		return;
	*slash = '\0';
	rmdir(file);
}

/* @return true once there is nothing more to do. */
static bool
try_resume(struct colo_qmp *q, const char *path)
{
	char status[COLO_QMP_STATUS_MAX];
	enum colo_outcome got;
	bool running;

	got = colo_qmp_open(q, path, COLO_NO_ABORT, colo_deadline(COMMAND_MS), NULL);
	if (got != COLO_OUTCOME_OK)
		return false;
	got = colo_qmp_status(q, colo_deadline(COMMAND_MS), status, &running, NULL);
	if (got == COLO_OUTCOME_OK && strcmp(status, "paused") == 0)
		got = colo_qmp_command(q, "cont", NULL, colo_deadline(COMMAND_MS), NULL, NULL);
	colo_qmp_close(q);
	return got == COLO_OUTCOME_OK;
}

static void
resume_guest(struct colo_qmp *q, const char *path)
{
	uint64_t deadline = colo_deadline(COLO_GUARDIAN_RETRY_MS);

	while (!try_resume(q, path) && colo_deadline_left(deadline) > 0)
		colo_wait_fd(-1, 0, COLO_NO_ABORT, colo_deadline(RETRY_PAUSE_MS));
}

/* Keep nothing of the primary's but the socket: no terminal, no pipe that somebody waits for. */
static void
let_go(int fd)
{
	int null = open("/dev/null", O_RDWR);

	setsid();
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	for (int i = 0; i < FIRST_HANDLE; i++)
		dup2(null, i);
	dup2(fd, CHILD_SOCKET);
	close_range(CHILD_SOCKET + 1, UINT_MAX, 0);
	if (chdir("/") != 0)
		return; /* it only keeps a directory busy */
}

static void __attribute__((noreturn)) guard(int fd, const char *path)
{
	struct colo_qmp *q = malloc(sizeof(*q));
	struct last_words last;

	prctl(PR_SET_NAME, "dpdk-colo-guard");
	let_go(fd);
	await_end(CHILD_SOCKET, &last);
	if (q != NULL && last.note != NOTE_END && last.note != NOTE_RUNS)
		resume_guest(q, path);
	if (last.note != NOTE_END)
		remove_file(last.file);
	_exit(0);
}

/* Fork twice: init reaps the guardian, so that the primary never has to. */
static int
fork_guardian(const int pair[2], const char *path)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		pid = fork();
		if (pid == 0)
			guard(pair[1], path);
		_exit(pid < 0);
	}
	if (pid < 0)
		return -1;
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -1;
	}
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

int
colo_guardian_start(const char *qmp_path, struct colo_error *err)
{
	char path[PATH_MAX];
	int handle, pair[2];

	/* the guardian leaves this directory */
	if (realpath(qmp_path, path) == NULL)
		return colo_error_set(err, "no QMP socket at %s: %s", qmp_path, strerror(errno));
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		return colo_error_set(err, "guardian has no socket: %s", strerror(errno));
	handle = fcntl(pair[0], F_DUPFD_CLOEXEC, FIRST_HANDLE);
	close(pair[0]);
	pair[0] = handle;
	if (handle >= 0 && fork_guardian(pair, path) != 0) {
		close(handle);
		handle = -1;
	}
	close(pair[1]);
	if (handle < 0)
		return colo_error_set(err, "guardian cannot be started: %s", strerror(errno));
	return handle;
}

static void
tell(int handle, const char *message, size_t length)
{
	/* a guardian that is gone cannot be told */
	if (handle > 0 && send(handle, message, length, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return;
}

void
colo_guardian_note(int handle, bool stopped_by_us)
{
	char note = stopped_by_us ? NOTE_STOPPED : NOTE_RUNS;

	tell(handle, &note, 1);
}

void
colo_guardian_clean(int handle, const char *path)
{
	char message[1 + COLO_PRIVATE_PATH_MAX];
	int n = snprintf(message, sizeof(message), "%c%s", NOTE_FILE, path);

	if (n > 0 && (size_t)n < sizeof(message))
		tell(handle, message, (size_t)n);
}

void
colo_guardian_release(int handle)
{
	char note = NOTE_END;

	if (handle <= 0)
		return;
	tell(handle, &note, 1);
	close(handle);
}
