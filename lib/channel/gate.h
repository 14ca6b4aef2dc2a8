/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * How a control core changes what its poll cores do, without a lock: it writes a new phase and
 * raises `wanted`; each poll core adopts it between two turns and says so in `at`. When all are
 * there, nothing of the old phase is going on any more.
 */
#ifndef COLO_CHANNEL_GATE_H
#define COLO_CHANNEL_GATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/** One per end; on a cache line of its own, written by the control core only. */
struct colo_gate {
	_Atomic uint32_t wanted;
} __attribute__((aligned(64)));

/** One per channel; written by its poll core only. */
struct colo_gate_seat {
	_Atomic uint32_t at;
};

/** The phase is written: let the poll cores have it. Pairs with colo_gate_changed(). */
static inline void
colo_gate_raise(struct colo_gate *g)
{
	uint32_t now = atomic_load_explicit(&g->wanted, memory_order_relaxed);

	atomic_store_explicit(&g->wanted, now + 1, memory_order_release);
}

/** Poll core: is there a phase to adopt? Then adopt it and call colo_gate_arrive(@p wanted). */
static inline bool
colo_gate_changed(struct colo_gate *g, struct colo_gate_seat *s, uint32_t *wanted)
{
	*wanted = atomic_load_explicit(&g->wanted, memory_order_acquire);
	return *wanted != atomic_load_explicit(&s->at, memory_order_relaxed);
}

/** Everything done under the old phase comes before it. Pairs with colo_gate_arrived(). */
static inline void
colo_gate_arrive(struct colo_gate_seat *s, uint32_t wanted)
{
	atomic_store_explicit(&s->at, wanted, memory_order_release);
}

/** Control core: has this channel adopted the latest phase? */
static inline bool
colo_gate_arrived(struct colo_gate *g, struct colo_gate_seat *s)
{
	return atomic_load_explicit(&s->at, memory_order_acquire) ==
	       atomic_load_explicit(&g->wanted, memory_order_relaxed);
}

#endif
