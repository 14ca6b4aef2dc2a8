/* SPDX-License-Identifier: BSD-3-Clause */
/* Start of source `colo`: options, the listening socket, and the blocks of the first QEMU. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "colo_source.h"
#include "log.h"
#include "text.h"

#define MEET_TURN_MS 20 /* how late start() sees a signal, or the list of blocks */

static int
set_listen(void *target, const char *value)
{
	struct stream_source *q = target;

	return colo_listener_parse(&q->listener, value);
}

static int
set_qmp(void *target, const char *value)
{
	struct stream_source *q = target;

	if (value[0] == '\0' || strlen(value) > COLO_UNIX_PATH_MAX)
		return -1;
	strcpy(q->qmp, value);
	return 0;
}

static int
read_args(struct stream_source *q, const char *args, struct colo_error *err)
{
	static const struct colo_key keys[] = {
		{"listen", set_listen, "unix:PATH, tcp:ADDR:PORT or tcp:[ADDR]:PORT"},
		{"qmp", set_qmp, "a QMP socket's path of at most 107 bytes"},
	};

	if (colo_keys_parse("--source colo", args, keys, sizeof(keys) / sizeof(keys[0]), q, err) !=
		0)
		return -1;
	if (q->listener.name[0] == '\0')
		return colo_error_set(err, "--source colo needs listen=unix:PATH or "
					   "listen=tcp:ADDR:PORT, where QEMU migrates to");
	return 0;
}

int
colo_stream_source_prepare(struct stream_source *q, const char *args, struct colo_error *err)
{
	if (read_args(q, args, err) != 0)
		return -1;
	/* precopy's has a description behind it that is not kept */
	q->device_size = q->source->device_block_size + COLO_STREAM_JSON_MAX;
	q->device = malloc(q->device_size);
	q->ahead = malloc(COLO_SOURCE_AHEAD);
	if (q->device == NULL || q->ahead == NULL)
		return colo_error_set(
			err, "no memory for %zu bytes of device state", q->device_size);
	q->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (q->wake_fd < 0)
		return colo_error_set(err, "no eventfd: %s", strerror(errno));
	return colo_listener_open(&q->listener, err);
}

/* ---- the first QEMU ---- */

static bool
is_interrupted(const struct stream_source *q)
{
	return q->source->interrupt != NULL && *q->source->interrupt != 0;
}

static int
wait_for_list(struct stream_source *q, struct colo_error *err)
{
	COLO_LOG(NOTICE, "waiting for QEMU's migrate at %s", q->listener.name);
	while (!atomic_load_explicit(&q->listed, memory_order_acquire)) {
		if (is_interrupted(q))
			return colo_error_set(err,
				"ended by a signal while waiting for QEMU's migrate at %s",
				q->listener.name);
		(void)poll(NULL, 0, MEET_TURN_MS);
	}
	return 0;
}

/* A --block says that a block's staging is to be in a file; QEMU must have such a block. */
static int
check_spec(
	const struct stream_source *q, const struct colo_block_spec *spec, struct colo_error *err)
{
	int i = colo_stream_blocks_find(&q->list, spec->name, strlen(spec->name));

	if (i < 0)
		return colo_error_set(err,
			"--block %s: the QEMU that called has no such block; --source colo needs "
			"no --block",
			spec->name);
	if (q->list.block[i].size != spec->size)
		return colo_error_set(err,
			"--block %s: the QEMU that called has %" PRIu64
			" bytes of it, not %" PRIu64,
			spec->name, q->list.block[i].size, spec->size);
	return 0;
}

static const struct colo_block_spec *
find_spec(const struct colo_source *s, const char *name)
{
	for (unsigned int i = 0; i < s->n_specs; i++)
		if (strcmp(s->specs[i].name, name) == 0)
			return &s->specs[i];
	return NULL;
}

static int
add_block(struct colo_source *s, const char *name, uint64_t size, struct colo_error *err)
{
	const struct colo_block_spec *given = find_spec(s, name);
	struct colo_block_spec *spec = calloc(1, sizeof(*spec));
	int rc;

	if (spec == NULL)
		return colo_error_set(err, "no memory for block %s", name);
	snprintf(spec->name, sizeof(spec->name), "%s", name);
	spec->size = size;
	if (given != NULL)
		memcpy(spec->guest_path, given->guest_path, sizeof(spec->guest_path));
	rc = colo_blocks_add_primary(s->blocks, spec, err);
	free(spec);
	return rc;
}

/* Blocks that are there already are those of an earlier start. */
static int
check_blocks(const struct stream_source *q, struct colo_error *err)
{
	const struct colo_blocks *have = q->source->blocks;
	bool same = have->n == q->list.n + 1;

	for (unsigned int i = 0; same && i < q->list.n; i++)
		same = strcmp(have->block[i].name, q->list.block[i].name) == 0 &&
		       have->block[i].size == q->list.block[i].size;
	if (same)
		return 0;
	return colo_error_set(
		err, "--source colo cannot use the blocks that are there: QEMU has others");
}

static int
make_blocks(struct stream_source *q, struct colo_error *err)
{
	struct colo_source *s = q->source;

	for (unsigned int i = 0; i < s->n_specs; i++)
		if (check_spec(q, &s->specs[i], err) != 0)
			return -1;
	if (s->blocks->n != 0)
		return check_blocks(q, err);
	for (unsigned int i = 0; i < q->list.n; i++)
		if (add_block(s, q->list.block[i].name, q->list.block[i].size, err) != 0)
			return -1;
	return add_block(s, COLO_DEVICE_BLOCK_NAME, s->device_block_size, err);
}

int
colo_stream_source_meet(struct stream_source *q, struct colo_error *err)
{
	bool fresh = q->source->blocks->n == 0;

	if (wait_for_list(q, err) != 0 || make_blocks(q, err) != 0 ||
		colo_pages_init(&q->pages, q->source->blocks, fresh, err) != 0)
		return -1;
	atomic_store_explicit(&q->blocks_made, true, memory_order_release);
	(void)eventfd_write(q->wake_fd, 1);
	return 0;
}

void
colo_stream_source_free(struct stream_source *q)
{
	colo_listener_close(&q->listener);
	if (q->wake_fd >= 0)
		close(q->wake_fd);
	colo_pages_fini(&q->pages);
	free(q->device);
	free(q->ahead);
	free(q);
}
