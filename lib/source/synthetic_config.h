/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * What --source synthetic,... says, checked.
 */
#ifndef COLO_SOURCE_SYNTHETIC_CONFIG_H
#define COLO_SOURCE_SYNTHETIC_CONFIG_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "colo_error.h"

#define COLO_SYNTHETIC_ALL 1000000u /**< shares are in millionths of the whole */

/** Written by the parser, read-only afterwards. */
struct colo_synthetic_config {
	uint64_t size;	/**< size=SIZE, default 1G; bytes, a multiple of 4096 */
	uint64_t dirty; /**< dirty=PAGES, or of the preset; default 600; pages an epoch */
	uint64_t seed;	/**< seed=N, default 1 */
	uint32_t zero;	/**< zero=PERCENT, default 36: share of zero pages among generated ones */
	uint32_t dirty_zero; /**< dirty-zero=PERCENT, default 0: of dirtied pages become zero */
	uint32_t compress;   /**< compress=PERCENT, default 50: of a generated page's bytes */
	uint32_t mix;	     /**< mix=PERCENT, default 100: pages from the image, if there is one */
	uint64_t device;     /**< device=BYTES, default 13000: length of the device state */
	uint32_t rest_ms;    /**< rest=MS, default 0: after a resume, before pages are dirtied */
	bool clustered;	     /**< pattern=random|clustered, default random */
	char image[PATH_MAX];		   /**< image=FILE, empty: none */
	uint64_t preset_dirty;		   /**< preset=idle|load: pages; 0: none */
	bool has_size, has_dirty, has_mix; /**< given explicitly */
};

/** Fill @p c from @p args ("key=value,..."). @return 0 or -1 with @p err. Any thread. */
int colo_synthetic_config_parse(
	struct colo_synthetic_config *c, const char *args, struct colo_error *err);

#endif
