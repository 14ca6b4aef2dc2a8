/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * What is known of an epoch once it is over. Made by the control core, printed by the main lcore.
 */
#ifndef COLO_EPOCH_REPORT_H
#define COLO_EPOCH_REPORT_H

#include <stdbool.h>
#include <stdint.h>

struct colo_epoch_report {
	uint32_t epoch;
	uint8_t kind;	   /**< enum colo_epoch_kind */
	bool is_secondary; /**< made by the secondary's control core */
	uint64_t pages;	   /**< zero pages and the device state's included */
	uint64_t zero_pages;
	uint64_t wire_bytes;  /**< of page packets, retransmissions included */
	uint64_t resent;      /**< page packets sent again */
	uint32_t pause_us;    /**< guest asked to stop .. guest runs again; 0 in precopy rounds */
	uint32_t transfer_us; /**< first page picked .. last page known to be placed (END answered)
			       */
	uint32_t commit_us;   /**< secondary: last channel complete .. committed */
	uint32_t flush_us;    /**< secondary: committed .. guest memory holds it */
	bool verified;	      /**< compared with guest memory at the secondary */
	uint32_t mismatches;  /**< blocks that differed */
};

#endif
