/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * A session's blocks at the secondary. The operator names those whose memory a standby shares; a
 * QEMU has more (VGA memory, ROMs, ACPI tables), which only its primary's hello lists. Those are
 * made here, unnamed, when a session begins, within the limits set at start.
 *
 * The wire's index of a block is the primary's, so the blocks are put in the primary's order as
 * well; the device state's stays the last.
 *
 * Invariant 8, caches and bitmaps outlive every channel that can write them: blocks are moved,
 * made and freed by the control core alone, between two sessions, when every poll core has arrived
 * at a phase without a session and no job is on. A poll core looks at blocks only for a frame of a
 * session or for a piece of a job, and the gate of the next phase (and the post of the next job)
 * shows it the new ones. Whoever else looks at them (a prompt, an adapter's thread) has a copy.
 */
#ifndef COLO_GUEST_EXTRA_H
#define COLO_GUEST_EXTRA_H

#include "block.h"

/** A block as the primary lists it; the name ends in a NUL. */
struct colo_listed_block {
	const char *name;
	uint64_t size;
};

/**
 * May a session with these @p n blocks begin? Every block that is no extra one must be listed with
 * its size, the device state's last, and the others must be within @p b's rules. Changes nothing.
 * @return 0, or -1 with @p err.
 */
int colo_extra_check(const struct colo_blocks *b, const struct colo_listed_block *list,
	unsigned int n, struct colo_error *err);

/**
 * Make the blocks those of @p list, which colo_extra_check() has taken, in its order. An extra
 * block that fits stays, one that does not is freed. What an extra block holds afterwards is not
 * said: colo_blocks_reset() empties it.
 * @return 0, or -1 with @p err (not enough memory): there are no extra blocks then.
 */
int colo_extra_adopt(struct colo_blocks *b, const struct colo_listed_block *list, unsigned int n,
	struct colo_error *err);

/** Pieces that extra blocks may have, at most. */
uint32_t colo_extra_pieces(const struct colo_blocks *b);

#endif
