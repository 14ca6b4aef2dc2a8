/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * The migration stream that a standby QEMU is given at failover: blocks are listed, none of their
 * pages is sent (they are in memory that the standby maps), then the device state. Written as
 * head, the device sections verbatim, tail; then the sender closes.
 *
 *     head    "QEVM" be32 3
 *             07 be32 length, machine name                     configuration
 *             01 be32 id 03 "ram" be32 0 be32 4                section start
 *                be64 total|4, per block len8 name be64 length
 *                be64 0x10   7e be32 id
 *             02 be32 id be64 0x10 7e be32 id                  section part
 *             03 be32 id be64 0x10 7e be32 id                  section end
 *     device  04 ... 00                                        sections and end of file
 *     tail    06 be32 0                                        an empty description
 */
#ifndef COLO_QEMU_MIGRATION_STREAM_H
#define COLO_QEMU_MIGRATION_STREAM_H

#include <stddef.h>
#include <stdint.h>

#include "block.h"
#include "colo_error.h"

#define COLO_STREAM_HEAD_MAX	4096u /**< bytes that hold any head */
#define COLO_STREAM_TAIL_SIZE	5u
#define COLO_SAVEVM_HEADER_SIZE 8u /**< "QEVM" be32 3 */

/**
 * Write the head: machine type @p machine, all of @p blocks but the last (the device state's).
 * @return bytes written to @p out (COLO_STREAM_HEAD_MAX long), or -1 with @p err.
 */
int colo_migration_head(uint8_t *out, const char *machine, const struct colo_blocks *blocks,
	struct colo_error *err);

/** Write the tail to @p out. */
void colo_migration_tail(uint8_t out[COLO_STREAM_TAIL_SIZE]);

/**
 * Check what xen-save-devices-state wrote: its header, and the 00 at its end.
 * @return 0, or -1 with @p err; the device sections are what follows COLO_SAVEVM_HEADER_SIZE.
 */
int colo_savevm_check(const uint8_t *bytes, size_t length, struct colo_error *err);

#endif
