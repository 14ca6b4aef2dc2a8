/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * The frames of dpdk-colo: this file is the protocol, docs/wire.md explains it.
 *
 * Ethernet / IPv4 or IPv6 / UDP / colo_header / ...; network byte order; lengths in bytes unless
 * said otherwise. Terms: RFC 9002 (packet number, packet and time threshold, probe timeout).
 */
#ifndef COLO_WIRE_H
#define COLO_WIRE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rte_byteorder.h>

#include "bounds.h"

#define COLO_WIRE_VERSION 1

enum colo_frame_type {
	COLO_FRAME_PAGE = 1,	 /**< page packet, primary -> secondary, per channel */
	COLO_FRAME_FEEDBACK = 2, /**< secondary -> primary, per channel */
	COLO_FRAME_CONTROL = 3,	 /**< control lane, both ways, on the first channel's addresses */
};

/** First bytes of every UDP payload. */
struct colo_header {
	uint8_t version; /**< COLO_WIRE_VERSION */
	uint8_t type;	 /**< enum colo_frame_type */
	uint8_t channel;
	uint8_t n_records; /**< page packets: 1..COLO_MAX_RECORDS; else 0 */
	rte_be32_t session;
	rte_be64_t packet_number; /**< +1 for each transmission of this channel and direction */
	rte_be32_t epoch;
	rte_be32_t slot;   /**< low 32 bits; +1 for each new page packet of a channel; else 0 */
	rte_be16_t length; /**< whole UDP payload: what follows in the frame is Ethernet padding */
	rte_be16_t flags;  /**< COLO_FLAG_* */
	/** CRC-32 (Ethernet) of header, record table and body, this field 0; sealed frames: 0 */
	rte_be32_t crc;
} __attribute__((packed));
static_assert(sizeof(struct colo_header) == 32, "header");

#define COLO_FLAG_ACK_NOW 0x0001 /**< page packet: answer with feedback at once */

enum colo_record_kind {
	COLO_RECORD_RAW = 1, /**< a whole page, or the part of it that `offset` and `length` name */
	COLO_RECORD_ZERO = 2, /**< `count` zero pages, no payload */
	COLO_RECORD_ZSTD = 3, /**< one page as one zstd frame of `length` bytes */
};

/**
 * A page packet is its header, n_records of these, and then their payloads in the same order.
 * Records ascend strictly by (block, page, offset) and do not overlap.
 *
 * Sealed frames of any type: what follows the header is encrypted, a tag of COLO_SEAL_TAG_LEN bytes
 * follows that, and authenticates the header as well (lib/seal/seal.h).
 */
struct colo_record {
	rte_be32_t page;   /**< number of the (first) page in the block */
	uint8_t block;	   /**< number of the block, as agreed in hello */
	uint8_t kind;	   /**< enum colo_record_kind */
	rte_be16_t length; /**< payload bytes in this packet */
	rte_be16_t
		offset; /**< raw: first byte within the page, a multiple of the part size; else 0 */
	rte_be16_t count; /**< zero: pages of the run; else 1 */
	rte_be32_t crc;	  /**< CRC-32 of the decoded contents; zero runs: 0 */
} __attribute__((packed));
static_assert(sizeof(struct colo_record) == 16, "record");

#define COLO_MAX_RECORDS 16u /**< per page packet */

/** Feedback: what follows the header. */
struct colo_feedback {
	rte_be64_t cum;		   /**< every slot below it has been placed */
	rte_be64_t credit;	   /**< the primary may use slots below it */
	rte_be64_t largest_packet; /**< largest packet number received on this channel */
	rte_be32_t ack_delay_us;   /**< since largest_packet arrived */
	rte_be16_t n_words;	   /**< words of `placed` that follow: 0..COLO_FEEDBACK_WORDS */
	rte_be16_t reserved;	   /**< 0 */
	/** bit i of word w: slot cum + 64 w + i has been placed */
	rte_be64_t placed[];
} __attribute__((packed));
static_assert(sizeof(struct colo_feedback) == 32, "feedback");

#define COLO_WINDOW_MAX	    4096u /**< slots that may be outstanding; a power of two */
#define COLO_FEEDBACK_WORDS (COLO_WINDOW_MAX / 64)

/** Control lane: requests of the primary, answered by the secondary; stop and wait. */
enum colo_control_op {
	COLO_CONTROL_BEGIN = 1,	 /**< open an epoch; answered once the last one is flushed */
	COLO_CONTROL_END = 2,	 /**< everything of the epoch is sent; answered by its fate */
	COLO_CONTROL_VERIFY = 3, /**< compare the digests of whole blocks */
};

enum colo_epoch_kind {
	COLO_EPOCH_PRECOPY = 1,	   /**< pages go to cache and guest memory */
	COLO_EPOCH_CHECKPOINT = 2, /**< pages go to the cache and are recorded */
};

enum colo_control_result {
	COLO_RESULT_OK = 0,
	COLO_RESULT_COUNT = 1,	 /**< number of pages differs */
	COLO_RESULT_DIGEST = 2,	 /**< digests differ */
	COLO_RESULT_REFUSED = 3, /**< request does not fit the state */
	COLO_RESULT_MAX = 3,
};

struct colo_channel_end {
	rte_be64_t end_slot; /**< first slot not used in this epoch */
	rte_be64_t pages;    /**< pages (first parts, zero pages included) of this epoch */
	rte_be64_t digest;   /**< sum of colo_digest() over the epoch's records */
} __attribute__((packed));

/** What follows the header of a request (fields not named for an op are 0). */
struct colo_control_request {
	rte_be32_t sequence; /**< +1 for each new request; 0 is never used */
	uint8_t op;	     /**< enum colo_control_op */
	uint8_t kind;	     /**< BEGIN: enum colo_epoch_kind */
	uint8_t n;	     /**< END: channels; VERIFY: blocks */
	uint8_t is_reply;    /**< 0 */
	/** END: one per channel; VERIFY: one per block, digest only */
	struct colo_channel_end end[];
} __attribute__((packed));
static_assert(sizeof(struct colo_control_request) == 8, "request");

/** Entries of `end` at most: END has one per channel, VERIFY one per block. */
#define COLO_CONTROL_ENDS_MAX \
	(COLO_MAX_BLOCKS > COLO_MAX_CHANNELS ? COLO_MAX_BLOCKS : COLO_MAX_CHANNELS)
#define COLO_CONTROL_REQUEST_MAX               \
	(sizeof(struct colo_control_request) + \
		COLO_CONTROL_ENDS_MAX * sizeof(struct colo_channel_end))

struct colo_control_reply {
	rte_be32_t sequence; /**< of the request */
	uint8_t op;
	uint8_t result;	  /**< enum colo_control_result */
	uint8_t detail;	  /**< channel or block that disagreed */
	uint8_t is_reply; /**< 1 */
	rte_be32_t commit_us;
	rte_be32_t flush_us;   /**< BEGIN: of the epoch before */
	rte_be64_t pages;      /**< END: pages committed */
	rte_be64_t wire_bytes; /**< END: bytes of the epoch's page packets */
} __attribute__((packed));
static_assert(sizeof(struct colo_control_reply) == 32, "reply");

/* ---- sizes that follow ---- */

#define COLO_ETHER_LEN	  14u
#define COLO_IPV4_UDP_LEN 28u
#define COLO_IPV6_UDP_LEN 48u
#define COLO_SEAL_TAG_LEN 16u	/**< at the end of a sealed frame */
#define COLO_MTU_MIN	  1280u /**< IPv6's minimum; a page is then at most four parts */
#define COLO_MTU_MAX	  9000u
#define COLO_PART_ALIGN	  16u /**< bytes; raw parts begin at a multiple of it */
#define COLO_MAX_PARTS	  4u  /**< of one page, at COLO_MTU_MIN */
#define COLO_HEADERS_MAX                                                   \
	(COLO_ETHER_LEN + COLO_IPV6_UDP_LEN + sizeof(struct colo_header) + \
		COLO_MAX_RECORDS * sizeof(struct colo_record))
static_assert(COLO_IPV6_UDP_LEN + sizeof(struct colo_header) + COLO_CONTROL_REQUEST_MAX +
			      COLO_SEAL_TAG_LEN <=
		      COLO_MTU_MIN,
	"a request of the control lane is one frame at any MTU");
static_assert(COLO_MAX_BLOCKS <= 256, "a block's number is one byte of a record");

/**
 * Size of the parts of a raw page for an MTU; 4096 where a whole page fits a packet, with its tag
 * if it is sealed.
 * Both ends compute it from the MTU agreed in hello, so parts have only one legal geometry.
 */
static inline uint32_t
colo_part_size(uint32_t mtu, uint32_t ip_udp_len, bool sealed)
{
	uint32_t room = mtu - ip_udp_len - sizeof(struct colo_header) - sizeof(struct colo_record);

	if (room - (sealed ? COLO_SEAL_TAG_LEN : 0) >= COLO_PAGE_SIZE)
		return COLO_PAGE_SIZE;
	return (room - COLO_SEAL_TAG_LEN) / COLO_PART_ALIGN * COLO_PART_ALIGN;
}

/** Mix an address into 64 bits (the finalizer of MurmurHash3, public domain, A. Appleby). */
static inline uint64_t
colo_mix64(uint64_t x)
{
	x = (x ^ (x >> 33)) * 0xff51afd7ed558ccdull;
	x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53ull;
	return x ^ (x >> 33);
}

/**
 * Order-independent digest of a record's decoded contents: sums of it over the records of an
 * epoch agree on both ends if and (but for one chance in 2^32 for each damaged page) only if the
 * contents do.
 */
static inline uint64_t
colo_digest(uint8_t block, uint32_t page, uint32_t offset, uint32_t crc)
{
	uint64_t where = (uint64_t)block << 56 | (uint64_t)page << 16 | offset;

	return colo_mix64(colo_mix64(where + 1) ^ crc);
}

#endif
