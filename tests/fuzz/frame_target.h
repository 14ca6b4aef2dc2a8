/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames from the wire in turns of a receiver: outer headers, header, records, contents, with and
 * without the seal. The input: u8 options, then frames (fuzz_rig.h).
 *
 * Checked after each frame, against memory as it was before: it ends in exactly one counter;
 * without the peer's seal it is not placed; if it was not placed nothing has changed; if it was,
 * only pages that are recorded, and in a checkpoint no byte of guest memory; no mbuf is lost.
 */
#ifndef COLO_FRAME_TARGET_H
#define COLO_FRAME_TARGET_H

#include "fuzz_rig.h"

enum option {
	OPTION_IPV6 = 0x01,	 /* not sealed: IPv6 and the smallest MTU, so pages come in parts */
	OPTION_PRECOPY = 0x02,	 /* pages go to guest memory as well */
	OPTION_UNTOUCHED = 0x04, /* no page was placed before: memory is zeros */
	OPTION_NO_EPOCH = 0x08,
	OPTION_NO_SESSION = 0x10, /* it is over */
};

#define FUZZ_MEMORY ((FUZZ_PAGES + 1) * COLO_PAGE_SIZE)

static struct {
	struct ut_rig *rig[2]; /* IPv4, IPv6 */
	struct ut_rig *now;
	struct colo_receiver *r;
	struct colo_sender *peer;
	struct rte_mempool *pool;
	struct colo_counters counters;
	uint64_t digest, pages, cum, packet_number;
	uint8_t cache[FUZZ_MEMORY], guest[FUZZ_MEMORY]; /* before */
} t;

static inline void
frame_target_start(bool sealed)
{
	ut_eal_start(512);
	t.rig[0] = fuzz_rig_new(4, 4200 + (sealed ? COLO_SEAL_TAG_LEN : 0), sealed);
	/* one crypto device: sealed frames are of one kind */
	t.rig[1] = sealed ? t.rig[0] : fuzz_rig_new(6, COLO_MTU_MIN, false);
	for (unsigned int i = 0; i < 2; i++)
		colo_send_poll(t.rig[i]->send.channel[0]); /* adopts: its template is the peer's */
}

/* Memory as an input finds it; what was placed before cannot be zeros. */
static void
fill_memory(uint8_t options)
{
	bool untouched = options & OPTION_UNTOUCHED;

	for (unsigned int i = 0; i < FUZZ_BLOCKS; i++) {
		struct colo_block *b = &t.now->blocks[1].block[i];

		memset(b->cache.addr, untouched ? 0 : 0xcc, b->size);
		memset(b->guest.addr, untouched ? 0 : 0x99, b->size);
		memset(b->touched, !untouched, b->n_pieces);
		for (unsigned int c = 0; c < t.now->o.n_channels; c++)
			colo_dirty_clear(&b->recorded[c]);
	}
}

static void
begin(uint8_t options)
{
	struct colo_receive_phase *phase;

	t.now = t.rig[options & OPTION_IPV6];
	t.r = t.now->receive.channel[0];
	t.peer = t.now->send.channel[0];
	t.pool = t.now->port[1].tx_pool;
	t.packet_number = 0;
	fill_memory(options);
	phase = &t.now->receive.phase;
	phase->session = true;
	phase->epoch = options & OPTION_NO_EPOCH ? 0 : FUZZ_EPOCH;
	phase->kind = options & OPTION_PRECOPY ? COLO_EPOCH_PRECOPY : COLO_EPOCH_CHECKPOINT;
	t.r->filter.session = 0; /* so that the session is a new one */
	colo_gate_raise(&t.now->receive.gate);
	colo_receive_poll(t.r);
	if (!(options & OPTION_NO_SESSION))
		return;
	phase->session = false;
	phase->epoch = 0;
	colo_gate_raise(&t.now->receive.gate);
	colo_receive_poll(t.r);
}

static void
copy_memory(uint8_t *cache, uint8_t *guest)
{
	for (unsigned int i = 0; i < FUZZ_BLOCKS; i++) {
		const struct colo_block *b = &t.now->blocks[1].block[i];

		memcpy(cache, b->cache.addr, b->size);
		memcpy(guest, b->guest.addr, b->size);
		cache += b->size;
		guest += b->size;
	}
}

static void
remember(void)
{
	copy_memory(t.cache, t.guest);
	t.counters = t.r->counters;
	t.digest = t.r->digest;
	t.pages = t.r->pages;
	t.cum = t.r->window.cum;
}

/* @return the one outcome that was counted. */
static enum colo_counter
outcome(void)
{
	enum colo_counter which = COLO_N_COUNTERS;

	for (unsigned int i = COLO_rx_placed; i <= COLO_drop_handover_full; i++) {
		if (t.r->counters.n[i] == t.counters.n[i])
			continue;
		FUZZ_CHECK(which == COLO_N_COUNTERS);
		FUZZ_CHECK(t.r->counters.n[i] == t.counters.n[i] + 1);
		which = i;
	}
	FUZZ_CHECK(which != COLO_N_COUNTERS);
	return which;
}

static void
check_page(const struct colo_block *b, uint32_t page, const uint8_t *old_cache,
	const uint8_t *old_guest, bool placed)
{
	const uint8_t *cache = colo_page_addr(&b->cache, page);
	const uint8_t *guest = colo_page_addr(&b->guest, page);
	bool cache_same = memcmp(cache, old_cache, COLO_PAGE_SIZE) == 0;
	bool guest_same = memcmp(guest, old_guest, COLO_PAGE_SIZE) == 0;

	if (cache_same && guest_same)
		return;
	FUZZ_CHECK(placed);
	if (t.r->kind == COLO_EPOCH_CHECKPOINT) {
		FUZZ_CHECK(guest_same); /* invariant 1 */
		FUZZ_CHECK(colo_dirty_get(&b->recorded[t.r->id], page));
		return;
	}
	for (unsigned int i = 0; i < COLO_PAGE_SIZE; i++)
		FUZZ_CHECK(guest[i] == old_guest[i] || guest[i] == cache[i]);
}

static void
check_memory(bool placed)
{
	const uint8_t *cache = t.cache, *guest = t.guest;

	for (unsigned int i = 0; i < FUZZ_BLOCKS; i++) {
		const struct colo_block *b = &t.now->blocks[1].block[i];

		for (uint32_t page = 0; page < b->n_pages; page++) {
			check_page(b, page, cache, guest, placed);
			cache += COLO_PAGE_SIZE;
			guest += COLO_PAGE_SIZE;
		}
	}
}

/* What can be wrong with a frame that is not the peer's: nothing behind the seal was looked at. */
static bool
is_before_seal(enum colo_counter c)
{
	switch (c) {
	case COLO_drop_foreign:
	case COLO_drop_short:
	case COLO_drop_length:
	case COLO_drop_version:
	case COLO_drop_type:
	case COLO_drop_session:
	case COLO_drop_channel:
	case COLO_drop_records:
	case COLO_drop_replay:
	case COLO_drop_seal:
		return true;
	default:
		return false;
	}
}

static void
check_frame(bool genuine)
{
	enum colo_counter got = outcome();
	bool placed = got == COLO_rx_placed;

	FUZZ_CHECK(genuine || is_before_seal(got));
	FUZZ_CHECK(t.r->epoch != 0 || !placed);
	FUZZ_CHECK(t.r->session || got == COLO_drop_session);
	check_memory(placed);
	if (!placed) {
		FUZZ_CHECK(t.r->digest == t.digest && t.r->pages == t.pages);
		FUZZ_CHECK(t.r->window.cum == t.cum);
	}
	FUZZ_CHECK(t.r->window.cum >= t.cum);
	FUZZ_CHECK(t.r->window.highest <= t.r->window.credit);
	FUZZ_CHECK(atomic_load(&t.r->progress.cum) == t.r->window.cum);
}

static void
mend(struct fuzz_frame *f)
{
	bool sealed = t.now->o.sealed;
	struct colo_header *h = fuzz_frame_header(f);

	if (!fuzz_frame_has_header(f, sealed))
		return;
	if (f->mend & MEND_HEADER)
		fuzz_mend_header(f, &t.peer->template, COLO_FRAME_PAGE);
	if (f->mend & MEND_NUMBERS) {
		h->epoch = RTE_BE32(FUZZ_EPOCH);
		h->slot = rte_cpu_to_be_32((uint32_t)t.r->window.cum);
		h->packet_number = rte_cpu_to_be_64(++t.packet_number);
	}
	if (f->mend & MEND_CONTENTS)
		fuzz_mend_contents(f);
	if ((f->mend & MEND_CRC) && sealed)
		fuzz_frame_seal(f, &t.peer->seal, t.now->port[0].tx_pool);
	else if (f->mend & MEND_CRC)
		fuzz_mend_crc(f);
}

static void
receive(const struct fuzz_frame *f)
{
	struct rte_ring *ring =
		f->mend & MEND_OTHER_QUEUE ? t.now->receive.handover[0] : t.now->in[1][0];
	struct rte_ring *other = t.now->receive.handover[1];

	remember();
	FUZZ_CHECK(rte_ring_enqueue(ring, fuzz_frame_mbuf(f, t.pool)) == 0);
	colo_receive_poll(t.r);
	if (rte_ring_count(other) == 0) {
		check_frame(f->genuine || !t.now->o.sealed);
		return;
	}
	/* by its port it is the other channel's: that one's poll core looks at it */
	fuzz_ring_empty(other);
	check_memory(false);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};

	begin(fuzz_u8(&in));
	for (unsigned int n = 0; in.left > 0 && n < FUZZ_FRAMES_MAX; n++) {
		struct fuzz_frame f;

		fuzz_frame_take(&in, &t.peer->template, t.now->o.sealed, &f);
		if (f.length == 0)
			continue;
		mend(&f);
		receive(&f);
	}
	fuzz_rig_check_empty(t.now);
	return 0;
}

#endif
