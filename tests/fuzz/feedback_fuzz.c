/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Feedback (and control frames) in turns of a sender that has page packets outstanding. The input:
 * u8 options, then frames (fuzz_rig.h).
 *
 * Checked: feedback that is refused changes nothing; the window's counts agree with its slots; what
 * is sent again is a frame that the secondary takes; no mbuf is lost.
 */
#include "clock.h"
#include "fuzz_rig.h"

enum option {
	OPTION_SEALED = 0x01,
	OPTION_ZSTD = 0x02,
	OPTION_NO_SESSION = 0x04, /* it is over */
	OPTION_TIME = 0x08,	  /* a second passes before each frame */
};

/* Bytes of a window before the slots. */
#define WINDOW_HEAD offsetof(struct colo_send_window, packet_slot)

static struct {
	struct ut_rig *rig[2]; /* plain, sealed */
	struct ut_rig *now;
	struct colo_sender *s;
	struct colo_receiver *peer;
	uint64_t packet_number;
} t;

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	ut_eal_start(512);
	for (unsigned int i = 0; i < 2; i++) {
		t.rig[i] = fuzz_rig_new(i == 0 ? 4 : 6, COLO_MTU_MIN, i != 0);
		colo_receive_poll(t.rig[i]->receive.channel[0]); /* its template is the peer's */
	}
	return 0;
}

/* Pages of each kind; some of the packets are then without credit. */
static void
fill_pages(void)
{
	for (unsigned int i = 0; i < FUZZ_BLOCKS; i++) {
		struct colo_block *b = &t.now->blocks[0].block[i];

		for (uint32_t page = 0; page < b->n_pages; page++) {
			uint8_t *at = colo_page_addr(&b->guest, page);

			memset(at, 0, COLO_PAGE_SIZE);
			for (uint32_t k = 0; page % 4 != 0 && k < COLO_PAGE_SIZE; k += page % 4)
				at[k] = (uint8_t)(k * 7 + page);
			colo_dirty_set(&b->todo, page);
		}
	}
}

static void
drain(bool check)
{
	const struct colo_frame_filter filter = ut_rig_filter(t.now, 1);
	struct colo_frame f;
	void *m;

	while (rte_ring_dequeue(t.now->out[0][0], &m) == 0) {
		FUZZ_CHECK(!check || colo_frame_check(&filter, m, &f) == COLO_FRAME_OK);
		rte_pktmbuf_free(m);
	}
}

/* What waits to be sent is given up. */
static void
end_session(void)
{
	t.now->send.phase.session = false;
	t.now->send.phase.epoch = 0;
	colo_gate_raise(&t.now->send.gate);
	colo_send_poll(t.s);
	drain(false);
}

static void
begin(uint8_t options)
{
	struct colo_outbox *box;
	struct colo_send_phase *phase;

	t.now = t.rig[options & OPTION_SEALED];
	t.s = t.now->send.channel[0];
	t.peer = t.now->receive.channel[0];
	t.packet_number = 0;
	fill_pages();
	box = &t.now->send.outbox;
	colo_piece_list_all(&box->list, &t.now->blocks[0]);
	atomic_store(&box->next, 0);
	phase = &t.now->send.phase;
	phase->session = true;
	phase->epoch = FUZZ_EPOCH;
	phase->zstd = options & OPTION_ZSTD;
	phase->zstd_level = 1;
	t.s->filter.session = 0; /* so that the session is a new one */
	colo_gate_raise(&t.now->send.gate);
	for (unsigned int i = 0; i < 4; i++) {
		colo_send_poll(t.s);
		drain(true);
	}
	if (options & OPTION_NO_SESSION)
		end_session();
}

static void
check_window(const struct colo_send_window *w)
{
	uint32_t outstanding = 0, lost = 0;

	FUZZ_CHECK(w->cum <= w->next_slot && w->next_slot - w->cum <= COLO_WINDOW_MAX);
	FUZZ_CHECK(w->credit <= w->next_slot + COLO_WINDOW_MAX);
	FUZZ_CHECK(w->largest_acked < w->next_packet);
	for (uint64_t slot = w->cum; slot < w->next_slot; slot++) {
		outstanding += w->slot[slot % COLO_WINDOW_MAX].state == COLO_SLOT_OUTSTANDING;
		lost += w->slot[slot % COLO_WINDOW_MAX].state == COLO_SLOT_LOST;
	}
	FUZZ_CHECK(outstanding == w->outstanding && lost == w->n_lost);
}

static void
mend(struct fuzz_frame *f)
{
	bool sealed = t.now->o.sealed;
	struct colo_header *h = fuzz_frame_header(f);

	if (!fuzz_frame_has_header(f, sealed))
		return;
	if (f->mend & MEND_HEADER)
		fuzz_mend_header(f, &t.peer->template, COLO_FRAME_FEEDBACK);
	if (f->mend & MEND_NUMBERS)
		h->packet_number = rte_cpu_to_be_64(++t.packet_number);
	if ((f->mend & MEND_CRC) && sealed)
		fuzz_frame_seal(f, &t.peer->seal, t.now->port[1].tx_pool);
	else if (f->mend & MEND_CRC)
		fuzz_mend_crc(f);
}

static void
receive(const struct fuzz_frame *f, uint8_t options)
{
	struct rte_ring *ring =
		f->mend & MEND_OTHER_QUEUE ? t.now->send.handover[0] : t.now->in[0][0];
	uint64_t accepted = t.s->counters.n[COLO_rx_feedback];
	uint8_t before[WINDOW_HEAD];

	memcpy(before, &t.s->window, sizeof(before));
	FUZZ_CHECK(rte_ring_enqueue(ring, fuzz_frame_mbuf(f, t.now->port[0].rx_pool)) == 0);
	t.s->now_us = colo_now_us() + (options & OPTION_TIME ? 1000000 : 0);
	colo_acks(t.s);
	fuzz_ring_empty(t.now->send.handover[1]);
	FUZZ_CHECK(f->genuine || !t.now->o.sealed || t.s->counters.n[COLO_rx_feedback] == accepted);
	if (t.s->counters.n[COLO_rx_feedback] == accepted)
		FUZZ_CHECK(memcmp(before, &t.s->window, sizeof(before)) == 0);
	check_window(&t.s->window);
	colo_send_window_timer(&t.s->window, t.s->now_us);
	check_window(&t.s->window);
	colo_send_poll(t.s);
	check_window(&t.s->window);
	drain(true);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	uint8_t options = fuzz_u8(&in);

	begin(options);
	for (unsigned int n = 0; in.left > 0 && n < FUZZ_FRAMES_MAX; n++) {
		struct fuzz_frame f;

		fuzz_frame_take(&in, &t.peer->template, t.now->o.sealed, &f);
		if (f.length == 0)
			continue;
		mend(&f);
		receive(&f, options);
	}
	end_session();
	fuzz_rig_check_empty(t.now);
	return 0;
}
