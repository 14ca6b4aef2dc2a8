/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames made by hand: a valid one first, then the test bends one thing in it and seals it again,
 * so that nothing else is wrong with it.
 */
#ifndef COLO_UT_PACKET_H
#define COLO_UT_PACKET_H

#include <string.h>

#include <zstd.h>

#include "frame.h"
#include "page.h"
#include "ut.h"

struct ut_packet {
	uint8_t bytes[16384];
	uint32_t outer;	  /* bytes of Ethernet, IP and UDP headers */
	uint32_t payload; /* bytes of UDP's payload */
	struct colo_frame_template template;
};

static inline struct colo_header *
ut_packet_header(struct ut_packet *p)
{
	return (struct colo_header *)(p->bytes + p->outer);
}

static inline struct colo_record *
ut_packet_record(struct ut_packet *p, unsigned int i)
{
	return (struct colo_record *)(ut_packet_header(p) + 1) + i;
}

/* First payload byte of record @p i. */
static inline uint8_t *
ut_packet_contents(struct ut_packet *p, unsigned int i)
{
	uint8_t *at = (uint8_t *)ut_packet_record(p, ut_packet_header(p)->n_records);

	for (unsigned int k = 0; k < i; k++)
		at += rte_be_to_cpu_16(ut_packet_record(p, k)->length);
	return at;
}

/* An empty page packet. */
static inline void
ut_packet_init(struct ut_packet *p, const struct colo_frame_template *t, uint32_t epoch,
	uint32_t slot, uint64_t packet_number)
{
	struct colo_frame_fields fields = {.type = COLO_FRAME_PAGE,
		.epoch = epoch,
		.slot = slot,
		.packet_number = packet_number,
		.length = sizeof(struct colo_header)};

	memset(p, 0, sizeof(*p));
	p->template = *t;
	p->outer = t->length;
	p->payload = sizeof(struct colo_header);
	colo_frame_write_header(t, ut_packet_header(p), &fields, sizeof(struct colo_header));
}

/* Room for a record behind the last one; its payload goes to the end. @return the record. */
static inline struct colo_record *
ut_packet_add(struct ut_packet *p, uint8_t kind, uint8_t block, uint32_t page, const void *payload,
	uint16_t length)
{
	struct colo_record *r = ut_packet_record(p, ut_packet_header(p)->n_records);
	uint8_t *end = p->bytes + p->outer + p->payload;

	memmove(r + 1, r, end - (uint8_t *)r);
	memset(r, 0, sizeof(*r));
	ut_packet_header(p)->n_records++;
	if (length > 0)
		memcpy(end + sizeof(*r), payload, length);
	p->payload += sizeof(*r) + length;
	r->kind = kind;
	r->block = block;
	r->page = rte_cpu_to_be_32(page);
	r->length = rte_cpu_to_be_16(length);
	r->count = RTE_BE16(1);
	return r;
}

static inline struct colo_record *
ut_packet_add_zero(struct ut_packet *p, uint8_t block, uint32_t page, uint16_t count)
{
	struct colo_record *r = ut_packet_add(p, COLO_RECORD_ZERO, block, page, NULL, 0);

	r->count = rte_cpu_to_be_16(count);
	return r;
}

/* @p length bytes at @p contents, from @p offset of the page on. */
static inline struct colo_record *
ut_packet_add_raw(struct ut_packet *p, uint8_t block, uint32_t page, uint16_t offset,
	const void *contents, uint16_t length)
{
	struct colo_record *r = ut_packet_add(p, COLO_RECORD_RAW, block, page, contents, length);

	r->offset = rte_cpu_to_be_16(offset);
	r->crc = rte_cpu_to_be_32(colo_crc32(contents, length));
	return r;
}

/* @p size bytes at @p contents compressed; only 4096 are legal. */
static inline struct colo_record *
ut_packet_add_zstd(
	struct ut_packet *p, uint8_t block, uint32_t page, const void *contents, size_t size)
{
	uint8_t out[2 * COLO_PAGE_SIZE];
	size_t n = ZSTD_compress(out, sizeof(out), contents, size, 1);
	struct colo_record *r;

	CU_ASSERT_FALSE_FATAL(ZSTD_isError(n));
	r = ut_packet_add(p, COLO_RECORD_ZSTD, block, page, out, n);
	r->crc = rte_cpu_to_be_32(colo_crc32(contents, size));
	return r;
}

/* Only the header's CRC, over header and record table. */
static inline void
ut_packet_seal_crc(struct ut_packet *p)
{
	struct colo_header *h = ut_packet_header(p);
	uint32_t covered = p->payload;

	if (h->type == COLO_FRAME_PAGE)
		covered = RTE_MIN(covered, sizeof(*h) + h->n_records * sizeof(struct colo_record));
	h->crc = 0;
	h->crc = rte_cpu_to_be_32(colo_crc32(h, covered));
}

/* Outer headers, length and CRC fit what there is now. */
static inline void
ut_packet_seal(struct ut_packet *p)
{
	ut_packet_header(p)->length = rte_cpu_to_be_16(p->payload);
	colo_frame_write_outer(&p->template, p->bytes, p->payload);
	ut_packet_seal_crc(p);
}

/* A control frame instead: BEGIN, or the answer to it. */
static inline void
ut_packet_control(struct ut_packet *p, bool request)
{
	struct colo_header *h = ut_packet_header(p);
	struct colo_control_request *ask = (struct colo_control_request *)(h + 1);
	struct colo_control_reply *reply = (struct colo_control_reply *)(h + 1);

	h->type = COLO_FRAME_CONTROL;
	h->n_records = 0;
	if (request)
		*ask = (struct colo_control_request){
			.sequence = RTE_BE32(1), .op = COLO_CONTROL_BEGIN};
	else
		*reply = (struct colo_control_reply){
			.sequence = RTE_BE32(1), .op = COLO_CONTROL_BEGIN, .is_reply = 1};
	p->payload = sizeof(*h) + (request ? sizeof(*ask) : sizeof(*reply));
	ut_packet_seal(p);
}

/* As mbuf of one segment, or of two with the first @p split bytes in the first. */
static inline struct rte_mbuf *
ut_packet_mbuf(const struct ut_packet *p, struct rte_mempool *pool, uint32_t split)
{
	uint32_t all = p->outer + p->payload;
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	struct rte_mbuf *second;

	CU_ASSERT_PTR_NOT_NULL_FATAL(m);
	if (split == 0 || split >= all) {
		memcpy(rte_pktmbuf_append(m, all), p->bytes, all);
		return m;
	}
	memcpy(rte_pktmbuf_append(m, split), p->bytes, split);
	second = rte_pktmbuf_alloc(pool);
	CU_ASSERT_PTR_NOT_NULL_FATAL(second);
	memcpy(rte_pktmbuf_append(second, all - split), p->bytes + split, all - split);
	CU_ASSERT_EQUAL_FATAL(rte_pktmbuf_chain(m, second), 0);
	return m;
}

#endif
