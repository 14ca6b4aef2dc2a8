/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * Every limit that more than one folder needs, in one place.
 */
#ifndef COLO_BASE_BOUNDS_H
#define COLO_BASE_BOUNDS_H

#define COLO_PAGE_SHIFT 12
#define COLO_PAGE_SIZE	4096u /**< bytes; QEMU's target page on x86 */

/** A piece: what one huge page holds, one cache line of dirty bitmap, one claim of a poll core. */
#define COLO_PIECE_SHIFT 21
#define COLO_PIECE_SIZE	 (1u << COLO_PIECE_SHIFT)
#define COLO_PIECE_PAGES 512u
#define COLO_PIECE_WORDS 8u /**< 64-bit words of dirty bitmap of a piece: one cache line */

#define COLO_MAX_CHANNELS   16u /**< as QEMU's multifd has; net_ring has 16 queues as well */
#define COLO_MAX_BLOCKS	    32u /**< with the device state's */
#define COLO_BLOCK_NAME_MAX 63u /**< bytes, without NUL */
#define COLO_MAX_BLOCK_SIZE                                                  \
	(1ull << 42) /**< 4 TiB: page numbers fit 32 bits with room to spare \
		      */

#define COLO_MACHINE_NAME_MAX 63u /**< bytes of a machine type's name, without NUL */

/** Block that carries the device state; made by us, no --block may have this name. */
#define COLO_DEVICE_BLOCK_NAME	  "colo.device-state"
#define COLO_DEVICE_BLOCK_DEFAULT (4u << 20) /**< bytes */

#endif
