/* SPDX-License-Identifier: BSD-3-Clause */
/* The dirty log's file: made, laid out, mapped, removed. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lockstep_log.h"

static_assert(sizeof(struct colo_lockstep_log_header) <= COLO_LOCKSTEP_LOG_ALIGN, "header");
static_assert(sizeof(_Atomic uint64_t) == sizeof(uint64_t), "words of the file");

/* A log that an earlier run left may go; nobody's file else. */
static int
remove_old(const char *path, struct colo_error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	uint64_t magic = 0;
	struct stat st;
	bool ours;

	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0)
		return colo_error_set(
			err, "cannot look at the dirty log %s: %s", path, strerror(errno));
	ours = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	       pread(fd, &magic, sizeof(magic), 0) == (ssize_t)sizeof(magic) &&
	       magic == COLO_LOCKSTEP_LOG_MAGIC;
	close(fd);
	if (!ours)
		return colo_error_set(err,
			"%s is there and is no dirty log: only a new file or an old dirty log is "
			"accepted",
			path);
	if (unlink(path) != 0)
		return colo_error_set(
			err, "cannot remove the old dirty log %s: %s", path, strerror(errno));
	return 0;
}

static uint64_t
round_up(uint64_t n)
{
	return (n + COLO_LOCKSTEP_LOG_ALIGN - 1) / COLO_LOCKSTEP_LOG_ALIGN *
	       COLO_LOCKSTEP_LOG_ALIGN;
}

static uint64_t
bitmap_length(const struct colo_block *b)
{
	return (uint64_t)b->n_pieces * COLO_PIECE_WORDS * sizeof(uint64_t);
}

static uint64_t
file_length(const struct colo_blocks *blocks, unsigned int n_blocks)
{
	uint64_t length = COLO_LOCKSTEP_LOG_ALIGN;

	for (unsigned int i = 0; i < n_blocks; i++)
		length += round_up(bitmap_length(&blocks->block[i]));
	return length;
}

/* Room is allocated here: a full file system is a sentence now, not a SIGBUS later. */
static int
make_file(struct colo_lockstep_log *log, const char *path, struct colo_error *err)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
	void *at = MAP_FAILED;
	int error;

	if (fd < 0)
		return colo_error_set(
			err, "cannot make the dirty log %s: %s", path, strerror(errno));
	error = posix_fallocate(fd, 0, (off_t)log->length);
	if (error == 0) {
		at = mmap(NULL, log->length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		error = errno;
	}
	close(fd);
	if (at == MAP_FAILED || realpath(path, log->path) == NULL) {
		if (at != MAP_FAILED)
			munmap(at, log->length);
		unlink(path);
		return colo_error_set(err, "no %" PRIu64 " bytes for the dirty log %s: %s",
			log->length, path, strerror(error));
	}
	log->header = at;
	(void)madvise(at, log->length, MADV_DONTFORK);
	return 0;
}

static void
lay_out(struct colo_lockstep_log *log, const struct colo_blocks *blocks, unsigned int n_blocks,
	_Atomic uint64_t **words)
{
	struct colo_lockstep_log_header *h = log->header;
	uint64_t offset = COLO_LOCKSTEP_LOG_ALIGN;

	for (unsigned int i = 0; i < n_blocks; i++) {
		const struct colo_block *b = &blocks->block[i];

		h->block[i].size = b->size;
		h->block[i].offset = offset;
		h->block[i].length = bitmap_length(b);
		memcpy(h->block[i].name, b->name, sizeof(b->name));
		words[i] = (_Atomic uint64_t *)(uintptr_t)((uint8_t *)h + offset);
		offset += round_up(bitmap_length(b));
	}
	h->version = COLO_LOCKSTEP_LOG_VERSION;
	h->n_blocks = n_blocks;
	h->length = log->length;
	h->magic = COLO_LOCKSTEP_LOG_MAGIC;
}

int
colo_lockstep_log_open(struct colo_lockstep_log *log, const char *path,
	const struct colo_blocks *blocks, unsigned int n_blocks, _Atomic uint64_t **words,
	struct colo_error *err)
{
	memset(log, 0, sizeof(*log));
	log->length = file_length(blocks, n_blocks);
	if (remove_old(path, err) != 0 || make_file(log, path, err) != 0)
		return -1;
	lay_out(log, blocks, n_blocks, words);
	return 0;
}

void
colo_lockstep_log_close(struct colo_lockstep_log *log)
{
	if (log->header == NULL)
		return;
	munmap(log->header, log->length);
	unlink(log->path);
	log->header = NULL;
}
