/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * The epoch state machine of the primary: one table, state x event, in primary.c.
 *
 *     STOPPED -> CONNECTING -> GREETING -> OPENING -> [VERIFYING] -> READY
 *     READY (due) -> COLLECTING -> SENDING -> ENDING -> OPENING
 *     lost, refused, too slow, told to stop:  LEAVING (the guest runs again) -> STOPPED or CLOSED
 *
 * A source that feeds sends while it collects: the phase is raised in COLLECTING already, and
 * SENDING only waits for the rest. Its guest calls and says when a checkpoint is due.
 *
 * Precopy rounds and checkpoints take the same way; a round does not stop the guest. The guest is
 * stopped from COLLECTING on until its pages are staged (staged sources) or committed, and in no
 * case longer than `hold_ms`. Everything here runs on the control core and never blocks.
 */
#ifndef COLO_EPOCH_PRIMARY_H
#define COLO_EPOCH_PRIMARY_H

#include "job.h"
#include "lane.h"
#include "notify.h"
#include "seals.h"
#include "send.h"
#include "session.h"
#include "source.h"
#include "status.h"
#include "steer.h"
#include "verify.h"

/* X(name) */
#define COLO_PRIMARY_STATES(X)                                                        \
	X(STOPPED)    /* the guest runs unprotected; waits for start */               \
	X(CONNECTING) /* TCP */                                                       \
	X(GREETING)   /* hello is sent */                                             \
	X(OPENING)    /* asked the secondary to open the next epoch; guest resumes */ \
	X(VERIFYING)  /* blocks are compared */                                       \
	X(READY)      /* the epoch is open; the guest runs until it is due */         \
	X(COLLECTING) /* guest stopped (checkpoint); what changed is found out */     \
	X(SENDING)    /* pages go out */                                              \
	X(ENDING)     /* all are out; the secondary has yet to say it has them */     \
	X(LEAVING)    /* session over; the guest is resumed */                        \
	X(CLOSED)

enum colo_primary_state {
#define X(name) COLO_PRIMARY_##name,
	COLO_PRIMARY_STATES(X)
#undef X
	COLO_PRIMARY_N_STATES
};

/** interval, codec and level may change by request; the rest is read-only. */
struct colo_primary_config {
	const char *host;
	uint16_t port;
	uint32_t connect_timeout_ms;
	uint32_t reconnect_ms; /**< how long a lost secondary is called again, 0: not at all */
	uint32_t peer_timeout_ms;
	uint32_t hold_ms;
	uint32_t interval_ms;
	uint32_t epochs; /**< checkpoints to take, 0: no end */
	uint32_t precopy_threshold;
	uint32_t precopy_rounds;
	uint32_t mtu;
	uint16_t udp_port;
	bool zstd;
	int zstd_level;
	bool verify; /**< every checkpoint */
	bool stay;   /**< the prompt is on: go on when a session is over */
};

/** Owner: control core, from the first poll on; the pointers are set by the main lcore before. */
struct colo_primary {
	struct colo_primary_config config;
	struct colo_blocks *blocks;
	struct colo_send_end *send;
	struct colo_port *port;
	struct colo_steering *steering;
	struct colo_session *session;
	struct colo_source *source;
	const struct colo_notify *notify;
	struct colo_job *job;
	struct colo_verify verify;
	struct colo_address local;

	enum colo_primary_state state;
	struct colo_lane lane;
	struct colo_seals seals;
	struct colo_address peer;
	uint32_t session_id;
	uint32_t epoch; /**< open or last */
	uint8_t kind;	/**< of `epoch` */
	uint32_t committed;
	uint32_t rounds; /**< precopy rounds of this session */
	uint64_t checkpoints, aborted, full_copies, resumed, sessions;
	/**
	 * Which run of a primary this is: random, as long as `todo` and `doubt` know of everything
	 * that changed since `committed`. Another one from each full copy on.
	 */
	uint64_t instance;
	uint32_t doubt;		/**< checkpoint that the secondary may have committed, 0: none */
	uint64_t call_until_us; /**< a lost secondary is called again until then, 0: no */
	uint64_t call_us;	/**< ... and not before */
	unsigned int fruitless; /**< sessions lost in a row without a committed checkpoint */
	uint64_t round_pages;	/**< of the last precopy round */
	uint64_t precopy_pages; /**< of all rounds of this session */
	bool protected_once;	/**< a checkpoint was committed in this session */
	bool guest_paused;	/**< by us: a RESUME is owed */
	bool resuming;		/**< RESUME is requested and not done */
	bool collecting;	/**< collect job is posted */
	bool collected;		/**< ... and done */
	bool opened;		/**< BEGIN is answered */
	bool report_waits;	/**< `report` is complete but for its flush_us */
	bool checkpoint_wanted, verify_wanted, quit_wanted; /**< by the operator */
	bool verify_now;     /**< the checkpoint just committed is to be verified */
	bool verified_local; /**< VERIFYING: our digest is known and sent */
	bool source_gone;
	bool epochs_done; /**< as many checkpoints as config.epochs asks for */
	bool mismatch;	  /**< some verification failed */
	int leave_status; /**< exit status once LEAVING is over */
	uint64_t now_us;
	uint64_t session_us; /**< when the session was polled last */
	uint64_t state_us;   /**< when the state began */
	uint64_t due_us, pause_us, send_us;
	uint64_t hold_until_us;		 /**< the guest must run again by then, 0: it runs */
	uint64_t acked, acked_us;	 /**< slots acknowledged, and when that last changed */
	uint64_t to_send;		 /**< pages of this precopy round */
	uint64_t progress_us;		 /**< when progress was shown last */
	struct colo_epoch_report report; /**< of the epoch under way */
	struct colo_epoch_report last;	 /**< of the last one that is over, for views */
};

void colo_primary_init(struct colo_primary *p);

/** One turn. @return true if there was work. */
bool colo_primary_poll(struct colo_primary *p, uint64_t now_us);

/** Requests of the operator. Control core. */
void colo_primary_start(struct colo_primary *p);
void colo_primary_stop(struct colo_primary *p);
void colo_primary_checkpoint(struct colo_primary *p);
void colo_primary_verify(struct colo_primary *p);
void colo_primary_quit(struct colo_primary *p);

const char *colo_primary_state_name(enum colo_primary_state state);

#endif
