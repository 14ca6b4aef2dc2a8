/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Source `colo`: plays the COLO secondary to an unmodified QEMU 11 primary. A thread of its own has
 * QEMU's sockets; control core and thread share a few atomics.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "colo_source.h"
#include "log.h"
#include "thread.h"

static uint64_t
pack(uint32_t sequence, unsigned int what)
{
	return (uint64_t)sequence << 8 | what;
}

/* ---- thread ---- */

void
colo_stream_publish(struct stream_source *q, enum colo_source_status status)
{
	q->doing = 0;
	atomic_store_explicit(&q->progress, pack(q->done, status), memory_order_release);
}

void
colo_stream_fail(struct stream_source *q, const char *why)
{
	uint64_t published = atomic_load_explicit(&q->progress, memory_order_relaxed);

	/* while FAILED is what the control core sees, it may be reading these */
	if (published != pack(q->done, COLO_SOURCE_FAILED)) {
		colo_error_set(&q->failed, "%s", why);
		q->qemu_gone = q->gone;
	}
	colo_stream_publish(q, COLO_SOURCE_FAILED);
}

static void *
source_thread(void *arg)
{
	struct stream_source *q = arg;
	struct colo_error err;

	while (!atomic_load_explicit(&q->quit, memory_order_acquire)) {
		colo_request_take(q);
		for (unsigned int i = 0; i < COLO_SOURCE_CALLERS; i++)
			colo_stream_run(q, &q->caller[i]);
		colo_stream_greet(q);
		colo_stream_check_flush(q);
		colo_request_advance(q);
		colo_callers_wait(q);
	}
	if (colo_request_release(q, &err) != 0)
		COLO_LOG(ERR, "%s", err.text);
	for (unsigned int i = 0; i < COLO_SOURCE_CALLERS; i++)
		colo_caller_close(q, &q->caller[i]);
	return NULL;
}

/* ---- control core ---- */

static void
colo_request(struct colo_source *s, enum colo_source_request request)
{
	struct stream_source *q = s->state;
	uint64_t before = atomic_load_explicit(&q->wanted, memory_order_relaxed);

	atomic_store_explicit(
		&q->wanted, pack((uint32_t)(before >> 8) + 1, request), memory_order_release);
	(void)eventfd_write(q->wake_fd, 1);
}

static bool
is_busy(const struct stream_source *q)
{
	uint64_t wanted = atomic_load_explicit(&q->wanted, memory_order_relaxed);
	uint64_t progress = atomic_load_explicit(&q->progress, memory_order_acquire);

	return wanted >> 8 != progress >> 8;
}

static enum colo_source_status
colo_poll(struct colo_source *s)
{
	struct stream_source *q = s->state;
	uint64_t wanted = atomic_load_explicit(&q->wanted, memory_order_relaxed);
	uint64_t progress = atomic_load_explicit(&q->progress, memory_order_acquire);

	if (wanted >> 8 != progress >> 8)
		return COLO_SOURCE_BUSY;
	if ((progress & 0xff) == COLO_SOURCE_FAILED && progress != q->seen) {
		s->error = q->failed;
		s->guest_gone = q->qemu_gone;
	}
	q->seen = progress;
	return (enum colo_source_status)(progress & 0xff);
}

static bool
colo_called(struct colo_source *s)
{
	const struct stream_source *q = s->state;

	return !is_busy(q) && atomic_load_explicit(&q->called, memory_order_acquire);
}

static bool
colo_due(struct colo_source *s)
{
	const struct stream_source *q = s->state;

	return !is_busy(q) && atomic_load_explicit(&q->due, memory_order_acquire);
}

/* ---- main lcore: start and stop ---- */

static int
colo_start(struct colo_source *s, const char *args, struct colo_error *err)
{
	struct stream_source *q = calloc(1, sizeof(*q));

	s->state = q;
	if (q == NULL)
		return colo_error_set(err, "no memory for source colo");
	q->source = s;
	q->wake_fd = q->listener.fd = -1;
	if (colo_stream_source_prepare(q, args, err) != 0 ||
		colo_thread_start(&q->thread, "colo-source", source_thread, q, err) != 0)
		return -1;
	q->thread_runs = true;
	return colo_stream_source_meet(q, err);
}

static void
colo_stop(struct colo_source *s)
{
	struct stream_source *q = s->state;

	if (q == NULL)
		return;
	if (q->thread_runs) {
		atomic_store_explicit(&q->quit, true, memory_order_release);
		(void)eventfd_write(q->wake_fd, 1);
		pthread_join(q->thread, NULL);
	}
	colo_stream_source_free(q);
	s->state = NULL;
}

const struct colo_source_ops colo_source_colo = {
	.name = "colo",
	.copies = true,
	.feeds = true,
	.start = colo_start,
	.request = colo_request,
	.poll = colo_poll,
	.called = colo_called,
	.due = colo_due,
	.stop = colo_stop,
};
