/* SPDX-License-Identifier: BSD-3-Clause */
/* A temporary directory for what is exchanged with a QEMU by name. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "private_dir.h"

int
colo_private_dir_make(struct colo_private_dir *d, struct colo_error *err)
{
	const char *parent = getenv("TMPDIR");
	int n;

	/* QEMU may run in another directory: a relative name would mean something else to it */
	if (parent == NULL || parent[0] != '/')
		parent = "/tmp";
	n = snprintf(d->path, sizeof(d->path), "%s/dpdk-colo-XXXXXX", parent);
	if (n < 0 || (size_t)n >= sizeof(d->path)) {
		d->path[0] = '\0';
		return colo_error_set(err,
			"TMPDIR of %zu bytes is too long: at most %zu are "
			"accepted",
			strlen(parent), sizeof(d->path) - sizeof("/dpdk-colo-XXXXXX"));
	}
	if (mkdtemp(d->path) != NULL)
		return 0;
	d->path[0] = '\0';
	return colo_error_set(
		err, "cannot make a temporary directory in %s: %s", parent, strerror(errno));
}

int
colo_private_dir_path(const struct colo_private_dir *d, const char *name, char *path, size_t size,
	struct colo_error *err)
{
	int n = snprintf(path, size, "%s/%s", d->path, name);

	if (n >= 0 && (size_t)n < size)
		return 0;
	path[0] = '\0';
	return colo_error_set(err,
		"temporary path %s/%s is too long: at most %zu bytes are accepted; set TMPDIR",
		d->path, name, size - 1);
}

void
colo_private_dir_remove(struct colo_private_dir *d)
{
	if (d->path[0] != '\0')
		rmdir(d->path);
	d->path[0] = '\0';
}
