/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Both ends of a datapath for fuzz targets: the unit tests' rig, made once; frames out of an
 * input, mended as far as the input wants, so that what is behind a CRC or a seal is reached too.
 */
#ifndef COLO_FUZZ_RIG_H
#define COLO_FUZZ_RIG_H

#include "fuzz.h"

/* What the unit tests' headers need of ut.h, which is CUnit: here a failed check ends all. */
#define COLO_UT_H
#define CU_ASSERT_TRUE(x)		   FUZZ_CHECK(x)
#define CU_ASSERT_EQUAL(a, b)		   FUZZ_CHECK((a) == (b))
#define CU_ASSERT_TRUE_FATAL(x)		   FUZZ_CHECK(x)
#define CU_ASSERT_FALSE_FATAL(x)	   FUZZ_CHECK(!(x))
#define CU_ASSERT_EQUAL_FATAL(a, b)	   FUZZ_CHECK((a) == (b))
#define CU_ASSERT_PTR_NOT_NULL_FATAL(p)	   FUZZ_CHECK((p) != NULL)
#define CU_ASSERT_STRING_EQUAL_FATAL(a, b) FUZZ_CHECK(strcmp(a, b) == 0)

#include "ut_packet.h"
#include "ut_rig.h"

#define FUZZ_BLOCKS	2u
#define FUZZ_PAGES	20u /* of block 0; block 1 has one */
#define FUZZ_EPOCH	7u
#define FUZZ_FRAME_MAX	9216u
#define FUZZ_FRAMES_MAX 12u /* of an input */

/* How a frame of the input is mended; the input says which. */
enum fuzz_mend {
	MEND_OUTER = 0x01,	 /* the bytes are UDP's payload; Ethernet, IP, UDP are made */
	MEND_HEADER = 0x02,	 /* version, session, channel and length are right */
	MEND_NUMBERS = 0x04,	 /* epoch, slot and packet number are the next ones */
	MEND_CONTENTS = 0x08,	 /* each record's CRC is that of its contents */
	MEND_CRC = 0x10,	 /* the header's CRC (of a sealed session: the seal) is right */
	MEND_SPLIT = 0x20,	 /* two segments */
	MEND_CONTROL = 0x40,	 /* type: of the control lane */
	MEND_OTHER_QUEUE = 0x80, /* comes by the ring from another queue */
};

struct fuzz_frame {
	uint8_t bytes[FUZZ_FRAME_MAX + COLO_HEADERS_MAX + COLO_SEAL_TAG_LEN];
	uint32_t outer;	 /* bytes before colo_header */
	uint32_t length; /* of all */
	uint8_t mend;
	uint16_t split; /* bytes of the first segment */
	bool genuine;	/* sealed with the peer's key */
};

static inline struct ut_rig *
fuzz_rig_new(unsigned int ip_version, uint32_t mtu, bool sealed)
{
	const struct ut_rig_options o = {.mtu = mtu,
		.ip_version = ip_version,
		.n_channels = 2,
		.window = 64,
		.sealed = sealed,
		.n_blocks = FUZZ_BLOCKS,
		.block_size = {FUZZ_PAGES * COLO_PAGE_SIZE, COLO_PAGE_SIZE}};

	return ut_rig_new(&o);
}

/* @p payload of it is UDP's. */
static inline struct colo_header *
fuzz_frame_header(struct fuzz_frame *f)
{
	return (struct colo_header *)(f->bytes + f->outer);
}

static inline void
fuzz_mend_header(struct fuzz_frame *f, const struct colo_frame_template *t, uint8_t type)
{
	struct colo_header *h = fuzz_frame_header(f);

	h->version = COLO_WIRE_VERSION;
	h->type = f->mend & MEND_CONTROL ? COLO_FRAME_CONTROL : type;
	h->channel = t->channel;
	h->session = rte_cpu_to_be_32(t->session);
	h->length = rte_cpu_to_be_16(f->length - f->outer);
	if (h->type != COLO_FRAME_PAGE)
		h->n_records = 0;
}

/* CRC of what a record holds: of its bytes, or of what they are compressed. */
static inline uint32_t
fuzz_contents_crc(uint8_t kind, const uint8_t *bytes, uint16_t length)
{
	uint8_t page[COLO_PAGE_SIZE];
	size_t n;

	if (kind != COLO_RECORD_ZSTD)
		return kind == COLO_RECORD_RAW ? colo_crc32(bytes, length) : 0;
	n = ZSTD_decompress(page, sizeof(page), bytes, length);
	return ZSTD_isError(n) ? 0 : colo_crc32(page, n);
}

static inline void
fuzz_mend_contents(struct fuzz_frame *f)
{
	struct colo_header *h = fuzz_frame_header(f);
	struct colo_record *r = (struct colo_record *)(h + 1);
	uint32_t at = f->outer + sizeof(*h) + h->n_records * sizeof(*r);

	for (unsigned int i = 0; h->type == COLO_FRAME_PAGE && i < h->n_records; i++, r++) {
		uint16_t length;

		if ((uint8_t *)(r + 1) > f->bytes + f->length)
			return;
		length = rte_be_to_cpu_16(r->length);
		if (at + length > f->length)
			return;
		r->crc = rte_cpu_to_be_32(fuzz_contents_crc(r->kind, f->bytes + at, length));
		at += length;
	}
}

static inline void
fuzz_mend_crc(struct fuzz_frame *f)
{
	struct colo_header *h = fuzz_frame_header(f);
	uint32_t covered = f->length - f->outer;

	if (h->type == COLO_FRAME_PAGE)
		covered = RTE_MIN(covered, sizeof(*h) + h->n_records * sizeof(struct colo_record));
	h->crc = 0;
	h->crc = rte_cpu_to_be_32(colo_crc32(h, covered));
}

/* Take a frame off the input: u8 mend, u16 length, bytes (u16 split). Not mended but for what goes
 * around it. */
static inline void
fuzz_frame_take(struct fuzz_input *in, const struct colo_frame_template *t, bool sealed,
	struct fuzz_frame *f)
{
	const uint8_t *bytes;
	size_t n;

	memset(f, 0, sizeof(*f));
	f->mend = fuzz_u8(in);
	n = fuzz_u16(in) % FUZZ_FRAME_MAX;
	if (f->mend & MEND_SPLIT)
		f->split = fuzz_u16(in);
	bytes = fuzz_bytes(in, &n);
	f->outer = f->mend & MEND_OUTER ? t->length : 0;
	if (n > 0)
		memcpy(f->bytes + f->outer, bytes, n);
	if (f->mend & MEND_OUTER) {
		n += sealed ? COLO_SEAL_TAG_LEN : 0;
		colo_frame_write_outer(t, f->bytes, n);
	} else if (n >= t->length) {
		f->outer = t->length; /* where headers are looked for */
		f->length = n;
		return;
	}
	f->length = f->outer + n;
}

static inline bool
fuzz_frame_has_header(const struct fuzz_frame *f, bool sealed)
{
	return f->outer != 0 && f->length - f->outer >= sizeof(struct colo_header) +
								(sealed ? COLO_SEAL_TAG_LEN : 0);
}

/* ---- frames as mbufs, in memory of exactly their length ---- */

static inline void
fuzz_extbuf_free(void *addr, void *shared)
{
	free(addr);
	free(shared);
}

/* So that a checker of memory sees a read beyond a segment. */
static inline struct rte_mbuf *
fuzz_segment(struct rte_mempool *pool, const uint8_t *bytes, size_t n)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	struct rte_mbuf_ext_shared_info *shared = malloc(sizeof(*shared));
	uint8_t *copy = fuzz_copy(bytes, n);

	FUZZ_CHECK(m != NULL && shared != NULL);
	*shared = (struct rte_mbuf_ext_shared_info){
		.free_cb = fuzz_extbuf_free, .fcb_opaque = shared};
	rte_mbuf_ext_refcnt_set(shared, 1);
	rte_pktmbuf_attach_extbuf(m, copy, (rte_iova_t)(uintptr_t)copy, n, shared);
	m->data_off = 0;
	m->data_len = m->pkt_len = n;
	return m;
}

static inline struct rte_mbuf *
fuzz_frame_mbuf(const struct fuzz_frame *f, struct rte_mempool *pool)
{
	uint32_t split = f->mend & MEND_SPLIT ? f->split % (f->length + 1) : 0;
	struct rte_mbuf *m;

	if (split == 0 || split == f->length)
		return fuzz_segment(pool, f->bytes, f->length);
	m = fuzz_segment(pool, f->bytes, split);
	FUZZ_CHECK(
		rte_pktmbuf_chain(m, fuzz_segment(pool, f->bytes + split, f->length - split)) == 0);
	return m;
}

/* Seal it as the peer would; where that is impossible (no such generation) it stays as it is. */
static inline void
fuzz_frame_seal(struct fuzz_frame *f, struct colo_seal_end *peer, struct rte_mempool *pool)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	bool control = fuzz_frame_header(f)->type == COLO_FRAME_CONTROL;

	FUZZ_CHECK(m != NULL);
	if (rte_pktmbuf_tailroom(m) >= f->length) {
		memcpy(rte_pktmbuf_append(m, f->length), f->bytes, f->length);
		f->genuine = colo_seal_frame(
			&peer->core, control ? &peer->lane_tx : &peer->tx, m, f->outer);
		if (f->genuine)
			memcpy(f->bytes, rte_pktmbuf_mtod(m, uint8_t *), f->length);
	}
	rte_pktmbuf_free(m);
}

static inline void
fuzz_ring_empty(struct rte_ring *ring)
{
	void *m;

	while (rte_ring_dequeue(ring, &m) == 0)
		rte_pktmbuf_free(m);
}

/* Nothing of an input is left in either end. */
static inline void
fuzz_rig_check_empty(struct ut_rig *r)
{
	for (unsigned int end = 0; end < 2; end++) {
		for (unsigned int c = 0; c < r->o.n_channels; c++) {
			fuzz_ring_empty(r->out[end][c]);
			fuzz_ring_empty(r->in[end][c]);
		}
	}
	fuzz_ring_empty(r->send.lane.rx);
	fuzz_ring_empty(r->receive.lane.rx);
	for (unsigned int end = 0; end < 2; end++) {
		ut_rig_check_pool(r->port[end].rx_pool);
		ut_rig_check_pool(r->port[end].tx_pool);
		ut_rig_check_pool(r->port[end].page_pool);
	}
}

#endif
