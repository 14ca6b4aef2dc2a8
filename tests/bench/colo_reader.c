/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The quickest COLO secondary there can be: reads and checks a QEMU's stream, one thread for each
 * connection as QEMU has it, lets go of every page, and answers at once. What a guest's pause is
 * with it, no secondary at this machine gets below; scripts/bench-qemu measures it beside the
 * others.
 *
 *     colo_reader unix:PATH|tcp:ADDR:PORT
 *
 * Says "ready" when it listens; serves one `migrate`, ends when QEMU closes it.
 */
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <rte_byteorder.h>

#include "colo_listener.h"
#include "colo_stream.h"
#include "multifd.h"

#define DEVICE_SIZE (8u << 20)
#define AHEAD_SIZE  (128u << 10)
#define SILENCE_MS  50	  /* after precopy's last byte QEMU waits for us */
#define GATHER_NS   30000 /* after a read that took all there was */

enum message {
	READY = 0,
	REPLY = 2,
	RECEIVED = 5,
	LOADED = 6
};

/* One connection; its thread's. */
struct connection {
	int fd;
	pthread_t thread;
	struct colo_page_sink sink;
	struct colo_multifd multifd;
	_Atomic uint64_t packets, number, syncs; /* as the main thread may see them */
	uint8_t page[COLO_PAGE_SIZE];		 /* each page overwrites the one before */
};

/* `lock` guards released and n; `changed` says that something of it, or a SYNC, is new. */
static struct {
	struct colo_listener listener; /* read-only once there are connections */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint64_t released; /* flushes that are over */
	unsigned int n;
	struct connection *channel[COLO_MAX_CHANNELS];
	struct colo_stream stream;
	uint8_t device[DEVICE_SIZE], ahead[AHEAD_SIZE];
	size_t ahead_at, ahead_end;
} reader = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void __attribute__((noreturn, format(printf, 1, 2))) die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

static int
on_blocks(void *owner, const struct colo_stream_blocks *blocks, struct colo_error *err)
{
	(void)owner, (void)blocks, (void)err;
	return 0;
}

static uint8_t *
on_place(void *owner, unsigned int block, uint32_t page)
{
	(void)block, (void)page;
	return ((struct connection *)owner)->page;
}

static void
on_placed(void *owner, unsigned int block, uint32_t page)
{
	(void)owner, (void)block, (void)page;
}

static bool
on_zero(void *owner, unsigned int block, uint32_t page)
{
	(void)owner, (void)block, (void)page;
	return true;
}

/* Spare QEMU the waking of a thread for each of its writes. */
static void
gather(void)
{
	const struct timespec nap = {.tv_nsec = GATHER_NS};

	(void)nanosleep(&nap, NULL);
}

/* ---- multifd channels ---- */

static void
await_release(struct connection *c)
{
	pthread_mutex_lock(&reader.lock);
	atomic_store(&c->packets, c->multifd.packets);
	atomic_store(&c->number, c->multifd.number);
	atomic_store(&c->syncs, c->multifd.syncs);
	pthread_cond_broadcast(&reader.changed);
	while (reader.released < c->multifd.syncs)
		pthread_cond_wait(&reader.changed, &reader.lock);
	pthread_mutex_unlock(&reader.lock);
	colo_multifd_released(&c->multifd);
}

/* @return false: closed. */
static bool
read_channel(struct connection *c)
{
	struct iovec iov[COLO_MULTIFD_IOV];
	unsigned int n_iov = colo_multifd_want(&c->multifd, iov);
	ssize_t n = readv(c->fd, iov, (int)n_iov), wanted = 0;

	if (n <= 0)
		return false;
	for (unsigned int i = 0; i < n_iov; i++)
		wanted += (ssize_t)iov[i].iov_len;
	if (n < wanted)
		gather();
	colo_listener_quick_ack(&reader.listener, c->fd);
	colo_multifd_got(&c->multifd, (size_t)n);
	return true;
}

static void *
run_channel(void *argument)
{
	struct connection *c = argument;
	struct colo_error err;

	for (;;) {
		switch (colo_multifd_next(&c->multifd, &err)) {
		case COLO_MULTIFD_FAILED:
			die("channel: %s", err.text);
		case COLO_MULTIFD_MORE:
			if (!read_channel(c))
				return NULL;
			break;
		case COLO_MULTIFD_SYNC:
			await_release(c);
			break;
		default:
			if (c->multifd.packets == 0 && reader.n < COLO_MAX_CHANNELS) {
				pthread_mutex_lock(&reader.lock);
				reader.channel[reader.n++] = c;
				pthread_mutex_unlock(&reader.lock);
			}
		}
	}
}

/* ---- the main channel ---- */

/* QEMU numbers the packets of all channels together, so it shows whether one is still to come. */
static bool
is_flushed(void)
{
	uint64_t packets = 0, next = 0;

	for (unsigned int i = 0; i < reader.n; i++) {
		struct connection *c = reader.channel[i];
		uint64_t number = atomic_load(&c->number);

		if (atomic_load(&c->syncs) <= reader.released)
			return false;
		packets += atomic_load(&c->packets);
		next = number + 1 > next ? number + 1 : next;
	}
	return packets > 0 && packets == next;
}

static void
flush(void)
{
	pthread_mutex_lock(&reader.lock);
	while (!is_flushed())
		pthread_cond_wait(&reader.changed, &reader.lock);
	reader.released++;
	pthread_cond_broadcast(&reader.changed);
	pthread_mutex_unlock(&reader.lock);
}

static void
answer(int fd, const void *bytes, size_t n)
{
	if (send(fd, bytes, n, MSG_NOSIGNAL) != (ssize_t)n)
		die("QEMU takes no answer");
}

static void
answer_ping(int fd)
{
	struct {
		uint16_t type, length;
		uint32_t value;
	} pong = {rte_cpu_to_be_16(2), rte_cpu_to_be_16(4), rte_cpu_to_be_32(reader.stream.ping)};

	answer(fd, &pong, sizeof(pong));
}

static void
answer_precopy(int fd)
{
	struct __attribute__((packed)) {
		uint16_t type, length;
		uint32_t value, message;
	} shut = {rte_cpu_to_be_16(1), rte_cpu_to_be_16(4), 0, rte_cpu_to_be_32(READY)};

	answer(fd, &shut, sizeof(shut));
	colo_stream_answered(&reader.stream);
}

static void
answer_message(int fd, enum message first, enum message second)
{
	uint32_t both[] = {rte_cpu_to_be_32(first), rte_cpu_to_be_32(second)};

	answer(fd, both, first == second ? sizeof(both[0]) : sizeof(both));
	colo_stream_answered(&reader.stream);
}

static void
read_main(int fd)
{
	struct iovec iov[COLO_STREAM_IOV];
	unsigned int n_iov = colo_stream_want(&reader.stream, iov);
	size_t done = 0;

	if (reader.ahead_at == reader.ahead_end) {
		ssize_t n = read(fd, reader.ahead, AHEAD_SIZE);

		if (n <= 0)
			exit(0);
		colo_listener_quick_ack(&reader.listener, fd);
		if (n < (ssize_t)AHEAD_SIZE)
			gather();
		reader.ahead_at = 0;
		reader.ahead_end = (size_t)n;
	}
	for (unsigned int i = 0; i < n_iov; i++) {
		size_t left = reader.ahead_end - reader.ahead_at;
		size_t part = left < iov[i].iov_len ? left : iov[i].iov_len;

		memcpy(iov[i].iov_base, reader.ahead + reader.ahead_at, part);
		reader.ahead_at += part;
		done += part;
	}
	colo_stream_got(&reader.stream, done);
}

static void
end_precopy(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	if (reader.ahead_at != reader.ahead_end || poll(&p, 1, SILENCE_MS) > 0)
		read_main(fd);
	else
		answer_precopy(fd);
}

static void
run_main(int fd)
{
	struct colo_error err;

	for (;;) {
		switch (colo_stream_next(&reader.stream, &err)) {
		case COLO_STREAM_FAILED:
			die("main channel: %s", err.text);
		case COLO_STREAM_MORE:
			read_main(fd);
			break;
		case COLO_STREAM_PING:
			answer_ping(fd);
			break;
		case COLO_STREAM_FLUSH:
			flush();
			colo_stream_answered(&reader.stream);
			break;
		case COLO_STREAM_PRECOPY:
			end_precopy(fd);
			break;
		case COLO_STREAM_REQUEST:
			answer_message(fd, REPLY, REPLY);
			break;
		case COLO_STREAM_CHECKPOINT:
			answer_message(fd, RECEIVED, LOADED);
			break;
		default:
			break;
		}
	}
}

/* ---- connections ---- */

static void *
run_connection(void *argument)
{
	struct connection *c = argument;
	struct colo_error err;
	uint8_t first[4];

	if (recv(c->fd, first, sizeof(first), MSG_PEEK | MSG_WAITALL) != sizeof(first))
		return NULL;
	c->sink = (struct colo_page_sink){c, on_blocks, on_place, on_placed, on_zero};
	if (!colo_multifd_begins(first)) {
		colo_stream_init(&reader.stream, &c->sink, reader.device, sizeof(reader.device));
		run_main(c->fd);
	}
	if (colo_multifd_init(&c->multifd, &reader.stream.blocks, &c->sink, &err) != 0)
		die("channel: %s", err.text);
	return run_channel(c);
}

int
main(int argc, char **argv)
{
	struct colo_error err;

	if (argc != 2 || colo_listener_parse(&reader.listener, argv[1]) != 0)
		die("usage: colo_reader unix:PATH|tcp:ADDR:PORT");
	if (colo_listener_open(&reader.listener, &err) != 0)
		die("%s", err.text);
	prctl(PR_SET_TIMERSLACK, 1);
	puts("ready");
	fflush(stdout);
	for (;;) {
		struct pollfd p = {.fd = reader.listener.fd, .events = POLLIN};
		struct connection *c;
		int fd;

		(void)poll(&p, 1, -1);
		fd = accept(reader.listener.fd, NULL, NULL);
		if (fd < 0)
			continue;
		c = calloc(1, sizeof(*c));
		if (c == NULL)
			die("no memory");
		c->fd = fd;
		if (pthread_create(&c->thread, NULL, run_connection, c) != 0)
			die("no thread");
	}
}
