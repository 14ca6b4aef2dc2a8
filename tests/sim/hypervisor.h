/* SPDX-License-Identifier: BSD-3-Clause */
/* Seeds with adapter lockstep: a guest runs on guest memory between checkpoints, and writes. */
#ifndef COLO_SIM_HYPERVISOR_H
#define COLO_SIM_HYPERVISOR_H

#include "sim.h"

extern const struct colo_adapter_ops sim_hypervisor_ops;

/* A secondary begins: a hypervisor waits for its first load. */
void sim_hypervisor_begin(struct colo_adapter *a);
/* What the guest does; at sim.hypervisor.write_us. */
void sim_hypervisor_tick(void);
/* It goes away for a time, or for good and another one comes; or its next step fails. */
void sim_hypervisor_mishap(void);
/* Everything works again. */
void sim_hypervisor_calm(void);
/* After a turn of the secondary. */
void sim_hypervisor_check(void);
/* Guest memory was emptied. */
void sim_hypervisor_emptied(void);

#endif
