/* SPDX-License-Identifier: BSD-3-Clause */
/* Names and help of the counters, made from the one list in counters.h. */
#include "counters.h"

const char *const colo_counter_name[COLO_N_COUNTERS] = {
#define X(name, help) [COLO_##name] = #name,
	COLO_COUNTERS(X)
#undef X
};

const char *const colo_counter_help[COLO_N_COUNTERS] = {
#define X(name, help) [COLO_##name] = help,
	COLO_COUNTERS(X)
#undef X
};
