/* SPDX-License-Identifier: BSD-3-Clause */
/* A session's blocks: the primary's list checked against ours, then followed. */
#include <inttypes.h>
#include <string.h>

#include "extra.h"

static int
find_listed(const struct colo_listed_block *list, unsigned int n, const char *name)
{
	for (unsigned int i = 0; i < n; i++)
		if (strcmp(list[i].name, name) == 0)
			return (int)i;
	return -1;
}

static int
check_list(const struct colo_listed_block *list, unsigned int n, struct colo_error *err)
{
	if (n == 0 || n > COLO_MAX_BLOCKS)
		return colo_error_set(
			err, "the primary has %u blocks, 1 to %u are accepted", n, COLO_MAX_BLOCKS);
	for (unsigned int i = 0; i < n; i++)
		if (find_listed(list, i, list[i].name) >= 0)
			return colo_error_set(
				err, "the primary has two blocks named %s", list[i].name);
	return 0;
}

/* Those that are here from the start are the operator's: all of them, as they are. */
static int
check_ours(const struct colo_blocks *b, const struct colo_listed_block *list, unsigned int n,
	struct colo_error *err)
{
	for (unsigned int i = 0; i < b->n; i++) {
		const struct colo_block *block = &b->block[i];
		int at = find_listed(list, n, block->name);

		if (block->extra)
			continue;
		if (at < 0)
			return colo_error_set(err,
				"the primary has no block %s, which --block names here",
				block->name);
		if (list[at].size != block->size)
			return colo_error_set(err,
				"size of block %s differs: primary %" PRIu64 ", secondary %" PRIu64,
				block->name, list[at].size, block->size);
	}
	if (b->n == 0 || strcmp(list[n - 1].name, b->block[b->n - 1].name) != 0)
		return colo_error_set(err,
			"the primary's last block is %s, only the device state's is accepted "
			"there",
			list[n - 1].name);
	return 0;
}

static int
check_fixed(const struct colo_blocks *b, const struct colo_listed_block *list, unsigned int n,
	struct colo_error *err)
{
	for (unsigned int i = 0; b->rules.fixed && i < n; i++)
		if (i >= b->n || strcmp(list[i].name, b->block[i].name) != 0)
			return colo_error_set(err,
				"the primary's block %u is %s, here it is %s: the same blocks in "
				"the same order are accepted",
				i, list[i].name, i < b->n ? b->block[i].name : "none");
	return 0;
}

static bool
is_ours(const struct colo_blocks *b, const char *name)
{
	int at = colo_blocks_find(b, name);

	return at >= 0 && !b->block[at].extra;
}

/* Sizes are no larger than COLO_MAX_BLOCK_SIZE here, or refused before they are summed up. */
static int
check_extra(const struct colo_blocks *b, const struct colo_listed_block *list, unsigned int n,
	struct colo_error *err)
{
	uint64_t left = b->rules.max;

	for (unsigned int i = 0; i < n; i++) {
		if (is_ours(b, list[i].name))
			continue;
		if (colo_block_check(list[i].name, list[i].size, err) != 0)
			return -1;
		if (b->rules.max == 0)
			return colo_error_set(err,
				"the primary has a block %s of %" PRIu64
				" bytes, which no --block names here: name it, or accept such by "
				"--extra-blocks",
				list[i].name, list[i].size);
		if (list[i].size > left)
			return colo_error_set(err,
				"with block %s of %" PRIu64
				" bytes the primary's blocks that no --block names here exceed "
				"--extra-blocks, %" PRIu64 " bytes",
				list[i].name, list[i].size, b->rules.max);
		left -= list[i].size;
	}
	return 0;
}

int
colo_extra_check(const struct colo_blocks *b, const struct colo_listed_block *list, unsigned int n,
	struct colo_error *err)
{
	if (check_list(list, n, err) != 0 || check_ours(b, list, n, err) != 0 ||
		check_fixed(b, list, n, err) != 0)
		return -1;
	return check_extra(b, list, n, err);
}

static bool
is_listed(const struct colo_block *block, const struct colo_listed_block *list, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		if (strcmp(list[i].name, block->name) == 0)
			return list[i].size == block->size;
	return false;
}

/* Extra blocks that the session has no use for; all, with an empty list. */
static void
free_others(struct colo_blocks *b, const struct colo_listed_block *list, unsigned int n)
{
	for (unsigned int i = b->n; i-- > 0;)
		if (b->block[i].extra && !is_listed(&b->block[i], list, n))
			colo_blocks_remove(b, i);
}

static int
add_missing(struct colo_blocks *b, const struct colo_listed_block *list, unsigned int n,
	struct colo_error *err)
{
	struct colo_block_spec spec;

	for (unsigned int i = 0; i < n; i++) {
		if (colo_blocks_find(b, list[i].name) >= 0)
			continue;
		memset(&spec, 0, sizeof(spec));
		strncpy(spec.name, list[i].name, COLO_BLOCK_NAME_MAX);
		spec.size = list[i].size;
		if (colo_blocks_add_secondary(
			    b, &spec, b->rules.n_channels, b->rules.numa_node, err) != 0)
			return -1;
		b->block[b->n - 1].extra = true;
	}
	return 0;
}

static void
put_in_order(struct colo_blocks *b, const struct colo_listed_block *list)
{
	for (unsigned int i = 0; i < b->n; i++) {
		int at = colo_blocks_find(b, list[i].name);
		struct colo_block other;

		if (at == (int)i)
			continue;
		other = b->block[i];
		b->block[i] = b->block[at];
		b->block[at] = other;
	}
}

int
colo_extra_adopt(struct colo_blocks *b, const struct colo_listed_block *list, unsigned int n,
	struct colo_error *err)
{
	b->changes++;
	free_others(b, list, n);
	if (add_missing(b, list, n, err) != 0) {
		/* those at start are in an order they had before: the device state's is the last */
		free_others(b, list, 0);
		return -1;
	}
	put_in_order(b, list);
	return 0;
}

uint32_t
colo_extra_pieces(const struct colo_blocks *b)
{
	/* a block's last piece may be a short one */
	return (uint32_t)(b->rules.max >> COLO_PIECE_SHIFT) +
	       (b->rules.max != 0 ? COLO_MAX_BLOCKS : 0);
}
