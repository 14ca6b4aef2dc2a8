/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * The control core as the console thread (main lcore) sees it: requests go in by one ring, events
 * come out by another, a view of the state can be read at any time. Nobody waits for anybody.
 */
#ifndef COLO_APP_CONTROL_H
#define COLO_APP_CONTROL_H

#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "counters.h"
#include "report.h"
#include "session.h"

struct colo_control;

enum colo_request_kind {
	COLO_REQUEST_START = 1,	 /**< primary: protect (connect, precopy, checkpoints) */
	COLO_REQUEST_STOP,	 /**< primary: end the session in order, the guest runs on */
	COLO_REQUEST_CHECKPOINT, /**< primary: a checkpoint now */
	COLO_REQUEST_INTERVAL,	 /**< primary: interval_ms */
	COLO_REQUEST_CODEC,	 /**< primary: codec and level, from the next epoch on */
	COLO_REQUEST_VERIFY,	 /**< primary: compare all blocks after the next checkpoint */
	COLO_REQUEST_FAILOVER,	 /**< secondary: let the standby take over */
	COLO_REQUEST_QUIT,	 /**< any: end in order */
};

struct colo_request {
	enum colo_request_kind kind;
	uint32_t interval_ms;
	enum colo_codec codec;
	int zstd_level;
};

/**
 * Main lcore. The outcome comes as an event.
 * @return 0, or -1 with @p err when the role does not take such a request or the ring is full.
 */
int colo_control_post(
	struct colo_control *c, const struct colo_request *request, struct colo_error *err);

enum colo_event_kind {
	COLO_EVENT_TEXT = 1, /**< a line for the operator; `warning` says how loud */
	COLO_EVENT_PROGRESS, /**< precopy: done and total pages */
	COLO_EVENT_EPOCH,    /**< an epoch is over */
	COLO_EVENT_END,	     /**< the control core is done; exit_status is the program's */
};

struct colo_event {
	enum colo_event_kind kind;
	bool warning;
	int exit_status;
	uint64_t done, total;
	struct colo_epoch_report report;
	char text[320];
};

/** Main lcore. @return true if there was one. */
bool colo_control_next_event(struct colo_control *c, struct colo_event *event);

/** For `show epoch|channel|stats`, telemetry. Of one role; a pair has one of each. */
struct colo_view {
	bool present;
	const char *state; /**< name of the epoch state machine's state */
	uint32_t session;
	uint32_t epoch;		 /**< in progress, or the last */
	uint32_t committed;	 /**< last committed, 0: none */
	uint64_t checkpoints;	 /**< committed in this session */
	uint64_t aborted;	 /**< epochs undone since start */
	uint64_t full_copies;	 /**< since start */
	uint64_t resumed;	 /**< sessions that needed none, since start */
	uint64_t sessions;	 /**< since start */
	uint64_t guest_failures; /**< since start; secondary with --adapter lockstep */
	uint32_t interval_ms;	 /**< primary */
	enum colo_codec codec;	 /**< primary */
	int zstd_level;
	struct colo_epoch_report last;	      /**< epoch 0: none yet */
	struct colo_session_counters callers; /**< secondary: what became of whoever called */
};

/** Any thread: a consistent copy. @p secondary chooses the role in a pair. */
void colo_control_view(const struct colo_control *c, bool secondary, struct colo_view *view);

struct colo_channel_view {
	bool present;
	unsigned int lcore;
	const char *steering; /**< "rss", "flow", "paired" */
	uint16_t port, queue;
	uint16_t local_udp_port;		/**< where its frames arrive */
	uint64_t next_slot, acked_slot, credit; /**< send: */
	uint64_t cum;				/**< receive: every slot below is placed */
	uint32_t srtt_us, rttvar_us;		/**< send */
	struct colo_counters counters;
};

/** Any thread: channel @p channel's sending (@p receive false) or receiving end. */
void colo_control_channel_view(const struct colo_control *c, unsigned int channel, bool receive,
	struct colo_channel_view *view);

struct colo_memory_view {
	uint64_t page_size; /**< 0: there is no such memory */
	char path[PATH_MAX];
};

struct colo_block_view {
	char name[COLO_BLOCK_NAME_MAX + 1];
	uint64_t size;
	uint32_t n_pages;
	bool extra; /**< only the primary names it */
	struct colo_memory_view guest, cache;
};

/**
 * Any thread: a consistent copy of block @p i of a role. A session may make others (extra.h).
 * @return false if there is none.
 */
bool colo_control_block_view(
	const struct colo_control *c, bool secondary, unsigned int i, struct colo_block_view *view);

#endif
