/* SPDX-License-Identifier: BSD-3-Clause */
/* What the control core asks source `colo` for, and what the primary is answered. */
#include <inttypes.h>
#include <string.h>

#include <rte_byteorder.h>
#include <rte_cycles.h>

#include "colo_source.h"
#include "device_state.h"
#include "keeper.h"
#include "log.h"

/* COLO messages of a secondary. */
enum message {
	MESSAGE_READY = 0,
	MESSAGE_REPLY = 2,
	MESSAGE_RECEIVED = 5,
	MESSAGE_LOADED = 6,
};

#define RETURN_PATH_SHUT 0x0001u

static void
fail(struct stream_source *q, const char *why)
{
	/* that of a broken stream says more */
	colo_stream_fail(q, q->state != COLO_STREAM_STATE_BROKEN ? why : q->why_broken.text);
}

/* ---- answers to the primary ---- */

static void
reply(struct stream_source *q)
{
	uint32_t message = rte_cpu_to_be_32(MESSAGE_REPLY);

	colo_pages_begin(&q->pages, q->source->feed);
	q->asked = q->round_over = false;
	q->replied = true;
	atomic_store_explicit(&q->due, false, memory_order_release);
	/* before it is sent: the guest may stand still at once */
	colo_keeper_paused(q->source->keeper, true);
	atomic_store_explicit(&q->source->paused_tsc, rte_rdtsc(), memory_order_relaxed);
	if (colo_stream_send(q, &message, sizeof(message)))
		colo_stream_answered(&q->stream);
}

void
colo_request_asked(struct stream_source *q)
{
	q->asked = true;
	if (q->doing == COLO_SOURCE_PAUSE)
		reply(q);
	else
		atomic_store_explicit(&q->due, true, memory_order_release);
}

/* The guest runs again once it has read this. */
static bool
let_go(struct stream_source *q, const void *bytes, size_t n)
{
	if (!colo_stream_send(q, bytes, n))
		return false;
	colo_stream_answered(&q->stream);
	q->standing_tsc = 0;
	q->whole = q->replied = false;
	colo_keeper_paused(q->source->keeper, false);
	return true;
}

/* Precopy is committed: from now on checkpoints are spoken of. */
static bool
end_precopy(struct stream_source *q)
{
	struct {
		uint16_t type, length;
		uint32_t value, message;
	} shut = {rte_cpu_to_be_16(RETURN_PATH_SHUT), rte_cpu_to_be_16(4), 0,
		rte_cpu_to_be_32(MESSAGE_READY)};

	q->in_colo = true;
	if (!let_go(q, &shut, sizeof(shut)))
		return false;
	q->state = COLO_STREAM_STATE_CHECKPOINTS;
	return true;
}

static bool
end_checkpoint(struct stream_source *q)
{
	const uint32_t messages[] = {
		rte_cpu_to_be_32(MESSAGE_RECEIVED), rte_cpu_to_be_32(MESSAGE_LOADED)};

	return let_go(q, messages, sizeof(messages));
}

/* ---- requests ---- */

static void
begin_round(struct stream_source *q)
{
	if (q->state == COLO_STREAM_STATE_CALLED) {
		q->state = COLO_STREAM_STATE_PRECOPY;
		q->source->precopy_over = false;
		atomic_store_explicit(&q->called, false, memory_order_release);
	}
	if (q->state != COLO_STREAM_STATE_PRECOPY || q->precopy_over) {
		fail(q, "there is no precopy: QEMU has hung up, or it is over");
		return;
	}
	q->round_over = false;
	colo_pages_begin(&q->pages, q->source->feed);
}

/* The device state goes the way of pages. @return false: it does not fit, the stream is broken. */
static bool
store_devices(struct stream_source *q)
{
	struct colo_blocks *blocks = q->source->blocks;
	struct colo_error err;

	if (colo_device_state_store(&blocks->block[blocks->n - 1], q->stream.machine, q->device,
		    q->stream.device_length, &err) != 0) {
		colo_stream_break(q, &err);
		return false;
	}
	q->pages.open = false;
	colo_pages_feed_device(&q->pages);
	return true;
}

/* The first checkpoint has what precopy ended with, and the guest stands still for it already. */
static void
begin_first_pause(struct stream_source *q)
{
	colo_pages_begin(&q->pages, q->source->feed);
	atomic_store_explicit(&q->due, false, memory_order_release);
	atomic_store_explicit(&q->source->paused_tsc,
		q->standing_tsc != 0 ? q->standing_tsc : rte_rdtsc(), memory_order_relaxed);
	q->whole = store_devices(q);
}

static void
begin_pause(struct stream_source *q)
{
	if (q->state == COLO_STREAM_STATE_PRECOPY && q->precopy_over && !q->whole)
		begin_first_pause(q);
	else if (q->state != COLO_STREAM_STATE_CHECKPOINTS || q->replied)
		fail(q, "there is no guest to be paused: QEMU has hung up, or it is not there yet");
	else if (q->asked)
		reply(q);
}

static void
resume(struct stream_source *q)
{
	bool done = true;

	if (q->state == COLO_STREAM_STATE_BROKEN)
		done = false;
	else if (q->state == COLO_STREAM_STATE_PRECOPY && q->whole)
		done = end_precopy(q);
	else if (q->whole)
		done = end_checkpoint(q);
	else if (q->replied)
		done = false;
	q->pages.open = false;
	if (done)
		colo_stream_publish(q, COLO_SOURCE_DONE);
	else
		fail(q, "a guest cannot be resumed in the middle of its checkpoint");
}

/* How the guest gets to run after all, when nobody drives QMP for the operator. */
static void
tell_operator(const struct stream_source *q)
{
	COLO_LOG(WARNING,
		"if the guest that was protected at %s stands still, now or at its next "
		"checkpoint, send its QEMU {\"execute\": \"x-colo-lost-heartbeat\"} by QMP "
		"(qmp=PATH in --source has it done)",
		q->listener.name);
}

/* Also one that seems to run: QEMU may wait before the switchover for an operator's word. */
static int
free_guest(struct stream_source *q, struct colo_error *err)
{
	int keeper = q->source->keeper;

	if (colo_keeper_free(keeper, COLO_SOURCE_KEEPER_MS, err) == 0)
		return 0;
	if (!colo_keeper_gone(keeper, COLO_SOURCE_LOOK_MS))
		return -1;
	COLO_LOG(NOTICE, "the QEMU that called %s has gone: there is no guest to be freed",
		q->listener.name);
	return 0;
}

int
colo_request_release(struct stream_source *q, struct colo_error *err)
{
	bool was_on = q->state >= COLO_STREAM_STATE_CALLED;
	bool stands = q->in_colo || q->standing_tsc != 0;
	bool gone = q->gone;
	int keeper = q->source->keeper;

	if (q->state != COLO_STREAM_STATE_NONE)
		colo_stream_close(q);
	q->in_colo = q->replied = false;
	q->standing_tsc = 0;
	if (!was_on)
		return 0;
	q->watched = false;
	if (keeper > 0 && !gone)
		return free_guest(q, err);
	if (stands && !gone)
		tell_operator(q);
	colo_keeper_unwatch(keeper);
	return 0;
}

static void
release(struct stream_source *q)
{
	struct colo_error err;

	if (colo_request_release(q, &err) == 0)
		colo_stream_publish(q, COLO_SOURCE_DONE);
	else
		fail(q, err.text);
}

void
colo_request_take(struct stream_source *q)
{
	uint64_t wanted = atomic_load_explicit(&q->wanted, memory_order_acquire);

	if ((uint32_t)(wanted >> 8) == q->done)
		return;
	q->done = (uint32_t)(wanted >> 8);
	q->doing = (enum colo_source_request)(wanted & 0xff);
	switch (q->doing) {
	case COLO_SOURCE_ROUND:
		begin_round(q);
		break;
	case COLO_SOURCE_PAUSE:
		begin_pause(q);
		break;
	case COLO_SOURCE_RESUME:
		resume(q);
		break;
	case COLO_SOURCE_RELEASE:
		release(q);
		break;
	}
}

/* ---- when they are done ---- */

static void
advance_round(struct stream_source *q)
{
	if (q->silent_us != 0 && colo_monotonic_us() >= q->silent_us + COLO_SOURCE_SILENCE_US) {
		q->silent_us = 0;
		q->round_over = q->precopy_over = q->source->precopy_over = true;
		atomic_store_explicit(&q->due, true, memory_order_release);
	}
	if (!q->round_over)
		return;
	q->pages.open = false;
	q->unput = !colo_pages_put(&q->pages);
	if (!q->unput)
		colo_stream_publish(q, COLO_SOURCE_DONE);
}

static void
advance_pause(struct stream_source *q)
{
	if (!q->whole || (q->pages.open && !store_devices(q)))
		return;
	q->unput = !colo_pages_put(&q->pages);
	if (!q->unput)
		colo_stream_publish(q, COLO_SOURCE_DONE);
}

void
colo_request_advance(struct stream_source *q)
{
	if (q->doing == COLO_SOURCE_ROUND)
		advance_round(q);
	else if (q->doing == COLO_SOURCE_PAUSE)
		advance_pause(q);
}
