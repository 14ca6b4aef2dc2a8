/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A QMP server for unit tests: a thread on a unix socket in a temporary directory. It keeps a run
 * state, answers the commands that the project uses as QEMU does, and misbehaves by rules.
 */
#ifndef COLO_FAKE_QMP_H
#define COLO_FAKE_QMP_H

#include <sys/time.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "json.h"

#define FAKE_RULES 8
#define FAKE_LOG   128

/* What a command gets instead of its usual answer. */
struct fake_rule {
	const char *command;
	/*
	 * "!silent", "!close", "!garbage", "!flood" (events without end), or members of the answer:
	 * "\"error\":{\"desc\":\"no\"}"; lines before the last are sent as they are.
	 * "!save " before them: after the device state is saved
	 */
	const char *answer;
};

struct fake_qmp {
	char dir[64], path[128], migration[160];
	int listen_fd, migration_fd;
	pthread_t thread;
	_Atomic bool quit, drop; /* drop: close the connection now */

	_Atomic(const char *) greeting; /* NULL: says nothing */
	const char *status;		/* while it does not run */
	const char *memdev;		/* answer to query-memdev */
	const char *mem_path;
	const char *device; /* [device_length] what xen-save-devices-state writes */
	size_t device_length;
	_Atomic bool running;
	_Atomic(const char *) migrates; /* what query-migrate says; NULL: no migration */
	_Atomic bool blocked;	    /* main loop waits: only out-of-band commands; until a yank */
	_Atomic(const char *) says; /* an event to send, once */

	pthread_mutex_t lock; /* of what follows */
	struct fake_rule rules[FAKE_RULES];
	unsigned int n_log;
	char log[FAKE_LOG][32]; /* commands in the order they came; "oob NAME": out of band */
	char uri[256];		/* of migrate-incoming */
};

#define FAKE_GREETING	  "{\"QMP\":{\"version\":{\"qemu\":{\"major\":7}},\"capabilities\":[]}}"
#define FAKE_OOB_GREETING "{\"QMP\":{\"version\":{},\"capabilities\":[\"some\",\"oob\"]}}"

static inline void
fake_rule(struct fake_qmp *f, const char *command, const char *answer)
{
	pthread_mutex_lock(&f->lock);
	for (unsigned int i = 0; i < FAKE_RULES; i++) {
		struct fake_rule *r = &f->rules[i];

		if (r->command != NULL && strcmp(r->command, command) != 0)
			continue;
		*r = (struct fake_rule){command, answer};
		break;
	}
	pthread_mutex_unlock(&f->lock);
}

/* How often a command came. */
static inline unsigned int
fake_count(struct fake_qmp *f, const char *command)
{
	unsigned int n = 0;

	pthread_mutex_lock(&f->lock);
	for (unsigned int i = 0; i < f->n_log; i++)
		n += strcmp(f->log[i], command) == 0;
	pthread_mutex_unlock(&f->lock);
	return n;
}

static inline void
fake_send(int fd, const char *text)
{
	if (send(fd, text, strlen(text), MSG_NOSIGNAL) < 0)
		return;
}

/* The lines before the last as they are, the last one with the id of the command. */
static inline void
fake_answer(int fd, const char *text, uint64_t id)
{
	const char *last = strrchr(text, '\n');
	char line[4096];

	if (last != NULL) {
		snprintf(line, sizeof(line), "%.*s\r\n", (int)(last - text), text);
		fake_send(fd, line);
		text = last + 1;
	}
	snprintf(line, sizeof(line), "{%s,\"id\":%llu}\r\n", text, (unsigned long long)id);
	fake_send(fd, line);
}

static inline void
fake_save_device_state(struct fake_qmp *f, const struct colo_json *arguments)
{
	char name[1024] = "";
	FILE *out;

	(void)colo_json_member_string(arguments, "filename", name, sizeof(name));
	out = fopen(name, "w");
	if (out == NULL)
		return;
	fwrite(f->device, f->device_length, 1, out);
	fclose(out);
}

static inline bool
fake_migrates(struct fake_qmp *f, const char *how)
{
	const char *migrates = f->migrates;

	return migrates != NULL && strcmp(migrates, how) == 0;
}

/* Migration, as far as freeing a guest needs it, as QEMU 11.1 does it. @return false: not this. */
static inline bool
fake_migration(struct fake_qmp *f, const char *command, char *text, size_t size)
{
	if (strcmp(command, "query-migrate") == 0) {
		if (f->migrates != NULL)
			snprintf(text, size, "\"return\":{\"status\":\"%s\"}", f->migrates);
	} else if (strcmp(command, "yank") == 0) {
		f->blocked = false;
		if (f->migrates == NULL)
			snprintf(text, size, "\"error\":{\"desc\":\"Instance not found\"}");
		else if (fake_migrates(f, "active"))
			f->migrates = "failed";
	} else if (strcmp(command, "x-colo-lost-heartbeat") == 0) {
		if (!fake_migrates(f, "colo")) {
			snprintf(text, size, "\"error\":{\"desc\":\"VM is not in COLO mode\"}");
			return true;
		}
		f->migrates = "completed";
		f->running = true;
	} else if (strcmp(command, "migrate_cancel") == 0) {
		f->migrates = fake_migrates(f, "colo") ? "cancelling" : "cancelled";
		f->running = f->running || !fake_migrates(f, "cancelling");
	} else {
		return false;
	}
	return true;
}

/* As QEMU does. @return members of the answer. */
static inline const char *
fake_obey(struct fake_qmp *f, const char *command, const struct colo_json *arguments, char *text,
	size_t size)
{
	char property[64] = "";

	snprintf(text, size, "\"return\":{}");
	if (fake_migration(f, command, text, size))
		return text;
	if (strcmp(command, "stop") == 0)
		f->running = false;
	else if (strcmp(command, "cont") == 0)
		f->running = true;
	else if (strcmp(command, "query-status") == 0)
		snprintf(text, size, "\"return\":{\"running\":%s,\"status\":\"%s\"}",
			f->running ? "true" : "false", f->running ? "running" : f->status);
	else if (strcmp(command, "query-memdev") == 0)
		snprintf(text, size, "\"return\":%s", f->memdev);
	else if (strcmp(command, "xen-save-devices-state") == 0)
		fake_save_device_state(f, arguments);
	else if (strcmp(command, "migrate-incoming") == 0)
		(void)colo_json_member_string(arguments, "uri", f->uri, sizeof(f->uri));
	else if (strcmp(command, "qom-get") == 0) {
		(void)colo_json_member_string(arguments, "property", property, sizeof(property));
		snprintf(text, size, "\"return\":\"%s\"",
			strcmp(property, "type") == 0 ? "pc-i440fx-7.2-machine" : f->mem_path);
	}
	return text;
}

/* Events faster than anybody reads them. @return false: close. */
static inline bool
fake_flood(struct fake_qmp *f, int fd)
{
	static const char event[] = "{\"event\":\"NOISE\"}\r\n";
	static char burst[2000 * (sizeof(event) - 1)];
	const struct timeval patience = {.tv_usec = 100000};

	for (size_t i = 0; i < sizeof(burst); i += sizeof(event) - 1)
		memcpy(burst + i, event, sizeof(event) - 1);
	/* a caller that reads no more must not keep the test from its end */
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	while (!f->quit)
		if (send(fd, burst, sizeof(burst), MSG_NOSIGNAL) < 0 && errno != EAGAIN)
			break;
	return false;
}

/* @return false: close. */
static inline bool
fake_misbehave(struct fake_qmp *f, int fd, const char *how)
{
	if (strcmp(how, "!close") == 0)
		return false;
	if (strcmp(how, "!garbage") == 0)
		fake_send(fd, "what do you mean?\r\n");
	if (strcmp(how, "!flood") == 0)
		return fake_flood(f, fd);
	return true;
}

/* @return false: close. */
static inline bool
fake_command(struct fake_qmp *f, int fd, const char *line, size_t length)
{
	struct colo_json message, value, arguments = {0};
	char command[64] = "", text[2048];
	const char *answer = NULL;
	uint64_t id = 0;
	bool oob;

	if (colo_json_parse(line, length, &message) != 0)
		return false;
	oob = colo_json_member_string(&message, "exec-oob", command, sizeof(command)) >= 0;
	if (!oob)
		(void)colo_json_member_string(&message, "execute", command, sizeof(command));
	(void)colo_json_member(&message, "arguments", &arguments);
	if (colo_json_member(&message, "id", &value))
		(void)colo_json_u64(&value, &id);
	pthread_mutex_lock(&f->lock);
	if (f->n_log < FAKE_LOG)
		snprintf(f->log[f->n_log++], sizeof(f->log[0]), "%s%.27s", oob ? "oob " : "",
			command);
	for (unsigned int i = 0; i < FAKE_RULES; i++)
		if (f->rules[i].command != NULL && strcmp(f->rules[i].command, command) == 0)
			answer = f->rules[i].answer;
	if (answer != NULL && strncmp(answer, "!save ", 6) == 0) {
		fake_save_device_state(f, &arguments);
		answer += 6;
	}
	if (answer == NULL && f->blocked && !oob)
		answer = "!silent";
	if (answer == NULL)
		answer = fake_obey(f, command, &arguments, text, sizeof(text));
	pthread_mutex_unlock(&f->lock);
	if (answer[0] == '!')
		return fake_misbehave(f, fd, answer);
	fake_answer(fd, answer, id);
	return true;
}

static inline void
fake_serve(struct fake_qmp *f, int fd)
{
	static const struct timespec pause = {0, 1000000};
	static char line[65536];
	size_t used = 0;

	if (f->greeting != NULL) {
		fake_send(fd, f->greeting);
		fake_send(fd, "\r\n");
	}
	while (!f->quit && !f->drop) {
		ssize_t n = recv(fd, line + used, sizeof(line) - used, MSG_DONTWAIT);
		const char *says = atomic_exchange(&f->says, NULL);
		char *end;

		if (says != NULL)
			fake_send(fd, says);
		if (n == 0)
			break;
		if (n < 0) {
			nanosleep(&pause, NULL);
			continue;
		}
		used += (size_t)n;
		while ((end = memchr(line, '\n', used)) != NULL) {
			size_t length = (size_t)(end - line) + 1;

			if (!fake_command(f, fd, line, length)) {
				used = 0;
				close(fd);
				return;
			}
			used -= length;
			memmove(line, line + length, used);
		}
	}
	close(fd);
}

static inline void *
fake_thread(void *arg)
{
	struct fake_qmp *f = arg;

	while (!f->quit) {
		struct pollfd p = {.fd = f->listen_fd, .events = POLLIN};
		int fd;

		if (poll(&p, 1, 5) != 1)
			continue;
		fd = accept(f->listen_fd, NULL, NULL);
		if (fd >= 0)
			fake_serve(f, fd);
		f->drop = false;
	}
	return NULL;
}

static inline int
fake_listen(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(address.sun_path))
		abort();
	strcpy(address.sun_path, path);
	unlink(path);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, 4) != 0)
		abort();
	return fd;
}

/* A running guest; change its fields before the first connection. */
static inline void
fake_start(struct fake_qmp *f)
{
	static const char device[] = "QEVM\000\000\000\003\004some device state\000";

	memset(f, 0, sizeof(*f));
	snprintf(f->dir, sizeof(f->dir), "/tmp/colo-fake-XXXXXX");
	if (mkdtemp(f->dir) == NULL)
		abort();
	snprintf(f->path, sizeof(f->path), "%s/qmp", f->dir);
	snprintf(f->migration, sizeof(f->migration), "%s/incoming", f->dir);
	pthread_mutex_init(&f->lock, NULL);
	f->greeting = FAKE_GREETING;
	f->status = "paused";
	f->memdev = "[]";
	f->mem_path = "/nowhere";
	f->device = device;
	f->device_length = sizeof(device) - 1;
	f->running = true;
	f->listen_fd = fake_listen(f->path);
	f->migration_fd = -1;
	pthread_create(&f->thread, NULL, fake_thread, f);
#ifdef __SANITIZE_ADDRESS__ /* its allocator is not safe over fork(2) while a thread begins */
	usleep(20000);
#endif
}

static inline void
fake_stop(struct fake_qmp *f)
{
	f->quit = true;
	pthread_join(f->thread, NULL);
	close(f->listen_fd);
	if (f->migration_fd >= 0)
		close(f->migration_fd);
	unlink(f->path);
	unlink(f->migration);
	rmdir(f->dir);
}

#endif
