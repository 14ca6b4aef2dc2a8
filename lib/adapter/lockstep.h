/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * State of adapter `lockstep`, shared by its two files: lockstep_talk.c (what is said to the
 * hypervisor, docs/lockstep.md is the protocol) and lockstep.c (when, on a thread of its own).
 */
#ifndef COLO_ADAPTER_LOCKSTEP_H
#define COLO_ADAPTER_LOCKSTEP_H

#include <pthread.h>
#include <stdatomic.h>

#include "adapter.h"
#include "lockstep_config.h"
#include "lockstep_log.h"
#include "wait.h"

#define COLO_LOCKSTEP_VERSION  1u
#define COLO_LOCKSTEP_LINE_MAX 512u /**< bytes of a line that we take, with its newline */

/** What the thread carries out: the steps, and the takeover. */
#define COLO_LOCKSTEP_TAKE_OVER (COLO_ADAPTER_RESUME + 1)

struct lockstep {
	/* main lcore in start(); read-only afterwards */
	struct colo_adapter *adapter;
	struct colo_lockstep_config config;
	struct colo_lockstep_log log;
	char *file[COLO_MAX_BLOCKS]; /* absolute path of guest memory; [n_blocks] */
	unsigned int n_blocks;	     /* without the device state's */
	int listen_fd;
	bool listens; /* the socket's path is ours to remove */
	int wake_fd;  /* eventfd: there is something new in `wanted` */
	int quit_fd;  /* eventfd: ends every wait */
	pthread_t thread;
	bool thread_runs;

	/* the thread's */
	int fd; /* the hypervisor; -1: none */
	char in[COLO_LOCKSTEP_LINE_MAX];
	size_t n_in;
	bool greeted;		 /* it said hello */
	uint64_t hello_deadline; /* until when it has to */
	bool held;		 /* its guest was paused by us, and not let go since */
	bool took_over;
	uint32_t done; /* number of steps carried out */

	/* control core writes, thread reads: number << 8 | step */
	_Atomic uint64_t wanted;
	uint32_t epoch;	   /* published by wanted */
	uint64_t asked_us; /* monotonic; published by wanted */
	/* thread writes, control core reads */
	_Atomic uint64_t progress; /* number << 8 | enum colo_adapter_status */
	_Atomic uint32_t guest;	   /* enum colo_adapter_guest */
	struct colo_error failed;  /* published by progress */
	bool may_run;		   /* published by progress */
	uint64_t takeover_us;	   /* published by progress */
	_Atomic bool quit;	   /* main lcore writes, thread reads */
};

/** Say who we are, which blocks there are, where the dirty log is. @return OK, or why not. */
enum colo_outcome colo_lockstep_greet(struct lockstep *l, struct colo_error *err);

/**
 * Something came that was not asked for: the hypervisor's hello, its end, or nonsense. Does not
 * wait. @return OK, also when more of the hello is to come; GONE with @p err otherwise.
 */
enum colo_outcome colo_lockstep_listen(struct lockstep *l, struct colo_error *err);

/**
 * Ask for a step and wait for its answer, at most config.answer_ms.
 * @return OK; REFUSED: it could not, and says why in @p err; else the connection is of no use.
 */
enum colo_outcome colo_lockstep_carry_out(
	struct lockstep *l, unsigned int step, struct colo_error *err);

#endif
