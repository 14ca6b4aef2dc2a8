/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * Numbers and key=value lists as people write them, checked. Pure functions, any thread.
 */
#ifndef COLO_BASE_TEXT_H
#define COLO_BASE_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "colo_error.h"

/** Decimal digits and nothing else. @return 0 or -1. */
int colo_parse_digits(const char *text, uint64_t *value);

/** Sizes: "4096", "16k", "512M", "2G", "1t". @return 0 or -1. */
int colo_parse_size(const char *text, uint64_t *size);

/** Percent with up to four decimals ("5", "0.25"), in millionths: 100 is 1000000. @return 0 or -1.
 */
int colo_parse_percent(const char *text, uint32_t max_percent, uint32_t *millionths);

/** One key of a list "key=value,key=value". */
struct colo_key {
	const char *name;
	/** Check @p value and put it into @p target. @return 0 or -1. */
	int (*set)(void *target, const char *value);
	const char *accepted; /**< for the sentence: what values are */
};

/**
 * Take a list apart (rte_kvargs), in any order, each key once at most, and set what it says.
 * @p args may be empty or NULL. @p who begins the sentence, e.g. "--source synthetic".
 * @return 0, or -1 with @p err naming the key and what is accepted.
 */
int colo_keys_parse(const char *who, const char *args, const struct colo_key *keys, size_t n_keys,
	void *target, struct colo_error *err);

#endif
