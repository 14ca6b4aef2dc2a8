/* SPDX-License-Identifier: BSD-3-Clause */
/* Which queue a frame lands on, by a Toeplitz hash of the test's own, bit by bit. */
#include <arpa/inet.h>
#include <stdlib.h>

#include <rte_bus_vdev.h>

#include "steer.h"
#include "ut.h"
#include "ut_eal.h"

/* The key of Microsoft's RSS specification, whose examples everyone checks against. */
static const uint8_t key[40] = {0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25,
	0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb,
	0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};

/* For each bit of the input that is set: the 32 bits of the key that begin there. */
static uint32_t
toeplitz(const uint8_t *input, unsigned int bytes)
{
	uint32_t hash = 0;

	for (unsigned int bit = 0; bit < bytes * 8; bit++) {
		uint32_t window = 0;

		if ((input[bit / 8] >> (7 - bit % 8) & 1) == 0)
			continue;
		for (unsigned int i = bit; i < bit + 32; i++)
			window = window << 1 | (key[i / 8] >> (7 - i % 8) & 1);
		hash ^= window;
	}
	return hash;
}

/* As on the wire: addresses and ports, source first, network order. */
static uint32_t
hash_of(const struct colo_address *from, const struct colo_address *to, uint16_t to_port)
{
	unsigned int n = from->ip_version == 6 ? 16 : 4;
	uint8_t input[36];

	memcpy(input, from->ip, n);
	memcpy(input + n, to->ip, n);
	input[2 * n] = from->source_port >> 8;
	input[2 * n + 1] = from->source_port & 0xff;
	input[2 * n + 2] = to_port >> 8;
	input[2 * n + 3] = to_port & 0xff;
	return toeplitz(input, 2 * n + 4);
}

static struct colo_address
address(const char *ip, uint16_t source_port)
{
	struct colo_address a = {.source_port = source_port, .ip_version = 4};

	if (inet_pton(AF_INET, ip, a.ip) == 1)
		return a;
	a.ip_version = 6;
	CU_ASSERT_EQUAL_FATAL(inet_pton(AF_INET6, ip, a.ip), 1);
	return a;
}

/* A device with RSS, as read_rss() would have found it. */
static struct colo_port
port_with(uint16_t n_queues, uint16_t reta_size)
{
	struct colo_port p = {.n_queues = n_queues,
		.rss_offloads = RTE_ETH_RSS_NONFRAG_IPV4_UDP,
		.rss_key_len = sizeof(key),
		.reta_size = reta_size};

	memcpy(p.rss_key, key, sizeof(key));
	for (unsigned int i = 0; i < reta_size; i++)
		p.reta[i] = i % n_queues;
	return p;
}

static void
check_known(const char *from, uint16_t from_port, const char *to, uint16_t to_port, uint32_t hash)
{
	struct colo_address peer = address(from, from_port), local = address(to, 0);
	struct colo_port p = port_with(1, 512);

	CU_ASSERT_EQUAL(hash_of(&peer, &local, to_port), hash);
	for (unsigned int i = 0; i < 512; i++)
		p.reta[i] = 1000 + i;
	CU_ASSERT_EQUAL(colo_steer_rss_queue(&p, &peer, &local, to_port), 1000 + hash % 512);
}

static void
test_known(void)
{
	check_known("66.9.149.187", 2794, "161.142.100.80", 1766, 0x51ccc178);
	check_known("199.92.111.2", 14230, "65.69.140.83", 4739, 0xc626b0ea);
	check_known("24.19.198.95", 12898, "12.22.207.184", 38024, 0x5c2b394a);
	check_known("3ffe:2501:200:1fff::7", 2794, "3ffe:2501:200:3::1", 1766, 0x40207d3d);
	check_known("3ffe:501:8::260:97ff:fe40:efab", 14230, "ff02::1", 4739, 0xdde51bbf);
	check_known("3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251, "fe80::200:f8ff:fe21:67cf", 38024,
		0x02d1feef);
}

static void
test_random(void)
{
	static const uint16_t sizes[] = {1, 2, 64, 128, 512};
	unsigned int differ = 0;

	srand(5);
	for (unsigned int i = 0; i < 2000; i++) {
		struct colo_port p = port_with(1 + rand() % 16, sizes[i % RTE_DIM(sizes)]);
		struct colo_address peer = {.ip_version = i % 2 ? 4 : 6, .source_port = rand()};
		struct colo_address local = peer;
		uint16_t port = rand();

		for (unsigned int k = 0; k < 16; k++) {
			peer.ip[k] = rand();
			local.ip[k] = rand();
		}
		differ += colo_steer_rss_queue(&p, &peer, &local, port) !=
			  p.reta[hash_of(&peer, &local, port) % p.reta_size];
	}
	CU_ASSERT_EQUAL(differ, 0);
}

static void
check_ports(uint16_t n_queues, uint16_t reta_size, const char *from, const char *to)
{
	struct colo_port p = port_with(n_queues, reta_size);
	struct colo_address peer = address(from, 4321), local = address(to, 1234);
	struct colo_steering s = {.how = COLO_STEERED_RSS};
	struct colo_error err;

	CU_ASSERT_EQUAL_FATAL(colo_steer_ports(&s, &p, 30000, &peer, &local, &err), 0);
	for (unsigned int c = 0; c < n_queues; c++) {
		CU_ASSERT_EQUAL(
			p.reta[hash_of(&peer, &local, local.channel_port[c]) % reta_size], c);
		CU_ASSERT_TRUE(local.channel_port[c] >= 30000);
		for (unsigned int k = 0; k < c; k++)
			CU_ASSERT_NOT_EQUAL(local.channel_port[c], local.channel_port[k]);
	}
}

static void
test_ports(void)
{
	for (uint16_t n = 1; n <= COLO_MAX_CHANNELS; n++) {
		check_ports(n, 128, "10.0.0.1", "10.0.0.2");
		check_ports(n, 512, "fd00::1", "fd00::2");
	}
}

/* A table without a queue; a base too high: one sentence, no endless search. */
static void
test_no_port(void)
{
	struct colo_port p = port_with(4, 128);
	struct colo_address peer = address("10.0.0.1", 4321), local = address("10.0.0.2", 1234);
	struct colo_steering s = {.how = COLO_STEERED_RSS};
	struct colo_error err = {""};

	CU_ASSERT_EQUAL(colo_steer_ports(&s, &p, UINT16_MAX - 1, &peer, &local, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "--udp-port"));
	for (unsigned int i = 0; i < 128; i++)
		p.reta[i] = i % 3;
	err.text[0] = '\0';
	CU_ASSERT_EQUAL(colo_steer_ports(&s, &p, 30000, &peer, &local, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "queue 3"));
	/* the last port there is may be chosen */
	p = port_with(1, 128);
	CU_ASSERT_EQUAL(colo_steer_ports(&s, &p, UINT16_MAX, &peer, &local, &err), 0);
	CU_ASSERT_EQUAL(local.channel_port[0], UINT16_MAX);
}

static void
test_paired(void)
{
	struct colo_port p = {.n_queues = 4};
	struct colo_address peer = address("10.0.0.1", 1), local = address("10.0.0.2", 2);
	struct colo_steering s = {.how = COLO_STEERED_PAIRED};
	struct colo_error err = {""};

	CU_ASSERT_EQUAL(colo_steer_ports(&s, &p, 40000, &peer, &local, &err), 0);
	for (unsigned int c = 0; c < 4; c++)
		CU_ASSERT_EQUAL(local.channel_port[c], 40000 + c);
	CU_ASSERT_EQUAL(colo_steer_ports(&s, &p, UINT16_MAX - 3, &peer, &local, &err), 0);
	CU_ASSERT_EQUAL(local.channel_port[3], UINT16_MAX);
	CU_ASSERT_EQUAL(colo_steer_ports(&s, &p, UINT16_MAX - 2, &peer, &local, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "--udp-port"));
}

/* What is chosen, and what is refused, on a device that can nothing. */
static void
test_choose(void)
{
	struct colo_port p = {.n_queues = 4};
	struct colo_steering s;
	struct colo_error err = {""};

	CU_ASSERT_EQUAL_FATAL(rte_vdev_init("net_null_steer", ""), 0);
	CU_ASSERT_EQUAL_FATAL(rte_eth_dev_get_port_by_name("net_null_steer", &p.id), 0);
	CU_ASSERT_EQUAL(colo_steer_choose(&s, &p, NULL, &err), 0);
	CU_ASSERT_EQUAL(s.how, COLO_STEERED_PAIRED);
	CU_ASSERT_EQUAL(colo_steer_choose(&s, &p, "paired", &err), 0);
	CU_ASSERT_EQUAL(s.how, COLO_STEERED_PAIRED);
	CU_ASSERT_EQUAL(colo_steer_choose(&s, &p, "rss", &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "--steering rss"));
	CU_ASSERT_EQUAL(colo_steer_choose(&s, &p, "flow", &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "--steering flow"));
	p.rss_offloads = RTE_ETH_RSS_NONFRAG_IPV4_UDP;
	CU_ASSERT_EQUAL(colo_steer_choose(&s, &p, NULL, &err), 0);
	CU_ASSERT_EQUAL(s.how, COLO_STEERED_RSS);
	CU_ASSERT_EQUAL(colo_steer_choose(&s, &p, "rss", &err), 0);
	CU_ASSERT_EQUAL(colo_steer_choose(&s, &p, "paired", &err), 0);
	CU_ASSERT_EQUAL(s.how, COLO_STEERED_PAIRED);
	colo_steer_clear(&s, &p); /* nothing to remove */
	CU_ASSERT_EQUAL(rte_vdev_uninit("net_null_steer"), 0);
}

static void
test_names(void)
{
	CU_ASSERT_STRING_EQUAL(colo_steer_name(COLO_STEERED_PAIRED), "paired");
	CU_ASSERT_STRING_EQUAL(colo_steer_name(COLO_STEERED_RSS), "rss");
	CU_ASSERT_STRING_EQUAL(colo_steer_name(COLO_STEERED_FLOW), "flow");
}

static const struct ut_case cases[] = {
	{"hashes that everyone knows", test_known},
	{"random addresses", test_random},
	{"a port for each queue", test_ports},
	{"no port for a queue", test_no_port},
	{"paired queues", test_paired},
	{"what is chosen", test_choose},
	{"names", test_names},
};

int
main(void)
{
	ut_eal_start(64);
	return UT_RUN("steer", cases);
}
