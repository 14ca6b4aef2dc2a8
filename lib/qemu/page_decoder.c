/* SPDX-License-Identifier: BSD-3-Clause */
/* zlib and zstd behind one call. */
#include "page_decoder.h"

int
colo_page_decoder_init(struct colo_page_decoder *d, struct colo_error *err)
{
	*d = (struct colo_page_decoder){0};
	if (inflateInit(&d->zlib) != Z_OK)
		return colo_error_set(err, "no memory for a multifd channel's zlib stream");
	d->zstd = ZSTD_createDStream();
	if (d->zstd == NULL || ZSTD_isError(ZSTD_DCtx_setParameter(
				       d->zstd, ZSTD_d_windowLogMax, COLO_DECODER_WINDOW_LOG))) {
		inflateEnd(&d->zlib);
		ZSTD_freeDStream(d->zstd);
		d->zstd = NULL;
		return colo_error_set(err, "no memory for a multifd channel's zstd stream");
	}
	return 0;
}

void
colo_page_decoder_fini(struct colo_page_decoder *d)
{
	if (d->zstd == NULL)
		return;
	inflateEnd(&d->zlib);
	ZSTD_freeDStream(d->zstd);
	d->zstd = NULL;
}

static int
run_zlib(z_stream *z, const uint8_t *in, size_t *in_left, uint8_t *out, size_t *out_left,
	struct colo_error *err)
{
	int status;

	z->next_in = (Bytef *)(uintptr_t)in;
	z->avail_in = (uInt)*in_left;
	z->next_out = out;
	z->avail_out = (uInt)*out_left;
	status = inflate(z, Z_NO_FLUSH);
	*in_left = z->avail_in;
	*out_left = z->avail_out;
	if (status == Z_OK || status == Z_BUF_ERROR) /* the latter: nothing could be done */
		return 0;
	return colo_error_set(err, "zlib: %s",
		status == Z_STREAM_END ? "the stream ends"
		: z->msg != NULL       ? z->msg
				       : "damaged");
}

static int
run_zstd(ZSTD_DStream *z, const uint8_t *in, size_t *in_left, uint8_t *out, size_t *out_left,
	struct colo_error *err)
{
	ZSTD_inBuffer from = {.src = in, .size = *in_left};
	ZSTD_outBuffer to = {.dst = out, .size = *out_left};
	size_t status = ZSTD_decompressStream(z, &to, &from);

	*in_left -= from.pos;
	*out_left -= to.pos;
	if (ZSTD_isError(status))
		return colo_error_set(err, "zstd: %s (multifd-zstd-level up to 19 is accepted)",
			ZSTD_getErrorName(status));
	return 0;
}

int
colo_page_decoder_run(struct colo_page_decoder *d, enum colo_compression compression,
	const uint8_t *in, size_t *in_left, uint8_t *out, size_t *out_left, struct colo_error *err)
{
	if (compression == COLO_COMPRESSION_ZLIB)
		return run_zlib(&d->zlib, in, in_left, out, out_left, err);
	return run_zstd(d->zstd, in, in_left, out, out_left, err);
}
