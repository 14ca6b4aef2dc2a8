/* SPDX-License-Identifier: BSD-3-Clause */
/* The main and multifd channels of a stream: read, parsed, and what they say acted on. */
#include <string.h>

#include <rte_byteorder.h>
#include <rte_cycles.h>

#include "colo_source.h"
#include "keeper.h"

#define RETURN_PATH_PONG 0x0002u

/* Its page cannot be placed: wait for room, or end the epoch. */
static void
note_held(struct stream_source *q, struct colo_caller *c)
{
	struct colo_error err;

	if (c->refused == COLO_PAGES_FULL) {
		c->full = true;
	} else if (c->refused == COLO_PAGES_TWICE && q->doing == COLO_SOURCE_ROUND) {
		q->round_over = true;
	} else if (c->refused == COLO_PAGES_TWICE) {
		colo_error_set(
			&err, "QEMU sent a page twice in one checkpoint, which cannot be undone");
		colo_stream_break(q, &err);
	}
}

static void
answer_ping(struct stream_source *q)
{
	struct {
		uint16_t type, length;
		uint32_t value;
	} pong = {rte_cpu_to_be_16(RETURN_PATH_PONG), rte_cpu_to_be_16(4),
		rte_cpu_to_be_32(q->stream.ping)};

	(void)colo_stream_send(q, &pong, sizeof(pong));
}

/* The primary's guest is stopped for precopy's end by the time we read of it. */
static void
note_standing(struct stream_source *q)
{
	if (q->standing_tsc != 0 || !q->stream.switched)
		return;
	q->standing_tsc = rte_rdtsc();
	colo_keeper_paused(q->source->keeper, true);
}

/*
 * A page and its record are small, and a system call for each would cost more than copying them.
 * @return as colo_caller_read() does.
 */
static ssize_t
read_ahead(struct stream_source *q, struct colo_caller *c, struct iovec *iov, unsigned int n_iov)
{
	struct iovec ahead = {.iov_base = q->ahead, .iov_len = COLO_SOURCE_AHEAD};
	size_t done = 0;
	ssize_t n;

	if (q->ahead_at == q->ahead_end) {
		n = colo_caller_read(q, c, &ahead, 1);
		if (n <= 0)
			return n;
		q->ahead_at = 0;
		q->ahead_end = (size_t)n;
	}
	for (unsigned int i = 0; i < n_iov; i++) {
		size_t left = q->ahead_end - q->ahead_at;
		size_t part = left < iov[i].iov_len ? left : iov[i].iov_len;

		memcpy(iov[i].iov_base, q->ahead + q->ahead_at, part);
		q->ahead_at += part;
		done += part;
	}
	return (ssize_t)done;
}

/* @return false: nothing more came, or the stream is closed. */
static bool
read_main(struct stream_source *q, struct colo_caller *c)
{
	struct iovec iov[COLO_STREAM_IOV];
	unsigned int n_iov = colo_stream_want(&q->stream, iov);
	ssize_t n = read_ahead(q, c, iov, n_iov);
	struct colo_error err;

	if (n > 0) {
		colo_stream_got(&q->stream, (size_t)n);
		q->silent_us = 0;
		return true;
	}
	if (n == 0) {
		if (colo_stream_closed(&q->stream, &err) == 0)
			colo_error_set(&err, "QEMU ended the stream between two checkpoints");
		colo_stream_break(q, &err);
	}
	return false;
}

static void
note_main(struct stream_source *q, struct colo_caller *c, enum colo_stream_event event)
{
	switch (event) {
	case COLO_STREAM_PING:
		answer_ping(q);
		break;
	case COLO_STREAM_PART:
		if (q->doing == COLO_SOURCE_ROUND && q->pages.fed >= COLO_SOURCE_ROUND_PAGES)
			q->round_over = true;
		break;
	case COLO_STREAM_HELD:
		note_held(q, c);
		break;
	case COLO_STREAM_FLUSH:
		q->flush_waits = true;
		q->flush_us = 0;
		break;
	case COLO_STREAM_PRECOPY:
		/* read on: it is whole once nothing more comes */
		if (!read_main(q, c) && c->dry && q->silent_us == 0)
			q->silent_us = colo_monotonic_us();
		break;
	case COLO_STREAM_REQUEST:
		colo_request_asked(q);
		break;
	case COLO_STREAM_CHECKPOINT:
		q->whole = true;
		break;
	default:
		break;
	}
}

static void
run_main(struct stream_source *q, struct colo_caller *c)
{
	struct colo_error err;

	for (unsigned int i = 0; i < COLO_SOURCE_MAIN_BURST; i++) {
		enum colo_stream_event event;

		if (c->role != COLO_CALLER_MAIN || c->dry || c->full || !colo_stream_may_run(q, c))
			return;
		event = colo_stream_next(&q->stream, &err);
		if (event == COLO_STREAM_FAILED) {
			colo_stream_break(q, &err);
			return;
		}
		note_standing(q);
		if (event == COLO_STREAM_MORE)
			(void)read_main(q, c);
		else
			note_main(q, c, event);
	}
}

static void
read_channel(struct stream_source *q, struct colo_caller *c)
{
	struct iovec iov[COLO_MULTIFD_IOV];
	unsigned int n_iov = colo_multifd_want(c->multifd, iov);
	ssize_t n = colo_caller_read(q, c, iov, n_iov);
	struct colo_error err;

	if (n > 0) {
		colo_multifd_got(c->multifd, (size_t)n);
		return;
	}
	if (n < 0)
		return;
	if (q->state == COLO_STREAM_STATE_NONE || !c->known) {
		colo_caller_close(q, c);
		return;
	}
	if (colo_multifd_closed(c->multifd, &err) == 0)
		colo_error_set(&err, "QEMU closed multifd channel %u", c->multifd->id);
	colo_stream_break(q, &err);
}

static void
fail_channel(struct stream_source *q, struct colo_caller *c, const struct colo_error *err)
{
	if (c->known && q->state != COLO_STREAM_STATE_NONE)
		colo_stream_break(q, err);
	else
		colo_caller_refuse(q, c, err->text);
}

static void
note_channel(struct stream_source *q, struct colo_caller *c, enum colo_multifd_event event)
{
	struct colo_error err;

	switch (event) {
	case COLO_MULTIFD_MORE:
		read_channel(q, c);
		break;
	case COLO_MULTIFD_INITIAL:
		colo_stream_enter(q, c);
		break;
	case COLO_MULTIFD_HELD:
		note_held(q, c);
		break;
	case COLO_MULTIFD_SYNC:
		colo_stream_check_flush(q);
		break;
	default:
		break;
	}
	if (c->role == COLO_CALLER_CHANNEL && c->twice) {
		colo_error_set(&err,
			"QEMU sent a page twice at the same time, on multifd channel "
			"%u and another, or in one packet",
			c->multifd->id);
		colo_stream_break(q, &err);
	}
}

static void
run_channel(struct stream_source *q, struct colo_caller *c)
{
	struct colo_error err;

	for (unsigned int i = 0; i < COLO_SOURCE_BURST; i++) {
		enum colo_multifd_event event;

		if (c->role != COLO_CALLER_CHANNEL || c->dry || c->full ||
			!colo_stream_may_run(q, c))
			return;
		event = colo_multifd_next(c->multifd, &err);
		if (event == COLO_MULTIFD_FAILED) {
			fail_channel(q, c, &err);
			return;
		}
		note_channel(q, c, event);
	}
}

static bool
main_may_run(const struct stream_source *q)
{
	switch (q->state) {
	case COLO_STREAM_STATE_HEAD:
		return true;
	case COLO_STREAM_STATE_PRECOPY:
		return q->pages.open && !q->flush_waits && !q->round_over;
	case COLO_STREAM_STATE_CHECKPOINTS:
		return !q->asked && !q->whole && !q->flush_waits;
	default:
		return false;
	}
}

bool
colo_stream_may_run(const struct stream_source *q, const struct colo_caller *c)
{
	switch (c->role) {
	case COLO_CALLER_NEW:
		return q->state != COLO_STREAM_STATE_BROKEN;
	case COLO_CALLER_MAIN:
		return main_may_run(q);
	case COLO_CALLER_CHANNEL:
		return !c->known || (q->pages.open && !q->round_over && !c->multifd->synced);
	default:
		return false;
	}
}

void
colo_stream_run(struct stream_source *q, struct colo_caller *c)
{
	c->full = false;
	if (c->role == COLO_CALLER_NEW && !c->dry && colo_stream_may_run(q, c))
		colo_caller_classify(q, c);
	if (c->role == COLO_CALLER_MAIN)
		run_main(q, c);
	else if (c->role == COLO_CALLER_CHANNEL)
		run_channel(q, c);
	if (q->pages.open)
		q->unput = !colo_pages_put(&q->pages);
}
