/* SPDX-License-Identifier: BSD-3-Clause */
/* Contents of a packet's records: found, decompressed, and checked against their CRC. */
#include "page.h"
#include "receive.h"

static enum colo_counter
decode_record(struct colo_receiver *r, const struct colo_page_packet *p, unsigned int i,
	struct colo_parsed_record *rec)
{
	uint8_t *mine = r->scratch + i * COLO_PAGE_SIZE;
	const uint8_t *bytes;

	bytes = rte_pktmbuf_read(
		p->frame.mbuf, rec->payload, rec->length, r->linear + i * COLO_PAGE_SIZE);
	if (bytes == NULL)
		return COLO_drop_length;
	rec->contents = bytes;
	if (rec->kind == COLO_RECORD_ZSTD) {
		if (ZSTD_decompressDCtx(r->zstd, mine, COLO_PAGE_SIZE, bytes, rec->length) !=
			COLO_PAGE_SIZE)
			return COLO_drop_decode;
		rec->contents = mine;
		rec->length = COLO_PAGE_SIZE;
	}
	return colo_crc32(rec->contents, rec->length) == rec->crc ? COLO_FRAME_OK
								  : COLO_drop_content_crc;
}

bool
colo_decode(struct colo_receiver *r, struct colo_page_packet *p)
{
	for (unsigned int i = 0; i < p->n_records; i++) {
		enum colo_counter why;

		if (p->record[i].kind == COLO_RECORD_ZERO)
			continue;
		why = decode_record(r, p, i, &p->record[i]);
		if (unlikely(why != COLO_FRAME_OK)) {
			colo_receive_count(r, why);
			return false;
		}
	}
	return true;
}
