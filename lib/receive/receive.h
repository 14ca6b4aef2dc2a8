/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * The way of a page packet at the secondary, one stage a file, in packet order:
 *
 *     (rx.c)     a burst off the queue, lib/channel: the primary has the same
 *     parse.c    header, slot, epoch, records: everything checked before the first write
 *     open.c     the seal is opened
 *     decode.c   contents of each record, decompressed and checked against their CRC
 *     place.c    into the cache; in precopy into guest memory too
 *     record.c   dirty bits, counts, digest; then the slot is placed
 *     feedback.c what the primary is told
 *
 * Runs on poll cores only: no lock, allocation, system call or log line.
 */
#ifndef COLO_RECEIVE_RECEIVE_H
#define COLO_RECEIVE_RECEIVE_H

#include <rte_ring.h>

#define ZSTD_STATIC_LINKING_ONLY /* contexts in memory of ours */
#include <zstd.h>

#include "block.h"
#include "counters.h"
#include "frame.h"
#include "gate.h"
#include "lane.h"
#include "port.h"
#include "rx.h"
#include "seal_end.h"
#include "window.h"

/**
 * What the control core wants of all receivers; written before colo_gate_raise(). A poll core may
 * see two phases as one, so nothing here says "changed": a filter with another session is a new
 * session, another epoch is a new epoch.
 */
struct colo_receive_phase {
	bool session; /**< a session is on */
	struct colo_frame_filter filter;
	struct colo_address peer;
	uint32_t ip_udp_len; /**< COLO_IPV4_UDP_LEN or COLO_IPV6_UDP_LEN */
	uint32_t epoch;	     /**< the open epoch, 0: none */
	uint8_t kind;	     /**< of it: enum colo_epoch_kind */
	uint8_t seal_shift;  /**< of a sealed session: filter.sealed */
};

/** All receiving channels of a secondary. Made at start. */
struct colo_receive_end {
	struct colo_gate gate;
	struct colo_receive_phase phase; /**< control core writes, poll cores read at the gate */
	struct colo_blocks *blocks;
	struct colo_port *port;
	struct colo_lane_rings lane;
	unsigned int n_channels;
	unsigned int window; /**< slots a channel may have outstanding */
	struct rte_ring
		*handover[COLO_MAX_CHANNELS]; /**< frames of channel c that came elsewhere */
	struct colo_receiver *channel[COLO_MAX_CHANNELS];
};

/** What a channel has done in the open epoch. Written by its poll core, read by the control core.
 */
struct colo_receive_progress {
	_Atomic uint64_t cum; /**< store-release, after the others */
	_Atomic uint64_t pages;
	_Atomic uint64_t zero_pages;
	_Atomic uint64_t digest;
	_Atomic uint64_t wire_bytes;
} __attribute__((aligned(64)));

/** One receiving channel. Owner of everything not said otherwise: its poll core. */
struct colo_receiver {
	/* read-only after start */
	struct colo_receive_end *end;
	uint8_t id;
	struct colo_rx rx;
	/* adopted at the gate */
	bool session;
	uint32_t epoch;
	uint8_t kind;
	uint32_t part_size;
	struct colo_frame_filter filter;
	struct colo_frame_template template;
	/* the datapath's */
	struct colo_receive_window window;
	uint64_t now_us;      /**< of this turn */
	uint64_t next_packet; /**< of feedback */
	uint64_t feedback_us; /**< when it was last sent */
	uint32_t unreported;  /**< slots placed since */
	bool feedback_due;
	uint64_t pages, zero_pages, digest, wire_bytes; /**< of the open epoch */
	ZSTD_DCtx *zstd;
	uint8_t *scratch;		 /**< COLO_MAX_RECORDS pages, decoded */
	uint8_t *linear;		 /**< a payload that lies in more than one segment */
	struct rte_mbuf *tx[COLO_BURST]; /**< feedback and control frames on their way out */
	uint16_t n_tx;
	uint16_t n_sealed; /**< of them may go: sealed, or not to be */
	struct colo_seal_end seal;
	struct colo_counters counters;
	/* shared with the control core */
	struct colo_receive_progress progress;
	struct colo_gate_seat seat __attribute__((aligned(64)));
};

/** A record in host byte order, checked. */
struct colo_parsed_record {
	uint32_t page;
	uint32_t crc;
	uint32_t payload; /**< offset in the mbuf */
	uint16_t length;
	uint16_t offset;
	uint16_t count;
	uint8_t block;
	uint8_t kind;
	const uint8_t *contents; /**< decoded and checked; NULL for a zero run */
};

struct colo_page_packet {
	struct colo_frame frame;
	uint64_t slot;
	unsigned int n_records;
	struct colo_parsed_record record[COLO_MAX_RECORDS];
};

/** All stages for one burst, and what goes out. @return true if there was work. */
bool colo_receive_poll(struct colo_receiver *r);

/** parse.c: @return false when the packet is dropped (counted; the mbuf stays the caller's). */
bool colo_parse(struct colo_receiver *r, struct rte_mbuf *m, struct colo_page_packet *p);

/** parse.c: the records of @p p against blocks and geometry. @return COLO_FRAME_OK or a counter. */
enum colo_counter colo_parse_records(
	const struct colo_blocks *blocks, uint32_t part_size, struct colo_page_packet *p);

/** open.c: open the seal, if the session has one. @return COLO_FRAME_OK or a counter. */
enum colo_counter colo_open(struct colo_receiver *r, struct colo_frame *f);

/** open.c: seal what waits in r->tx. */
void colo_open_seal(struct colo_receiver *r);

/** decode.c: contents of all records. @return false when the packet is dropped (counted). */
bool colo_decode(struct colo_receiver *r, struct colo_page_packet *p);

/** place.c: contents into the cache (and guest memory in precopy). */
void colo_place(struct colo_receiver *r, struct colo_page_packet *p);

/** record.c: dirty bits, counts, digest, slot. After colo_place() ("place, then record"). */
void colo_record(struct colo_receiver *r, const struct colo_page_packet *p);

/** record.c: show the control core how far this channel is. After a fence. */
void colo_record_publish(struct colo_receiver *r);

/** feedback.c: send it if it is due. */
void colo_feedback(struct colo_receiver *r);

/** feedback.c: give what waits in r->tx (and the lane's ring, first channel) to the driver. */
bool colo_feedback_transmit(struct colo_receiver *r);

/** receiver.c: @return a channel's state, or NULL with @p err. Main lcore, at start. */
struct colo_receiver *colo_receiver_new(
	struct colo_receive_end *end, uint8_t id, struct colo_error *err);
void colo_receiver_free(struct colo_receiver *r);

/** receiver.c: take over the phase the control core wants. */
void colo_receiver_adopt(struct colo_receiver *r);

static inline void
colo_receive_count(struct colo_receiver *r, enum colo_counter c)
{
	r->counters.n[c]++;
}

#endif
