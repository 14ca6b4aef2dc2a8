/* SPDX-License-Identifier: BSD-3-Clause */
/* Free a guest from its migration: look where QEMU is, send what helps there, look again. */
#include <string.h>

#include "free_guest.h"

#define YANK_MIGRATION "{\"instances\":[{\"type\":\"migration\"}]}"
#define LOOK_AGAIN_US  500u /* QEMU needs about 1 ms to resume the guest */

/* Where QEMU says that it is. */
struct place {
	char migration[COLO_QMP_STATUS_MAX]; /* "none": there was never any */
	char status[COLO_QMP_STATUS_MAX];    /* run state */
	bool running;
};

static bool
one_of(const char *name, const char *const *names)
{
	while (*names != NULL && strcmp(name, *names) != 0)
		names++;
	return *names != NULL;
}

static bool
migration_is_over(const struct place *p)
{
	static const char *const over[] = {"none", "completed", "failed", "cancelled", NULL};

	return one_of(p->migration, over);
}

/* Run states that a migration puts the guest into; all others are somebody else's doing. */
static bool
stopped_by_migration(const struct place *p)
{
	static const char *const stopped[] = {"colo", "finish-migrate", "postmigrate", NULL};

	return one_of(p->status, stopped);
}

static enum colo_outcome
look(struct colo_qmp *q, struct place *p, uint64_t deadline, struct colo_error *err)
{
	struct colo_json reply;
	enum colo_outcome got;

	got = colo_qmp_command(q, "query-migrate", NULL, deadline, &reply, err);
	if (got != COLO_OUTCOME_OK)
		return got;
	if (colo_json_member_string(&reply, "status", p->migration, sizeof(p->migration)) < 0)
		strcpy(p->migration, "none");
	return colo_qmp_status(q, deadline, p->status, &p->running, err);
}

/*
 * What helps at @p p, or NULL. Never `migrate_cancel` in COLO state: it leaves QEMU in a state that
 * nothing leads out of. Before, with its sockets closed, a migration cannot get there any more.
 */
static const char *
remedy(const struct place *p)
{
	if (strcmp(p->migration, "colo") == 0)
		return "x-colo-lost-heartbeat";
	if (strcmp(p->migration, "pre-switchover") == 0)
		return "migrate_cancel"; /* it waits for an operator, not for its sockets */
	if (migration_is_over(p) && strcmp(p->status, "postmigrate") == 0)
		return "cont"; /* it went over without COLO, to us, where no guest runs */
	return NULL;
}

static enum colo_outcome
give_up(const struct colo_qmp *q, const struct place *p, struct colo_error *err)
{
	colo_error_set(err,
		"the guest of QEMU at %s is not freed (run state %s, migration %s); send it by "
		"QMP, "
		"with oob enabled, {\"exec-oob\":\"yank\",\"arguments\":" YANK_MIGRATION "}, then "
		"{\"execute\":\"x-colo-lost-heartbeat\"}",
		q->path, p->status, p->migration);
	return COLO_OUTCOME_TIMEOUT;
}

/* Refused is fine: QEMU was somewhere else by then. */
static enum colo_outcome
send_remedy(struct colo_qmp *q, const struct place *p, uint64_t deadline)
{
	const char *command = remedy(p);
	enum colo_outcome got;

	if (command == NULL)
		return COLO_OUTCOME_OK;
	got = colo_qmp_command(q, command, NULL, deadline, NULL, NULL);
	return got == COLO_OUTCOME_REFUSED ? COLO_OUTCOME_OK : got;
}

enum colo_outcome
colo_free_guest(struct colo_qmp *q, uint64_t deadline, struct colo_error *err)
{
	struct place p = {.migration = "unknown", .status = "unknown"};
	enum colo_outcome got;

	got = colo_qmp_command_oob(q, "yank", YANK_MIGRATION, deadline, NULL, err);
	if (got == COLO_OUTCOME_REFUSED) /* no migration */
		got = COLO_OUTCOME_OK;
	while (got == COLO_OUTCOME_OK) {
		got = look(q, &p, deadline, err);
		if (got != COLO_OUTCOME_OK)
			break;
		if (migration_is_over(&p) && !stopped_by_migration(&p))
			return COLO_OUTCOME_OK;
		got = send_remedy(q, &p, deadline);
		if (got == COLO_OUTCOME_OK && colo_deadline_left(deadline) == 0)
			got = COLO_OUTCOME_TIMEOUT;
		if (got == COLO_OUTCOME_OK &&
			colo_wait_fd(-1, 0, q->abort_fd, colo_monotonic_us() + LOOK_AGAIN_US) ==
				COLO_OUTCOME_ABORTED)
			got = COLO_OUTCOME_ABORTED;
	}
	return got == COLO_OUTCOME_TIMEOUT ? give_up(q, &p, err) : got;
}

enum colo_outcome
colo_guest_is_stuck(struct colo_qmp *q, uint64_t deadline, bool *stuck, struct colo_error *err)
{
	enum colo_outcome got;
	struct place p;

	got = look(q, &p, deadline, err);
	*stuck = got == COLO_OUTCOME_TIMEOUT;
	if (got == COLO_OUTCOME_OK)
		*stuck = stopped_by_migration(&p) && strcmp(p.migration, "pre-switchover") != 0;
	return got == COLO_OUTCOME_TIMEOUT ? COLO_OUTCOME_OK : got;
}
