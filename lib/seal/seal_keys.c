/* SPDX-License-Identifier: BSD-3-Clause */
/* Keys: derived from the session's secret, generation by generation. Control core. */
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "seal_device.h"

/* Key of a flow: HKDF-Expand(secret, "dpdk-colo seal" | kind | channel | be32 generation). */
static int
derive(const uint8_t *secret, uint8_t kind, uint8_t channel, uint32_t generation, uint8_t *key)
{
	uint8_t info[] = {'d', 'p', 'd', 'k', '-', 'c', 'o', 'l', 'o', ' ', 's', 'e', 'a', 'l',
		kind, channel, (uint8_t)(generation >> 24), (uint8_t)(generation >> 16),
		(uint8_t)(generation >> 8), (uint8_t)generation};
	int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY, rc = -1;
	char digest[] = "SHA256";
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_octet_string(
			OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)secret, COLO_SEAL_SECRET_LEN),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, sizeof(info)),
		OSSL_PARAM_construct_end(),
	};
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	EVP_KDF_CTX *context = kdf != NULL ? EVP_KDF_CTX_new(kdf) : NULL;

	if (context != NULL && EVP_KDF_derive(context, key, COLO_SEAL_KEY_LEN, params) > 0)
		rc = 0;
	EVP_KDF_CTX_free(context);
	EVP_KDF_free(kdf);
	return rc;
}

static int
install(struct colo_seal_keys *k, struct colo_seal_flow_ref *r, uint32_t generation,
	struct colo_error *err)
{
	void **slot = &r->flow->session[generation % COLO_SEAL_GENERATIONS];
	uint8_t key[COLO_SEAL_KEY_LEN];

	colo_seal_device_forget(k->device, *slot);
	*slot = NULL;
	if (derive(k->secret, r->kind, r->channel, generation, key) != 0)
		return colo_error_set(err, "OpenSSL does not derive a key");
	*slot = colo_seal_device_session(k->device, key, r->encrypts, err);
	OPENSSL_cleanse(key, sizeof(key));
	if (*slot == NULL)
		return -1;
	/* pairs with the load-acquire in colo_seal_session() */
	atomic_store_explicit(&r->flow->ready, generation + 1, memory_order_release);
	return 0;
}

void
colo_seal_keys_add(struct colo_seal_keys *k, struct colo_seal_flow *flow,
	enum colo_seal_flow_kind kind, uint8_t channel, bool encrypts)
{
	k->flow[k->n_flows++] = (struct colo_seal_flow_ref){
		.flow = flow, .kind = kind, .channel = channel, .encrypts = encrypts};
}

int
colo_seal_keys_begin(struct colo_seal_keys *k, const uint8_t secret[COLO_SEAL_SECRET_LEN],
	uint8_t shift, struct colo_error *err)
{
	colo_seal_keys_end(k);
	memcpy(k->secret, secret, sizeof(k->secret));
	k->shift = shift;
	for (unsigned int i = 0; i < k->n_flows; i++)
		for (uint32_t g = 0; g < COLO_SEAL_GENERATIONS; g++)
			if (install(k, &k->flow[i], g, err) != 0)
				return -1;
	return 0;
}

void
colo_seal_keys_end(struct colo_seal_keys *k)
{
	OPENSSL_cleanse(k->secret, sizeof(k->secret));
	for (unsigned int i = 0; i < k->n_flows; i++) {
		struct colo_seal_flow *f = k->flow[i].flow;

		k->flow[i].retiring = false;
		atomic_store_explicit(&f->ready, 0, memory_order_relaxed);
		atomic_store_explicit(&f->oldest, 0, memory_order_relaxed);
		atomic_store_explicit(&f->used, 0, memory_order_relaxed);
		for (uint32_t g = 0; g < COLO_SEAL_GENERATIONS; g++) {
			colo_seal_device_forget(k->device, f->session[g]);
			f->session[g] = NULL;
		}
	}
}

/*
 * A flow whose newest generation is in use gives up the one before, so that the next can take its
 * place. Late packets under the old key are lost then, and sent again under a newer one.
 */
bool
colo_seal_keys_retire(struct colo_seal_keys *k)
{
	bool any = false;

	for (unsigned int i = 0; i < k->n_flows; i++) {
		struct colo_seal_flow *f = k->flow[i].flow;
		uint32_t used = atomic_load_explicit(&f->used, memory_order_relaxed);

		if (used + 1 != atomic_load_explicit(&f->ready, memory_order_relaxed))
			continue;
		atomic_store_explicit(&f->oldest, used, memory_order_relaxed);
		k->flow[i].retiring = true;
		any = true;
	}
	return any;
}

int
colo_seal_keys_renew(struct colo_seal_keys *k, struct colo_error *err)
{
	for (unsigned int i = 0; i < k->n_flows; i++) {
		struct colo_seal_flow_ref *r = &k->flow[i];
		uint32_t ready = atomic_load_explicit(&r->flow->ready, memory_order_relaxed);

		if (!r->retiring)
			continue;
		r->retiring = false;
		if (install(k, r, ready, err) != 0)
			return -1;
	}
	return 0;
}
