/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * The table of options: parsing, --help and `show config` all follow from it.
 */
#ifndef COLO_APP_OPTIONS_H
#define COLO_APP_OPTIONS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "config.h"

#define COLO_OPTIONS_MAX       64u /**< rows of the table */
#define COLO_OPTION_NAME_WIDTH 20
#define COLO_OPTION_NAME       "%-20s " /**< a name in colo_option_show(): of that width */

enum colo_option_kind {
	OPTION_HEADING, /* of a group, in --help */
	OPTION_FLAG,	/* bool, no value */
	OPTION_NUMBER,	/* uint32_t or uint16_t (by size) in [min, max] */
	OPTION_POWER,	/* the same, a power of two, or 0 where `zero` names what that means */
	OPTION_CHOICE,	/* an int-sized enum, one of choices */
	OPTION_TEXT,	/* char array */
	OPTION_OTHER,	/* set and show do it all */
};

struct colo_option {
	enum colo_option_kind kind;
	const char *name;
	const char *value; /* what stands for the value in --help */
	const char *help;
	char letter; /* 0: none */
	size_t offset, size;
	uint64_t min, max;
	const char *zero; /* POWER: what 0 is called; TEXT, OTHER: what not given means */
	const char *const *choices;
	int (*check)(const char *text, struct colo_error *err);			     /* TEXT */
	int (*set)(struct colo_config *c, const char *text, struct colo_error *err); /* OTHER */
	void (*show)(const struct colo_config *c, const char *name, FILE *f);	     /* OTHER */
};

extern const struct colo_option colo_options[];
extern const unsigned int colo_n_options;

/** Check @p text (NULL for a flag) and store it. @return 0 or -1 with @p err. */
int colo_option_set(struct colo_config *c, const struct colo_option *o, const char *text,
	struct colo_error *err);

/** Print name and value, a line each. */
void colo_option_show(const struct colo_config *c, const struct colo_option *o, FILE *f);

#endif
