/* SPDX-License-Identifier: BSD-3-Clause */
/* Keys of a session's seals: when they are made, renewed, forgotten. */
#include <openssl/crypto.h>

#include "seals.h"

int
colo_seals_begin(struct colo_seals *s, const struct colo_session *session, struct colo_error *err)
{
	uint8_t secret[COLO_SEAL_SECRET_LEN];
	int rc;

	if (s->keys.device == NULL)
		return 0;
	if (colo_session_export(session, secret, sizeof(secret)) != 0)
		return colo_error_set(err, "the session has no secret to make keys from");
	rc = colo_seal_keys_begin(&s->keys, secret, s->shift, err);
	OPENSSL_cleanse(secret, sizeof(secret));
	s->on = true; /* whatever there is must be forgotten again */
	s->renewing = false;
	return rc;
}

int
colo_seals_poll(struct colo_seals *s, struct colo_gate *gate, bool quiet, uint64_t now_us)
{
	if (!s->on || (now_us < s->looked_us + COLO_SEALS_LOOK_US && !s->renewing))
		return 0;
	if (s->renewing) {
		if (!quiet)
			return 0;
		s->renewing = false;
		return colo_seal_keys_renew(&s->keys, &s->error);
	}
	s->looked_us = now_us;
	if (!quiet || !colo_seal_keys_retire(&s->keys))
		return 0;
	/* the phase stays as it is; whoever has passed the gate uses no retired key any more */
	s->renewing = true;
	colo_gate_raise(gate);
	return 0;
}

void
colo_seals_end(struct colo_seals *s)
{
	if (!s->on)
		return;
	s->on = false;
	s->renewing = false;
	colo_seal_keys_end(&s->keys);
}
