/* SPDX-License-Identifier: BSD-3-Clause */
/* Free a guest from its migration: look where QEMU is, send what helps there, look again. */
#include <poll.h>
#include <string.h>

#include "free_guest.h"

#define YANK_MIGRATION "{\"instances\":[{\"type\":\"migration\"}]}"
#define LOOK_AGAIN_US  2000u /* QEMU needs about 1 ms to resume the guest, and says so */
#define FIRST_LOOK_MS  50u   /* a main loop that takes longer is blocked */
#define UNKNOWN_MS     UINT64_MAX

/* Where QEMU says that it is. */
struct place {
	char migration[COLO_QMP_STATUS_MAX]; /* "none": there was never any */
	char status[COLO_QMP_STATUS_MAX];    /* run state */
	bool running;
	uint64_t age_ms; /* of the migration while it is active, as QEMU has it */
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
	struct colo_json reply, age;
	enum colo_outcome got;

	got = colo_qmp_command(q, "query-migrate", NULL, deadline, &reply, err);
	if (got != COLO_OUTCOME_OK)
		return got;
	if (!colo_json_member(&reply, "total-time", &age) || colo_json_u64(&age, &p->age_ms) != 0)
		p->age_ms = UNKNOWN_MS;
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

/* Has QEMU begun this migration after @p old_ms ago, when the one to be ended was on? */
static bool
is_another(const struct place *p, uint64_t old_ms)
{
	if (strcmp(p->migration, "setup") == 0) /* without an age; the old one was beyond it */
		return true;
	return strcmp(p->migration, "active") == 0 && p->age_ms < old_ms;
}

static enum colo_outcome
look_if_free(struct colo_qmp *q, uint64_t since_us, struct place *p, uint64_t deadline, bool *free,
	struct colo_error *err)
{
	uint64_t old_ms = since_us != 0 ? (colo_monotonic_us() - since_us) / 1000 : 0;
	enum colo_outcome got = look(q, p, deadline, err);

	*free = got == COLO_OUTCOME_OK && !stopped_by_migration(p) &&
		(migration_is_over(p) || (since_us != 0 && is_another(p, old_ms)));
	return got;
}

/* QEMU's events say when it is worth while to look. */
static enum colo_outcome
wait_for_change(struct colo_qmp *q, uint64_t deadline)
{
	uint64_t again = colo_monotonic_us() + LOOK_AGAIN_US;

	if (colo_deadline_left(deadline) == 0)
		return COLO_OUTCOME_TIMEOUT;
	return colo_wait_fd(q->fd, POLLIN, q->abort_fd, again) == COLO_OUTCOME_ABORTED
		       ? COLO_OUTCOME_ABORTED
		       : COLO_OUTCOME_OK;
}

/* A yank would end whatever migration there is: not before a look that is answered at once. */
static enum colo_outcome
yank(struct colo_qmp *q, uint64_t since_us, struct place *p, uint64_t deadline, bool *free,
	struct colo_error *err)
{
	uint64_t soon = colo_deadline(FIRST_LOOK_MS);
	enum colo_outcome got = COLO_OUTCOME_TIMEOUT;

	if (since_us != 0)
		got = look_if_free(q, since_us, p, soon < deadline ? soon : deadline, free, err);
	if (*free || (got != COLO_OUTCOME_OK && got != COLO_OUTCOME_TIMEOUT))
		return got;
	got = colo_qmp_command_oob(q, "yank", YANK_MIGRATION, deadline, NULL, err);
	return got == COLO_OUTCOME_REFUSED ? COLO_OUTCOME_OK : got; /* no migration */
}

enum colo_outcome
colo_free_guest(struct colo_qmp *q, uint64_t since_us, uint64_t deadline, struct colo_error *err)
{
	struct place p = {.migration = "unknown", .status = "unknown"};
	bool free = false;
	enum colo_outcome got = yank(q, since_us, &p, deadline, &free, err);

	while (got == COLO_OUTCOME_OK && !free) {
		got = look_if_free(q, since_us, &p, deadline, &free, err);
		if (got != COLO_OUTCOME_OK || free)
			break;
		got = send_remedy(q, &p, deadline);
		if (got == COLO_OUTCOME_OK)
			got = wait_for_change(q, deadline);
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
