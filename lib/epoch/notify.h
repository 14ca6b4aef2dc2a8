/* SPDX-License-Identifier: BSD-3-Clause */
/** @file How a state machine tells the operator; app/control.c passes it on to the main lcore. */
#ifndef COLO_EPOCH_NOTIFY_H
#define COLO_EPOCH_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "report.h"

/** Calls are made on the control core and must not block. */
struct colo_notify {
	void *context;
	void (*text)(void *context, bool warning, const char *text);
	void (*progress)(void *context, uint64_t done, uint64_t total);
	void (*epoch)(void *context, const struct colo_epoch_report *report);
	/** The state machine is done; @p status is an enum colo_exit. */
	void (*end)(void *context, int status);
};

void __attribute__((format(printf, 3, 4)))
colo_notify_text(const struct colo_notify *n, bool warning, const char *format, ...);

#endif
