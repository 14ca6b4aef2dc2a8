/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * Seals: frames authenticated and encrypted with AES-256-GCM by a DPDK crypto device.
 *
 *     frame   Ethernet IP UDP | colo_header | record table, payload or body | tag
 *             in the clear      in the clear  encrypted                       16 bytes
 *                               authenticated authenticated
 *
 * A *flow* is one direction of one channel, or of the control lane; each has keys of its own, so
 * that the packet number alone is the nonce. Keys come in *generations*: packet number >> shift
 * names it, so both ends change keys at the same packet without a word about it, long before 2^32
 * packets (AES-GCM's limit, RFC 9001 6.6 argues with less). The control core has the next
 * generation ready before it is needed.
 *
 * Keys: HKDF-Expand (RFC 5869, SHA-256) of the session's secret, which TLS exports (RFC 8446 7.5),
 * with the flow's name and the generation as info.
 */
#ifndef COLO_SEAL_SEAL_H
#define COLO_SEAL_SEAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>

#include "bounds.h"
#include "colo_error.h"

#define COLO_SEAL_SECRET_LEN	32u /**< bytes of a session's secret */
#define COLO_SEAL_KEY_LEN	32u
#define COLO_SEAL_NONCE_LEN	12u /**< 4 zero bytes, packet number */
#define COLO_SEAL_SHIFT_DEFAULT 31u /**< log2 of packets with one key */
#define COLO_SEAL_SHIFT_MIN	10u
#define COLO_SEAL_SHIFT_MAX	31u
#define COLO_SEAL_GENERATIONS	2u /**< at hand at a time */
/** Sessions of a crypto device that an end with @p n channels needs. */
#define COLO_SEAL_KEYS(n) (COLO_SEAL_GENERATIONS * (2u * (n) + 2u))

/** The crypto device. Main lcore makes it at start, read-only afterwards. */
struct colo_seal_device {
	uint8_t id;
	bool open;
	bool cpu;	  /**< synchronous CPU call; else enqueue and dequeue */
	bool created;	  /**< the virtual device is ours */
	uint16_t n_lanes; /**< queue pairs: one for each poll core and end */
	char name[64];
	struct rte_mempool *sessions;
	struct rte_mempool *ops; /**< not with cpu */
};

/** Which flow, seen from the primary; part of a key's derivation. */
enum colo_seal_flow_kind {
	COLO_SEAL_PAGES = 1,	/**< primary -> secondary, a channel's page packets */
	COLO_SEAL_FEEDBACK = 2, /**< secondary -> primary, a channel's feedback */
	COLO_SEAL_REQUESTS = 3, /**< primary -> secondary, control lane */
	COLO_SEAL_REPLIES = 4,	/**< secondary -> primary, control lane */
	COLO_SEAL_FLOW_KINDS = 4,
};

/**
 * Keys of a flow, for one poll core. The control core writes, and replaces a generation only when
 * the poll core cannot be in it any more (it raises the gate and waits until all have arrived).
 */
struct colo_seal_flow {
	/** [generation % COLO_SEAL_GENERATIONS], valid for generations in [oldest, ready) */
	void *session[COLO_SEAL_GENERATIONS];
	_Atomic uint32_t oldest;
	/** store-release after `session`; pairs with the load-acquire in colo_seal_session() */
	_Atomic uint32_t ready;
	/** newest generation that a packet was sealed, or opened and found genuine, with */
	_Atomic uint32_t used;
};

/** What a poll core needs to seal and open. Owner: that poll core. */
struct colo_seal_core {
	const struct colo_seal_device *device; /**< NULL: frames are not sealed */
	uint16_t lane;			       /**< its queue pair */
	uint8_t shift;			       /**< of this session */
	bool encrypts;			       /**< direction of the flows: also of the sessions */
	/**
	 * The device kept an operation for too long, and may give it back for another's: nothing is
	 * sealed or opened on this queue pair any more.
	 */
	bool stuck;
};

/** @return the generation of a packet number. */
static inline uint32_t
colo_seal_generation(uint8_t shift, uint64_t packet_number)
{
	return (uint32_t)(packet_number >> shift);
}

/** @return the key for @p generation, or NULL: it is gone, or not there yet. Poll cores. */
static inline void *
colo_seal_session(const struct colo_seal_flow *f, uint32_t generation)
{
	if (generation >= atomic_load_explicit(&f->ready, memory_order_acquire) ||
		generation < atomic_load_explicit(&f->oldest, memory_order_relaxed))
		return NULL;
	return f->session[generation % COLO_SEAL_GENERATIONS];
}

/**
 * Find a device that does AES-256-GCM: one that EAL has, else crypto_aesni_gcm, else
 * crypto_openssl, and make it ready for @p n_lanes poll cores and @p n_keys sessions. The log says
 * which and how. Main lcore, at start. @return 0 or -1 with @p err.
 */
int colo_seal_device_open(
	struct colo_seal_device *d, uint16_t n_lanes, unsigned int n_keys, struct colo_error *err);
void colo_seal_device_close(struct colo_seal_device *d);

/**
 * Seal the frame in @p m, one segment: header at @p header, everything up to the last 16 bytes is
 * encrypted, those take the tag. The packet number is read from the header. Poll cores.
 * @return false if there is no key for it yet (nothing was changed), or the device failed.
 */
bool colo_seal_frame(
	struct colo_seal_core *core, struct colo_seal_flow *f, struct rte_mbuf *m, uint32_t header);

/**
 * Open the frame in @p m: header at @p header, @p length bytes of UDP payload, tag included. In
 * place; on success everything but the tag is in the clear. Poll cores.
 * @return false if it is not genuine, or there is no key for it: its bytes are of no use then.
 */
bool colo_seal_open(struct colo_seal_core *core, struct colo_seal_flow *f, struct rte_mbuf *m,
	uint32_t header, uint32_t length);

/** Keys of all flows of one end. Control core, but for init and fini. */
struct colo_seal_keys {
	const struct colo_seal_device *device;
	uint8_t secret[COLO_SEAL_SECRET_LEN]; /**< of the session; wiped when it is over */
	uint8_t shift;
	unsigned int n_flows;
	struct colo_seal_flow_ref {
		struct colo_seal_flow *flow;
		uint8_t kind; /**< enum colo_seal_flow_kind */
		uint8_t channel;
		bool encrypts;
		bool retiring; /**< `oldest` is raised, waits for the gate */
	} flow[COLO_MAX_CHANNELS * 4];
};

/** Enter a flow; all of them at start. */
void colo_seal_keys_add(struct colo_seal_keys *k, struct colo_seal_flow *flow,
	enum colo_seal_flow_kind kind, uint8_t channel, bool encrypts);

/** A session begins: first generations of all flows from @p secret. No poll core uses any. */
int colo_seal_keys_begin(struct colo_seal_keys *k, const uint8_t secret[COLO_SEAL_SECRET_LEN],
	uint8_t shift, struct colo_error *err);

/** The session is over and no poll core uses a key: free them, wipe the secret. */
void colo_seal_keys_end(struct colo_seal_keys *k);

/**
 * Look whether a flow needs its next generation. @return true if one was marked: raise the gate,
 * and once all poll cores have arrived call colo_seal_keys_renew().
 */
bool colo_seal_keys_retire(struct colo_seal_keys *k);
/** Replace what was marked. @return 0, or -1 with @p err. */
int colo_seal_keys_renew(struct colo_seal_keys *k, struct colo_error *err);

#endif
