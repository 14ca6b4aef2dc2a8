/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * --help and --version.
 */
#ifndef COLO_APP_HELP_H
#define COLO_APP_HELP_H

#include <stdbool.h>
#include <stdio.h>

/** Every option with its range and default. */
void colo_help_print(FILE *f);

/** "dpdk-colo 0.1.0 (DPDK 22.11.x)". */
void colo_version_print(FILE *f);

/**
 * Before rte_eal_init(), which would answer them itself or need an environment: if --help, -h or
 * --version stands among the program's options (or there is no `--` at all), print that.
 * @return true if so: exit 0.
 */
bool colo_help_early(int argc, char **argv);

#endif
