/* SPDX-License-Identifier: BSD-3-Clause */
/* guard.c: callbacks of a net_ring port touch memory that is not there, as net_memif may. */
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <rte_eth_ring.h>

#include "guard.h"
#include "ut.h"
#include "ut_eal.h"

#define BURST 4u

static struct rte_ring *wire;
static struct rte_mempool *pool;
static uint16_t port;
static uint8_t *memory; /* that callbacks read */
static bool touch;

static uint16_t
on_rx(uint16_t id, uint16_t queue, struct rte_mbuf **frames, uint16_t n, uint16_t max, void *arg)
{
	(void)id, (void)queue, (void)frames, (void)max, (void)arg;
	return touch && *(volatile uint8_t *)memory != 0 ? 0 : n;
}

static uint16_t
on_tx(uint16_t id, uint16_t queue, struct rte_mbuf **frames, uint16_t n, void *arg)
{
	return on_rx(id, queue, frames, n, n, arg);
}

static void
make_port(void)
{
	struct rte_eth_conf conf = {0};
	int id;

	memory = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	wire = rte_ring_create("wire", 64, SOCKET_ID_ANY, 0);
	pool = rte_pktmbuf_pool_create("ut", 127, 0, 0, 256, SOCKET_ID_ANY);
	CU_ASSERT_FATAL(memory != MAP_FAILED && wire != NULL && pool != NULL);
	id = rte_eth_from_rings("ut", &wire, 1, &wire, 1, SOCKET_ID_ANY);
	CU_ASSERT_FATAL(id >= 0);
	port = (uint16_t)id;
	CU_ASSERT_EQUAL(rte_eth_dev_configure(port, 1, 1, &conf), 0);
	CU_ASSERT_EQUAL(rte_eth_rx_queue_setup(port, 0, 64, SOCKET_ID_ANY, NULL, pool), 0);
	CU_ASSERT_EQUAL(rte_eth_tx_queue_setup(port, 0, 64, SOCKET_ID_ANY, NULL), 0);
	CU_ASSERT_EQUAL(rte_eth_dev_start(port), 0);
	CU_ASSERT_PTR_NOT_NULL(rte_eth_add_rx_callback(port, 0, on_rx, NULL));
	CU_ASSERT_PTR_NOT_NULL(rte_eth_add_tx_callback(port, 0, on_tx, NULL));
	CU_ASSERT_EQUAL_FATAL(colo_guard_install(), 0);
}

/* Frames pass, in their number and order, and nothing is counted. */
static void
passes(void)
{
	struct rte_mbuf *in[BURST], *out[BURST + 1];
	uint64_t cut = 0;

	CU_ASSERT_EQUAL_FATAL(rte_pktmbuf_alloc_bulk(pool, in, BURST), 0);
	CU_ASSERT_EQUAL(colo_guard_tx(port, 0, in, BURST, &cut), BURST);
	CU_ASSERT_EQUAL(colo_guard_rx(port, 0, out, BURST + 1, &cut), BURST);
	CU_ASSERT_EQUAL(memcmp(in, out, sizeof(in)), 0);
	CU_ASSERT_EQUAL(colo_guard_rx(port, 0, out, BURST, &cut), 0);
	CU_ASSERT_EQUAL(cut, 0);
	rte_pktmbuf_free_bulk(in, BURST);
}

/* A fault gives the burst up, each time anew; the next burst is as good as any. */
static void
gives_up(void)
{
	struct rte_mbuf *frames[BURST], *out[BURST];
	uint64_t cut = 0;

	CU_ASSERT_EQUAL_FATAL(rte_pktmbuf_alloc_bulk(pool, frames, BURST), 0);
	for (unsigned int i = 1; i <= 3; i++) {
		touch = true;
		CU_ASSERT_EQUAL(colo_guard_rx(port, 0, out, BURST, &cut), 0);
		CU_ASSERT_EQUAL(cut, 2 * i - 1);
		CU_ASSERT_EQUAL(colo_guard_tx(port, 0, frames, BURST, &cut), BURST);
		CU_ASSERT_EQUAL(cut, 2 * i);
		touch = false;
		passes();
	}
	rte_pktmbuf_free_bulk(frames, BURST);
}

/* @return the signal that ended a child which did this, 0: none. */
static int
signal_of(void (*act)(void))
{
	struct rlimit no_core = {0, 0};
	int status = 0;
	pid_t child = fork();

	if (child == 0) {
		setrlimit(RLIMIT_CORE, &no_core);
		signal(SIGALRM, SIG_DFL);
		alarm(10); /* a handler that returns again and again would never end */
		act();
		_exit(0);
	}
	CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void
burst_then_crash(void)
{
	struct rte_mbuf *out[BURST];
	uint64_t cut = 0;

	touch = true;
	colo_guard_rx(port, 0, out, BURST, &cut);
	if (*(volatile uint8_t *)memory != 0) /* not within a burst */
		_exit(1);
}

static void
unguarded_burst(void)
{
	struct rte_mbuf *out[BURST];

	touch = true;
	rte_eth_rx_burst(port, 0, out, BURST);
}

/* Any other fault ends the process as ever. */
static void
other_faults_kill(void)
{
	CU_ASSERT_EQUAL(signal_of(burst_then_crash), SIGSEGV);
	CU_ASSERT_EQUAL(signal_of(unguarded_burst), SIGSEGV);
}

int
main(void)
{
	static const struct ut_case cases[] = {
		{"a port", make_port},
		{"frames pass", passes},
		{"a fault gives the burst up", gives_up},
		{"other faults kill", other_faults_kill},
	};

	ut_eal_start(64);
	return UT_RUN("guard", cases);
}
