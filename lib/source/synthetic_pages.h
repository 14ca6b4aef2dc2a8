/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * What the synthetic guest's pages hold and which of them it dirties: functions of the seed, the
 * page's number and the set's number alone, so that a run can be repeated.
 */
#ifndef COLO_SOURCE_SYNTHETIC_PAGES_H
#define COLO_SOURCE_SYNTHETIC_PAGES_H

#include <stdbool.h>
#include <stdint.h>

#include "synthetic_config.h"

#define COLO_SYNTHETIC_CLUSTER 64u /**< pages: pattern=clustered dirties so many in a row */

/** Written by open(), read-only until close(). */
struct colo_synthetic_pages {
	const struct colo_synthetic_config *config;
	int image_fd;	      /**< -1: no image */
	uint64_t image_pages; /**< whole pages of it */
};

/** Open the image, if the configuration names one. @return 0 or -1 with @p err. */
int colo_synthetic_pages_open(struct colo_synthetic_pages *p,
	const struct colo_synthetic_config *config, struct colo_error *err);
void colo_synthetic_pages_close(struct colo_synthetic_pages *p);

/**
 * Make the contents of @p page (counted over all blocks) as of set @p set (0: at start) at @p out,
 * 4096 bytes, 8-byte aligned. May read the image (a system call).
 * @return false if the page is all zeros, and @p out was not written.
 */
bool colo_synthetic_pages_make(
	const struct colo_synthetic_pages *p, uint64_t page, uint32_t set, uint8_t *out);

/** The walk over the pages of a set: each page once, in an order that the seed decides. */
struct colo_synthetic_walk {
	uint64_t n_pages;
	uint64_t key;
	uint32_t cluster; /**< pages in a row */
	uint64_t n_clusters;
	uint64_t next_cluster; /**< not yet permuted */
	uint64_t page;	       /**< next page of the present cluster */
	uint64_t cluster_end;
	uint64_t left; /**< pages still to come */
};

/** Begin set @p set (from 1 on) of a guest of @p n_pages, which are at least config->dirty. */
void colo_synthetic_walk_begin(struct colo_synthetic_walk *w,
	const struct colo_synthetic_config *config, uint64_t n_pages, uint32_t set);
/** @return false when the set is over. */
bool colo_synthetic_walk_next(struct colo_synthetic_walk *w, uint64_t *page);

#endif
