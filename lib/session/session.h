/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * The session between a primary and a secondary, over TCP: hello, blocks, the channels' addresses,
 * liveness, abort, orderly end. Non-blocking; the control core calls colo_session_poll() every
 * millisecond or so. After colo_session_use_tls() all of it is inside TLS 1.3 with a pre-shared key
 * (tls.h), and both ends know the key before the first HELLO is read.
 *
 *     primary                          secondary
 *     HELLO (struct below)  ------->   checks it against its own blocks and limits
 *                           <-------   ACCEPT (its addresses) or REFUSE (one sentence), then close
 *     START (return ports)  ------->   channels are open, epoch 1 may begin
 *     PING / PONG           <------>   each side sends PING every timeout/4; silence of a whole
 *                                      timeout is a lost peer, but see colo_session_set_timeout()
 *     ABORT (reason)        <------>   the session is over at once, not in order; whoever says so
 *                                      lives, and a primary's guest runs on
 *     GONE (reason)         ------->   the session is over, for the primary's guest is gone
 *     BYE                   <------>   orderly end
 *
 * Every message: be16 type, be16 length of the body, body (at most COLO_SESSION_BODY_MAX). Numbers
 * big-endian, texts with a length byte before them.
 */
#ifndef COLO_SESSION_SESSION_H
#define COLO_SESSION_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "colo_error.h"
#include "bounds.h"

#define COLO_SESSION_BODY_MAX 4096u
/** How often a control core looks at its session: each look is a few system calls. */
#define COLO_SESSION_POLL_US 1000u
/** So long between two turns of a control core: it stood still, and limits of others go on after.
 */
#define COLO_STANDSTILL_US   100000u
#define COLO_SESSION_VERSION 3u

#define COLO_SESSION_CALL_MS	2000u  /**< accepted .. whole hello, TLS included */
#define COLO_SESSION_ANSWER_MS	10000u /**< hello .. ACCEPT or REFUSE; ACCEPT .. START */
#define COLO_SESSION_RETRY_MS	100u   /**< between two attempts to connect */
#define COLO_SESSION_LINGER_MS	500u   /**< a refused caller may read its REFUSE so long */
#define COLO_SESSION_CALLERS	8u     /**< that have spoken, at a time; the session's included */
#define COLO_SESSION_GRACE_MS	20u  /**< before a caller without the key makes room for another */
#define COLO_SESSION_REASON_MAX 255u /**< bytes of the sentence in REFUSE and ABORT */

#define COLO_PEER_TIMEOUT_MIN 50u /**< ms, of hello's peer_timeout_ms and of set_timeout() */
#define COLO_PEER_TIMEOUT_MAX 60000u
#define COLO_HOLD_MIN	      10u /**< ms, of hello's hold_ms */
#define COLO_HOLD_MAX	      60000u
#define COLO_WINDOW_MIN	      64u /**< slots, of accept's window; at most COLO_WINDOW_MAX */

/** Where an end's datapath is. */
struct colo_address {
	uint8_t mac[6];
	uint8_t ip_version;   /**< 4 or 6 */
	uint8_t ip[16];	      /**< 4 or 16 bytes used */
	uint16_t source_port; /**< UDP source port of every frame this end sends */
	/** UDP ports this end's channels receive on; a primary's are in START, not in HELLO */
	uint16_t channel_port[COLO_MAX_CHANNELS];
};

struct colo_hello_block {
	char name[COLO_BLOCK_NAME_MAX + 1];
	uint64_t size;
};

struct colo_hello {
	uint32_t session; /**< random, not 0: in every frame */
	uint32_t mtu;
	uint16_t n_channels;
	uint16_t n_blocks;
	uint32_t peer_timeout_ms; /**< the primary's; the secondary uses the smaller */
	uint32_t hold_ms;
	/**
	 * The primary's run, random, not 0: whoever kept count of what changed since a checkpoint.
	 * With `committed` it says what the secondary may hold; all 0: nothing, a full copy it is.
	 */
	uint64_t instance;
	uint32_t committed; /**< last checkpoint that the primary knows to be committed, 0: none */
	uint8_t seal_shift; /**< log2 of packets sealed with one key, where frames are sealed */
	uint32_t doubt;	    /**< the one after it, if its END may have been answered, 0: none */
	struct colo_hello_block block[COLO_MAX_BLOCKS];
	struct colo_address address; /**< primary's, no channel ports yet */
};

/**
 * A full copy counts its checkpoints from 1 again: what the run is called from there on, by both
 * ends. Not 0, and nothing that it was called before: it only goes up.
 */
static inline uint64_t
colo_hello_next_instance(uint64_t instance, uint32_t session)
{
	uint64_t next = instance + session;

	return next != 0 ? next : 1;
}

struct colo_accept {
	uint32_t window;	     /**< slots a channel may have outstanding at most */
	struct colo_address address; /**< secondary's, with channel ports */
	/** the session resumes from this checkpoint, which guest memory holds; 0: full copy */
	uint32_t resumes;
	char why[COLO_SESSION_REASON_MAX + 1]; /**< why a full copy is needed, or "resumed" */
};

enum colo_session_event {
	COLO_SESSION_NOTHING = 0,
	COLO_SESSION_CONNECTED, /**< primary: TCP (and TLS) is up, send hello with
				   colo_session_hello() */
	COLO_SESSION_HELLO,	/**< secondary: peer_hello is filled: accept or refuse it */
	COLO_SESSION_ACCEPTED,	/**< primary: peer_accept is filled: send colo_session_start() */
	COLO_SESSION_STARTED,	/**< secondary: peer_hello.address.channel_port is filled now */
	COLO_SESSION_REFUSED,	/**< primary: reason says why */
	COLO_SESSION_BYE,	/**< peer ended in order */
	/** the peer gave the session up, or spoke nonsense: it lives; reason says why */
	COLO_SESSION_ABORTED,
	COLO_SESSION_GONE, /**< secondary: the primary says that its guest is gone; reason */
	COLO_SESSION_LOST, /**< connection broke, or the peer was silent too long */
	/**
	 * Secondary: a caller that never became a session (no key, no hello, or a wrong one) was
	 * dropped; reason says why. Nothing else changed: a session that is on goes on. For the
	 * log: under a flood it is reported a few times a second at most; counters have them all.
	 */
	COLO_SESSION_DROPPED,
};

/** Counters: X(name, meaning). What becomes of each caller, since start. */
#define COLO_SESSION_COUNTERS(X)                                                              \
	X(tcp_accepted, "connections accepted")                                               \
	X(tcp_authenticated, "callers that proved to know the pre-shared key")                \
	X(tcp_handshake_failed, "callers whose TLS handshake failed: another key, other TLS") \
	X(tcp_wrong_mode, "callers without TLS where it is due, or with it where it is not")  \
	X(tcp_wrong_message, "callers whose first message was not a HELLO that checks")       \
	X(tcp_late, "callers that sent no whole HELLO in time")                               \
	X(tcp_closed, "callers that went away before their HELLO")                            \
	X(tcp_evicted, "callers that made room for others, who had shown no key")             \
	X(tcp_busy, "callers refused because a session is on")

enum colo_session_counter {
#define X(name, help) COLO_SESSION_##name,
	COLO_SESSION_COUNTERS(X)
#undef X
	COLO_SESSION_N_COUNTERS,
};

/** Written by the control core only. */
struct colo_session_counters {
	uint64_t n[COLO_SESSION_N_COUNTERS];
};

extern const char *const colo_session_counter_name[COLO_SESSION_N_COUNTERS];
extern const char *const colo_session_counter_help[COLO_SESSION_N_COUNTERS];

struct colo_tls;

/** Allocated once at start. Later OpenSSL allocates for each connection that begins a handshake. */
struct colo_session;

/** Main lcore, at start. @return NULL with @p err if out of memory. */
struct colo_session *colo_session_new(struct colo_error *err);

/**
 * From now on nothing is believed that is not said by TLS. Before listen or connect; @p tls is the
 * caller's and outlives the session. Main lcore.
 */
void colo_session_use_tls(struct colo_session *s, struct colo_tls *tls);

/**
 * Secondary: bind and listen, once; afterwards sessions come one at a time, further callers get
 * a REFUSE that says so. Main lcore. @return 0 or -1 with @p err (port taken, bad address).
 */
int colo_session_listen(
	struct colo_session *s, const char *host, uint16_t port, struct colo_error *err);

/** The port listened on (after listen with port 0: the one the kernel chose); 0 if none. */
uint16_t colo_session_port(const struct colo_session *s);

/**
 * Primary: begin to connect; refused connections are tried again until @p timeout_ms is over,
 * then LOST is reported (a timeout below COLO_SESSION_RETRY_MS counts as that: one attempt).
 * Control core; does not block. @return 0 or -1 with @p err.
 */
int colo_session_connect(struct colo_session *s, const char *host, uint16_t port,
	uint32_t timeout_ms, struct colo_error *err);

/** Both: what happened since the last call. Control core. @p now_ms is monotonic. */
enum colo_session_event colo_session_poll(struct colo_session *s, uint64_t now_ms);

/*
 * Say one thing to the peer. Control core; none blocks.
 * @return 0, or -1 with reason set if it is not the time for it or a field is out of its limits.
 */
int colo_session_hello(struct colo_session *s, const struct colo_hello *hello);
int colo_session_accept(struct colo_session *s, const struct colo_accept *accept);
int colo_session_refuse(struct colo_session *s, const char *why);
int colo_session_start(struct colo_session *s, const uint16_t *channel_ports, unsigned int n);

/**
 * From START on: how long silence may last; held within COLO_PEER_TIMEOUT_MIN .. MAX. A control
 * core that itself did not poll for half of it grants the peer another half, once.
 */
void colo_session_set_timeout(struct colo_session *s, uint32_t timeout_ms);
/** Tell the peer (best effort, does not wait) and close. A listening session listens on. */
void colo_session_abort(struct colo_session *s, const char *why);
void colo_session_bye(struct colo_session *s);
/** Primary: as abort, but its guest is gone: the secondary may take over if it was told to. */
void colo_session_gone(struct colo_session *s, const char *why);
/** Close without a word. */
void colo_session_close(struct colo_session *s);

/** Has the peer given a sign of life within half of the limit? Control core, after the last poll.
 */
bool colo_session_lives(const struct colo_session *s);

const struct colo_hello *colo_session_peer_hello(const struct colo_session *s);
const struct colo_accept *colo_session_peer_accept(const struct colo_session *s);
/** Why the last REFUSED, ABORTED, GONE or LOST happened: one sentence. */
const char *colo_session_reason(const struct colo_session *s);

/**
 * Key material for this session's frames, the same at both ends and at no third: by TLS's exporter,
 * with the session's id as context. From HELLO (secondary) or ACCEPTED (primary) until the session
 * ends. Control core. @return 0, or -1: without TLS, too early or late, or @p n not 1 to 64.
 */
int colo_session_export(const struct colo_session *s, uint8_t *secret, size_t n);

/** Control core. */
const struct colo_session_counters *colo_session_counters(const struct colo_session *s);

/** Free and close everything. Main lcore, after the control core has stopped. */
void colo_session_free(struct colo_session *s);

#endif
