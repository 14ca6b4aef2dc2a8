/* SPDX-License-Identifier: BSD-3-Clause */
/* Ports of net_ring and net_null: what is made, what is refused with which words, what is left. */
#include <sys/mman.h>

#include <rte_bus_vdev.h>
#include <rte_malloc.h>

#include "port.h"
#include "ut.h"
#include "ut_eal.h"
#include "wire.h"

static uint16_t
null_port(const char *name)
{
	uint16_t id = UINT16_MAX;

	CU_ASSERT_EQUAL_FATAL(rte_vdev_init(name, ""), 0);
	CU_ASSERT_EQUAL_FATAL(rte_eth_dev_get_port_by_name(name, &id), 0);
	return id;
}

static size_t
heap_in_use(void)
{
	struct rte_malloc_socket_stats stats;

	rte_malloc_get_socket_stats(0, &stats);
	return stats.heap_allocsz_bytes;
}

static struct colo_port_spec
spec_of(uint16_t id, uint16_t n_queues)
{
	return (struct colo_port_spec){
		.id = id, .n_queues = n_queues, .mtu = 1500, .rxd = 256, .txd = 256, .window = 64};
}

static void
test_start_stop(void)
{
	struct colo_error err = {""};
	struct colo_port p;
	size_t before = 0;

	for (unsigned int i = 0; i < 5; i++) {
		struct colo_port_spec spec = spec_of(null_port("net_null_ut"), 1 + i % 4);

		spec.zero_copy = i % 2;
		CU_ASSERT_EQUAL_FATAL(colo_port_start(&p, &spec, &err), 0);
		CU_ASSERT_STRING_EQUAL(p.driver, "net_null");
		CU_ASSERT_EQUAL(p.n_queues, spec.n_queues);
		CU_ASSERT_EQUAL(p.mtu, 1500);
		CU_ASSERT_EQUAL(p.zero_copy, spec.zero_copy);
		CU_ASSERT_EQUAL(p.no_zero_copy_why == NULL, spec.zero_copy);
		CU_ASSERT_EQUAL(p.page_pool != NULL, spec.zero_copy);
		colo_port_stop(&p);
		colo_port_stop(&p); /* twice is once */
		CU_ASSERT_EQUAL(rte_vdev_uninit("net_null_ut"), 0);
		if (i == 0)
			before = heap_in_use();
	}
	/* no pool is left behind; net_null itself keeps a few hundred bytes a queue */
	CU_ASSERT_TRUE(heap_in_use() < before + 65536);
}

/* Frames of the MTU fit; a page's mbuf has room for its callback. */
static void
test_pools(void)
{
	struct colo_port_spec spec = spec_of(null_port("net_null_ut"), 2);
	struct colo_error err = {""};
	struct colo_port p;

	spec.zero_copy = true;
	spec.mtu = COLO_MTU_MAX;
	CU_ASSERT_EQUAL_FATAL(colo_port_start(&p, &spec, &err), 0);
	CU_ASSERT_TRUE(rte_pktmbuf_data_room_size(p.rx_pool) >=
		       RTE_PKTMBUF_HEADROOM + COLO_ETHER_LEN + COLO_MTU_MAX);
	CU_ASSERT_TRUE(rte_pktmbuf_data_room_size(p.tx_pool) >=
		       RTE_PKTMBUF_HEADROOM + COLO_ETHER_LEN + COLO_MTU_MAX);
	CU_ASSERT_TRUE(rte_pktmbuf_priv_size(p.page_pool) >= COLO_PAGE_MBUF_PRIV);
	CU_ASSERT_TRUE(rte_mempool_avail_count(p.tx_pool) >= 2 * spec.window);
	CU_ASSERT_TRUE(rte_mempool_avail_count(p.rx_pool) >= 2 * spec.rxd);
	colo_port_stop(&p);
	CU_ASSERT_EQUAL(rte_vdev_uninit("net_null_ut"), 0);
}

static void
check_refused(const struct colo_port_spec *spec, const char *word)
{
	struct colo_error err = {""};
	struct colo_port p;

	CU_ASSERT_EQUAL(colo_port_start(&p, spec, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, word));
	colo_port_stop(&p);
}

static void
test_refused(void)
{
	struct colo_port_spec spec = spec_of(RTE_MAX_ETHPORTS - 1, 1);
	struct rte_eth_dev_info info;

	check_refused(&spec, "no such ethdev port");
	spec.id = UINT16_MAX;
	check_refused(&spec, "no such ethdev port");
	spec = spec_of(null_port("net_null_ut"), 1);
	CU_ASSERT_EQUAL_FATAL(rte_eth_dev_info_get(spec.id, &info), 0);
	spec.n_queues = RTE_MIN(info.max_rx_queues, info.max_tx_queues) + 1;
	check_refused(&spec, "--channels");
	rte_vdev_uninit("net_null_ut");
	spec = spec_of(null_port("net_null_ut"), COLO_MAX_CHANNELS);
	spec.mtu = COLO_MTU_MAX;
	spec.window = COLO_WINDOW_MAX;
	check_refused(&spec, "-m MB"); /* 64 MB are too few for that */
	rte_vdev_uninit("net_null_ut");
	spec = spec_of(null_port("net_null_ut"), 1); /* and now there is enough again */
	CU_ASSERT_EQUAL(colo_port_start(&(struct colo_port){0}, &spec, NULL), 0);
}

static void
check_carries(const struct colo_port *from, const struct colo_port *to, uint16_t queue)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(from->tx_pool), *got = NULL;

	CU_ASSERT_PTR_NOT_NULL_FATAL(m);
	CU_ASSERT_EQUAL_FATAL(rte_eth_tx_burst(from->id, queue, &m, 1), 1);
	for (uint16_t q = 0; q < to->n_queues; q++)
		CU_ASSERT_EQUAL(rte_eth_rx_burst(to->id, q, &got, 1), q == queue);
	CU_ASSERT_PTR_EQUAL(got, m);
	rte_pktmbuf_free(m);
}

static void
test_pair(void)
{
	struct colo_port p[2];
	struct colo_error err = {""};
	uint16_t ids[2];

	CU_ASSERT_EQUAL(colo_port_pair(0, 64, ids, &err), -1);
	CU_ASSERT_EQUAL(colo_port_pair(COLO_MAX_CHANNELS + 1, 64, ids, &err), -1);
	CU_ASSERT_EQUAL_FATAL(colo_port_pair(COLO_MAX_CHANNELS, 64, ids, &err), 0);
	CU_ASSERT_NOT_EQUAL(ids[0], ids[1]);
	for (unsigned int i = 0; i < 2; i++) {
		struct colo_port_spec spec = spec_of(ids[i], COLO_MAX_CHANNELS);

		CU_ASSERT_EQUAL_FATAL(colo_port_start(&p[i], &spec, &err), 0);
		CU_ASSERT_STRING_EQUAL(p[i].driver, "net_ring");
	}
	for (uint16_t q = 0; q < COLO_MAX_CHANNELS; q++) {
		check_carries(&p[0], &p[1], q);
		check_carries(&p[1], &p[0], q);
	}
	CU_ASSERT_EQUAL(colo_port_pair(1, 64, ids, &err), -1); /* one pair a process */
	CU_ASSERT_TRUE(strlen(err.text) > 0);
	colo_port_stop(&p[0]);
	colo_port_stop(&p[1]);
}

static void
check_address(const char *ip, unsigned int version, const uint8_t *bytes)
{
	const struct colo_port p = {.mac.addr_bytes = {2, 3, 4, 5, 6, 7}};
	struct colo_address a;
	struct colo_error err = {""};

	if (version == 0) {
		CU_ASSERT_EQUAL(colo_port_address(&p, ip, 77, &a, &err), -1);
		CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "--ip"));
		CU_ASSERT_PTR_NOT_NULL(strstr(err.text, ip));
		return;
	}
	CU_ASSERT_EQUAL(colo_port_address(&p, ip, 77, &a, &err), 0);
	CU_ASSERT_EQUAL(a.ip_version, version);
	CU_ASSERT_EQUAL(a.source_port, 77);
	CU_ASSERT_EQUAL(memcmp(a.ip, bytes, version == 6 ? 16 : 4), 0);
	CU_ASSERT_EQUAL(memcmp(a.mac, p.mac.addr_bytes, 6), 0);
}

static void
test_address(void)
{
	const uint8_t from_mac[4] = {169, 254, 6, 7}, v4[4] = {192, 0, 2, 255};
	const uint8_t v6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 1};

	check_address("", 4, from_mac);
	check_address("192.0.2.255", 4, v4);
	check_address("2001:db8::1", 6, v6);
	check_address("192.0.2.256", 0, NULL);
	check_address("192.0.2", 0, NULL);
	check_address("192.0.2.1 ", 0, NULL);
	check_address("2001:db8::g", 0, NULL);
	check_address("localhost", 0, NULL);
}

/* Zero copy: memory is registered once, and again is no error; without it nothing is done. */
static void
test_register(void)
{
	struct colo_port_spec spec = spec_of(null_port("net_null_reg"), 1);
	const size_t size = 4u << 20;
	struct colo_error err = {""};
	struct colo_port p;
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CU_ASSERT_PTR_NOT_EQUAL_FATAL(memory, MAP_FAILED);
	spec.zero_copy = true;
	CU_ASSERT_EQUAL_FATAL(colo_port_start(&p, &spec, &err), 0);
	CU_ASSERT_EQUAL(colo_port_register(&p, memory, size, 4096, &err), 0);
	CU_ASSERT_PTR_NOT_NULL(rte_mem_virt2memseg_list(memory));
	CU_ASSERT_EQUAL(colo_port_register(&p, memory, size, 4096, &err), 0);
	colo_port_unregister(&p, memory, size);
	CU_ASSERT_PTR_NULL(rte_mem_virt2memseg_list(memory));
	CU_ASSERT_EQUAL(colo_port_register(&p, memory, size - 1, 4096, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "registered"));
	p.zero_copy = false;
	CU_ASSERT_EQUAL(colo_port_register(&p, memory, size - 1, 4096, &err), 0);
	colo_port_unregister(&p, memory, size);
	p.zero_copy = true;
	colo_port_stop(&p);
	munmap(memory, size);
}

static const struct ut_case cases[] = {
	{"start and stop", test_start_stop},
	{"mempools", test_pools},
	{"what is refused", test_refused},
	{"a pair", test_pair},
	{"addresses", test_address},
	{"registered memory", test_register},
};

int
main(void)
{
	ut_eal_start(128);
	return UT_RUN("port", cases);
}
