/* SPDX-License-Identifier: BSD-3-Clause */
/* For tests of what reads a COLO primary's streams: recorded ones, and a sink that keeps pages. */
#ifndef COLO_UT_STREAM_H
#define COLO_UT_STREAM_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <zlib.h>
#include <zstd.h>

#include "page_sink.h"

#define UT_STREAM_MAX  (4u << 20) /* bytes of a recorded connection, unpacked */
#define UT_ANSWERS_MAX 16u

struct ut_stream {
	uint8_t *bytes; /* of exactly their length, so that a checker of memory sees more */
	size_t length;
};

/* What record.py wrote beside the streams. */
struct ut_record {
	size_t answered[UT_ANSWERS_MAX];
	unsigned int n_answered;
	unsigned int normal, zero, flush;
	uint32_t crc32;
};

static inline FILE *
ut_fixture_open(const char *name)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", COLO_FIXTURES, name);
	f = fopen(path, "rb");
	if (f == NULL) {
		perror(path);
		abort();
	}
	return f;
}

static inline struct ut_stream
ut_stream_load(const char *name, unsigned int connection)
{
	uint8_t *packed = malloc(UT_STREAM_MAX), *bytes = malloc(UT_STREAM_MAX);
	ZSTD_outBuffer out = {.dst = bytes, .size = UT_STREAM_MAX};
	ZSTD_DStream *z = ZSTD_createDStream();
	struct ut_stream s;
	char file[64];
	ZSTD_inBuffer in = {.src = packed};
	FILE *f;

	snprintf(file, sizeof(file), "%s.%u.zst", name, connection);
	f = ut_fixture_open(file);
	in.size = fread(packed, 1, UT_STREAM_MAX, f);
	fclose(f);
	if (ZSTD_decompressStream(z, &out, &in) != 0)
		abort();
	ZSTD_freeDStream(z);
	s.length = out.pos;
	s.bytes = malloc(s.length);
	memcpy(s.bytes, bytes, s.length);
	free(bytes);
	free(packed);
	return s;
}

static inline struct ut_record
ut_record_load(const char *name)
{
	struct ut_record r = {0};
	char line[128];
	FILE *f;

	snprintf(line, sizeof(line), "%s.txt", name);
	f = ut_fixture_open(line);
	while (fgets(line, sizeof(line), f) != NULL) {
		size_t at;

		if (sscanf(line, "answered %zu", &at) == 1 && r.n_answered < UT_ANSWERS_MAX)
			r.answered[r.n_answered++] = at;
		sscanf(line, "normal %u", &r.normal);
		sscanf(line, "zero %u", &r.zero);
		sscanf(line, "flush %u", &r.flush);
		sscanf(line, "crc32 %x", &r.crc32);
	}
	fclose(f);
	return r;
}

/* Memory of each block, of exactly its size; it can say "not now". */
struct ut_image {
	struct colo_page_sink sink;
	unsigned int n;
	size_t size[COLO_STREAM_BLOCKS_MAX];
	uint8_t *memory[COLO_STREAM_BLOCKS_MAX];
	unsigned int asked, placed, zeros, held;
	unsigned int hold_every; /* each so many questions "not now" once; 0: never */
	bool refuse_blocks;
	bool fill; /* with what no page holds */
};

static inline void
ut_image_free(struct ut_image *m)
{
	for (unsigned int i = 0; i < m->n; i++)
		free(m->memory[i]);
	m->n = 0;
}

static inline bool
ut_image_fits(const struct ut_image *m, const struct colo_stream_blocks *b)
{
	for (unsigned int i = 0; i < b->n; i++)
		if (m->n != b->n || m->size[i] != b->block[i].size)
			return false;
	return true;
}

static inline int
ut_image_blocks(void *owner, const struct colo_stream_blocks *b, struct colo_error *err)
{
	struct ut_image *m = owner;

	if (m->refuse_blocks)
		return colo_error_set(err, "blocks are refused");
	for (unsigned int i = 0; i < b->n; i++)
		if (b->block[i].size > (64u << 20)) /* what a flipped bit asks for */
			return colo_error_set(err, "block is too large for a test");
	if (!ut_image_fits(m, b)) {
		ut_image_free(m);
		for (m->n = 0; m->n < b->n; m->n++) {
			m->size[m->n] = b->block[m->n].size;
			m->memory[m->n] = malloc(m->size[m->n]);
		}
	}
	for (unsigned int i = 0; m->fill && i < m->n; i++)
		memset(m->memory[i], 0xee, m->size[i]);
	return 0;
}

static inline bool
ut_image_busy(struct ut_image *m)
{
	if (m->hold_every == 0 || ++m->asked % m->hold_every != 0)
		return false;
	m->held++;
	return true;
}

static inline uint8_t *
ut_image_place(void *owner, unsigned int block, uint32_t page)
{
	struct ut_image *m = owner;

	if (block >= m->n || (size_t)page * COLO_PAGE_SIZE >= m->size[block])
		abort();
	return ut_image_busy(m) ? NULL : m->memory[block] + (size_t)page * COLO_PAGE_SIZE;
}

static inline void
ut_image_placed(void *owner, unsigned int block, uint32_t page)
{
	struct ut_image *m = owner;

	if (block >= m->n || (size_t)page * COLO_PAGE_SIZE >= m->size[block])
		abort();
	m->placed++;
}

static inline bool
ut_image_zero(void *owner, unsigned int block, uint32_t page)
{
	struct ut_image *m = owner;

	if (block >= m->n || (size_t)page * COLO_PAGE_SIZE >= m->size[block])
		abort();
	if (ut_image_busy(m))
		return false;
	memset(m->memory[block] + (size_t)page * COLO_PAGE_SIZE, 0, COLO_PAGE_SIZE);
	m->zeros++;
	return true;
}

/* Begin again; memory of the same blocks is kept, until ut_image_free(). */
static inline void
ut_image_reset(struct ut_image *m)
{
	m->sink = (struct colo_page_sink){.owner = m,
		.blocks = ut_image_blocks,
		.place = ut_image_place,
		.placed = ut_image_placed,
		.zero = ut_image_zero};
	m->asked = m->placed = m->zeros = m->held = m->hold_every = 0;
	m->refuse_blocks = m->fill = false;
}

static inline uint32_t
ut_image_crc32(const struct ut_image *m, unsigned int block)
{
	return (uint32_t)crc32(0, m->memory[block], (uInt)m->size[block]);
}

/* Put the next bytes where they are wanted, as a read of @p n bytes would. @return how many. */
static inline size_t
ut_scatter(const struct iovec *iov, unsigned int n_iov, const uint8_t *bytes, size_t n)
{
	size_t done = 0;

	for (unsigned int i = 0; i < n_iov && done < n; i++) {
		size_t part = n - done < iov[i].iov_len ? n - done : iov[i].iov_len;

		memcpy(iov[i].iov_base, bytes + done, part);
		done += part;
	}
	return done;
}

#endif
