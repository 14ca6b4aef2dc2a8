/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Source `qmp`: a live guest of any QEMU, whose RAM is a shared file, driven over QMP.
 *
 * A thread of its own talks to QEMU (stop, save device state, cont); poll cores compare the guest's
 * memory with our copy of it. Control core and thread share three atomics: `wanted` (what is
 * requested), `progress` (how far it is), `gone`.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <rte_cycles.h>

#include "log.h"
#include "device_state.h"
#include "guardian.h"
#include "migration_stream.h"
#include "qmp_source.h"
#include "thread.h"

#define REPAIR_MS 1000u /* for the `cont` after something failed, and the last one */

static uint64_t
pack(uint32_t sequence, unsigned int what)
{
	return (uint64_t)sequence << 8 | what;
}

static uint32_t
sequence_of(uint64_t packed)
{
	return (uint32_t)(packed >> 8);
}

/* ---- thread: what a request does ---- */

static void
publish(struct qmp_source *q, uint32_t sequence, enum colo_source_status status)
{
	atomic_store_explicit(&q->progress, pack(sequence, status), memory_order_release);
}

/* No way back: a QEMU that is gone does not return, it is started anew. */
static void
publish_gone(struct qmp_source *q, const struct colo_error *why)
{
	if (atomic_load_explicit(&q->gone, memory_order_relaxed))
		return;
	q->gone_why = *why;
	atomic_store_explicit(&q->gone, true, memory_order_release);
}

/* Stop the guest if it runs; one that its operator paused stays his. */
static enum colo_outcome
stop_guest(struct qmp_source *q, uint64_t deadline, struct colo_error *err)
{
	enum colo_outcome got;
	bool running;

	if (q->stopped_by_us)
		return COLO_OUTCOME_OK;
	got = colo_qmp_status(&q->qmp, deadline, NULL, &running, err);
	if (got != COLO_OUTCOME_OK || !running)
		return got;
	/* before it is sent: a `stop` without an answer may still be carried out */
	q->stopped_by_us = true;
	colo_guardian_note(q->source->guardian, true);
	atomic_store_explicit(&q->source->paused_tsc, rte_rdtsc(), memory_order_relaxed);
	return colo_qmp_command(&q->qmp, "stop", NULL, deadline, NULL, err);
}

static enum colo_outcome
resume_guest(struct qmp_source *q, uint64_t deadline, struct colo_error *err)
{
	enum colo_outcome got;

	if (!q->stopped_by_us)
		return COLO_OUTCOME_OK;
	got = colo_qmp_command(&q->qmp, "cont", NULL, deadline, NULL, err);
	if (got != COLO_OUTCOME_OK)
		return got;
	q->stopped_by_us = false;
	colo_guardian_note(q->source->guardian, false);
	return COLO_OUTCOME_OK;
}

/* Whatever went wrong, the guest goes on; no new request interrupts this. */
static enum colo_outcome
repair(struct qmp_source *q, struct colo_error *err)
{
	uint64_t deadline = colo_deadline(REPAIR_MS);
	enum colo_outcome got = COLO_OUTCOME_OK;

	if (!q->stopped_by_us)
		return COLO_OUTCOME_OK;
	q->qmp.abort_fd = COLO_NO_ABORT;
	if (q->qmp.fd < 0)
		got = colo_qmp_open(&q->qmp, q->path, COLO_NO_ABORT, deadline, err);
	if (got == COLO_OUTCOME_OK)
		got = resume_guest(q, deadline, err);
	q->qmp.abort_fd = q->wake_fd;
	return got;
}

/* @return bytes read, or -1 with @p err. */
static ssize_t
read_device_file(struct qmp_source *q, struct colo_error *err)
{
	int fd = open(q->device_file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	uint64_t used = 0;
	ssize_t n = 1;

	if (fd < 0)
		return colo_error_set(err, "cannot read the device state at %s: %s", q->device_file,
			strerror(errno));
	while (n > 0 && used < q->device_size) {
		n = read(fd, q->device + used, q->device_size - used);
		if (n < 0 && errno == EINTR)
			n = 1;
		else if (n > 0)
			used += (uint64_t)n;
	}
	close(fd);
	if (n < 0)
		return colo_error_set(err, "cannot read the device state at %s: %s", q->device_file,
			strerror(errno));
	if (used == q->device_size)
		return colo_error_set(err,
			"the device state does not fit %" PRIu64
			" bytes: give --device-state-size more",
			q->source->device_block_size);
	return (ssize_t)used;
}

/* The file that QEMU wrote becomes the device state of this checkpoint. */
static int
store_device_state(struct qmp_source *q, struct colo_error *err)
{
	struct colo_blocks *blocks = q->source->blocks;
	ssize_t n = read_device_file(q, err);

	if (n < 0 || colo_savevm_check(q->device, (size_t)n, err) != 0)
		return -1;
	/* the standby's QEMU says what machine it is */
	return colo_device_state_store(&blocks->block[blocks->n - 1], "",
		q->device + COLO_SAVEVM_HEADER_SIZE, (uint64_t)n - COLO_SAVEVM_HEADER_SIZE, err);
}

static enum colo_outcome
save_device_state(struct qmp_source *q, uint64_t deadline, struct colo_error *err)
{
	char name[2 * COLO_PRIVATE_PATH_MAX], arguments[sizeof(name) + 64];
	enum colo_outcome got = COLO_OUTCOME_REFUSED;

	if (colo_json_quote(q->device_file, name, sizeof(name)) < 0) {
		colo_error_set(err, "path %s is too long for QMP", q->device_file);
		return got;
	}
	/* live=false: disks stay with this QEMU, whose guest goes on */
	snprintf(arguments, sizeof(arguments), "{\"filename\":%s,\"live\":false}", name);
	got = colo_qmp_command(&q->qmp, "xen-save-devices-state", arguments, deadline, NULL, err);
	if (got == COLO_OUTCOME_OK && store_device_state(q, err) != 0)
		got = COLO_OUTCOME_REFUSED;
	unlink(q->device_file);
	return got;
}

static enum colo_outcome
pause_and_save(struct qmp_source *q, uint32_t sequence, uint64_t deadline, struct colo_error *err)
{
	enum colo_outcome got = stop_guest(q, deadline, err);
	uint64_t resumes = q->qmp.resumes;

	if (got != COLO_OUTCOME_OK)
		return got;
	if (colo_collect_look(&q->collect, err) != 0)
		return COLO_OUTCOME_REFUSED;
	publish(q, sequence, COLO_SOURCE_COLLECT);
	got = save_device_state(q, deadline, err);
	if (got != COLO_OUTCOME_OK || q->qmp.resumes == resumes)
		return got;
	colo_error_set(err,
		"somebody resumed the guest of QEMU at %s in the middle of a checkpoint", q->path);
	return COLO_OUTCOME_REFUSED;
}

static enum colo_outcome
carry_out(struct qmp_source *q, uint64_t wanted, struct colo_error *err)
{
	uint64_t deadline = colo_deadline(q->step_ms);

	switch (wanted & 0xff) {
	case COLO_SOURCE_ROUND:
		return colo_collect_look(&q->collect, err) == 0 ? COLO_OUTCOME_OK
								: COLO_OUTCOME_REFUSED;
	case COLO_SOURCE_PAUSE:
		return pause_and_save(q, sequence_of(wanted), deadline, err);
	case COLO_SOURCE_RESUME:
		return resume_guest(q, deadline, err);
	default:
		colo_error_set(err, "request %u is not known to source qmp",
			(unsigned int)(wanted & 0xff));
		return COLO_OUTCOME_REFUSED;
	}
}

/* @return true if QEMU can still be asked for something. */
static bool
recover(struct qmp_source *q, struct colo_error *why)
{
	struct colo_error first, second = {{0}};

	if (repair(q, &second) != COLO_OUTCOME_OK) {
		first = *why;
		colo_error_set(why, "%.250s; and the guest was not resumed: %.200s", first.text,
			second.text);
	}
	return q->qmp.fd >= 0;
}

static void
handle_request(struct qmp_source *q, uint64_t wanted)
{
	uint32_t sequence = sequence_of(wanted);
	struct colo_error why = {{0}};
	enum colo_outcome got;

	got = carry_out(q, wanted, &why);
	q->done = sequence;
	if (got == COLO_OUTCOME_OK) {
		publish(q, sequence, COLO_SOURCE_DONE);
		return;
	}
	if (!recover(q, &why))
		publish_gone(q, &why);
	q->failed = why;
	publish(q, sequence, COLO_SOURCE_FAILED);
}

/* ---- thread: waiting ---- */

/*
 * Events, and above all the end of QEMU, are noticed while nothing is requested. A link that broke
 * is no proof of that: QEMU has ended if nobody answers there any more.
 */
static void
watch_qmp(struct qmp_source *q)
{
	struct colo_error why = {{0}};

	if (colo_qmp_pump(&q->qmp, &why) == COLO_OUTCOME_OK)
		return;
	colo_qmp_close(&q->qmp);
	if (colo_qmp_open(&q->qmp, q->path, COLO_NO_ABORT, colo_deadline(REPAIR_MS), NULL) !=
		COLO_OUTCOME_OK) {
		publish_gone(q, &why);
		return;
	}
	q->qmp.abort_fd = q->wake_fd;
	COLO_LOG(WARNING, "the QMP link to QEMU at %s was opened again: %s", q->path, why.text);
}

static void
watch_guest(struct qmp_source *q)
{
	struct colo_error why;

	if (q->qmp.shutdowns == 0)
		return;
	colo_error_set(&why, "the guest of QEMU at %s shut down", q->path);
	publish_gone(q, &why);
}

static void
wait_for_work(struct qmp_source *q)
{
	/* a closed socket is -1, which poll(2) ignores */
	struct pollfd p[2] = {
		{.fd = q->wake_fd, .events = POLLIN},
		{.fd = q->qmp.fd, .events = POLLIN},
	};

	if (poll(p, 2, -1) > 0 && p[1].revents != 0)
		watch_qmp(q);
}

/*
 * Each request rings once, after it is written to `wanted`. Once all rings up to this request are
 * heard, one more means that there is a newer one: it ends every wait of this one.
 */
static void
hear_rings(struct qmp_source *q, uint32_t sequence)
{
	while ((int32_t)(q->rings - sequence) < 0) {
		struct pollfd p = {.fd = q->wake_fd, .events = POLLIN};
		eventfd_t count;

		if (eventfd_read(q->wake_fd, &count) == 0)
			q->rings += (uint32_t)count;
		else
			(void)poll(&p, 1, -1);
	}
}

static void *
source_thread(void *arg)
{
	struct qmp_source *q = arg;

	while (!atomic_load_explicit(&q->quit, memory_order_acquire)) {
		uint64_t wanted = atomic_load_explicit(&q->wanted, memory_order_acquire);

		if (sequence_of(wanted) == q->done) {
			wait_for_work(q);
		} else {
			hear_rings(q, sequence_of(wanted));
			/* a newer one whose ring was heard as well would not end this one's waits
			 */
			wanted = atomic_load_explicit(&q->wanted, memory_order_acquire);
			hear_rings(q, sequence_of(wanted));
			handle_request(q, wanted);
		}
		watch_guest(q);
	}
	(void)repair(q, NULL);
	return NULL;
}

/* ---- control core ---- */

static void
qmp_request(struct colo_source *s, enum colo_source_request request)
{
	struct qmp_source *q = s->state;
	uint64_t before = atomic_load_explicit(&q->wanted, memory_order_relaxed);

	q->told_collect = false;
	atomic_store_explicit(
		&q->wanted, pack(sequence_of(before) + 1, request), memory_order_release);
	(void)eventfd_write(q->wake_fd, 1);
}

static bool
is_collected(uint64_t wanted)
{
	return (wanted & 0xff) == COLO_SOURCE_ROUND || (wanted & 0xff) == COLO_SOURCE_PAUSE;
}

static enum colo_source_status
qmp_poll(struct colo_source *s)
{
	struct qmp_source *q = s->state;
	uint64_t wanted = atomic_load_explicit(&q->wanted, memory_order_relaxed);
	uint64_t progress = atomic_load_explicit(&q->progress, memory_order_acquire);
	enum colo_source_status status = (enum colo_source_status)(progress & 0xff);

	if (atomic_load_explicit(&q->gone, memory_order_acquire)) {
		s->error = q->gone_why;
		return COLO_SOURCE_GONE;
	}
	if (sequence_of(progress) != sequence_of(wanted))
		return COLO_SOURCE_BUSY;
	if (status == COLO_SOURCE_FAILED)
		s->error = q->failed;
	/* the thread may be done before anybody looked: COLLECT is said all the same */
	if (status == COLO_SOURCE_DONE && is_collected(wanted) && !q->told_collect)
		status = COLO_SOURCE_COLLECT;
	if (status == COLO_SOURCE_COLLECT)
		q->told_collect = true;
	return status;
}

/* ---- poll cores ---- */

static void
qmp_collect_piece(struct colo_source *s, unsigned int block, uint32_t piece)
{
	struct qmp_source *q = s->state;

	/* the device state's block is written by the thread */
	if (&s->blocks->block[block] == q->collect.block)
		colo_collect_piece(&q->collect, piece);
}

/* ---- main lcore: start and stop ---- */

static int
start_thread(struct qmp_source *q, struct colo_error *err)
{
	q->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (q->wake_fd < 0)
		return colo_error_set(err, "no eventfd: %s", strerror(errno));
	q->qmp.abort_fd = q->wake_fd;
	if (colo_thread_start(&q->thread, "colo-source-qmp", source_thread, q, err) != 0)
		return -1;
	q->thread_runs = true;
	return 0;
}

static int
qmp_start(struct colo_source *s, const char *args, struct colo_error *err)
{
	struct qmp_source *q = calloc(1, sizeof(*q));

	s->state = q;
	if (q == NULL)
		return colo_error_set(err, "no memory for source qmp");
	q->source = s;
	q->ram_fd = q->wake_fd = q->qmp.fd = q->collect.fd = -1;
	if (colo_qmp_source_prepare(q, args, err) != 0)
		return -1;
	return start_thread(q, err);
}

static void
qmp_stop(struct colo_source *s)
{
	struct qmp_source *q = s->state;

	if (q == NULL)
		return;
	if (q->thread_runs) {
		atomic_store_explicit(&q->quit, true, memory_order_release);
		(void)eventfd_write(q->wake_fd, 1);
		pthread_join(q->thread, NULL);
	}
	colo_qmp_source_free(q);
	s->state = NULL;
}

const struct colo_source_ops colo_source_qmp = {
	.name = "qmp",
	.staged = true,
	.start = qmp_start,
	.request = qmp_request,
	.poll = qmp_poll,
	.collect_piece = qmp_collect_piece,
	.stop = qmp_stop,
};
