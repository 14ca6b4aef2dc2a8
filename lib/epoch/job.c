/* SPDX-License-Identifier: BSD-3-Clause */
/* Pieces claimed with one atomic add by all poll cores of an end. */
#include <stdlib.h>

#include "extra.h"
#include "job.h"

int
colo_piece_list_init(struct colo_piece_list *l, const struct colo_blocks *b)
{
	l->n = 0;
	l->room = colo_extra_pieces(b);
	for (unsigned int i = 0; i < b->n; i++)
		l->room += b->block[i].n_pieces;
	l->ref = calloc(l->room ? l->room : 1, sizeof(*l->ref));
	return l->ref != NULL ? 0 : -1;
}

void
colo_piece_list_fini(struct colo_piece_list *l)
{
	free(l->ref);
	l->ref = NULL;
	l->n = 0;
	l->room = 0;
}

void
colo_piece_list_all(struct colo_piece_list *l, const struct colo_blocks *b)
{
	l->n = 0;
	for (uint32_t i = 0; i < b->n; i++)
		for (uint32_t piece = 0; piece < b->block[i].n_pieces && l->n < l->room; piece++)
			l->ref[l->n++] = (struct colo_piece_ref){.piece = piece, .block = i};
}

void
colo_piece_list_add(
	struct colo_piece_list *l, uint32_t block, const uint64_t *summary, uint32_t n_words)
{
	for (uint32_t w = 0; w < n_words; w++) {
		for (uint64_t bits = summary[w]; bits != 0 && l->n < l->room; bits &= bits - 1)
			l->ref[l->n++] = (struct colo_piece_ref){
				.piece = w * 64 + __builtin_ctzll(bits), .block = block};
	}
}

void
colo_job_post(struct colo_job *job, colo_piece_fn piece, void *context)
{
	job->piece = piece;
	job->context = context;
	atomic_store_explicit(&job->n, job->list.n, memory_order_relaxed);
	atomic_store_explicit(&job->done, 0, memory_order_relaxed);
	job->last = job->last == UINT32_MAX ? 1 : job->last + 1;
	atomic_store_explicit(&job->active, job->last, memory_order_relaxed);
	/* from here on pieces can be claimed; pairs with the fetch-add in colo_job_poll() */
	atomic_store_explicit(&job->next, 0, memory_order_release);
}

static void
close_job(struct colo_job *job)
{
	atomic_store_explicit(&job->next, COLO_JOB_CLOSED, memory_order_relaxed);
	atomic_store_explicit(&job->active, 0, memory_order_release);
}

void
colo_job_init(struct colo_job *job)
{
	close_job(job);
}

bool
colo_job_done(struct colo_job *job)
{
	if (atomic_load_explicit(&job->active, memory_order_relaxed) == 0)
		return true;
	if (atomic_load_explicit(&job->done, memory_order_acquire) < job->list.n)
		return false;
	close_job(job);
	return true;
}

bool
colo_job_cancel(struct colo_job *job)
{
	uint32_t claimed;

	if (atomic_load_explicit(&job->active, memory_order_relaxed) == 0)
		return true;
	/* whatever was not claimed until now counts as done without being done */
	claimed = atomic_exchange_explicit(&job->next, job->list.n, memory_order_acq_rel);
	if (claimed < job->list.n)
		atomic_fetch_add_explicit(&job->done, job->list.n - claimed, memory_order_release);
	return colo_job_done(job);
}

/*
 * The claim is what counts: `next` is COLO_JOB_CLOSED while no job is active, so a core that read
 * `active` just before a job ended claims nothing, or a piece of the next job once that is posted,
 * which is what it is here for.
 */
bool
colo_job_poll(struct colo_job *job, struct colo_counters *counters)
{
	uint32_t i;

	if (atomic_load_explicit(&job->active, memory_order_relaxed) == 0)
		return false;
	/* pairs with the store-release in colo_job_post(): n is this job's */
	if (atomic_load_explicit(&job->next, memory_order_acquire) >=
		atomic_load_explicit(&job->n, memory_order_relaxed))
		return false;
	i = atomic_fetch_add_explicit(&job->next, 1, memory_order_acq_rel);
	if (i >= atomic_load_explicit(&job->n, memory_order_relaxed))
		return false;
	job->piece(job->context, &job->list.ref[i], counters);
	/* pairs with the load-acquire in colo_job_done() */
	atomic_fetch_add_explicit(&job->done, 1, memory_order_release);
	return true;
}
