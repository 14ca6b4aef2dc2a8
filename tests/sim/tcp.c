/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The system calls that lib/session makes of TCP, on a network that may be slow, cut one way or
 * both, reset, or lose a host without a word. lib/session/connection.c is as it is; the linker
 * (--wrap) leads its calls here.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sim.h"

#define FD_BASE	   (1 << 24)
#define SOCKETS	   160u
#define BUFFER_MAX 32768u /* bytes on their way in one direction */
#define ROGUE	   SIM_N_ENDS

enum kind {
	NEW,
	EPOLL,
	LISTENING,
	CONNECTING,
	CONNECTED
};

enum chunk_kind {
	DATA,
	FIN,
	RST
};

struct chunk {
	struct chunk *next;
	enum chunk_kind kind;
	uint64_t at_us; /* when it arrives; SIM_NEVER: the wire is cut */
	uint32_t n, taken;
	uint8_t bytes[];
};

/* One end of a connection, as its host's kernel keeps it. */
struct sock {
	bool used;     /* there is such an entry */
	bool held;     /* a process has it */
	bool vanished; /* its host lost it without a word */
	bool waits;    /* connected, and not accepted yet */
	bool watched;  /* by its end's epoll */
	epoll_data_t watch;
	unsigned int end; /* sim_end_id, or ROGUE */
	enum kind kind;
	struct sock *peer;	   /* NULL: gone for good */
	struct chunk *head, *tail; /* on their way to here, or here */
	uint64_t last_us;
	uint32_t queued;
	int error;		     /* of the connection */
	uint64_t try_us, outcome_us; /* CONNECTING: next SYN; when the outcome is known */
	unsigned int tries;
	int outcome;
};

static struct sock sock[SOCKETS];
static bool cut[SIM_N_ENDS];
static uint64_t cut_us[SIM_N_ENDS];

int __real_close(int fd);
int __real_poll(struct pollfd *p, nfds_t n, int timeout);
int __wrap_close(int fd);
int __wrap_poll(struct pollfd *p, nfds_t n, int timeout);
int __wrap_socket(int domain, int type, int protocol);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t length);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *length);
int __wrap_getsockname(int fd, struct sockaddr *sa, socklen_t *length);
int __wrap_bind(int fd, const struct sockaddr *sa, socklen_t length);
int __wrap_listen(int fd, int backlog);
int __wrap_accept4(int fd, struct sockaddr *sa, socklen_t *length, int flags);
int __wrap_connect(int fd, const struct sockaddr *sa, socklen_t length);
int __wrap_shutdown(int fd, int how);
int __wrap_epoll_create1(int flags);
int __wrap_epoll_ctl(int fd, int what, int of, struct epoll_event *event);
int __wrap_epoll_wait(int fd, struct epoll_event *event, int n, int timeout);
ssize_t __wrap_send(int fd, const void *bytes, size_t n, int flags);
ssize_t __wrap_recv(int fd, void *bytes, size_t n, int flags);

static int
fd_of(const struct sock *s)
{
	return FD_BASE + (int)(s - sock);
}

static struct sock *
sock_of(int fd)
{
	struct sock *s;

	if (fd < FD_BASE || fd >= FD_BASE + (int)SOCKETS)
		return NULL;
	s = &sock[fd - FD_BASE];
	return s->used && s->held ? s : NULL;
}

bool
sim_tcp_is_socket(int fd)
{
	return fd >= FD_BASE;
}

static void
drop_chunks(struct sock *s)
{
	while (s->head != NULL) {
		struct chunk *c = s->head;

		s->head = c->next;
		free(c);
	}
	s->tail = NULL;
	s->queued = 0;
}

static struct sock *
new_sock(unsigned int end)
{
	for (unsigned int i = 0; i < SOCKETS; i++) {
		if (sock[i].used)
			continue;
		memset(&sock[i], 0, sizeof(sock[i]));
		sock[i].used = true;
		sock[i].held = true;
		sock[i].end = end;
		return &sock[i];
	}
	sim_fail("the simulation has no socket left: the session does not close its own");
}

/* Nobody has it, and nobody will hear of it. */
static void
forget(struct sock *s)
{
	struct sock *peer = s->peer;

	if (s->held)
		return;
	if (peer != NULL && peer->held)
		return;
	drop_chunks(s);
	s->used = false;
	if (peer != NULL) {
		drop_chunks(peer);
		peer->used = false;
	}
}

static bool
is_cut(unsigned int from)
{
	return from < SIM_N_ENDS && cut[from];
}

static uint64_t
latency_us(void)
{
	return 50 + sim_below(sim.calm ? 300 : 2000);
}

/* @p s's host says something to the other end. */
static void
deliver(struct sock *s, enum chunk_kind kind, const void *bytes, uint32_t n)
{
	struct sock *to = s->peer;
	struct chunk *c;

	if (to == NULL || to->vanished || !to->held)
		return;
	/* a reset is said once; everything else again and again */
	if (kind == RST && is_cut(s->end))
		return;
	c = malloc(sizeof(*c) + n);
	if (c == NULL)
		abort();
	*c = (struct chunk){.kind = kind, .n = n};
	if (n != 0)
		memcpy(c->bytes, bytes, n);
	to->last_us = RTE_MAX(to->last_us, sim.now + latency_us());
	c->at_us = is_cut(s->end) ? SIM_NEVER : to->last_us;
	if (to->tail != NULL)
		to->tail->next = c;
	else
		to->head = c;
	to->tail = c;
	to->queued += n;
}

static void
let_go(struct sock *s, bool reset)
{
	if (!s->held)
		return;
	s->held = false;
	if (s->kind == CONNECTED && !s->vanished)
		deliver(s, reset ? RST : FIN, NULL, 0);
	forget(s);
}

void
sim_tcp_reset(void)
{
	for (unsigned int i = 0; i < SOCKETS; i++) {
		drop_chunks(&sock[i]);
		sock[i].used = false;
	}
	memset(cut, 0, sizeof(cut));
}

/* A socket whose connection never was accepted goes with its listener. */
void
sim_tcp_process_gone(enum sim_end_id end, bool silent)
{
	for (unsigned int i = 0; i < SOCKETS; i++) {
		struct sock *s = &sock[i];

		if (!s->used || s->end != end)
			continue;
		s->vanished |= silent;
		let_go(s, s->head != NULL);
	}
}

void
sim_tcp_break(void)
{
	SIM_COUNT(tcp_resets);
	for (unsigned int i = 0; i < SOCKETS; i++)
		if (sock[i].used && sock[i].held && sock[i].kind == CONNECTED &&
			sock[i].end != ROGUE)
			sock[i].error = ECONNRESET;
}

/* What is under way when the wire is cut, and what is sent meanwhile, comes later. */
void
sim_tcp_cut(enum sim_end_id from, bool on)
{
	uint64_t backoff = sim.now - cut_us[from];

	if (cut[from] == on)
		return;
	cut[from] = on;
	cut_us[from] = sim.now;
	for (unsigned int i = 0; i < SOCKETS; i++) {
		struct sock *s = &sock[i];
		bool comes_from = s->used && s->peer != NULL && s->peer->end == from;
		uint64_t at_us = sim.now + latency_us() + (on ? 0 : sim_below(backoff / 2 + 1));

		for (struct chunk *c = s->head; comes_from && c != NULL; c = c->next) {
			if (on && c->at_us > sim.now)
				c->at_us = SIM_NEVER;
			else if (!on && c->at_us == SIM_NEVER)
				c->at_us = s->last_us = RTE_MAX(at_us, s->last_us);
		}
	}
}

/* ---- system calls ---- */

int
__wrap_socket(int domain, int type, int protocol)
{
	(void)domain;
	(void)type;
	(void)protocol;
	return fd_of(new_sock(sim.running));
}

int
__wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
	(void)fd;
	(void)level;
	(void)name;
	(void)value;
	(void)length;
	return 0;
}

int
__wrap_bind(int fd, const struct sockaddr *sa, socklen_t length)
{
	(void)fd;
	(void)sa;
	(void)length;
	return 0;
}

int
__wrap_listen(int fd, int backlog)
{
	(void)backlog;
	sock_of(fd)->kind = LISTENING;
	return 0;
}

int
__wrap_getsockname(int fd, struct sockaddr *sa, socklen_t *length)
{
	struct sockaddr_in *in = (struct sockaddr_in *)sa;

	(void)fd;
	memset(in, 0, sizeof(*in));
	in->sin_family = AF_INET;
	in->sin_port = htons(1);
	*length = sizeof(*in);
	return 0;
}

static struct sock *
listener(void)
{
	for (unsigned int i = 0; i < SOCKETS; i++)
		if (sock[i].used && sock[i].held && sock[i].kind == LISTENING)
			return &sock[i];
	return NULL;
}

/* Both ends of a new connection; the caller's side is there, the other waits to be accepted. */
static void
establish(struct sock *s)
{
	struct sock *other = new_sock(SIM_SECONDARY);

	other->kind = CONNECTED;
	other->waits = true;
	other->peer = s;
	other->last_us = sim.now + latency_us();
	s->peer = other;
	s->last_us = sim.now;
}

int
__wrap_connect(int fd, const struct sockaddr *sa, socklen_t length)
{
	struct sock *s = sock_of(fd);

	(void)sa;
	(void)length;
	s->kind = CONNECTING;
	s->try_us = sim.now;
	s->outcome_us = SIM_NEVER;
	errno = EINPROGRESS;
	return -1;
}

/* SYNs after 0, 1, 3, 7 s; each gets through, is refused, or is lost. */
static void
try_connect(struct sock *s)
{
	if (s->outcome_us != SIM_NEVER || sim.now < s->try_us)
		return;
	s->try_us = sim.now + (1000 * SIM_MS << s->tries++);
	/* a host that is down answers nothing; its process alone being gone is a refusal */
	if (is_cut(SIM_PRIMARY) || is_cut(SIM_SECONDARY))
		return;
	s->outcome_us = sim.now + 2 * latency_us();
	s->outcome = ECONNREFUSED;
	if (listener() != NULL) {
		s->outcome = 0;
		establish(s);
	}
}

static int
poll_for_input(struct pollfd *p, nfds_t n)
{
	int ready = 0;

	for (nfds_t i = 0; i < n; i++) {
		struct sock *s = sock_of(p[i].fd);
		bool here = s != NULL &&
			    (s->error != 0 || (s->head != NULL && s->head->at_us <= sim.now));

		p[i].revents = here ? POLLIN : 0;
		ready += here;
	}
	return ready;
}

int
__wrap_poll(struct pollfd *p, nfds_t n, int timeout)
{
	struct sock *s = n > 0 ? sock_of(p->fd) : NULL;

	if (s == NULL)
		return __real_poll(p, n, timeout);
	if (p->events == POLLIN)
		return poll_for_input(p, n);
	if (s->kind == CONNECTING)
		try_connect(s);
	if (s->kind == CONNECTING && sim.now < s->outcome_us)
		return 0;
	p->revents = POLLOUT;
	return 1;
}

int
__wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *length)
{
	struct sock *s = sock_of(fd);

	(void)level;
	(void)name;
	if (s->kind == CONNECTING && s->outcome == 0)
		s->kind = CONNECTED;
	memcpy(value, &s->outcome, sizeof(s->outcome));
	*length = sizeof(s->outcome);
	return 0;
}

int
__wrap_accept4(int fd, struct sockaddr *sa, socklen_t *length, int flags)
{
	(void)flags;
	for (unsigned int i = 0; i < SOCKETS && sock_of(fd) != NULL; i++) {
		struct sock *s = &sock[i];

		if (!s->used || !s->held || !s->waits || sim.now < s->last_us)
			continue;
		s->waits = false;
		__wrap_getsockname(fd, sa, length);
		return fd_of(s);
	}
	errno = EAGAIN;
	return -1;
}

/* OpenSSL, which calls by way of its BIO, cannot be left by a jump. */
static void
hook(void)
{
	if (!sim.config.secure)
		sim_hook();
}

/* What a host says to a peer whose kernel does not know the connection any more. */
static bool
nobody_there(struct sock *s)
{
	struct sock *to = s->peer;

	if (to == NULL || is_cut(s->end) || is_cut(to->end))
		return false;
	if (!to->vanished && to->held)
		return false;
	/* a host without power answers once it is up again */
	return !to->vanished || sim.end[to->end].up;
}

ssize_t
__wrap_send(int fd, const void *bytes, size_t n, int flags)
{
	struct sock *s = sock_of(fd);
	size_t room;

	(void)flags;
	hook();
	if (s == NULL || s->kind != CONNECTED) {
		errno = EPIPE;
		return -1;
	}
	if (s->error == 0 && nobody_there(s) && sim_chance(700000))
		s->error = ECONNRESET;
	if (s->error != 0) {
		errno = s->error == ECONNRESET ? EPIPE : s->error;
		return -1;
	}
	room = s->peer == NULL ? n : BUFFER_MAX - RTE_MIN(s->peer->queued, BUFFER_MAX);
	if (sim_chance(20000))
		room = RTE_MIN(room, sim_between(1, n));
	if (room == 0) {
		errno = EAGAIN;
		return -1;
	}
	n = RTE_MIN(n, room);
	deliver(s, DATA, bytes, n);
	return (ssize_t)n;
}

static ssize_t
take_data(struct sock *s, struct chunk *c, void *bytes, size_t n, int flags)
{
	n = RTE_MIN(n, c->n - c->taken);
	if (flags & MSG_PEEK) {
		memcpy(bytes, c->bytes + c->taken, n);
		return (ssize_t)n;
	}
	if (n > 1 && sim_chance(50000))
		n = sim_between(1, n);
	memcpy(bytes, c->bytes + c->taken, n);
	c->taken += n;
	s->queued -= n;
	if (c->taken < c->n)
		return (ssize_t)n;
	s->head = c->next;
	if (s->head == NULL)
		s->tail = NULL;
	free(c);
	return (ssize_t)n;
}

ssize_t
__wrap_recv(int fd, void *bytes, size_t n, int flags)
{
	struct sock *s = sock_of(fd);
	struct chunk *c;

	hook();
	if (s == NULL || s->kind != CONNECTED) {
		errno = ENOTCONN;
		return -1;
	}
	c = s->head;
	if (s->error == 0 && c != NULL && c->at_us <= sim.now) {
		if (s->peer != NULL && s->peer->end != ROGUE)
			sim.end[sim.running].heard_us = sim.now;
		if (c->kind == DATA)
			return take_data(s, c, bytes, n, flags);
		if (c->kind == FIN)
			return 0;
		s->error = ECONNRESET;
	}
	errno = s->error != 0 ? s->error : EAGAIN;
	return -1;
}

/* ---- one epoll at most, of the secondary's lobby ---- */

int
__wrap_epoll_create1(int flags)
{
	struct sock *s = new_sock(sim.running);

	(void)flags;
	s->kind = EPOLL;
	return fd_of(s);
}

int
__wrap_epoll_ctl(int fd, int what, int of, struct epoll_event *event)
{
	struct sock *s = sock_of(of);

	(void)fd;
	if (s == NULL)
		return -1;
	s->watched = what == EPOLL_CTL_ADD;
	if (s->watched)
		s->watch = event->data;
	return 0;
}

int
__wrap_epoll_wait(int fd, struct epoll_event *event, int n, int timeout)
{
	int found = 0;

	(void)fd;
	(void)timeout;
	for (unsigned int i = 0; i < SOCKETS && found < n; i++) {
		const struct sock *s = &sock[i];

		if (!s->used || !s->held || !s->watched)
			continue;
		if (s->error == 0 && (s->head == NULL || s->head->at_us > sim.now))
			continue;
		event[found++] = (struct epoll_event){.events = EPOLLIN, .data = s->watch};
	}
	return found;
}

int
__wrap_shutdown(int fd, int how)
{
	(void)fd;
	(void)how;
	return 0;
}

int
__wrap_close(int fd)
{
	struct sock *s = sock_of(fd);

	if (!sim_tcp_is_socket(fd))
		return __real_close(fd);
	if (s != NULL)
		let_go(s, s->head != NULL && s->head->at_us <= sim.now);
	return 0;
}

/* ---- callers that are no primary ---- */

void
sim_tcp_rogue(void)
{
	struct sock *s;

	if (listener() == NULL)
		return;
	SIM_COUNT(rogues);
	s = new_sock(ROGUE);
	s->kind = CONNECTED;
	establish(s);
}

static void
rogue_speaks(struct sock *s)
{
	uint8_t bytes[256];
	uint32_t n = (uint32_t)sim_between(1, sizeof(bytes));

	for (uint32_t i = 0; i < n; i++)
		bytes[i] = (uint8_t)sim_random();
	if (sim_chance(500000)) { /* begins like a message */
		bytes[0] = 0;
		bytes[1] = (uint8_t)sim_below(12);
		bytes[2] = 0;
	}
	deliver(s, DATA, bytes, n);
}

/* Most say something, and hang up sooner or later. */
void
sim_tcp_rogue_step(void)
{
	for (unsigned int i = 0; i < SOCKETS; i++) {
		struct sock *s = &sock[i];

		if (!s->used || !s->held || s->end != ROGUE)
			continue;
		if (sim.calm || s->peer == NULL || !s->peer->held || sim_chance(100000))
			let_go(s, sim_chance(500000));
		else if (sim_chance(300000))
			rogue_speaks(s);
	}
}
