/* SPDX-License-Identifier: BSD-3-Clause */
/* An epoch at the secondary, in the order of its life: opened, complete, committed, flushed. */
#include <rte_common.h>

#include "clock.h"
#include "secondary_actions.h"

static void
answer(struct colo_secondary *s, uint8_t op, enum colo_control_result result, uint8_t detail)
{
	struct colo_control_reply reply = {
		.op = op,
		.result = result,
		.detail = detail,
		.commit_us = s->report.commit_us,
		.flush_us = s->report.flush_us,
		.pages = s->report.pages,
		.wire_bytes = s->report.wire_bytes,
	};

	colo_lane_server_answer(&s->lane, &reply);
}

static enum colo_secondary_state
open_epoch(struct colo_secondary *s)
{
	struct colo_sync_sums sums;

	s->kind = s->begin_kind;
	s->begin_waits = false;
	s->epoch = ++s->opened;
	s->sync.known = false;
	s->opened_us = s->now_us;
	s->first_us = 0;
	colo_sync_sum(s->receive, &sums);
	s->opened_cum = sums.cum;
	colo_secondary_raise_phase(s, true, s->epoch);
	answer(s, COLO_CONTROL_BEGIN, COLO_RESULT_OK, 0);
	return s->kind == COLO_EPOCH_PRECOPY ? COLO_SECONDARY_PRECOPY : COLO_SECONDARY_RECEIVING;
}

static void
report_epoch(struct colo_secondary *s)
{
	s->notify->epoch(s->notify->context, &s->report);
}

static bool
is_open(const struct colo_secondary *s)
{
	return s->receive->phase.epoch != 0;
}

/* PRECOPY: round by round, then the first checkpoint; never one epoch over another. */
enum colo_secondary_state
colo_secondary_on_begin(struct colo_secondary *s)
{
	if (is_open(s) || (s->opened == 0 && s->begin_kind == COLO_EPOCH_CHECKPOINT))
		return colo_secondary_on_begin_refused(s);
	return open_epoch(s);
}

/* A checkpoint is asked for while the last is flushed: open it afterwards. */
enum colo_secondary_state
colo_secondary_on_begin_later(struct colo_secondary *s)
{
	s->begin_waits = true;
	return s->state;
}

enum colo_secondary_state
colo_secondary_on_begin_refused(struct colo_secondary *s)
{
	answer(s, COLO_CONTROL_BEGIN, COLO_RESULT_REFUSED, 0);
	return s->state;
}

/*
 * Without a committed checkpoint, or with a cache that lost it, IDLE is where a failed epoch left
 * us: the primary has to go.
 */
enum colo_secondary_state
colo_secondary_on_begin_idle(struct colo_secondary *s)
{
	bool lost = colo_secondary_runs_guest(s) && !s->cache_whole;

	if (s->begin_kind != COLO_EPOCH_CHECKPOINT || s->committed == 0 || lost)
		return colo_secondary_on_begin_refused(s);
	return open_epoch(s);
}

/* From END on the rest must be here within the limit; resent packets make up for losses. */
enum colo_secondary_state
colo_secondary_on_end(struct colo_secondary *s)
{
	if (!is_open(s))
		return colo_secondary_on_end_refused(s);
	s->deadline_us =
		s->now_us + RTE_MAX(s->config.hold_ms, s->config.peer_timeout_ms) * 1000ull;
	return s->state;
}

enum colo_secondary_state
colo_secondary_on_end_refused(struct colo_secondary *s)
{
	s->sync.known = false;
	answer(s, COLO_CONTROL_END, COLO_RESULT_REFUSED, 0);
	return s->state;
}

enum colo_secondary_state
colo_secondary_on_complete(struct colo_secondary *s)
{
	s->complete_us = s->now_us;
	colo_secondary_raise_phase(s, true, 0);
	return COLO_SECONDARY_SYNCING;
}

static void
fill_report(struct colo_secondary *s)
{
	struct colo_sync_sums sums;

	colo_sync_sum(s->receive, &sums);
	s->report = (struct colo_epoch_report){
		.epoch = s->epoch,
		.kind = s->kind,
		.is_secondary = true,
		.pages = sums.pages,
		.zero_pages = sums.zero_pages,
		.wire_bytes = sums.wire_bytes,
		.transfer_us = s->complete_us - (s->first_us ? s->first_us : s->opened_us),
		.commit_us = s->now_us - s->complete_us,
	};
}

/* The commit: from here on the checkpoint cannot be lost, and the primary is told at once. */
static enum colo_secondary_state
commit(struct colo_secondary *s)
{
	s->committed = s->epoch;
	s->checkpoints++;
	colo_journal_commit(s->journal, s->epoch);
	answer(s, COLO_CONTROL_END, COLO_RESULT_OK, 0);
	s->commit_us = s->now_us;
	s->cache_whole = true;
	if (!colo_secondary_runs_guest(s))
		return colo_secondary_flush(s);
	s->behind = true;
	return colo_secondary_follow(s);
}

enum colo_secondary_state
colo_secondary_flush(struct colo_secondary *s)
{
	colo_flush_collect(&s->flush, &s->job->list);
	colo_job_post(s->job, colo_flush_piece, &s->flush);
	return COLO_SECONDARY_FLUSHING;
}

enum colo_secondary_state
colo_secondary_on_quiet_syncing(struct colo_secondary *s)
{
	uint8_t detail = 0;
	enum colo_control_result result = colo_sync_check(&s->sync, s->receive, &detail);

	s->sync.known = false;
	fill_report(s);
	if (result != COLO_RESULT_OK) {
		colo_notify_text(s->notify, true,
			"epoch %u is given up: %s of channel %u differs from the primary's",
			s->epoch, result == COLO_RESULT_COUNT ? "number of pages" : "digest",
			detail);
		answer(s, COLO_CONTROL_END, result, detail);
		s->undo = s->kind == COLO_EPOCH_CHECKPOINT;
		s->aborted++;
		return COLO_SECONDARY_ABORTING;
	}
	if (s->kind == COLO_EPOCH_CHECKPOINT)
		return commit(s);
	answer(s, COLO_CONTROL_END, COLO_RESULT_OK, 0);
	report_epoch(s);
	return s->session_over ? colo_secondary_give_up(s) : COLO_SECONDARY_PRECOPY;
}

enum colo_secondary_state
colo_secondary_on_flushed(struct colo_secondary *s)
{
	return colo_secondary_runs_guest(s) ? colo_secondary_load(s)
					    : colo_secondary_finish_flush(s);
}

/* Guest memory, and a guest that runs on it, are where the commit is. */
enum colo_secondary_state
colo_secondary_finish_flush(struct colo_secondary *s)
{
	colo_journal_flushed(s->journal);
	s->report.flush_us = colo_now_us() - s->commit_us;
	report_epoch(s);
	if (s->session_over) {
		colo_secondary_raise_phase(s, false, 0);
		return colo_secondary_after_session(s);
	}
	if (s->begin_waits && s->begin_kind == COLO_EPOCH_CHECKPOINT)
		return open_epoch(s);
	if (s->begin_waits)
		colo_secondary_on_begin_refused(s);
	s->begin_waits = false;
	return COLO_SECONDARY_IDLE;
}

enum colo_secondary_state
colo_secondary_on_verify(struct colo_secondary *s)
{
	colo_verify_reset(&s->verify);
	colo_piece_list_all(&s->job->list, s->blocks);
	colo_job_post(s->job, colo_verify_piece, &s->verify);
	s->verify_waits = true;
	return s->state;
}

enum colo_secondary_state
colo_secondary_on_verify_refused(struct colo_secondary *s)
{
	answer(s, COLO_CONTROL_VERIFY, COLO_RESULT_REFUSED, 0);
	return s->state;
}

enum colo_secondary_state
colo_secondary_on_verified(struct colo_secondary *s)
{
	unsigned int i;

	if (!s->verify_waits)
		return s->state;
	s->verify_waits = false;
	for (i = 0; i < s->blocks->n; i++)
		if (atomic_load_explicit(&s->verify.sum[i], memory_order_relaxed) != s->peer_sum[i])
			break;
	answer(s, COLO_CONTROL_VERIFY, i == s->blocks->n ? COLO_RESULT_OK : COLO_RESULT_DIGEST, i);
	return s->state;
}
