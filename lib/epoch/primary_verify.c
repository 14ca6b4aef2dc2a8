/* SPDX-License-Identifier: BSD-3-Clause */
/* Blocks compared with the secondary's after a checkpoint. */
#include <string.h>

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

/* In a pair both memories are at hand: nothing less than every byte will do. */
static unsigned int
compare_bytes(const struct colo_primary *p)
{
	unsigned int differ = 0;

	for (unsigned int i = 0; p->peer_blocks != NULL && i < p->blocks->n; i++)
		differ +=
			memcmp(p->blocks->block[i].guest.addr, p->peer_blocks->block[i].guest.addr,
				p->blocks->block[i].size) != 0;
	return differ;
}

enum colo_primary_state
colo_primary_on_verified(struct colo_primary *p)
{
	p->report.verified = true;
	p->report.mismatches += compare_bytes(p);
	if (p->report.mismatches != 0) {
		p->mismatch = true;
		colo_notify_text(p->notify, true,
			"VERIFY FAILED: checkpoint %u differs from the guest's memory",
			p->report.epoch);
	}
	colo_primary_request_resume(p);
	return colo_primary_next_or_last(p);
}
