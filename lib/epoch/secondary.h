/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * The epoch state machine of the secondary: one table, state x event, in secondary.c.
 *
 *     LISTEN -> HELLO -> PRECOPY -> COLO { IDLE -> RECEIVING -> SYNCING -> FLUSHING -> IDLE }
 *     peer lost or abort:  ABORTING (poll cores leave) -> UNDOING (guest -> cache) -> LISTEN
 *     told to take over:   FAILING_OVER -> FAILED_OVER
 *
 * A commit is the moment at the end of SYNCING when counts and digests agree. Guest memory changes
 * in PRECOPY and FLUSHING only. Everything here runs on the control core and never blocks, but for
 * when a session begins: blocks that only the primary names are made, and all are emptied.
 *
 * With a guest that runs here between checkpoints (adapter lockstep):
 *
 *     LISTEN -> PARKING (it is paused, before its memory is emptied) -> HELLO
 *     SYNCING -> PAUSING -> FLUSHING (what it changed is rolled back as well) -> LOADING
 *             -> RESUMING -> IDLE
 *     abort: ABORTING -> LISTEN; nothing is undone, the guest runs on as it is
 *     told to take over, and the guest is not yet where the last commit is: LISTEN -> PAUSING ...
 *             -> RESUMING -> FAILING_OVER
 */
#ifndef COLO_EPOCH_SECONDARY_H
#define COLO_EPOCH_SECONDARY_H

#include "adapter.h"
#include "flush.h"
#include "job.h"
#include "journal.h"
#include "lane.h"
#include "notify.h"
#include "receive.h"
#include "seals.h"
#include "session.h"
#include "status.h"
#include "steer.h"
#include "sync.h"
#include "verify.h"

/* X(name) */
#define COLO_SECONDARY_STATES(X)                                                       \
	X(LISTEN)	/* no session; guest memory may hold a committed epoch */      \
	X(PARKING)	/* a primary is here; the guest that runs here is paused */    \
	X(HELLO)	/* accepted; waits for START */                                \
	X(PRECOPY)	/* full copy, round by round */                                \
	X(IDLE)		/* COLO: guest memory holds the last committed epoch */        \
	X(RECEIVING)	/* COLO: a checkpoint is open */                               \
	X(SYNCING)	/* all placed; the poll cores leave the epoch */               \
	X(PAUSING)	/* committed; the guest that runs here is paused */            \
	X(FLUSHING)	/* committed; cache -> guest memory */                         \
	X(LOADING)	/* flushed; the guest that runs here takes the device state */ \
	X(RESUMING)	/* ... and is let go */                                        \
	X(ABORTING)	/* epoch given up; the poll cores leave it */                  \
	X(UNDOING)	/* guest memory -> cache */                                    \
	X(FAILING_OVER) /* the standby takes over */                                   \
	X(FAILED_OVER)	/* the guest runs here */                                      \
	X(CLOSED)

enum colo_secondary_state {
#define X(name) COLO_SECONDARY_##name,
	COLO_SECONDARY_STATES(X)
#undef X
	COLO_SECONDARY_N_STATES
};

struct colo_secondary_config {
	uint32_t peer_timeout_ms;
	uint32_t hold_ms;
	uint16_t udp_port; /**< base of the channels' UDP ports */
	uint32_t mtu;
	bool failover_on_peer_loss;
	bool recovered; /**< guest memory is what a killed secondary left */
	bool stay;	/**< the prompt is on: go on after a takeover */
};

/** Owner: control core, from the first poll on; the pointers are set by the main lcore before. */
struct colo_secondary {
	struct colo_secondary_config config; /* read-only */
	struct colo_blocks *blocks;
	struct colo_receive_end *receive;
	struct colo_port *port;
	struct colo_steering *steering;
	struct colo_session *session;
	struct colo_adapter *adapter; /**< NULL: neither --standby nor --adapter */
	struct colo_journal *journal;
	const struct colo_notify *notify;
	struct colo_job *job;
	struct colo_flush flush;
	struct colo_verify verify;
	struct colo_address local; /**< without channel ports until a session begins */

	enum colo_secondary_state state;
	struct colo_lane_server lane;
	struct colo_seals seals;
	struct colo_sync sync;
	struct colo_address peer;
	uint32_t session_id;
	uint32_t epoch;	    /**< open or last */
	uint32_t opened;    /**< last epoch opened in this session */
	uint8_t kind;	    /**< of `epoch` */
	uint32_t committed; /**< last committed checkpoint that guest memory holds, 0: none */
	uint64_t checkpoints, aborted, full_copies, resumed, sessions; /**< for views */
	uint64_t instance; /**< the primary's run that `committed` is of, 0: none */
	uint32_t resumes;  /**< HELLO: the checkpoint that the session resumes from, 0: full copy */
	bool session_over; /**< lost or ended while an epoch is being finished */
	bool peer_lost;	   /**< ... and not in order */
	bool peer_lives;   /**< ... by a primary that lives: no reason to take over unasked */
	bool failover_wanted;
	bool quit_wanted;
	/* with a guest that runs here between checkpoints: */
	bool behind;	   /**< checkpoint `committed` is not yet what that guest went on from */
	bool cache_whole;  /**< the cache is exactly checkpoint `committed` */
	bool following;	   /**< PAUSING to RESUMING: it is brought to checkpoint `committed` */
	bool park_resumes; /**< PARKING: it ran before, and would again */
	uint64_t guest_failures; /**< for views: steps that failed, and times it was lost */
	bool undo;		 /**< ABORTING: there is something to undo */
	bool begin_waits;	 /**< BEGIN came while flushing: answered afterwards */
	uint8_t begin_kind;
	bool verify_waits;		    /**< VERIFY: the job is on */
	uint64_t peer_sum[COLO_MAX_BLOCKS]; /**< VERIFY's */
	uint64_t now_us;
	uint64_t session_us; /**< when the session was polled last */
	uint64_t opened_us, first_us, complete_us, commit_us, flush_us; /**< times of this epoch */
	uint64_t opened_cum;
	uint64_t deadline_us; /**< of the state, 0: none */
	struct colo_epoch_report report;
};

/** Start listening for sessions; adapter and blocks are ready. */
void colo_secondary_init(struct colo_secondary *s);

/** One turn. @return true if there was work. */
bool colo_secondary_poll(struct colo_secondary *s, uint64_t now_us);

/** The operator wants the standby to take over. */
void colo_secondary_failover(struct colo_secondary *s);

/** End in order, once nothing is half done. */
void colo_secondary_quit(struct colo_secondary *s);

const char *colo_secondary_state_name(enum colo_secondary_state state);

#endif
