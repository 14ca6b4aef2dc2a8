/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * The way of a page at the primary, one stage a file, in packet order:
 *
 *     acks.c     frames that come in: feedback into the window, control frames to the control core
 *     resend.c   slots declared lost go first
 *     pick.c     the next pages to send: claimed pieces of `todo`, or what a source feeds; zero
 *                test, compression
 *     encode.c   one packet: headers, records, payload (from where it lies, or copied)
 *     seal.c     frames are sealed, the control lane's too
 *     transmit.c to the driver; what it does not take waits
 *
 * Runs on poll cores only: no lock, allocation, system call or log line.
 */
#ifndef COLO_SEND_SEND_H
#define COLO_SEND_SEND_H

#define ZSTD_STATIC_LINKING_ONLY /* contexts in memory of ours */
#include <zstd.h>

#include "block.h"
#include "counters.h"
#include "feed.h"
#include "frame.h"
#include "gate.h"
#include "job.h"
#include "lane.h"
#include "port.h"
#include "rx.h"
#include "seal_end.h"
#include "window.h"

/** Pieces that have pages to send, claimed one by one by all senders. */
struct colo_outbox {
	struct colo_piece_list list;			    /**< control core, while nobody sends */
	_Atomic uint32_t next __attribute__((aligned(64))); /**< every sender adds */
};

/** What the control core wants of all senders; written before colo_gate_raise(). */
/**
 * A poll core may see two phases as one, so nothing here says "changed": a filter with another
 * session is a new session, another epoch is a new epoch, and the one before it is committed.
 */
struct colo_send_phase {
	bool session;
	struct colo_frame_filter filter;
	struct colo_address peer;
	uint32_t ip_udp_len;
	uint32_t first_credit;
	uint32_t epoch;	    /**< to be sent, 0: none */
	uint8_t seal_shift; /**< of a sealed session: filter.sealed */
	bool fed;	    /**< its pages come through the feed, not from the outbox */
	bool zstd;
	int zstd_level;
};

/** All sending channels of a primary. Made at start. */
struct colo_send_end {
	struct colo_gate gate;
	struct colo_send_phase phase; /**< control core writes, poll cores read at the gate */
	struct colo_blocks *blocks;
	struct colo_port *port;
	struct colo_lane_rings lane;
	unsigned int n_channels;
	struct colo_outbox outbox;
	struct colo_feed feed; /**< of a source that feeds */
	struct rte_ring
		*handover[COLO_MAX_CHANNELS]; /**< frames of channel c that came elsewhere */
	struct colo_sender *channel[COLO_MAX_CHANNELS];
};

/** What a channel has sent in the epoch. Written by its poll core, read by the control core. */
struct colo_send_progress {
	_Atomic uint32_t
		epoch_sent; /**< store-release, after the others: all of this epoch is out */
	_Atomic uint64_t end_slot;
	_Atomic uint64_t pages;
	_Atomic uint64_t zero_pages;
	_Atomic uint64_t digest;
	_Atomic uint64_t wire_bytes;
	_Atomic uint64_t resent;
	_Atomic uint64_t sent;	/**< slots sent so far; equal to acked: none is outstanding */
	_Atomic uint64_t acked; /**< slots acknowledged in order */
} __attribute__((aligned(64)));

/** A record on its way into a packet. */
struct colo_item {
	struct colo_slot_record record;
	uint16_t offset;	/**< raw part: first byte in the page */
	uint16_t length;	/**< payload bytes */
	const uint8_t *payload; /**< where they lie; NULL: none */
};

/** Where pick stands in the claimed piece. */
struct colo_cursor {
	uint64_t *words; /**< the piece's words of `todo`; NULL: nothing claimed */
	uint32_t block;
	uint32_t first_page; /**< of the piece */
	uint32_t word;	     /**< next word to take */
	uint32_t base;	     /**< page of bit 0 of `bits` */
	uint64_t bits;	     /**< taken, not yet handed out */
	bool all_claimed;    /**< nothing left to claim in this epoch */
};

/** Pages of a zero record, whose `count` would hold 65,535: bounds the placing core's turn. */
#define COLO_ZERO_RUN_MAX 128u
/** New pages of a channel in one turn, about a millisecond; and a packet more. */
#define COLO_TURN_PAGES_MAX 4096u

#define COLO_FED_BURST 32u /**< pages taken from the feed at once */

/** Pages taken from the feed. */
struct colo_fed {
	uint16_t n, at; /**< page[at] .. page[n - 1] are not handed out yet */
	struct colo_feed_page page[COLO_FED_BURST];
};

/** One sending channel. Owner of everything not said otherwise: its poll core. */
struct colo_sender {
	/* read-only after start */
	struct colo_send_end *end;
	uint8_t id;
	struct colo_rx rx;
	/* adopted at the gate */
	bool session;
	uint32_t epoch;
	bool fed_on;
	bool zstd_on;
	int zstd_level;
	uint32_t part_size;
	uint32_t room; /**< bytes for records and payload in a packet */
	struct colo_frame_filter filter;
	struct colo_frame_template template;
	/* pick */
	struct colo_cursor cursor;
	struct colo_fed fed;
	bool has_page; /**< a page was taken that did not fit the run before it */
	uint32_t page_block, page;
	bool page_is_zero;
	uint16_t next_part; /**< of `page`, while has_page */
	bool has_item;	    /**< `item` did not fit the packet before */
	struct colo_item item;
	struct colo_item packet[COLO_MAX_RECORDS]; /**< items of the packet at hand */
	unsigned int n_packet;			   /**< not 0: it waits for an mbuf */
	bool sent_all;				   /**< of the epoch */
	/* compression */
	ZSTD_CCtx *zstd;
	uint8_t *zstd_out; /**< compressed pages of the packet at hand */
	uint32_t zstd_used;
	uint8_t *zstd_again; /**< the same for a packet that is sent again */
	/* out */
	uint64_t now_us;
	struct rte_mbuf *tx[2 * COLO_BURST]; /**< frames for the driver */
	uint16_t n_tx;
	uint16_t n_sealed; /**< of them may go: sealed, or not to be */
	struct colo_seal_end seal;
	uint64_t pages, zero_pages, digest, wire_bytes, resent; /**< of the epoch */
	struct colo_counters counters;
	struct colo_send_window window;
	/* shared with the control core */
	struct colo_send_progress progress;
	struct colo_gate_seat seat __attribute__((aligned(64)));
};

/** All stages for one turn. @return true if there was work. */
bool colo_send_poll(struct colo_sender *s);

/** acks.c: a burst of what came in. @return true if there was something. */
bool colo_acks(struct colo_sender *s);

/** resend.c: encode lost slots again, as far as there is room in s->tx. */
void colo_resend(struct colo_sender *s);

/**
 * pick.c: the next record to send.
 * @return false if this channel finds nothing more in this epoch.
 */
bool colo_pick(struct colo_sender *s, struct colo_item *item);

/** pick.c: forget the epoch before, start with nothing claimed. */
void colo_pick_reset(struct colo_sender *s);

/** pick.c: payload of a record that was sent before; @p out has room for a page. */
void colo_pick_again(struct colo_sender *s, const struct colo_slot_record *record, uint8_t *out,
	struct colo_item *item);

/** encode.c: new packets while there is credit and room in s->tx. */
void colo_encode_new(struct colo_sender *s);

/**
 * encode.c: one packet of @p n items for @p slot into s->tx.
 * @return false if there is no mbuf (counted; nothing was changed).
 */
bool colo_encode(struct colo_sender *s, uint64_t slot, struct colo_item *items, unsigned int n,
	bool first_time, uint16_t flags);

/** seal.c: frames of the lane's ring (first channel) join s->tx, and all are sealed. */
void colo_seal(struct colo_sender *s);

/** transmit.c: give what is sealed of s->tx to the driver. */
bool colo_transmit(struct colo_sender *s);

/** sender.c: @return a channel's state, or NULL with @p err. Main lcore, at start. */
struct colo_sender *colo_sender_new(struct colo_send_end *end, uint8_t id, struct colo_error *err);
void colo_sender_free(struct colo_sender *s);

/** Bytes a record with @p length bytes of payload takes in a packet. */
static inline uint32_t
colo_record_room(uint32_t length)
{
	return sizeof(struct colo_record) + length;
}

#endif
