/* SPDX-License-Identifier: BSD-3-Clause */
/* What every checkpoint must hold, page by page; compared with what the secondary has. */
#include <string.h>

#include "sim.h"

static void
fill_noise(uint32_t value, uint8_t *page)
{
	uint64_t x = value * 0x9e3779b97f4a7c15ull;

	for (unsigned int i = 0; i < COLO_PAGE_SIZE; i += 8) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		memcpy(page + i, &x, 8);
	}
}

/* One in four compresses not at all, the others well; the last is zeros but for one word. */
void
sim_page_make(uint32_t value, uint8_t *page)
{
	switch (value == 0 ? 4 : value % 4) {
	case 0:
		fill_noise(value, page);
		break;
	case 1:
		memset(page, (uint8_t)(value >> 2) | 1, COLO_PAGE_SIZE);
		memcpy(page, &value, sizeof(value));
		break;
	case 2:
		fill_noise(value, page);
		for (unsigned int i = 64; i < COLO_PAGE_SIZE; i += 64)
			memcpy(page + i, page, 64);
		break;
	default:
		memset(page, 0, COLO_PAGE_SIZE);
		if (value != 0)
			memcpy(page + COLO_PAGE_SIZE - sizeof(value), &value, sizeof(value));
	}
}

unsigned int
sim_block_of(uint32_t n, uint32_t *page)
{
	unsigned int block = 0;

	while (n >= sim.config.block_pages[block])
		n -= sim.config.block_pages[block++];
	*page = n;
	return block;
}

uint32_t
sim_n_pages(void)
{
	uint32_t n = 0;

	for (unsigned int i = 0; i < sim.config.n_blocks; i++)
		n += sim.config.block_pages[i];
	return n;
}

void
sim_model_capture(uint32_t session, uint32_t epoch)
{
	struct sim_model *m = &sim.model;
	struct sim_checkpoint *to = &m->checkpoint[m->next++ % SIM_CHECKPOINTS];

	to->session = session;
	to->epoch = epoch;
	to->image = sim.guest.image;
}

/* The latest of that name: one that was given up may be tried again under the same number. */
const struct sim_checkpoint *
sim_model_find(uint32_t session, uint32_t epoch)
{
	const struct sim_model *m = &sim.model;

	for (unsigned int i = 1; i <= SIM_CHECKPOINTS && i <= m->next; i++) {
		const struct sim_checkpoint *c = &m->checkpoint[(m->next - i) % SIM_CHECKPOINTS];

		if (c->session == session && c->epoch == epoch)
			return c;
	}
	return NULL;
}

void
sim_model_compare(const struct sim_image *image, bool cache, const char *when)
{
	uint8_t page[COLO_PAGE_SIZE] __attribute__((aligned(64)));
	const struct colo_blocks *b = &sim.end[SIM_SECONDARY].blocks;
	uint32_t n = 0;

	for (unsigned int i = 0; i < sim.config.n_blocks; i++) {
		const struct colo_memory *m = cache ? &b->block[i].cache : &b->block[i].guest;

		for (uint32_t at = 0; at < sim.config.block_pages[i]; at++, n++) {
			sim_page_make(image->value[n], page);
			SIM_CHECK(memcmp(page, colo_page_addr(m, at), COLO_PAGE_SIZE) == 0,
				"%s: page %u of block %u in %s is not the checkpoint's", when, at,
				i, cache ? "the cache" : "guest memory");
		}
	}
}

void
sim_model_compare_copies(const char *when)
{
	const struct colo_blocks *b = &sim.end[SIM_SECONDARY].blocks;

	for (unsigned int i = 0; i < sim.config.n_blocks; i++)
		SIM_CHECK(memcmp(b->block[i].guest.addr, b->block[i].cache.addr,
				  b->block[i].size) == 0,
			"%s: cache and guest memory of block %u differ", when, i);
}
