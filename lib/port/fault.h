/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * A test hook: a bad wire. Receive callbacks on a port's queues drop, damage, duplicate and hold
 * back frames before a poll core sees them, at stated rates, from a seed.
 */
#ifndef COLO_PORT_FAULT_H
#define COLO_PORT_FAULT_H

#include <stdint.h>

#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include "bounds.h"
#include "colo_error.h"

#define COLO_FAULT_PERCENT_MAX 50u   /**< of each kind: more is a cut wire, not a bad one */
#define COLO_FAULT_HELD_MAX    32u   /**< frames of a queue held back at a time */
#define COLO_FAULT_HELD_FRAMES 24u   /**< a held frame is passed by at most so many, */
#define COLO_FAULT_HELD_US     200u  /**< or held so long where nothing else arrives */
#define COLO_FAULT_BURST_MAX   64u   /**< frames that are lost in a row */
#define COLO_FAULT_BURST_US    2000u /**< a burst is over by then, however few frames came */

/** Rates are in millionths of the frames received. */
struct colo_fault_config {
	uint32_t drop;
	uint32_t burst;	  /**< frames that `drop` takes in a row, 1: each by itself */
	uint32_t dup;	  /**< a copy arrives as well, later */
	uint32_t reorder; /**< held back and released in a later burst */
	uint32_t
		flip; /**< one bit of the frame (of a copy: the original may be the guest's page) */
	uint64_t seed;
};

struct colo_fault_held {
	struct rte_mbuf *frame;
	uint64_t due_frame; /**< count of frames received */
	uint64_t due_tsc;
};

/** A queue's: its poll core's alone, others may read the counters. */
struct colo_fault_queue {
	struct colo_fault_config config;
	struct rte_mempool *pool; /**< copies are made in it */
	uint64_t random;	  /**< state of the generator */
	uint64_t frames;	  /**< received so far */
	uint32_t burst_begins;	  /**< millionths of the frames that are in none */
	uint32_t burst_left;	  /**< frames of the burst that is on */
	uint64_t burst_until_tsc; /**< when it is over */
	unsigned int n_held;
	struct colo_fault_held held[COLO_FAULT_HELD_MAX];
	uint64_t dropped, duplicated, reordered, flipped;
	uint64_t bursts;   /**< begun; each frame of them is in `dropped` */
	uint64_t not_done; /**< chosen, but nothing could be held or copied: passed as it was */
	const struct rte_eth_rxtx_callback *callback; /**< main lcore's */
} __attribute__((aligned(64)));

/** All zeros: not installed. */
struct colo_fault {
	uint16_t port;
	unsigned int n_queues;
	struct rte_mempool *pool;
	struct colo_fault_queue queue[COLO_MAX_CHANNELS];
};

/**
 * "drop=P,burst=N,dup=P,reorder=P,flip=P,seed=N", P in percent from 0 to 50; what is not given is
 * 0, burst and seed 1. @return 0 or -1 with @p err. Any thread.
 */
int colo_fault_parse(const char *spec, struct colo_fault_config *config, struct colo_error *err);

/**
 * Put callbacks on receive queues 0 .. @p n_queues-1 of a configured port. Main lcore, while no
 * poll core receives. @return 0 or -1 with @p err.
 */
int colo_fault_install(struct colo_fault *f, uint16_t port, unsigned int n_queues,
	const struct colo_fault_config *config, struct colo_error *err);

/** Take them off and free what is held. Main lcore, once no poll core receives. Safe to repeat. */
void colo_fault_remove(struct colo_fault *f);

#endif
