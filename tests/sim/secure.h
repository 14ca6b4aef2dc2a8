/* SPDX-License-Identifier: BSD-3-Clause */
/* TLS and seals, made once, used by the seeds that have them. */
#ifndef COLO_SIM_SECURE_H
#define COLO_SIM_SECURE_H

#include "seal.h"
#include "sim.h"
#include "tls.h"

struct sim_secure {
	struct colo_tls *tls;
	struct colo_seal_device device;
};

extern struct sim_secure sim_secure;

void sim_secure_make(void);
void sim_secure_primary(void);
void sim_secure_secondary(void);
void sim_secure_forget(enum sim_end_id end);
/* All keys are given back. */
void sim_secure_check(void);

#endif
