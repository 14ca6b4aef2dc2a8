/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * The versions that colo_page_init() chooses from. Calling one that the CPU lacks is an illegal
 * instruction: ask colo_page_supported() first.
 */
#ifndef COLO_PAGE_VERSIONS_H
#define COLO_PAGE_VERSIONS_H

#include "page.h"

extern const struct colo_page_ops colo_page_portable;
extern const struct colo_page_ops colo_page_avx2;
extern const struct colo_page_ops colo_page_avx512;

/** What every version has for `equal`. */
bool colo_page_equal(const void *a, const void *b);

/** @return whether this CPU can run @p ops. */
bool colo_page_supported(const struct colo_page_ops *ops);

#endif
