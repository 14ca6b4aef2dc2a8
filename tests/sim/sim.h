/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Both ends of a pair, their state machines and poll cores as they are, in one thread on a virtual
 * clock, with a network, a guest, an operator and mishaps made from one seed. What is real and what
 * is made up:
 *
 *     real      lib/{epoch,session,send,receive,channel,wire,page}, blocks, journal, steering
 *     made up   time (clock.c), the datapath's wire (wire.c) behind two net_ring ports, the system
 *               calls of TCP (tcp.c), mapped memory (memory.c), guest and source (guest.c,
 *               source.c), processes and cores (end.c, run.c), mishaps and operator (mishap.c)
 *     model     what every checkpoint must hold (model.c), and what must hold at every step
 *               (check.c)
 *
 * Everything belongs to the one thread. `now` is true time; each end has a clock of its own.
 */
#ifndef COLO_SIM_H
#define COLO_SIM_H

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "adapter.h"
#include "primary.h"
#include "secondary.h"
#include "source.h"

#define SIM_MAX_CHANNELS 4u
#define SIM_MAX_BLOCKS	 4u   /* the device state's is the last */
#define SIM_MAX_PAGES	 640u /* of all blocks */
#define SIM_NEVER	 UINT64_MAX
#define SIM_MS		 1000ull /* in microseconds */

enum sim_end_id {
	SIM_PRIMARY,
	SIM_SECONDARY,
	SIM_N_ENDS
};

enum sim_source_kind {
	SIM_TODO,   /* guest's own memory is sent; like `synthetic` */
	SIM_STAGED, /* a copy is sent, compared by poll cores; like `qmp` */
	SIM_FEED    /* a guest that streams; like `colo` */
};

/* Made from the seed before anything else; nothing of it changes afterwards. */
struct sim_config {
	uint64_t seed;
	unsigned int n_channels, n_blocks, window, rxd;
	uint32_t block_pages[SIM_MAX_BLOCKS];
	uint32_t mtu;
	uint8_t ip_version;
	unsigned int handover_ring, lane_ring;
	bool secure;   /* TLS and seals */
	bool lockstep; /* a guest runs at the secondary, too */
	bool zero_copy, zstd, verify, journal, has_adapter, failover_on_loss, mis_steer;
	int zstd_level;
	enum sim_source_kind source;
	uint32_t peer_timeout_ms[SIM_N_ENDS], hold_ms[SIM_N_ENDS];
	uint32_t interval_ms, connect_timeout_ms, reconnect_ms, precopy_rounds, precopy_threshold;
	uint64_t clock_offset_us[SIM_N_ENDS];
	int32_t clock_ppm[SIM_N_ENDS]; /* how much faster than true time */
	uint32_t idle_us;	       /* a core at rest looks that often */
	uint32_t tick_us;	       /* how often the guest writes */
	uint64_t chaos_us;
	unsigned int rounds; /* of chaos and calm */
	uint32_t mishap_every_us;
	uint32_t severity; /* 0..3 */
};

/* ---- random.c-like: one stream a seed ---- */

struct sim_random {
	uint64_t state;
};

uint64_t sim_random(void);
/* @return 0 .. n - 1 */
uint64_t sim_below(uint64_t n);
/* @return lo .. hi */
uint64_t sim_between(uint64_t lo, uint64_t hi);
/* True in @p ppm of a million. */
bool sim_chance(uint32_t ppm);

/* ---- the model: pages by value ---- */

/* A page's bytes follow from its value; 0 is a page of zeros. */
void sim_page_make(uint32_t value, uint8_t *page);

struct sim_image {
	uint32_t value[SIM_MAX_PAGES];
};

/* A checkpoint as the primary's guest was when it stood still. */
struct sim_checkpoint {
	uint32_t session, epoch; /* 0: none */
	struct sim_image image;
};

#define SIM_CHECKPOINTS 16u

struct sim_model {
	struct sim_checkpoint checkpoint[SIM_CHECKPOINTS]; /* by turns */
	unsigned int next;
	struct sim_checkpoint held;	 /* secondary's guest memory holds it; epoch 0: nothing */
	struct sim_checkpoint committed; /* ... and its flush is under way; epoch 0: none */
	uint32_t commit_session, commit_epoch; /* the secondary's last commit ever */
	bool maybe_none; /* killed while a new session gave up what was held, or taken over */
};

void sim_model_capture(uint32_t session, uint32_t epoch);
const struct sim_checkpoint *sim_model_find(uint32_t session, uint32_t epoch);
/* Fail unless all of guest memory (or cache) of the secondary is @p image. */
void sim_model_compare(const struct sim_image *image, bool cache, const char *when);
/* Fail unless cache and guest memory are the same. */
void sim_model_compare_copies(const char *when);

/* ---- the guest and its source ---- */

struct sim_guest {
	struct sim_image image;
	bool dirty[SIM_MAX_PAGES]; /* since it was last made known */
	uint8_t *bytes;		   /* SIM_STAGED, SIM_FEED: its own memory */
	bool running, gone;
	uint64_t write_us; /* next write */
	uint64_t paused_us;
	uint64_t pause_limit_us; /* it must run by then */
	uint64_t longest_pause_us;
	uint32_t last_value;
};

struct sim_source {
	enum colo_source_status status;
	enum colo_source_request request;
	unsigned int step;
	uint64_t at_us; /* of the next step */
	bool all_known; /* SIM_TODO: every page was made known once */
	bool called;	/* SIM_FEED */
	uint64_t due_us;
	unsigned int fed_rounds, wanted_rounds;
	uint32_t order[SIM_MAX_PAGES];
	unsigned int n_order, at_order;
	bool fail_next; /* the next request is not carried out */
};

extern const struct colo_source_ops sim_source_ops[3];
void sim_source_begin(struct colo_source *s); /* a new process */
void sim_source_step(void);
void sim_source_call(void);
void sim_source_break(bool gone);
void sim_guest_new(void);
void sim_guest_write(unsigned int n);
void sim_guest_tick(void);
void sim_guest_pause(void);
void sim_guest_resume(void); /* by whom ever */
/* Where page @p n, counted over all blocks, is. */
unsigned int sim_block_of(uint32_t n, uint32_t *page);
uint32_t sim_n_pages(void);

/* ---- a guest that runs at the secondary ---- */

struct sim_hypervisor {
	enum colo_adapter_guest guest, before; /* before: when it was last reachable */
	bool busy, fails;
	unsigned int asked; /* enum colo_adapter_step; 0: takeover */
	uint64_t at_us;	    /* when the step is done */
	uint64_t write_us;
	uint64_t back_us;      /* when it can be reached again */
	uint32_t loads, epoch; /* checkpoint of the load under way; it went on from */
	bool knows;	       /* `image` is what guest memory holds */
	struct sim_image image;
};

/* ---- ends: processes with cores ---- */

enum sim_core_kind {
	SIM_CONTROL,
	SIM_POLL
};

struct sim_core {
	enum sim_end_id end;
	enum sim_core_kind kind;
	unsigned int channel;
	bool on;
	uint64_t next_us;
	uint64_t stalled_us; /* until then it does not run */
	unsigned int idle;   /* turns without work */
	uint32_t turn_us;    /* what a turn costs */
};

#define SIM_CORES (SIM_N_ENDS * (1 + SIM_MAX_CHANNELS))

struct sim_end {
	bool up;	     /* there is a process */
	uint64_t restart_us; /* when the next one begins, SIM_NEVER: when asked for */
	unsigned int lives;
	bool ended; /* its state machine is CLOSED */
	struct colo_port port;
	struct colo_address address;
	struct colo_blocks blocks;
	struct colo_job job;
	struct colo_steering steering;
	struct colo_session *session;
	struct colo_notify notify;
	struct colo_counters counters; /* jobs' */
	uint64_t frames_in;	       /* delivered to the rings of this life */
	uint64_t heard_us;	       /* when TCP last brought something of the peer */
};

struct sim_primary {
	struct colo_primary p;
	struct colo_send_end send;
	struct colo_source source;
	enum colo_primary_state seen;
	uint32_t seen_committed, seen_session;
};

struct sim_secondary {
	struct colo_secondary s;
	struct colo_receive_end receive;
	struct colo_journal journal;
	struct colo_adapter adapter;
	enum colo_secondary_state seen;
	bool emptied;	  /* its memory was discarded in this turn */
	bool cache_stale; /* recovered: what an epoch that was cut short left is still there */
	bool guest_locked, cache_locked; /* what they hold cannot be written */
	uint64_t waits_us;		 /* since when it waits for its primary, in `waits_in` */
	enum colo_secondary_state waits_in;
	uint64_t takeover_us;
	bool takeover_fails, takeover_may_run;
};

void sim_ports_make(void); /* once a program */
void sim_end_start(enum sim_end_id end);
/* In order: everything is freed, and nothing must be missing. */
void sim_end_stop(enum sim_end_id end);
/* SIGKILL, or (silent) the host's power. */
void sim_end_kill(enum sim_end_id end, bool silent);
/* After a failed seed: whatever state it is in. */
void sim_end_clean(enum sim_end_id end);

/* ---- kills in the middle ---- */

struct sim_kill {
	bool armed, silent;
	bool inside; /* `at` is valid: a turn of that end is on */
	enum sim_end_id end;
	uint32_t countdown; /* hooks that are still passed */
	sigjmp_buf at;
};

/* Something that goes wrong just when an end comes into a state. */
enum sim_ambush_kind {
	SIM_AMBUSH_NONE,
	SIM_AMBUSH_KILL,
	SIM_AMBUSH_STALL, /* its poll cores */
	SIM_AMBUSH_BREAK, /* its poll cores stall and TCP is reset */
	SIM_AMBUSH_CUT,	  /* the whole network */
	SIM_AMBUSH_KINDS
};

struct sim_ambush {
	enum sim_ambush_kind kind;
	enum sim_end_id end;
	int state;
};

void sim_ambush(enum sim_end_id end, int state);

/* Places where an end may die: called wherever its code calls something that is made up. */
void sim_hook(void);

/* ---- memory ---- */

void *sim_memory_alloc(uint64_t size);
void sim_memory_release(void *addr);
/* Writes to it end the seed, or are allowed again. */
void sim_memory_protect(const struct colo_memory *m, bool on);
bool sim_memory_is_ours(const void *addr);
bool sim_file_exists(const char *path);
void sim_files_forget(void); /* all of them */
void sim_memory_reset(void); /* a seed begins: nothing is mapped */

/* ---- TCP ---- */

void sim_tcp_reset(void); /* a seed begins */
void sim_tcp_process_gone(enum sim_end_id end, bool silent);
void sim_tcp_break(void);			 /* RST both ways */
void sim_tcp_cut(enum sim_end_id from, bool on); /* that direction */
void sim_tcp_rogue(void);			 /* a caller that is no primary */
void sim_tcp_rogue_step(void);
bool sim_tcp_is_socket(int fd);

/* ---- the datapath's wire ---- */

struct sim_line {
	uint32_t loss, burst_in, burst_out, duplicate, flip, late, poison; /* ppm */
	uint32_t delay_us, jitter_us, late_us;
	bool in_burst;
	bool cut;
	uint64_t held_until_us;	 /* frames wait, and come in one go */
	uint64_t driver_busy_us; /* the sender's driver takes nothing until then */
};

void sim_wire_reset(void);
void sim_wire_collect(enum sim_end_id from); /* what the driver was given */
uint64_t sim_wire_next_us(void);
void sim_wire_step(void);
void sim_wire_replay(unsigned int n); /* old frames once more */
void sim_wire_forge(enum sim_end_id to, unsigned int n);
/* Right in everything, CRC included, but in one thing. */
void sim_forge_page(unsigned int n);
void sim_forge_feedback(unsigned int n);
void sim_forge_control(unsigned int n);
void sim_wire_send(enum sim_end_id from, unsigned int queue, const uint8_t *bytes, uint32_t length);
void sim_wire_calm(uint32_t loss);
void sim_wire_weather(unsigned int severity); /* new loss, delay, ... of both lines */

/* ---- mishaps and the operator ---- */

void sim_mishap(void);
void sim_killed(enum sim_end_id end, bool silent);
void sim_timers_reset(void);
void sim_mishaps_over(void);
void sim_operator_repair(void);
void sim_timers(void); /* what was begun for a time and is over */
uint64_t sim_timers_next_us(void);

/* X(name, what) */
#define SIM_COUNTS(X)                                                 \
	X(commits, "epochs committed")                                \
	X(rounds, "precopy rounds")                                   \
	X(sessions, "sessions")                                       \
	X(resumed, "... that resumed without a full copy")            \
	X(secured, "... by TLS, with sealed frames")                  \
	X(undone, "epochs given up by the secondary")                 \
	X(left, "sessions left by the primary, not in order")         \
	X(takeovers, "takeovers")                                     \
	X(recovered, "secondaries recovered")                         \
	X(recovered_flush, "... in the middle of a flush")            \
	X(starts, "processes started")                                \
	X(kills_primary, "primaries killed")                          \
	X(kills_secondary, "secondaries killed")                      \
	X(kills_inside, "... in the middle of a turn")                \
	X(kills_flush, "... in the middle of a flush")                \
	X(frames, "frames")                                           \
	X(lost, "frames lost")                                        \
	X(duplicated, "frames duplicated")                            \
	X(flipped, "frames with flipped bits")                        \
	X(poisoned, "frames with other contents and a CRC that fits") \
	X(late, "frames held back")                                   \
	X(overflowed, "frames that found a full ring")                \
	X(replayed, "old frames sent again")                          \
	X(forged, "frames forged")                                    \
	X(forged_well, "frames forged with a CRC that fits")          \
	X(cuts, "wires cut")                                          \
	X(tcp_cuts, "sessions' wires cut")                            \
	X(tcp_resets, "connections reset")                            \
	X(rogues, "callers that are no primary")                      \
	X(ambushes, "mishaps in a chosen state")                      \
	X(stalls, "cores stalled")                                    \
	X(freezes, "processes stopped for a time")                    \
	X(driver_stalls, "drivers that take nothing")                 \
	X(droughts, "mbuf pools emptied")                             \
	X(hypervisors, "hypervisors lost, or that fail a step")       \
	X(operator, "requests of the operator")                       \
	X(source_failures, "sources failed")                          \
	X(turns, "turns of cores")

enum sim_count {
#define X(name, what) SIM_##name,
	SIM_COUNTS(X)
#undef X
	SIM_N_COUNTS
};

/* ---- all of it ---- */

struct sim {
	struct sim_config config;
	struct sim_random random;
	uint64_t now;
	enum sim_end_id running; /* whose code runs; its clock is read */
	struct sim_kill kill;
	struct sim_ambush ambush;
	struct sim_model model;
	struct sim_guest guest;
	struct sim_source source;
	struct sim_end end[SIM_N_ENDS];
	struct sim_primary primary;
	struct sim_secondary secondary;
	struct sim_hypervisor hypervisor;
	struct sim_core core[SIM_CORES];
	struct sim_line line[SIM_N_ENDS]; /* [from] */
	bool calm, lossy_calm;
	bool poisoned;	   /* an epoch of this session may have what only its digest tells */
	bool calm_session; /* it began while everything worked */
	uint64_t count[SIM_N_COUNTS];
	uint64_t digest; /* of everything that happened: the same for the same seed */
	/* of the program */
	bool trace;
	bool in_seed;
	sigjmp_buf failed;
	char failure[1024];
	uint64_t longest_calm_us, longest_transfer_us;
};

extern struct sim sim;

#define SIM_COUNT(name) (sim.count[SIM_##name]++)

/* What an end's clock shows. */
uint64_t sim_clock_us(enum sim_end_id end);

/* The seed failed: never returns. */
void __attribute__((format(printf, 1, 2), noreturn)) sim_fail(const char *format, ...);

#define SIM_CHECK(condition, ...)              \
	do {                                   \
		if (!(condition))              \
			sim_fail(__VA_ARGS__); \
	} while (0)

/* A line of the trace. */
void __attribute__((format(printf, 1, 2))) sim_trace(const char *format, ...);

/* Everything that happened goes into the digest. */
void sim_note(uint64_t what);

void sim_config_choose(uint64_t seed);
void sim_config_print(FILE *to);

/* Let the end's cores look soon. */
void sim_wake(enum sim_end_id end);
void sim_cores_set(enum sim_end_id end);
void sim_stall(struct sim_core *core, uint64_t us);

void sim_check_primary(void);
void sim_check_secondary(void);
void sim_check_always(void);
void sim_check_silence(enum sim_end_id end); /* after a turn of its control core */
void sim_check_pools(enum sim_end_id end);
void sim_check_counters(enum sim_end_id end);
void sim_secondary_flushed(const struct colo_epoch_report *report);
/* A secondary begins, maybe with what the one before left. */
void sim_check_recovered(uint32_t committed);
void sim_check_killed(void);

/* @return true if the seed held; else sim.failure says why. */
bool sim_seed(uint64_t seed);

#endif
