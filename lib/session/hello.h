/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * The bodies of a session's messages: packed from and checked into the structs of session.h.
 * Pure functions on bytes, no socket; any thread.
 *
 *     HELLO   be16 version, be32 session, be32 mtu, be16 n_channels, be16 n_blocks,
 *             be32 peer_timeout_ms, be32 hold_ms, be64 instance, be32 committed, be32 doubt,
 *             u8 seal_shift, ADDRESS, n_blocks * (text name, be64 size)
 *
 *     ACCEPT  be16 version, be32 window, ADDRESS, n_channels * be16 port, be32 resumes, text why
 *
 *     START   be16 n_channels, n_channels * be16 port
 *
 *     REFUSE, ABORT, GONE   text why
 *
 *     PING, PONG, BYE   nothing
 *
 *     ADDRESS: 6 bytes MAC, u8 ip_version, 4 or 16 bytes IP, be16 source_port
 *
 *     text: u8 length (not 0), so many printable ASCII bytes
 *
 * A body ends where its last field ends: one byte less or more is a wrong message.
 */
#ifndef COLO_SESSION_HELLO_H
#define COLO_SESSION_HELLO_H

#include <stddef.h>

#include "session.h"

enum colo_message {
	COLO_MESSAGE_HELLO = 1,
	COLO_MESSAGE_ACCEPT = 2,
	COLO_MESSAGE_REFUSE = 3,
	COLO_MESSAGE_START = 4,
	COLO_MESSAGE_PING = 5,
	COLO_MESSAGE_PONG = 6,
	COLO_MESSAGE_ABORT = 7,
	COLO_MESSAGE_BYE = 8,
	COLO_MESSAGE_GONE = 9,
	COLO_MESSAGE_MAX = 9,
};

/** @return "HELLO", ..., or "unknown". */
const char *colo_message_name(uint16_t type);

/*
 * Pack into @p body, which has COLO_SESSION_BODY_MAX bytes. Counts must be within their limits.
 * @return bytes used.
 */
size_t colo_hello_pack(uint8_t *body, const struct colo_hello *hello);
size_t colo_accept_pack(uint8_t *body, const struct colo_accept *accept, unsigned int n_channels);
size_t colo_start_pack(uint8_t *body, const uint16_t *ports, unsigned int n_channels);
/** Longer texts are cut, bytes that are not printable become '?', an empty one "no reason given".
 */
size_t colo_text_pack(uint8_t *body, const char *text);

/*
 * Check all of a body and fill the struct; it holds nothing useful after an error.
 * @return 0, or -1 with @p err naming the message, the field and what is accepted.
 */
int colo_hello_check(
	const uint8_t *body, size_t length, struct colo_hello *hello, struct colo_error *err);
int colo_accept_check(const uint8_t *body, size_t length, unsigned int n_channels,
	struct colo_accept *accept, struct colo_error *err);
/** @p ports has COLO_MAX_CHANNELS entries. */
int colo_start_check(const uint8_t *body, size_t length, unsigned int n_channels, uint16_t *ports,
	struct colo_error *err);
/** @p text has COLO_SESSION_REASON_MAX + 1 bytes; @p message is the name for the sentence. */
int colo_text_check(const uint8_t *body, size_t length, const char *message, char *text,
	struct colo_error *err);
int colo_empty_check(size_t length, const char *message, struct colo_error *err);

#endif
