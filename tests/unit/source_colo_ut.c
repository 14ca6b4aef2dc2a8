/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Source colo against recorded QEMUs that wait for its answers, over real sockets: whole streams,
 * streams cut off anywhere, other callers, requests that overtake each other, full rings.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <rte_byteorder.h>
#include <rte_errno.h>

#include "device_state.h"
#include "source.h"
#include "ut.h"
#include "ut_eal.h"
#include "ut_stream.h"
#include "wait.h"

#define DEVICE_SIZE (1u << 20)
#define LIMIT_MS    10000u
#define CONNECTIONS 18u
#define CHECKPOINTS 3u
#define N_CHANNELS  3u
#define WHOLE	    SIZE_MAX

/* ---- a QEMU that was recorded ---- */

struct player {
	struct ut_stream in[CONNECTIONS]; /* main, then multifd */
	struct ut_record record;
	unsigned int n;
	int fd[CONNECTIONS];
	pthread_t thread[CONNECTIONS];
	size_t cut;		  /* the main channel is closed after so many bytes */
	unsigned int checkpoints; /* whose last answer has come */
	unsigned int wrong;	  /* answers */
	_Atomic bool connected;
	_Atomic bool over; /* main channel: said all, or was closed */
};

static char path[108];
static _Atomic bool session_on; /* a request is under way or done */

static uint16_t tcp_port; /* 0: the unix socket at `path` */

static int
call_once(void)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct sockaddr_in in = {.sin_family = AF_INET,
		.sin_port = htons(tcp_port),
		.sin_addr = {htonl(INADDR_LOOPBACK)}};
	int fd = socket(tcp_port != 0 ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int rc;

	strcpy(un.sun_path, path);
	if (tcp_port != 0)
		rc = connect(fd, (struct sockaddr *)&in, sizeof(in));
	else
		rc = connect(fd, (struct sockaddr *)&un, sizeof(un));
	if (rc == 0)
		return fd;
	close(fd);
	return -1;
}

static int
call(void)
{
	for (unsigned int i = 0; i < 500; i++) {
		int fd = call_once();

		if (fd >= 0)
			return fd;
		usleep(10000);
	}
	abort();
}

static bool
say(int fd, const uint8_t *bytes, size_t n)
{
	while (n > 0) {
		ssize_t sent = send(fd, bytes, n, MSG_NOSIGNAL);

		if (sent <= 0)
			return false;
		bytes += sent;
		n -= (size_t)sent;
	}
	return true;
}

static bool
hear(struct player *p, const char *wanted, size_t n)
{
	char got[64];
	size_t at = 0;

	while (at < n) {
		ssize_t r = recv(p->fd[0], got + at, n - at, 0);

		if (r <= 0)
			return false;
		at += (size_t)r;
	}
	p->wrong += memcmp(got, wanted, n) != 0;
	return true;
}

/* Say what comes up to @p until. @return false: closed, or told to end here. */
static bool
say_until(struct player *p, size_t *at, size_t until)
{
	size_t end = until < p->cut ? until : p->cut;
	bool said = say(p->fd[0], p->in[0].bytes + *at, end - *at);

	*at = end;
	return said && end == until;
}

/* The main channel, answer by answer. */
static void
play_main(struct player *p)
{
	const size_t *answered = p->record.answered;
	size_t at = 0;

	if (!say_until(p, &at, answered[1]) ||
		!hear(p, "\0\2\0\4\0\0\0\1\0\1\0\4\0\0\0\0\0\0\0\0", 20))
		return;
	for (unsigned int i = 0; i < CHECKPOINTS; i++) {
		if (!say_until(p, &at, answered[2 + 2 * i]) || !hear(p, "\0\0\0\2", 4) ||
			!say_until(p, &at, answered[3 + 2 * i]) || !hear(p, "\0\0\0\5\0\0\0\6", 8))
			return;
		p->checkpoints++;
	}
}

static void *
run_main(void *arg)
{
	struct player *p = arg;

	play_main(p);
	/* one that goes before a session is on is nobody's loss */
	for (unsigned int i = 0; p->cut != WHOLE && !atomic_load(&session_on) && i < 5000; i++)
		usleep(1000);
	if (p->cut != WHOLE)
		shutdown(p->fd[0], SHUT_RDWR);
	atomic_store(&p->over, true);
	return NULL;
}

struct one {
	struct player *p;
	unsigned int i;
};

static void *
run_channel(void *arg)
{
	struct one *one = arg;

	(void)say(one->p->fd[one->i], one->p->in[one->i].bytes, one->p->in[one->i].length);
	free(one);
	return NULL;
}

static void
load(struct player *p, const char *name, unsigned int n)
{
	memset(p, 0, sizeof(*p));
	p->n = n;
	p->cut = WHOLE;
	p->record = ut_record_load(name);
	for (unsigned int i = 0; i < n; i++)
		p->in[i] = ut_stream_load(name, i);
}

static void
unload(struct player *p)
{
	for (unsigned int i = 0; i < p->n; i++)
		free(p->in[i].bytes);
}

/* QEMU's order: the main connection, all others, then the first bytes. */
static void *
run_qemu(void *arg)
{
	struct player *p = arg;

	for (unsigned int i = 0; i < p->n; i++)
		p->fd[i] = call();
	for (unsigned int i = p->n - 1; i > 0; i--) {
		struct one *one = malloc(sizeof(*one));

		*one = (struct one){p, i};
		pthread_create(&p->thread[i], NULL, run_channel, one);
	}
	atomic_store(&p->connected, true);
	return run_main(p);
}

static void
play(struct player *p)
{
	p->checkpoints = p->wrong = 0;
	atomic_store(&p->over, false);
	atomic_store(&p->connected, false);
	pthread_create(&p->thread[0], NULL, run_qemu, p);
}

/* Close whatever is open; threads that wait end by that. */
static void
hang_up(struct player *p)
{
	while (!atomic_load(&p->connected))
		usleep(1000);
	for (unsigned int i = 0; i < p->n; i++)
		shutdown(p->fd[i], SHUT_RDWR);
	for (unsigned int i = 0; i < p->n; i++) {
		pthread_join(p->thread[i], NULL);
		close(p->fd[i]);
	}
}

/* ---- the control core, the senders, and a secondary that keeps what they send ---- */

static struct colo_source source;
static struct colo_blocks blocks;
static struct colo_feed feed;
static struct colo_error err;
static uint8_t *copy[COLO_MAX_BLOCKS];
static uint8_t *fed[COLO_MAX_BLOCKS]; /* bytes: page was fed in this epoch */
static unsigned int normal, zeros, twice, torn;
static volatile sig_atomic_t interrupted;

static void
feed_make(unsigned int n_channels, unsigned int size)
{
	char name[RTE_RING_NAMESIZE];

	feed.n_channels = n_channels;
	for (unsigned int c = 0; c < n_channels; c++) {
		snprintf(name, sizeof(name), "ut%u", c);
		feed.ring[c] = rte_ring_create_elem(name, sizeof(struct colo_feed_page), size,
			SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
		if (feed.ring[c] == NULL)
			abort();
	}
}

static void
copy_make(void)
{
	for (unsigned int i = 0; i < blocks.n; i++) {
		copy[i] = calloc(1, blocks.block[i].size);
		fed[i] = calloc(1, blocks.block[i].n_pages);
	}
}

static void
copy_reset(void)
{
	for (unsigned int i = 0; i < blocks.n; i++)
		memset(copy[i], 0, blocks.block[i].size);
	normal = zeros = twice = torn = 0;
}

/* Start; the first caller is there already or will be soon. */
static int
start(unsigned int n_channels, unsigned int ring)
{
	char args[160];

	if (tcp_port != 0)
		snprintf(args, sizeof(args), "listen=tcp:127.0.0.1:%u", tcp_port);
	else
		snprintf(args, sizeof(args), "listen=unix:%s", path);
	interrupted = 0;
	memset(&blocks, 0, sizeof(blocks));
	memset(&feed, 0, sizeof(feed));
	source = (struct colo_source){.ops = &colo_source_colo,
		.blocks = &blocks,
		.device_block_size = DEVICE_SIZE,
		.interrupt = &interrupted,
		.feed = &feed};
	feed_make(n_channels, ring);
	return source.ops->start(&source, args, &err);
}

static void
stop(void)
{
	source.ops->stop(&source);
	source.ops->stop(&source);
	for (unsigned int i = 0; i < blocks.n; i++) {
		free(copy[i]);
		free(fed[i]);
		copy[i] = fed[i] = NULL;
	}
	colo_blocks_free(&blocks, false);
	colo_feed_fini(&feed);
	CU_ASSERT_EQUAL(access(path, F_OK), -1);
}

static void
take(const struct colo_feed_page *page)
{
	const uint8_t *from = colo_page_addr(&blocks.block[page->block].guest, page->page);
	uint8_t *to = copy[page->block] + (size_t)page->page * COLO_PAGE_SIZE;
	static const uint8_t zero[COLO_PAGE_SIZE];

	twice += fed[page->block][page->page]++ != 0;
	torn += page->zero && memcmp(from, zero, COLO_PAGE_SIZE) != 0;
	memcpy(to, from, COLO_PAGE_SIZE);
	if (page->block + 1u == blocks.n)
		return;
	normal += !page->zero;
	zeros += page->zero;
}

static void
drain(void)
{
	struct colo_feed_page page[64];

	for (unsigned int c = 0; c < feed.n_channels; c++) {
		unsigned int n = colo_feed_take(&feed, c, page, 64);

		for (unsigned int i = 0; i < n; i++)
			take(&page[i]);
		if (n > 0)
			c--; /* until it is empty */
	}
}

/* @return how the request ended. */
static enum colo_source_status
finish(bool draining)
{
	uint64_t deadline = colo_deadline(LIMIT_MS);
	enum colo_source_status status;

	while ((status = source.ops->poll(&source)) == COLO_SOURCE_BUSY &&
		colo_deadline_left(deadline) > 0) {
		if (draining)
			drain();
		usleep(20);
	}
	drain();
	return status;
}

static enum colo_source_status
ask(enum colo_source_request request)
{
	for (unsigned int i = 0; i < blocks.n; i++)
		memset(fed[i], 0, blocks.block[i].n_pages);
	source.ops->request(&source, request);
	usleep(100);
	atomic_store(&session_on, request != COLO_SOURCE_RELEASE);
	return finish(true);
}

static bool
wait_for(bool (*what)(struct colo_source *))
{
	uint64_t deadline = colo_deadline(LIMIT_MS);

	while (!what(&source)) {
		if (colo_deadline_left(deadline) == 0 ||
			source.ops->poll(&source) == COLO_SOURCE_FAILED)
			return false;
		usleep(100);
	}
	return true;
}

/* As the control core does, until something fails or so many checkpoints are whole. */
static enum colo_source_status
protect(unsigned int checkpoints)
{
	enum colo_source_status status;
	bool first = true;

	if (!wait_for(source.ops->called))
		return COLO_SOURCE_FAILED;
	do
		status = ask(COLO_SOURCE_ROUND);
	while (status == COLO_SOURCE_DONE && !source.precopy_over);
	for (unsigned int i = 0; i <= checkpoints && status == COLO_SOURCE_DONE; i++) {
		if (!first && !wait_for(source.ops->due))
			return source.ops->poll(&source);
		first = false;
		atomic_store(&source.paused_tsc, 0);
		status = ask(COLO_SOURCE_PAUSE);
		if (status != COLO_SOURCE_DONE)
			break;
		CU_ASSERT_NOT_EQUAL(atomic_load(&source.paused_tsc), 0);
		status = ask(COLO_SOURCE_RESUME);
	}
	return status;
}

static void
check_copy(const struct player *p)
{
	unsigned int last = blocks.n - 1;
	const char *machine;
	const uint8_t *state;
	uint64_t length;

	CU_ASSERT_EQUAL(twice, 0);
	CU_ASSERT_EQUAL(torn, 0);
	for (unsigned int i = 0; i < blocks.n; i++)
		CU_ASSERT_EQUAL(
			memcmp(copy[i], blocks.block[i].guest.addr, blocks.block[i].size), 0);
	CU_ASSERT_EQUAL((uint32_t)crc32(0, copy[0], (uInt)blocks.block[0].size), p->record.crc32);
	CU_ASSERT_EQUAL(normal, p->record.normal);
	CU_ASSERT_EQUAL(zeros, p->record.zero);
	state = colo_device_state_load(
		copy[last], blocks.block[last].size, &machine, &length, &err);
	CU_ASSERT_PTR_NOT_NULL_FATAL(state);
	CU_ASSERT_EQUAL(state[0], 4);
	CU_ASSERT_EQUAL(state[length - 1], 0);
	CU_ASSERT_EQUAL(strncmp(machine, "pc-", 3), 0);
}

/* ---- tests ---- */

/* A whole recorded stream, twice: the second one finds staging as the first one left it. */
static void
whole(const char *name, unsigned int n, unsigned int channels, unsigned int ring)
{
	struct player p;

	load(&p, name, n);
	play(&p);
	CU_ASSERT_EQUAL_FATAL(start(channels, ring), 0);
	copy_make();
	for (unsigned int i = 0; i < 2; i++) {
		copy_reset();
		CU_ASSERT_EQUAL(protect(CHECKPOINTS), COLO_SOURCE_DONE);
		while (!atomic_load(&p.over))
			usleep(1000);
		CU_ASSERT_EQUAL(p.checkpoints, CHECKPOINTS);
		CU_ASSERT_EQUAL(p.wrong, 0);
		check_copy(&p);
		CU_ASSERT_FALSE(source.ops->called(&source));
		CU_ASSERT_EQUAL(ask(COLO_SOURCE_RELEASE), COLO_SOURCE_DONE);
		hang_up(&p);
		if (i == 0)
			play(&p);
	}
	stop();
	unload(&p);
}

static void
test_plain(void)
{
	whole("plain", 1, N_CHANNELS, 8192);
	whole("q35", 1, 1, 8192);
}

static void
test_multifd(void)
{
	whole("multifd", 5, N_CHANNELS, 8192);
	whole("multifd", 5, 4, 8192);
	whole("zstd", 5, 2, 8192);
	whole("zlib", 2, 1, 8192);
}

/* @return a TCP port that nobody had a moment ago. */
static uint16_t
free_port(void)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t length = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (bind(fd, (struct sockaddr *)&in, length) != 0 ||
		getsockname(fd, (struct sockaddr *)&in, &length) != 0)
		abort();
	close(fd);
	return ntohs(in.sin_port);
}

static void
test_tcp(void)
{
	tcp_port = free_port();
	whole("plain", 1, 2, 8192);
	whole("zstd", 5, 2, 8192);
	tcp_port = 0;
}

/* Rings that hold a few pages only: QEMU is held back, nothing is lost. */
static void
test_full(void)
{
	whole("plain", 1, 2, 16);
	whole("multifd", 5, 2, 16);
}

/* Nobody takes pages for a while: the thread waits, and does not feed more than it may. */
static void
stalled(unsigned int channels, unsigned int ring, unsigned int waiting)
{
	struct player p;

	load(&p, "multifd", 5);
	play(&p);
	CU_ASSERT_EQUAL_FATAL(start(channels, ring), 0);
	copy_make();
	copy_reset();
	CU_ASSERT(wait_for(source.ops->called));
	source.ops->request(&source, COLO_SOURCE_ROUND);
	for (unsigned int i = 0; i < 1000 && rte_ring_count(feed.ring[0]) < waiting; i++)
		usleep(1000);
	usleep(20000);
	CU_ASSERT_EQUAL(source.ops->poll(&source), COLO_SOURCE_BUSY);
	CU_ASSERT_EQUAL(rte_ring_count(feed.ring[0]), waiting);
	/* and RELEASE need not wait for it */
	source.ops->request(&source, COLO_SOURCE_RELEASE);
	CU_ASSERT_EQUAL(finish(false), COLO_SOURCE_DONE);
	hang_up(&p);
	stop();
	unload(&p);
}

static void
test_stalled(void)
{
	stalled(2, 64, 63);
	stalled(16, 8192, 512);
}

/* The main channel ends anywhere: one sentence, and the next stream is protected. */
static void
cut_off(const char *name, unsigned int n, unsigned int step)
{
	unsigned int failed = 0, cuts = 0;
	struct player p;

	load(&p, name, n);
	play(&p);
	CU_ASSERT_EQUAL_FATAL(start(2, 8192), 0);
	copy_make();
	copy_reset();
	CU_ASSERT_EQUAL(protect(0), COLO_SOURCE_DONE);
	for (size_t cut = p.record.answered[0] + 200; cut < p.in[0].length;
		cut += (p.in[0].length - 200) / step) {
		enum colo_source_status status;

		CU_ASSERT_EQUAL(ask(COLO_SOURCE_RELEASE), COLO_SOURCE_DONE);
		hang_up(&p);
		p.cut = cut;
		play(&p);
		status = protect(CHECKPOINTS);
		CU_ASSERT_EQUAL(status, COLO_SOURCE_FAILED);
		CU_ASSERT_EQUAL(source.ops->poll(&source), status);
		failed += source.error.text[0] != '\0';
		cuts++;
	}
	CU_ASSERT_EQUAL(failed, cuts);
	CU_ASSERT_EQUAL(ask(COLO_SOURCE_RELEASE), COLO_SOURCE_DONE);
	hang_up(&p);
	p.cut = WHOLE;
	copy_reset();
	play(&p);
	CU_ASSERT_EQUAL(protect(CHECKPOINTS), COLO_SOURCE_DONE);
	check_copy(&p);
	hang_up(&p);
	stop();
	unload(&p);
}

static void
test_cut_off(void)
{
	cut_off("plain", 1, 40);
	cut_off("zstd", 5, 40);
}

/* Where it ends is told apart. */
static void
ends(size_t answer, int beyond, const char *words)
{
	struct player p;

	load(&p, "plain", 1);
	p.cut = p.record.answered[answer] + (size_t)beyond;
	play(&p);
	CU_ASSERT_EQUAL_FATAL(start(2, 8192), 0);
	copy_make();
	CU_ASSERT_EQUAL(protect(CHECKPOINTS), COLO_SOURCE_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(source.error.text, words));
	if (strstr(source.error.text, words) == NULL)
		printf("\n    \"%s\"\n", source.error.text);
	/* everything fails until RELEASE */
	CU_ASSERT_EQUAL(ask(COLO_SOURCE_ROUND), COLO_SOURCE_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(source.error.text, words));
	CU_ASSERT_EQUAL(ask(COLO_SOURCE_PAUSE), COLO_SOURCE_FAILED);
	CU_ASSERT_EQUAL(ask(COLO_SOURCE_RESUME), COLO_SOURCE_FAILED);
	CU_ASSERT_EQUAL(ask(COLO_SOURCE_RELEASE), COLO_SOURCE_DONE);
	CU_ASSERT_EQUAL(source.ops->poll(&source), COLO_SOURCE_DONE);
	hang_up(&p);
	stop();
	unload(&p);
}

static void
test_ends(void)
{
	ends(1, -5000, "in the middle of precopy");
	ends(2, -4, "between two checkpoints");
	ends(3, -1, "in the middle of a checkpoint");
	ends(4, -4, "between two checkpoints");
}

/* @return true if the other end closes it soon; what it said before does not matter. */
static bool
is_closed(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char bytes[64];

	while (poll(&p, 1, 2000) > 0)
		if (recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) <= 0)
			return true;
	return false;
}

/* Others that call while a stream is on are hung up on, and it goes on. */
static void
test_other_callers(void)
{
	static const uint8_t channel[COLO_PAGE_SIZE] = {0x11, 0x22, 0x33, 0x44, 0, 0, 0, 1};
	struct player p;
	int fd[3];

	load(&p, "plain", 1);
	play(&p);
	CU_ASSERT_EQUAL_FATAL(start(2, 8192), 0);
	copy_make();
	copy_reset();
	CU_ASSERT_EQUAL(protect(1), COLO_SOURCE_DONE);
	for (unsigned int i = 0; i < 3; i++)
		fd[i] = call();
	CU_ASSERT(say(fd[0], (const uint8_t *)"QEVM\0\0\0\3", 8));
	CU_ASSERT(say(fd[1], channel, 64));
	CU_ASSERT(say(fd[2], (const uint8_t *)"GET / HTTP/1.1\r\n\r\n", 18));
	for (unsigned int i = 0; i < 3; i++) {
		CU_ASSERT(is_closed(fd[i]));
		close(fd[i]);
	}
	for (unsigned int i = 1; i < CHECKPOINTS; i++) {
		CU_ASSERT(wait_for(source.ops->due));
		CU_ASSERT_EQUAL(ask(COLO_SOURCE_PAUSE), COLO_SOURCE_DONE);
		CU_ASSERT_EQUAL(ask(COLO_SOURCE_RESUME), COLO_SOURCE_DONE);
	}
	check_copy(&p);
	hang_up(&p);
	stop();
	unload(&p);
}

/* A guest with other blocks cannot be protected without a restart. */
static void
test_other_blocks(void)
{
	struct player p, q;

	load(&p, "plain", 1);
	load(&q, "q35", 1);
	play(&p);
	CU_ASSERT_EQUAL_FATAL(start(2, 8192), 0);
	copy_make();
	CU_ASSERT_EQUAL(protect(0), COLO_SOURCE_DONE);
	CU_ASSERT_EQUAL(ask(COLO_SOURCE_RELEASE), COLO_SOURCE_DONE);
	hang_up(&p);
	play(&q);
	while (!atomic_load(&q.over))
		usleep(1000);
	CU_ASSERT_FALSE(source.ops->called(&source));
	hang_up(&q);
	play(&p);
	CU_ASSERT_EQUAL(protect(0), COLO_SOURCE_DONE);
	hang_up(&p);
	stop();
	unload(&p);
	unload(&q);
}

/* One that hangs up before a session is on; the session's requests fail. */
static void
test_called_in_vain(void)
{
	struct player p;

	load(&p, "plain", 1);
	play(&p);
	CU_ASSERT_EQUAL_FATAL(start(2, 8192), 0);
	copy_make();
	CU_ASSERT(wait_for(source.ops->called));
	CU_ASSERT_FALSE(source.ops->due(&source));
	hang_up(&p);
	for (unsigned int i = 0; source.ops->called(&source) && i < 2000; i++)
		usleep(1000);
	CU_ASSERT_FALSE(source.ops->called(&source));
	CU_ASSERT_EQUAL(source.ops->poll(&source), COLO_SOURCE_DONE);
	CU_ASSERT_EQUAL(ask(COLO_SOURCE_ROUND), COLO_SOURCE_FAILED);
	CU_ASSERT_EQUAL(ask(COLO_SOURCE_RELEASE), COLO_SOURCE_DONE);
	play(&p);
	CU_ASSERT_EQUAL(protect(CHECKPOINTS), COLO_SOURCE_DONE);
	hang_up(&p);
	stop();
	unload(&p);
}

/* RELEASE ends any request at once, and QEMU's sockets with it. */
static void
test_release_overtakes(void)
{
	for (unsigned int when = 0; when < 3; when++) {
		struct player p;
		uint64_t began, took;

		load(&p, "multifd", 5);
		/* QEMU stops in the middle of precopy, of a checkpoint, or asks for none */
		p.cut = WHOLE;
		play(&p);
		CU_ASSERT_EQUAL_FATAL(start(2, 8192), 0);
		copy_make();
		CU_ASSERT(wait_for(source.ops->called));
		if (when > 0)
			CU_ASSERT_EQUAL(protect(when - 1), COLO_SOURCE_DONE);
		source.ops->request(&source, when == 0 ? COLO_SOURCE_ROUND : COLO_SOURCE_PAUSE);
		began = colo_monotonic_us();
		source.ops->request(&source, COLO_SOURCE_RELEASE);
		CU_ASSERT_EQUAL(finish(true), COLO_SOURCE_DONE);
		took = colo_monotonic_us() - began;
		CU_ASSERT(took < 100000);
		CU_ASSERT(is_closed(p.fd[0]) || atomic_load(&p.over));
		hang_up(&p);
		stop();
		unload(&p);
	}
}

/* A guest that could not be freed: that is no failure of the one that calls next. */
static void
test_release_fails(void)
{
	struct player p;
	int keeper[2];

	load(&p, "plain", 1);
	play(&p);
	CU_ASSERT_EQUAL_FATAL(start(2, 8192), 0);
	copy_make();
	CU_ASSERT_EQUAL(protect(0), COLO_SOURCE_DONE);
	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, keeper), 0);
	close(keeper[1]); /* the process is gone */
	source.keeper = keeper[0];
	CU_ASSERT_EQUAL(ask(COLO_SOURCE_RELEASE), COLO_SOURCE_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(source.error.text, "keeper"));
	hang_up(&p);
	source.keeper = 0;
	play(&p);
	for (unsigned int i = 0; !source.ops->called(&source) && i < 2000; i++)
		usleep(1000);
	CU_ASSERT_EQUAL(source.ops->poll(&source), COLO_SOURCE_DONE);
	CU_ASSERT_EQUAL(protect(CHECKPOINTS), COLO_SOURCE_DONE);
	hang_up(&p);
	stop();
	close(keeper[0]);
	unload(&p);
}

/* A multifd main channel whose channels never come. */
static void
test_no_channels(void)
{
	struct player p;

	load(&p, "multifd", 1);
	play(&p);
	CU_ASSERT_EQUAL_FATAL(start(2, 8192), 0);
	copy_make();
	CU_ASSERT_EQUAL(protect(0), COLO_SOURCE_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(source.error.text, "waits for channels"));
	hang_up(&p);
	stop();
	unload(&p);
}

static void
test_interrupted(void)
{
	char args[160];

	snprintf(args, sizeof(args), "listen=unix:%s", path);
	interrupted = 2;
	source = (struct colo_source){.ops = &colo_source_colo,
		.blocks = &blocks,
		.device_block_size = DEVICE_SIZE,
		.interrupt = &interrupted};
	CU_ASSERT_EQUAL(source.ops->start(&source, args, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "signal"));
	source.ops->stop(&source);
}

static void
refuses(const char *args, const char *words)
{
	source = (struct colo_source){.ops = &colo_source_colo,
		.blocks = &blocks,
		.device_block_size = DEVICE_SIZE,
		.interrupt = &interrupted};
	interrupted = 1; /* one that is accepted does not wait */
	CU_ASSERT_EQUAL(source.ops->start(&source, args, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, words));
	if (strstr(err.text, words) == NULL)
		printf("\n    %s: \"%s\" instead of \"%s\"\n", args, err.text, words);
	source.ops->stop(&source);
}

static void
test_args(void)
{
	char args[300] = "listen=unix:";
	char name[64];
	int fd;

	refuses("", "needs listen=");
	refuses("qmp=/tmp/x", "needs listen=");
	refuses("listen=/tmp/x", "tcp:ADDR:PORT");
	refuses("listen=unix:", "tcp:ADDR:PORT");
	refuses("listen=tcp:127.0.0.1", "tcp:ADDR:PORT");
	refuses("listen=tcp:127.0.0.1:65536", "tcp:ADDR:PORT");
	refuses("listen=tcp::1", "tcp:ADDR:PORT");
	refuses("listen=tcp:::1:1", "tcp:ADDR:PORT");
	refuses("listen=tcp:localhost:1", "numeric");
	refuses("listen=tcp:127.0.0.1:0", "signal");
	refuses("listen=tcp:127.0.0.1:0,qmp=", "qmp");
	refuses("listen=tcp:127.0.0.1:0,speed=3", "speed");
	refuses("listen=unix:/tmp/colo-ut-none/x", "No such file");
	memset(args + 12, 'x', 107);
	memcpy(args + 12, "/tmp/colo-ut-", 13);
	refuses(args, "signal");
	strcat(args, "x");
	refuses(args, "tcp:ADDR:PORT");
	/* a file that is no socket is left alone; a socket that is listened on, too */
	snprintf(name, sizeof(name), "/tmp/colo-ut-%d.file", (int)getpid());
	fd = open(name, O_CREAT | O_RDWR, 0600);
	close(fd);
	snprintf(args, sizeof(args), "listen=unix:%s", name);
	refuses(args, "no socket");
	CU_ASSERT_EQUAL(unlink(name), 0);
}

static void
test_path_in_use(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char args[160];
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "/tmp/colo-ut-%d.used", (int)getpid());
	snprintf(args, sizeof(args), "listen=unix:%s", address.sun_path);
	CU_ASSERT_EQUAL(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	CU_ASSERT_EQUAL(listen(fd, 1), 0);
	refuses(args, "another program");
	close(fd); /* now it is stale */
	refuses(args, "signal");
	CU_ASSERT_EQUAL(access(address.sun_path, F_OK), -1);
}

/* ---- blocks in files ---- */

static void
test_specs(void)
{
	struct colo_block_spec spec[1] = {{.name = "pc.ram", .size = 16u << 20}};
	struct player p;
	char args[160];

	snprintf(args, sizeof(args), "listen=unix:%s", path);
	load(&p, "plain", 1);
	for (unsigned int i = 0; i < 2; i++) {
		if (i == 0)
			spec[0].size += COLO_PAGE_SIZE;
		else
			strcpy(spec[0].name, "pc.rom");
		interrupted = 0;
		source = (struct colo_source){.ops = &colo_source_colo,
			.blocks = &blocks,
			.specs = spec,
			.n_specs = 1,
			.device_block_size = DEVICE_SIZE,
			.interrupt = &interrupted};
		play(&p);
		CU_ASSERT_EQUAL(source.ops->start(&source, args, &err), -1);
		CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "the QEMU that called has"));
		source.ops->stop(&source);
		hang_up(&p);
	}
	unload(&p);
}

static const struct ut_case cases[] = {
	{"options", test_args},
	{"a path in use, and a stale one", test_path_in_use},
	{"a signal while it waits", test_interrupted},
	{"plain streams", test_plain},
	{"multifd streams", test_multifd},
	{"TCP", test_tcp},
	{"rings that are full", test_full},
	{"senders that stall", test_stalled},
	{"streams that are cut off", test_cut_off},
	{"where a stream ends", test_ends},
	{"other callers", test_other_callers},
	{"other blocks", test_other_blocks},
	{"called in vain", test_called_in_vain},
	{"RELEASE overtakes", test_release_overtakes},
	{"a release that fails", test_release_fails},
	{"no channels", test_no_channels},
	{"--block", test_specs},
};

int
main(void)
{
	signal(SIGPIPE, SIG_IGN);
	snprintf(path, sizeof(path), "/tmp/colo-ut-%d.sock", (int)getpid());
	ut_eal_start(64);
	return UT_RUN("source colo", cases);
}
