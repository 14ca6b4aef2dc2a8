/* SPDX-License-Identifier: BSD-3-Clause */
/* A burst that faults, because its driver's shared memory went away under it, is given up. */
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>

#include <rte_branch_prediction.h>

#include "guard.h"

/* The burst under way on this thread, NULL: none. For the handler, which has no other argument. */
static __thread sigjmp_buf *volatile guarded;

static void
on_fault(int number)
{
	sigjmp_buf *where = guarded;

	if (where != NULL) {
		guarded = NULL;
		siglongjmp(*where, 1);
	}
	/* not ours: the instruction faults again, with the usual consequence */
	signal(number, SIG_DFL);
}

int
colo_guard_install(void)
{
	/* the handler is left by a jump: the signal must not stay blocked */
	struct sigaction action = {.sa_handler = on_fault, .sa_flags = SA_NODEFER};

	if (sigaction(SIGSEGV, &action, NULL) != 0 || sigaction(SIGBUS, &action, NULL) != 0)
		return -1;
	return 0;
}

uint16_t
colo_guard_rx(uint16_t port, uint16_t queue, struct rte_mbuf **frames, uint16_t n, uint64_t *cut)
{
	sigjmp_buf here;
	uint16_t got;

	if (unlikely(sigsetjmp(here, 0) != 0)) {
		(*cut)++;
		return 0;
	}
	guarded = &here;
	got = rte_eth_rx_burst(port, queue, frames, n);
	guarded = NULL;
	return got;
}

uint16_t
colo_guard_tx(uint16_t port, uint16_t queue, struct rte_mbuf **frames, uint16_t n, uint64_t *cut)
{
	sigjmp_buf here;
	uint16_t sent;

	if (unlikely(sigsetjmp(here, 0) != 0)) {
		/* the driver may have freed some of them: none may be touched again */
		(*cut)++;
		return n;
	}
	guarded = &here;
	sent = rte_eth_tx_burst(port, queue, frames, n);
	guarded = NULL;
	return sent;
}
