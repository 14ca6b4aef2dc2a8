/* SPDX-License-Identifier: BSD-3-Clause */
/* The list of sources, and the search by the name that --source begins with. */
#include <string.h>

#include "source.h"

static const struct colo_source_ops *const sources[] = {
	&colo_source_synthetic,
	&colo_source_qmp,
	&colo_source_colo,
};

#define N_SOURCES (sizeof(sources) / sizeof(sources[0]))

/* The names, as an error message lists them. */
static void
list_names(char *text, size_t size)
{
	size_t used = 0;

	text[0] = '\0';
	for (unsigned int i = 0; i < N_SOURCES && used < size; i++)
		used += (size_t)snprintf(
			text + used, size - used, "%s%s", i > 0 ? ", " : "", sources[i]->name);
}

const struct colo_source_ops *
colo_source_find(const char *spec, const char **args, struct colo_error *err)
{
	size_t length = strcspn(spec, ",");
	char names[128];

	for (unsigned int i = 0; i < N_SOURCES; i++) {
		if (strlen(sources[i]->name) != length ||
			memcmp(sources[i]->name, spec, length) != 0)
			continue;
		*args = spec[length] == ',' ? spec + length + 1 : spec + length;
		return sources[i];
	}
	list_names(names, sizeof(names));
	colo_error_set(err, "--source %.*s is not known; accepted are %s",
		(int)(length < 64 ? length : 64), spec, names);
	return NULL;
}
