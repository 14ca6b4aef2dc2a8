/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * A counter for each way a packet can go. One set per channel and direction, written by that
 * channel's poll core only; anyone may read (relaxed). Names are the same in code, prompt,
 * telemetry and docs. Never reset: `clear stats` remembers a base line instead.
 */
#ifndef COLO_CHANNEL_COUNTERS_H
#define COLO_CHANNEL_COUNTERS_H

#include <stdint.h>

/* X(name, help) */
#define COLO_COUNTERS(X)                                                                   \
	/* send: page packets */                                                           \
	X(tx_packets, "page packets sent, retransmissions included")                       \
	X(tx_bytes, "bytes of them, Ethernet header included")                             \
	X(tx_pages_raw, "pages sent raw")                                                  \
	X(tx_pages_zero, "pages sent as zero runs")                                        \
	X(tx_pages_zstd, "pages sent compressed")                                          \
	X(tx_resent, "page packets sent again")                                            \
	X(tx_lost_packet_threshold, "declared lost: later packets were acknowledged")      \
	X(tx_lost_time_threshold, "declared lost: not acknowledged in time")               \
	X(tx_probes, "probe timeouts")                                                     \
	X(tx_spurious, "declared lost though it had arrived, as far as can be told")       \
	X(tx_ring_full, "bursts the driver took only in part")                             \
	X(tx_cut, "bursts given up: the driver's peer went away (net_memif)")              \
	X(tx_no_mbuf, "no mbuf left")                                                      \
	X(tx_no_key, "turns in which a frame waited for the next key, or was not sealed")  \
	X(tx_no_credit, "turns without credit")                                            \
	X(rx_feedback, "feedback frames accepted")                                         \
	/* receive: every frame ends in exactly one of these */                            \
	X(rx_placed, "page packets placed")                                                \
	X(rx_control, "control frames handed to the control core")                         \
	X(rx_handed_over, "frames of another channel, handed to its poll core")            \
	X(rx_duplicate, "page packets placed before")                                      \
	X(drop_foreign, "not IP/UDP between our two addresses")                            \
	X(drop_fragment, "part of a fragmented IP packet")                                 \
	X(drop_checksum, "IP header's checksum is wrong, or UDP's is not 0")               \
	X(drop_jumbo, "longer than the MTU")                                               \
	X(drop_port, "for a UDP port that is no channel's")                                \
	X(drop_short, "shorter than its headers")                                          \
	X(drop_length, "length field does not fit the frame")                              \
	X(drop_version, "other protocol version")                                          \
	X(drop_type, "unknown frame type, or one that this end does not take")             \
	X(drop_session, "of another session")                                              \
	X(drop_channel, "no such channel, or not on this channel's UDP port")              \
	X(drop_epoch, "of an epoch that is not open")                                      \
	X(drop_window, "slot beyond the credit")                                           \
	X(drop_seal, "seal not genuine, or of a key that is not in use")                   \
	X(drop_replay, "packet number seen before, or too old to tell")                    \
	X(drop_header_crc, "CRC of header and records differs")                            \
	X(drop_records, "no records or too many")                                          \
	X(drop_block, "no such block")                                                     \
	X(drop_kind, "unknown record kind")                                                \
	X(drop_range, "page beyond the end of its block")                                  \
	X(drop_geometry, "offset, length or count is not a legal one")                     \
	X(drop_overlap, "records overlap or do not ascend")                                \
	X(drop_twice, "page came already in this epoch")                                   \
	X(drop_decode, "zstd does not decode to 4096 bytes")                               \
	X(drop_content_crc, "CRC of the contents differs")                                 \
	X(drop_control, "control frame that says what cannot be")                          \
	X(drop_feedback, "feedback that says what cannot be")                              \
	X(drop_handover_full, "control core's or other channel's ring is full")            \
	/* receive: what else happened */                                                  \
	X(rx_bytes, "bytes of page packets placed, Ethernet header included")              \
	X(rx_pages, "pages placed")                                                        \
	X(rx_pages_zero, "zero pages among them")                                          \
	X(rx_zero_skipped, "zero pages that cost nothing: their memory was never touched") \
	X(rx_cut, "bursts given up: the driver's peer went away (net_memif)")              \
	X(tx_feedback, "feedback frames sent")                                             \
	X(flush_pages, "pages flushed by this poll core")                                  \
	X(flush_rolled_back, "of them, pages that only the guest here had changed")

enum colo_counter {
#define X(name, help) COLO_##name,
	COLO_COUNTERS(X)
#undef X
	COLO_N_COUNTERS
};

struct colo_counters {
	uint64_t n[COLO_N_COUNTERS];
} __attribute__((aligned(64)));

extern const char *const colo_counter_name[COLO_N_COUNTERS];
extern const char *const colo_counter_help[COLO_N_COUNTERS];

#endif
