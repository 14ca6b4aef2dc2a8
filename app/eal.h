/* SPDX-License-Identifier: BSD-3-Clause */
/** @file EAL's start, with one clear sentence where it would fail for want of hugepages. */
#ifndef COLO_APP_EAL_H
#define COLO_APP_EAL_H

#include "colo_error.h"
#include "config.h"
#include "poll_core.h"

/** Where the program's own options begin: the index of "--" in argv, or @p argc. */
int colo_eal_split(int argc, char **argv);

/**
 * rte_eal_init() with argv[0..n_eal); without free hugepages it falls back to --no-huge, with a
 * warning that says how to reserve them. @return 0 or -1 with @p err.
 */
int colo_eal_start(int n_eal, char **argv, struct colo_error *err);

/** What runs where: main lcore, then the control core, then poll cores. */
struct colo_lcores {
	unsigned int control;
	unsigned int n_poll;
	unsigned int poll[RTE_MAX_LCORE];
};

/** @return 0, or -1 with @p err when there are too few. */
int colo_eal_lcores(struct colo_lcores *l, unsigned int channels, struct colo_error *err);

#endif
