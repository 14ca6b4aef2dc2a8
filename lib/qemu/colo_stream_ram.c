/* SPDX-License-Identifier: BSD-3-Clause */
/* RAM sections of a COLO primary's main channel: the block list, pages, zero pages, flushes. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "colo_stream_items.h"

/* Low bits of each record's first word; what remains is an offset in the block. */
enum record_flag {
	RECORD_ZERO = 0x02,
	RECORD_TOTAL = 0x04,
	RECORD_PAGE = 0x08,
	RECORD_EOS = 0x10,
	RECORD_SAME_BLOCK = 0x20,
	RECORD_FLUSH = 0x200,
};

#define RECORD_FLAGS 0xfffull

static_assert(COLO_BLOCK_NAME_MAX + 8 <= COLO_STREAM_ITEM_MAX, "block list");

/* The total of all blocks; then come the blocks, until it is used up. */
static enum colo_stream_event
take_total(struct colo_stream *s)
{
	if (s->part != RAM_START || s->listed)
		return colo_stream_refuse(
			s, "a second list of RAM blocks is not accepted: they stay what they are");
	s->list_left = s->record & ~RECORD_FLAGS;
	if (s->list_left == 0)
		return colo_stream_refuse(s, "a list of no RAM blocks is not accepted");
	return colo_stream_await(s, ITEM_LISTED_LENGTH, 1);
}

static enum colo_stream_event
take_flush(struct colo_stream *s)
{
	colo_stream_await(s, ITEM_RECORD, 8);
	s->pending = COLO_STREAM_FLUSH;
	return COLO_STREAM_FLUSH;
}

/* First word of a page or a zero page. */
static enum colo_stream_event
take_page_word(struct colo_stream *s)
{
	if (s->part == RAM_START)
		return colo_stream_refuse(s,
			"a page in RAM's start section is not accepted: only the blocks' list is");
	if (!(s->record & RECORD_SAME_BLOCK))
		return colo_stream_await(s, ITEM_BLOCK_LENGTH, 1);
	if (s->block < 0)
		return colo_stream_refuse(
			s, "a page of the same block as before came where no block was named yet");
	return colo_stream_await(s, ITEM_BLOCK, 0);
}

enum colo_stream_event
colo_stream_record(struct colo_stream *s)
{
	unsigned int flags;

	s->record = get_be64(s->item);
	flags = s->record & RECORD_FLAGS;
	if (!s->listed && flags != RECORD_TOTAL)
		return colo_stream_refuse(s,
			"record %#x in RAM's start section is not accepted before the blocks' list",
			flags);
	switch (flags & ~RECORD_SAME_BLOCK) {
	case RECORD_PAGE:
	case RECORD_ZERO:
		return take_page_word(s);
	}
	if (flags == RECORD_TOTAL)
		return take_total(s);
	if (s->record == RECORD_FLUSH)
		return take_flush(s);
	if (s->record == RECORD_EOS)
		return colo_stream_await(s, ITEM_FOOTER, FOOTER_SIZE);
	return colo_stream_refuse(s,
		"RAM record %#" PRIx64 " is not accepted: pages (0x8, 0x28), zero pages (0x2, "
		"0x22), flush (0x200) and end (0x10) are; switch other migration capabilities off",
		s->record);
}

enum colo_stream_event
colo_stream_listed_length(struct colo_stream *s)
{
	if (s->item[0] == 0 || s->item[0] > COLO_BLOCK_NAME_MAX)
		return colo_stream_refuse(s,
			"a RAM block's name of %u bytes is not accepted: 1 to %u bytes are",
			s->item[0], COLO_BLOCK_NAME_MAX);
	if (s->blocks.n == COLO_STREAM_BLOCKS_MAX)
		return colo_stream_refuse(
			s, "more than %u RAM blocks are not accepted", COLO_STREAM_BLOCKS_MAX);
	return colo_stream_await(s, ITEM_LISTED, s->item[0] + 8u);
}

/* Name and size of the next block, checked. */
static enum colo_stream_event
check_listed(struct colo_stream *s, size_t length, uint64_t size)
{
	int shown = (int)length;
	const char *name = (const char *)s->item;

	if (!colo_stream_printable(s->item, length))
		return colo_stream_refuse(s,
			"RAM block's name %.*s is not accepted: printable "
			"characters are",
			shown, name);
	if (length == strlen(COLO_DEVICE_BLOCK_NAME) &&
		memcmp(name, COLO_DEVICE_BLOCK_NAME, length) == 0)
		return colo_stream_refuse(s, "a RAM block called %s is not accepted: it is ours",
			COLO_DEVICE_BLOCK_NAME);
	if (colo_stream_blocks_find(&s->blocks, name, length) >= 0)
		return colo_stream_refuse(s, "RAM block %.*s is listed twice", shown, name);
	if (size == 0 || size % COLO_PAGE_SIZE != 0 || size > COLO_MAX_BLOCK_SIZE)
		return colo_stream_refuse(s,
			"RAM block %.*s of %" PRIu64 " bytes is not accepted: whole pages of %u "
			"bytes up to %llu are",
			shown, name, size, COLO_PAGE_SIZE, COLO_MAX_BLOCK_SIZE);
	if (size > s->list_left)
		return colo_stream_refuse(s,
			"RAM block %.*s of %" PRIu64 " bytes exceeds the total, of which %" PRIu64
			" are left",
			shown, name, size, s->list_left);
	return GO_ON;
}

enum colo_stream_event
colo_stream_listed(struct colo_stream *s)
{
	struct colo_stream_block *b = &s->blocks.block[s->blocks.n];
	size_t length = s->need - 8;
	uint64_t size = get_be64(s->item + length);

	if (check_listed(s, length, size) != GO_ON)
		return COLO_STREAM_FAILED;
	memcpy(b->name, s->item, length);
	b->name[length] = '\0';
	b->size = size;
	s->blocks.n++;
	s->list_left -= size;
	if (s->list_left > 0)
		return colo_stream_await(s, ITEM_LISTED_LENGTH, 1);
	if (s->sink->blocks(s->sink->owner, &s->blocks, &s->error) != 0) {
		s->failed = true;
		return COLO_STREAM_FAILED;
	}
	s->listed = true;
	return colo_stream_await(s, ITEM_RECORD, 8);
}

enum colo_stream_event
colo_stream_block_length(struct colo_stream *s)
{
	if (s->item[0] == 0 || s->item[0] > COLO_BLOCK_NAME_MAX)
		return colo_stream_refuse(s,
			"a page's block name of %u bytes is not accepted: 1 to %u bytes are",
			s->item[0], COLO_BLOCK_NAME_MAX);
	return colo_stream_await(s, ITEM_BLOCK, s->item[0]);
}

/* The block of a page is known by its name, or (no bytes) is the one before. */
enum colo_stream_event
colo_stream_block(struct colo_stream *s)
{
	uint64_t offset = s->record & ~RECORD_FLAGS;
	const struct colo_stream_block *b;

	if (s->need > 0)
		s->block = colo_stream_blocks_find(&s->blocks, s->item, s->need);
	if (s->block < 0) {
		colo_stream_printable(s->item, s->need);
		return colo_stream_refuse(s,
			"a page of RAM block %.*s is not accepted: no such block was listed",
			(int)s->need, (const char *)s->item);
	}
	b = &s->blocks.block[s->block];
	if (offset >= b->size)
		return colo_stream_refuse(s,
			"a page at offset %#" PRIx64
			" of RAM block %s is not accepted: it has %" PRIu64 " bytes",
			offset, b->name, b->size);
	if (s->record & RECORD_PAGE)
		return colo_stream_await(s, ITEM_PAGE, 0);
	return colo_stream_await(s, ITEM_FILL, 1);
}

static uint32_t
page_number(const struct colo_stream *s)
{
	return (uint32_t)(s->record >> COLO_PAGE_SHIFT);
}

enum colo_stream_event
colo_stream_page(struct colo_stream *s)
{
	const struct colo_page_sink *sink = s->sink;
	uint8_t *at = sink->place(sink->owner, (unsigned int)s->block, page_number(s));

	if (at == NULL)
		return COLO_STREAM_HELD;
	s->direct = at;
	s->direct_left = COLO_PAGE_SIZE;
	return colo_stream_await(s, ITEM_PAGE_BYTES, 0);
}

enum colo_stream_event
colo_stream_page_bytes(struct colo_stream *s)
{
	s->sink->placed(s->sink->owner, (unsigned int)s->block, page_number(s));
	return colo_stream_await(s, ITEM_RECORD, 8);
}

enum colo_stream_event
colo_stream_fill(struct colo_stream *s)
{
	if (s->item[0] != 0)
		return colo_stream_refuse(s,
			"a page filled with byte %#x is not accepted: only zero pages are",
			s->item[0]);
	return colo_stream_await(s, ITEM_ZERO, 0);
}

enum colo_stream_event
colo_stream_zero(struct colo_stream *s)
{
	if (!s->sink->zero(s->sink->owner, (unsigned int)s->block, page_number(s)))
		return COLO_STREAM_HELD;
	return colo_stream_await(s, ITEM_RECORD, 8);
}
