/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The yardstick of scripts/bench: pages in random order, cold to cold, copied by one core and by
 * all, with memcpy and with the datapath's own non-temporal copy. All memory is touched first.
 * Prints one JSON object, GB/s.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bounds.h"
#include "guest_memory.h"
#include "page.h"

#define MAX_THREADS 64
#define ROUNDS	    5

struct bench {
	struct colo_memory from, to;
	uint32_t *order; /* all pages once, shuffled */
	uint32_t n;	 /* pages copied in a round */
	uint32_t n_all;
	bool plain;	     /* memcpy, else colo_page.copy */
	_Atomic uint32_t go; /* threads that are ready */
	unsigned int n_threads;
	uint32_t first; /* of `order`, in this round */
};

struct worker {
	struct bench *b;
	unsigned int id;
	pthread_t thread;
};

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void
shuffle(struct bench *b)
{
	srand48(1);
	for (uint32_t i = 0; i < b->n_all; i++)
		b->order[i] = i;
	for (uint32_t i = b->n_all - 1; i > 0; i--) {
		uint32_t k = lrand48() % (i + 1), page = b->order[i];

		b->order[i] = b->order[k];
		b->order[k] = page;
	}
}

static void *
copy_pages(void *arg)
{
	struct worker *w = arg;
	struct bench *b = w->b;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(w->id % sysconf(_SC_NPROCESSORS_ONLN), &set);
	sched_setaffinity(0, sizeof(set), &set);
	atomic_fetch_add(&b->go, 1);
	while (atomic_load(&b->go) <= b->n_threads)
		sched_yield();
	for (uint32_t i = w->id; i < b->n; i += b->n_threads) {
		uint64_t at = (uint64_t)b->order[(b->first + i) % b->n_all] << COLO_PAGE_SHIFT;

		if (b->plain)
			memcpy(b->to.addr + at, b->from.addr + at, COLO_PAGE_SIZE);
		else
			colo_page.copy(b->to.addr + at, b->from.addr + at);
	}
	colo_page_fence();
	return NULL;
}

/* @return seconds of one round. */
static double
run_round(struct bench *b)
{
	struct worker workers[MAX_THREADS];
	double began;

	atomic_store(&b->go, 0);
	for (unsigned int i = 0; i < b->n_threads; i++) {
		workers[i] = (struct worker){.b = b, .id = i};
		pthread_create(&workers[i].thread, NULL, copy_pages, &workers[i]);
	}
	while (atomic_load(&b->go) < b->n_threads)
		sched_yield();
	began = now();
	atomic_fetch_add(&b->go, 1);
	for (unsigned int i = 0; i < b->n_threads; i++)
		pthread_join(workers[i].thread, NULL);
	b->first = (b->first + b->n) % b->n_all;
	return now() - began;
}

static double
measure(struct bench *b, unsigned int n_threads, bool plain)
{
	double seconds = 0;

	b->n_threads = n_threads;
	b->plain = plain;
	for (unsigned int i = 0; i < ROUNDS; i++)
		seconds += run_round(b);
	return (double)b->n * COLO_PAGE_SIZE * ROUNDS / seconds / 1e9;
}

int
main(int argc, char **argv)
{
	struct bench b = {0};
	struct colo_error err;
	uint64_t size = argc > 1 ? strtoull(argv[1], NULL, 0) : 1ull << 30;
	unsigned int all = sysconf(_SC_NPROCESSORS_ONLN);

	b.n = argc > 2 ? strtoul(argv[2], NULL, 0) : 32768;
	b.n_all = size >> COLO_PAGE_SHIFT;
	colo_page_init(NULL);
	if (b.n == 0 || b.n > b.n_all || all > MAX_THREADS) {
		fprintf(stderr, "usage: page_copy [BYTES [PAGES]]: PAGES from 1 to BYTES / 4096\n");
		return 1;
	}
	if (colo_memory_map(&b.from, NULL, size, -1, &err) != 0 ||
		colo_memory_map(&b.to, NULL, size, -1, &err) != 0) {
		fprintf(stderr, "page_copy: %s\n", err.text);
		return 1;
	}
	b.order = calloc(b.n_all, sizeof(*b.order));
	if (b.order == NULL)
		return 1;
	shuffle(&b);
	memset(b.from.addr, 1, size);
	memset(b.to.addr, 2, size);
	printf("{\"page_size\": %llu, \"threads\": %u, \"one_core\": %.2f, \"all_core\": %.2f, "
	       "\"one_core_nt\": %.2f, \"all_core_nt\": %.2f}\n",
		(unsigned long long)b.from.page_size, all, measure(&b, 1, true),
		measure(&b, all, true), measure(&b, 1, false), measure(&b, all, false));
	free(b.order);
	colo_memory_free(&b.from, false);
	colo_memory_free(&b.to, false);
	return 0;
}
