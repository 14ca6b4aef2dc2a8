/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * The crypto device among the files of lib/seal.
 */
#ifndef COLO_SEAL_SEAL_DEVICE_H
#define COLO_SEAL_SEAL_DEVICE_H

#include <rte_crypto.h>

#include "seal.h"

/** Where a queued operation has its nonce. */
#define COLO_SEAL_IV_OFFSET (sizeof(struct rte_crypto_op) + sizeof(struct rte_crypto_sym_op))

/**
 * Make a session for @p key. Control core, or main lcore at start.
 * @return NULL with @p err if the device refuses or has no room.
 */
void *colo_seal_device_session(const struct colo_seal_device *d,
	const uint8_t key[COLO_SEAL_KEY_LEN], bool encrypts, struct colo_error *err);
void colo_seal_device_forget(const struct colo_seal_device *d, void *session);

#endif
