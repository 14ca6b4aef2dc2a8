/* SPDX-License-Identifier: BSD-3-Clause */
/* Callers that have not spoken: a ring by age, and a poll() that says who has. */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lobby.h"

void
colo_lobby_init(struct colo_lobby *l)
{
	memset(l, 0, sizeof(*l));
	for (unsigned int i = 0; i < COLO_LOBBY_PLACES; i++)
		l->visitor[i].fd = -1;
}

void
colo_lobby_close(struct colo_lobby *l)
{
	for (unsigned int i = 0; i < COLO_LOBBY_PLACES; i++)
		if (l->visitor[i].fd >= 0)
			close(l->visitor[i].fd);
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

	l->visitor[place].fd = -1;
	drop_free_places(l);
	return v;
}

bool
colo_lobby_enter(struct colo_lobby *l, int fd, const char *name, uint16_t needs, uint64_t now_ms)
{
	bool room = l->n < COLO_LOBBY_PLACES;
	struct colo_visitor *v;

	if (!room)
		close(colo_lobby_leave(l, l->oldest).fd);
	v = &l->visitor[(l->oldest + l->n) % COLO_LOBBY_PLACES];
	v->fd = fd;
	v->needs = needs;
	v->since_ms = now_ms;
	snprintf(v->name, sizeof(v->name), "%s", name);
	l->n++;
	return room;
}

void
colo_lobby_look(struct colo_lobby *l)
{
	struct pollfd p[COLO_LOBBY_PLACES];
	uint16_t place[COLO_LOBBY_PLACES];
	unsigned int n = 0;

	for (unsigned int i = 0; i < l->n; i++) {
		unsigned int at = (l->oldest + i) % COLO_LOBBY_PLACES;

		if (l->visitor[at].fd < 0)
			continue;
		p[n] = (struct pollfd){.fd = l->visitor[at].fd, .events = POLLIN};
		place[n++] = (uint16_t)at;
	}
	l->n_ready = 0;
	if (n == 0 || poll(p, n, 0) <= 0)
		return;
	for (unsigned int i = 0; i < n && l->n_ready < COLO_LOBBY_READY; i++)
		if (p[i].revents != 0)
			l->ready[l->n_ready++] = place[i];
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
