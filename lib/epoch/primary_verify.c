/* SPDX-License-Identifier: BSD-3-Clause */
/* Blocks compared with the secondary's after a checkpoint. */
#include "primary_actions.h"

enum colo_primary_state
colo_primary_start_verify(struct colo_primary *p)
{
	p->verify_now = false;
	p->verified_local = false;
	colo_verify_reset(&p->verify);
	colo_piece_list_all(&p->job->list, p->blocks);
	colo_job_post(p->job, colo_verify_piece, &p->verify);
	return COLO_PRIMARY_VERIFYING;
}

enum colo_primary_state
colo_primary_on_digested(struct colo_primary *p)
{
	struct {
		struct colo_control_request head;
		struct colo_channel_end end[COLO_MAX_BLOCKS];
	} __attribute__((packed)) request = {.head = {.op = COLO_CONTROL_VERIFY}};

	request.head.n = p->blocks->n;
	for (unsigned int i = 0; i < p->blocks->n; i++)
		request.end[i].digest = rte_cpu_to_be_64(
			atomic_load_explicit(&p->verify.sum[i], memory_order_relaxed));
	colo_lane_ask(&p->lane, &request.head,
		sizeof(request.head) + p->blocks->n * sizeof(request.end[0]), p->now_us);
	p->verified_local = true;
	return p->state;
}

/* Blocks whose bytes differ, where both memories are at hand. */
static unsigned int
differing_blocks(const struct colo_primary *p)
{
	unsigned int differ = 0;

	for (unsigned int i = 0; i < p->blocks->n; i++)
		differ += atomic_load_explicit(&p->verify.differ[i], memory_order_relaxed) != 0;
	return differ;
}

enum colo_primary_state
colo_primary_on_verified(struct colo_primary *p)
{
	p->report.verified = true;
	p->report.mismatches += differing_blocks(p);
	if (p->report.mismatches != 0) {
		p->mismatch = true;
		colo_notify_text(p->notify, true,
			"VERIFY FAILED: checkpoint %u differs from the guest's memory",
			p->report.epoch);
	}
	colo_primary_request_resume(p);
	return colo_primary_next_or_last(p);
}

enum colo_primary_state
colo_primary_on_failed_verify(struct colo_primary *p)
{
	return colo_primary_abort(p, "the secondary would not compare blocks");
}

/* Nobody waits for ever, least of all a guest that stands still meanwhile. */
enum colo_primary_state
colo_primary_on_stalled_verify(struct colo_primary *p)
{
	return colo_primary_abort(p, "blocks were not compared within the limit");
}
