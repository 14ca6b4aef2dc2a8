/* SPDX-License-Identifier: BSD-3-Clause */
/* EAL for tests that need mbufs: no hugepages, no root, no files, any number side by side. */
#ifndef COLO_UT_EAL_H
#define COLO_UT_EAL_H

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_eal.h>

#include "page.h"

/* One lcore that may run on every CPU this process may use: tests run side by side. */
static inline void
ut_eal_lcores(char *text, size_t size)
{
	cpu_set_t set;
	int at = snprintf(text, size, "--lcores=0@(");

	CPU_ZERO(&set);
	sched_getaffinity(0, sizeof(set), &set);
	for (int cpu = 0; cpu < CPU_SETSIZE && at + 8 < (int)size; cpu++)
		if (CPU_ISSET(cpu, &set))
			at += snprintf(text + at, size - at, "%d,", cpu);
	text[at - 1] = ')';
}

/* @p mb of DPDK memory, taken from the host as it is used. Ends the program if EAL fails. */
static inline void
ut_eal_start(unsigned int mb)
{
	char lcores[512], memory[16];
	char *argv[] = {"ut", "--no-huge", "--no-pci", "--no-shconf", "--no-telemetry",
		"--iova-mode=va", "--log-level=critical", lcores, "-m", memory, NULL};

	ut_eal_lcores(lcores, sizeof(lcores));
	snprintf(memory, sizeof(memory), "%u", mb);
	if (rte_eal_init(sizeof(argv) / sizeof(argv[0]) - 1, argv) < 0) {
		fprintf(stderr, "EAL does not start\n");
		exit(1);
	}
	colo_page_init(NULL);
}

#endif
