/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * TLS 1.3 with an external pre-shared key (RFC 8446, psk_dhe_ke), by OpenSSL, on sockets that never
 * block. Who completes a handshake knows the key; there are no certificates, tickets or early data.
 *
 * What a caller who does not know the key can cause: one `struct colo_tls_stream`, whose handshake
 * messages OpenSSL bounds (a ClientHello to 16 KiB), and the work of one handshake step.
 */
#ifndef COLO_SESSION_TLS_H
#define COLO_SESSION_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "colo_error.h"

#define COLO_TLS_IDENTITY    "dpdk-colo"	    /**< of the key: there is one */
#define COLO_TLS_LABEL	     "EXPORTER-dpdk-colo-1" /**< of colo_tls_export() */
#define COLO_TLS_FIRST_BYTE  0x16 /**< of a client's and of a server's first record */
#define COLO_TLS_SECRET_MAX  64u  /**< bytes that colo_tls_export() gives at most */
#define COLO_TLS_REASON_SIZE 160u /**< bytes, with NUL, of colo_tls_reason() */

/** The key, and what all connections have in common. */
struct colo_tls;

/** Read the key of --psk-file. Main lcore, at start. @return NULL with @p err. */
struct colo_tls *colo_tls_new(const char *psk_file, struct colo_error *err);
/** After the last stream. @p tls may be NULL. */
void colo_tls_free(struct colo_tls *tls);

/** One connection. Its socket is its owner's, and outlives it. One thread. */
struct colo_tls_stream;

enum colo_tls_status {
	COLO_TLS_OK = 0,
	COLO_TLS_AGAIN,	 /**< not now: the peer has to speak, or to read, first */
	COLO_TLS_ENDED,	 /**< the peer closed its direction */
	COLO_TLS_FAILED, /**< of no use any more: colo_tls_reason() */
};

/** @return NULL: out of memory. */
struct colo_tls_stream *colo_tls_stream_new(struct colo_tls *tls, int fd, bool server);
/** @p stream may be NULL. */
void colo_tls_stream_free(struct colo_tls_stream *stream);

/** One step; OK: peer knows the key. @p worked: bytes came, so it cost more than a look. */
enum colo_tls_status colo_tls_handshake(struct colo_tls_stream *stream, bool *worked);
/** Has colo_tls_handshake() said OK? */
bool colo_tls_is_up(const struct colo_tls_stream *stream);
/** @p got: bytes read, with OK. */
enum colo_tls_status colo_tls_read(
	struct colo_tls_stream *stream, uint8_t *to, size_t size, size_t *got);
/** @p sent: bytes taken, with OK. After AGAIN the same bytes, or more, are to be offered again. */
enum colo_tls_status colo_tls_write(
	struct colo_tls_stream *stream, const uint8_t *from, size_t length, size_t *sent);
/** Tell the peer that no more will come; one attempt. */
void colo_tls_close(struct colo_tls_stream *stream);
/** One sentence without a full stop: why it FAILED. */
const char *colo_tls_reason(const struct colo_tls_stream *stream);

/**
 * Key material that both ends, and only they, can make: of this connection and @p context.
 * @return 0, or -1: no handshake yet, or @p n is 0 or above COLO_TLS_SECRET_MAX.
 */
int colo_tls_export(const struct colo_tls_stream *stream, const uint8_t *context,
	size_t context_length, uint8_t *secret, size_t n);

#endif
