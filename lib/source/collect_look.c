/* SPDX-License-Identifier: BSD-3-Clause */
/* The part of a collection that makes system calls: what of a memory file has data. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "collect.h"

int
colo_collect_init(struct colo_collect *c, struct colo_block *block, const uint8_t *guest, int fd,
	bool copy_is_new, struct colo_error *err)
{
	*c = (struct colo_collect){
		.guest = guest,
		.size = block->size,
		.fd = fd,
		.block = block,
		.has_data = calloc(block->n_pieces, 1),
		.mapped = calloc(block->n_pieces, 1),
		.touched = calloc(block->n_pieces, 1),
	};
	if (c->has_data == NULL || c->mapped == NULL || c->touched == NULL) {
		colo_collect_fini(c);
		return colo_error_set(err, "no memory to collect block %s", block->name);
	}
	if (!copy_is_new)
		memset(c->touched, 1, block->n_pieces);
	return 0;
}

void
colo_collect_fini(struct colo_collect *c)
{
	free(c->has_data);
	free(c->mapped);
	free(c->touched);
	*c = (struct colo_collect){.fd = -1};
}

/*
 * One question a piece that has data, and one for each hole however long: asking for the ends of
 * data as well would make the kernel walk all of the guest's pages.
 */
static void
find_data(struct colo_collect *c)
{
	uint32_t piece = 0;

	memset(c->has_data, 0, c->block->n_pieces);
	while (piece < c->block->n_pieces) {
		off_t from = (off_t)piece << COLO_PIECE_SHIFT;
		off_t data = lseek(c->fd, from, SEEK_DATA);

		if (data < 0 && errno == ENXIO) /* no data from here to the end */
			return;
		if (data < from) { /* cannot tell */
			memset(c->has_data + piece, 1, c->block->n_pieces - piece);
			return;
		}
		if ((uint64_t)data >= c->size)
			return;
		piece = (uint32_t)(data >> COLO_PIECE_SHIFT);
		c->has_data[piece++] = 1;
	}
}

/* Where the kernel is too old to do it, poll cores meet the page faults themselves. */
static int
map_in(struct colo_collect *c, uint32_t piece, struct colo_error *err)
{
	uint64_t offset = (uint64_t)piece << COLO_PIECE_SHIFT;
	uint64_t length = c->size - offset < COLO_PIECE_SIZE ? c->size - offset : COLO_PIECE_SIZE;

	if (madvise((void *)(uintptr_t)(c->guest + offset), length, MADV_POPULATE_READ) != 0 &&
		errno == EFAULT)
		return colo_error_set(err,
			"guest memory of block %s cannot be read at %" PRIu64
			": its file was cut, or its file system is full",
			c->block->name, offset);
	c->mapped[piece] = 1;
	return 0;
}

int
colo_collect_look(struct colo_collect *c, struct colo_error *err)
{
	find_data(c);
	for (uint32_t piece = 0; piece < c->block->n_pieces; piece++) {
		if (!c->has_data[piece])
			c->mapped[piece] = 0;
		else if (!c->mapped[piece] && map_in(c, piece, err) != 0)
			return -1;
	}
	return 0;
}
