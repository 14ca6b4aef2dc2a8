/* SPDX-License-Identifier: BSD-3-Clause */
/* The guardian process: waits for the primary's end, and resumes the guest if it was a bad one. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "beside.h"
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

#define RETRY_PAUSE_MS 20u /* QEMU needs a moment to see that its last client is gone */
#define COMMAND_MS     1000u

/* What the guardian knows when the primary ends. */
struct last_words {
	char note;			  /* 0: it never said any */
	bool stopped;			  /* the guest, by the primary, when it last said */
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
		if (last->note == NOTE_STOPPED || last->note == NOTE_RUNS)
			last->stopped = last->note == NOTE_STOPPED;
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

static void
guard(int fd, void *path)
{
	struct colo_qmp *q = malloc(sizeof(*q));
	struct last_words last;

	await_end(fd, &last);
	/* also after an orderly end, if the primary could not let it run */
	if (q != NULL && (last.stopped || last.note == 0))
		resume_guest(q, path);
	if (last.note != NOTE_END)
		remove_file(last.file);
	free(q);
}

static const struct colo_beside guardian_process = {.name = "dpdk-colo-guard", .live = guard};

int
colo_guardian_start(const char *qmp_path, bool confined, struct colo_error *err)
{
	char path[PATH_MAX];

	/* the guardian leaves this directory */
	if (realpath(qmp_path, path) == NULL)
		return colo_error_set(err, "no QMP socket at %s: %s", qmp_path, strerror(errno));
	return colo_beside_start(&guardian_process, path, confined, err);
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
