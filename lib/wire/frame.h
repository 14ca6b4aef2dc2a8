/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * What every frame has in common: Ethernet, IP, UDP and colo_header. Written on the way out from a
 * template, checked on the way in, before anything in the frame is believed.
 */
#ifndef COLO_WIRE_FRAME_H
#define COLO_WIRE_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>

#include "counters.h"
#include "session.h"
#include "wire.h"

/** Everything the CRC of a header covers fits this: VERIFY of all blocks is the longest. */
#define COLO_FRAME_HEAD_MAX (sizeof(struct colo_header) + COLO_CONTROL_REQUEST_MAX)
static_assert(COLO_FRAME_HEAD_MAX >= sizeof(struct colo_header) + sizeof(struct colo_feedback) +
					     COLO_FEEDBACK_WORDS * 8,
	"feedback");
static_assert(COLO_FRAME_HEAD_MAX >=
		      sizeof(struct colo_header) + COLO_MAX_RECORDS * sizeof(struct colo_record),
	"record table");

/** Ethernet, IP and UDP headers of one flow, but for the lengths. Read-only once made. */
struct colo_frame_template {
	uint8_t bytes[COLO_ETHER_LEN + COLO_IPV6_UDP_LEN];
	uint16_t length; /**< bytes used: 42 or 62 */
	bool is_ipv6;
	uint32_t ip_sum; /**< IPv4: sum of the header's words, total length 0 */
	uint32_t session;
	uint8_t channel;
	bool sealed; /**< set by the caller: headers have no CRC, frames end with room for a tag */
};

/** @p from sends to @p to's UDP port @p to_port, for channel @p channel of @p session. */
void colo_frame_template_init(struct colo_frame_template *t, const struct colo_address *from,
	const struct colo_address *to, uint16_t to_port, uint32_t session, uint8_t channel);

/** Fill in the three outer headers at @p start for @p udp_payload bytes. Poll cores. */
void colo_frame_write_outer(
	const struct colo_frame_template *t, uint8_t *start, uint16_t udp_payload);

/** Bytes that a frame of this flow needs behind its contents. */
static inline uint16_t
colo_frame_tag_room(const struct colo_frame_template *t)
{
	return t->sealed ? COLO_SEAL_TAG_LEN : 0;
}

/** Values of a colo_header on the way out. */
struct colo_frame_fields {
	uint8_t type;
	uint8_t n_records;
	uint16_t flags;
	uint16_t length; /**< UDP payload, a tag included */
	uint32_t epoch;
	uint32_t slot;
	uint64_t packet_number;
};

/**
 * Write the header at @p h; what the CRC covers besides (@p covered bytes from @p h on) must be in
 * place and contiguous already.
 */
void colo_frame_write_header(const struct colo_frame_template *t, struct colo_header *h,
	const struct colo_frame_fields *f, uint32_t covered);

/** What an end takes. Written when a session starts, read-only while it lasts. */
struct colo_frame_filter {
	struct colo_address local, peer;
	uint32_t session;
	unsigned int n_channels;
	uint32_t mtu;	 /**< largest IP packet that the peer sends */
	bool take_pages; /**< secondary; else feedback */
	bool sealed;	 /**< every frame of this session is */
};

/** A frame that passed colo_frame_check(): host byte order, and a private copy of its head. */
struct colo_frame {
	struct rte_mbuf *mbuf;
	uint32_t payload; /**< offset in the mbuf of the UDP payload */
	uint16_t length;  /**< of the UDP payload, without a tag */
	uint8_t type;
	uint8_t channel;
	uint8_t n_records;
	uint16_t flags;
	uint16_t covered; /**< bytes of `head` used */
	uint32_t epoch;
	uint32_t slot;
	uint64_t packet_number;
	/** Copied, so that what was checked is what is used, and aligned. */
	uint8_t head[COLO_FRAME_HEAD_MAX] __attribute__((aligned(64)));
};

/** Result of colo_frame_check(): taken. Every other value is the counter of a reason to drop. */
#define COLO_FRAME_OK COLO_N_COUNTERS

/**
 * Check outer headers, header, lengths, session, channel and CRC. Poll cores; the mbuf stays the
 * caller's. Of a sealed frame only what is in the clear is checked, and `head` is empty: it must be
 * opened, then colo_frame_opened() is called. @return COLO_FRAME_OK, or the counter (drop_...) that
 * names what is wrong.
 */
enum colo_counter colo_frame_check(
	const struct colo_frame_filter *filter, struct rte_mbuf *m, struct colo_frame *f);

/** The seal of a frame that passed colo_frame_check() is open: fill `head`. @return false: cut. */
bool colo_frame_opened(struct colo_frame *f);

#endif
