/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * Decompresses the pages of one multifd channel: one stream that goes on from packet to packet, as
 * QEMU writes it. Memory is bounded and, but for zstd's window, allocated at start.
 */
#ifndef COLO_QEMU_PAGE_DECODER_H
#define COLO_QEMU_PAGE_DECODER_H

#include <stddef.h>
#include <stdint.h>
#include <zlib.h>
#include <zstd.h>

#include "colo_error.h"

/** log2 of zstd's largest window, bytes: what QEMU's multifd-zstd-level up to 19 needs. */
#define COLO_DECODER_WINDOW_LOG 23

enum colo_compression {
	COLO_COMPRESSION_NONE,
	COLO_COMPRESSION_ZLIB,
	COLO_COMPRESSION_ZSTD,
};

/** Owned by its channel's parser. */
struct colo_page_decoder {
	z_stream zlib;
	ZSTD_DStream *zstd; /**< NULL: not initialized */
};

/** Allocate. @return 0, or -1 with @p err. */
int colo_page_decoder_init(struct colo_page_decoder *d, struct colo_error *err);

/** Free; safe to call again. */
void colo_page_decoder_fini(struct colo_page_decoder *d);

/**
 * Decode from @p in to @p out until one of them is used up.
 * @param in_left, out_left  bytes there; on return, what is left of them
 * @return 0 (also if nothing could be done), or -1 with @p err if it is no such stream.
 */
int colo_page_decoder_run(struct colo_page_decoder *d, enum colo_compression compression,
	const uint8_t *in, size_t *in_left, uint8_t *out, size_t *out_left, struct colo_error *err);

#endif
