/* SPDX-License-Identifier: BSD-3-Clause */
/* One frame sealed or opened. Poll cores. */
#include <string.h>

#include <rte_cryptodev.h>

#include "seal.h"
#include "seal_device.h"
#include "wire.h"

/* Turns a device may take to give an operation back; a virtual one has done it at once. */
#define DEQUEUE_TURNS 1000000u

/** A stretch of a frame as a crypto operation sees it. */
struct stretch {
	struct rte_mbuf *m;
	uint32_t header; /* offset in the mbuf */
	uint32_t length; /* bytes to encrypt or decrypt, behind the header */
	uint8_t nonce[COLO_SEAL_NONCE_LEN];
};

static void
make_nonce(struct stretch *s)
{
	const struct colo_header *h =
		rte_pktmbuf_mtod_offset(s->m, const struct colo_header *, s->header);

	memset(s->nonce, 0, 4);
	memcpy(s->nonce + 4, &h->packet_number, 8); /* big-endian as on the wire */
}

static bool
process_cpu(const struct colo_seal_core *core, void *session, struct stretch *s)
{
	uint8_t *h = rte_pktmbuf_mtod_offset(s->m, uint8_t *, s->header);
	uint8_t *data = h + sizeof(struct colo_header);
	struct rte_crypto_vec vec = {.base = data, .len = s->length, .tot_len = s->length};
	struct rte_crypto_sgl sgl = {.vec = &vec, .num = 1};
	struct rte_crypto_va_iova_ptr iv = {.va = s->nonce};
	struct rte_crypto_va_iova_ptr aad = {.va = h};
	struct rte_crypto_va_iova_ptr tag = {.va = data + s->length};
	union rte_crypto_sym_ofs ofs = {.raw = 0};
	int32_t status = -1;
	struct rte_crypto_sym_vec work = {.num = 1,
		.src_sgl = &sgl,
		.iv = &iv,
		.aad = &aad,
		.digest = &tag,
		.status = &status};

	return rte_cryptodev_sym_cpu_crypto_process(core->device->id, session, ofs, &work) == 1 &&
	       status == 0;
}

static void
fill_op(struct rte_crypto_op *op, void *session, const struct stretch *s)
{
	struct rte_crypto_sym_op *sym = op->sym;
	uint32_t data = s->header + sizeof(struct colo_header);

	rte_crypto_op_attach_sym_session(op, session);
	sym->m_src = s->m;
	sym->m_dst = NULL;
	sym->aead.data.offset = data;
	sym->aead.data.length = s->length;
	sym->aead.digest.data = rte_pktmbuf_mtod_offset(s->m, uint8_t *, data + s->length);
	sym->aead.digest.phys_addr = rte_pktmbuf_iova_offset(s->m, data + s->length);
	sym->aead.aad.data = rte_pktmbuf_mtod_offset(s->m, uint8_t *, s->header);
	sym->aead.aad.phys_addr = rte_pktmbuf_iova_offset(s->m, s->header);
	memcpy(rte_crypto_op_ctod_offset(op, uint8_t *, COLO_SEAL_IV_OFFSET), s->nonce,
		sizeof(s->nonce));
}

static bool
process_queued(struct colo_seal_core *core, void *session, struct stretch *s)
{
	const struct colo_seal_device *d = core->device;
	struct rte_crypto_op *op = rte_crypto_op_alloc(d->ops, RTE_CRYPTO_OP_TYPE_SYMMETRIC);
	struct rte_crypto_op *done = NULL;
	bool good;

	if (op == NULL)
		return false;
	fill_op(op, session, s);
	if (rte_cryptodev_enqueue_burst(d->id, core->lane, &op, 1) != 1) {
		rte_crypto_op_free(op);
		return false;
	}
	for (unsigned int i = 0; i < DEQUEUE_TURNS && done == NULL; i++)
		rte_cryptodev_dequeue_burst(d->id, core->lane, &done, 1);
	/* the device may still write to it, whoever frees the mbuf now */
	if (done != op) {
		rte_mbuf_refcnt_update(s->m, 1);
		core->stuck = true;
		return false;
	}
	good = done->status == RTE_CRYPTO_OP_STATUS_SUCCESS;
	rte_crypto_op_free(done);
	return good;
}

static bool
process(struct colo_seal_core *core, struct colo_seal_flow *f, struct stretch *s)
{
	const struct colo_header *h =
		rte_pktmbuf_mtod_offset(s->m, const struct colo_header *, s->header);
	uint32_t generation = colo_seal_generation(core->shift, rte_be_to_cpu_64(h->packet_number));
	void *session = colo_seal_session(f, generation);

	if (session == NULL || core->stuck)
		return false;
	make_nonce(s);
	if (!(core->device->cpu ? process_cpu(core, session, s) : process_queued(core, session, s)))
		return false;
	if (generation != atomic_load_explicit(&f->used, memory_order_relaxed) &&
		generation > atomic_load_explicit(&f->used, memory_order_relaxed))
		atomic_store_explicit(&f->used, generation, memory_order_relaxed);
	return true;
}

bool
colo_seal_frame(
	struct colo_seal_core *core, struct colo_seal_flow *f, struct rte_mbuf *m, uint32_t header)
{
	struct stretch s = {.m = m,
		.header = header,
		.length = rte_pktmbuf_data_len(m) - header - sizeof(struct colo_header) -
			  COLO_SEAL_TAG_LEN};

	return process(core, f, &s);
}

bool
colo_seal_open(struct colo_seal_core *core, struct colo_seal_flow *f, struct rte_mbuf *m,
	uint32_t header, uint32_t length)
{
	struct stretch s = {.m = m, .header = header};

	if (length < sizeof(struct colo_header) + COLO_SEAL_TAG_LEN)
		return false;
	if (m->nb_segs > 1 && rte_pktmbuf_linearize(m) != 0)
		return false;
	s.length = length - sizeof(struct colo_header) - COLO_SEAL_TAG_LEN;
	return process(core, f, &s);
}
