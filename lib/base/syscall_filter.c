/* SPDX-License-Identifier: BSD-3-Clause */
/* The lists of system calls, and the filter made of them. */
#include <dlfcn.h>
#include <errno.h>
#include <linux/sockios.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <seccomp.h>

#include "syscall_filter.h"

#define ENTRIES(a) (sizeof(a) / sizeof((a)[0]))

/* Everybody: memory, time, waiting, descriptors that are there, the end. */
static const int common[] = {
	/* memory; mmap and mprotect are below */
	SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise),
	/* time and waiting */
	SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(gettimeofday), SCMP_SYS(time),
	SCMP_SYS(nanosleep), SCMP_SYS(clock_nanosleep), SCMP_SYS(poll), SCMP_SYS(ppoll),
	SCMP_SYS(restart_syscall), SCMP_SYS(futex), SCMP_SYS(sched_yield),
	/* descriptors */
	SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv), SCMP_SYS(writev), SCMP_SYS(close),
	SCMP_SYS(fcntl), SCMP_SYS(fstat), SCMP_SYS(newfstatat), SCMP_SYS(lseek),
	/* sockets; socket is below */
	SCMP_SYS(connect), SCMP_SYS(sendto), SCMP_SYS(recvfrom), SCMP_SYS(sendmsg),
	SCMP_SYS(recvmsg), SCMP_SYS(getsockopt), SCMP_SYS(setsockopt), SCMP_SYS(shutdown),
	/* names */
	SCMP_SYS(unlink), SCMP_SYS(unlinkat), SCMP_SYS(rmdir),
	/* signals, itself, the end */
	SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn),
	SCMP_SYS(sigaltstack), SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(getuid),
	SCMP_SYS(geteuid), SCMP_SYS(getgid), SCMP_SYS(getegid), SCMP_SYS(getrandom), SCMP_SYS(exit),
	SCMP_SYS(exit_group)};

/* What dpdk-colo and DPDK do besides, after the start; no bind(2) and no listen(2) among it. */
static const int program[] = {
	/* memory: DPDK's heap grows, blocks of a session are made, NUMA placement */
	SCMP_SYS(memfd_create), SCMP_SYS(mlock), SCMP_SYS(munlock), SCMP_SYS(msync),
	SCMP_SYS(mincore), SCMP_SYS(mbind), SCMP_SYS(get_mempolicy), SCMP_SYS(set_mempolicy),
	SCMP_SYS(move_pages), SCMP_SYS(membarrier),
	/* threads: of DPDK's telemetry, one a client */
	SCMP_SYS(set_robust_list), SCMP_SYS(get_robust_list), SCMP_SYS(rseq),
	SCMP_SYS(set_tid_address), SCMP_SYS(sched_setaffinity), SCMP_SYS(sched_getaffinity),
	SCMP_SYS(sched_getparam), SCMP_SYS(sched_getscheduler), SCMP_SYS(getcpu),
	SCMP_SYS(rt_sigpending), SCMP_SYS(rt_sigtimedwait), SCMP_SYS(rt_sigsuspend),
	SCMP_SYS(pause),
	/* time and waiting */
	SCMP_SYS(times), SCMP_SYS(getrusage), SCMP_SYS(timerfd_create), SCMP_SYS(timerfd_settime),
	SCMP_SYS(timerfd_gettime), SCMP_SYS(select), SCMP_SYS(pselect6), SCMP_SYS(epoll_create1),
	SCMP_SYS(epoll_create), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait),
	SCMP_SYS(eventfd2),
	/* files */
	SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(pread64), SCMP_SYS(pwrite64), SCMP_SYS(preadv),
	SCMP_SYS(pwritev), SCMP_SYS(stat), SCMP_SYS(lstat), SCMP_SYS(statx), SCMP_SYS(statfs),
	SCMP_SYS(fstatfs), SCMP_SYS(access), SCMP_SYS(faccessat), SCMP_SYS(faccessat2),
	SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(rename), SCMP_SYS(mkdir),
	SCMP_SYS(mkdirat), SCMP_SYS(getdents64), SCMP_SYS(getcwd), SCMP_SYS(ftruncate),
	SCMP_SYS(fallocate), SCMP_SYS(fsync), SCMP_SYS(fdatasync), SCMP_SYS(flock),
	SCMP_SYS(fadvise64), SCMP_SYS(dup), SCMP_SYS(dup2), SCMP_SYS(dup3), SCMP_SYS(pipe2),
	SCMP_SYS(close_range),
	/* sockets */
	SCMP_SYS(accept), SCMP_SYS(accept4), SCMP_SYS(getsockname), SCMP_SYS(getpeername),
	SCMP_SYS(sendmmsg), SCMP_SYS(recvmmsg), SCMP_SYS(socketpair),
	/* the machine */
	SCMP_SYS(uname), SCMP_SYS(sysinfo), SCMP_SYS(getrlimit)};

/* ioctl(2) on software drivers: the terminal, and what net_af_packet asks of its interface. */
static const unsigned long requests[] = {TCGETS, TCSETS, TCSETSW, TCSETSF, TIOCGWINSZ, FIONREAD,
	FIONBIO, SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCGIFMTU, SIOCSIFMTU, SIOCGIFHWADDR, SIOCGIFINDEX,
	SIOCGIFNAME, SIOCETHTOOL};

static const int prctls[] = {PR_SET_NAME, PR_GET_NAME, PR_SET_TIMERSLACK};

/* A filter that is being made. */
struct making {
	scmp_filter_ctx filter;
	int error;	    /* the first one, 0: none */
	unsigned int calls; /* that are allowed */
};

static void
allow(struct making *m, int call, unsigned int n, const struct scmp_arg_cmp *when)
{
	int error;

	if (m->error != 0 || call < 0) /* this architecture has no such call */
		return;
	error = seccomp_rule_add_array(m->filter, SCMP_ACT_ALLOW, call, n, when);
	if (error != 0)
		m->error = -error;
}

static void
allow_all(struct making *m, const int *calls, size_t n)
{
	for (size_t i = 0; i < n; i++)
		allow(m, calls[i], 0, NULL);
	m->calls += n;
}

/* What is written is never executed: no code can be added. */
static void
allow_data_only(struct making *m)
{
	const struct scmp_arg_cmp data = SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);

	allow(m, SCMP_SYS(mmap), 1, &data);
	allow(m, SCMP_SYS(mprotect), 1, &data);
	m->calls += 2;
}

static void
allow_sockets(struct making *m, const int *domains, size_t n)
{
	for (size_t i = 0; i < n; i++)
		allow(m, SCMP_SYS(socket), 1,
			(struct scmp_arg_cmp[]){SCMP_A0(SCMP_CMP_EQ, (unsigned int)domains[i])});
	m->calls++;
}

/* Threads, but no processes; signals to itself only; limits are read, not changed. */
static void
allow_threads(struct making *m)
{
	const struct scmp_arg_cmp thread = SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD);
	const struct scmp_arg_cmp own = SCMP_A0(SCMP_CMP_EQ, (unsigned int)getpid());
	const struct scmp_arg_cmp read_only = SCMP_A2(SCMP_CMP_EQ, 0);

	allow(m, SCMP_SYS(clone), 1, &thread);
	allow(m, SCMP_SYS(tgkill), 1, &own);
	allow(m, SCMP_SYS(prlimit64), 1, &read_only);
	for (size_t i = 0; i < ENTRIES(prctls); i++)
		allow(m, SCMP_SYS(prctl), 1,
			(struct scmp_arg_cmp[]){SCMP_A0(SCMP_CMP_EQ, (unsigned int)prctls[i])});
	m->calls += 4;
	if (m->error == 0)
		m->error =
			-seccomp_rule_add(m->filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
}

static void
allow_devices(struct making *m, bool hardware)
{
	static const int domains[] = {AF_UNIX, AF_INET, AF_INET6};

	m->calls++;
	if (hardware) {
		allow(m, SCMP_SYS(ioctl), 0, NULL);
		allow(m, SCMP_SYS(socket), 0, NULL);
		m->calls++;
		return;
	}
	allow_sockets(m, domains, ENTRIES(domains));
	for (size_t i = 0; i < ENTRIES(requests); i++)
		allow(m, SCMP_SYS(ioctl), 1,
			(struct scmp_arg_cmp[]){SCMP_A1(SCMP_CMP_EQ, requests[i])});
}

static void
fill(struct making *m, enum colo_syscall_profile profile)
{
	static const int unix_only[] = {AF_UNIX};

	allow_all(m, common, ENTRIES(common));
	allow_data_only(m);
	if (profile == COLO_SYSCALLS_BESIDE) {
		allow_sockets(m, unix_only, ENTRIES(unix_only));
		return;
	}
	allow_all(m, program, ENTRIES(program));
	allow_threads(m);
	allow_devices(m, profile == COLO_SYSCALLS_HARDWARE);
}

/* Attributes come before the rules; a libseccomp or kernel without one does without it. */
static void
set_attributes(scmp_filter_ctx filter)
{
	(void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 1);
	(void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_LOG, 1); /* audit names what was refused */
	/* poll cores are not to pay for a mitigation that older kernels tie to seccomp */
	(void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_SSB, 1);
	(void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree, not a list */
}

/*
 * libc loads it when a thread is cancelled, as DPDK does in the end. Nothing can be loaded then any
 * more, but what is there is found.
 */
static void
load_what_comes_later(void)
{
	(void)dlopen("libgcc_s.so.1", RTLD_NOW);
}

int
colo_syscall_filter(enum colo_syscall_profile profile, struct colo_error *err)
{
	struct making m = {.filter = seccomp_init(SCMP_ACT_ERRNO(EPERM))};

	if (m.filter == NULL)
		return colo_error_set(err, "no memory for the filter of system calls");
	set_attributes(m.filter);
	if (seccomp_attr_set(m.filter, SCMP_FLTATR_CTL_TSYNC, 1) != 0)
		m.error = ENOSYS;
	if (profile != COLO_SYSCALLS_BESIDE)
		load_what_comes_later();
	fill(&m, profile);
	if (m.error == 0)
		m.error = -seccomp_load(m.filter);
	seccomp_release(m.filter);
	if (m.error != 0)
		return colo_error_set(
			err, "the kernel takes no filter of system calls: %s", strerror(m.error));
	return (int)m.calls;
}
