/* SPDX-License-Identifier: BSD-3-Clause */
/* Bring an ethdev port up with one queue pair a channel, within what its driver can do. */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include <rte_errno.h>
#include <rte_eth_ring.h>
#include <rte_ring.h>

#include "guard.h"
#include "driver.h"
#include "log.h"
#include "port.h"
#include "wire.h"

#define MEMPOOL_CACHE	    256u
#define RX_ROOM_AF_PACKET   16384u /* the PMD wants as much as its framesz, whatever the MTU */
#define IPV4_LINK_LOCAL_NET 169, 254

static void
choose_zero_copy(
	struct colo_port *p, const struct colo_port_spec *spec, const struct rte_eth_dev_info *info)
{
	p->zero_copy = false;
	if (!spec->zero_copy)
		p->no_zero_copy_why = "--zero-copy off";
	else if (!colo_driver_takes_chains(p->driver, info))
		p->no_zero_copy_why = "driver takes no chained mbufs";
	else if (rte_eal_iova_mode() != RTE_IOVA_VA)
		p->no_zero_copy_why = "IOVA mode is not VA";
	else
		p->zero_copy = true;
}

static int
make_pools(struct colo_port *p, const struct colo_port_spec *spec, struct colo_error *err)
{
	uint32_t frame = COLO_ETHER_LEN + p->mtu;
	uint32_t rx_room =
		colo_driver_is(p->driver, "net_af_packet") ? RX_ROOM_AF_PACKET : frame + 64;
	uint32_t per_queue = RTE_MAX(spec->window, (unsigned int)p->rxd) + 4 * COLO_BURST;
	/* whole frames with zero copy too: what zstd made lies nowhere else, and codecs change */
	uint32_t tx_room = frame + 64;
	uint32_t tx_n = (spec->window + p->txd + 4 * COLO_BURST) * p->n_queues + MEMPOOL_CACHE * 8;
	uint32_t rx_n = per_queue * p->n_queues + MEMPOOL_CACHE * 8;
	char name[RTE_MEMPOOL_NAMESIZE];

	snprintf(name, sizeof(name), "colo_rx_%u", p->id);
	p->rx_pool = rte_pktmbuf_pool_create(
		name, rx_n, MEMPOOL_CACHE, 0, rx_room + RTE_PKTMBUF_HEADROOM, p->socket);
	snprintf(name, sizeof(name), "colo_tx_%u", p->id);
	p->tx_pool = rte_pktmbuf_pool_create(
		name, tx_n, MEMPOOL_CACHE, 0, tx_room + RTE_PKTMBUF_HEADROOM, p->socket);
	if (p->zero_copy) {
		snprintf(name, sizeof(name), "colo_page_%u", p->id);
		p->page_pool = rte_pktmbuf_pool_create(name, 2 * tx_n, MEMPOOL_CACHE,
			RTE_ALIGN(COLO_PAGE_MBUF_PRIV, RTE_MBUF_PRIV_ALIGN), 0, p->socket);
	}
	if (p->rx_pool == NULL || p->tx_pool == NULL || (p->zero_copy && p->page_pool == NULL))
		return colo_error_set(err,
			"not enough DPDK memory for the mbufs of port %u, about %u MiB: give EAL "
			"more with -m MB, or use fewer --channels, a smaller --window or --mtu",
			p->id,
			(unsigned int)(((uint64_t)rx_n * rx_room + (uint64_t)tx_n * tx_room) >>
				       20));
	return 0;
}

static int
check_limits(struct colo_port *p, const struct colo_port_spec *spec,
	const struct rte_eth_dev_info *info, struct colo_error *err)
{
	uint16_t queues = RTE_MIN(info->max_rx_queues, info->max_tx_queues);
	uint32_t max_mtu = info->max_mtu;

	if (spec->n_queues > queues)
		return colo_error_set(err,
			"--channels %u: port %u (%s) has %u queue pairs; accepted: 1..%u",
			spec->n_queues, p->id, p->driver, queues, queues);
	/* the kernel's fanout puts frames on every queue pair, also on one that nobody polls */
	if (colo_driver_is(p->driver, "net_af_packet") && spec->n_queues != queues)
		return colo_error_set(err,
			"--channels %u: port %u (%s) has qpairs=%u, and frames would be lost on "
			"those without a channel; as many qpairs as channels are accepted",
			spec->n_queues, p->id, p->driver, queues);
	/* net_ring, net_memif and net_null say 1500 or 65535 whatever they carry */
	if (max_mtu != 0 && spec->mtu > max_mtu && !colo_driver_carries_any(p->driver))
		return colo_error_set(err, "--mtu %u: port %u (%s) takes at most %u", spec->mtu,
			p->id, p->driver, max_mtu);
	p->rxd = spec->rxd;
	p->txd = spec->txd;
	if (rte_eth_dev_adjust_nb_rx_tx_desc(p->id, &p->rxd, &p->txd) != 0)
		return colo_error_set(err, "--rxd %u --txd %u: port %u (%s) does not take these",
			spec->rxd, spec->txd, p->id, p->driver);
	if (colo_driver_is(p->driver, "net_memif") && colo_driver_memif_zero_copy(p->id))
		return colo_error_set(err,
			"net_memif with zero-copy=yes breaks the link when pages are sent from "
			"guest memory; leave zero-copy out of its devargs");
	return 0;
}

static int
configure(struct colo_port *p, const struct rte_eth_dev_info *info, struct colo_error *err)
{
	struct rte_eth_conf conf = {0};
	int rc;

	p->rss_offloads = info->flow_type_rss_offloads &
			  (RTE_ETH_RSS_NONFRAG_IPV4_UDP | RTE_ETH_RSS_NONFRAG_IPV6_UDP);
	if (p->rss_offloads != 0 && p->n_queues > 1) {
		conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
		conf.rx_adv_conf.rss_conf.rss_hf = p->rss_offloads;
	} else {
		p->rss_offloads = 0;
	}
	/* net_memif and net_af_packet name 1518 bytes as their limit and carry more */
	if (p->mtu + RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN <= info->max_rx_pktlen)
		conf.rxmode.mtu = p->mtu;
	if (info->tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS)
		conf.txmode.offloads |= RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
	if (info->rx_offload_capa & RTE_ETH_RX_OFFLOAD_SCATTER && p->mtu > RTE_ETHER_MTU)
		conf.rxmode.offloads |= RTE_ETH_RX_OFFLOAD_SCATTER;
	rc = rte_eth_dev_configure(p->id, p->n_queues, p->n_queues, &conf);
	if (rc != 0)
		return colo_error_set(err, "port %u (%s) cannot be configured with %u queues: %s",
			p->id, p->driver, p->n_queues, strerror(-rc));
	return 0;
}

static int
set_up_queues(struct colo_port *p, struct colo_error *err)
{
	for (uint16_t q = 0; q < p->n_queues; q++) {
		int rc = rte_eth_rx_queue_setup(p->id, q, p->rxd, p->socket, NULL, p->rx_pool);

		if (rc == 0)
			rc = rte_eth_tx_queue_setup(p->id, q, p->txd, p->socket, NULL);
		if (rc != 0)
			return colo_error_set(err,
				"queue %u of port %u (%s) cannot be set up with %u/%u descriptors: "
				"%s",
				q, p->id, p->driver, p->rxd, p->txd, strerror(-rc));
	}
	return 0;
}

static int
set_mtu(struct colo_port *p, const struct rte_eth_dev_info *info, struct colo_error *err)
{
	uint16_t now = 0;
	int rc = rte_eth_dev_set_mtu(p->id, p->mtu);

	if (colo_driver_is(p->driver, "net_af_packet"))
		return colo_driver_af_packet_check(p, info, err);
	if (rc == 0 || colo_driver_is(p->driver, "net_ring") ||
		colo_driver_is(p->driver, "net_memif"))
		return 0; /* these carry any size */
	if (rte_eth_dev_get_mtu(p->id, &now) == 0 && now >= p->mtu)
		return 0;
	return colo_error_set(err, "--mtu %u: port %u (%s) does not take it: %s", p->mtu, p->id,
		p->driver, strerror(-rc));
}

/* The table as it is after dev_start; a driver without one spreads hash % queues. */
static bool
uses_every_queue(const struct colo_port *p)
{
	uint32_t seen = 0;

	for (unsigned int i = 0; i < p->reta_size; i++)
		seen |= 1u << p->reta[i] % 32;
	return seen == (uint32_t)RTE_LEN2MASK(p->n_queues, uint32_t);
}

/* Queues in turn; without such a table there is no steering by RSS. */
static void
spread_reta(struct colo_port *p, struct rte_eth_rss_reta_entry64 *reta)
{
	for (unsigned int i = 0; i < p->reta_size; i++) {
		p->reta[i] = i % p->n_queues;
		reta[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE] = p->reta[i];
	}
	if (rte_eth_dev_rss_reta_update(p->id, reta, p->reta_size) != 0)
		p->rss_offloads = 0;
}

static void
read_rss(struct colo_port *p, const struct rte_eth_dev_info *info)
{
	struct rte_eth_rss_conf conf = {.rss_key = p->rss_key};
	struct rte_eth_rss_reta_entry64 reta[RTE_ETH_RSS_RETA_SIZE_512 / RTE_ETH_RETA_GROUP_SIZE];

	if (p->rss_offloads == 0)
		return;
	conf.rss_key_len = RTE_MIN(info->hash_key_size, sizeof(p->rss_key));
	p->rss_key_len = conf.rss_key_len;
	p->reta_size = RTE_MIN(info->reta_size, (uint16_t)RTE_DIM(p->reta));
	memset(reta, 0, sizeof(reta));
	for (unsigned int i = 0; i < RTE_DIM(reta); i++)
		reta[i].mask = UINT64_MAX;
	if (rte_eth_dev_rss_hash_conf_get(p->id, &conf) != 0 || p->reta_size == 0 ||
		rte_eth_dev_rss_reta_query(p->id, reta, p->reta_size) != 0) {
		p->rss_offloads = 0;
		return;
	}
	for (unsigned int i = 0; i < p->reta_size; i++)
		p->reta[i] = reta[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE];
	/* net_null's is all zeros */
	if (!uses_every_queue(p))
		spread_reta(p, reta);
}

int
colo_port_start(struct colo_port *p, const struct colo_port_spec *spec, struct colo_error *err)
{
	struct rte_eth_dev_info info;
	int rc;

	memset(p, 0, sizeof(*p));
	p->id = spec->id;
	p->n_queues = spec->n_queues;
	p->mtu = spec->mtu;
	if (!rte_eth_dev_is_valid_port(p->id) || rte_eth_dev_info_get(p->id, &info) != 0)
		return colo_error_set(err,
			"--port %u: no such ethdev port, %u found; give EAL --vdev=... or -a PCI",
			p->id, rte_eth_dev_count_avail());
	snprintf(p->driver, sizeof(p->driver), "%s", info.driver_name);
	p->socket = rte_eth_dev_socket_id(p->id);
	p->guarded = colo_driver_is(p->driver, "net_memif");
	if (p->guarded && colo_guard_install() != 0)
		return colo_error_set(err, "port %u (%s): signals cannot be caught: %s", p->id,
			p->driver, strerror(errno));
	if (check_limits(p, spec, &info, err) != 0)
		return -1;
	choose_zero_copy(p, spec, &info);
	if (make_pools(p, spec, err) != 0 || configure(p, &info, err) != 0 ||
		set_up_queues(p, err) != 0 || set_mtu(p, &info, err) != 0)
		return -1;
	rc = rte_eth_dev_start(p->id);
	if (rc != 0)
		return colo_error_set(err, "port %u (%s) does not start: %s%s", p->id, p->driver,
			strerror(-rc),
			colo_driver_is(p->driver, "net_memif")
				? "; of two net_memif ends the one with "
				  "role=server has to be started first"
				: "");
	p->started = true;
	rte_eth_macaddr_get(p->id, &p->mac);
	read_rss(p, &info);
	COLO_LOG(NOTICE, "port %u: %s, %u queue pairs, %u/%u descriptors, MTU %u, transmit %s%s%s",
		p->id, p->driver, p->n_queues, p->rxd, p->txd, p->mtu,
		p->zero_copy ? "from guest memory (zero copy)" : "by copy",
		p->zero_copy ? "" : ": ", p->zero_copy ? "" : p->no_zero_copy_why);
	return 0;
}

void
colo_port_stop(struct colo_port *p)
{
	if (p->driver[0] == '\0')
		return;
	if (p->started)
		rte_eth_dev_stop(p->id);
	rte_eth_dev_close(p->id);
	rte_mempool_free(p->rx_pool);
	rte_mempool_free(p->tx_pool);
	rte_mempool_free(p->page_pool);
	memset(p, 0, sizeof(*p));
}

static void
free_rings(struct rte_ring *ring[2][COLO_MAX_CHANNELS], uint16_t n_queues)
{
	for (unsigned int d = 0; d < 2; d++)
		for (uint16_t q = 0; q < n_queues; q++)
			rte_ring_free(ring[d][q]);
}

static int
make_rings(struct rte_ring *ring[2][COLO_MAX_CHANNELS], uint16_t n_queues, unsigned int entries,
	struct colo_error *err)
{
	char name[RTE_RING_NAMESIZE];

	memset(ring, 0, 2 * sizeof(ring[0]));
	for (unsigned int d = 0; d < 2; d++) {
		for (uint16_t q = 0; q < n_queues; q++) {
			snprintf(name, sizeof(name), "colo_wire_%u_%u", d, q);
			ring[d][q] = rte_ring_create(
				name, entries, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
			if (ring[d][q] == NULL)
				return colo_error_set(
					err, "no rings for a pair: %s", rte_strerror(rte_errno));
		}
	}
	return 0;
}

int
colo_port_pair(uint16_t n_queues, unsigned int entries, uint16_t ids[2], struct colo_error *err)
{
	struct rte_ring *ring[2][COLO_MAX_CHANNELS];
	char name[RTE_RING_NAMESIZE];
	int id;

	if (n_queues == 0 || n_queues > COLO_MAX_CHANNELS)
		return colo_error_set(err, "a pair with %u queues: 1 to %u are accepted", n_queues,
			COLO_MAX_CHANNELS);
	if (make_rings(ring, n_queues, entries, err) != 0) {
		free_rings(ring, n_queues);
		return -1;
	}
	for (unsigned int d = 0; d < 2; d++) {
		snprintf(name, sizeof(name), "colo_pair_%u", d);
		id = rte_eth_from_rings(
			name, ring[d], n_queues, ring[1 - d], n_queues, SOCKET_ID_ANY);
		if (id < 0)
			return colo_error_set(
				err, "no net_ring port for a pair: %s", rte_strerror(rte_errno));
		ids[d] = id;
	}
	return 0;
}

int
colo_port_register(
	struct colo_port *p, void *addr, uint64_t size, uint64_t page_size, struct colo_error *err)
{
	struct rte_eth_dev_info info;
	int rc;

	if (!p->zero_copy)
		return 0;
	rc = rte_extmem_register(addr, size, NULL, 0, page_size);
	if (rc != 0 && rte_errno != EEXIST)
		return colo_error_set(err, "guest memory cannot be registered with DPDK: %s",
			rte_strerror(rte_errno));
	if (rte_eth_dev_info_get(p->id, &info) == 0 && info.device != NULL) {
		rc = rte_dev_dma_map(info.device, addr, (uintptr_t)addr, size);
		if (rc != 0 && rte_errno != ENOTSUP)
			COLO_LOG(WARNING, "port %u: guest memory is not mapped for DMA: %s", p->id,
				rte_strerror(rte_errno));
	}
	return 0;
}

void
colo_port_unregister(struct colo_port *p, void *addr, uint64_t size)
{
	struct rte_eth_dev_info info;

	if (!p->zero_copy)
		return;
	if (rte_eth_dev_info_get(p->id, &info) == 0 && info.device != NULL)
		rte_dev_dma_unmap(info.device, addr, (uintptr_t)addr, size);
	rte_extmem_unregister(addr, size);
}

int
colo_port_address(const struct colo_port *p, const char *ip, uint16_t udp_port,
	struct colo_address *address, struct colo_error *err)
{
	const uint8_t link_local[] = {
		IPV4_LINK_LOCAL_NET, p->mac.addr_bytes[4], p->mac.addr_bytes[5]};

	memset(address, 0, sizeof(*address));
	memcpy(address->mac, p->mac.addr_bytes, sizeof(address->mac));
	address->source_port = udp_port;
	if (ip[0] == '\0') {
		address->ip_version = 4;
		memcpy(address->ip, link_local, sizeof(link_local));
	} else if (inet_pton(AF_INET, ip, address->ip) == 1) {
		address->ip_version = 4;
	} else if (inet_pton(AF_INET6, ip, address->ip) == 1) {
		address->ip_version = 6;
	} else {
		return colo_error_set(
			err, "--ip %s: not an address; accepted: IPv4 or IPv6 in digits", ip);
	}
	return 0;
}
