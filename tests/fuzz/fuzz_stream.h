/* SPDX-License-Identifier: BSD-3-Clause */
/* A sink of little memory, and how a parser of a COLO primary's streams is fed from an input. */
#ifndef COLO_FUZZ_STREAM_H
#define COLO_FUZZ_STREAM_H

#include "fuzz.h"
#include "ut_stream.h"

#define FUZZ_IMAGE_MAX (64u * COLO_PAGE_SIZE) /* bytes of all blocks: more are refused */

/* As ut_image_blocks(), with a limit, as source colo has one. */
static inline int
fuzz_image_blocks(void *owner, const struct colo_stream_blocks *b, struct colo_error *err)
{
	uint64_t total = 0;

	FUZZ_CHECK(b->n >= 1 && b->n <= COLO_STREAM_BLOCKS_MAX);
	for (unsigned int i = 0; i < b->n; i++) {
		FUZZ_CHECK(b->block[i].size > 0 && b->block[i].size <= COLO_MAX_BLOCK_SIZE);
		FUZZ_CHECK(b->block[i].size % COLO_PAGE_SIZE == 0);
		fuzz_check_sentence(b->block[i].name, sizeof(b->block[i].name));
		FUZZ_CHECK(colo_stream_blocks_find(b, b->block[i].name, strlen(b->block[i].name)) ==
			   (int)i);
		total += b->block[i].size;
	}
	if (total > FUZZ_IMAGE_MAX)
		return colo_error_set(err, "blocks are too large");
	return ut_image_blocks(owner, b, err);
}

static inline void
fuzz_image_init(struct ut_image *image, unsigned int hold_every)
{
	memset(image, 0, sizeof(*image));
	ut_image_reset(image);
	image->sink.blocks = fuzz_image_blocks;
	image->hold_every = hold_every;
	image->fill = true;
}

#endif
