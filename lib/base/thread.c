/* SPDX-License-Identifier: BSD-3-Clause */
/* Starts the threads that may block. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "privileges.h"
#include "thread.h"

int
colo_thread_start(pthread_t *thread, const char *name, void *(*run)(void *), void *arg,
	struct colo_error *err)
{
	char short_name[COLO_THREAD_NAME_MAX + 1];
	sigset_t all, before;
	int error;

	/* a new thread has its creator's mask from its first instruction on */
	sigfillset(&all);
	sigdelset(&all, COLO_PRIVILEGES_SIGNAL);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(thread, NULL, run, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error != 0)
		return colo_error_set(err, "no thread %s: %s", name, strerror(error));
	snprintf(short_name, sizeof(short_name), "%.15s", name);
	pthread_setname_np(*thread, short_name);
	return 0;
}
