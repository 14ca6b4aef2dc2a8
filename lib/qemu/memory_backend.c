/* SPDX-License-Identifier: BSD-3-Clause */
/* Compares QEMU's memory backends (query-memdev, and their mem-path) with a block of ours. */
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "memory_backend.h"

#define BACKEND_ID_MAX 64u /* bytes, with NUL */

struct backend {
	char id[BACKEND_ID_MAX];
	uint64_t size;
	bool share;
};

enum match {
	MATCH_NO,
	MATCH_YES,
	MATCH_UNKNOWN
};

/* QEMU's ids are of letters, digits, '-', '.' and '_'; a sentence can show them. */
static bool
is_id(const char *text)
{
	for (; *text != '\0'; text++)
		if (*text <= ' ' || *text == '/' || *text == 0x7f)
			return false;
	return true;
}

/* One element of query-memdev. @return false if it has no sensible id. */
static bool
read_backend(const struct colo_json *element, struct backend *b)
{
	struct colo_json value;

	b->share = colo_json_member(element, "share", &value) && colo_json_is_true(&value);
	return colo_json_member_string(element, "id", b->id, sizeof(b->id)) > 0 && is_id(b->id) &&
	       colo_json_member(element, "size", &value) && colo_json_u64(&value, &b->size) == 0;
}

/* @return how many were read; *all says whether those are all there are. */
static unsigned int
read_backends(const struct colo_json *list, struct backend *backends, bool *all)
{
	struct colo_json element;
	unsigned int n = 0;

	*all = !colo_json_element(list, COLO_MAX_BACKENDS, &element);
	/* so many and no more: each is looked for from the list's beginning */
	for (unsigned int i = 0; i < COLO_MAX_BACKENDS && colo_json_element(list, i, &element);
		i++) {
		if (read_backend(&element, &backends[n]))
			n++;
		else
			*all = false;
	}
	return n;
}

/* Are a path of QEMU's and one of ours the same file? */
static enum match
same_file(const char *theirs, const struct stat *ours)
{
	struct stat st;

	if (theirs[0] != '/' || stat(theirs, &st) != 0)
		return MATCH_UNKNOWN;
	return st.st_dev == ours->st_dev && st.st_ino == ours->st_ino ? MATCH_YES : MATCH_NO;
}

static enum colo_outcome
match_backend(struct colo_qmp *q, const struct backend *b, const struct stat *ours,
	uint64_t deadline, enum match *match, struct colo_error *err)
{
	char object[BACKEND_ID_MAX + 16], path[PATH_MAX];
	enum colo_outcome got;

	snprintf(object, sizeof(object), "/objects/%s", b->id);
	got = colo_qmp_qom_string(q, object, "mem-path", deadline, path, sizeof(path), err);
	/* one without a file (anonymous memory, memfd) has no such property */
	*match = got == COLO_OUTCOME_OK ? same_file(path, ours) : MATCH_NO;
	return got == COLO_OUTCOME_REFUSED ? COLO_OUTCOME_OK : got;
}

/* The backend is on the file: is it the block, and can others see what the guest writes? */
static enum colo_outcome
check_backend(const struct colo_qmp *q, const struct backend *b, const char *file, const char *name,
	uint64_t size, struct colo_error *err)
{
	const char *component = strrchr(name, '/');

	component = component != NULL ? component + 1 : name;
	if (!b->share)
		colo_error_set(err,
			"QEMU at %s maps %s without share=on, so its guest's memory is not seen in "
			"the "
			"file",
			q->path, file);
	else if (strcmp(component, b->id) != 0)
		colo_error_set(err,
			"QEMU at %s maps %s as block %s, not as %s: name it so in --block", q->path,
			file, b->id, name);
	else if (b->size != size)
		colo_error_set(err,
			"block %s has %" PRIu64 " bytes in --block but %" PRIu64
			" in QEMU at %s: both must agree",
			name, size, b->size, q->path);
	else
		return COLO_OUTCOME_OK;
	return COLO_OUTCOME_REFUSED;
}

enum colo_outcome
colo_memory_backend_check(struct colo_qmp *q, const char *file, const char *name, uint64_t size,
	uint64_t deadline, struct colo_error *err)
{
	struct backend backends[COLO_MAX_BACKENDS];
	struct colo_json list;
	enum colo_outcome got;
	struct stat ours;
	unsigned int n;
	bool certain;

	if (stat(file, &ours) != 0)
		return COLO_OUTCOME_OK;
	got = colo_qmp_command(q, "query-memdev", NULL, deadline, &list, err);
	if (got != COLO_OUTCOME_OK)
		return got == COLO_OUTCOME_REFUSED ? COLO_OUTCOME_OK : got;
	n = read_backends(&list, backends, &certain);
	for (unsigned int i = 0; i < n; i++) {
		enum match match;

		got = match_backend(q, &backends[i], &ours, deadline, &match, err);
		if (got != COLO_OUTCOME_OK)
			return got;
		if (match == MATCH_YES)
			return check_backend(q, &backends[i], file, name, size, err);
		certain = certain && match == MATCH_NO;
	}
	if (!certain)
		return COLO_OUTCOME_OK;
	colo_error_set(err,
		"QEMU at %s has no memory backend on %s: it needs -object "
		"memory-backend-file,id=%s,mem-path=%s,share=on,size=... and "
		"-machine ...,memory-backend=%s",
		q->path, file, name, file, name);
	return COLO_OUTCOME_REFUSED;
}
