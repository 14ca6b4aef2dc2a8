/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * The pre-shared key of --psk-file: read, checked, and kept in memory that is neither swapped, nor
 * dumped, nor inherited by a child. Main lcore, at start and end.
 *
 * The file: 64 to 512 hexadecimal digits (32 to 256 bytes), then nothing but white space. A regular
 * file that belongs to root or to the user of this process, and that nobody else may read or write.
 */
#ifndef COLO_SESSION_PSK_H
#define COLO_SESSION_PSK_H

#include <stddef.h>
#include <stdint.h>

#include "colo_error.h"

#define COLO_PSK_MIN	  32u	/**< bytes of the key */
#define COLO_PSK_MAX	  256u	/**< bytes of the key; OpenSSL takes up to 512 */
#define COLO_PSK_FILE_MAX 1024u /**< bytes of the file, white space included */

/** All zeros: none. */
struct colo_psk {
	uint8_t *key;  /**< in pages of its own */
	size_t length; /**< bytes used of it */
};

/** @return 0, or -1 with @p err naming the file, what was wrong and what is accepted. */
int colo_psk_read(struct colo_psk *psk, const char *path, struct colo_error *err);
/** Overwrite and give back. Safe to call twice. */
void colo_psk_wipe(struct colo_psk *psk);

/**
 * Take the digits out of @p text and put the bytes in the same place, from its begin on.
 * @p path is for the sentence. @return bytes of the key, or -1 with @p err.
 */
int colo_psk_parse(uint8_t *text, size_t length, const char *path, struct colo_error *err);

#endif
