/* SPDX-License-Identifier: BSD-3-Clause */
/* Start of source `qmp`: what it is told is checked against the file and the QEMU it is about. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "device_state.h"
#include "guardian.h"
#include "memory_backend.h"
#include "migration_stream.h"
#include "qmp_source.h"
#include "text.h"

#define STEP_MS_DEFAULT 5000u /* a request's deadline */
#define STEP_MS_MIN	100u
#define STEP_MS_MAX	60000u
#define START_MS	5000u /* to connect and ask what is asked here */

#define DEVICE_FILE "device-state"

static int
set_path(void *target, const char *value)
{
	struct qmp_source *q = target;

	if (value[0] == '\0' || strlen(value) > COLO_UNIX_PATH_MAX)
		return -1;
	strcpy(q->path, value);
	return 0;
}

static int
set_timeout(void *target, const char *value)
{
	struct qmp_source *q = target;
	uint64_t ms;

	if (colo_parse_digits(value, &ms) != 0 || ms < STEP_MS_MIN || ms > STEP_MS_MAX)
		return -1;
	q->step_ms = (uint32_t)ms;
	return 0;
}

static int
read_args(struct qmp_source *q, const char *args, struct colo_error *err)
{
	static const struct colo_key keys[] = {
		{"path", set_path, "a QMP socket's path of at most 107 bytes"},
		{"timeout", set_timeout, "100 to 60000 milliseconds"},
	};

	q->step_ms = STEP_MS_DEFAULT;
	if (colo_keys_parse("--source qmp", args, keys, sizeof(keys) / sizeof(keys[0]), q, err) !=
		0)
		return -1;
	if (q->path[0] == '\0')
		return colo_error_set(
			err, "--source qmp needs path=PATH, the QMP socket of the guest's QEMU");
	return 0;
}

/* Map QEMU's memory file, to be read only. */
static int
map_ram(struct qmp_source *q, const struct colo_block_spec *spec, struct colo_error *err)
{
	struct stat st;
	void *at;

	/* O_NONBLOCK: a pipe of that name must not make us wait */
	q->ram_fd = open(spec->guest_path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (q->ram_fd < 0)
		return colo_error_set(err,
			"block %s: cannot open %s, the file QEMU keeps its guest's memory in: %s",
			spec->name, spec->guest_path, strerror(errno));
	if (fstat(q->ram_fd, &st) != 0 || !S_ISREG(st.st_mode))
		return colo_error_set(err,
			"block %s: %s is not a regular file, which QEMU's "
			"memory-backend-file needs",
			spec->name, spec->guest_path);
	if ((uint64_t)st.st_size < spec->size)
		return colo_error_set(err,
			"block %s has %" PRIu64 " bytes but %s only %" PRIu64
			": size= must be the guest's",
			spec->name, spec->size, spec->guest_path, (uint64_t)st.st_size);
	at = mmap(NULL, spec->size, PROT_READ, MAP_SHARED, q->ram_fd, 0);
	if (at == MAP_FAILED)
		return colo_error_set(err, "block %s: cannot map %s: %s", spec->name,
			spec->guest_path, strerror(errno));
	q->ram = at;
	q->ram_size = spec->size;
	return 0;
}

static int
check_specs(const struct colo_source *s, struct colo_error *err)
{
	if (s->n_specs != 1)
		return colo_error_set(err,
			"--source qmp takes exactly one --block, the guest's RAM; %u are given",
			s->n_specs);
	if (s->specs[0].guest_path[0] == '\0')
		return colo_error_set(err,
			"--source qmp needs guest=FILE in --block %s: the file QEMU maps with "
			"share=on",
			s->specs[0].name);
	if (s->specs[0].size == 0 || s->specs[0].size % COLO_PAGE_SIZE != 0)
		return colo_error_set(err,
			"block %s has %" PRIu64 " bytes: a multiple of %u is accepted",
			s->specs[0].name, s->specs[0].size, COLO_PAGE_SIZE);
	return 0;
}

/* Connect, and see that the guest and its memory are what we were told. */
static int
meet_qemu(struct qmp_source *q, const struct colo_block_spec *spec, struct colo_error *err)
{
	uint64_t deadline = colo_deadline(START_MS);
	char status[COLO_QMP_STATUS_MAX];
	bool running;

	if (colo_qmp_open(&q->qmp, q->path, COLO_NO_ABORT, deadline, err) != COLO_OUTCOME_OK ||
		colo_qmp_status(&q->qmp, deadline, status, &running, err) != COLO_OUTCOME_OK)
		return -1;
	if (strcmp(status, "inmigrate") == 0)
		return colo_error_set(err,
			"QEMU at %s waits for an incoming migration; a guest can be protected once "
			"it runs",
			q->path);
	return colo_memory_backend_check(
		&q->qmp, spec->guest_path, spec->name, spec->size, deadline, err);
}

/* Our copy of the guest's memory, and the device state's block behind it. */
static int
add_blocks(struct colo_source *s, struct colo_error *err)
{
	struct colo_block_spec copy = s->specs[0];
	struct colo_block_spec device = {
		.name = COLO_DEVICE_BLOCK_NAME, .size = s->device_block_size};

	copy.guest_path[0] = '\0';
	if (colo_blocks_add_primary(s->blocks, &copy, err) != 0)
		return -1;
	return colo_blocks_add_primary(s->blocks, &device, err);
}

/* @param copy_is_new  false: the blocks are there from an earlier start */
static int
prepare_blocks(struct colo_source *s, bool *copy_is_new, struct colo_error *err)
{
	*copy_is_new = s->blocks->n == 0;
	if (*copy_is_new)
		return add_blocks(s, err);
	if (s->blocks->n != 2 || strcmp(s->blocks->block[0].name, s->specs[0].name) != 0 ||
		s->blocks->block[0].size != s->specs[0].size)
		return colo_error_set(err,
			"--source qmp cannot use the blocks that are there: they are not %s and "
			"the device state's",
			s->specs[0].name);
	return 0;
}

static int
make_device_buffer(struct qmp_source *q, struct colo_error *err)
{
	/* one more than fits: a file that fills it is too long */
	q->device_size = q->source->device_block_size + COLO_SAVEVM_HEADER_SIZE + 1 -
			 sizeof(struct colo_device_state);
	q->device = malloc(q->device_size);
	if (q->device == NULL)
		return colo_error_set(
			err, "no memory for %" PRIu64 " bytes of device state", q->device_size);
	if (colo_private_dir_make(&q->dir, err) != 0 ||
		colo_private_dir_path(
			&q->dir, DEVICE_FILE, q->device_file, sizeof(q->device_file), err) != 0)
		return -1;
	colo_guardian_clean(q->source->guardian, q->device_file);
	return 0;
}

int
colo_qmp_source_prepare(struct qmp_source *q, const char *args, struct colo_error *err)
{
	struct colo_source *s = q->source;
	bool copy_is_new;

	if (read_args(q, args, err) != 0 || check_specs(s, err) != 0 ||
		map_ram(q, &s->specs[0], err) != 0 || meet_qemu(q, &s->specs[0], err) != 0 ||
		prepare_blocks(s, &copy_is_new, err) != 0)
		return -1;
	if (colo_collect_init(
		    &q->collect, &s->blocks->block[0], q->ram, q->ram_fd, copy_is_new, err) != 0)
		return -1;
	return make_device_buffer(q, err);
}

void
colo_qmp_source_free(struct qmp_source *q)
{
	colo_qmp_close(&q->qmp);
	if (q->wake_fd >= 0)
		close(q->wake_fd);
	colo_collect_fini(&q->collect);
	if (q->ram != NULL)
		munmap(q->ram, q->ram_size);
	if (q->ram_fd >= 0)
		close(q->ram_fd);
	if (q->device_file[0] != '\0')
		unlink(q->device_file);
	colo_private_dir_remove(&q->dir);
	free(q->device);
	free(q);
}
