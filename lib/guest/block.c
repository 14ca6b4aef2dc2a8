/* SPDX-License-Identifier: BSD-3-Clause */
/* Blocks of either end: checked, mapped, given their bitmaps, reset for a session, freed. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "block.h"

static int
check_name(const char *name, struct colo_error *err)
{
	size_t length = strnlen(name, COLO_BLOCK_NAME_MAX + 1);

	if (length == 0 || length > COLO_BLOCK_NAME_MAX)
		return colo_error_set(err, "a block's name has 1 to %u bytes", COLO_BLOCK_NAME_MAX);
	for (size_t i = 0; i < length; i++)
		if (name[i] <= ' ' || name[i] > '~')
			return colo_error_set(err,
				"a block's name has byte 0x%02x, only printable ASCII without "
				"spaces "
				"is accepted",
				(unsigned char)name[i]);
	return 0;
}

int
colo_block_check(const char *name, uint64_t size, struct colo_error *err)
{
	if (check_name(name, err) != 0)
		return -1;
	if (size == 0 || size % COLO_PAGE_SIZE != 0 || size > COLO_MAX_BLOCK_SIZE)
		return colo_error_set(err,
			"block %s has size %" PRIu64
			": accepted are multiples of %u from %u to %llu",
			name, size, COLO_PAGE_SIZE, COLO_PAGE_SIZE, COLO_MAX_BLOCK_SIZE);
	return 0;
}

static int
check_spec(const struct colo_blocks *b, const struct colo_block_spec *spec, struct colo_error *err)
{
	if (b->n >= COLO_MAX_BLOCKS)
		return colo_error_set(err,
			"too many blocks: at most %u, the device state's included",
			COLO_MAX_BLOCKS);
	if (colo_block_check(spec->name, spec->size, err) != 0)
		return -1;
	if (colo_blocks_find(b, spec->name) >= 0)
		return colo_error_set(
			err, "there are two blocks named %s, names must differ", spec->name);
	return 0;
}

static bool
same_file(const struct colo_memory *a, const struct colo_memory *b)
{
	struct stat sa, sb;

	if (a->addr == NULL || b->addr == NULL || a == b)
		return false;
	if (fstat(a->fd, &sa) != 0 || fstat(b->fd, &sb) != 0)
		return false;
	return sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

/* By inode, not by path: ./x, x and a hard link of it are one memory. */
static int
check_unshared(const struct colo_blocks *b, const struct colo_block *block,
	const struct colo_memory *m, struct colo_error *err)
{
	if (same_file(m, &block->guest) || same_file(m, &block->cache))
		return colo_error_set(err,
			"block %s: guest and cache are the same file %s, they must be two",
			block->name, m->path);
	for (unsigned int i = 0; i < b->n; i++)
		if (same_file(m, &b->block[i].guest) || same_file(m, &b->block[i].cache))
			return colo_error_set(err,
				"blocks %s and %s have the same file %s, each needs its own",
				b->block[i].name, block->name, m->path);
	return 0;
}

static int
map_memory(const struct colo_blocks *b, struct colo_block *block, struct colo_memory *m,
	const char *path, int numa_node, struct colo_error *err)
{
	if (colo_memory_map(m, path, block->size, numa_node, err) != 0)
		return -1;
	return check_unshared(b, block, m, err);
}

static int
block_begin(struct colo_blocks *b, const struct colo_block_spec *spec, struct colo_block **block,
	struct colo_error *err)
{
	if (check_spec(b, spec, err) != 0)
		return -1;
	*block = &b->block[b->n];
	memset(*block, 0, sizeof(**block));
	(*block)->guest.fd = (*block)->cache.fd = -1;
	memcpy((*block)->name, spec->name, sizeof(spec->name));
	(*block)->size = spec->size;
	(*block)->n_pages = (uint32_t)(spec->size >> COLO_PAGE_SHIFT);
	(*block)->n_pieces = (uint32_t)((spec->size + COLO_PIECE_SIZE - 1) >> COLO_PIECE_SHIFT);
	return 0;
}

static void
block_free(struct colo_block *block, bool keep_guest)
{
	colo_memory_free(&block->guest, keep_guest);
	colo_memory_free(&block->cache, false);
	for (unsigned int c = 0; c < COLO_MAX_CHANNELS; c++)
		colo_dirty_fini(&block->recorded[c]);
	colo_dirty_fini(&block->todo);
	colo_dirty_fini(&block->doubt);
	free(block->touched);
	memset(block, 0, sizeof(*block));
	block->guest.fd = block->cache.fd = -1;
}

int
colo_blocks_add_primary(
	struct colo_blocks *b, const struct colo_block_spec *spec, struct colo_error *err)
{
	struct colo_block *block;

	if (block_begin(b, spec, &block, err) != 0)
		return -1;
	if (map_memory(b, block, &block->guest, spec->guest_path, -1, err) != 0)
		goto fail;
	if (colo_dirty_init(&block->todo, block->n_pages) != 0 ||
		colo_dirty_init(&block->doubt, block->n_pages) != 0) {
		colo_error_set(err, "no memory for the bitmap of block %s", spec->name);
		goto fail;
	}
	b->n++;
	return 0;
fail:
	block_free(block, false);
	return -1;
}

static int
secondary_bitmaps(struct colo_block *block, unsigned int n_channels, struct colo_error *err)
{
	block->touched = calloc(block->n_pieces, 1);
	if (block->touched == NULL)
		goto fail;
	for (unsigned int c = 0; c < n_channels; c++)
		if (colo_dirty_init(&block->recorded[c], block->n_pages) != 0)
			goto fail;
	return 0;
fail:
	return colo_error_set(err, "no memory for the bitmaps of block %s", block->name);
}

/* A file that was there before may hold anything, until the first reset empties it. */
static bool
may_hold_data(const struct colo_memory *m)
{
	return m->path[0] != '\0' && !m->created;
}

int
colo_blocks_add_secondary(struct colo_blocks *b, const struct colo_block_spec *spec,
	unsigned int n_channels, int numa_node, struct colo_error *err)
{
	struct colo_block *block;

	if (n_channels == 0 || n_channels > COLO_MAX_CHANNELS)
		return colo_error_set(
			err, "%u channels: 1 to %u are accepted", n_channels, COLO_MAX_CHANNELS);
	if (block_begin(b, spec, &block, err) != 0)
		return -1;
	if (map_memory(b, block, &block->guest, spec->guest_path, -1, err) != 0 ||
		map_memory(b, block, &block->cache, spec->cache_path, numa_node, err) != 0 ||
		secondary_bitmaps(block, n_channels, err) != 0) {
		block_free(block, false);
		return -1;
	}
	if (may_hold_data(&block->guest) || may_hold_data(&block->cache))
		memset(block->touched, 1, block->n_pieces);
	b->n++;
	return 0;
}

int
colo_blocks_find(const struct colo_blocks *b, const char *name)
{
	for (unsigned int i = 0; i < b->n; i++)
		if (strcmp(b->block[i].name, name) == 0)
			return (int)i;
	return -1;
}

int
colo_blocks_reset(struct colo_blocks *b, struct colo_error *err)
{
	for (unsigned int i = 0; i < b->n; i++) {
		struct colo_block *block = &b->block[i];

		if (colo_memory_discard(&block->guest, err) != 0)
			return -1;
		if (block->cache.addr != NULL && colo_memory_discard(&block->cache, err) != 0)
			return -1;
		for (unsigned int c = 0; c < COLO_MAX_CHANNELS; c++)
			colo_dirty_clear(&block->recorded[c]);
		colo_dirty_clear(&block->todo);
		if (block->touched != NULL)
			memset(block->touched, 0, block->n_pieces);
	}
	return 0;
}

void
colo_blocks_remove(struct colo_blocks *b, unsigned int index)
{
	block_free(&b->block[index], false);
	b->n--;
	memmove(&b->block[index], &b->block[index + 1], (b->n - index) * sizeof(b->block[0]));
}

void
colo_blocks_free(struct colo_blocks *b, bool keep_guest)
{
	for (unsigned int i = 0; i < b->n; i++)
		block_free(&b->block[i], keep_guest);
	b->n = 0;
}
