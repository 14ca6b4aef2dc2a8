/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * The migration stream that a standby QEMU is given at failover: blocks are listed; of those whose
 * memory is no file that the standby maps all pages are sent; then the device state. Written as
 * head, pages, end of RAM, the device sections verbatim, tail; then the sender closes.
 *
 *     head    "QEVM" be32 3
 *             07 be32 length, machine name                     configuration
 *             01 be32 id 03 "ram" be32 0 be32 4                section start
 *                be64 total|4, per block len8 name be64 length
 *                be64 0x10   7e be32 id
 *             02 be32 id                                       section part
 *     pages   be64 offset|0x08 len8 name, 4096 bytes           a block's first page
 *             be64 offset|0x28, 4096 bytes                     the next ones
 *             be64 offset|0x02 [len8 name] 00                  zeros; 0x22 without the name
 *     end     be64 0x10   7e be32 id
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

#define COLO_STREAM_HEAD_MAX   4096u /**< bytes that hold any head */
#define COLO_MIGRATION_RAM_END 31u   /**< bytes */
#define COLO_STREAM_TAIL_SIZE  5u
/** Bytes that hold any page with what goes before it. */
#define COLO_MIGRATION_PAGE_MAX (8u + 1u + COLO_BLOCK_NAME_MAX + COLO_PAGE_SIZE)
#define COLO_SAVEVM_HEADER_SIZE 8u /**< "QEVM" be32 3 */

/**
 * Write the head: machine type @p machine, all of @p blocks but the last (the device state's).
 * @return bytes written to @p out (COLO_STREAM_HEAD_MAX long), or -1 with @p err.
 */
int colo_migration_head(uint8_t *out, const char *machine, const struct colo_blocks *blocks,
	struct colo_error *err);

/** Where the pages have got to; begins with zeros. */
struct colo_migration_cursor {
	unsigned int block;
	uint32_t page;
};

/** Is the block's memory a file, which the standby maps? Its pages are not sent. */
bool colo_migration_shared(const struct colo_block *block);

/**
 * Write as many of the pages that are to be sent as @p size bytes at @p out hold (that is
 * COLO_MIGRATION_PAGE_MAX or more), in the blocks' order. A page of a piece in which nothing was
 * ever placed is known to be zeros and not read.
 * @return bytes written, 0 when there are no more.
 */
size_t colo_migration_pages(struct colo_migration_cursor *cursor, const struct colo_blocks *blocks,
	uint8_t *out, size_t size);

/** Write what ends RAM to @p out. */
void colo_migration_ram_end(uint8_t out[COLO_MIGRATION_RAM_END]);

/** Write the tail to @p out. */
void colo_migration_tail(uint8_t out[COLO_STREAM_TAIL_SIZE]);

/**
 * Check what xen-save-devices-state wrote: its header, and the 00 at its end.
 * @return 0, or -1 with @p err; the device sections are what follows COLO_SAVEVM_HEADER_SIZE.
 */
int colo_savevm_check(const uint8_t *bytes, size_t length, struct colo_error *err);

#endif
