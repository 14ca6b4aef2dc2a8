/* SPDX-License-Identifier: BSD-3-Clause */
/* The blocks that a stream has listed. */
#include <string.h>

#include "page_sink.h"

int
colo_stream_blocks_find(const struct colo_stream_blocks *b, const void *name, size_t length)
{
	for (unsigned int i = 0; i < b->n; i++) {
		const char *known = b->block[i].name;

		if (strlen(known) == length && memcmp(known, name, length) == 0)
			return (int)i;
	}
	return -1;
}
