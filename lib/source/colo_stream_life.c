/* SPDX-License-Identifier: BSD-3-Clause */
/* A stream's life: greeted, answered, broken, closed. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "colo_source.h"
#include "keeper.h"
#include "log.h"

void
colo_stream_close(struct stream_source *q)
{
	colo_callers_close_stream(q);
	colo_pages_end(&q->pages);
	q->unput = q->flush_waits = q->asked = q->whole = q->round_over = false;
	q->plain = q->gone = false;
	q->silent_us = q->flushes = 0;
	q->state = COLO_STREAM_STATE_NONE;
	atomic_store_explicit(&q->called, false, memory_order_release);
	atomic_store_explicit(&q->due, false, memory_order_release);
}

void
colo_stream_break(struct stream_source *q, const struct colo_error *why)
{
	bool session = q->state >= COLO_STREAM_STATE_PRECOPY;

	if (q->state == COLO_STREAM_STATE_NONE || q->state == COLO_STREAM_STATE_BROKEN)
		return;
	colo_stream_close(q);
	if (session) {
		q->state = COLO_STREAM_STATE_BROKEN;
		q->why_broken = *why;
		q->gone = colo_keeper_gone(q->source->keeper, COLO_SOURCE_LOOK_MS);
		colo_stream_fail(q, why->text);
		return;
	}
	COLO_LOG(WARNING, "the QEMU that called %s is not protected: %s", q->listener.name,
		why->text);
	if (q->watched)
		colo_keeper_unwatch(q->source->keeper);
	q->watched = false;
}

bool
colo_stream_send(struct stream_source *q, const void *bytes, size_t n)
{
	struct colo_error err;

	if (q->main != NULL &&
		send(q->main->fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)n)
		return true;
	colo_error_set(&err, "QEMU takes no answers any more: %s", strerror(errno));
	colo_stream_break(q, &err);
	return false;
}

/* The keeper first: a guest that it could not free is not begun with. */
void
colo_stream_greet(struct stream_source *q)
{
	struct colo_error err;

	if (q->state != COLO_STREAM_STATE_LISTED ||
		!atomic_load_explicit(&q->blocks_made, memory_order_acquire) ||
		!colo_pages_forget(&q->pages, &q->quit))
		return;
	if (colo_keeper_watch(q->source->keeper, COLO_SOURCE_KEEPER_MS, &err) != 0) {
		colo_stream_break(q, &err);
		return;
	}
	q->watched = true;
	q->state = COLO_STREAM_STATE_CALLED;
	/* that the one before could not be released is no failure of this one's session */
	colo_stream_publish(q, COLO_SOURCE_DONE);
	atomic_store_explicit(&q->called, true, memory_order_release);
}
