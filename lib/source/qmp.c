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
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <rte_kvargs.h>

#include "collect.h"
#include "device_state.h"
#include "guardian.h"
#include "memory_backend.h"
#include "migration_stream.h"
#include "private_dir.h"
#include "qmp.h"
#include "source.h"

#define STEP_MS_DEFAULT 5000u /* a request's deadline */
#define STEP_MS_MIN	100u
#define STEP_MS_MAX	60000u
#define START_MS	5000u /* to connect and ask what start() asks */
#define REPAIR_MS	1000u /* for the `cont` after something failed, and the last one */

#define DEVICE_FILE "device-state"

struct qmp_source {
	/* main lcore in start(); read-only afterwards */
	struct colo_source *source;
	char path[COLO_UNIX_PATH_MAX + 1]; /* QMP socket */
	uint32_t step_ms;
	int ram_fd;
	uint8_t *ram; /* QEMU's memory file, read-only; NULL: not mapped */
	uint64_t ram_size;
	struct colo_private_dir dir; /* where QEMU saves its device state */
	char device_file[COLO_PRIVATE_PATH_MAX];
	uint8_t *device; /* [device_size] the thread reads that file into it */
	uint64_t device_size;
	int wake_fd; /* eventfd: there is something new in `wanted` or `quit` */
	pthread_t thread;
	bool thread_runs;

	/* see colo_collect for who writes what */
	struct colo_collect collect;

	/* the thread's (main lcore's before it starts) */
	struct colo_qmp qmp;
	bool stopped_by_us; /* the guest, or it may be; then we owe it a `cont` */
	uint32_t done;	    /* sequence of the last request carried out */
	uint32_t rings;	    /* of wake_fd, heard so far: one for each request, one to quit */

	/* control core writes, thread reads: sequence << 8 | enum colo_source_request */
	_Atomic uint64_t wanted;
	/* thread writes, control core reads: sequence << 8 | enum colo_source_status */
	_Atomic uint64_t progress;
	struct colo_error failed; /* published by progress */
	_Atomic bool gone;
	struct colo_error gone_why; /* published by gone */
	_Atomic bool quit;	    /* main lcore writes, thread reads */

	/* control core's */
	bool told_collect; /* poll() has said COLLECT for this request */
};

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
	return colo_device_state_store(&blocks->block[blocks->n - 1],
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

	if (got != COLO_OUTCOME_OK)
		return got;
	if (colo_collect_look(&q->collect, err) != 0)
		return COLO_OUTCOME_REFUSED;
	publish(q, sequence, COLO_SOURCE_COLLECT);
	return save_device_state(q, deadline, err);
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

/* Events, and above all the end of QEMU, are noticed while nothing is requested. */
static void
watch_qmp(struct qmp_source *q)
{
	struct colo_error why = {{0}};

	if (colo_qmp_pump(&q->qmp, &why) != COLO_OUTCOME_OK)
		publish_gone(q, &why);
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

	pthread_setname_np(pthread_self(), "colo-source-qmp");
	while (!atomic_load_explicit(&q->quit, memory_order_acquire)) {
		uint64_t wanted = atomic_load_explicit(&q->wanted, memory_order_acquire);

		if (sequence_of(wanted) == q->done) {
			wait_for_work(q);
		} else {
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
read_timeout(struct qmp_source *q, const char *text, struct colo_error *err)
{
	char *end;
	unsigned long ms;

	if (text == NULL)
		return 0;
	errno = 0;
	ms = strtoul(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || ms < STEP_MS_MIN ||
		ms > STEP_MS_MAX)
		return colo_error_set(err,
			"--source qmp,timeout=%s is not accepted: %u to %u milliseconds are", text,
			STEP_MS_MIN, STEP_MS_MAX);
	q->step_ms = (uint32_t)ms;
	return 0;
}

static int
read_path(struct qmp_source *q, const char *text, struct colo_error *err)
{
	if (text == NULL || text[0] == '\0')
		return colo_error_set(
			err, "--source qmp needs path=PATH, the QMP socket of the guest's QEMU");
	if (strlen(text) > COLO_UNIX_PATH_MAX)
		return colo_error_set(err,
			"--source qmp,path=... has %zu bytes, a socket's path at most %u",
			strlen(text), COLO_UNIX_PATH_MAX);
	strcpy(q->path, text);
	return 0;
}

static int
read_args(struct qmp_source *q, const char *args, struct colo_error *err)
{
	static const char *const keys[] = {"path", "timeout", NULL};
	struct rte_kvargs *kv = rte_kvargs_parse(args, keys);
	int result;

	if (kv == NULL)
		return colo_error_set(
			err, "--source qmp,%s is not accepted: path=PATH[,timeout=MS] is", args);
	q->step_ms = STEP_MS_DEFAULT;
	if (rte_kvargs_count(kv, "path") > 1 || rte_kvargs_count(kv, "timeout") > 1)
		result = colo_error_set(err, "--source qmp,%s says something twice", args);
	else
		result = read_path(q, rte_kvargs_get(kv, "path"), err);
	if (result == 0)
		result = read_timeout(q, rte_kvargs_get(kv, "timeout"), err);
	rte_kvargs_free(kv);
	return result;
}

/* Map QEMU's memory file, to be read only. */
static int
map_ram(struct qmp_source *q, const struct colo_block_spec *spec, struct colo_error *err)
{
	struct stat st;
	void *at;

	/* O_NONBLOCK: a pipe of that name must not make us wait */
	q->ram_fd = open(spec->guest_path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (q->ram_fd < 0)
		return colo_error_set(err,
			"block %s: cannot open %s, the file QEMU keeps its guest's memory in: %s",
			spec->name, spec->guest_path, strerror(errno));
	if (fstat(q->ram_fd, &st) != 0 || !S_ISREG(st.st_mode))
		return colo_error_set(err,
			"block %s: %s is not a regular file, which QEMU's "
			"memory-backend-file needs",
			spec->name, spec->guest_path);
	if ((uint64_t)st.st_size < spec->size)
		return colo_error_set(err,
			"block %s has %" PRIu64 " bytes but %s only %" PRIu64
			": size= must be the guest's",
			spec->name, spec->size, spec->guest_path, (uint64_t)st.st_size);
	at = mmap(NULL, spec->size, PROT_READ, MAP_SHARED, q->ram_fd, 0);
	if (at == MAP_FAILED)
		return colo_error_set(err, "block %s: cannot map %s: %s", spec->name,
			spec->guest_path, strerror(errno));
	q->ram = at;
	q->ram_size = spec->size;
	return 0;
}

static int
check_specs(const struct colo_source *s, struct colo_error *err)
{
	if (s->n_specs != 1)
		return colo_error_set(err,
			"--source qmp takes exactly one --block, the guest's RAM; %u are given",
			s->n_specs);
	if (s->specs[0].guest_path[0] == '\0')
		return colo_error_set(err,
			"--source qmp needs guest=FILE in --block %s: the file QEMU maps with "
			"share=on",
			s->specs[0].name);
	if (s->specs[0].size == 0 || s->specs[0].size % COLO_PAGE_SIZE != 0)
		return colo_error_set(err,
			"block %s has %" PRIu64 " bytes: a multiple of %u is accepted",
			s->specs[0].name, s->specs[0].size, COLO_PAGE_SIZE);
	return 0;
}

/* Connect, and see that the guest and its memory are what we were told. */
static int
meet_qemu(struct qmp_source *q, const struct colo_block_spec *spec, struct colo_error *err)
{
	uint64_t deadline = colo_deadline(START_MS);
	char status[COLO_QMP_STATUS_MAX];
	bool running;

	if (colo_qmp_open(&q->qmp, q->path, COLO_NO_ABORT, deadline, err) != COLO_OUTCOME_OK ||
		colo_qmp_status(&q->qmp, deadline, status, &running, err) != COLO_OUTCOME_OK)
		return -1;
	if (strcmp(status, "inmigrate") == 0)
		return colo_error_set(err,
			"QEMU at %s waits for an incoming migration; a guest can be protected once "
			"it runs",
			q->path);
	return colo_memory_backend_check(
		&q->qmp, spec->guest_path, spec->name, spec->size, deadline, err);
}

/* Our copy of the guest's memory, and the device state's block behind it. */
static int
add_blocks(struct colo_source *s, struct colo_error *err)
{
	struct colo_block_spec copy = s->specs[0];
	struct colo_block_spec device = {
		.name = COLO_DEVICE_BLOCK_NAME, .size = s->device_block_size};

	copy.guest_path[0] = '\0';
	if (colo_blocks_add_primary(s->blocks, &copy, err) != 0)
		return -1;
	return colo_blocks_add_primary(s->blocks, &device, err);
}

/* @param copy_is_new  false: the blocks are there from an earlier start */
static int
prepare_blocks(struct colo_source *s, bool *copy_is_new, struct colo_error *err)
{
	*copy_is_new = s->blocks->n == 0;
	if (*copy_is_new)
		return add_blocks(s, err);
	if (s->blocks->n != 2 || strcmp(s->blocks->block[0].name, s->specs[0].name) != 0 ||
		s->blocks->block[0].size != s->specs[0].size)
		return colo_error_set(err,
			"--source qmp cannot use the blocks that are there: they are not %s and "
			"the device state's",
			s->specs[0].name);
	return 0;
}

static int
make_device_buffer(struct qmp_source *q, struct colo_error *err)
{
	/* one more than fits: a file that fills it is too long */
	q->device_size = q->source->device_block_size + COLO_SAVEVM_HEADER_SIZE + 1 -
			 sizeof(struct colo_device_state);
	q->device = malloc(q->device_size);
	if (q->device == NULL)
		return colo_error_set(
			err, "no memory for %" PRIu64 " bytes of device state", q->device_size);
	if (colo_private_dir_make(&q->dir, err) != 0)
		return -1;
	return colo_private_dir_path(
		&q->dir, DEVICE_FILE, q->device_file, sizeof(q->device_file), err);
}

/* Signals are the main lcore's: the thread takes none. */
static int
start_thread(struct qmp_source *q, struct colo_error *err)
{
	sigset_t all, before;
	int error;

	q->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (q->wake_fd < 0)
		return colo_error_set(err, "no eventfd: %s", strerror(errno));
	q->qmp.abort_fd = q->wake_fd;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&q->thread, NULL, source_thread, q);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error != 0)
		return colo_error_set(err, "no thread for source qmp: %s", strerror(error));
	q->thread_runs = true;
	return 0;
}

static int
qmp_start(struct colo_source *s, const char *args, struct colo_error *err)
{
	struct qmp_source *q = calloc(1, sizeof(*q));
	bool copy_is_new;

	s->state = q;
	if (q == NULL)
		return colo_error_set(err, "no memory for source qmp");
	q->source = s;
	q->ram_fd = q->wake_fd = q->qmp.fd = q->collect.fd = -1;
	if (read_args(q, args, err) != 0 || check_specs(s, err) != 0 ||
		map_ram(q, &s->specs[0], err) != 0 || meet_qemu(q, &s->specs[0], err) != 0 ||
		prepare_blocks(s, &copy_is_new, err) != 0)
		return -1;
	if (colo_collect_init(
		    &q->collect, &s->blocks->block[0], q->ram, q->ram_fd, copy_is_new, err) != 0)
		return -1;
	if (make_device_buffer(q, err) != 0)
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
	colo_qmp_close(&q->qmp);
	if (q->wake_fd >= 0)
		close(q->wake_fd);
	colo_collect_fini(&q->collect);
	if (q->ram != NULL)
		munmap(q->ram, q->ram_size);
	if (q->ram_fd >= 0)
		close(q->ram_fd);
	unlink(q->device_file);
	colo_private_dir_remove(&q->dir);
	free(q->device);
	free(q);
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
