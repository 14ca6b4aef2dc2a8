/* SPDX-License-Identifier: BSD-3-Clause */
/* Contents and order of the synthetic guest's pages: hashes of seed, page and set. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bounds.h"
#include "synthetic_pages.h"
#include "wire.h"

#define PAGE_WORDS (COLO_PAGE_SIZE / sizeof(uint64_t))
#define GOLDEN	   0x9e3779b97f4a7c15ull /* 2^64 / golden ratio: steps that spread well */
#define TEXT_WORD  0x2065676170206120ull /* " a page " */

/* What a hash is wanted for: one each, so that the decisions do not depend on each other. */
enum purpose {
	FOR_SOURCE = 1,
	FOR_ZERO,
	FOR_IMAGE_PAGE,
	FOR_CONTENTS,
	FOR_ORDER
};

static uint64_t
hash(const struct colo_synthetic_config *c, enum purpose purpose, uint64_t page, uint32_t set)
{
	uint64_t h = colo_mix64(c->seed + purpose * GOLDEN);

	h = colo_mix64(h ^ (page + 1) * GOLDEN);
	return colo_mix64(h ^ (set + 1) * GOLDEN);
}

/* True for @p share millionths of all hashes. */
static bool
is_among(uint64_t h, uint32_t share)
{
	return (h >> 32) * COLO_SYNTHETIC_ALL >> 32 < share;
}

int
colo_synthetic_pages_open(struct colo_synthetic_pages *p,
	const struct colo_synthetic_config *config, struct colo_error *err)
{
	struct stat st;

	p->config = config;
	p->image_fd = -1;
	p->image_pages = 0;
	if (config->image[0] == '\0')
		return 0;
	p->image_fd = open(config->image, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (p->image_fd < 0)
		return colo_error_set(err, "--source synthetic: cannot open image %s: %s",
			config->image, strerror(errno));
	if (fstat(p->image_fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size >= COLO_PAGE_SIZE) {
		p->image_pages = (uint64_t)st.st_size / COLO_PAGE_SIZE;
		return 0;
	}
	colo_synthetic_pages_close(p);
	return colo_error_set(err,
		"--source synthetic: image %s is not a regular file of at least %u bytes",
		config->image, COLO_PAGE_SIZE);
}

void
colo_synthetic_pages_close(struct colo_synthetic_pages *p)
{
	if (p->image_fd >= 0)
		close(p->image_fd);
	p->image_fd = -1;
}

static bool
is_zero(const uint8_t *page)
{
	return page[0] == 0 && memcmp(page, page + 1, COLO_PAGE_SIZE - 1) == 0;
}

/* At start page by page, wrapping around; later pages picked at random. */
static bool
make_from_image(const struct colo_synthetic_pages *p, uint64_t page, uint32_t set, uint8_t *out)
{
	uint8_t bytes[COLO_PAGE_SIZE];
	uint64_t from = set == 0 ? page : hash(p->config, FOR_IMAGE_PAGE, page, set);
	ssize_t got = pread(
		p->image_fd, bytes, sizeof(bytes), (off_t)(from % p->image_pages * COLO_PAGE_SIZE));

	/* An image that shrank meanwhile reads as zeros. */
	if (got != (ssize_t)sizeof(bytes) || is_zero(bytes))
		return false;
	memcpy(out, bytes, sizeof(bytes));
	return true;
}

/*
 * At start half of the share are pieces that are zero as a whole, evenly spread, as a guest's free
 * memory is; the rest are single pages among the others.
 */
static bool
is_zero_at_start(const struct colo_synthetic_config *c, uint64_t page, uint64_t h)
{
	uint64_t piece = page / COLO_PIECE_PAGES, pieces = c->zero / 2;
	uint64_t singles = (c->zero - pieces) * COLO_SYNTHETIC_ALL / (COLO_SYNTHETIC_ALL - pieces);

	if ((piece + 1) * pieces / COLO_SYNTHETIC_ALL != piece * pieces / COLO_SYNTHETIC_ALL)
		return true;
	return is_among(h, (uint32_t)singles);
}

/* Never zero, never the same for two sets: the first word is a stamp. */
static void
generate(const struct colo_synthetic_config *c, uint64_t h, uint64_t *words)
{
	uint64_t text = TEXT_WORD ^ (h & 0x0f0f0f0f0f0f0f0full), state = h;
	uint64_t n_text = (uint64_t)c->compress * PAGE_WORDS / COLO_SYNTHETIC_ALL;
	uint64_t i = 0;

	words[i++] = h | 1;
	for (; i < PAGE_WORDS - n_text; i++) {
		uint64_t z = state += GOLDEN; /* SplitMix64 (public domain, S. Vigna) */

		z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
		z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
		words[i] = z ^ (z >> 31);
	}
	for (; i < PAGE_WORDS; i++)
		words[i] = text;
}

bool
colo_synthetic_pages_make(
	const struct colo_synthetic_pages *p, uint64_t page, uint32_t set, uint8_t *out)
{
	const struct colo_synthetic_config *c = p->config;
	uint64_t h = hash(c, FOR_ZERO, page, set);

	if (set != 0 && is_among(h, c->dirty_zero))
		return false;
	if (p->image_fd >= 0 && is_among(hash(c, FOR_SOURCE, page, set), c->mix))
		return make_from_image(p, page, set, out);
	if (set == 0 && is_zero_at_start(c, page, h))
		return false;
	generate(c, hash(c, FOR_CONTENTS, page, set), (uint64_t *)out);
	return true;
}

void
colo_synthetic_walk_begin(struct colo_synthetic_walk *w, const struct colo_synthetic_config *config,
	uint64_t n_pages, uint32_t set)
{
	*w = (struct colo_synthetic_walk){
		.n_pages = n_pages,
		.key = hash(config, FOR_ORDER, 0, set),
		.cluster = config->clustered ? COLO_SYNTHETIC_CLUSTER : 1,
		.left = config->dirty,
	};
	w->n_clusters = (n_pages + w->cluster - 1) / w->cluster;
}

/*
 * A one-to-one map of [0, n) to itself: each step (odd factor, xor with the upper bits) can be
 * undone within the next power of two, and what falls beyond n is mapped on until it does not.
 */
static uint64_t
permute(uint64_t x, uint64_t n, uint64_t key)
{
	unsigned int bits = n > 1 ? 64 - (unsigned int)__builtin_clzll(n - 1) : 1;
	unsigned int half = (bits + 1) / 2;
	uint64_t mask = (1ull << bits) - 1;

	do {
		for (unsigned int round = 0; round < 3; round++) {
			x = (x * GOLDEN + (key >> (round * 16))) & mask;
			x ^= x >> half;
		}
	} while (x >= n);
	return x;
}

bool
colo_synthetic_walk_next(struct colo_synthetic_walk *w, uint64_t *page)
{
	if (w->left == 0)
		return false;
	if (w->page == w->cluster_end) {
		if (w->next_cluster == w->n_clusters)
			return false;
		w->page = permute(w->next_cluster++, w->n_clusters, w->key) * w->cluster;
		w->cluster_end = w->page + w->cluster;
		if (w->cluster_end > w->n_pages)
			w->cluster_end = w->n_pages;
	}
	*page = w->page++;
	w->left--;
	return true;
}
