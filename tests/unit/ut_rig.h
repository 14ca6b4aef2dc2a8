/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Both ends of the datapath in one thread: net_ring ports with a wire between them that the test
 * carries frames over, blocks, senders and receivers. The test plays both control cores.
 *
 *     senders -> port[0] -> out[0] == the test's hand ==> in[1] -> port[1] -> receivers
 *     senders <- port[0] <- in[0]  <== the test's hand == out[1] <- port[1] <- receivers
 */
#ifndef COLO_UT_RIG_H
#define COLO_UT_RIG_H

#include <stdlib.h>
#include <string.h>

#include <rte_bus_vdev.h>
#include <rte_eth_ring.h>

#include "receive.h"
#include "send.h"
#include "steer.h"
#include "ut.h"
#include "ut_eal.h"

#define UT_RIG_RING    8192u
#define UT_RIG_SESSION 0xc0105e55u
#define UT_RIG_PORT    20000u /* UDP port of the first channel of end 0; end 1 has + 100 */

static unsigned int ut_rig_serial; /* names of a rig that a failed test left behind differ */

struct ut_rig_options {
	uint32_t mtu;
	unsigned int ip_version;
	unsigned int n_channels;
	unsigned int window;
	bool zero_copy;
	bool sealed;
	uint8_t seal_shift;    /* 0: the default */
	unsigned int out_ring; /* frames a driver takes at most, 0: more than are ever sent */
	unsigned int n_blocks;
	uint64_t block_size[COLO_MAX_BLOCKS];
	uint32_t extra_blocks; /* bit i: the secondary has block i from the primary's hello only */
};

struct ut_rig {
	struct ut_rig_options o;
	unsigned int serial;
	struct rte_ring *out[2][COLO_MAX_CHANNELS], *in[2][COLO_MAX_CHANNELS];
	struct colo_port port[2];
	struct colo_address address[2];
	struct colo_blocks blocks[2]; /* primary's, secondary's */
	struct colo_send_end send;
	struct colo_receive_end receive;
	struct colo_seal_device seal;
	struct colo_seal_keys keys[2];
};

static const uint8_t ut_rig_secret[COLO_SEAL_SECRET_LEN] = "the secret of a session in tests";

static inline struct rte_ring *
ut_rig_ring(const char *what, unsigned int end, unsigned int channel, unsigned int n)
{
	char name[RTE_RING_NAMESIZE];
	struct rte_ring *ring;

	snprintf(name, sizeof(name), "ut%u_%s_%u_%u", ut_rig_serial, what, end, channel);
	ring = rte_ring_create(name, n, SOCKET_ID_ANY, 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(ring);
	return ring;
}

static inline void
ut_rig_port(struct ut_rig *r, unsigned int end)
{
	struct colo_error err = {""};
	struct colo_port_spec spec = {.n_queues = r->o.n_channels,
		.mtu = r->o.mtu,
		.rxd = 256,
		.txd = 256,
		.zero_copy = r->o.zero_copy,
		.window = r->o.window};
	char name[32];
	int id;

	for (unsigned int c = 0; c < r->o.n_channels; c++) {
		r->out[end][c] =
			ut_rig_ring("out", end, c, r->o.out_ring ? r->o.out_ring : UT_RIG_RING);
		r->in[end][c] = ut_rig_ring("in", end, c, UT_RIG_RING);
	}
	snprintf(name, sizeof(name), "ut%u_%u", r->serial, end);
	id = rte_eth_from_rings(
		name, r->in[end], r->o.n_channels, r->out[end], r->o.n_channels, SOCKET_ID_ANY);
	CU_ASSERT_TRUE_FATAL(id >= 0);
	spec.id = id;
	if (colo_port_start(&r->port[end], &spec, &err) != 0)
		fprintf(stderr, "%s\n", err.text);
	CU_ASSERT_STRING_EQUAL_FATAL(err.text, "");
	CU_ASSERT_EQUAL_FATAL(colo_port_address(&r->port[end],
				      r->o.ip_version == 4 ? end ? "10.0.0.2" : "10.0.0.1"
				      : end		   ? "fd00::2"
							   : "fd00::1",
				      4000 + end, &r->address[end], &err),
		0);
	for (unsigned int c = 0; c < r->o.n_channels; c++)
		r->address[end].channel_port[c] = UT_RIG_PORT + 100 * end + c;
}

static inline void
ut_rig_blocks(struct ut_rig *r)
{
	struct colo_error err = {""};

	r->blocks[1].rules.n_channels = r->o.n_channels;
	r->blocks[1].rules.numa_node = -1;
	for (unsigned int i = 0; i < r->o.n_blocks; i++) {
		struct colo_block_spec spec = {.size = r->o.block_size[i]};

		snprintf(spec.name, sizeof(spec.name), "block%u", i);
		CU_ASSERT_EQUAL_FATAL(colo_blocks_add_primary(&r->blocks[0], &spec, &err), 0);
		if (r->o.extra_blocks >> i & 1) {
			r->blocks[1].rules.max += spec.size;
			continue;
		}
		CU_ASSERT_EQUAL_FATAL(
			colo_blocks_add_secondary(&r->blocks[1], &spec, r->o.n_channels, -1, &err),
			0);
	}
}

static inline struct colo_frame_filter
ut_rig_filter(const struct ut_rig *r, unsigned int end)
{
	return (struct colo_frame_filter){.local = r->address[end],
		.peer = r->address[1 - end],
		.session = UT_RIG_SESSION,
		.n_channels = r->o.n_channels,
		.mtu = COLO_MTU_MAX,
		.take_pages = end == 1,
		.sealed = r->o.sealed};
}

/* The first phase of both ends: a session, no epoch. Adopted at their next turn. */
static inline void
ut_rig_session(struct ut_rig *r)
{
	uint32_t ip_udp_len = r->o.ip_version == 4 ? COLO_IPV4_UDP_LEN : COLO_IPV6_UDP_LEN;

	r->send.phase = (struct colo_send_phase){.session = true,
		.filter = ut_rig_filter(r, 0),
		.peer = r->address[1],
		.seal_shift = r->o.seal_shift,
		.ip_udp_len = ip_udp_len,
		.first_credit = r->o.window};
	r->receive.phase = (struct colo_receive_phase){.session = true,
		.filter = ut_rig_filter(r, 1),
		.peer = r->address[0],
		.seal_shift = r->o.seal_shift,
		.ip_udp_len = ip_udp_len};
	colo_gate_raise(&r->send.gate);
	colo_gate_raise(&r->receive.gate);
}

static inline void
ut_rig_ends(struct ut_rig *r)
{
	struct colo_error err = {""};

	r->send.blocks = &r->blocks[0];
	r->send.port = &r->port[0];
	r->send.n_channels = r->o.n_channels;
	r->receive.blocks = &r->blocks[1];
	r->receive.port = &r->port[1];
	r->receive.n_channels = r->o.n_channels;
	r->receive.window = r->o.window;
	r->send.lane.tx = ut_rig_ring("lane_tx", 0, 0, COLO_LANE_RING);
	r->send.lane.rx = ut_rig_ring("lane_rx", 0, 0, COLO_LANE_RING);
	r->receive.lane.tx = ut_rig_ring("lane_tx", 1, 0, COLO_LANE_RING);
	r->receive.lane.rx = ut_rig_ring("lane_rx", 1, 0, COLO_LANE_RING);
	CU_ASSERT_EQUAL_FATAL(colo_piece_list_init(&r->send.outbox.list, &r->blocks[0]), 0);
	for (unsigned int c = 0; c < r->o.n_channels; c++) {
		r->send.handover[c] = ut_rig_ring("over", 0, c, COLO_HANDOVER_RING);
		r->receive.handover[c] = ut_rig_ring("over", 1, c, COLO_HANDOVER_RING);
	}
	for (unsigned int c = 0; c < r->o.n_channels; c++) {
		r->send.channel[c] = colo_sender_new(&r->send, c, &err);
		r->receive.channel[c] = colo_receiver_new(&r->receive, c, &err);
		CU_ASSERT_PTR_NOT_NULL_FATAL(r->send.channel[c]);
		CU_ASSERT_PTR_NOT_NULL_FATAL(r->receive.channel[c]);
	}
}

/* Keys for both ends, as the control cores would make them. */
static inline void
ut_rig_seals(struct ut_rig *r)
{
	struct colo_error err = {""};

	if (!r->o.sealed)
		return;
	if (r->o.seal_shift == 0)
		r->o.seal_shift = COLO_SEAL_SHIFT_DEFAULT;
	CU_ASSERT_EQUAL_FATAL(
		colo_seal_device_open(&r->seal, 2 * r->o.n_channels, 16 * COLO_MAX_CHANNELS, &err),
		0);
	r->keys[0].device = r->keys[1].device = &r->seal;
	for (unsigned int c = 0; c < r->o.n_channels; c++) {
		colo_seal_end_add(&r->send.channel[c]->seal, &r->keys[0], c, true, c);
		colo_seal_end_add(
			&r->receive.channel[c]->seal, &r->keys[1], c, false, r->o.n_channels + c);
	}
	for (unsigned int end = 0; end < 2; end++)
		CU_ASSERT_EQUAL_FATAL(
			colo_seal_keys_begin(&r->keys[end], ut_rig_secret, r->o.seal_shift, &err),
			0);
}

/* Everything made, a session wanted; the ends adopt it at their first turn. */
static inline struct ut_rig *
ut_rig_new(const struct ut_rig_options *o)
{
	struct ut_rig *r = aligned_alloc(64, sizeof(*r));

	CU_ASSERT_PTR_NOT_NULL_FATAL(r);
	memset(r, 0, sizeof(*r));
	r->o = *o;
	r->serial = ++ut_rig_serial;
	ut_rig_port(r, 0);
	ut_rig_port(r, 1);
	ut_rig_blocks(r);
	ut_rig_ends(r);
	ut_rig_seals(r);
	ut_rig_session(r);
	return r;
}

/* All mbufs are back in their pools: nothing was leaked, nothing freed twice. */
static inline void
ut_rig_check_pool(struct rte_mempool *pool)
{
	if (pool == NULL)
		return;
	CU_ASSERT_EQUAL(rte_mempool_in_use_count(pool), 0);
	rte_mempool_audit(pool);
}

static inline void
ut_rig_drain(struct rte_ring *ring)
{
	void *m;

	while (rte_ring_dequeue(ring, &m) == 0)
		rte_pktmbuf_free(m);
	rte_ring_free(ring);
}

static inline void
ut_rig_free(struct ut_rig *r)
{
	for (unsigned int end = 0; end < 2; end++)
		colo_seal_keys_end(&r->keys[end]);
	colo_seal_device_close(&r->seal);
	for (unsigned int c = 0; c < r->o.n_channels; c++) {
		colo_sender_free(r->send.channel[c]);
		colo_receiver_free(r->receive.channel[c]);
		ut_rig_drain(r->send.handover[c]);
		ut_rig_drain(r->receive.handover[c]);
	}
	ut_rig_drain(r->send.lane.tx);
	ut_rig_drain(r->send.lane.rx);
	ut_rig_drain(r->receive.lane.tx);
	ut_rig_drain(r->receive.lane.rx);
	colo_piece_list_fini(&r->send.outbox.list);
	for (unsigned int end = 0; end < 2; end++) {
		for (unsigned int c = 0; c < r->o.n_channels; c++) {
			ut_rig_drain(r->out[end][c]);
			ut_rig_drain(r->in[end][c]);
		}
	}
	for (unsigned int end = 0; end < 2; end++) {
		ut_rig_check_pool(r->port[end].rx_pool);
		ut_rig_check_pool(r->port[end].tx_pool);
		ut_rig_check_pool(r->port[end].page_pool);
	}
	for (unsigned int end = 0; end < 2; end++) {
		char name[48];

		colo_port_stop(&r->port[end]);
		snprintf(name, sizeof(name), "net_ring_ut%u_%u", r->serial, end);
		rte_vdev_uninit(name);
		colo_blocks_free(&r->blocks[end], false);
	}
	free(r);
}

/* Carry what lies at one end's way out to the other end's way in, as it is. */
static inline void
ut_rig_carry(struct ut_rig *r)
{
	void *m;

	for (unsigned int end = 0; end < 2; end++)
		for (unsigned int c = 0; c < r->o.n_channels; c++)
			while (rte_ring_dequeue(r->out[end][c], &m) == 0)
				CU_ASSERT_EQUAL_FATAL(rte_ring_enqueue(r->in[1 - end][c], m), 0);
}

/* One turn of every poll core. @return true if any of them had work. */
static inline bool
ut_rig_turn(struct ut_rig *r)
{
	bool worked = false;

	for (unsigned int c = 0; c < r->o.n_channels; c++) {
		worked |= colo_send_poll(r->send.channel[c]);
		worked |= colo_receive_poll(r->receive.channel[c]);
	}
	return worked;
}

#endif
