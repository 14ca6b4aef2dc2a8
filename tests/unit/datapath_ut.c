/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Real senders and receivers, one wire, one thread: whatever the codec, MTU, channels, addresses
 * and faults of the wire, the cache becomes what the primary sent, byte for byte, and nothing else
 * changes. The test plays the control cores; its wire drops, doubles, reorders and damages frames.
 */
#include "clock.h"
#include "ut_rig.h"

#define DEADLINE_US 20000000u /* of one epoch: far above what a busy machine needs */
#define HELD_MAX    4096u

/* In 1000ths of all frames. */
struct faults {
	unsigned int drop, twice, swap, flip;
	unsigned int flip_from; /* first byte of a frame that may be damaged */
};

static struct {
	struct ut_rig *rig;
	struct faults faults;
	uint64_t random;
	uint8_t *model[COLO_MAX_BLOCKS]; /* what the secondary's guest memory must hold */
	uint64_t delivered[2];		 /* frames put into an end's way in */
	struct rte_mempool *copies;
	struct rte_mbuf *held[HELD_MAX]; /* copies of page packets, for a replay */
	unsigned int n_held;
	bool hold;
	unsigned int shift; /* frames of channel c come on queue c + shift */
	bool given_up;	    /* an epoch was: drops are right, and not all is placed */
	bool zstd;
	int zstd_level;
} t;

static uint64_t
random_next(void)
{
	t.random ^= t.random << 13;
	t.random ^= t.random >> 7;
	t.random ^= t.random << 17;
	return t.random;
}

static bool
chance(unsigned int in_1000)
{
	return random_next() % 1000 < in_1000;
}

/* ---- contents ---- */

static void
fill_page(uint8_t *page)
{
	unsigned int kind = random_next() % 4;

	memset(page, 0, COLO_PAGE_SIZE);
	if (kind == 0)
		return;
	for (unsigned int i = 0; i < COLO_PAGE_SIZE; i += 8) {
		uint64_t value = random_next();

		if (kind == 1) /* compresses well */
			value &= 0x0000000100000001ull;
		if (kind == 2 && i >= COLO_PAGE_SIZE / 2) /* by half */
			value = 0x2020202020202020ull;
		memcpy(page + i, &value, 8);
	}
	page[random_next() % COLO_PAGE_SIZE] |= 1;
}

static void
dirty_page(unsigned int block, uint32_t page)
{
	struct colo_block *b = &t.rig->blocks[0].block[block];

	fill_page(colo_page_addr(&b->guest, page));
	colo_dirty_set(&b->todo, page);
}

/* Single pages, neighbours, a run that becomes zeros, and both ends of each block. */
static void
dirty_some(void)
{
	for (unsigned int i = 0; i < t.rig->blocks[0].n; i++) {
		struct colo_block *b = &t.rig->blocks[0].block[i];

		for (uint32_t page = 0; page < b->n_pages; page++)
			if (page == 0 || page == b->n_pages - 1 || chance(100))
				dirty_page(i, page);
		for (uint32_t page = b->n_pages / 2; page < b->n_pages / 2 + b->n_pages / 8;
			page++) {
			memset(colo_page_addr(&b->guest, page), 0, COLO_PAGE_SIZE);
			colo_dirty_set(&b->todo, page);
		}
	}
}

static void
dirty_all(void)
{
	for (unsigned int i = 0; i < t.rig->blocks[0].n; i++)
		for (uint32_t page = 0; page < t.rig->blocks[0].block[i].n_pages; page++)
			dirty_page(i, page);
}

/* ---- the wire ---- */

static void
put(unsigned int end, unsigned int channel, struct rte_mbuf *m)
{
	t.delivered[end]++;
	CU_ASSERT_EQUAL_FATAL(rte_ring_enqueue(t.rig->in[end][channel], m), 0);
}

static struct rte_mbuf *
copy_frame(struct rte_mbuf *m)
{
	struct rte_mbuf *copy = rte_pktmbuf_copy(m, t.copies, 0, UINT32_MAX);

	CU_ASSERT_PTR_NOT_NULL_FATAL(copy);
	return copy;
}

static void
hold(struct rte_mbuf *m)
{
	if (t.hold && t.n_held < HELD_MAX)
		t.held[t.n_held++] = copy_frame(m);
}

static struct rte_mbuf *
damage(struct rte_mbuf *m)
{
	struct rte_mbuf *copy = copy_frame(m);
	uint32_t from = t.faults.flip_from * 8u;
	uint32_t bit = from + random_next() % (copy->data_len * 8u - from);

	rte_pktmbuf_mtod(copy, uint8_t *)[bit / 8] ^= 1u << (bit % 8);
	rte_pktmbuf_free(m);
	return copy;
}

static void
carry_one(unsigned int end, unsigned int channel, struct rte_mbuf *m)
{
	if (end == 1)
		hold(m);
	if (chance(t.faults.drop)) {
		rte_pktmbuf_free(m);
		return;
	}
	if (chance(t.faults.twice))
		put(end, (channel + t.shift) % t.rig->o.n_channels, copy_frame(m));
	if (chance(t.faults.flip))
		m = damage(m);
	put(end, (channel + t.shift) % t.rig->o.n_channels, m);
}

static void
carry(void)
{
	struct rte_mbuf *m[UT_RIG_RING];

	for (unsigned int end = 0; end < 2; end++) {
		for (unsigned int c = 0; c < t.rig->o.n_channels; c++) {
			unsigned int n = rte_ring_dequeue_burst(
				t.rig->out[1 - end][c], (void **)m, UT_RIG_RING, NULL);

			for (unsigned int i = 0; i + 1 < n; i++) {
				unsigned int j = i + 1 + random_next() % RTE_MIN(n - i - 1, 8u);

				if (chance(t.faults.swap))
					RTE_SWAP(m[i], m[j]);
			}
			for (unsigned int i = 0; i < n; i++)
				carry_one(end, c, m[i]);
		}
	}
}

/* ---- the control cores ---- */

static void
turn(void)
{
	ut_rig_turn(t.rig);
	carry();
}

static void
raise_and_wait(void)
{
	colo_gate_raise(&t.rig->send.gate);
	colo_gate_raise(&t.rig->receive.gate);
	turn();
	for (unsigned int c = 0; c < t.rig->o.n_channels; c++) {
		CU_ASSERT_TRUE(colo_gate_arrived(&t.rig->send.gate, &t.rig->send.channel[c]->seat));
		CU_ASSERT_TRUE(
			colo_gate_arrived(&t.rig->receive.gate, &t.rig->receive.channel[c]->seat));
	}
}

static void
list_todo(void)
{
	struct colo_outbox *box = &t.rig->send.outbox;

	box->list.n = 0;
	for (unsigned int i = 0; i < t.rig->blocks[0].n; i++) {
		struct colo_dirty *d = &t.rig->blocks[0].block[i].todo;

		colo_piece_list_add(&box->list, i, d->summary, d->n_summary);
		memset(d->summary, 0, d->n_summary * 8);
	}
	atomic_store(&box->next, 0);
}

static void
open_epoch(uint32_t epoch, enum colo_epoch_kind kind)
{
	list_todo();
	t.rig->receive.phase.epoch = epoch;
	t.rig->receive.phase.kind = kind;
	t.rig->send.phase.epoch = epoch;
	t.rig->send.phase.zstd = t.zstd;
	t.rig->send.phase.zstd_level = t.zstd_level;
	raise_and_wait();
}

static bool
channel_complete(unsigned int c, uint32_t epoch)
{
	const struct colo_send_progress *sent = &t.rig->send.channel[c]->progress;
	const struct colo_receive_progress *placed = &t.rig->receive.channel[c]->progress;

	return sent->epoch_sent == epoch && placed->cum >= sent->end_slot;
}

static bool
complete(uint32_t epoch)
{
	for (unsigned int c = 0; c < t.rig->o.n_channels; c++)
		if (!channel_complete(c, epoch))
			return false;
	return true;
}

/* Every channel's sums agree, and together they are the pages that were dirty. */
static void
check_sums(uint64_t pages)
{
	uint64_t sum = 0;

	for (unsigned int c = 0; c < t.rig->o.n_channels; c++) {
		const struct colo_send_progress *sent = &t.rig->send.channel[c]->progress;
		const struct colo_receive_progress *placed = &t.rig->receive.channel[c]->progress;

		CU_ASSERT_EQUAL(placed->cum, sent->end_slot);
		CU_ASSERT_EQUAL(placed->pages, sent->pages);
		CU_ASSERT_EQUAL(placed->zero_pages, sent->zero_pages);
		CU_ASSERT_EQUAL(placed->digest, sent->digest);
		CU_ASSERT_TRUE(placed->wire_bytes <= sent->wire_bytes);
		sum += placed->pages;
	}
	CU_ASSERT_EQUAL(sum, pages);
}

static uint64_t
todo_pages(void)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < t.rig->blocks[0].n; i++)
		n += colo_dirty_count(&t.rig->blocks[0].block[i].todo);
	return n;
}

static void
transfer(uint32_t epoch, enum colo_epoch_kind kind)
{
	uint64_t pages = todo_pages(), start = colo_now_us();

	open_epoch(epoch, kind);
	while (!complete(epoch) && colo_now_us() - start < DEADLINE_US)
		turn();
	CU_ASSERT_TRUE_FATAL(complete(epoch));
	t.rig->send.phase.epoch = 0;
	t.rig->receive.phase.epoch = 0;
	raise_and_wait();
	check_sums(pages);
}

/* ---- what must hold ---- */

static void
check_cache(void)
{
	for (unsigned int i = 0; i < t.rig->blocks[0].n; i++)
		CU_ASSERT_EQUAL(memcmp(t.rig->blocks[0].block[i].guest.addr,
					t.rig->blocks[1].block[i].cache.addr,
					t.rig->blocks[0].block[i].size),
			0);
}

static void
check_guest(void)
{
	for (unsigned int i = 0; i < t.rig->blocks[1].n; i++)
		CU_ASSERT_EQUAL(memcmp(t.rig->blocks[1].block[i].guest.addr, t.model[i],
					t.rig->blocks[1].block[i].size),
			0);
}

/* What was sent is what guest memory must hold from now on. */
static void
model_take(void)
{
	for (unsigned int i = 0; i < t.rig->blocks[0].n; i++)
		memcpy(t.model[i], t.rig->blocks[0].block[i].guest.addr,
			t.rig->blocks[0].block[i].size);
}

/* A flush as naive as can be: recorded pages are enough to make guest memory what was sent. */
static void
flush(void)
{
	for (unsigned int i = 0; i < t.rig->blocks[1].n; i++) {
		struct colo_block *b = &t.rig->blocks[1].block[i];

		for (unsigned int c = 0; c < t.rig->o.n_channels; c++) {
			for (uint32_t page = 0; page < b->n_pages; page++)
				if (colo_dirty_get(&b->recorded[c], page))
					memcpy(colo_page_addr(&b->guest, page),
						colo_page_addr(&b->cache, page), COLO_PAGE_SIZE);
			colo_dirty_clear(&b->recorded[c]);
		}
	}
	model_take();
	check_guest();
}

static void
check_nothing_recorded(void)
{
	for (unsigned int i = 0; i < t.rig->blocks[1].n; i++)
		for (unsigned int c = 0; c < t.rig->o.n_channels; c++)
			CU_ASSERT_EQUAL(
				colo_dirty_count(&t.rig->blocks[1].block[i].recorded[c]), 0);
}

static uint64_t
sum_counters(bool receive, enum colo_counter first, enum colo_counter last)
{
	uint64_t sum = 0;

	for (unsigned int c = 0; c < t.rig->o.n_channels; c++)
		for (unsigned int i = first; i <= last; i++)
			sum += receive ? t.rig->receive.channel[c]->counters.n[i]
				       : t.rig->send.channel[c]->counters.n[i];
	return sum;
}

/* Every frame that came ends in exactly one counter; with a clean wire none is dropped. */
static void
check_counters(void)
{
	uint64_t dropped = sum_counters(true, COLO_drop_foreign, COLO_drop_handover_full) +
			   sum_counters(false, COLO_drop_foreign, COLO_drop_handover_full);

	CU_ASSERT_EQUAL(sum_counters(true, COLO_rx_placed, COLO_drop_handover_full) -
				sum_counters(true, COLO_rx_handed_over, COLO_rx_handed_over),
		t.delivered[1]);
	CU_ASSERT_EQUAL(sum_counters(false, COLO_rx_feedback, COLO_drop_handover_full) -
				sum_counters(false, COLO_rx_handed_over, COLO_rx_handed_over),
		t.delivered[0]);
	if (t.given_up)
		return;
	if (t.faults.flip == 0)
		CU_ASSERT_EQUAL(dropped, 0);
	CU_ASSERT_EQUAL(sum_counters(true, COLO_rx_placed, COLO_rx_placed) +
				sum_counters(false, COLO_tx_resent, COLO_tx_resent),
		sum_counters(false, COLO_tx_packets, COLO_tx_packets));
}

/* ---- runs ---- */

static void
begin(const struct ut_rig_options *o, const struct faults *faults)
{
	t.rig = ut_rig_new(o);
	t.faults = *faults;
	t.delivered[0] = t.delivered[1] = 0;
	t.n_held = 0;
	t.hold = false;
	t.shift = 0;
	t.given_up = false;
	for (unsigned int i = 0; i < o->n_blocks; i++) {
		t.model[i] = calloc(1, o->block_size[i]);
		CU_ASSERT_PTR_NOT_NULL_FATAL(t.model[i]);
	}
}

/* Frames under way come to rest: what the receivers' timers still make them say, too. */
static void
settle(void)
{
	uint64_t start = colo_now_us();

	for (unsigned int i = 0; i < 100 || colo_now_us() - start < 2000; i++)
		turn();
	ut_rig_turn(t.rig); /* what was carried last is taken */
}

static void
end(void)
{
	settle();
	check_counters();
	for (unsigned int i = 0; i < t.rig->o.n_blocks; i++)
		free(t.model[i]);
	rte_pktmbuf_free_bulk(t.held, t.n_held);
	ut_rig_free(t.rig);
}

static void
run(const struct ut_rig_options *o, const struct faults *faults, bool zstd)
{
	t.zstd = zstd;
	t.zstd_level = 1;
	begin(o, faults);
	dirty_all();
	transfer(1, COLO_EPOCH_PRECOPY);
	check_cache();
	model_take();
	check_guest();
	dirty_some();
	transfer(2, COLO_EPOCH_PRECOPY);
	check_cache();
	model_take();
	check_guest();
	check_nothing_recorded();
	for (uint32_t epoch = 3; epoch < 6; epoch++) {
		dirty_some();
		transfer(epoch, COLO_EPOCH_CHECKPOINT);
		check_cache();
		check_guest();
		flush();
	}
	end();
}

static const struct ut_rig_options base = {
	.mtu = 4200,
	.ip_version = 4,
	.n_channels = 2,
	.window = 64,
	.n_blocks = 3,
	/* pieces and a bit; less than a piece; one page */
	.block_size = {2 * COLO_PIECE_SIZE + 5 * COLO_PAGE_SIZE, 33 * COLO_PAGE_SIZE,
		COLO_PAGE_SIZE},
};

static const struct faults no_faults;

static void
every_mtu_and_channels_of(struct ut_rig_options o, unsigned int ip_version, bool zero_copy,
	bool zstd, const struct faults *faults)
{
	static const uint32_t mtu[] = {1280, 1500, 4200, 9000};

	o.ip_version = ip_version;
	o.zero_copy = zero_copy;
	for (unsigned int i = 0; i < RTE_DIM(mtu); i++) {
		for (o.n_channels = 1; o.n_channels <= 4; o.n_channels *= 2) {
			o.mtu = mtu[i];
			run(&o, faults, zstd);
		}
	}
}

static void
every_mtu_and_channels(
	unsigned int ip_version, bool zero_copy, bool zstd, const struct faults *faults)
{
	every_mtu_and_channels_of(base, ip_version, zero_copy, zstd, faults);
}

static void
every_mtu_and_channels_sealed(
	unsigned int ip_version, bool zero_copy, bool zstd, const struct faults *faults)
{
	struct ut_rig_options o = base;

	o.sealed = true;
	every_mtu_and_channels_of(o, ip_version, zero_copy, zstd, faults);
}

static void
test_raw_ipv4(void)
{
	every_mtu_and_channels(4, false, false, &no_faults);
}

static void
test_raw_ipv6_zero_copy(void)
{
	every_mtu_and_channels(6, true, false, &no_faults);
}

static void
test_zstd_ipv6(void)
{
	every_mtu_and_channels(6, false, true, &no_faults);
}

static void
test_zstd_ipv4_zero_copy(void)
{
	every_mtu_and_channels(4, true, true, &no_faults);
}

static const struct faults bad_wire = {.drop = 50, .twice = 50, .swap = 50, .flip = 10};

static void
test_faults_raw(void)
{
	every_mtu_and_channels(4, true, false, &bad_wire);
}

static void
test_faults_zstd(void)
{
	every_mtu_and_channels(6, false, true, &bad_wire);
}

/* Zero copy is not possible then, and not done: what is sent from would be encrypted. */
static void
test_sealed_raw(void)
{
	every_mtu_and_channels_sealed(4, true, false, &no_faults);
	every_mtu_and_channels_sealed(6, false, false, &bad_wire);
}

static void
test_sealed_zstd(void)
{
	every_mtu_and_channels_sealed(6, false, true, &no_faults);
	every_mtu_and_channels_sealed(4, false, true, &bad_wire);
}

/* Frames of epochs and sessions that are over come again, at a bad time: not a byte changes. */
static void
replay(void)
{
	for (unsigned int i = 0; i < t.n_held; i++) {
		unsigned int n = t.rig->o.n_channels;

		put(1, random_next() % n, copy_frame(t.held[i]));
	}
	for (unsigned int i = 0; i < 200; i++)
		turn();
}

static void
test_replay(void)
{
	begin(&base, &no_faults);
	t.zstd = false;
	t.hold = true;
	dirty_all();
	transfer(1, COLO_EPOCH_PRECOPY);
	model_take();
	dirty_some();
	transfer(2, COLO_EPOCH_CHECKPOINT);
	flush();
	t.hold = false;
	CU_ASSERT_TRUE(t.n_held > 100);
	replay(); /* no epoch is open */
	check_cache();
	check_guest();
	check_nothing_recorded();
	dirty_some();
	open_epoch(3, COLO_EPOCH_CHECKPOINT);
	replay(); /* one is */
	while (!complete(3))
		turn();
	check_cache();
	check_guest();
	flush();
	CU_ASSERT_EQUAL(sum_counters(true, COLO_rx_duplicate, COLO_rx_duplicate) >=
				2 * sum_counters(true, COLO_rx_placed, COLO_rx_placed) / 3,
		1);
	end();
}

/* With seals nothing that was recorded is even looked into. */
static void
test_replay_sealed(void)
{
	struct ut_rig_options o = base;
	uint64_t placed;

	o.sealed = true;
	begin(&o, &no_faults);
	t.zstd = false;
	t.hold = true;
	dirty_all();
	transfer(1, COLO_EPOCH_PRECOPY);
	model_take();
	t.hold = false;
	placed = sum_counters(true, COLO_rx_placed, COLO_rx_placed);
	t.given_up = true; /* what is put in here was not sent */
	open_epoch(2, COLO_EPOCH_CHECKPOINT);
	replay();
	CU_ASSERT_TRUE(t.n_held > 100);
	/* those that were put into another channel's queue were handed over to their own */
	CU_ASSERT_EQUAL(sum_counters(true, COLO_drop_replay, COLO_drop_replay), t.n_held);
	CU_ASSERT_EQUAL(sum_counters(true, COLO_rx_placed, COLO_rx_placed), placed);
	check_guest();
	check_nothing_recorded();
	end();
}

/*
 * The control core asks for BEGIN before the poll core has seen that there is a session: it must
 * not go out in the clear, and neither does an answer.
 */
static void
test_sealed_from_the_first_frame(void)
{
	struct ut_rig_options o = base;
	struct colo_lane lane;
	struct colo_lane_server server;
	struct colo_control_request begin_request = {.op = COLO_CONTROL_BEGIN};
	struct colo_sender *s;
	struct colo_receiver *r;

	o.sealed = true;
	begin(&o, &no_faults);
	s = t.rig->send.channel[0];
	r = t.rig->receive.channel[0];
	CU_ASSERT_FALSE_FATAL(s->session || s->filter.sealed);
	s->template.length = COLO_ETHER_LEN + COLO_IPV4_UDP_LEN;
	s->template.session = 7;
	colo_lane_init(&lane, &t.rig->send.lane, t.rig->port[0].tx_pool, &s->template);
	colo_lane_ask(&lane, &begin_request, sizeof(begin_request), 1);
	colo_seal(s);
	CU_ASSERT_EQUAL(s->n_tx + s->n_sealed, 0);
	CU_ASSERT_EQUAL(rte_ring_count(t.rig->send.lane.tx), 1);
	colo_lane_server_init(&server, &t.rig->receive.lane, t.rig->port[1].tx_pool, &s->template);
	colo_lane_server_answer(&server, &(struct colo_control_reply){.op = COLO_CONTROL_BEGIN});
	CU_ASSERT_FALSE(colo_feedback_transmit(r));
	CU_ASSERT_EQUAL(r->n_tx + r->n_sealed, 0);
	CU_ASSERT_EQUAL(rte_ring_count(t.rig->receive.lane.tx), 1);
	/* adopted: these were of another session, whose numbers must not meet these keys */
	turn();
	CU_ASSERT_TRUE(s->session && r->session);
	turn();
	CU_ASSERT_EQUAL(rte_ring_count(t.rig->send.lane.tx), 0);
	CU_ASSERT_EQUAL(rte_ring_count(t.rig->receive.lane.tx), 0);
	CU_ASSERT_EQUAL(sum_counters(true, COLO_drop_seal, COLO_drop_seal), 0);
	CU_ASSERT_EQUAL(sum_counters(true, COLO_drop_session, COLO_drop_session), 0);
	t.given_up = true;
	end();
}

/* While the secondary waits for a key at most half a generation goes out: enough of it is left. */
static void
test_keys_late(void)
{
	struct ut_rig_options o = base;

	o.sealed = true;
	o.seal_shift = COLO_SEAL_SHIFT_MIN;
	o.window = COLO_WINDOW_MAX;
	begin(&o, &no_faults);
	turn();
	CU_ASSERT_EQUAL(t.rig->send.channel[0]->window.limit, 1u << (COLO_SEAL_SHIFT_MIN - 1));
	end();
}

/* Every frame is damaged on its way: none is placed, each is counted. */
static void
test_forged_sealed(void)
{
	/* nobody checks every bit of the outer headers */
	const struct faults flip = {.flip = 1000, .flip_from = COLO_ETHER_LEN + COLO_IPV4_UDP_LEN};
	struct ut_rig_options o = base;

	o.sealed = true;
	begin(&o, &flip);
	t.zstd = false;
	t.given_up = true;
	dirty_all();
	open_epoch(1, COLO_EPOCH_PRECOPY);
	for (unsigned int i = 0; i < 300; i++)
		turn();
	CU_ASSERT_EQUAL(sum_counters(true, COLO_rx_placed, COLO_rx_placed), 0);
	CU_ASSERT_TRUE(sum_counters(true, COLO_drop_seal, COLO_drop_seal) > 100);
	check_guest();
	t.faults = no_faults;
	while (!complete(1))
		turn();
	check_cache();
	end();
}

/* What a control core does beside its work: the gate is passed before a key is replaced. */
static void
renew_keys(void)
{
	struct colo_error err = {""};

	for (unsigned int end = 0; end < 2; end++) {
		if (!colo_seal_keys_retire(&t.rig->keys[end]))
			continue;
		raise_and_wait();
		CU_ASSERT_EQUAL_FATAL(colo_seal_keys_renew(&t.rig->keys[end], &err), 0);
	}
}

/* A new key every 1024 packets: nothing is lost by it, and it waits where a key is late. */
static void
test_rekey(void)
{
	struct ut_rig_options o = base;
	uint32_t epoch = 0, turns = 0;

	o.sealed = true;
	o.seal_shift = COLO_SEAL_SHIFT_MIN;
	o.n_channels = 1;
	begin(&o, &no_faults);
	t.zstd = false;
	while (atomic_load(&t.rig->keys[1].flow[1].flow->used) < 5) {
		dirty_all();
		open_epoch(++epoch, COLO_EPOCH_PRECOPY);
		while (!complete(epoch)) {
			turn();
			if (++turns % 64 == 0) /* late now and then */
				renew_keys();
		}
		check_cache();
	}
	CU_ASSERT_NOT_EQUAL(sum_counters(false, COLO_tx_no_key, COLO_tx_no_key), 0);
	CU_ASSERT_EQUAL(sum_counters(true, COLO_drop_seal, COLO_drop_seal), 0);
	end();
}

/* The phase of a session that is over; epochs of the next count from 1 again. */
static void
leave_session(void)
{
	t.given_up = true;
	t.rig->send.phase.session = false;
	t.rig->send.phase.epoch = 0;
	t.rig->receive.phase.session = false;
	t.rig->receive.phase.epoch = 0;
	raise_and_wait();
}

static void
new_session(uint32_t session)
{
	struct colo_error err;

	CU_ASSERT_EQUAL(colo_blocks_reset(&t.rig->blocks[1], &err), 0);
	ut_rig_session(t.rig);
	t.rig->send.phase.filter.session = session;
	t.rig->receive.phase.filter.session = session;
}

/* The primary is lost in epoch 1, all sent; the next session begins with epoch 1 again. */
static void
test_second_session(void)
{
	begin(&base, &no_faults);
	t.zstd = false;
	t.hold = true;
	dirty_all();
	open_epoch(1, COLO_EPOCH_PRECOPY);
	while (!complete(1))
		turn();
	leave_session();
	t.hold = false;
	new_session(UT_RIG_SESSION + 1);
	raise_and_wait();
	dirty_all();
	transfer(1, COLO_EPOCH_PRECOPY);
	check_cache();
	model_take();
	check_guest();
	replay();
	CU_ASSERT_EQUAL(sum_counters(true, COLO_drop_session, COLO_drop_session), t.n_held);
	check_cache();
	check_guest();
	end();
}

/* A poll core that was not running may see the first epoch's phase only, not the session's. */
static void
test_missed_phase(void)
{
	begin(&base, &no_faults);
	t.zstd = false;
	turn();
	leave_session();
	new_session(UT_RIG_SESSION + 2);
	dirty_all();
	transfer(1, COLO_EPOCH_PRECOPY);
	check_cache();
	end();
}

/* A primary that dies in a checkpoint: what came lies in the cache and is recorded, so that
 * copying those pages back from guest memory undoes it. */
static void
test_partial_epoch(void)
{
	const struct faults half = {.drop = 500};

	begin(&base, &no_faults);
	t.zstd = false;
	dirty_all();
	transfer(1, COLO_EPOCH_PRECOPY);
	model_take();
	t.faults = half;
	dirty_some();
	open_epoch(2, COLO_EPOCH_CHECKPOINT);
	leave_session();
	check_guest();
	for (unsigned int i = 0; i < t.rig->blocks[1].n; i++) {
		struct colo_block *b = &t.rig->blocks[1].block[i];

		for (uint32_t page = 0; page < b->n_pages; page++) {
			bool recorded = false;

			for (unsigned int c = 0; c < t.rig->o.n_channels; c++)
				recorded |= colo_dirty_get(&b->recorded[c], page);
			if (recorded)
				continue;
			CU_ASSERT_EQUAL(memcmp(colo_page_addr(&b->cache, page),
						colo_page_addr(&b->guest, page), COLO_PAGE_SIZE),
				0);
		}
	}
	end();
}

/* Frames of every channel land on another one's queue: handed over, all is placed. */
static void
test_handover(void)
{
	struct ut_rig_options o = base;

	o.n_channels = 4;
	begin(&o, &no_faults);
	t.zstd = false;
	t.shift = 1;
	dirty_all();
	transfer(1, COLO_EPOCH_PRECOPY);
	check_cache();
	settle();
	CU_ASSERT_EQUAL(
		sum_counters(true, COLO_rx_handed_over, COLO_rx_handed_over), t.delivered[1]);
	CU_ASSERT_EQUAL(
		sum_counters(false, COLO_rx_handed_over, COLO_rx_handed_over), t.delivered[0]);
	end();
}

static void
test_windows(void)
{
	static const uint32_t window[] = {1, 2, 3, 7, 4095, COLO_WINDOW_MAX};
	static const struct faults drop = {.drop = 20};
	struct ut_rig_options o = base;

	for (unsigned int i = 0; i < RTE_DIM(window); i++) {
		o.window = window[i];
		run(&o, i % 2 ? &drop : &no_faults, false);
	}
}

/* The level may change from one epoch to the next, without allocation, to any that is accepted. */
static void
test_levels(void)
{
	static const int level[] = {1, 19, -7, 3, 0, 12};
	const struct faults drop = {.drop = 50};

	begin(&base, &drop);
	dirty_all();
	for (unsigned int i = 0; i < RTE_DIM(level) * 2; i++) {
		t.zstd = i % 3 != 2;
		t.zstd_level = level[i % RTE_DIM(level)];
		transfer(i + 1, COLO_EPOCH_PRECOPY);
		check_cache();
		dirty_some();
	}
	CU_ASSERT_TRUE(sum_counters(false, COLO_tx_pages_zstd, COLO_tx_pages_zstd) > 500);
	end();
}

/* Neither end has an mbuf left for a while: nothing is lost, nothing is counted twice. */
static void
test_no_mbufs(void)
{
	struct rte_mbuf *taken[2][8192];
	unsigned int n[2] = {0, 0};
	uint64_t start;

	begin(&base, &no_faults);
	t.zstd = false;
	turn();
	for (unsigned int e = 0; e < 2; e++)
		while (n[e] < 8192 &&
			(taken[e][n[e]] = rte_pktmbuf_alloc(t.rig->port[e].tx_pool)) != NULL)
			n[e]++;
	CU_ASSERT_TRUE(n[0] < 8192 && n[1] < 8192);
	dirty_all();
	open_epoch(1, COLO_EPOCH_PRECOPY);
	start = colo_now_us();
	for (unsigned int i = 0; i < 10; i++)
		turn();
	CU_ASSERT_TRUE(sum_counters(false, COLO_tx_no_mbuf, COLO_tx_no_mbuf) > 0);
	while (n[0] > 0 || n[1] > 0) {
		for (unsigned int e = 0; e < 2; e++)
			for (unsigned int i = 0; i < 10 && n[e] > 0; i++)
				rte_pktmbuf_free(taken[e][--n[e]]);
		turn();
	}
	while (!complete(1) && colo_now_us() - start < DEADLINE_US)
		turn();
	CU_ASSERT_TRUE(complete(1));
	check_sums(sum_counters(false, COLO_tx_pages_raw, COLO_tx_pages_zero));
	check_cache();
	end();
}

/* A driver that takes a few frames at a time: what it leaves goes out later, in order. */
static void
test_ring_full(void)
{
	struct ut_rig_options o = base;

	o.window = COLO_WINDOW_MAX;
	for (o.out_ring = 2; o.out_ring <= 32; o.out_ring *= 2) {
		begin(&o, &no_faults);
		t.zstd = false;
		dirty_all();
		transfer(1, COLO_EPOCH_PRECOPY);
		check_cache();
		CU_ASSERT_TRUE(sum_counters(false, COLO_tx_ring_full, COLO_tx_ring_full) > 0);
		end();
	}
}

static const struct ut_case cases[] = {
	{"raw, IPv4, copied", test_raw_ipv4},
	{"raw, IPv6, zero copy", test_raw_ipv6_zero_copy},
	{"zstd, IPv6, copied", test_zstd_ipv6},
	{"zstd, IPv4, a zero-copy port", test_zstd_ipv4_zero_copy},
	{"raw over a bad wire", test_faults_raw},
	{"zstd over a bad wire", test_faults_zstd},
	{"sealed, raw", test_sealed_raw},
	{"sealed, zstd", test_sealed_zstd},
	{"old frames come again", test_replay},
	{"what was recorded comes again, sealed", test_replay_sealed},
	{"sealed from the first frame on", test_sealed_from_the_first_frame},
	{"keys come late", test_keys_late},
	{"every frame is forged, sealed", test_forged_sealed},
	{"new keys", test_rekey},
	{"a second session", test_second_session},
	{"a phase that was missed", test_missed_phase},
	{"an epoch that is not whole", test_partial_epoch},
	{"frames on other channels' queues", test_handover},
	{"windows of every size", test_windows},
	{"levels of compression", test_levels},
	{"no mbufs for a while", test_no_mbufs},
	{"a driver that takes few frames", test_ring_full},
};

/* A seed may be given, to look further than the one that is always run. */
int
main(int argc, char **argv)
{
	ut_eal_start(512);
	t.random = argc > 1 ? strtoull(argv[1], NULL, 0) | 1 : 0x1234567;
	t.copies = rte_pktmbuf_pool_create("copies", 16383, 0, 0,
		COLO_MTU_MAX + COLO_ETHER_LEN + RTE_PKTMBUF_HEADROOM, SOCKET_ID_ANY);
	if (t.copies == NULL)
		return 1;
	return UT_RUN("datapath", cases);
}
