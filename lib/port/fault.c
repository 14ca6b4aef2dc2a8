/* SPDX-License-Identifier: BSD-3-Clause */
/* A bad wire for tests: what the receive callback does to each burst of a queue. */
#include <stdbool.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_errno.h>
#include <rte_malloc.h>

#include "fault.h"
#include "text.h"
#include "wire.h"

#define MILLION	       1000000u
#define COPIES_A_QUEUE 256u /* held ones and those a receiver has not freed yet */
#define COPY_DATA_ROOM (RTE_PKTMBUF_HEADROOM + COLO_ETHER_LEN + COLO_MTU_MAX + 64u)

static int
set_drop(void *target, const char *value)
{
	return colo_parse_percent(
		value, COLO_FAULT_PERCENT_MAX, &((struct colo_fault_config *)target)->drop);
}

static int
set_burst(void *target, const char *value)
{
	uint64_t n;

	if (colo_parse_digits(value, &n) != 0 || n == 0 || n > COLO_FAULT_BURST_MAX)
		return -1;
	((struct colo_fault_config *)target)->burst = (uint32_t)n;
	return 0;
}

static int
set_dup(void *target, const char *value)
{
	return colo_parse_percent(
		value, COLO_FAULT_PERCENT_MAX, &((struct colo_fault_config *)target)->dup);
}

static int
set_reorder(void *target, const char *value)
{
	return colo_parse_percent(
		value, COLO_FAULT_PERCENT_MAX, &((struct colo_fault_config *)target)->reorder);
}

static int
set_flip(void *target, const char *value)
{
	return colo_parse_percent(
		value, COLO_FAULT_PERCENT_MAX, &((struct colo_fault_config *)target)->flip);
}

static int
set_seed(void *target, const char *value)
{
	return colo_parse_digits(value, &((struct colo_fault_config *)target)->seed);
}

int
colo_fault_parse(const char *spec, struct colo_fault_config *config, struct colo_error *err)
{
	static const struct colo_key keys[] = {
		{"drop", set_drop, "0 to 50 percent"},
		{"burst", set_burst, "1 to 64 frames in a row"},
		{"dup", set_dup, "0 to 50 percent"},
		{"reorder", set_reorder, "0 to 50 percent"},
		{"flip", set_flip, "0 to 50 percent"},
		{"seed", set_seed, "a number from 0 to 18446744073709551615"},
	};

	*config = (struct colo_fault_config){.seed = 1, .burst = 1};
	return colo_keys_parse("--fault", spec, keys, RTE_DIM(keys), config, err);
}

/* ---- poll core ---- */

static uint32_t
random_below(struct colo_fault_queue *q, uint32_t n)
{
	q->random += 0x9e3779b97f4a7c15ull;
	return (uint32_t)((colo_mix64(q->random) >> 32) * n >> 32);
}

static bool
happens(struct colo_fault_queue *q, uint32_t millionths)
{
	return millionths != 0 && random_below(q, MILLION) < millionths;
}

/** @return false if there is no room left. */
static bool
hold(struct colo_fault_queue *q, struct rte_mbuf *frame)
{
	struct colo_fault_held *h = &q->held[q->n_held];

	if (q->n_held == COLO_FAULT_HELD_MAX)
		return false;
	h->frame = frame;
	h->due_frame = q->frames + 1 + random_below(q, COLO_FAULT_HELD_FRAMES);
	h->due_tsc = rte_rdtsc() + rte_get_tsc_hz() / 1000000 * COLO_FAULT_HELD_US;
	q->n_held++;
	return true;
}

static struct rte_mbuf *
copy_of(struct colo_fault_queue *q, const struct rte_mbuf *frame)
{
	struct rte_mbuf *copy = rte_pktmbuf_copy(frame, q->pool, 0, UINT32_MAX);

	if (copy == NULL)
		q->not_done++;
	return copy;
}

static struct rte_mbuf *
flip_bit(struct colo_fault_queue *q, struct rte_mbuf *frame)
{
	struct rte_mbuf *copy = copy_of(q, frame), *segment = copy;
	uint32_t at;

	if (copy == NULL)
		return frame;
	rte_pktmbuf_free(frame);
	if (copy->pkt_len == 0)
		return copy;
	at = random_below(q, copy->pkt_len);
	for (; at >= segment->data_len; segment = segment->next)
		at -= segment->data_len;
	*rte_pktmbuf_mtod_offset(segment, uint8_t *, at) ^= (uint8_t)(1u << random_below(q, 8));
	q->flipped++;
	return copy;
}

static void
duplicate(struct colo_fault_queue *q, const struct rte_mbuf *frame)
{
	struct rte_mbuf *copy = copy_of(q, frame);

	if (copy == NULL)
		return;
	if (hold(q, copy)) {
		q->duplicated++;
		return;
	}
	rte_pktmbuf_free(copy);
	q->not_done++;
}

/**
 * Of each begun burst all frames are lost, so one begins the rarer the longer they are. A wire on
 * which little passes is not cut for as long as so many frames take.
 */
static bool
is_dropped(struct colo_fault_queue *q)
{
	if (q->burst_left > 0 && rte_rdtsc() < q->burst_until_tsc) {
		q->burst_left--;
		return true;
	}
	q->burst_left = 0;
	if (!happens(q, q->burst_begins))
		return false;
	q->bursts++;
	q->burst_left = q->config.burst - 1;
	q->burst_until_tsc = rte_rdtsc() + rte_get_tsc_hz() / 1000000 * COLO_FAULT_BURST_US;
	return true;
}

/** What becomes of a frame: NULL if it does not arrive now. */
static struct rte_mbuf *
suffer(struct colo_fault_queue *q, struct rte_mbuf *frame)
{
	q->frames++;
	if (is_dropped(q)) {
		q->dropped++;
		rte_pktmbuf_free(frame);
		return NULL;
	}
	if (happens(q, q->config.flip))
		frame = flip_bit(q, frame);
	if (happens(q, q->config.dup))
		duplicate(q, frame);
	if (happens(q, q->config.reorder)) {
		if (hold(q, frame)) {
			q->reordered++;
			return NULL;
		}
		q->not_done++;
	}
	return frame;
}

/** Append held frames that are due, as far as the burst has room; the others keep their order. */
static uint16_t
release(struct colo_fault_queue *q, struct rte_mbuf **frames, uint16_t n, uint16_t max)
{
	uint64_t now = rte_rdtsc();
	unsigned int kept = 0;

	for (unsigned int i = 0; i < q->n_held; i++) {
		const struct colo_fault_held *h = &q->held[i];

		if (n < max && (q->frames >= h->due_frame || now >= h->due_tsc))
			frames[n++] = h->frame;
		else
			q->held[kept++] = *h;
	}
	q->n_held = kept;
	return n;
}

/** ethdev calls it for empty bursts too, so that nothing is held for ever. */
static uint16_t
on_receive(uint16_t port __rte_unused, uint16_t queue __rte_unused, struct rte_mbuf *frames[],
	uint16_t n_frames, uint16_t max, void *arg)
{
	struct colo_fault_queue *q = arg;
	uint16_t n = 0;

	for (uint16_t i = 0; i < n_frames; i++) {
		struct rte_mbuf *frame = suffer(q, frames[i]);

		if (frame != NULL)
			frames[n++] = frame;
	}
	return q->n_held != 0 ? release(q, frames, n, max) : n;
}

/* ---- main lcore ---- */

static int
install_queue(struct colo_fault *f, unsigned int i, const struct colo_fault_config *config,
	struct colo_error *err)
{
	struct colo_fault_queue *q = &f->queue[i];

	q->config = *config;
	/* of frames outside of bursts, so that all lost ones together are `drop` of all */
	q->burst_begins =
		(uint32_t)((uint64_t)config->drop * MILLION /
			   (config->burst * (uint64_t)(MILLION - config->drop) + config->drop));
	q->pool = f->pool;
	q->random = colo_mix64(config->seed ^ colo_mix64((uint64_t)f->port << 16 | (i + 1)));
	q->callback = rte_eth_add_rx_callback(f->port, (uint16_t)i, on_receive, q);
	if (q->callback == NULL)
		return colo_error_set(err,
			"--fault: port %u takes no receive callback on queue %u: %s", f->port, i,
			rte_strerror(rte_errno));
	return 0;
}

int
colo_fault_install(struct colo_fault *f, uint16_t port, unsigned int n_queues,
	const struct colo_fault_config *config, struct colo_error *err)
{
	char name[32];

	memset(f, 0, sizeof(*f));
	if (n_queues > COLO_MAX_CHANNELS)
		return colo_error_set(err, "--fault: %u queues; accepted are at most %u", n_queues,
			COLO_MAX_CHANNELS);
	snprintf(name, sizeof(name), "colo_fault_%u", port);
	f->port = port;
	f->pool = rte_pktmbuf_pool_create(
		name, n_queues * COPIES_A_QUEUE, 0, 0, COPY_DATA_ROOM, rte_eth_dev_socket_id(port));
	if (f->pool == NULL)
		return colo_error_set(err, "--fault: no memory for copies of frames: %s",
			rte_strerror(rte_errno));
	for (; f->n_queues < n_queues; f->n_queues++) {
		if (install_queue(f, f->n_queues, config, err) != 0) {
			colo_fault_remove(f);
			return -1;
		}
	}
	return 0;
}

void
colo_fault_remove(struct colo_fault *f)
{
	for (unsigned int i = 0; i < f->n_queues; i++) {
		struct colo_fault_queue *q = &f->queue[i];

		rte_eth_remove_rx_callback(f->port, (uint16_t)i, q->callback);
		rte_free((void *)(uintptr_t)q->callback);
		for (unsigned int h = 0; h < q->n_held; h++)
			rte_pktmbuf_free(q->held[h].frame);
		q->n_held = 0;
	}
	f->n_queues = 0;
	rte_mempool_free(f->pool);
	f->pool = NULL;
}
