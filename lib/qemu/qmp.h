/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * A QMP client: one command at a time, a deadline on each, bounded buffers. It blocks, so it runs
 * on a thread of its own (or on the main lcore at start), never on a poll core or the control core.
 *
 * QEMU serves one QMP client per socket: while we hold it, nobody else is greeted there.
 */
#ifndef COLO_QEMU_QMP_H
#define COLO_QEMU_QMP_H

#include <stdbool.h>
#include <stdint.h>

#include "colo_error.h"
#include "json.h"
#include "wait.h"

#define COLO_QMP_LINE_MAX	  65536u /**< bytes of one reply or event; a longer one ends the link */
#define COLO_QMP_COMMAND_MAX	  16384u /**< bytes of one command */
#define COLO_QMP_STATUS_MAX	  32u	 /**< bytes of a run state's name, with NUL */
#define COLO_QMP_CAPABILITIES_MAX 16u	 /**< of a greeting that are looked at */
#define COLO_QMP_BURST_MAX	  256u	 /**< events taken in by one colo_qmp_pump() */

/** One connection. Used by one thread at a time. */
struct colo_qmp {
	int fd;		  /**< -1: closed */
	int abort_fd;	  /**< borrowed: once readable, every wait ends ABORTED; COLO_NO_ABORT */
	uint64_t last_id; /**< of the last command; answers to earlier ones are ignored */
	/** events seen since the connection was opened */
	uint64_t stops, resumes, shutdowns;
	bool stopped;	 /**< last of STOP and RESUME was STOP; false if there was none */
	bool oob;	 /**< out-of-band commands are enabled */
	size_t used;	 /**< bytes of line[] that hold something */
	size_t searched; /**< bytes of line[] that hold no newline */
	size_t taken;	 /**< bytes of line[] that the current message occupies */
	char path[COLO_UNIX_PATH_MAX + 1];
	char line[COLO_QMP_LINE_MAX];
};

/**
 * Connect, take the greeting, leave capabilities negotiation. @p q need not be initialized.
 * @return OK, or why not, with @p err; then it is closed.
 */
enum colo_outcome colo_qmp_open(struct colo_qmp *q, const char *path, int abort_fd,
	uint64_t deadline, struct colo_error *err);

/**
 * The same, and enable out-of-band commands.
 * @return also REFUSED: QEMU does not offer them.
 */
enum colo_outcome colo_qmp_open_oob(struct colo_qmp *q, const char *path, int abort_fd,
	uint64_t deadline, struct colo_error *err);

/**
 * Carry out @p command with @p arguments (the text of a JSON object, or NULL).
 * @param reply  may be NULL; else what `return` holds, valid until the next call
 * @return OK; REFUSED: QEMU's own words are in @p err; TIMEOUT, ABORTED: the command may still be
 *         carried out later; GONE: the connection is closed.
 */
enum colo_outcome colo_qmp_command(struct colo_qmp *q, const char *command, const char *arguments,
	uint64_t deadline, struct colo_json *reply, struct colo_error *err);

/**
 * The same out of band: it is carried out also while QEMU's main loop is blocked, and before
 * commands that wait for that. Few commands may be sent so; `yank` is one.
 *
 * QEMU reads nothing more, not even this, once eight commands wait: do not leave many behind that
 * ended in TIMEOUT.
 */
enum colo_outcome colo_qmp_command_oob(struct colo_qmp *q, const char *command,
	const char *arguments, uint64_t deadline, struct colo_json *reply, struct colo_error *err);

/** Take in the events that have arrived; does not wait. @return OK or GONE (then closed). */
enum colo_outcome colo_qmp_pump(struct colo_qmp *q, struct colo_error *err);

/** Ask for QEMU's run state. @p status may be NULL. */
enum colo_outcome colo_qmp_status(struct colo_qmp *q, uint64_t deadline,
	char status[COLO_QMP_STATUS_MAX], bool *running, struct colo_error *err);

/** Read a QOM property that is a string. REFUSED also if it is none or does not fit. */
enum colo_outcome colo_qmp_qom_string(struct colo_qmp *q, const char *object, const char *property,
	uint64_t deadline, char *text, size_t size, struct colo_error *err);

/** Close; safe to call again. */
void colo_qmp_close(struct colo_qmp *q);

#endif
