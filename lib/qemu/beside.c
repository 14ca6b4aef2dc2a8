/* SPDX-License-Identifier: BSD-3-Clause */
/* A process beside the primary: fork, let go of everything that is the primary's. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "beside.h"
#include "privileges.h"
#include "syscall_filter.h"

#define FIRST_HANDLE 3 /* not one of stdin, stdout, stderr */
#define CHILD_SOCKET FIRST_HANDLE

/* Keep nothing of the primary's but the socket: no terminal, no pipe that somebody waits for. */
static void
let_go(int fd, bool keeps_stderr)
{
	int null = open("/dev/null", O_RDWR);

	setsid();
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	for (int i = 0; i < (keeps_stderr ? STDERR_FILENO : FIRST_HANDLE); i++)
		dup2(null, i);
	dup2(fd, CHILD_SOCKET);
	close_range(CHILD_SOCKET + 1, UINT_MAX, 0);
	if (chdir("/") != 0)
		return; /* it only keeps a directory busy */
}

/* A kernel that refuses does the same to the primary, which says so. */
static void
confine(void)
{
	if (colo_privileges_drop_own(0) == 0)
		(void)colo_syscall_filter(COLO_SYSCALLS_BESIDE, NULL);
}

/* Fork twice: init reaps the process, so that the primary never has to. */
static int
fork_twice(const struct colo_beside *what, int fd, void *arg, bool confined)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		pid = fork();
		if (pid == 0) {
			prctl(PR_SET_NAME, what->name);
			let_go(fd, what->keeps_stderr);
			if (confined)
				confine();
			what->live(CHILD_SOCKET, arg);
			_exit(0);
		}
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
colo_beside_start(const struct colo_beside *what, void *arg, bool confined, struct colo_error *err)
{
	int handle, pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		return colo_error_set(err, "%s has no socket: %s", what->name, strerror(errno));
	handle = fcntl(pair[0], F_DUPFD_CLOEXEC, FIRST_HANDLE);
	close(pair[0]);
	if (handle >= 0 && fork_twice(what, pair[1], arg, confined) != 0) {
		close(handle);
		handle = -1;
	}
	close(pair[1]);
	if (handle < 0)
		return colo_error_set(err, "%s cannot be started: %s", what->name, strerror(errno));
	return handle;
}
