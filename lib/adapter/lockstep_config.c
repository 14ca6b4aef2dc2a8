/* SPDX-License-Identifier: BSD-3-Clause */
/* The keys of --adapter lockstep. */
#include <string.h>

#include "lockstep_config.h"
#include "text.h"

/* A path goes to the hypervisor in one line of text. */
static int
copy_path(char *to, size_t room, const char *path)
{
	size_t length = strlen(path);

	if (length == 0 || length >= room)
		return -1;
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)path[i] < ' ' || path[i] == 0x7f)
			return -1;
	memcpy(to, path, length + 1);
	return 0;
}

static int
set_control(void *target, const char *value)
{
	struct colo_lockstep_config *c = target;

	if (strncmp(value, "unix:", 5) != 0)
		return -1;
	return copy_path(c->control, sizeof(c->control), value + 5);
}

static int
set_dirty_log(void *target, const char *value)
{
	struct colo_lockstep_config *c = target;

	return copy_path(c->dirty_log, sizeof(c->dirty_log), value);
}

static int
set_answer(void *target, const char *value)
{
	struct colo_lockstep_config *c = target;
	uint64_t ms;

	if (colo_parse_digits(value, &ms) != 0 || ms < COLO_LOCKSTEP_ANSWER_MIN_MS ||
		ms > COLO_LOCKSTEP_ANSWER_MAX_MS)
		return -1;
	c->answer_ms = (uint32_t)ms;
	return 0;
}

static const struct colo_key keys[] = {
	{"control", set_control, "unix:PATH with a path of 1 to 107 printable characters"},
	{"dirty-log", set_dirty_log, "a path of 1 to 4095 printable characters"},
	{"answer", set_answer, "20 to 5000 milliseconds"},
};

int
colo_lockstep_config_parse(struct colo_lockstep_config *c, const char *args, struct colo_error *err)
{
	memset(c, 0, sizeof(*c));
	c->answer_ms = COLO_LOCKSTEP_ANSWER_MS;
	if (colo_keys_parse(
		    "--adapter lockstep", args, keys, sizeof(keys) / sizeof(keys[0]), c, err) != 0)
		return -1;
	if (c->control[0] == '\0' || c->dirty_log[0] == '\0')
		return colo_error_set(err,
			"--adapter lockstep: control=unix:PATH and dirty-log=FILE are both needed");
	return 0;
}
