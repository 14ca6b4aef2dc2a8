/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * A reader for the JSON that QMP speaks: no allocation, no copies, bounded depth, every byte
 * checked. A text is checked once as a whole; its values are then looked up in place.
 *
 * Strings' bytes above 0x7f are passed on as they are. Any thread.
 */
#ifndef COLO_QEMU_JSON_H
#define COLO_QEMU_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COLO_JSON_DEPTH_MAX 32u /**< arrays and objects within each other */

/** A value inside a text that the caller keeps; begins at its first byte, no spaces around. */
struct colo_json {
	const char *at; /**< NULL: no value */
	size_t length;	/**< bytes */
};

/**
 * Check that @p text is exactly one JSON value (spaces around it are fine).
 * @return 0 with @p value, or -1.
 */
int colo_json_parse(const char *text, size_t length, struct colo_json *value);

/** Find member @p name of an object; the first one counts. @return true if it is there. */
bool colo_json_member(const struct colo_json *object, const char *name, struct colo_json *value);

/** Find element @p index of an array. @return true if it is there. */
bool colo_json_element(const struct colo_json *array, unsigned int index, struct colo_json *value);

/**
 * Decode a string into @p text (@p size bytes with the NUL).
 * @return its length, or -1 if it is no string, does not fit, or contains a NUL.
 */
int colo_json_string(const struct colo_json *value, char *text, size_t size);

/** Member @p name of @p object, decoded like colo_json_string(). */
int colo_json_member_string(
	const struct colo_json *object, const char *name, char *text, size_t size);

/** @return 0 with @p number, or -1 if it is no whole number of 0 .. 2^64 - 1. */
int colo_json_u64(const struct colo_json *value, uint64_t *number);

/** @return true if the value is `true`. */
bool colo_json_is_true(const struct colo_json *value);

/**
 * Write @p text as a JSON string, quotes included, into @p out (@p size bytes with the NUL).
 * @return its length, or -1 if it does not fit.
 */
int colo_json_quote(const char *text, char *out, size_t size);

#endif
