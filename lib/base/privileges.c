/* SPDX-License-Identifier: BSD-3-Clause */
/* Capabilities are dropped in every thread; each one's status file says whether it has done so. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "privileges.h"

#define TASKS	   "/proc/self/task"
#define PASS_NS	   2000000 /* from one look at the threads to the next */
#define PASSES	   1000u   /* 2 s in all */
#define LAST_CAP   63u	   /* of the 64 bits that the kernel's calls have */
#define STATUS_MAX 4096u   /* bytes of a thread's status file that are read */

/* What the handlers drop to, set before the signal is sent: a handler gets no argument of ours. */
static _Atomic uint64_t wanted;

void
colo_privileges_private_files(void)
{
	umask(077);
}

/* ---- one thread ---- */

static int
read_own(struct __user_cap_data_struct data[2])
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};

	return syscall(SYS_capget, &head, data) == 0 ? 0 : errno;
}

static int
write_own(const struct __user_cap_data_struct data[2])
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};

	return syscall(SYS_capset, &head, data) == 0 ? 0 : errno;
}

static uint64_t
permitted(const struct __user_cap_data_struct data[2])
{
	return (uint64_t)data[1].permitted << 32 | data[0].permitted;
}

/* Needs CAP_SETPCAP, so it comes first; who does not have that gets nothing by executing either. */
static void
drop_bounding(uint64_t keep)
{
	for (unsigned int i = 0; i <= LAST_CAP; i++)
		if (!(keep & COLO_CAPABILITY(i)) && prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 1)
			(void)prctl(PR_CAPBSET_DROP, i, 0, 0, 0);
}

int
colo_privileges_drop_own(uint64_t keep)
{
	struct __user_cap_data_struct data[2];
	int error = read_own(data);

	if (error != 0)
		return error;
	drop_bounding(keep);
	/* of a kernel before 4.3 there is none to clear */
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	for (unsigned int i = 0; i < 2; i++) {
		data[i].permitted &= (uint32_t)(keep >> (32 * i));
		data[i].effective &= data[i].permitted;
		data[i].inheritable = 0;
	}
	error = write_own(data);
	if (error == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		error = errno;
	return error;
}

/* Calls nothing but the kernel. That it failed shows in the thread's status. */
static void
on_signal(int number)
{
	int saved = errno;

	(void)number;
	(void)colo_privileges_drop_own(atomic_load_explicit(&wanted, memory_order_acquire));
	errno = saved;
}

/* ---- all threads ---- */

static bool
read_status(const char *task, char text[STATUS_MAX])
{
	char path[sizeof(TASKS) + 300];
	FILE *f;
	size_t n;

	snprintf(path, sizeof(path), TASKS "/%.255s/status", task);
	f = fopen(path, "re");
	if (f == NULL)
		return false;
	n = fread(text, 1, STATUS_MAX - 1, f);
	text[n] = '\0';
	fclose(f);
	return n > 0;
}

static uint64_t
status_word(const char *text, const char *name, int base)
{
	const char *found = strstr(text, name);

	return found != NULL ? strtoull(found + strlen(name), NULL, base) : UINT64_MAX;
}

/* @return true if the thread is gone, or has dropped everything. */
static bool
has_dropped(const char *task, uint64_t keep)
{
	static const char *const sets[] = {"\nCapInh:", "\nCapPrm:", "\nCapEff:", "\nCapAmb:"};
	char text[STATUS_MAX];

	if (!read_status(task, text))
		return true;
	for (unsigned int i = 0; i < sizeof(sets) / sizeof(sets[0]); i++)
		if (status_word(text, sets[i], 16) & ~keep)
			return false;
	return status_word(text, "\nNoNewPrivs:", 10) == 1;
}

/* Signal every thread that has not; @return how many those are, -1: they cannot be listed. */
static int
signal_others(uint64_t keep, unsigned int *threads)
{
	DIR *dir = opendir(TASKS);
	struct dirent *entry;
	int left = 0;

	if (dir == NULL)
		return -1;
	*threads = 0;
	while ((entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		++*threads;
		if (has_dropped(entry->d_name, keep))
			continue;
		left++;
		(void)syscall(SYS_tgkill, getpid(), atoi(entry->d_name), COLO_PRIVILEGES_SIGNAL);
	}
	closedir(dir);
	return left;
}

/*
 * Until a look finds no thread that has not; one that was started meanwhile by such a thread is
 * seen by the next look.
 */
static int
drop_others(uint64_t keep, unsigned int *threads)
{
	const struct timespec pass = {.tv_nsec = PASS_NS};
	int left = 1;

	for (unsigned int i = 0; i < PASSES && left > 0; i++) {
		left = signal_others(keep, threads);
		if (left > 0)
			nanosleep(&pass, NULL);
	}
	return left;
}

int
colo_privileges_drop(uint64_t keep, struct colo_privileges *done, struct colo_error *err)
{
	/* what waits in the kernel goes on waiting */
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	struct __user_cap_data_struct data[2];
	int error = read_own(data), left;

	if (error != 0)
		return colo_error_set(err, "capabilities cannot be read: %s", strerror(error));
	done->had = permitted(data);
	atomic_store_explicit(&wanted, keep, memory_order_release);
	sigaction(COLO_PRIVILEGES_SIGNAL, &action, NULL);
	error = colo_privileges_drop_own(keep);
	left = error == 0 ? drop_others(keep, &done->threads) : 0;
	action.sa_handler = SIG_IGN; /* one may still be pending */
	sigaction(COLO_PRIVILEGES_SIGNAL, &action, NULL);
	if (error != 0 || read_own(data) != 0)
		return colo_error_set(err, "capabilities cannot be dropped: %s", strerror(error));
	done->kept = permitted(data);
	if (left < 0)
		return colo_error_set(err, "threads cannot be listed: %s", strerror(errno));
	if (left > 0)
		return colo_error_set(err, "%d of %u threads did not drop their capabilities", left,
			done->threads);
	return 0;
}

/* ---- for the log ---- */

const char *
colo_privileges_names(uint64_t set, char *text, size_t size)
{
	/* in the order of their numbers */
	static const char *const names[] = {"chown", "dac_override", "dac_read_search", "fowner",
		"fsetid", "kill", "setgid", "setuid", "setpcap", "linux_immutable",
		"net_bind_service", "net_broadcast", "net_admin", "net_raw", "ipc_lock",
		"ipc_owner", "sys_module", "sys_rawio", "sys_chroot", "sys_ptrace", "sys_pacct",
		"sys_admin", "sys_boot", "sys_nice", "sys_resource", "sys_time", "sys_tty_config",
		"mknod", "lease", "audit_write", "audit_control", "setfcap", "mac_override",
		"mac_admin", "syslog", "wake_alarm", "block_suspend", "audit_read", "perfmon",
		"bpf", "checkpoint_restore"};
	const unsigned int n = sizeof(names) / sizeof(names[0]);
	size_t used = 0;

	snprintf(text, size, "none");
	for (unsigned int i = 0; i <= LAST_CAP && used < size; i++) {
		if (!(set & COLO_CAPABILITY(i)))
			continue;
		if (i < n)
			used += (size_t)snprintf(text + used, size - used, "%scap_%s",
				used == 0 ? "" : ",", names[i]);
		else
			used += (size_t)snprintf(
				text + used, size - used, "%scap_%u", used == 0 ? "" : ",", i);
	}
	return text;
}
