/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * Slots, feedback and credit of one channel: pure logic over numbers and times that are handed in,
 * so that a simulation can run it as it is. Terms and rules: RFC 9002, sections 5 and 6.
 *
 * A slot is a page packet's place in the channel's order; each transmission has a packet number of
 * its own, so a round-trip sample never is ambiguous. There is no congestion control: the wire is
 * the operator's own, credit keeps the receiver's ring from overflowing, and loss costs resending.
 */
#ifndef COLO_CHANNEL_WINDOW_H
#define COLO_CHANNEL_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#include "wire.h"

/* ---- receiving end; owner: the channel's receiving poll core ---- */

struct colo_receive_window {
	uint64_t cum;	  /**< every slot below has been placed */
	uint64_t highest; /**< highest slot placed, plus one */
	uint64_t credit;  /**< slots below it are taken; never goes back */
	uint64_t largest_packet;
	uint64_t largest_packet_us;	      /**< when it came */
	uint32_t size;			      /**< slots of credit beyond cum */
	uint64_t placed[COLO_FEEDBACK_WORDS]; /**< bit (slot % COLO_WINDOW_MAX) */
};

enum colo_slot_verdict {
	COLO_SLOT_NEW,
	COLO_SLOT_PLACED,
	COLO_SLOT_BEYOND
};

/** @p size: 1..COLO_WINDOW_MAX slots that may be outstanding. */
void colo_receive_window_init(struct colo_receive_window *w, uint32_t size);

/** The 64-bit slot whose low 32 bits are @p low and that is nearest to cum (RFC 9000, A.3). */
uint64_t colo_receive_window_slot(const struct colo_receive_window *w, uint32_t low);

enum colo_slot_verdict colo_receive_window_check(
	const struct colo_receive_window *w, uint64_t slot);

/** Slot (verdict NEW) has been placed; cum and credit go up as far as they can. */
void colo_receive_window_place(struct colo_receive_window *w, uint64_t slot);

/** Note a packet number for the peer's round-trip sample. */
void colo_receive_window_packet(
	struct colo_receive_window *w, uint64_t packet_number, uint64_t now_us);

/** @return true if a slot below the highest placed one is missing. */
static inline bool
colo_receive_window_gap(const struct colo_receive_window *w)
{
	return w->highest > w->cum;
}

/** Write the feedback at @p f (room for COLO_FEEDBACK_WORDS words). @return its bytes. */
uint32_t colo_receive_window_feedback(
	const struct colo_receive_window *w, uint64_t now_us, struct colo_feedback *f);

/* ---- sending end; owner: the channel's sending poll core ---- */

#define COLO_PACKET_THRESHOLD 3u		    /**< RFC 9002, 6.1.1 */
#define COLO_PACKET_RING      (4 * COLO_WINDOW_MAX) /**< packet numbers remembered */
#define COLO_GRANULARITY_US   1000u		    /**< RFC 9002, kGranularity */
#define COLO_INITIAL_RTT_US   10000u		    /**< before the first sample */
#define COLO_MAX_ACK_DELAY_US 1000u		    /**< feedback's timer, generously */
#define COLO_MAX_PTO_US	      200000u		    /**< backed off no further */

/** One record of a slot, enough to encode it again. */
struct colo_slot_record {
	uint32_t page;
	uint16_t count; /**< zero: pages of the run; raw: number of the part; zstd: 0 */
	uint8_t block;
	uint8_t kind; /**< enum colo_record_kind */
};

enum colo_slot_state {
	COLO_SLOT_FREE,
	COLO_SLOT_OUTSTANDING,
	COLO_SLOT_LOST
};

struct colo_slot {
	uint64_t packet_number; /**< of its latest transmission */
	uint64_t sent_us;
	uint8_t state; /**< enum colo_slot_state */
	uint8_t n_records;
	bool again; /**< its latest transmission is not the first */
	struct colo_slot_record record[COLO_MAX_RECORDS];
};

struct colo_send_window {
	uint64_t next_slot; /**< first not yet used */
	uint64_t cum;	    /**< every slot below is acknowledged */
	uint64_t credit;    /**< slots below it may be used */
	uint32_t limit;	    /**< slots outstanding at most, whatever the credit; COLO_WINDOW_MAX */
	uint64_t next_packet;
	uint64_t largest_acked; /**< packet number */
	uint64_t resolved;	/**< packet numbers below are acknowledged, superseded or lost */
	uint64_t last_sent_us;
	uint64_t last_progress_us; /**< last time something was acknowledged */
	uint32_t srtt_us, rttvar_us, latest_rtt_us;
	uint32_t outstanding; /**< slots in state OUTSTANDING */
	uint32_t n_lost;      /**< slots in state LOST, waiting to be resent */
	uint64_t lost_hint;   /**< no LOST slot below it */
	uint32_t pto_count;   /**< probe timeouts since the last progress */
	bool has_rtt;
	uint64_t lost_by_packet, lost_by_time, probes; /**< counted */
	/** counted: declared lost, and then an earlier transmission turns out to have arrived */
	uint64_t spurious;
	uint64_t packet_slot[COLO_PACKET_RING]; /**< [packet number % ring]: its slot */
	struct colo_slot slot[COLO_WINDOW_MAX];
};

void colo_send_window_init(struct colo_send_window *w, uint32_t first_credit);

static inline struct colo_slot *
colo_send_window_at(struct colo_send_window *w, uint64_t slot)
{
	return &w->slot[slot % COLO_WINDOW_MAX];
}

static inline bool
colo_send_window_has_credit(const struct colo_send_window *w)
{
	return w->next_slot < w->credit && w->next_slot - w->cum < w->limit;
}

/** A slot goes out, for the first time or again. @return the packet number to write. */
uint64_t colo_send_window_sent(struct colo_send_window *w, uint64_t slot, uint64_t now_us);

/** Lowest LOST slot. @return false if there is none. */
bool colo_send_window_lost(struct colo_send_window *w, uint64_t *slot);

/**
 * Take feedback (@p length bytes, CRC checked).
 * @return false if it says what cannot be; nothing was changed then.
 */
bool colo_send_window_feedback(struct colo_send_window *w, const struct colo_feedback *f,
	uint32_t length, uint64_t now_us);

/** Everything sent so far is known to be placed (the secondary committed it). */
void colo_send_window_all_acked(struct colo_send_window *w, uint64_t now_us);

/** Time threshold and probe timeout; call every turn while something is outstanding. */
void colo_send_window_timer(struct colo_send_window *w, uint64_t now_us);

/** Probe timeout in force (RFC 9002, 6.2.1), backed off. */
uint64_t colo_send_window_pto_us(const struct colo_send_window *w);

#endif
