/* SPDX-License-Identifier: BSD-3-Clause */
/* A guest of our own: memory filled and dirtied from a seed, by a thread that plays its CPU. */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_cycles.h>

#include "device_state.h"
#include "source.h"
#include "synthetic_pages.h"

#define DEVICE_STEP 512u /* bytes of device state that share one changing word */

struct synthetic {
	struct colo_source *source;
	struct colo_synthetic_config config; /* main lcore's, read-only once the guest runs */
	struct colo_synthetic_pages pages;
	unsigned int n_data; /* blocks of memory, the device state's comes behind them */
	uint64_t n_pages;    /* of them together */
	pthread_t thread;    /* main lcore's */
	bool has_thread;     /* main lcore's */
	sem_t wake;	     /* posted for each request and for quit */
	atomic_bool quit;    /* main lcore writes */
	atomic_int request;  /* control core writes, released by `wake` */
	atomic_int status;   /* control core writes BUSY, the guest the outcome */
	uint32_t set;	     /* the guest's: dirtied so often */
	bool pending;	     /* the guest's: the set is dirtied and not yet made known */
	bool all_known;	     /* the guest's: the first request has marked every page */
	uint8_t *device;     /* the guest's: config.device bytes */
};

/** Where page @p page, counted over all blocks of memory, is. */
static struct colo_block *
locate(const struct synthetic *g, uint64_t *page)
{
	struct colo_block *block = g->source->blocks->block;

	while (*page >= block->n_pages) {
		*page -= block->n_pages;
		block++;
	}
	return block;
}

/* ---- the guest's thread ---- */

/** Change the pages of the next set. Quitting leaves it half done: nobody will look. */
static void
dirty_next_set(struct synthetic *g)
{
	struct colo_synthetic_walk walk;
	uint64_t page;

	g->set++;
	colo_synthetic_walk_begin(&walk, &g->config, g->n_pages, g->set);
	while (colo_synthetic_walk_next(&walk, &page)) {
		uint64_t number = page;
		struct colo_block *block = locate(g, &page);
		uint8_t *addr = colo_page_addr(&block->guest, (uint32_t)page);

		if (atomic_load_explicit(&g->quit, memory_order_relaxed))
			return;
		if (!colo_synthetic_pages_make(&g->pages, number, g->set, addr))
			memset(addr, 0, COLO_PAGE_SIZE);
	}
	g->pending = true;
}

static void
mark_all(struct synthetic *g)
{
	struct colo_blocks *blocks = g->source->blocks;

	for (unsigned int i = 0; i < blocks->n; i++)
		colo_dirty_set_range(&blocks->block[i].todo, 0, blocks->block[i].n_pages);
}

/** Make known what changed. The poll cores are at rest: they pick between requests only. */
static void
publish(struct synthetic *g)
{
	struct colo_synthetic_walk walk;
	uint64_t page;

	if (!g->all_known) {
		mark_all(g);
		g->all_known = true;
		return;
	}
	if (!g->pending)
		dirty_next_set(g);
	g->pending = false;
	colo_synthetic_walk_begin(&walk, &g->config, g->n_pages, g->set);
	while (colo_synthetic_walk_next(&walk, &page)) {
		struct colo_block *block = locate(g, &page);

		colo_dirty_set(&block->todo, (uint32_t)page);
	}
}

/** Devices that count: a word in every step changes from checkpoint to checkpoint. */
static int
store_device_state(struct synthetic *g)
{
	const uint64_t count = g->set + 1;

	for (uint64_t at = 0; at + sizeof(count) <= g->config.device; at += DEVICE_STEP)
		memcpy(g->device + at, &count, sizeof(count));
	return colo_device_state_store(&g->source->blocks->block[g->n_data], "", g->device,
		g->config.device, &g->source->error);
}

static enum colo_source_status
carry_out(struct synthetic *g, enum colo_source_request request)
{
	publish(g);
	if (request == COLO_SOURCE_PAUSE)
		atomic_store_explicit(&g->source->paused_tsc, rte_rdtsc(), memory_order_relaxed);
	if (request == COLO_SOURCE_PAUSE && store_device_state(g) != 0)
		return COLO_SOURCE_FAILED;
	return COLO_SOURCE_DONE;
}

static void *
run_guest(void *arg)
{
	struct synthetic *g = arg;
	enum colo_source_request request;

	for (;;) {
		while (sem_wait(&g->wake) != 0)
			; /* EINTR */
		if (atomic_load_explicit(&g->quit, memory_order_relaxed))
			return NULL;
		/* a PAUSE may overtake a RESUME that was not seen yet: each is carried out once */
		request = atomic_exchange_explicit(&g->request, 0, memory_order_acquire);
		if (request == COLO_SOURCE_ROUND || request == COLO_SOURCE_PAUSE)
			/* pairs with poll()'s acquire: pages and todo before the status */
			atomic_store_explicit(
				&g->status, carry_out(g, request), memory_order_release);
		else if (request == COLO_SOURCE_RESUME && !g->pending && g->all_known) {
			/* benchmarks: what follows a commit is measured without the guest's writes
			 */
			usleep(g->config.rest_ms * 1000);
			dirty_next_set(g);
		}
	}
}

/* ---- start, main lcore ---- */

static int
add_memory(struct synthetic *g, struct colo_error *err)
{
	struct colo_source *s = g->source;
	struct colo_block_spec own = {.name = "pc.ram", .size = g->config.size};
	const struct colo_block_spec *spec = s->n_specs != 0 ? s->specs : &own;

	g->n_data = s->n_specs != 0 ? s->n_specs : 1;
	for (unsigned int i = 0; i < g->n_data; i++) {
		if (colo_blocks_add_primary(s->blocks, &spec[i], err) != 0)
			return -1;
		g->n_pages += s->blocks->block[i].n_pages;
	}
	if (s->n_specs != 0 && g->config.has_size &&
		g->config.size != g->n_pages << COLO_PAGE_SHIFT)
		return colo_error_set(err,
			"--source synthetic: size=%" PRIu64 " is not that of the blocks, %" PRIu64
			"; leave it out where --block is given",
			g->config.size, g->n_pages << COLO_PAGE_SHIFT);
	if (g->config.dirty > g->n_pages)
		return colo_error_set(err,
			"--source synthetic: dirty=%" PRIu64 " is more than the guest's %" PRIu64
			" pages",
			g->config.dirty, g->n_pages);
	return 0;
}

static int
add_device_state(struct synthetic *g, struct colo_error *err)
{
	struct colo_source *s = g->source;
	struct colo_block_spec spec = {
		.name = COLO_DEVICE_BLOCK_NAME, .size = s->device_block_size};

	if (colo_blocks_add_primary(s->blocks, &spec, err) != 0)
		return -1;
	if (g->config.device + sizeof(struct colo_device_state) > s->device_block_size)
		return colo_error_set(err,
			"--source synthetic: device=%" PRIu64
			" does not fit; accepted is at most %" PRIu64
			", or a larger --device-state-size",
			g->config.device, s->device_block_size - sizeof(struct colo_device_state));
	g->device = calloc(1, g->config.device + 1);
	if (g->device == NULL)
		return colo_error_set(err, "out of memory for a device state of %" PRIu64 " bytes",
			g->config.device);
	return 0;
}

/** Zero pages are left alone: memory that is never touched costs nothing. */
static int
fill_memory(struct synthetic *g, struct colo_error *err)
{
	struct colo_blocks *blocks = g->source->blocks;
	uint64_t number = 0;

	for (unsigned int i = 0; i < g->n_data; i++) {
		struct colo_block *block = &blocks->block[i];

		/* A file that was there before may hold anything. */
		if (block->guest.path[0] != '\0' && !block->guest.created &&
			colo_memory_discard(&block->guest, err) != 0)
			return -1;
		for (uint32_t page = 0; page < block->n_pages; page++, number++)
			colo_synthetic_pages_make(
				&g->pages, number, 0, colo_page_addr(&block->guest, page));
	}
	return 0;
}

static int
start_thread(struct synthetic *g, struct colo_error *err)
{
	int code = pthread_create(&g->thread, NULL, run_guest, g);

	if (code != 0)
		return colo_error_set(
			err, "cannot start the synthetic guest's thread: %s", strerror(code));
	g->has_thread = true;
	pthread_setname_np(g->thread, "colo-guest");
	return 0;
}

static int
synthetic_start(struct colo_source *s, const char *args, struct colo_error *err)
{
	struct synthetic *g = calloc(1, sizeof(*g));

	if (g == NULL)
		return colo_error_set(err, "out of memory for the synthetic guest");
	s->state = g;
	g->source = s;
	g->pages.image_fd = -1;
	sem_init(&g->wake, 0, 0);
	if (colo_synthetic_config_parse(&g->config, args, err) != 0 ||
		colo_synthetic_pages_open(&g->pages, &g->config, err) != 0 ||
		add_memory(g, err) != 0 || add_device_state(g, err) != 0 ||
		fill_memory(g, err) != 0)
		return -1;
	return start_thread(g, err);
}

static void
synthetic_request(struct colo_source *s, enum colo_source_request request)
{
	struct synthetic *g = s->state;

	/* a resumed guest runs at once; its thread begins to dirty pages when it is scheduled */
	atomic_store_explicit(&g->status,
		request == COLO_SOURCE_RESUME ? COLO_SOURCE_DONE : COLO_SOURCE_BUSY,
		memory_order_relaxed);
	atomic_store_explicit(&g->request, request, memory_order_release);
	sem_post(&g->wake);
}

static enum colo_source_status
synthetic_poll(struct colo_source *s)
{
	struct synthetic *g = s->state;

	return atomic_load_explicit(&g->status, memory_order_acquire);
}

static void
synthetic_stop(struct colo_source *s)
{
	struct synthetic *g = s->state;

	if (g == NULL)
		return;
	if (g->has_thread) {
		atomic_store_explicit(&g->quit, true, memory_order_relaxed);
		sem_post(&g->wake);
		pthread_join(g->thread, NULL);
	}
	colo_synthetic_pages_close(&g->pages);
	sem_destroy(&g->wake);
	free(g->device);
	free(g);
	s->state = NULL;
}

const struct colo_source_ops colo_source_synthetic = {
	.name = "synthetic",
	.staged = false,
	.start = synthetic_start,
	.request = synthetic_request,
	.poll = synthetic_poll,
	.stop = synthetic_stop,
};
