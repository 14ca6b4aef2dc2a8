/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * Values of options: from text to checked value. Each failure is one sentence that names the
 * option, the value and what is accepted.
 */
#ifndef COLO_APP_CONFIG_VALUE_H
#define COLO_APP_CONFIG_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "block.h"
#include "colo_error.h"
#include "config.h"

#define COLO_INTERVAL_MAX_MS 3600000u /**< --interval and `set interval` */

/** Decimal number in [@p min, @p max], nothing around it. @return 0 or -1 with @p err. */
int colo_parse_number(const char *option, const char *text, uint64_t min, uint64_t max,
	uint64_t *value, struct colo_error *err);

/** One of @p choices (NULL-terminated). @return its index or -1 with @p err. */
int colo_parse_choice(
	const char *option, const char *text, const char *const *choices, struct colo_error *err);

/** A size that is a multiple of 4096 in [@p min, @p max]. @return 0 or -1 with @p err. */
int colo_parse_pages_size(const char *option, const char *text, uint64_t min, uint64_t max,
	uint64_t *size, struct colo_error *err);

/** "1.2.3.4:PORT" or "[fe80::1]:PORT", numeric. @return 0 or -1 with @p err. */
int colo_parse_endpoint(const char *option, const char *text, struct colo_endpoint *endpoint,
	struct colo_error *err);

/** A numeric IPv4 or IPv6 address that a host can have: unicast. @return 0 or -1 with @p err. */
int colo_parse_ip(
	const char *option, const char *text, char *ip, size_t size, struct colo_error *err);

/** "NAME,size=SIZE[,guest=FILE][,cache=FILE]". @return 0 or -1 with @p err. */
int colo_parse_block(const char *text, struct colo_block_spec *spec, struct colo_error *err);

/** "unix:PATH[,incoming=PATH]". @return 0 or -1 with @p err. */
int colo_check_standby(const char *text, struct colo_error *err);

/** "standby,unix:PATH[,incoming=PATH]" or "lockstep,key=value,..". @return 0 or -1 with @p err. */
int colo_check_adapter(const char *text, struct colo_error *err);

/** "NAME[,args]" of a source that this program has. @return 0 or -1 with @p err. */
int colo_check_source(const char *text, struct colo_error *err);

/** Copy @p text if it is neither empty nor too long. @return 0 or -1 with @p err. */
int colo_copy_text(
	const char *option, const char *text, char *dst, size_t size, struct colo_error *err);

/** Shortest exact form of a size ("4096" is "4K"). @return @p text. */
const char *colo_format_size(uint64_t size, char *text, size_t room);

#endif
