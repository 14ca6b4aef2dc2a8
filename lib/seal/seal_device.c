/* SPDX-License-Identifier: BSD-3-Clause */
/* The crypto device: found or made, made ready, its sessions. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <rte_bus_vdev.h>
#include <rte_cryptodev.h>
#include <rte_errno.h>

#include "log.h"
#include "seal_device.h"
#include "wire.h"

#define QUEUE_DESCRIPTORS 64u /* operations in a queue pair; one at a time is in use */
#define OPS_MORE	  64u /* operations beyond one for each queue pair */

static const struct rte_crypto_sym_xform *
make_xform(struct rte_crypto_sym_xform *x, const uint8_t *key, bool encrypts)
{
	memset(x, 0, sizeof(*x));
	x->type = RTE_CRYPTO_SYM_XFORM_AEAD;
	x->aead.algo = RTE_CRYPTO_AEAD_AES_GCM;
	x->aead.op = encrypts ? RTE_CRYPTO_AEAD_OP_ENCRYPT : RTE_CRYPTO_AEAD_OP_DECRYPT;
	x->aead.key.data = key;
	x->aead.key.length = COLO_SEAL_KEY_LEN;
	x->aead.iv.offset = COLO_SEAL_IV_OFFSET;
	x->aead.iv.length = COLO_SEAL_NONCE_LEN;
	x->aead.digest_length = COLO_SEAL_TAG_LEN;
	x->aead.aad_length = sizeof(struct colo_header);
	return x;
}

/* Does it do AES-256-GCM with our sizes? */
static bool
is_able(uint8_t id)
{
	struct rte_cryptodev_sym_capability_idx index = {
		.type = RTE_CRYPTO_SYM_XFORM_AEAD, .algo.aead = RTE_CRYPTO_AEAD_AES_GCM};
	const struct rte_cryptodev_symmetric_capability *c =
		rte_cryptodev_sym_capability_get(id, &index);

	return c != NULL &&
	       rte_cryptodev_sym_capability_check_aead(c, COLO_SEAL_KEY_LEN, COLO_SEAL_TAG_LEN,
		       sizeof(struct colo_header), COLO_SEAL_NONCE_LEN) == 0;
}

/* @return a device that EAL has, or -1. */
static int
find_device(void)
{
	for (uint8_t id = 0; id < RTE_CRYPTO_MAX_DEVS; id++)
		if (rte_cryptodev_is_valid_dev(id) && is_able(id))
			return id;
	return -1;
}

static int
make_device(struct colo_seal_device *d)
{
	static const char *const drivers[] = {"crypto_aesni_gcm", "crypto_openssl"};
	char args[48];
	int id;

	snprintf(args, sizeof(args), "max_nb_queue_pairs=%u", d->n_lanes);
	for (unsigned int i = 0; i < RTE_DIM(drivers); i++) {
		snprintf(d->name, sizeof(d->name), "%s_colo", drivers[i]);
		if (rte_vdev_init(d->name, args) != 0)
			continue;
		id = rte_cryptodev_get_dev_id(d->name);
		d->created = true;
		if (id >= 0 && is_able((uint8_t)id))
			return id;
		rte_vdev_uninit(d->name);
		d->created = false;
	}
	return -1;
}

/* The page tables' view of a pool: no part of it is ever swapped out. */
static void
lock_chunk(struct rte_mempool *pool, void *failed, struct rte_mempool_memhdr *chunk, unsigned int i)
{
	(void)pool;
	(void)i;
	if (mlock(chunk->addr, chunk->len) != 0)
		*(bool *)failed = true;
}

/* Sessions hold the keys, expanded, in every bit of their memory. */
static void
lock_keys(const struct colo_seal_device *d)
{
	bool failed = false;

	rte_mempool_mem_iter(d->sessions, lock_chunk, &failed);
	if (failed)
		COLO_LOG(WARNING, "keys of frames may be swapped out: their memory cannot be "
				  "locked; CAP_IPC_LOCK or a larger `ulimit -l` is accepted");
}

static int
make_pools(struct colo_seal_device *d, unsigned int n_keys, struct colo_error *err)
{
	unsigned int size = rte_cryptodev_sym_get_private_session_size(d->id);

	d->sessions = rte_cryptodev_sym_session_pool_create(
		"colo_seal_keys", n_keys, size, 0, 0, SOCKET_ID_ANY);
	if (d->sessions != NULL && !d->cpu)
		d->ops = rte_crypto_op_pool_create("colo_seal_ops", RTE_CRYPTO_OP_TYPE_SYMMETRIC,
			d->n_lanes + OPS_MORE, 0, COLO_SEAL_NONCE_LEN, SOCKET_ID_ANY);
	if (d->sessions == NULL || (!d->cpu && d->ops == NULL))
		return colo_error_set(err,
			"no memory for keys of the crypto device (%s): give EAL more with -m MB",
			rte_strerror(rte_errno));
	return 0;
}

static int
configure(struct colo_seal_device *d, const struct rte_cryptodev_info *info, struct colo_error *err)
{
	struct rte_cryptodev_config config = {
		.socket_id = rte_cryptodev_socket_id(d->id), .nb_queue_pairs = d->n_lanes};
	struct rte_cryptodev_qp_conf qp = {
		.nb_descriptors = QUEUE_DESCRIPTORS, .mp_session = d->sessions};
	int rc;

	if (info->max_nb_queue_pairs < d->n_lanes)
		return colo_error_set(err,
			"crypto device %s has %u queue pairs, %u are needed: give it more with "
			"max_nb_queue_pairs= in --vdev",
			d->name, info->max_nb_queue_pairs, d->n_lanes);
	rc = rte_cryptodev_configure(d->id, &config);
	for (uint16_t i = 0; rc == 0 && i < d->n_lanes; i++)
		rc = rte_cryptodev_queue_pair_setup(d->id, i, &qp, config.socket_id);
	if (rc == 0)
		rc = rte_cryptodev_start(d->id);
	if (rc != 0)
		return colo_error_set(
			err, "crypto device %s does not start: %s", d->name, rte_strerror(-rc));
	return 0;
}

int
colo_seal_device_open(
	struct colo_seal_device *d, uint16_t n_lanes, unsigned int n_keys, struct colo_error *err)
{
	struct rte_cryptodev_info info;
	int id = find_device();

	d->n_lanes = n_lanes;
	if (id < 0)
		id = make_device(d);
	if (id < 0)
		return colo_error_set(err,
			"no crypto device does AES-256-GCM, and neither crypto_aesni_gcm nor "
			"crypto_openssl can be made: install DPDK's crypto drivers, or say "
			"--insecure");
	d->id = (uint8_t)id;
	rte_cryptodev_info_get(d->id, &info);
	snprintf(d->name, sizeof(d->name), "%s", rte_cryptodev_name_get(d->id));
	d->cpu = (info.feature_flags & RTE_CRYPTODEV_FF_SYM_CPU_CRYPTO) != 0;
	d->open = true;
	if (make_pools(d, n_keys, err) != 0 || configure(d, &info, err) != 0) {
		colo_seal_device_close(d);
		return -1;
	}
	lock_keys(d);
	COLO_LOG(NOTICE, "frames are sealed with AES-256-GCM by %s, %s", d->name,
		d->cpu ? "CPU call" : "queue pairs");
	return 0;
}

void
colo_seal_device_close(struct colo_seal_device *d)
{
	if (!d->open)
		return;
	rte_cryptodev_stop(d->id);
	if (d->created)
		rte_vdev_uninit(d->name);
	rte_mempool_free(d->sessions);
	rte_mempool_free(d->ops);
	memset(d, 0, sizeof(*d));
}

void *
colo_seal_device_session(const struct colo_seal_device *d, const uint8_t key[COLO_SEAL_KEY_LEN],
	bool encrypts, struct colo_error *err)
{
	struct rte_crypto_sym_xform xform;
	void *session;

	make_xform(&xform, key, encrypts);
	session = rte_cryptodev_sym_session_create(d->id, &xform, d->sessions);
	if (session == NULL)
		colo_error_set(
			err, "crypto device %s takes no key: %s", d->name, rte_strerror(rte_errno));
	return session;
}

void
colo_seal_device_forget(const struct colo_seal_device *d, void *session)
{
	if (session != NULL)
		rte_cryptodev_sym_session_free(d->id, session);
}
