/* SPDX-License-Identifier: BSD-3-Clause */
/* The next pages to send, claimed or fed; tested for zero, compressed where asked. */
#include "page.h"
#include "send.h"

/* A page that saves less than this is sent raw: decompressing it would cost more than it saves. */
#define ZSTD_WORTH_BYTES (COLO_PAGE_SIZE / 8)

void
colo_pick_reset(struct colo_sender *s)
{
	s->cursor.words = NULL;
	s->cursor.bits = 0;
	s->cursor.all_claimed = false;
	s->fed.n = s->fed.at = 0;
	s->has_page = false;
	s->has_item = false;
	s->n_packet = 0;
	s->zstd_used = 0;
	s->sent_all = false;
}

static bool
claim_piece(struct colo_sender *s)
{
	struct colo_outbox *box = &s->end->outbox;
	const struct colo_piece_ref *ref;
	uint32_t i;

	if (s->cursor.all_claimed)
		return false;
	i = atomic_fetch_add_explicit(&box->next, 1, memory_order_relaxed);
	if (i >= box->list.n) {
		s->cursor.all_claimed = true;
		return false;
	}
	ref = &box->list.ref[i];
	s->cursor.block = ref->block;
	s->cursor.first_page = ref->piece * COLO_PIECE_PAGES;
	s->cursor.words = colo_dirty_piece(&s->end->blocks->block[ref->block].todo, ref->piece);
	s->cursor.word = 0;
	s->cursor.bits = 0;
	return true;
}

/* The next page of `todo`; its bit is cleared. Ascending within a piece. */
static bool
take_page(struct colo_sender *s)
{
	struct colo_cursor *c = &s->cursor;

	for (;;) {
		if (c->bits != 0) {
			s->page_block = c->block;
			s->page = c->base + __builtin_ctzll(c->bits);
			c->bits &= c->bits - 1;
			return true;
		}
		if (c->words == NULL || c->word == COLO_PIECE_WORDS) {
			if (!claim_piece(s))
				return false;
			continue;
		}
		c->base = c->first_page + c->word * 64;
		c->bits = c->words[c->word];
		c->words[c->word++] = 0;
	}
}

/* The next page that the source has fed to this channel, if there is one now. */
static bool
take_fed(struct colo_sender *s)
{
	const struct colo_feed_page *p;

	if (s->fed.at == s->fed.n) {
		s->fed.at = 0;
		s->fed.n = colo_feed_take(&s->end->feed, s->id, s->fed.page, COLO_FED_BURST);
		if (s->fed.n == 0)
			return false;
	}
	p = &s->fed.page[s->fed.at++];
	s->page_block = p->block;
	s->page = p->page;
	s->page_is_zero = p->zero != 0;
	return true;
}

static const uint8_t *
page_bytes(const struct colo_sender *s, uint32_t block, uint32_t page)
{
	return colo_page_addr(&s->end->blocks->block[block].guest, page);
}

/* The page after this one, if it is already taken: its first lines are asked for now. */
static void
prefetch_next(const struct colo_sender *s)
{
	const struct colo_cursor *c = &s->cursor;
	const uint8_t *next;

	if (c->bits != 0)
		next = page_bytes(s, c->block, c->base + __builtin_ctzll(c->bits));
	else if (s->fed.at < s->fed.n && !s->fed.page[s->fed.at].zero)
		next = page_bytes(s, s->fed.page[s->fed.at].block, s->fed.page[s->fed.at].page);
	else
		return;
	for (unsigned int line = 0; line < 8; line++)
		__builtin_prefetch(next + 64 * line);
}

static bool
next_page(struct colo_sender *s)
{
	if (s->has_page)
		return true;
	s->page_is_zero = false;
	if (s->fed_on ? !take_fed(s) : !take_page(s))
		return false;
	prefetch_next(s);
	s->has_page = true;
	s->next_part = 0;
	if (!s->page_is_zero)
		s->page_is_zero = colo_page.is_zero(page_bytes(s, s->page_block, s->page));
	return true;
}

/*
 * A run of zero pages that follow each other; ends at the first other page, which is kept, or where
 * the core's turn, and that of the core that places it, would become long.
 */
static void
pick_zero(struct colo_sender *s, struct colo_item *item)
{
	uint32_t first = s->page;
	uint32_t block = s->page_block;
	uint32_t count = 0;

	do {
		count++;
		s->has_page = false;
	} while (count < COLO_ZERO_RUN_MAX && next_page(s) && s->page_is_zero &&
		 s->page_block == block && s->page == first + count);
	item->record = (struct colo_slot_record){
		.block = block, .page = first, .count = count, .kind = COLO_RECORD_ZERO};
	item->offset = 0;
	item->length = 0;
	item->payload = NULL;
}

static void
raw_part(const struct colo_sender *s, uint32_t block, uint32_t page, uint16_t part,
	struct colo_item *item)
{
	item->record = (struct colo_slot_record){
		.block = block, .page = page, .count = part, .kind = COLO_RECORD_RAW};
	item->offset = part * s->part_size;
	item->length = RTE_MIN(s->part_size, COLO_PAGE_SIZE - item->offset);
	item->payload = page_bytes(s, block, page) + item->offset;
}

static bool
compress_page(
	struct colo_sender *s, uint32_t block, uint32_t page, uint8_t *out, struct colo_item *item)
{
	size_t limit = RTE_MIN(COLO_PAGE_SIZE - ZSTD_WORTH_BYTES,
		s->room - colo_record_room(0) - COLO_SEAL_TAG_LEN);
	size_t size;

	size = ZSTD_compress2(s->zstd, out, ZSTD_compressBound(COLO_PAGE_SIZE),
		page_bytes(s, block, page), COLO_PAGE_SIZE);
	if (ZSTD_isError(size) || size > limit)
		return false;
	item->record =
		(struct colo_slot_record){.block = block, .page = page, .kind = COLO_RECORD_ZSTD};
	item->offset = 0;
	item->length = size;
	item->payload = out;
	return true;
}

bool
colo_pick(struct colo_sender *s, struct colo_item *item)
{
	if (!next_page(s))
		return false;
	if (s->page_is_zero) {
		pick_zero(s, item);
		return true;
	}
	if (s->zstd_on && s->next_part == 0 &&
		compress_page(s, s->page_block, s->page, s->zstd_out + s->zstd_used, item)) {
		s->zstd_used += item->length;
		s->has_page = false;
		return true;
	}
	raw_part(s, s->page_block, s->page, s->next_part++, item);
	s->has_page = item->offset + item->length < COLO_PAGE_SIZE;
	return true;
}

void
colo_pick_again(struct colo_sender *s, const struct colo_slot_record *record, uint8_t *out,
	struct colo_item *item)
{
	switch (record->kind) {
	case COLO_RECORD_RAW:
		raw_part(s, record->block, record->page, record->count, item);
		break;
	case COLO_RECORD_ZSTD:
		/* the same page at the same level gives the same bytes */
		if (compress_page(s, record->block, record->page, out, item))
			break;
		/* the source let the page change: the other end will refuse what goes out then */
		/* fall through */
	default:
		item->record = *record;
		item->offset = 0;
		item->length = 0;
		item->payload = NULL;
	}
}
