/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * State of source `colo`, shared by its files:
 *
 *     colo_start.c       options, first contact, blocks; main lcore
 *     colo.c             the calls of the control core, and the thread's loop
 *     colo_request.c     what each request does, and when it is done
 *     colo_stream_run.c  main and multifd channels: read, parse, act on what came
 *     colo_flush.c       which multifd channels there are, and that all have come to a flush
 *     colo_stream_life.c greeted, answered, broken, closed
 *     colo_sink.c        where pages go
 *     colo_caller.c      accepted, told apart, watched, closed
 *     colo_pages.c       staging and the feed;  colo_listener.c  the socket
 *
 * A *stream* is one `migrate`: a main channel and its multifd channels, in these states:
 *
 *     NONE -> HEAD (main channel, to its list of blocks) -> LISTED -> CALLED (nothing is read)
 *     CALLED -> PRECOPY (a session is on) -> CHECKPOINTS;  an error there -> BROKEN -> NONE
 *
 * One thread, "colo-source", owns all sockets. It waits in one ppoll(2) only, but for the keeper.
 */
#ifndef COLO_SOURCE_COLO_SOURCE_H
#define COLO_SOURCE_COLO_SOURCE_H

#include <pthread.h>
#include <stdatomic.h>

#include "colo_listener.h"
#include "colo_pages.h"
#include "colo_stream.h"
#include "multifd.h"
#include "source.h"

/** A main channel, its multifd channels, and a few more that are not told apart yet. */
#define COLO_SOURCE_CALLERS	(COLO_MAX_CHANNELS + 1 + 8)
#define COLO_SOURCE_ROUND_PAGES 65536u /**< a round is over at the next good place */
#define COLO_SOURCE_FIRST_MS	5000u  /**< for a connection's first bytes, a stream's channels */
#define COLO_SOURCE_HEAD_MS	10000u /**< for a main channel's list of blocks */
#define COLO_SOURCE_SILENCE_US	5000u  /**< no byte for so long: the primary waits for us */
#define COLO_SOURCE_KEEPER_MS	2000u  /**< for what the keeper does with QMP */
#define COLO_SOURCE_LOOK_MS	300u   /**< for QEMU's answer, when its stream has broken */
#define COLO_SOURCE_PENURY_MS	10     /**< between calls that the host lacks descriptors for */
#define COLO_SOURCE_FULL_NS	100000 /**< a full ring is tried again so often */
#define COLO_SOURCE_GATHER_NS	30000 /**< amid an epoch's pages, before there is a look for more */
#define COLO_SOURCE_BURST	32u   /**< reads of a multifd channel before it is another's turn */
#define COLO_SOURCE_MAIN_BURST	256u  /**< items of a main channel before that */
#define COLO_SOURCE_AHEAD	131072u /**< bytes of a main channel that are read at once */

enum colo_caller_role {
	COLO_CALLER_FREE = 0,
	COLO_CALLER_NEW,     /**< its first bytes have not come yet */
	COLO_CALLER_MAIN,    /**< one at most */
	COLO_CALLER_CHANNEL, /**< multifd */
};

struct stream_source;

/** One accepted socket. */
struct colo_caller {
	enum colo_caller_role role;
	int fd;
	struct stream_source *owner;
	uint64_t since_us;
	uint8_t first[4]; /**< bytes, until it is told apart */
	unsigned int n_first;
	bool dry;   /**< all that came is parsed; poll(2) says when there is more */
	bool full;  /**< its next page waits for room in a ring */
	bool twice; /**< a page came that this epoch has: the stream is broken */
	enum colo_pages_refusal refused; /**< of the last page that could not be placed */
	struct colo_multifd *multifd;	 /**< CHANNEL: its parser */
	bool known;			 /**< CHANNEL: its id is entered */
	struct colo_page_sink sink;	 /**< whose owner is this connection */
};

enum colo_stream_state {
	COLO_STREAM_STATE_NONE,
	COLO_STREAM_STATE_HEAD,
	COLO_STREAM_STATE_LISTED,
	COLO_STREAM_STATE_CALLED,
	COLO_STREAM_STATE_PRECOPY,
	COLO_STREAM_STATE_CHECKPOINTS,
	COLO_STREAM_STATE_BROKEN,
};

struct stream_source {
	/* main lcore in start(); read-only afterwards */
	struct colo_source *source;
	struct colo_listener listener;
	char qmp[COLO_UNIX_PATH_MAX + 1]; /* empty: not given */
	uint8_t *device;		  /* [device_size] for the parser */
	size_t device_size;
	uint8_t *ahead; /* [COLO_SOURCE_AHEAD] of the main channel; the thread's */
	int wake_fd;	/* eventfd: there is something new in the atomics below */
	pthread_t thread;
	bool thread_runs;

	/* first contact: the thread writes `list`, publishes `listed`; start() makes the blocks */
	struct colo_stream_blocks list;
	_Atomic bool listed, blocks_made;

	/* the thread's */
	enum colo_stream_state state;
	struct colo_stream stream;
	struct colo_caller caller[COLO_SOURCE_CALLERS];
	struct colo_caller *main;   /* NULL: none */
	size_t ahead_at, ahead_end; /* bytes of ahead[] that the parser does not have yet */
	struct colo_multifd_ids ids;
	struct colo_pages pages; /* made by start() before `blocks_made` */
	uint64_t flushes;	 /* that are over */
	bool flush_waits;	 /* the main channel waits for SYNC on every channel */
	uint64_t flush_us;	 /* since when */
	uint64_t head_us;	 /* when the main channel was known */
	uint64_t silent_us;	 /* precopy seems whole since then, 0: it does not */
	bool round_over;	 /* this ROUND has all that it takes */
	bool precopy_over;
	uint64_t standing_tsc; /* precopy: the guest stands still since then, 0: it runs */
	bool asked;	       /* CHECKPOINTS: a request of the primary is not answered */
	bool replied;	       /* it is, and the guest stands still, or will */
	bool whole;	       /* the checkpoint is whole, and not answered */
	bool in_colo;	       /* the guest is, or was when the stream broke, in COLO state */
	bool plain;	       /* pages come on the main channel */
	bool watched;	       /* the keeper knows of the stream */
	bool came;	       /* bytes, since this thread last waited */
	bool unput;	       /* pages wait for room in a ring */
	struct colo_error why_broken;	/* BROKEN */
	bool gone;			/* BROKEN: its QEMU has gone, by the keeper's word */
	uint32_t done;			/* sequence of the last request taken */
	enum colo_source_request doing; /* 0: none */

	/* control core writes, thread reads: sequence << 8 | enum colo_source_request */
	_Atomic uint64_t wanted;
	uint64_t seen; /* control core's: `progress` at its last look */
	/* thread writes, control core reads: sequence << 8 | enum colo_source_status */
	_Atomic uint64_t progress;
	/*
	 * Published by progress, and left alone while that says FAILED: the control core may be
	 * reading it then. qemu_gone is the thread's own until then as well.
	 */
	struct colo_error failed;
	bool qemu_gone;		  /* the guest is gone with its QEMU */
	_Atomic bool called, due; /* thread writes, control core reads */
	_Atomic bool quit;	  /* main lcore writes, thread reads */
};

/* colo_start.c */

/** All that start() does but for the thread. @return 0, or -1 with @p err. */
int colo_stream_source_prepare(struct stream_source *q, const char *args, struct colo_error *err);
/** Wait for a QEMU, make its blocks. @return 0, or -1 with @p err. */
int colo_stream_source_meet(struct stream_source *q, struct colo_error *err);
void colo_stream_source_free(struct stream_source *q);

/* colo.c */

/** Publish how the request in hand ended: DONE. */
void colo_stream_publish(struct stream_source *q, enum colo_source_status status);
/** ... or that it failed, or that the stream broke; the first of these says why. */
void colo_stream_fail(struct stream_source *q, const char *why);

/* colo_request.c */

/** Take what the control core asks for, if that is new. */
void colo_request_take(struct stream_source *q);
/** Something has happened: what was asked for may be done. */
void colo_request_advance(struct stream_source *q);
/** The primary asks for a checkpoint. */
void colo_request_asked(struct stream_source *q);
/** End the stream: its guest runs on, unprotected. @return 0, or -1 with @p err: it may not. */
int colo_request_release(struct stream_source *q, struct colo_error *err);

/* colo_sink.c */

extern const struct colo_page_sink colo_stream_sink;

/* colo_stream_run.c */

/** May this connection be read and parsed now? */
bool colo_stream_may_run(const struct stream_source *q, const struct colo_caller *c);
/** Read and parse, a bounded burst. */
void colo_stream_run(struct stream_source *q, struct colo_caller *c);

/* colo_flush.c */

/** A multifd channel's id is known: does it belong to the stream? */
void colo_stream_enter(struct stream_source *q, struct colo_caller *c);
/** A flush is over once every channel has come to its SYNC. */
void colo_stream_check_flush(struct stream_source *q);

/* colo_stream_life.c */

/** The blocks are made: the caller may be told of. */
void colo_stream_greet(struct stream_source *q);
/** Send @p n bytes to the primary. @return false: the stream is broken. */
bool colo_stream_send(struct stream_source *q, const void *bytes, size_t n);
/** Close all of the stream; whether a session is on or not, nobody is told. */
void colo_stream_close(struct stream_source *q);
/** The stream cannot go on: close it, and tell the control core if a session is on. */
void colo_stream_break(struct stream_source *q, const struct colo_error *why);

/* colo_caller.c */

void colo_callers_accept(struct stream_source *q);
/** A connection's first bytes: main or multifd? */
void colo_caller_classify(struct stream_source *q, struct colo_caller *c);
void colo_caller_close(struct stream_source *q, struct colo_caller *c);
/** Close with a warning. */
void colo_caller_refuse(struct stream_source *q, struct colo_caller *c, const char *why);
/** Close the main and all multifd channels. */
void colo_callers_close_stream(struct stream_source *q);
/** Close those that have been waited for long enough. @return ms to the next one, -1: none. */
int colo_callers_expire(struct stream_source *q);
/** One read to where the parser wants it. @return bytes, 0: closed, -1: none now or an error. */
ssize_t colo_caller_read(
	struct stream_source *q, struct colo_caller *c, struct iovec *iov, unsigned int n);
/** Wait for what is next, and note what came. */
void colo_callers_wait(struct stream_source *q);

#endif
