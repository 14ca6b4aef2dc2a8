/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * What the operator reads and what --json keeps: one line per checkpoint, precopy's progress,
 * warnings; a JSON object per checkpoint, written as they come, and a summary at the end. Memory
 * is fixed, however long a primary runs.
 */
#ifndef COLO_APP_REPORTER_H
#define COLO_APP_REPORTER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "control.h"
#include "fault.h"
#include "statistics.h"

/** Main lcore only. */
struct colo_report {
	const struct colo_config *config; /* caller's, must outlive this */
	FILE *out;			  /* the operator's; not closed */
	FILE *json;			  /* NULL: none */
	bool json_failed;		  /* a write failed, the operator knows */
	bool tty;			  /* a bar may be redrawn; else a line each 10 % */
	bool bar_open;			  /* the cursor stands behind a bar */
	int last_step; /* of the bar: percent, or tenths without a tty; -1: none yet */
	uint64_t checkpoints, verified, mismatches; /* checkpoints; blocks that differed */
	uint64_t pages, transfer_us;		    /* of all checkpoints */
	uint64_t precopy_rounds, precopy_pages, precopy_us;
	struct colo_statistics pause_us, transfer, commit_us, flush_us;
	/** [2], the primary's and the secondary's port, caller's; NULL: no --fault */
	const struct colo_fault *fault;
};

/**
 * Begin: standard output, and --json if given.
 * @return 0, or -1 with @p err if the file cannot be written.
 */
int colo_report_open(struct colo_report *r, const struct colo_config *c, struct colo_error *err);

/** Print (and write, and count) what @p event says. END has nothing to print but its text. */
void colo_report_event(struct colo_report *r, const struct colo_event *event);

/**
 * Print the summary and finish the file: after this it is whole JSON. @p control (may be NULL)
 * adds the sessions' and every channel's counters. Safe to call twice.
 */
void colo_report_close(struct colo_report *r, const struct colo_control *control);

#endif
