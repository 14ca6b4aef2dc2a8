/* SPDX-License-Identifier: BSD-3-Clause */
/* Outer headers and colo_header: written from a template, checked before anything is believed. */
#include <string.h>

#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_udp.h>

#include "frame.h"
#include "page.h"

#define OUTER_TTL 64

static void
template_ipv4(struct colo_frame_template *t, const struct colo_address *from,
	const struct colo_address *to)
{
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(t->bytes + COLO_ETHER_LEN);
	uint16_t word;

	ip->version_ihl = RTE_IPV4_VHL_DEF;
	ip->fragment_offset = rte_cpu_to_be_16(RTE_IPV4_HDR_DF_FLAG);
	ip->time_to_live = OUTER_TTL;
	ip->next_proto_id = IPPROTO_UDP;
	memcpy(&ip->src_addr, from->ip, 4);
	memcpy(&ip->dst_addr, to->ip, 4);
	for (unsigned int i = 0; i < sizeof(*ip); i += 2) {
		memcpy(&word, (uint8_t *)ip + i, 2);
		t->ip_sum += word;
	}
}

static void
template_ipv6(struct colo_frame_template *t, const struct colo_address *from,
	const struct colo_address *to)
{
	struct rte_ipv6_hdr *ip = (struct rte_ipv6_hdr *)(t->bytes + COLO_ETHER_LEN);

	ip->vtc_flow = rte_cpu_to_be_32(6u << 28);
	ip->proto = IPPROTO_UDP;
	ip->hop_limits = OUTER_TTL;
	memcpy(ip->src_addr, from->ip, 16);
	memcpy(ip->dst_addr, to->ip, 16);
}

void
colo_frame_template_init(struct colo_frame_template *t, const struct colo_address *from,
	const struct colo_address *to, uint16_t to_port, uint32_t session, uint8_t channel)
{
	struct rte_ether_hdr *eth = (struct rte_ether_hdr *)t->bytes;
	struct rte_udp_hdr *udp;

	memset(t, 0, sizeof(*t));
	t->is_ipv6 = from->ip_version == 6;
	t->session = session;
	t->channel = channel;
	memcpy(&eth->src_addr, from->mac, 6);
	memcpy(&eth->dst_addr, to->mac, 6);
	eth->ether_type = rte_cpu_to_be_16(t->is_ipv6 ? RTE_ETHER_TYPE_IPV6 : RTE_ETHER_TYPE_IPV4);
	t->length = COLO_ETHER_LEN + (t->is_ipv6 ? COLO_IPV6_UDP_LEN : COLO_IPV4_UDP_LEN);
	if (t->is_ipv6)
		template_ipv6(t, from, to);
	else
		template_ipv4(t, from, to);
	udp = (struct rte_udp_hdr *)(t->bytes + t->length - sizeof(*udp));
	udp->src_port = rte_cpu_to_be_16(from->source_port);
	udp->dst_port = rte_cpu_to_be_16(to_port);
}

/*
 * UDP's checksum stays 0 ("none"), with IPv6 too: RFC 6936 allows that where the payload checks
 * itself, and ours does (colo_header.crc, colo_record.crc).
 */
void
colo_frame_write_outer(const struct colo_frame_template *t, uint8_t *start, uint16_t udp_payload)
{
	struct rte_udp_hdr *udp;
	uint16_t udp_length = udp_payload + sizeof(*udp);

	memcpy(start, t->bytes, t->length);
	udp = (struct rte_udp_hdr *)(start + t->length - sizeof(*udp));
	udp->dgram_len = rte_cpu_to_be_16(udp_length);
	if (t->is_ipv6) {
		struct rte_ipv6_hdr *ip = (struct rte_ipv6_hdr *)(start + COLO_ETHER_LEN);

		ip->payload_len = rte_cpu_to_be_16(udp_length);
	} else {
		struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(start + COLO_ETHER_LEN);
		uint32_t sum;

		ip->total_length = rte_cpu_to_be_16(udp_length + sizeof(*ip));
		sum = t->ip_sum + ip->total_length;
		sum = (sum & 0xffff) + (sum >> 16);
		sum = (sum & 0xffff) + (sum >> 16);
		ip->hdr_checksum = (uint16_t)~sum;
	}
}

void
colo_frame_write_header(const struct colo_frame_template *t, struct colo_header *h,
	const struct colo_frame_fields *f, uint32_t covered)
{
	h->version = COLO_WIRE_VERSION;
	h->type = f->type;
	h->channel = t->channel;
	h->n_records = f->n_records;
	h->session = rte_cpu_to_be_32(t->session);
	h->packet_number = rte_cpu_to_be_64(f->packet_number);
	h->epoch = rte_cpu_to_be_32(f->epoch);
	h->slot = rte_cpu_to_be_32(f->slot);
	h->length = rte_cpu_to_be_16(f->length);
	h->flags = rte_cpu_to_be_16(f->flags);
	h->crc = 0;
	if (!t->sealed)
		h->crc = rte_cpu_to_be_32(colo_crc32(h, covered));
}

/*
 * Outer headers. Whose they are comes first, so that what other hosts say to each other is never
 * counted as more than foreign. *ip_payload: bytes behind IP's header, as that says.
 */
static enum colo_counter
check_ipv4(const struct colo_frame_filter *filter, const struct rte_ipv4_hdr *ip, uint32_t left,
	uint32_t *ip_payload)
{
	uint16_t fragment = rte_be_to_cpu_16(ip->fragment_offset);
	uint16_t length = rte_be_to_cpu_16(ip->total_length);

	if (ip->version_ihl != RTE_IPV4_VHL_DEF || ip->next_proto_id != IPPROTO_UDP ||
		memcmp(&ip->src_addr, filter->peer.ip, 4) != 0 ||
		memcmp(&ip->dst_addr, filter->local.ip, 4) != 0)
		return COLO_drop_foreign;
	if (fragment & (RTE_IPV4_HDR_MF_FLAG | RTE_IPV4_HDR_OFFSET_MASK))
		return COLO_drop_fragment;
	if (rte_raw_cksum(ip, sizeof(*ip)) != UINT16_MAX)
		return COLO_drop_checksum;
	if (length > left || length < sizeof(*ip))
		return COLO_drop_length;
	*ip_payload = length - sizeof(*ip);
	return COLO_FRAME_OK;
}

static enum colo_counter
check_ipv6(const struct colo_frame_filter *filter, const struct rte_ipv6_hdr *ip, uint32_t left,
	uint32_t *ip_payload)
{
	*ip_payload = rte_be_to_cpu_16(ip->payload_len);
	if ((ip->proto != IPPROTO_UDP && ip->proto != IPPROTO_FRAGMENT) ||
		memcmp(ip->src_addr, filter->peer.ip, 16) != 0 ||
		memcmp(ip->dst_addr, filter->local.ip, 16) != 0)
		return COLO_drop_foreign;
	if (ip->proto == IPPROTO_FRAGMENT)
		return COLO_drop_fragment;
	return *ip_payload + sizeof(*ip) > left ? COLO_drop_length : COLO_FRAME_OK;
}

static enum colo_counter
check_udp(
	const struct colo_frame_filter *filter, const struct rte_udp_hdr *udp, uint32_t ip_payload)
{
	if (ip_payload < sizeof(*udp) || rte_be_to_cpu_16(udp->dgram_len) != ip_payload)
		return COLO_drop_length;
	if (udp->dgram_cksum != 0) /* ours have none */
		return COLO_drop_checksum;
	for (unsigned int c = 0; c < filter->n_channels; c++)
		if (rte_be_to_cpu_16(udp->dst_port) == filter->local.channel_port[c])
			return COLO_FRAME_OK;
	return COLO_drop_port;
}

/* Sets f->payload, f->length and *port, UDP's destination. */
static enum colo_counter
check_outer(const struct colo_frame_filter *filter, struct rte_mbuf *m, struct colo_frame *f,
	uint16_t *port)
{
	const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
	bool is_ipv6 = filter->local.ip_version == 6;
	uint32_t ip_len = is_ipv6 ? sizeof(struct rte_ipv6_hdr) : sizeof(struct rte_ipv4_hdr);
	uint32_t outer = COLO_ETHER_LEN + ip_len + sizeof(struct rte_udp_hdr);
	uint32_t ip_payload = 0;
	const struct rte_udp_hdr *udp;
	enum colo_counter why;

	if (rte_pktmbuf_data_len(m) < COLO_ETHER_LEN)
		return COLO_drop_short;
	if (eth->ether_type !=
		rte_cpu_to_be_16(is_ipv6 ? RTE_ETHER_TYPE_IPV6 : RTE_ETHER_TYPE_IPV4))
		return COLO_drop_foreign;
	if (rte_pktmbuf_data_len(m) < outer)
		return COLO_drop_short;
	if (is_ipv6)
		why = check_ipv6(filter, (const struct rte_ipv6_hdr *)(eth + 1),
			rte_pktmbuf_pkt_len(m) - COLO_ETHER_LEN, &ip_payload);
	else
		why = check_ipv4(filter, (const struct rte_ipv4_hdr *)(eth + 1),
			rte_pktmbuf_pkt_len(m) - COLO_ETHER_LEN, &ip_payload);
	if (why != COLO_FRAME_OK)
		return why;
	if (ip_payload + ip_len > filter->mtu)
		return COLO_drop_jumbo;
	udp = (const struct rte_udp_hdr *)((const uint8_t *)(eth + 1) + ip_len);
	why = check_udp(filter, udp, ip_payload);
	f->payload = outer;
	f->length = ip_payload - sizeof(*udp);
	*port = rte_be_to_cpu_16(udp->dst_port);
	return why;
}

/* How many bytes the header's CRC covers; 0 if the frame is too short for what it says it holds. */
static uint32_t
covered_bytes(const struct colo_frame *f)
{
	uint32_t covered = f->length;

	if (f->type == COLO_FRAME_PAGE)
		covered = sizeof(struct colo_header) + f->n_records * sizeof(struct colo_record);
	return covered <= f->length && covered <= COLO_FRAME_HEAD_MAX ? covered : 0;
}

static bool
check_crc(struct colo_frame *f, const struct colo_header *wire)
{
	struct colo_header *copy = (struct colo_header *)f->head;

	memcpy(f->head, wire, f->covered);
	copy->crc = 0;
	return colo_crc32(f->head, f->covered) == rte_be_to_cpu_32(wire->crc);
}

static enum colo_counter
check_type(const struct colo_frame_filter *filter, const struct colo_frame *f)
{
	if (f->type == COLO_FRAME_CONTROL)
		return f->n_records == 0 ? COLO_FRAME_OK : COLO_drop_records;
	if (f->type != (filter->take_pages ? COLO_FRAME_PAGE : COLO_FRAME_FEEDBACK))
		return COLO_drop_type;
	if (f->type == COLO_FRAME_PAGE && (f->n_records == 0 || f->n_records > COLO_MAX_RECORDS))
		return COLO_drop_records;
	if (f->type == COLO_FRAME_FEEDBACK && f->n_records != 0)
		return COLO_drop_records;
	return COLO_FRAME_OK;
}

static void
read_header(struct colo_frame *f, const struct colo_header *h)
{
	f->type = h->type;
	f->channel = h->channel;
	f->n_records = h->n_records;
	f->flags = rte_be_to_cpu_16(h->flags);
	f->epoch = rte_be_to_cpu_32(h->epoch);
	f->slot = rte_be_to_cpu_32(h->slot);
	f->packet_number = rte_be_to_cpu_64(h->packet_number);
}

enum colo_counter
colo_frame_check(const struct colo_frame_filter *filter, struct rte_mbuf *m, struct colo_frame *f)
{
	const struct colo_header *h;
	uint8_t scratch[COLO_FRAME_HEAD_MAX];
	enum colo_counter why;
	uint16_t port;

	why = check_outer(filter, m, f, &port);
	if (why != COLO_FRAME_OK)
		return why;
	f->mbuf = m;
	if (f->length < sizeof(*h))
		return COLO_drop_short;
	h = rte_pktmbuf_read(m, f->payload, sizeof(*h), scratch);
	if (h->version != COLO_WIRE_VERSION)
		return COLO_drop_version;
	if (rte_be_to_cpu_32(h->session) != filter->session)
		return COLO_drop_session;
	read_header(f, h);
	if (rte_be_to_cpu_16(h->length) != f->length)
		return COLO_drop_length;
	if (filter->sealed && f->length < sizeof(*h) + COLO_SEAL_TAG_LEN)
		return COLO_drop_short;
	if (filter->sealed)
		f->length -= COLO_SEAL_TAG_LEN;
	if (f->channel >= filter->n_channels || port != filter->local.channel_port[f->channel])
		return COLO_drop_channel;
	why = check_type(filter, f);
	if (why != COLO_FRAME_OK)
		return why;
	f->covered = covered_bytes(f);
	if (f->covered == 0)
		return COLO_drop_length;
	if (filter->sealed)
		return COLO_FRAME_OK;
	h = rte_pktmbuf_read(m, f->payload, f->covered, scratch);
	if (h == NULL || !check_crc(f, h))
		return COLO_drop_header_crc;
	return COLO_FRAME_OK;
}

bool
colo_frame_opened(struct colo_frame *f)
{
	const void *at = rte_pktmbuf_read(f->mbuf, f->payload, f->covered, f->head);

	if (at == NULL)
		return false;
	if (at != f->head)
		memcpy(f->head, at, f->covered);
	return true;
}
