/* SPDX-License-Identifier: BSD-3-Clause */
/* A control core of wood: remembers what was posted, shows what a test puts in. */
#ifndef COLO_FAKE_CONTROL_H
#define COLO_FAKE_CONTROL_H

#include <string.h>

#include "control.h"

struct colo_control {
	struct colo_request posted[64];
	unsigned int n_posted;
	bool refuse;
	struct colo_view view[2];
	struct colo_channel_view channel[2][2];
	struct colo_block_view block; /* of the secondary; without a name: none */
};

int
colo_control_post(
	struct colo_control *c, const struct colo_request *request, struct colo_error *err)
{
	if (c->refuse || c->n_posted == 64)
		return colo_error_set(err, "the secondary does not take it");
	c->posted[c->n_posted++] = *request;
	return 0;
}

void
colo_control_view(const struct colo_control *c, bool secondary, struct colo_view *view)
{
	*view = c->view[secondary];
}

void
colo_control_channel_view(const struct colo_control *c, unsigned int channel, bool receive,
	struct colo_channel_view *view)
{
	if (channel < 2)
		*view = c->channel[channel][receive];
}

bool
colo_control_block_view(
	const struct colo_control *c, bool secondary, unsigned int i, struct colo_block_view *view)
{
	*view = c->block;
	return secondary && i == 0 && c->block.name[0] != '\0';
}

#endif
