/* SPDX-License-Identifier: BSD-3-Clause */
/* Multifd channels of a stream: which belong to it, and the flushes at which they meet. */
#include <inttypes.h>

#include "colo_source.h"

/*
 * The first flush comes before any page, and may be over before a slow channel is known; the second
 * one shows that its packets are missing.
 */
static bool
may_join(const struct stream_source *q)
{
	return q->state < COLO_STREAM_STATE_CHECKPOINTS && q->flushes <= 1 && !q->plain;
}

void
colo_stream_enter(struct stream_source *q, struct colo_caller *c)
{
	struct colo_error err;

	q->ids.n = COLO_MAX_CHANNELS;
	if (!may_join(q)) {
		colo_caller_refuse(
			q, c, "a multifd channel is accepted at the beginning of its stream only");
	} else if (colo_multifd_claim(&q->ids, c->multifd, &err) != 0) {
		colo_caller_refuse(q, c, err.text);
	} else {
		c->known = true;
	}
}

/*
 * The primary numbers the packets of all its channels together, from 0: so they add up if every
 * channel is known, and has come to the SYNC that belongs to this flush.
 */
static bool
is_flushed(const struct stream_source *q)
{
	uint64_t packets = 0, next = 0;

	for (unsigned int i = 0; i < COLO_SOURCE_CALLERS; i++) {
		const struct colo_caller *c = &q->caller[i];

		if (c->role != COLO_CALLER_CHANNEL || !c->known)
			continue;
		if (c->multifd->syncs <= q->flushes)
			return false;
		packets += c->multifd->packets;
		if (c->multifd->number >= next)
			next = c->multifd->number + 1;
	}
	return packets > 0 && packets == next;
}

static bool
waits_for_channels(const struct stream_source *q)
{
	for (unsigned int i = 0; i < COLO_SOURCE_CALLERS; i++)
		if (q->caller[i].known && q->caller[i].multifd->syncs <= q->flushes)
			return false;
	return true;
}

/* A channel whose SYNC belongs to a flush that is over goes on. */
static void
release_channels(struct stream_source *q)
{
	for (unsigned int i = 0; i < COLO_SOURCE_CALLERS; i++) {
		struct colo_caller *c = &q->caller[i];

		if (c->role == COLO_CALLER_CHANNEL && c->multifd->syncs <= q->flushes)
			colo_multifd_released(c->multifd);
	}
}

void
colo_stream_check_flush(struct stream_source *q)
{
	struct colo_error err;

	if (!q->pages.open)
		return;
	release_channels(q);
	if (!q->flush_waits)
		return;
	if (q->flush_us == 0)
		q->flush_us = colo_monotonic_us();
	if (is_flushed(q)) {
		q->flushes++;
		q->flush_waits = false;
		colo_stream_answered(&q->stream);
		release_channels(q);
	} else if (waits_for_channels(q) &&
		   colo_monotonic_us() > q->flush_us + COLO_SOURCE_FIRST_MS * 1000ull) {
		colo_error_set(&err,
			"a multifd flush waits for channels that do not come: %u are there, and "
			"after "
			"%u ms their packets do not add up",
			q->ids.n_seen, COLO_SOURCE_FIRST_MS);
		colo_stream_break(q, &err);
	}
}
