/* SPDX-License-Identifier: BSD-3-Clause */
/* Callers that have not spoken: a ring by age, and an epoll that says who has. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "lobby.h"

void
colo_lobby_init(struct colo_lobby *l)
{
	memset(l, 0, sizeof(*l));
	l->epoll_fd = -1;
	for (unsigned int i = 0; i < COLO_LOBBY_PLACES; i++)
		l->visitor[i].fd = -1;
}

int
colo_lobby_open(struct colo_lobby *l, struct colo_error *err)
{
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll_fd < 0)
		return colo_error_set(err, "cannot make an epoll: %s", strerror(errno));
	return 0;
}

void
colo_lobby_close(struct colo_lobby *l)
{
	for (unsigned int i = 0; i < COLO_LOBBY_PLACES; i++)
		if (l->visitor[i].fd >= 0)
			close(l->visitor[i].fd);
	if (l->epoll_fd >= 0)
		close(l->epoll_fd);
	colo_lobby_init(l);
}

static void
drop_free_places(struct colo_lobby *l)
{
	while (l->n > 0 && l->visitor[l->oldest].fd < 0) {
		l->oldest = (l->oldest + 1) % COLO_LOBBY_PLACES;
		l->n--;
	}
}

struct colo_visitor
colo_lobby_leave(struct colo_lobby *l, unsigned int place)
{
	struct colo_visitor v = l->visitor[place];

	epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, v.fd, NULL);
	l->visitor[place].fd = -1;
	drop_free_places(l);
	return v;
}

bool
colo_lobby_enter(struct colo_lobby *l, int fd, const char *name, uint64_t now_ms)
{
	bool room = l->n < COLO_LOBBY_PLACES;
	struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP};
	struct colo_visitor *v;

	if (!room)
		close(colo_lobby_leave(l, l->oldest).fd);
	event.data.u32 = (l->oldest + l->n) % COLO_LOBBY_PLACES;
	v = &l->visitor[event.data.u32];
	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
		close(fd); /* no memory in the kernel: the caller may come again */
		return room;
	}
	v->fd = fd;
	v->since_ms = now_ms;
	snprintf(v->name, sizeof(v->name), "%s", name);
	l->n++;
	return room;
}

void
colo_lobby_look(struct colo_lobby *l)
{
	struct epoll_event event[COLO_LOBBY_READY];
	int n = l->n > 0 ? epoll_wait(l->epoll_fd, event, COLO_LOBBY_READY, 0) : 0;

	l->n_ready = n > 0 ? (unsigned int)n : 0;
	for (unsigned int i = 0; i < l->n_ready; i++)
		l->ready[i] = (uint16_t)event[i].data.u32;
}

bool
colo_lobby_expire(
	struct colo_lobby *l, uint64_t now_ms, uint64_t limit_ms, struct colo_visitor *gone)
{
	if (l->n == 0 || now_ms - l->visitor[l->oldest].since_ms < limit_ms)
		return false;
	*gone = colo_lobby_leave(l, l->oldest);
	close(gone->fd);
	gone->fd = -1;
	return true;
}
