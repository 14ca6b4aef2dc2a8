/* SPDX-License-Identifier: BSD-3-Clause */
/* Builds the incoming stream of a takeover, and checks the file a device state is saved to. */
#include <assert.h>
#include <string.h>

#include "migration_stream.h"
#include "page.h"

enum section_type {
	SECTION_EOF = 0x00,
	SECTION_START = 0x01,
	SECTION_PART = 0x02,
	SECTION_END = 0x03,
	SECTION_DESCRIPTION = 0x06,
	SECTION_CONFIGURATION = 0x07,
	SECTION_FOOTER = 0x7e,
};

#define STREAM_MAGIC   0x5145564du /* "QEVM" */
#define STREAM_VERSION 3u
#define RAM_SECTION_ID 2u
#define RAM_VERSION    4u
#define RAM_FLAG_ZERO  0x02u
#define RAM_FLAG_SIZES 0x04u /* with the total: a list of blocks follows */
#define RAM_FLAG_PAGE  0x08u
#define RAM_FLAG_EOS   0x10u
#define RAM_FLAG_SAME  0x20u /* block as before: no name */

/* header, configuration, start with the list's total and its end, the part's begin, the blocks */
static_assert(8 + 5 + COLO_MACHINE_NAME_MAX + 17 + 8 + 13 + 5 +
			      COLO_MAX_BLOCKS * (1 + COLO_BLOCK_NAME_MAX + 8) <=
		      COLO_STREAM_HEAD_MAX,
	"head");

static uint8_t *
put_bytes(uint8_t *p, const void *bytes, size_t n)
{
	memcpy(p, bytes, n);
	return p + n;
}

static uint8_t *
put_u8(uint8_t *p, uint8_t v)
{
	*p = v;
	return p + 1;
}

static uint8_t *
put_be32(uint8_t *p, uint32_t v)
{
	v = __builtin_bswap32(v);
	return put_bytes(p, &v, sizeof(v));
}

static uint8_t *
put_be64(uint8_t *p, uint64_t v)
{
	v = __builtin_bswap64(v);
	return put_bytes(p, &v, sizeof(v));
}

static uint8_t *
put_section(uint8_t *p, enum section_type type)
{
	return put_be32(put_u8(p, type), RAM_SECTION_ID);
}

/* End of the RAM section's data, and the footer that repeats its id. */
static uint8_t *
put_section_end(uint8_t *p)
{
	return put_section(put_be64(p, RAM_FLAG_EOS), SECTION_FOOTER);
}

static uint8_t *
put_block_list(uint8_t *p, const struct colo_blocks *blocks, unsigned int n)
{
	uint64_t total = 0;

	for (unsigned int i = 0; i < n; i++)
		total += blocks->block[i].size;
	p = put_be64(p, total | RAM_FLAG_SIZES);
	for (unsigned int i = 0; i < n; i++) {
		size_t length = strlen(blocks->block[i].name);

		p = put_u8(p, (uint8_t)length);
		p = put_bytes(p, blocks->block[i].name, length);
		p = put_be64(p, blocks->block[i].size);
	}
	return p;
}

int
colo_migration_head(
	uint8_t *out, const char *machine, const struct colo_blocks *blocks, struct colo_error *err)
{
	size_t length = strlen(machine);
	uint8_t *p = out;

	if (length == 0 || length > COLO_MACHINE_NAME_MAX)
		return colo_error_set(err,
			"machine type's name of %zu bytes is not accepted: 1 to %u bytes are",
			length, COLO_MACHINE_NAME_MAX);
	if (blocks->n < 2 || blocks->n > COLO_MAX_BLOCKS)
		return colo_error_set(err,
			"a stream of %u blocks cannot be built: 2 to %u are accepted", blocks->n,
			COLO_MAX_BLOCKS);
	p = put_be32(put_be32(p, STREAM_MAGIC), STREAM_VERSION);
	p = put_be32(put_u8(p, SECTION_CONFIGURATION), (uint32_t)length);
	p = put_bytes(p, machine, length);
	p = put_bytes(put_section(p, SECTION_START), "\003ram", 4);
	p = put_be32(put_be32(p, 0), RAM_VERSION);
	p = put_section_end(put_block_list(p, blocks, blocks->n - 1));
	return (int)(put_section(p, SECTION_PART) - out);
}

bool
colo_migration_shared(const struct colo_block *block)
{
	return block->guest.path[0] != '\0';
}

static bool
is_zero(const struct colo_block *b, uint32_t page)
{
	if (b->touched != NULL && b->touched[page / COLO_PIECE_PAGES] == 0)
		return true;
	return colo_page.is_zero(colo_page_addr(&b->guest, page));
}

static uint8_t *
put_page(uint8_t *p, const struct colo_block *b, uint32_t page)
{
	bool zero = is_zero(b, page);
	size_t length = strlen(b->name);

	p = put_be64(p, (uint64_t)page << COLO_PAGE_SHIFT | (zero ? RAM_FLAG_ZERO : RAM_FLAG_PAGE) |
				(page != 0 ? RAM_FLAG_SAME : 0));
	if (page == 0)
		p = put_bytes(put_u8(p, (uint8_t)length), b->name, length);
	if (zero)
		return put_u8(p, 0);
	return put_bytes(p, colo_page_addr(&b->guest, page), COLO_PAGE_SIZE);
}

size_t
colo_migration_pages(struct colo_migration_cursor *cursor, const struct colo_blocks *blocks,
	uint8_t *out, size_t size)
{
	uint8_t *p = out;

	while (cursor->block + 1 < blocks->n &&
		out + size - p >= (ptrdiff_t)COLO_MIGRATION_PAGE_MAX) {
		const struct colo_block *b = &blocks->block[cursor->block];

		if (cursor->page >= b->n_pages || colo_migration_shared(b)) {
			cursor->block++;
			cursor->page = 0;
			continue;
		}
		p = put_page(p, b, cursor->page++);
	}
	return (size_t)(p - out);
}

void
colo_migration_ram_end(uint8_t out[COLO_MIGRATION_RAM_END])
{
	put_section_end(put_section(put_section_end(out), SECTION_END));
}

void
colo_migration_tail(uint8_t out[COLO_STREAM_TAIL_SIZE])
{
	put_be32(put_u8(out, SECTION_DESCRIPTION), 0);
}

int
colo_savevm_check(const uint8_t *bytes, size_t length, struct colo_error *err)
{
	uint8_t header[COLO_SAVEVM_HEADER_SIZE];

	put_be32(put_be32(header, STREAM_MAGIC), STREAM_VERSION);
	if (length < sizeof(header) + 1)
		return colo_error_set(err,
			"device state of %zu bytes is too short: QEMU writes at least %zu", length,
			sizeof(header) + 1);
	if (memcmp(bytes, header, sizeof(header)) != 0)
		return colo_error_set(err, "device state does not begin with QEVM and version %u",
			STREAM_VERSION);
	if (bytes[length - 1] != SECTION_EOF)
		return colo_error_set(err, "device state is cut off: it does not end in 00");
	return 0;
}
