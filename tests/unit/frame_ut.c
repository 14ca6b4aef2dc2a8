/* SPDX-License-Identifier: BSD-3-Clause */
/* Outer headers and colo_header, written and checked; each field bent by itself. */
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_udp.h>

#include "ut_eal.h"
#include "ut_packet.h"

#define SESSION	   0x01020304u
#define N_CHANNELS 3u

static struct {
	struct rte_mempool *pool;
	struct colo_address primary, secondary;
	struct colo_frame_filter at_primary, at_secondary;
	struct ut_packet packet;
	struct colo_frame frame;
	bool is_ipv6;
} t;

static void
begin(unsigned int ip_version)
{
	t.is_ipv6 = ip_version == 6;
	t.primary = (struct colo_address){.mac = {2, 0, 0, 0, 0, 1},
		.ip_version = ip_version,
		.ip = {10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
		.source_port = 4000,
		.channel_port = {5000, 5001, 5002}};
	t.secondary = (struct colo_address){.mac = {2, 0, 0, 0, 0, 2},
		.ip_version = ip_version,
		.ip = {10, 1, 2, 4, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16},
		.source_port = 4001,
		.channel_port = {6000, 6001, 6002}};
	t.at_primary = (struct colo_frame_filter){.local = t.primary,
		.peer = t.secondary,
		.session = SESSION,
		.mtu = COLO_MTU_MIN,
		.n_channels = N_CHANNELS};
	t.at_secondary = (struct colo_frame_filter){.local = t.secondary,
		.peer = t.primary,
		.session = SESSION,
		.mtu = COLO_MTU_MIN,
		.n_channels = N_CHANNELS,
		.take_pages = true};
}

static void
make_page(uint8_t channel)
{
	struct colo_frame_template template;
	const uint8_t bytes[100] = {1, 2, 3};

	colo_frame_template_init(&template, &t.primary, &t.secondary,
		t.secondary.channel_port[channel], SESSION, channel);
	ut_packet_init(&t.packet, &template, 0x11121314, 0x21222324, 0x3132333435363738ull);
	ut_packet_add_zero(&t.packet, 0, 1, 1);
	ut_packet_add(&t.packet, COLO_RECORD_ZSTD, 1, 2, bytes, sizeof(bytes));
	ut_packet_header(&t.packet)->flags = RTE_BE16(COLO_FLAG_ACK_NOW);
	ut_packet_seal(&t.packet);
}

/* A frame of type @p type with @p body bytes behind its header, from the secondary. */
static void
make_other(uint8_t type, uint32_t body)
{
	struct colo_frame_template template;

	colo_frame_template_init(
		&template, &t.secondary, &t.primary, t.primary.channel_port[0], SESSION, 0);
	ut_packet_init(&t.packet, &template, 0, 0, 1);
	ut_packet_header(&t.packet)->type = type;
	t.packet.payload += body;
	ut_packet_seal(&t.packet);
}

static enum colo_counter
check(const struct colo_frame_filter *filter, uint32_t padding)
{
	struct rte_mbuf *m = ut_packet_mbuf(&t.packet, t.pool, 0);
	enum colo_counter why;

	if (padding > 0)
		memset(rte_pktmbuf_append(m, padding), 0xee, padding);
	memset(&t.frame, 0xaa, sizeof(t.frame));
	why = colo_frame_check(filter, m, &t.frame);
	rte_pktmbuf_free(m);
	return why;
}

static struct rte_ether_hdr *
ether(void)
{
	return (struct rte_ether_hdr *)t.packet.bytes;
}

static struct rte_ipv4_hdr *
ipv4(void)
{
	return (struct rte_ipv4_hdr *)(t.packet.bytes + COLO_ETHER_LEN);
}

static struct rte_ipv6_hdr *
ipv6(void)
{
	return (struct rte_ipv6_hdr *)(t.packet.bytes + COLO_ETHER_LEN);
}

static struct rte_udp_hdr *
udp(void)
{
	return (struct rte_udp_hdr *)(t.packet.bytes + t.packet.outer - sizeof(struct rte_udp_hdr));
}

/* What is written is what the RFCs say, by DPDK's own arithmetic. */
static void
test_outer_ipv4(void)
{
	begin(4);
	make_page(1);
	CU_ASSERT_EQUAL(t.packet.outer, COLO_ETHER_LEN + COLO_IPV4_UDP_LEN);
	CU_ASSERT_EQUAL(memcmp(ether()->src_addr.addr_bytes, t.primary.mac, 6), 0);
	CU_ASSERT_EQUAL(memcmp(ether()->dst_addr.addr_bytes, t.secondary.mac, 6), 0);
	CU_ASSERT_EQUAL(ether()->ether_type, RTE_BE16(RTE_ETHER_TYPE_IPV4));
	CU_ASSERT_EQUAL(ipv4()->version_ihl, 0x45);
	CU_ASSERT_EQUAL(ipv4()->fragment_offset, RTE_BE16(RTE_IPV4_HDR_DF_FLAG));
	CU_ASSERT_EQUAL(ipv4()->next_proto_id, IPPROTO_UDP);
	CU_ASSERT_EQUAL(memcmp(&ipv4()->src_addr, t.primary.ip, 4), 0);
	CU_ASSERT_EQUAL(memcmp(&ipv4()->dst_addr, t.secondary.ip, 4), 0);
	CU_ASSERT_EQUAL(rte_be_to_cpu_16(udp()->src_port), 4000);
	CU_ASSERT_EQUAL(rte_be_to_cpu_16(udp()->dst_port), 6001);
	CU_ASSERT_EQUAL(udp()->dgram_cksum, 0);
}

static void
test_outer_ipv6(void)
{
	begin(6);
	make_page(2);
	CU_ASSERT_EQUAL(t.packet.outer, COLO_ETHER_LEN + COLO_IPV6_UDP_LEN);
	CU_ASSERT_EQUAL(ether()->ether_type, RTE_BE16(RTE_ETHER_TYPE_IPV6));
	CU_ASSERT_EQUAL(rte_be_to_cpu_32(ipv6()->vtc_flow) >> 28, 6);
	CU_ASSERT_EQUAL(ipv6()->proto, IPPROTO_UDP);
	CU_ASSERT_TRUE(ipv6()->hop_limits > 0);
	CU_ASSERT_EQUAL(memcmp(ipv6()->src_addr, t.primary.ip, 16), 0);
	CU_ASSERT_EQUAL(memcmp(ipv6()->dst_addr, t.secondary.ip, 16), 0);
	CU_ASSERT_EQUAL(rte_be_to_cpu_16(ipv6()->payload_len), t.packet.payload + 8);
	CU_ASSERT_EQUAL(rte_be_to_cpu_16(udp()->dgram_len), t.packet.payload + 8);
	CU_ASSERT_EQUAL(rte_be_to_cpu_16(udp()->dst_port), 6002);
}

/* Lengths and IPv4's checksum for every payload, with addresses that make sums carry. */
static void
test_checksum(void)
{
	struct colo_frame_template template;
	uint16_t wrong = 0;

	begin(4);
	srand(3);
	for (unsigned int round = 0; round < 8; round++) {
		for (unsigned int i = 0; i < 4; i++) {
			t.primary.ip[i] = round == 0 ? 0xff : rand();
			t.secondary.ip[i] = round == 0 ? 0xff : rand();
		}
		colo_frame_template_init(&template, &t.primary, &t.secondary, 6000, SESSION, 0);
		t.packet.outer = template.length;
		for (unsigned int n = 0; n <= COLO_MTU_MAX - COLO_IPV4_UDP_LEN; n++) {
			uint16_t sum;

			colo_frame_write_outer(&template, t.packet.bytes, n);
			sum = ipv4()->hdr_checksum;
			ipv4()->hdr_checksum = 0;
			wrong += sum != rte_ipv4_cksum(ipv4()) ||
				 rte_be_to_cpu_16(ipv4()->total_length) != n + 28 ||
				 rte_be_to_cpu_16(udp()->dgram_len) != n + 8;
		}
	}
	CU_ASSERT_EQUAL(wrong, 0);
}

static void
check_fields(void)
{
	const struct colo_record *r =
		(const struct colo_record *)(t.frame.head + sizeof(struct colo_header));

	CU_ASSERT_EQUAL(t.frame.payload, t.packet.outer);
	CU_ASSERT_EQUAL(t.frame.length, t.packet.payload);
	CU_ASSERT_EQUAL(t.frame.type, COLO_FRAME_PAGE);
	CU_ASSERT_EQUAL(t.frame.n_records, 2);
	CU_ASSERT_EQUAL(t.frame.flags, COLO_FLAG_ACK_NOW);
	CU_ASSERT_EQUAL(t.frame.covered, 32 + 2 * 16);
	CU_ASSERT_EQUAL(t.frame.epoch, 0x11121314);
	CU_ASSERT_EQUAL(t.frame.slot, 0x21222324);
	CU_ASSERT_EQUAL(t.frame.packet_number, 0x3132333435363738ull);
	CU_ASSERT_EQUAL(r[1].page, RTE_BE32(2));
	CU_ASSERT_EQUAL(r[1].length, RTE_BE16(100));
}

static void
test_good(void)
{
	for (unsigned int version = 4; version <= 6; version += 2) {
		begin(version);
		for (uint8_t channel = 0; channel < N_CHANNELS; channel++) {
			make_page(channel);
			CU_ASSERT_EQUAL(check(&t.at_secondary, 0), COLO_FRAME_OK);
			CU_ASSERT_EQUAL(t.frame.channel, channel);
			check_fields();
			/* Ethernet's padding is not ours */
			CU_ASSERT_EQUAL(check(&t.at_secondary, 1), COLO_FRAME_OK);
			CU_ASSERT_EQUAL(check(&t.at_secondary, 1000), COLO_FRAME_OK);
			check_fields();
		}
	}
}

/* The frame, cut at every byte: never taken, and never looked at beyond its end. */
static void
test_cut(void)
{
	for (unsigned int version = 4; version <= 6; version += 2) {
		uint32_t all, wrong = 0;

		begin(version);
		make_page(0);
		all = t.packet.outer + t.packet.payload;
		for (uint32_t n = 0; n < all; n++) {
			struct rte_mbuf *m = ut_packet_mbuf(&t.packet, t.pool, 0);

			rte_pktmbuf_trim(m, all - n);
			wrong += colo_frame_check(&t.at_secondary, m, &t.frame) !=
				 (n < t.packet.outer ? COLO_drop_short : COLO_drop_length);
			rte_pktmbuf_free(m);
		}
		CU_ASSERT_EQUAL(wrong, 0);
	}
}

/* IPv4's checksum fits what the header says now. */
static void
fix_checksum(void)
{
	ipv4()->hdr_checksum = 0;
	ipv4()->hdr_checksum = rte_ipv4_cksum(ipv4());
}

/* Bend one thing of the outer headers, expect the counter. */
#define OUTER(why, statement)                                           \
	do {                                                            \
		make_page(0);                                           \
		statement;                                              \
		if (!t.is_ipv6)                                         \
			fix_checksum();                                 \
		CU_ASSERT_EQUAL(check(&t.at_secondary, 0), COLO_##why); \
	} while (0)
#define FOREIGN(statement) OUTER(drop_foreign, statement)

static void
test_foreign_ipv4(void)
{
	begin(4);
	FOREIGN(ether()->ether_type = RTE_BE16(RTE_ETHER_TYPE_IPV6));
	FOREIGN(ether()->ether_type = RTE_BE16(RTE_ETHER_TYPE_ARP));
	FOREIGN(ipv4()->version_ihl = 0x46);
	FOREIGN(ipv4()->version_ihl = 0x44);
	FOREIGN(ipv4()->version_ihl = 0x65);
	FOREIGN(ipv4()->next_proto_id = IPPROTO_TCP);
	FOREIGN(ipv4()->src_addr ^= RTE_BE32(1));
	FOREIGN(ipv4()->src_addr ^= RTE_BE32(0x80000000));
	FOREIGN(ipv4()->dst_addr ^= RTE_BE32(1));
	/* whatever else is wrong with what others say to each other */
	FOREIGN(ipv4()->src_addr ^= RTE_BE32(1); ipv4()->fragment_offset = RTE_BE16(1);
		ipv4()->total_length = 0);
	make_page(0); /* "don't fragment" is no fragment, and not demanded */
	ipv4()->fragment_offset = 0;
	fix_checksum();
	CU_ASSERT_EQUAL(check(&t.at_secondary, 0), COLO_FRAME_OK);
}

static void
test_bent_ipv4(void)
{
	begin(4);
	OUTER(drop_fragment, ipv4()->fragment_offset = RTE_BE16(RTE_IPV4_HDR_MF_FLAG));
	OUTER(drop_fragment, ipv4()->fragment_offset = RTE_BE16(1));
	OUTER(drop_fragment, ipv4()->fragment_offset = RTE_BE16(0x1fff));
	OUTER(drop_length, ipv4()->total_length = rte_cpu_to_be_16(t.packet.payload + 27));
	OUTER(drop_length, ipv4()->total_length = rte_cpu_to_be_16(t.packet.payload + 29));
	OUTER(drop_length, ipv4()->total_length = RTE_BE16(19));
	OUTER(drop_length, ipv4()->total_length = RTE_BE16(20));
	OUTER(drop_length, ipv4()->total_length = RTE_BE16(27));
	OUTER(drop_length, ipv4()->total_length = 0);
	OUTER(drop_length, ipv4()->total_length = UINT16_MAX);
	OUTER(drop_length, udp()->dgram_len = rte_cpu_to_be_16(t.packet.payload + 7));
	OUTER(drop_length, udp()->dgram_len = rte_cpu_to_be_16(t.packet.payload + 9));
	OUTER(drop_length, udp()->dgram_len = 0);
	OUTER(drop_checksum, udp()->dgram_cksum = RTE_BE16(1));
	for (unsigned int bit = 0; bit < 16; bit++) {
		make_page(0);
		ipv4()->hdr_checksum ^= 1 << bit;
		CU_ASSERT_EQUAL(check(&t.at_secondary, 0), COLO_drop_checksum);
	}
	make_page(0);
	ipv4()->time_to_live--; /* without its checksum */
	CU_ASSERT_EQUAL(check(&t.at_secondary, 0), COLO_drop_checksum);
	fix_checksum();
	CU_ASSERT_EQUAL(check(&t.at_secondary, 0), COLO_FRAME_OK);
}

static void
test_bent_ipv6(void)
{
	begin(6);
	FOREIGN(ether()->ether_type = RTE_BE16(RTE_ETHER_TYPE_IPV4));
	FOREIGN(ipv6()->proto = IPPROTO_TCP);
	FOREIGN(ipv6()->proto = 0);
	FOREIGN(ipv6()->src_addr[15] ^= 1);
	FOREIGN(ipv6()->src_addr[0] ^= 0x80);
	FOREIGN(ipv6()->dst_addr[15] ^= 1);
	OUTER(drop_fragment, ipv6()->proto = IPPROTO_FRAGMENT);
	OUTER(drop_length, ipv6()->payload_len = rte_cpu_to_be_16(t.packet.payload + 7));
	OUTER(drop_length, ipv6()->payload_len = rte_cpu_to_be_16(t.packet.payload + 9));
	OUTER(drop_length, ipv6()->payload_len = RTE_BE16(7));
	OUTER(drop_length, ipv6()->payload_len = 0);
	OUTER(drop_length, ipv6()->payload_len = UINT16_MAX);
	OUTER(drop_length, udp()->dgram_len = rte_cpu_to_be_16(t.packet.payload + 9));
	OUTER(drop_checksum, udp()->dgram_cksum = RTE_BE16(0x8000));
	OUTER(drop_port, udp()->dst_port = 0);
}

/* One byte more than the peer may send. */
static void
test_jumbo(void)
{
	for (unsigned int version = 4; version <= 6; version += 2) {
		begin(version);
		make_page(0);
		t.at_secondary.mtu = t.packet.outer + t.packet.payload - COLO_ETHER_LEN;
		CU_ASSERT_EQUAL(check(&t.at_secondary, 0), COLO_FRAME_OK);
		t.at_secondary.mtu--;
		CU_ASSERT_EQUAL(check(&t.at_secondary, 0), COLO_drop_jumbo);
	}
}

/* Both lengths agree with each other and lie about the frame: within it, and beyond. */
static void
test_lengths_agree(void)
{
	begin(4);
	make_page(0);
	colo_frame_write_outer(&t.packet.template, t.packet.bytes, t.packet.payload + 1);
	CU_ASSERT_EQUAL(check(&t.at_secondary, 0), COLO_drop_length);
	CU_ASSERT_EQUAL(check(&t.at_secondary, 1), COLO_drop_length);
	colo_frame_write_outer(&t.packet.template, t.packet.bytes, t.packet.payload - 1);
	CU_ASSERT_EQUAL(check(&t.at_secondary, 0), COLO_drop_length);
	colo_frame_write_outer(&t.packet.template, t.packet.bytes, sizeof(struct colo_header));
	CU_ASSERT_EQUAL(check(&t.at_secondary, 0), COLO_drop_length);
	colo_frame_write_outer(&t.packet.template, t.packet.bytes, sizeof(struct colo_header) - 1);
	CU_ASSERT_EQUAL(check(&t.at_secondary, 0), COLO_drop_short);
	colo_frame_write_outer(&t.packet.template, t.packet.bytes, 0);
	CU_ASSERT_EQUAL(check(&t.at_secondary, 0), COLO_drop_short);
}

static void
test_ports(void)
{
	begin(4);
	OUTER(drop_channel, udp()->dst_port = RTE_BE16(6001)); /* of another channel */
	OUTER(drop_port, udp()->dst_port = RTE_BE16(5999));    /* of none */
	OUTER(drop_port, udp()->dst_port = RTE_BE16(6003));
	OUTER(drop_port, udp()->dst_port = 0);
	OUTER(FRAME_OK, udp()->dst_port = RTE_BE16(6000));
	t.at_secondary.n_channels = 1;
	CU_ASSERT_EQUAL(check(&t.at_secondary, 0), COLO_FRAME_OK);
	make_page(1);
	CU_ASSERT_EQUAL(check(&t.at_secondary, 0), COLO_drop_port);
	udp()->dst_port = RTE_BE16(6000);
	CU_ASSERT_EQUAL(check(&t.at_secondary, 0), COLO_drop_channel);
	t.at_secondary.n_channels = 0;
	make_page(0);
	CU_ASSERT_EQUAL(check(&t.at_secondary, 0), COLO_drop_port);
}

/* Each end takes what is for it, and control frames. */
static void
test_types(void)
{
	begin(6);
	make_other(COLO_FRAME_FEEDBACK, sizeof(struct colo_feedback));
	CU_ASSERT_EQUAL(check(&t.at_primary, 0), COLO_FRAME_OK);
	CU_ASSERT_EQUAL(t.frame.covered, t.packet.payload);
	CU_ASSERT_EQUAL(check(&t.at_secondary, 0), COLO_drop_foreign); /* its own words */
	t.at_primary.take_pages = true;
	CU_ASSERT_EQUAL(check(&t.at_primary, 0), COLO_drop_type);
	ut_packet_header(&t.packet)->type = COLO_FRAME_CONTROL;
	ut_packet_seal(&t.packet);
	CU_ASSERT_EQUAL(check(&t.at_primary, 0), COLO_FRAME_OK);
	t.at_primary.take_pages = false;
	CU_ASSERT_EQUAL(check(&t.at_primary, 0), COLO_FRAME_OK);
	ut_packet_header(&t.packet)->n_records = 1;
	ut_packet_seal(&t.packet);
	CU_ASSERT_EQUAL(check(&t.at_primary, 0), COLO_drop_records);
	ut_packet_header(&t.packet)->type = COLO_FRAME_FEEDBACK;
	ut_packet_seal(&t.packet);
	CU_ASSERT_EQUAL(check(&t.at_primary, 0), COLO_drop_records);
	make_page(0);
	t.at_secondary.take_pages = false;
	CU_ASSERT_EQUAL(check(&t.at_secondary, 0), COLO_drop_type);
}

/* All of feedback and control frames is covered by the CRC and copied: there is a longest one. */
static void
test_longest(void)
{
	const uint32_t most = COLO_FRAME_HEAD_MAX - sizeof(struct colo_header);

	begin(4);
	for (uint8_t type = COLO_FRAME_FEEDBACK; type <= COLO_FRAME_CONTROL; type++) {
		make_other(type, most);
		CU_ASSERT_EQUAL(check(&t.at_primary, 0), COLO_FRAME_OK);
		CU_ASSERT_EQUAL(t.frame.covered, COLO_FRAME_HEAD_MAX);
		make_other(type, most + 1);
		CU_ASSERT_EQUAL(check(&t.at_primary, 0), COLO_drop_length);
		make_other(type, 0); /* the header alone: what it means is not checked here */
		CU_ASSERT_EQUAL(check(&t.at_primary, 0), COLO_FRAME_OK);
		make_other(type, most);
		t.packet.bytes[t.packet.outer + t.packet.payload - 1] ^= 1;
		CU_ASSERT_EQUAL(check(&t.at_primary, 0), COLO_drop_header_crc);
	}
}

/* The CRC covers the header and the record table, and not the payload. */
static void
test_crc(void)
{
	uint32_t covered = sizeof(struct colo_header) + 2 * sizeof(struct colo_record);
	uint32_t taken = 0;

	begin(4);
	make_page(0);
	for (uint32_t bit = 0; bit < covered * 8; bit++) {
		uint8_t *byte = t.packet.bytes + t.packet.outer + bit / 8;

		*byte ^= 1u << (bit % 8);
		taken += check(&t.at_secondary, 0) == COLO_FRAME_OK;
		*byte ^= 1u << (bit % 8);
	}
	CU_ASSERT_EQUAL(taken, 0);
	t.packet.bytes[t.packet.outer + covered] ^= 1;
	CU_ASSERT_EQUAL(check(&t.at_secondary, 0), COLO_FRAME_OK);
}

/* What a sender writes is what ut_packet's own arithmetic says. */
static void
test_write_header(void)
{
	struct colo_frame_fields f = {.type = COLO_FRAME_PAGE,
		.n_records = 2,
		.flags = COLO_FLAG_ACK_NOW,
		.epoch = 0x11121314,
		.slot = 0x21222324,
		.packet_number = 0x3132333435363738ull};
	struct ut_packet other;

	begin(4);
	make_page(1);
	other = t.packet;
	f.length = t.packet.payload;
	memset(ut_packet_header(&other), 0x55, sizeof(struct colo_header));
	colo_frame_write_header(&other.template, ut_packet_header(&other), &f,
		sizeof(struct colo_header) + 2 * sizeof(struct colo_record));
	CU_ASSERT_EQUAL(memcmp(other.bytes, t.packet.bytes, other.outer + other.payload), 0);
}

static const struct ut_case cases[] = {
	{"outer headers, IPv4", test_outer_ipv4},
	{"outer headers, IPv6", test_outer_ipv6},
	{"lengths and checksum", test_checksum},
	{"good frames", test_good},
	{"cut frames", test_cut},
	{"foreign frames, IPv4", test_foreign_ipv4},
	{"foreign frames, IPv6", test_bent_ipv6},
	{"bent, IPv4", test_bent_ipv4},
	{"longer than the MTU", test_jumbo},
	{"lengths that agree and lie", test_lengths_agree},
	{"ports", test_ports},
	{"types", test_types},
	{"the longest frames", test_longest},
	{"what the CRC covers", test_crc},
	{"the header as it is written", test_write_header},
};

int
main(void)
{
	ut_eal_start(64);
	t.pool = rte_pktmbuf_pool_create("frames", 63, 0, 0, 16384, SOCKET_ID_ANY);
	if (t.pool == NULL)
		return 1;
	return UT_RUN("frame", cases);
}
