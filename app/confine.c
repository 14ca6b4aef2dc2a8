/* SPDX-License-Identifier: BSD-3-Clause */
/* Capabilities and system calls by driver; what is told about it. */
#include <linux/capability.h>

#include "confine.h"
#include "driver.h"
#include "log.h"
#include "privileges.h"
#include "syscall_filter.h"

#define NAMES_MAX 128

/*
 * A driver of hardware makes flow rules and pins memory also later, some (mlx5) by the kernel,
 * which asks for these.
 */
#define HARDWARE_KEEPS                                                   \
	(COLO_CAPABILITY(CAP_NET_ADMIN) | COLO_CAPABILITY(CAP_NET_RAW) | \
		COLO_CAPABILITY(CAP_IPC_LOCK))

static bool
has_hardware(const struct colo_port *const *ports, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		if (!colo_driver_is_software(ports[i]->driver))
			return true;
	return false;
}

static void
report(const struct colo_privileges *p, int calls)
{
	int had = __builtin_popcountll(p->had), kept = __builtin_popcountll(p->kept);
	char names[NAMES_MAX];

	COLO_LOG(NOTICE,
		"privileges: %d of %d capabilities dropped, kept: %s; %d system calls are left, no "
		"new "
		"privileges, in all of %u threads",
		had - kept, had, colo_privileges_names(p->kept, names, sizeof(names)), calls,
		p->threads);
}

void
colo_confine(const struct colo_config *c, const struct colo_port *const *ports, unsigned int n)
{
	bool hardware = has_hardware(ports, n);
	struct colo_privileges p;
	struct colo_error why;
	int calls;

	if (c->privileges == COLO_PRIVILEGES_KEEP) {
		COLO_LOG(WARNING, "WARNING: --privileges keep: all capabilities and system calls "
				  "stay");
		return;
	}
	if (colo_privileges_drop(hardware ? HARDWARE_KEEPS : 0, &p, &why) != 0) {
		COLO_LOG(WARNING, "WARNING: privileges are not all dropped: %s", why.text);
		return;
	}
	calls = colo_syscall_filter(
		hardware ? COLO_SYSCALLS_HARDWARE : COLO_SYSCALLS_SOFTWARE, &why);
	if (calls < 0)
		COLO_LOG(WARNING, "WARNING: capabilities are dropped, but system calls are not: %s",
			why.text);
	else
		report(&p, calls);
}
