/* SPDX-License-Identifier: BSD-3-Clause */
/* Sockets of source `colo`: accepted, told apart by their first bytes, waited for, closed. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "colo_source.h"
#include "log.h"
#include "thread.h"

static uint64_t
age_ms(uint64_t since_us)
{
	return (colo_monotonic_us() - since_us) / 1000;
}

static struct colo_caller *
find_free(struct stream_source *q)
{
	for (unsigned int i = 0; i < COLO_SOURCE_CALLERS; i++)
		if (q->caller[i].role == COLO_CALLER_FREE)
			return &q->caller[i];
	return NULL;
}

void
colo_callers_accept(struct stream_source *q)
{
	struct colo_caller *c;

	while ((c = find_free(q)) != NULL) {
		int fd = colo_listener_accept(&q->listener);

		if (fd < 0) {
			/* out of descriptors or memory: whoever calls is still there later */
			if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
				(void)poll(NULL, 0, COLO_SOURCE_PENURY_MS);
			return;
		}
		*c = (struct colo_caller){.role = COLO_CALLER_NEW,
			.fd = fd,
			.owner = q,
			.since_us = colo_monotonic_us(),
			.sink = colo_stream_sink};
		c->sink.owner = c;
	}
}

void
colo_caller_close(struct stream_source *q, struct colo_caller *c)
{
	if (c->role == COLO_CALLER_FREE)
		return;
	close(c->fd);
	if (c->multifd != NULL) {
		if (c->known) {
			q->ids.seen &= ~(1u << c->multifd->id);
			q->ids.n_seen--;
		}
		colo_multifd_fini(c->multifd);
		free(c->multifd);
	}
	if (q->main == c)
		q->main = NULL;
	*c = (struct colo_caller){.fd = -1};
}

/* The other side has closed; there may be bytes left to be read. */
static bool
has_hung_up(const struct colo_caller *c)
{
	struct pollfd p = {.fd = c->fd, .events = POLLRDHUP};

	return c->role != COLO_CALLER_FREE && poll(&p, 1, 0) > 0;
}

void
colo_caller_refuse(struct stream_source *q, struct colo_caller *c, const char *why)
{
	COLO_LOG(WARNING, "a connection to %s is closed: %s", q->listener.name, why);
	colo_caller_close(q, c);
}

/* Those that are not told apart may be the next stream's, unless they have hung up. */
void
colo_callers_close_stream(struct stream_source *q)
{
	for (unsigned int i = 0; i < COLO_SOURCE_CALLERS; i++)
		if (q->caller[i].role >= COLO_CALLER_MAIN || has_hung_up(&q->caller[i]))
			colo_caller_close(q, &q->caller[i]);
}

/* ---- main or multifd ---- */

static void
begin_main(struct stream_source *q, struct colo_caller *c)
{
	struct iovec iov[COLO_STREAM_IOV];

	if (q->state != COLO_STREAM_STATE_NONE) {
		colo_caller_refuse(
			q, c, "another QEMU's guest is being protected already; one at a time is");
		return;
	}
	c->role = COLO_CALLER_MAIN;
	q->main = c;
	q->state = COLO_STREAM_STATE_HEAD;
	q->head_us = colo_monotonic_us();
	q->ahead_at = q->ahead_end = 0;
	q->flush_waits = q->round_over = q->precopy_over = false;
	q->asked = q->replied = q->whole = q->in_colo = false;
	q->silent_us = q->standing_tsc = 0;
	colo_stream_init(&q->stream, &c->sink, q->device, q->device_size);
	(void)colo_stream_want(&q->stream, iov);
	memcpy(iov[0].iov_base, c->first, sizeof(c->first));
	colo_stream_got(&q->stream, sizeof(c->first));
}

static void
begin_channel(struct stream_source *q, struct colo_caller *c)
{
	struct iovec iov[COLO_MULTIFD_IOV];
	struct colo_error err = {"no memory for a multifd channel"};

	c->multifd = malloc(sizeof(*c->multifd));
	if (c->multifd == NULL ||
		colo_multifd_init(c->multifd, &q->stream.blocks, &c->sink, &err) != 0) {
		free(c->multifd);
		c->multifd = NULL;
		colo_caller_refuse(q, c, err.text);
		return;
	}
	c->role = COLO_CALLER_CHANNEL;
	(void)colo_multifd_want(c->multifd, iov);
	memcpy(iov[0].iov_base, c->first, sizeof(c->first));
	colo_multifd_got(c->multifd, sizeof(c->first));
}

/*
 * Who calls while a stream ends is the next one's: a QEMU that was just freed may migrate again
 * before we know. What an ended one has left behind, in the listener's queue too, is nobody's.
 */
void
colo_caller_classify(struct stream_source *q, struct colo_caller *c)
{
	ssize_t n;

	if (has_hung_up(c)) {
		colo_caller_close(q, c);
		return;
	}
	if (q->main != NULL && has_hung_up(q->main)) {
		c->dry = true; /* the main channel's end is seen first, and wakes it */
		return;
	}
	n = read(c->fd, c->first + c->n_first, sizeof(c->first) - c->n_first);

	c->dry = true;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		colo_caller_close(q, c);
		return;
	}
	c->n_first += (unsigned int)n;
	c->dry = false;
	if (c->n_first < sizeof(c->first))
		return;
	if (colo_multifd_begins(c->first))
		begin_channel(q, c);
	else
		begin_main(q, c);
}

ssize_t
colo_caller_read(
	struct stream_source *q, struct colo_caller *c, struct iovec *iov, unsigned int n_iov)
{
	ssize_t n;

	do
		n = readv(c->fd, iov, (int)n_iov);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno != EAGAIN)
		return 0;
	if (n < 0) {
		c->dry = true;
		colo_listener_quick_ack(&q->listener, c->fd);
	} else if (n > 0) {
		q->came = true;
	}
	return n;
}

/* ---- waiting ---- */

/* @return how long this one may still take, in ms; -1: as long as it likes. */
static int
left_ms(const struct stream_source *q, const struct colo_caller *c)
{
	uint64_t age, limit;

	switch (c->role) {
	case COLO_CALLER_NEW:
		age = age_ms(c->since_us);
		limit = COLO_SOURCE_FIRST_MS;
		break;
	case COLO_CALLER_MAIN:
		if (q->state != COLO_STREAM_STATE_HEAD)
			return -1;
		age = age_ms(q->head_us);
		limit = COLO_SOURCE_HEAD_MS;
		break;
	case COLO_CALLER_CHANNEL:
		if (c->known && q->state != COLO_STREAM_STATE_NONE)
			return -1;
		age = age_ms(c->since_us);
		limit = COLO_SOURCE_HEAD_MS;
		break;
	default:
		return -1;
	}
	return age < limit ? (int)(limit - age) : 0;
}

int
colo_callers_expire(struct stream_source *q)
{
	int next = -1;

	for (unsigned int i = 0; i < COLO_SOURCE_CALLERS; i++) {
		struct colo_caller *c = &q->caller[i];
		int left = left_ms(q, c);
		struct colo_error err;

		if (left == 0 && c->role == COLO_CALLER_MAIN) {
			colo_error_set(
				&err, "no list of RAM blocks came in %u ms", COLO_SOURCE_HEAD_MS);
			colo_stream_break(q, &err);
		} else if (left == 0) {
			colo_caller_refuse(q, c, "it is silent, or belongs to no main channel");
		} else if (left > 0 && (next < 0 || left < next)) {
			next = left;
		}
	}
	return next;
}

static void
tighten(struct timespec *timeout, bool *limited, uint64_t ns)
{
	struct timespec t = {
		.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};

	if (*limited && (timeout->tv_sec < t.tv_sec ||
				(timeout->tv_sec == t.tv_sec && timeout->tv_nsec <= t.tv_nsec)))
		return;
	*timeout = t;
	*limited = true;
}

/* @return NULL: for as long as it takes. */
static const struct timespec *
next_timeout(struct stream_source *q, int expires_ms, struct timespec *timeout)
{
	bool limited = false;

	if (expires_ms >= 0)
		tighten(timeout, &limited, (uint64_t)expires_ms * 1000000u);
	if (q->silent_us != 0)
		tighten(timeout, &limited, 1000000);
	if (q->flush_waits)
		tighten(timeout, &limited, 100000000);
	if (q->unput)
		tighten(timeout, &limited, COLO_SOURCE_FULL_NS);
	for (unsigned int i = 0; i < COLO_SOURCE_CALLERS; i++) {
		struct colo_caller *c = &q->caller[i];

		if (!c->dry && colo_stream_may_run(q, c))
			tighten(timeout, &limited, c->full ? COLO_SOURCE_FULL_NS : 0);
	}
	return limited ? timeout : NULL;
}

/* A connection that is not read now has ended all the same. */
static void
note_hang_up(struct stream_source *q, struct colo_caller *c)
{
	struct colo_error err;

	if (c->role == COLO_CALLER_NEW || q->state == COLO_STREAM_STATE_NONE) {
		colo_caller_close(q, c);
		return;
	}
	if (c->role == COLO_CALLER_CHANNEL)
		colo_error_set(&err, "QEMU closed multifd channel %u", c->multifd->id);
	else if (colo_stream_closed(&q->stream, &err) == 0)
		colo_error_set(&err, "QEMU ended the stream between two checkpoints");
	colo_stream_break(q, &err);
}

/* Is there something to be done about what comes? One that is not told apart may have to wait. */
static bool
may_read(const struct stream_source *q, const struct colo_caller *c)
{
	return colo_stream_may_run(q, c) &&
	       !(c->role == COLO_CALLER_NEW && q->main != NULL && has_hung_up(q->main));
}

/* In poll(2)'s order: wake_fd, listener, connections. */
#define N_POLLED (COLO_SOURCE_CALLERS + 2)

static void
fill(struct stream_source *q, struct pollfd p[N_POLLED])
{
	p[0] = (struct pollfd){.fd = q->wake_fd, .events = POLLIN};
	p[1] = (struct pollfd){.fd = q->listener.fd, .events = POLLIN};
	/* negative ones are passed over */
	if (q->state == COLO_STREAM_STATE_BROKEN || find_free(q) == NULL)
		p[1].fd = -1;
	for (unsigned int i = 0; i < COLO_SOURCE_CALLERS; i++) {
		struct colo_caller *c = &q->caller[i];

		p[i + 2] = (struct pollfd){.fd = c->role == COLO_CALLER_FREE ? -1 : c->fd,
			.events = may_read(q, c) ? POLLIN : POLLRDHUP};
	}
}

static void
note(struct stream_source *q, const struct pollfd p[N_POLLED])
{
	eventfd_t count;

	if (p[0].revents != 0)
		(void)eventfd_read(q->wake_fd, &count);
	for (unsigned int i = 0; i < COLO_SOURCE_CALLERS; i++) {
		struct colo_caller *c = &q->caller[i];

		/* what was polled may be closed by now, with another one */
		if (p[i + 2].revents == 0 || c->fd != p[i + 2].fd || c->role == COLO_CALLER_FREE)
			continue;
		c->dry = false;
		if (p[i + 2].events == POLLRDHUP)
			note_hang_up(q, c);
	}
	if (p[1].revents != 0)
		colo_callers_accept(q);
}

/*
 * Amid an epoch's pages the next ones are under way: whoever sends them is spared the waking of
 * this thread for each of its writes, and many are read together.
 */
static void
gather(struct stream_source *q, const struct timespec *limit)
{
	const struct timespec nap = {.tv_nsec = COLO_SOURCE_GATHER_NS};
	bool more_to_do = limit != NULL && limit->tv_sec == 0 && limit->tv_nsec < nap.tv_nsec;

	if (q->came && q->pages.open && !more_to_do)
		(void)nanosleep(&nap, NULL);
	q->came = false;
}

void
colo_callers_wait(struct stream_source *q)
{
	struct pollfd p[N_POLLED];
	struct timespec timeout;
	const struct timespec *limit = next_timeout(q, colo_callers_expire(q), &timeout);

	gather(q, limit);
	fill(q, p);
	if (ppoll(p, N_POLLED, limit, NULL) > 0)
		note(q, p);
}
