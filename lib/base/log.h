/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * Log lines by rte_log, one log type ("colo") for the whole program. Never from a poll core.
 */
#ifndef COLO_BASE_LOG_H
#define COLO_BASE_LOG_H

#include <rte_log.h>

extern int colo_logtype;

/** COLO_LOG(NOTICE, "words %d", 1): a whole line, the newline is added. */
#define COLO_LOG(level, format, ...) \
	rte_log(RTE_LOG_##level, colo_logtype, "colo: " format "\n", ##__VA_ARGS__)

#endif
