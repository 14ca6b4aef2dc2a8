/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * The device state of a checkpoint travels as pages of a small extra block, so that it is inside
 * the same all-or-nothing as memory. Layout: struct colo_device_state, then `length` bytes.
 */
#ifndef COLO_GUEST_DEVICE_STATE_H
#define COLO_GUEST_DEVICE_STATE_H

#include "block.h"

#define COLO_DEVICE_STATE_MAGIC 0x434f4c4f44455632ull /* "COLODEV2" */

/** Host byte order would do for x86 only: both numbers are big-endian. */
struct colo_device_state {
	uint64_t magic;
	uint64_t length; /**< bytes that follow; 0: the source has no device state */
	/** machine type's name, filled up with 0; empty: the source does not know it */
	char machine[COLO_MACHINE_NAME_MAX + 1];
	uint8_t bytes[]; /**< QEMU's device sections, verbatim, ending in 00 */
} __attribute__((packed));

/**
 * Put @p length bytes at @p bytes into @p block's guest memory, with the name of the machine type
 * they are of ("": not known), and mark in `todo` the pages that changed. Primary, the source's
 * thread.
 * @return 0, or -1 with @p err if it does not fit, or the name has too many bytes.
 */
int colo_device_state_store(struct colo_block *block, const char *machine, const void *bytes,
	uint64_t length, struct colo_error *err);

/**
 * Find the device state in @p memory (guest memory of the secondary's block, @p size bytes).
 * @return its bytes, @p length and (if not NULL) @p machine, which both lie in @p memory; or NULL
 * with @p err if there is none or it is damaged.
 */
const uint8_t *colo_device_state_load(const uint8_t *memory, uint64_t size, const char **machine,
	uint64_t *length, struct colo_error *err);

#endif
