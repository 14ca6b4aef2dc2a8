/* SPDX-License-Identifier: BSD-3-Clause */
/* One multifd channel: initial packet, headers, pages as they are or decompressed. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "big_endian.h"
#include "multifd.h"

#define VERSION 1u

enum state {
	AWAIT_INITIAL,
	AWAIT_HEADER,
	AWAIT_PLACES, /* from the sink, for the pages of the packet at hand */
	AWAIT_PAGES,
};

enum flag {
	FLAG_SYNC = 0x01,
	FLAG_ZLIB = 0x02,
	FLAG_ZSTD = 0x04,
};

/* Where a header's fields are. */
enum field {
	AT_MAGIC = 0,
	AT_VERSION = 4,
	AT_FLAGS = 8,
	AT_PAGES_ALLOC = 12,
	AT_NORMAL = 16,
	AT_NEXT_SIZE = 20,
	AT_NUMBER = 24,
	AT_ZERO = 32,
	AT_BLOCK = 64,
	AT_OFFSETS = 320,
};

#define NAME_SIZE     256u
#define AT_INITIAL_ID 24u

static_assert(AT_BLOCK + NAME_SIZE == AT_OFFSETS, "block name");
static_assert(AT_OFFSETS + COLO_MULTIFD_PAGES * 8 == COLO_MULTIFD_HEADER_SIZE, "offsets");

/* What a step returns when there is nothing to tell: an event that no caller sees. */
#define GO_ON ((enum colo_multifd_event)100)

static enum colo_multifd_event __attribute__((format(printf, 2, 3)))
refuse(struct colo_multifd *m, const char *format, ...)
{
	int used = snprintf(m->error.text, sizeof(m->error.text),
		"multifd channel %u, packet %" PRIu64 ": ", m->id, m->packets);
	va_list ap;

	va_start(ap, format);
	vsnprintf(m->error.text + used, sizeof(m->error.text) - (size_t)used, format, ap);
	va_end(ap);
	m->failed = true;
	return COLO_MULTIFD_FAILED;
}

static enum colo_multifd_event
check_magic(struct colo_multifd *m)
{
	uint32_t magic = get_be32(m->head + AT_MAGIC), version = get_be32(m->head + AT_VERSION);

	if (magic == COLO_MULTIFD_MAGIC && version == VERSION)
		return GO_ON;
	return refuse(m, "magic %08x, version %u is not accepted: %08x, version %u is", magic,
		version, COLO_MULTIFD_MAGIC, VERSION);
}

static enum colo_multifd_event
take_initial(struct colo_multifd *m)
{
	if (m->have < COLO_MULTIFD_INITIAL_SIZE)
		return COLO_MULTIFD_MORE;
	if (check_magic(m) != GO_ON)
		return COLO_MULTIFD_FAILED;
	memcpy(m->uuid, m->head + 8, sizeof(m->uuid));
	m->id = m->head[AT_INITIAL_ID];
	m->have = 0;
	m->state = AWAIT_HEADER;
	return COLO_MULTIFD_INITIAL;
}

/* Packet numbers are the primary's, over all channels; on one channel they go up. */
static enum colo_multifd_event
check_number(struct colo_multifd *m)
{
	uint64_t number = get_be64(m->head + AT_NUMBER);

	if (m->numbered && number <= m->number)
		return refuse(m,
			"packet number %" PRIu64 " after %" PRIu64 " is not accepted: they go up",
			number, m->number);
	m->numbered = true;
	m->number = number;
	return GO_ON;
}

static enum colo_multifd_event
take_sync(struct colo_multifd *m)
{
	uint32_t size = get_be32(m->head + AT_NEXT_SIZE);

	if (m->n_normal != 0 || m->n_zero != 0 || size != 0)
		return refuse(m,
			"a SYNC packet of %u pages, %u zero pages and %u bytes is not "
			"accepted: one of QEMU 11, with none, is",
			m->n_normal, m->n_zero, size);
	m->syncs++;
	m->synced = true;
	return COLO_MULTIFD_SYNC;
}

/* Compression is what the first packet of pages has, for good: its stream goes on. */
static enum colo_multifd_event
check_compression(struct colo_multifd *m, uint32_t flags)
{
	enum colo_compression compression = flags == FLAG_ZLIB	 ? COLO_COMPRESSION_ZLIB
					    : flags == FLAG_ZSTD ? COLO_COMPRESSION_ZSTD
								 : COLO_COMPRESSION_NONE;

	if (flags != 0 && flags != FLAG_ZLIB && flags != FLAG_ZSTD)
		return refuse(m,
			"flags %#x are not accepted: SYNC (0x1) alone, or pages with "
			"multifd-compression none (0), zlib (0x2) or zstd (0x4), are",
			flags);
	if (m->paged && compression != m->compression)
		return refuse(m, "flags %#x are not accepted: compression cannot change", flags);
	m->paged = true;
	m->compression = compression;
	return GO_ON;
}

static enum colo_multifd_event
check_counts(struct colo_multifd *m)
{
	uint32_t alloc = get_be32(m->head + AT_PAGES_ALLOC);
	uint64_t pages = (uint64_t)m->n_normal + m->n_zero;

	if (alloc > COLO_MULTIFD_PAGES)
		return refuse(m, "pages_alloc %u is not accepted: up to %u is", alloc,
			COLO_MULTIFD_PAGES);
	if (pages == 0 || pages > alloc)
		return refuse(m,
			"%u pages and %u zero pages are not accepted: 1 to pages_alloc "
			"(%u) together are",
			m->n_normal, m->n_zero, alloc);
	return GO_ON;
}

static enum colo_multifd_event
check_size(struct colo_multifd *m)
{
	bool plain = m->compression == COLO_COMPRESSION_NONE;
	size_t most = m->n_normal * (size_t)(plain ? COLO_PAGE_SIZE : COLO_MULTIFD_COMPRESSED_MAX);
	size_t least = plain ? most : m->n_normal != 0;

	m->left = get_be32(m->head + AT_NEXT_SIZE);
	if (m->left >= least && m->left <= most)
		return GO_ON;
	return refuse(m, "next size %zu for %u pages is not accepted: %zu to %zu is", m->left,
		m->n_normal, least, most);
}

static enum colo_multifd_event
check_block(struct colo_multifd *m)
{
	const char *name = (const char *)m->head + AT_BLOCK;
	size_t length = strnlen(name, NAME_SIZE);
	int block = -1;

	if (m->blocks->n == 0)
		return refuse(m, "pages are not accepted before the main channel's list of blocks");
	if (length > COLO_BLOCK_NAME_MAX)
		return refuse(m, "a block's name of more than %u bytes is not accepted",
			COLO_BLOCK_NAME_MAX);
	block = colo_stream_blocks_find(m->blocks, name, length);
	if (block < 0) {
		for (size_t i = 0; i < length; i++)
			if (name[i] < 0x20 || name[i] > 0x7e)
				m->head[AT_BLOCK + i] = '?';
		return refuse(
			m, "pages of block %s are not accepted: no such block was listed", name);
	}
	m->block = (unsigned int)block;
	return GO_ON;
}

static enum colo_multifd_event
check_offsets(struct colo_multifd *m)
{
	const struct colo_stream_block *b = &m->blocks->block[m->block];

	for (unsigned int i = 0; i < m->n_normal + m->n_zero; i++) {
		uint64_t offset = get_be64(m->head + AT_OFFSETS + i * 8);

		if (offset % COLO_PAGE_SIZE != 0 || offset >= b->size)
			return refuse(m,
				"offset %#" PRIx64 " of block %s is not accepted: "
				"multiples of %u below %#" PRIx64 " are",
				offset, b->name, COLO_PAGE_SIZE, b->size);
		m->page[i] = (uint32_t)(offset >> COLO_PAGE_SHIFT);
	}
	return GO_ON;
}

/* All of a header; the head is free for the next one then. */
static enum colo_multifd_event
take_header(struct colo_multifd *m)
{
	uint32_t flags = get_be32(m->head + AT_FLAGS);

	if (m->have < COLO_MULTIFD_HEADER_SIZE)
		return COLO_MULTIFD_MORE;
	m->n_normal = get_be32(m->head + AT_NORMAL);
	m->n_zero = get_be32(m->head + AT_ZERO);
	if (check_magic(m) != GO_ON || check_number(m) != GO_ON)
		return COLO_MULTIFD_FAILED;
	m->packets++;
	m->have = 0;
	if (flags == FLAG_SYNC)
		return take_sync(m);
	if (check_compression(m, flags) != GO_ON || check_counts(m) != GO_ON ||
		check_size(m) != GO_ON || check_block(m) != GO_ON || check_offsets(m) != GO_ON)
		return COLO_MULTIFD_FAILED;
	m->n_to = m->n_zeroed = m->n_done = 0;
	m->state = AWAIT_PLACES;
	return GO_ON;
}

static enum colo_multifd_event
take_places(struct colo_multifd *m)
{
	const struct colo_page_sink *sink = m->sink;

	for (; m->n_to < m->n_normal; m->n_to++) {
		m->to[m->n_to] = sink->place(sink->owner, m->block, m->page[m->n_to]);
		if (m->to[m->n_to] == NULL)
			return COLO_MULTIFD_HELD;
	}
	for (; m->n_zeroed < m->n_zero; m->n_zeroed++)
		if (!sink->zero(sink->owner, m->block, m->page[m->n_normal + m->n_zeroed]))
			return COLO_MULTIFD_HELD;
	m->state = AWAIT_PAGES;
	return GO_ON;
}

static void
page_done(struct colo_multifd *m)
{
	m->sink->placed(m->sink->owner, m->block, m->page[m->n_done]);
	m->n_done++;
	m->page_have = 0;
}

/* Decode once: to the page at hand, or, where no more may come, to show that none does. */
static int
decode_some(struct colo_multifd *m, bool *progress)
{
	bool beyond = m->n_done == m->n_normal;
	uint8_t nowhere[1];
	uint8_t *out = beyond ? nowhere : m->to[m->n_done] + m->page_have;
	size_t size = beyond ? sizeof(nowhere) : COLO_PAGE_SIZE - m->page_have;
	size_t in_left = m->in_end - m->in_at, out_left = size;
	struct colo_error why;

	if (colo_page_decoder_run(&m->decoder, m->compression, m->in + m->in_at, &in_left, out,
		    &out_left, &why) != 0)
		return refuse(m, "pages cannot be decompressed: %s", why.text);
	*progress = m->in_end - m->in_at > in_left || out_left < size;
	m->in_at = m->in_end - in_left;
	if (beyond)
		return out_left == size
			       ? 0
			       : refuse(m, "more bytes than %u pages were compressed", m->n_normal);
	m->page_have += size - out_left;
	if (m->page_have == COLO_PAGE_SIZE)
		page_done(m);
	return 0;
}

/* All that has been read of a compressed packet. */
static enum colo_multifd_event
decode_pages(struct colo_multifd *m)
{
	bool progress =
		m->in_at < m->in_end; /* what was read before is decoded as far as it goes */

	while (progress)
		if (decode_some(m, &progress) != 0)
			return COLO_MULTIFD_FAILED;
	if (m->in_at < m->in_end)
		return refuse(m, "%zu compressed bytes are too many", m->in_end - m->in_at);
	m->in_at = m->in_end = 0;
	if (m->left > 0)
		return COLO_MULTIFD_MORE;
	if (m->n_done < m->n_normal)
		return refuse(m, "%u pages were compressed where %u are accepted", m->n_done,
			m->n_normal);
	return GO_ON;
}

/* Pages that are read to their places, as far as they have come. */
static enum colo_multifd_event
count_pages(struct colo_multifd *m)
{
	size_t whole = m->n_normal - (m->left + COLO_PAGE_SIZE - 1) / COLO_PAGE_SIZE;

	while (m->n_done < whole)
		page_done(m);
	return m->left > 0 ? COLO_MULTIFD_MORE : GO_ON;
}

static enum colo_multifd_event
take_pages(struct colo_multifd *m)
{
	enum colo_multifd_event event = GO_ON;

	if (m->n_normal > 0)
		event = m->compression == COLO_COMPRESSION_NONE ? count_pages(m) : decode_pages(m);
	if (event == GO_ON)
		m->state = AWAIT_HEADER;
	return event;
}

static enum colo_multifd_event
step(struct colo_multifd *m)
{
	switch ((enum state)m->state) {
	case AWAIT_INITIAL:
		return take_initial(m);
	case AWAIT_HEADER:
		return m->synced ? COLO_MULTIFD_SYNC : take_header(m);
	case AWAIT_PLACES:
		return take_places(m);
	case AWAIT_PAGES:
		return take_pages(m);
	}
	return COLO_MULTIFD_FAILED;
}

enum colo_multifd_event
colo_multifd_next(struct colo_multifd *m, struct colo_error *err)
{
	enum colo_multifd_event event = GO_ON;

	while (event == GO_ON && !m->failed)
		event = step(m);
	if (!m->failed)
		return event;
	colo_error_set(err, "%s", m->error.text);
	return COLO_MULTIFD_FAILED;
}

bool
colo_multifd_begins(const uint8_t first[4])
{
	return get_be32(first) == COLO_MULTIFD_MAGIC;
}

int
colo_multifd_init(struct colo_multifd *m, const struct colo_stream_blocks *blocks,
	const struct colo_page_sink *sink, struct colo_error *err)
{
	memset(m, 0, sizeof(*m));
	m->blocks = blocks;
	m->sink = sink;
	m->state = AWAIT_INITIAL;
	return colo_page_decoder_init(&m->decoder, err);
}

void
colo_multifd_fini(struct colo_multifd *m)
{
	colo_page_decoder_fini(&m->decoder);
}

/* The rest of a packet's pages, neighbours together. */
static unsigned int
want_pages(const struct colo_multifd *m, struct iovec *iov)
{
	size_t skip = (size_t)m->n_normal * COLO_PAGE_SIZE - m->left;
	unsigned int n = 0;

	for (size_t i = skip / COLO_PAGE_SIZE; i < m->n_normal; i++) {
		size_t have = i == skip / COLO_PAGE_SIZE ? skip % COLO_PAGE_SIZE : 0;
		uint8_t *at = m->to[i] + have;

		if (n > 0 && (uint8_t *)iov[n - 1].iov_base + iov[n - 1].iov_len == at)
			iov[n - 1].iov_len += COLO_PAGE_SIZE;
		else
			iov[n++] = (struct iovec){.iov_base = at, .iov_len = COLO_PAGE_SIZE - have};
	}
	return n;
}

/* How many of the packet's bytes fit where want() lets them be read to. */
static size_t
readable(const struct colo_multifd *m)
{
	size_t room = sizeof(m->in) - m->in_end;

	if (m->state != AWAIT_PAGES)
		return 0;
	if (m->compression == COLO_COMPRESSION_NONE)
		return m->left;
	return m->left < room ? m->left : room;
}

unsigned int
colo_multifd_want(struct colo_multifd *m, struct iovec iov[COLO_MULTIFD_IOV])
{
	size_t need = m->state == AWAIT_INITIAL ? COLO_MULTIFD_INITIAL_SIZE : sizeof(m->head);
	size_t now = readable(m);
	unsigned int n = 0;

	if (now > 0 && m->compression == COLO_COMPRESSION_NONE)
		n = want_pages(m, iov);
	else if (now > 0)
		iov[n++] = (struct iovec){.iov_base = m->in + m->in_end, .iov_len = now};
	if (m->state != AWAIT_PLACES && (m->state != AWAIT_PAGES || now == m->left) &&
		m->have < need)
		iov[n++] = (struct iovec){.iov_base = m->head + m->have, .iov_len = need - m->have};
	return n;
}

void
colo_multifd_got(struct colo_multifd *m, size_t n)
{
	size_t now = readable(m);

	if (now > n)
		now = n;
	m->left -= now;
	if (m->compression != COLO_COMPRESSION_NONE)
		m->in_end += now;
	m->have += n - now;
	assert(m->have <= sizeof(m->head));
}

void
colo_multifd_released(struct colo_multifd *m)
{
	m->synced = false;
}

int
colo_multifd_closed(struct colo_multifd *m, struct colo_error *err)
{
	if (!m->failed && m->state == AWAIT_HEADER && m->have == 0)
		return 0;
	if (!m->failed)
		refuse(m, "the primary closed the channel in the middle of it");
	return colo_error_set(err, "%s", m->error.text);
}

int
colo_multifd_claim(
	struct colo_multifd_ids *ids, const struct colo_multifd *m, struct colo_error *err)
{
	if (m->id >= ids->n)
		return colo_error_set(err,
			"multifd channel %u is not accepted: ids below %u are; as many channels as "
			"multifd-channels are needed",
			m->id, ids->n);
	if (ids->seen & 1u << m->id)
		return colo_error_set(err, "multifd channel %u has come twice", m->id);
	if (ids->n_seen > 0 && memcmp(ids->uuid, m->uuid, sizeof(ids->uuid)) != 0)
		return colo_error_set(
			err, "multifd channel %u is of another guest: its uuid differs", m->id);
	memcpy(ids->uuid, m->uuid, sizeof(ids->uuid));
	ids->seen |= 1u << m->id;
	ids->n_seen++;
	return 0;
}
