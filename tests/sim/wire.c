/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The datapath's wire, two lines of it. A frame is copied as soon as the driver has it, as a NIC
 * does, and comes out at the other end once, twice, damaged, late, or not at all.
 */
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>
#include <rte_ring.h>

#include "page.h"
#include "sim.h"
#include "ports.h"
#include "wire.h"

#define FRAME_MAX  (COLO_MTU_MAX + COLO_ETHER_LEN)
#define IN_FLIGHT  16384u
#define REMEMBERED 32u

struct frame {
	uint64_t at_us;
	uint64_t order; /* of two at one time the first comes first */
	enum sim_end_id to;
	unsigned int queue;
	uint32_t length;
	uint32_t first_segment; /* bytes of the first mbuf; the rest comes in others */
	struct frame *next_free;
	uint8_t bytes[FRAME_MAX];
};

/* A heap, earliest first. */
static struct frame *heap[IN_FLIGHT];
static unsigned int n_heap;
static uint64_t order;
static struct frame *unused;

/* What a flow of seals is: a channel's frames, or the control lane's, one way. */
struct flow {
	rte_be32_t session;
	uint64_t number; /* of the last packet */
};

static struct flow flows[SIM_N_ENDS][SIM_MAX_CHANNELS][2];
static struct frame *remembered[REMEMBERED]; /* to be sent once more, much later */

static bool
earlier(const struct frame *a, const struct frame *b)
{
	return a->at_us < b->at_us || (a->at_us == b->at_us && a->order < b->order);
}

static void
swap(unsigned int a, unsigned int b)
{
	struct frame *f = heap[a];

	heap[a] = heap[b];
	heap[b] = f;
}

static void
push(struct frame *f)
{
	unsigned int i = n_heap++;

	f->order = order++;
	heap[i] = f;
	for (; i > 0 && earlier(heap[i], heap[(i - 1) / 2]); i = (i - 1) / 2)
		swap(i, (i - 1) / 2);
}

static struct frame *
pop(void)
{
	struct frame *f = heap[0];
	unsigned int i = 0;

	heap[0] = heap[--n_heap];
	for (;;) {
		unsigned int least = i, child = 2 * i + 1;

		for (unsigned int c = child; c < child + 2 && c < n_heap; c++)
			if (earlier(heap[c], heap[least]))
				least = c;
		if (least == i)
			return f;
		swap(i, least);
		i = least;
	}
}

static struct frame *
new_frame(void)
{
	struct frame *f = unused;

	if (f == NULL) {
		f = malloc(sizeof(*f));
		if (f == NULL)
			abort();
		return f;
	}
	unused = f->next_free;
	return f;
}

static void
free_frame(struct frame *f)
{
	f->next_free = unused;
	unused = f;
}

static struct frame *
copy_frame(const struct frame *from)
{
	struct frame *f = new_frame();

	memcpy(f, from, offsetof(struct frame, bytes) + from->length);
	return f;
}

void
sim_wire_reset(void)
{
	while (n_heap > 0)
		free_frame(heap[--n_heap]);
	for (unsigned int i = 0; i < REMEMBERED; i++) {
		if (remembered[i] != NULL)
			free_frame(remembered[i]);
		remembered[i] = NULL;
	}
	order = 0;
	memset(flows, 0, sizeof(flows));
}

/* ---- weather ---- */

static void
bad_line(struct sim_line *l, unsigned int severity)
{
	l->delay_us = (uint32_t)sim_between(5, 200 + severity * 1500);
	l->jitter_us = (uint32_t)sim_below(50 + severity * 500);
	l->loss = sim_chance(600000) ? (uint32_t)sim_below(1 + severity * 100000) : 0;
	l->burst_in = sim_chance(300000) ? (uint32_t)sim_below(1 + severity * 7000) : 0;
	l->burst_out = (uint32_t)sim_between(10000, 200000);
	l->duplicate = sim_chance(400000) ? (uint32_t)sim_below(1 + severity * 70000) : 0;
	l->flip = sim_chance(400000) ? (uint32_t)sim_below(1 + severity * 30000) : 0;
	l->late = sim_chance(400000) ? (uint32_t)sim_below(1 + severity * 70000) : 0;
	l->late_us = (uint32_t)sim_between(100, 20000);
	l->poison = sim_chance(60000) ? 2000 : 0;
}

void
sim_wire_weather(unsigned int severity)
{
	bad_line(&sim.line[0], severity);
	bad_line(&sim.line[1], severity);
}

void
sim_wire_calm(uint32_t loss)
{
	for (unsigned int i = 0; i < SIM_N_ENDS; i++)
		sim.line[i] = (struct sim_line){.delay_us = 25, .loss = loss};
}

/* ---- on the way ---- */

static void
remember(const struct frame *f)
{
	struct frame **at = &remembered[sim_below(REMEMBERED)];

	if (!sim_chance(100000))
		return;
	if (*at != NULL)
		free_frame(*at);
	*at = copy_frame(f);
}

static bool
is_lost(struct sim_line *l)
{
	if (l->cut)
		return true;
	if (l->in_burst ? sim_chance(l->burst_out) : sim_chance(l->burst_in))
		l->in_burst = !l->in_burst;
	return (l->in_burst && sim_chance(900000)) || sim_chance(l->loss);
}

/* At most three bits: what a CRC-32 of such lengths is sure to notice. */
static void
flip_bits(struct frame *f)
{
	unsigned int n = 1 + (unsigned int)sim_below(3);

	SIM_COUNT(flipped);
	while (n-- > 0)
		f->bytes[sim_below(f->length)] ^= (uint8_t)(1u << sim_below(8));
}

/*
 * What no CRC tells: the frame's maker, or somebody between, had other bytes. Only the digest of
 * the epoch is left to say so.
 */
static void
poison(struct frame *f)
{
	uint32_t outer = COLO_ETHER_LEN +
			 (sim.config.ip_version == 6 ? COLO_IPV6_UDP_LEN : COLO_IPV4_UDP_LEN);
	struct colo_header *h = (struct colo_header *)(f->bytes + outer);
	struct colo_record *r = (struct colo_record *)(h + 1);
	uint32_t covered = sizeof(*h) + h->n_records * sizeof(*r);
	uint8_t *payload = f->bytes + outer + covered;
	uint16_t length;

	if (f->length < outer + sizeof(*h) + sizeof(*r) || h->type != COLO_FRAME_PAGE ||
		r->kind != COLO_RECORD_RAW)
		return;
	length = rte_be_to_cpu_16(r->length);
	payload[sim_below(length)] ^= 1;
	r->crc = rte_cpu_to_be_32(colo_crc32(payload, length));
	h->crc = 0;
	h->crc = rte_cpu_to_be_32(colo_crc32(h, covered));
	SIM_COUNT(poisoned);
	sim.poisoned = true;
	sim_trace("a page of epoch %u is changed on the way", rte_be_to_cpu_32(h->epoch));
}

static void
post(struct frame *f, struct sim_line *l)
{
	f->at_us = sim.now + l->delay_us + sim_below(l->jitter_us + 1);
	if (sim_chance(l->late)) {
		SIM_COUNT(late);
		f->at_us += sim_below(l->late_us + 1);
	}
	f->at_us = RTE_MAX(f->at_us, l->held_until_us);
	f->first_segment = UINT32_MAX;
	if (sim_chance(250000))
		f->first_segment = (uint32_t)sim_between(128, 2048);
	if (sim_chance(l->flip))
		flip_bits(f);
	if (n_heap == IN_FLIGHT) {
		SIM_COUNT(lost);
		free_frame(f);
		return;
	}
	push(f);
}

static void
send_frame(struct frame *f, struct sim_line *l)
{
	SIM_COUNT(frames);
	remember(f);
	if (is_lost(l)) {
		SIM_COUNT(lost);
		free_frame(f);
		return;
	}
	if (sim_chance(l->poison))
		poison(f);
	if (sim_chance(l->duplicate)) {
		SIM_COUNT(duplicated);
		post(copy_frame(f), l);
	}
	post(f, l);
}

/*
 * A flow's packet numbers only ascend: a seal's nonce that came twice would give away what it
 * hides, and a round-trip sample would mean nothing.
 */
static void
check_number(const struct frame *f, enum sim_end_id from)
{
	uint32_t outer = COLO_ETHER_LEN +
			 (sim.config.ip_version == 6 ? COLO_IPV6_UDP_LEN : COLO_IPV4_UDP_LEN);
	const struct colo_header *h = (const struct colo_header *)(f->bytes + outer);
	struct flow *flow =
		&flows[from][h->channel % SIM_MAX_CHANNELS][h->type == COLO_FRAME_CONTROL];
	uint64_t number;

	SIM_CHECK(f->length >= outer + sizeof(*h), "a frame of %u bytes was sent", f->length);
	number = rte_be_to_cpu_64(h->packet_number);
	SIM_CHECK(h->session != flow->session || number > flow->number,
		"end %u, channel %u: packet number %llu after %llu", from, h->channel,
		(unsigned long long)number, (unsigned long long)flow->number);
	flow->session = h->session;
	flow->number = number;
}

/* The NIC reads the frame, wherever its bytes lie, and gives the mbufs back. */
static struct frame *
read_frame(struct rte_mbuf *m, enum sim_end_id from, unsigned int queue)
{
	struct frame *f = new_frame();

	f->to = 1 - from;
	f->queue = queue;
	f->length = 0;
	SIM_CHECK(rte_pktmbuf_pkt_len(m) <= sim.config.mtu + COLO_ETHER_LEN,
		"a frame of %u bytes was sent, the MTU is %u", rte_pktmbuf_pkt_len(m),
		sim.config.mtu);
	for (const struct rte_mbuf *s = m; s != NULL; s = s->next) {
		SIM_CHECK(f->length + s->data_len <= rte_pktmbuf_pkt_len(m),
			"a frame's segments are longer than the frame");
		memcpy(f->bytes + f->length, rte_pktmbuf_mtod(s, uint8_t *), s->data_len);
		f->length += s->data_len;
	}
	SIM_CHECK(f->length == rte_pktmbuf_pkt_len(m), "a frame is longer than its segments");
	rte_pktmbuf_free(m);
	check_number(f, from);
	return f;
}

void
sim_wire_collect(enum sim_end_id from)
{
	struct sim_line *l = &sim.line[from];

	if (sim.now < l->driver_busy_us)
		return;
	for (unsigned int q = 0; q < sim.config.n_channels; q++) {
		void *m;

		while (rte_ring_dequeue(sim_ports.out[from][q], &m) == 0)
			send_frame(read_frame(m, from, q), l);
	}
}

uint64_t
sim_wire_next_us(void)
{
	return n_heap == 0 ? SIM_NEVER : heap[0]->at_us;
}

/* Bytes into mbufs: the first takes what it is told, the others take turns. @return NULL: none. */
static struct rte_mbuf *
to_mbufs(const struct frame *f, struct rte_mempool *pool)
{
	struct rte_mbuf *head = NULL, **last = &head;
	uint32_t at = 0, room = f->first_segment;

	while (at < f->length) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
		uint32_t n = RTE_MIN(room, f->length - at);

		if (m == NULL) {
			rte_pktmbuf_free(head);
			return NULL;
		}
		memcpy(rte_pktmbuf_append(m, n), f->bytes + at, n);
		*last = m;
		last = &m->next;
		if (m != head) {
			head->nb_segs++;
			head->pkt_len += n;
		}
		at += n;
	}
	return head;
}

static void
arrive(const struct frame *f)
{
	struct sim_end *e = &sim.end[f->to];
	unsigned int queue = f->queue % sim.config.n_channels;
	struct rte_mbuf *m;

	if (sim.config.mis_steer && sim_chance(200000))
		queue = (unsigned int)sim_below(sim.config.n_channels);
	if (!e->up)
		return;
	if (rte_ring_count(sim_ports.in[f->to][queue]) >= sim.config.rxd) {
		SIM_COUNT(overflowed);
		return;
	}
	m = to_mbufs(f, e->port.rx_pool);
	if (m == NULL || rte_ring_enqueue(sim_ports.in[f->to][queue], m) != 0) {
		SIM_COUNT(overflowed);
		rte_pktmbuf_free(m);
		return;
	}
	e->frames_in++;
	sim_wake(f->to);
}

void
sim_wire_step(void)
{
	struct frame *f = pop();

	if (!sim.line[1 - f->to].cut)
		arrive(f);
	free_frame(f);
}

void
sim_wire_replay(unsigned int n)
{
	while (n-- > 0) {
		const struct frame *f = remembered[sim_below(REMEMBERED)];

		if (f == NULL || n_heap == IN_FLIGHT)
			continue;
		SIM_COUNT(replayed);
		post(copy_frame(f), &sim.line[1 - f->to]);
	}
}

void
sim_wire_send(enum sim_end_id from, unsigned int queue, const uint8_t *bytes, uint32_t length)
{
	struct frame *f = new_frame();

	f->to = 1 - from;
	f->queue = queue;
	f->length = length;
	memcpy(f->bytes, bytes, length);
	post(f, &sim.line[from]);
}

/* Whatever somebody on the segment may send: a real frame changed, or noise. */
void
sim_wire_forge(enum sim_end_id to, unsigned int n)
{
	while (n-- > 0) {
		const struct frame *like = remembered[sim_below(REMEMBERED)];
		struct frame *f = like != NULL ? copy_frame(like) : new_frame();

		SIM_COUNT(forged);
		if (like == NULL)
			f->length = (uint32_t)sim_between(14, 200);
		f->to = to;
		f->queue = (unsigned int)sim_below(sim.config.n_channels);
		if (like == NULL || sim_chance(200000))
			for (uint32_t i = like == NULL ? 0 : 42; i < f->length; i++)
				f->bytes[i] = (uint8_t)sim_random();
		else if (sim_chance(300000))
			f->length = (uint32_t)sim_between(14, f->length);
		else
			flip_bits(f);
		post(f, &sim.line[1 - to]);
	}
}
