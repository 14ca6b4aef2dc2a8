/* SPDX-License-Identifier: BSD-3-Clause */
/* fault.c on a real net_ring port: what goes in, what comes out, and when. */
#include <string.h>

#include <rte_cycles.h>
#include <rte_eth_ring.h>

#include "fault.h"
#include "ut.h"
#include "ut_eal.h"

#define FRAME_LENGTH 300u

static struct rte_ring *wire;
static struct rte_mempool *pool;
static uint16_t port;
static struct colo_fault fault;

static void
make_port(void)
{
	struct rte_eth_conf conf = {0};
	struct rte_ring *other = rte_ring_create("other", 1024, SOCKET_ID_ANY, 0);
	int id;

	wire = rte_ring_create("wire", 1024, SOCKET_ID_ANY, 0);
	pool = rte_pktmbuf_pool_create("ut", 2047, 0, 0, 2048, SOCKET_ID_ANY);
	CU_ASSERT_FATAL(wire != NULL && pool != NULL && other != NULL);
	id = rte_eth_from_rings("ut", &wire, 1, &other, 1, SOCKET_ID_ANY);
	CU_ASSERT_FATAL(id >= 0);
	port = (uint16_t)id;
	CU_ASSERT_EQUAL(rte_eth_dev_configure(port, 1, 1, &conf), 0);
	CU_ASSERT_EQUAL(rte_eth_rx_queue_setup(port, 0, 64, SOCKET_ID_ANY, NULL, pool), 0);
	CU_ASSERT_EQUAL(rte_eth_tx_queue_setup(port, 0, 64, SOCKET_ID_ANY, NULL), 0);
	CU_ASSERT_EQUAL(rte_eth_dev_start(port), 0);
}

static void
install(const char *spec)
{
	struct colo_fault_config config;
	struct colo_error err;

	CU_ASSERT_EQUAL_FATAL(colo_fault_parse(spec, &config, &err), 0);
	CU_ASSERT_EQUAL_FATAL(colo_fault_install(&fault, port, 1, &config, &err), 0);
}

/* A frame that carries its number, and a pattern made from it. */
static void
put(uint32_t number)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	uint8_t *bytes;

	CU_ASSERT_PTR_NOT_NULL_FATAL(m);
	bytes = (uint8_t *)rte_pktmbuf_append(m, FRAME_LENGTH);
	memset(bytes, (int)(number & 0xff), FRAME_LENGTH);
	memcpy(bytes, &number, sizeof(number));
	CU_ASSERT_EQUAL(rte_ring_enqueue(wire, m), 0);
}

struct seen {
	unsigned int frames, damaged, late;
	uint8_t times[4096];
	uint32_t highest;
};

static unsigned int
bits_wrong(const struct rte_mbuf *m, uint32_t number)
{
	const uint8_t *bytes = rte_pktmbuf_mtod(m, const uint8_t *);
	unsigned int wrong = 0;

	for (unsigned int i = 4; i < FRAME_LENGTH; i++)
		wrong += (unsigned int)__builtin_popcount(bytes[i] ^ (number & 0xff));
	return wrong;
}

static void
take(struct seen *s, uint16_t burst)
{
	struct rte_mbuf *frames[64];
	uint16_t n = rte_eth_rx_burst(port, 0, frames, burst);
	uint32_t number;

	CU_ASSERT(n <= burst);
	for (uint16_t i = 0; i < n; i++) {
		number = *rte_pktmbuf_mtod(frames[i], uint32_t *);
		CU_ASSERT_EQUAL(frames[i]->pkt_len, FRAME_LENGTH);
		s->frames++;
		if (number < sizeof(s->times)) {
			s->damaged += bits_wrong(frames[i], number) != 0;
			/* one bit of the pattern, or one of the number it is made from */
			CU_ASSERT(bits_wrong(frames[i], number) <= 1 ||
				  bits_wrong(frames[i], number) == FRAME_LENGTH - 4);
			s->times[number]++;
			s->late += number < s->highest;
			s->highest = number > s->highest ? number : s->highest;
		} else {
			s->damaged++; /* the bit was in the number */
		}
		rte_pktmbuf_free(frames[i]);
	}
}

/* @p n frames through, @p burst to a burst of at most twice as many; then wait until nothing is
 * held any more. */
static struct seen
run(const char *spec, uint32_t n, uint16_t burst)
{
	struct seen s = {0};

	install(spec);
	for (uint32_t i = 0; i < n; i++) {
		put(i);
		if (i % burst == burst - 1u)
			take(&s, burst > 1 ? 2 * burst : 1);
	}
	while (rte_ring_count(wire) > 0)
		take(&s, burst);
	for (unsigned int i = 0; i < 1000 && fault.queue[0].n_held > 0; i++) {
		rte_delay_us(10);
		take(&s, burst);
	}
	CU_ASSERT_EQUAL(fault.queue[0].n_held, 0);
	CU_ASSERT_EQUAL(fault.queue[0].frames, n);
	colo_fault_remove(&fault);
	CU_ASSERT_EQUAL(rte_mempool_in_use_count(pool), 0);
	return s;
}

static bool
about(uint64_t n, uint64_t wanted)
{
	return n > wanted * 3 / 4 && n < wanted * 5 / 4;
}

static void
nothing(void)
{
	struct seen s = run("", 4000, 32);

	CU_ASSERT_EQUAL(s.frames, 4000);
	CU_ASSERT_EQUAL(s.damaged + s.late, 0);
}

static void
drops(void)
{
	struct seen s = run("drop=10", 4000, 32);

	CU_ASSERT(about(4000 - s.frames, 400));
	CU_ASSERT_EQUAL(fault.queue[0].dropped, 4000 - s.frames);
	CU_ASSERT_EQUAL(s.damaged + s.late, 0);
}

/* As many are lost as without bursts, but so many in a row, and no more unless two follow. */
static void
drops_in_bursts(void)
{
	struct seen s = run("drop=10,burst=8", 4000, 32);
	unsigned int runs = 0, whole = 0;

	CU_ASSERT(about(4000 - s.frames, 400));
	CU_ASSERT(about(fault.queue[0].bursts, 50));
	for (unsigned int i = 0, length = 0; i < 4000; i++) {
		length = s.times[i] == 0 ? length + 1 : 0;
		runs += length == 1;
		whole += length == 8;
	}
	CU_ASSERT(runs <= fault.queue[0].bursts && runs > 35);
	CU_ASSERT(whole + 3 >= runs); /* the last may be cut off, one may have taken too long */
}

/* A burst is over after its time: what comes rarely is not lost for so many frames. */
static void
burst_ends_by_time(void)
{
	struct rte_mbuf *frames[4];
	unsigned int lost = 0;

	install("drop=50,burst=64,seed=2");
	while (fault.queue[0].bursts == 0) {
		put(1);
		rte_pktmbuf_free_bulk(frames, rte_eth_rx_burst(port, 0, frames, 4));
	}
	for (unsigned int i = 0; i < 20; i++) {
		rte_delay_us(COLO_FAULT_BURST_US + 100);
		put(1);
		if (rte_eth_rx_burst(port, 0, frames, 4) == 1)
			rte_pktmbuf_free_bulk(frames, 1);
		else
			lost++;
	}
	CU_ASSERT(lost < 8); /* each by itself with 1.5 % */
	colo_fault_remove(&fault);
	CU_ASSERT_EQUAL(rte_mempool_in_use_count(pool), 0);
}

static void
duplicates(void)
{
	struct seen s = run("dup=10", 4000, 32);
	unsigned int twice = 0;

	CU_ASSERT(about(s.frames - 4000, 400));
	CU_ASSERT_EQUAL(fault.queue[0].duplicated, s.frames - 4000);
	CU_ASSERT_EQUAL(s.damaged, 0);
	for (unsigned int i = 0; i < 4000; i++) {
		CU_ASSERT(s.times[i] == 1 || s.times[i] == 2);
		twice += s.times[i] == 2;
	}
	CU_ASSERT_EQUAL(twice, s.frames - 4000);
}

static void
reorders(void)
{
	struct seen s = run("reorder=10", 4000, 32);

	CU_ASSERT_EQUAL(s.frames, 4000);
	CU_ASSERT(about(fault.queue[0].reordered, 400));
	CU_ASSERT(s.late > 200);
	CU_ASSERT_EQUAL(s.damaged, 0);
}

static void
flips(void)
{
	struct seen s = run("flip=10", 4000, 32);

	CU_ASSERT_EQUAL(s.frames, 4000);
	CU_ASSERT(about(fault.queue[0].flipped, 400));
	/* a bit of the number may make it another valid one; that frame is then seen as damaged */
	CU_ASSERT(s.damaged <= fault.queue[0].flipped);
	CU_ASSERT(s.damaged + 10 >= fault.queue[0].flipped);
}

static void
all_at_once(void)
{
	struct seen s = run("seed=3,flip=50,reorder=50,dup=50,drop=50", 4000, 32);

	CU_ASSERT_EQUAL(s.frames, 4000 - fault.queue[0].dropped + fault.queue[0].duplicated);
	CU_ASSERT(about(fault.queue[0].dropped, 2000));
}

/* Bursts of one: there is never room for more than one frame, and none is lost for it. */
static void
bursts_of_one(void)
{
	struct seen s = run("dup=50,reorder=50", 1000, 1);

	CU_ASSERT_EQUAL(s.frames, 1000 + fault.queue[0].duplicated);
}

static void
seed_decides(void)
{
	struct seen a = run("drop=20,seed=1", 1000, 32), b = run("drop=20,seed=1", 1000, 32);
	struct seen c = run("drop=20,seed=2", 1000, 32);

	CU_ASSERT_EQUAL(memcmp(a.times, b.times, sizeof(a.times)), 0);
	CU_ASSERT_NOT_EQUAL(memcmp(a.times, c.times, sizeof(a.times)), 0);
}

/* The frame that is damaged is a copy: the original may be a page of the guest. */
static void
original_is_not_damaged(void)
{
	struct rte_mbuf *frames[1], *m;
	static uint8_t before[FRAME_LENGTH];
	unsigned int flipped = 0;

	install("flip=50");
	for (unsigned int i = 0; i < 50; i++) {
		m = rte_pktmbuf_alloc(pool);
		memset(rte_pktmbuf_append(m, FRAME_LENGTH), 0x77, FRAME_LENGTH);
		memset(before, 0x77, sizeof(before));
		rte_mbuf_refcnt_update(m, 1);
		rte_ring_enqueue(wire, m);
		CU_ASSERT_EQUAL(rte_eth_rx_burst(port, 0, frames, 1), 1);
		CU_ASSERT_EQUAL(memcmp(rte_pktmbuf_mtod(m, void *), before, FRAME_LENGTH), 0);
		flipped += memcmp(rte_pktmbuf_mtod(frames[0], void *), before, FRAME_LENGTH) != 0;
		rte_pktmbuf_free(frames[0]);
		rte_pktmbuf_free(m);
	}
	CU_ASSERT_EQUAL(flipped, fault.queue[0].flipped);
	CU_ASSERT(flipped > 10);
	colo_fault_remove(&fault);
}

/* A chain of buffers is copied whole. */
static void
chains(void)
{
	struct rte_mbuf *head, *tail, *frames[4];
	unsigned int seen = 0;

	install("dup=50");
	for (unsigned int i = 0; i < 20; i++) {
		head = rte_pktmbuf_alloc(pool);
		tail = rte_pktmbuf_alloc(pool);
		memset(rte_pktmbuf_append(head, 100), 'h', 100);
		memset(rte_pktmbuf_append(tail, 200), 't', 200);
		CU_ASSERT_EQUAL(rte_pktmbuf_chain(head, tail), 0);
		rte_ring_enqueue(wire, head);
	}
	for (unsigned int turn = 0; turn < 500 && (turn < 20 || fault.queue[0].n_held > 0);
		turn++) {
		uint16_t n = rte_eth_rx_burst(port, 0, frames, 4);

		for (uint16_t i = 0; i < n; i++, seen++) {
			uint8_t byte[2];

			CU_ASSERT_EQUAL(frames[i]->pkt_len, 300);
			CU_ASSERT_EQUAL(
				*(const char *)rte_pktmbuf_read(frames[i], 99, 1, byte), 'h');
			CU_ASSERT_EQUAL(
				*(const char *)rte_pktmbuf_read(frames[i], 100, 1, byte), 't');
			rte_pktmbuf_free(frames[i]);
		}
		rte_delay_us(5);
	}
	CU_ASSERT_EQUAL(seen, 20 + fault.queue[0].duplicated);
	CU_ASSERT(fault.queue[0].duplicated > 0);
	colo_fault_remove(&fault);
	CU_ASSERT_EQUAL(rte_mempool_in_use_count(pool), 0);
}

/* Held back with nothing behind it: not before its time, and then on an empty burst. */
static void
released_without_traffic(void)
{
	struct rte_mbuf *frames[32];
	uint64_t began;
	uint16_t n = 0;

	install("reorder=50,seed=4");
	began = rte_rdtsc();
	while (fault.queue[0].n_held == 0) {
		put(1);
		n = rte_eth_rx_burst(port, 0, frames, 32);
		rte_pktmbuf_free_bulk(frames, n);
	}
	do {
		n = rte_eth_rx_burst(port, 0, frames, 32);
	} while (n == 0 && rte_rdtsc() - began < rte_get_tsc_hz());
	CU_ASSERT_EQUAL(n, 1);
	CU_ASSERT(rte_rdtsc() - began >= rte_get_tsc_hz() / 1000000 * COLO_FAULT_HELD_US);
	rte_pktmbuf_free_bulk(frames, n);
	colo_fault_remove(&fault);
}

static void
removed_while_holding(void)
{
	struct rte_mbuf *frames[32];

	install("reorder=50,dup=50");
	for (uint32_t i = 0; i < 32; i++)
		put(i);
	rte_pktmbuf_free_bulk(frames, rte_eth_rx_burst(port, 0, frames, 32));
	CU_ASSERT(fault.queue[0].n_held > 0);
	colo_fault_remove(&fault);
	colo_fault_remove(&fault);
	CU_ASSERT_EQUAL(rte_mempool_in_use_count(pool), 0);
}

static void
specs(void)
{
	struct colo_fault_config c;
	struct colo_error err;

	CU_ASSERT_EQUAL(
		colo_fault_parse("drop=5,dup=0.5,reorder=50,flip=0.0001,seed=9", &c, &err), 0);
	CU_ASSERT(c.drop == 50000 && c.dup == 5000 && c.reorder == 500000 && c.flip == 1);
	CU_ASSERT_EQUAL(c.seed, 9);
	CU_ASSERT_EQUAL(c.burst, 1);
	CU_ASSERT_EQUAL(colo_fault_parse("burst=64", &c, &err), 0);
	CU_ASSERT_EQUAL(c.burst, 64);
	CU_ASSERT_EQUAL(colo_fault_parse("burst=65", &c, &err), -1);
	CU_ASSERT_STRING_EQUAL(err.text, "--fault: burst=65; accepted is 1 to 64 frames in a row");
	CU_ASSERT_EQUAL(colo_fault_parse("burst=0", &c, &err), -1);
	CU_ASSERT_EQUAL(colo_fault_parse("", &c, &err), 0);
	CU_ASSERT(c.drop == 0 && c.dup == 0 && c.reorder == 0 && c.flip == 0 && c.seed == 1);
	CU_ASSERT_EQUAL(colo_fault_parse("drop=50.0001", &c, &err), -1);
	CU_ASSERT_STRING_EQUAL(err.text, "--fault: drop=50.0001; accepted is 0 to 50 percent");
	CU_ASSERT_EQUAL(colo_fault_parse("lose=5", &c, &err), -1);
	CU_ASSERT_EQUAL(colo_fault_parse("flip=-1", &c, &err), -1);
	CU_ASSERT_EQUAL(colo_fault_install(&fault, port, COLO_MAX_CHANNELS + 1, &c, &err), -1);
	CU_ASSERT_EQUAL(colo_fault_install(&fault, port, 2, &c, &err), -1); /* it has one queue */
}

int
main(void)
{
	static const struct ut_case cases[] = {
		{"a port", make_port},
		{"no fault", nothing},
		{"drop", drops},
		{"drop in bursts", drops_in_bursts},
		{"a burst ends by time", burst_ends_by_time},
		{"duplicate", duplicates},
		{"reorder", reorders},
		{"flip", flips},
		{"all at once", all_at_once},
		{"bursts of one frame", bursts_of_one},
		{"the seed decides", seed_decides},
		{"the original is not damaged", original_is_not_damaged},
		{"chains of buffers", chains},
		{"held frames come without traffic", released_without_traffic},
		{"removed while it holds frames", removed_while_holding},
		{"specs", specs},
	};

	ut_eal_start(64);
	return UT_RUN("fault", cases);
}
