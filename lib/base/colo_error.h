/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * One clear sentence for whoever caused an error: what was wrong and what is accepted.
 */
#ifndef COLO_BASE_ERROR_H
#define COLO_BASE_ERROR_H

#include <stdarg.h>
#include <stdio.h>

#define COLO_ERROR_TEXT_MAX 512 /**< bytes, with the closing NUL; longer sentences are cut */

/** Filled by the function that fails, printed by the one that gives up. Any thread. */
struct colo_error {
	char text[COLO_ERROR_TEXT_MAX];
};

/**
 * Store the sentence; @p err may be NULL.
 * @return always -1, so that a caller can write `return colo_error_set(err, ...)`.
 */
static inline int __attribute__((format(printf, 2, 3)))
colo_error_set(struct colo_error *err, const char *format, ...)
{
	va_list ap;

	if (err == NULL)
		return -1;
	va_start(ap, format);
	vsnprintf(err->text, sizeof(err->text), format, ap);
	va_end(ap);
	return -1;
}

#endif
