/* SPDX-License-Identifier: BSD-3-Clause */
/* privileges.c and syscall_filter.c: what is dropped is gone in every thread; what is needed stays.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "privileges.h"
#include "syscall_filter.h"
#include "thread.h"
#include "ut.h"

/* What is done cannot be undone, so each case does it in a child; its status says which check
 * failed. */
#define CHECK(condition)                 \
	do {                             \
		if (!(condition))        \
			return __LINE__; \
	} while (0)

static void
in_child(int (*run)(void))
{
	int status, fd[2], line = -1;
	pid_t pid;

	CU_ASSERT_EQUAL_FATAL(pipe(fd), 0);
	pid = fork();
	if (pid == 0) {
		line = run();
		_exit(write(fd[1], &line, sizeof(line)) != sizeof(line));
	}
	close(fd[1]);
	CU_ASSERT_FATAL(pid > 0);
	if (read(fd[0], &line, sizeof(line)) != sizeof(line))
		line = -1;
	close(fd[0]);
	CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
	CU_ASSERT_EQUAL(status, 0);
	CU_ASSERT_EQUAL(line, 0);
	if (line != 0)
		printf("line %d\n", line);
}

static uint64_t
status_of(pid_t thread, const char *name, int base)
{
	char path[64], line[256];
	uint64_t value = UINT64_MAX;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/status", thread);
	f = fopen(path, "r");
	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if (strncmp(line, name, strlen(name)) == 0)
			value = strtoull(line + strlen(name), NULL, base);
	if (f != NULL)
		fclose(f);
	return value;
}

/* ---- threads that wait in the kernel in one way each ---- */

struct waiter {
	pthread_t thread;
	_Atomic pid_t id;
	int fd;		/* to wake it */
	int error;	/* errno of its wait */
	bool restarted; /* its wait did not end by the signal */
};

static void *
wait_in_read(void *arg)
{
	struct waiter *w = arg;
	uint64_t n;

	w->id = gettid();
	w->restarted = read(w->fd, &n, sizeof(n)) == sizeof(n);
	w->error = errno;
	return NULL;
}

static void *
wait_in_poll(void *arg)
{
	struct waiter *w = arg;
	struct pollfd p = {.fd = w->fd, .events = POLLIN};

	w->id = gettid();
	while (poll(&p, 1, -1) < 0 && errno == EINTR)
		;
	w->restarted = p.revents == POLLIN;
	return NULL;
}

static void *
spin(void *arg)
{
	struct waiter *w = arg;

	w->id = gettid();
	while (fcntl(w->fd, F_GETFL) >= 0)
		;
	w->restarted = true;
	return NULL;
}

static int
start_waiters(struct waiter w[3])
{
	void *(*const run[])(void *) = {wait_in_read, wait_in_poll, spin};
	struct colo_error err;

	for (unsigned int i = 0; i < 3; i++) {
		w[i] = (struct waiter){.fd = eventfd(0, EFD_CLOEXEC)};
		/* one of DPDK's kind, the others as ours are: with all signals blocked */
		if (i == 0)
			CHECK(pthread_create(&w[i].thread, NULL, run[i], &w[i]) == 0);
		else
			CHECK(colo_thread_start(&w[i].thread, "waiter", run[i], &w[i], &err) == 0);
		while (w[i].id == 0)
			sched_yield();
	}
	return 0;
}

static int
end_waiters(struct waiter w[3])
{
	for (unsigned int i = 0; i < 3; i++) {
		if (i < 2)
			CHECK(eventfd_write(w[i].fd, 1) == 0);
		else
			close(w[i].fd);
		pthread_join(w[i].thread, NULL);
		CHECK(w[i].restarted);
	}
	return 0;
}

static int
check_thread(pid_t id, uint64_t keep)
{
	CHECK((status_of(id, "CapEff:", 16) & ~keep) == 0);
	CHECK((status_of(id, "CapPrm:", 16) & ~keep) == 0);
	CHECK((status_of(id, "CapInh:", 16) & ~keep) == 0);
	CHECK((status_of(id, "CapAmb:", 16) & ~keep) == 0);
	CHECK(geteuid() != 0 || (status_of(id, "CapBnd:", 16) & ~keep) == 0);
	CHECK(status_of(id, "NoNewPrivs:", 10) == 1);
	return 0;
}

static int
drops_in(uint64_t keep)
{
	struct colo_privileges done = {0};
	struct waiter w[3];
	struct colo_error err = {""};
	int line = start_waiters(w);
	uint64_t had = status_of(getpid(), "CapPrm:", 16);

	CHECK(line == 0);
	CHECK(colo_privileges_drop(keep, &done, &err) == 0);
	CHECK(done.had == had && done.kept == (had & keep) && done.threads == 4);
	CHECK(status_of(getpid(), "CapEff:", 16) == (had & keep));
	for (unsigned int i = 0; i < 4; i++) {
		line = check_thread(i < 3 ? w[i].id : getpid(), keep);
		if (line != 0)
			return line;
	}
	/* once more finds nothing to do; the signal is without effect from now on */
	CHECK(colo_privileges_drop(keep, &done, &err) == 0);
	CHECK(kill(getpid(), COLO_PRIVILEGES_SIGNAL) == 0);
	return end_waiters(w);
}

static int
drops_all(void)
{
	return drops_in(0);
}

static int
keeps_some(void)
{
	return drops_in(COLO_CAPABILITY(CAP_NET_RAW) | COLO_CAPABILITY(CAP_BPF));
}

/* A thread that lets no signal in cannot drop: that is said, after the limit. */
static void *
deaf(void *arg)
{
	struct waiter *w = arg;
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	return wait_in_read(w);
}

static int
says_who_did_not(void)
{
	struct waiter w = {.fd = eventfd(0, 0)};
	struct colo_privileges done;
	struct colo_error err = {""};

	CHECK(pthread_create(&w.thread, NULL, deaf, &w) == 0);
	while (w.id == 0)
		sched_yield();
	usleep(10000);
	CHECK(colo_privileges_drop(0, &done, &err) == -1);
	CHECK(strcmp(err.text, "1 of 2 threads did not drop their capabilities") == 0);
	return 0;
}

/* ---- system calls ---- */

static int
refused(long rc)
{
	return rc == -1 && errno == EPERM;
}

static void *
nothing(void *arg)
{
	return arg;
}

static int
check_refused(void)
{
	CHECK(refused(fork()));
	CHECK(refused(execl("/bin/true", "true", NULL)));
	CHECK(refused(ptrace(PTRACE_TRACEME, 0, 0, 0)));
	CHECK(refused(syscall(SYS_bpf, 0, NULL, 0)));
	CHECK(refused(syscall(SYS_io_uring_setup, 1, NULL)));
	CHECK(refused(syscall(SYS_userfaultfd, 0)));
	CHECK(refused(syscall(SYS_kill, getppid(), 0)));
	CHECK(refused(syscall(SYS_tgkill, getppid(), getppid(), 0)));
	CHECK(refused(syscall(SYS_mount, "a", "/a", "tmpfs", 0, NULL)));
	CHECK(refused(syscall(SYS_setuid, 0)));
	CHECK(refused(prctl(PR_SET_DUMPABLE, 1)));
	CHECK(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
			MAP_FAILED &&
		errno == EPERM);
	CHECK(refused(socket(AF_NETLINK, SOCK_RAW, 0)));
	return 0;
}

static void *
for_ever(void *arg)
{
	for (;;)
		pause();
	return arg;
}

/* ---- both lists ---- */

static int
filters_program(void)
{
	struct waiter w[3];
	struct colo_error err = {""};
	pthread_t later;
	int line = start_waiters(w), fd;
	void *page;

	CHECK(line == 0);
	CHECK(colo_syscall_filter(COLO_SYSCALLS_SOFTWARE, &err) > 0);
	for (unsigned int i = 0; i < 4; i++)
		CHECK(status_of(i < 3 ? w[i].id : getpid(), "Seccomp:", 10) == 2);
	line = check_refused();
	if (line != 0)
		return line;
	CHECK(refused(bind(w[0].fd, NULL, 0)) && refused(listen(w[0].fd, 1)));
	/* what dpdk-colo does later on */
	CHECK(pthread_create(&later, NULL, nothing, NULL) == 0 && pthread_join(later, NULL) == 0);
	CHECK(pthread_create(&later, NULL, for_ever, NULL) == 0);
	CHECK(pthread_cancel(later) == 0 && pthread_join(later, NULL) == 0);
	fd = memfd_create("x", MFD_CLOEXEC);
	CHECK(fd >= 0 && ftruncate(fd, 4096) == 0);
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(page != MAP_FAILED && mprotect(page, 4096, PROT_READ) == 0);
	CHECK(refused(mprotect(page, 4096, PROT_READ | PROT_EXEC)));
	CHECK(socket(AF_INET, SOCK_STREAM, 0) >= 0 && socket(AF_UNIX, SOCK_STREAM, 0) >= 0);
	CHECK(prctl(PR_SET_NAME, "named") == 0);
	return end_waiters(w);
}

static int
filters_hardware(void)
{
	CHECK(colo_syscall_filter(COLO_SYSCALLS_HARDWARE, NULL) > 0);
	CHECK(refused(fork()) && refused(execl("/bin/true", "true", NULL)));
	CHECK(socket(AF_NETLINK, SOCK_RAW, 0) >= 0);
	return 0;
}

static int
filters_beside(void)
{
	CHECK(colo_syscall_filter(COLO_SYSCALLS_BESIDE, NULL) > 0);
	CHECK(refused(open("/etc/passwd", O_RDONLY)));
	CHECK(refused(socket(AF_INET, SOCK_STREAM, 0)));
	CHECK(socket(AF_UNIX, SOCK_STREAM, 0) >= 0);
	return check_refused();
}

static void
threads(void)
{
	in_child(drops_all);
	in_child(keeps_some);
}

static void
deaf_thread(void)
{
	/* without capabilities there is one thing less to miss, but no new privileges is another */
	in_child(says_who_did_not);
}

static void
calls(void)
{
	in_child(filters_program);
	in_child(filters_hardware);
	in_child(filters_beside);
}

/* ---- files ---- */

static int
makes_private(void)
{
	char dir[] = "/tmp/privileges_ut.XXXXXX", file[64], path[64];
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	struct stat of_file, of_socket;
	FILE *f;

	colo_privileges_private_files();
	CHECK(mkdtemp(dir) != NULL);
	snprintf(file, sizeof(file), "%s/file", dir);
	snprintf(path, sizeof(path), "%s/socket", dir);
	strcpy(address.sun_path, path);
	f = fopen(file, "w");
	CHECK(f != NULL && fclose(f) == 0);
	CHECK(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	CHECK(stat(file, &of_file) == 0 && stat(path, &of_socket) == 0);
	unlink(file);
	unlink(path);
	rmdir(dir);
	CHECK((of_file.st_mode & 0777) == 0600 && (of_socket.st_mode & 0077) == 0);
	return 0;
}

static void
files(void)
{
	in_child(makes_private);
}

static void
names(void)
{
	char text[64];

	CU_ASSERT_STRING_EQUAL(colo_privileges_names(0, text, sizeof(text)), "none");
	CU_ASSERT_STRING_EQUAL(
		colo_privileges_names(COLO_CAPABILITY(CAP_NET_ADMIN) |
					      COLO_CAPABILITY(CAP_NET_RAW) |
					      COLO_CAPABILITY(CAP_IPC_LOCK) | COLO_CAPABILITY(63),
			text, sizeof(text)),
		"cap_net_admin,cap_net_raw,cap_ipc_lock,cap_63");
	colo_privileges_names(UINT64_MAX, text, 10);
	CU_ASSERT_EQUAL(strlen(text), 9);
}

int
main(void)
{
	static const struct ut_case cases[] = {
		{"all threads drop", threads},
		{"a thread that does not", deaf_thread},
		{"system calls", calls},
		{"files", files},
		{"names", names},
	};

	return UT_RUN("privileges", cases);
}
