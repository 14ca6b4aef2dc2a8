/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * Everything the command line says (after EAL's `--`), checked. Read-only after start, except for
 * interval and codec, which the prompt may set (they are copied to the control core by request).
 */
#ifndef COLO_APP_CONFIG_H
#define COLO_APP_CONFIG_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "block.h"
#include "colo_error.h"
#include "bounds.h"
#include "status.h"
#include "text.h"

enum colo_role {
	COLO_ROLE_NONE,
	COLO_ROLE_PRIMARY,
	COLO_ROLE_SECONDARY,
	COLO_ROLE_PAIR
};
enum colo_codec {
	COLO_CODEC_RAW,
	COLO_CODEC_ZSTD
};
enum colo_idle {
	COLO_IDLE_SPIN,
	COLO_IDLE_ADAPTIVE
};
enum colo_peer_loss {
	COLO_PEER_LOSS_WAIT,
	COLO_PEER_LOSS_FAILOVER
};
enum colo_privileges_choice {
	COLO_PRIVILEGES_DROP,
	COLO_PRIVILEGES_KEEP
};
enum colo_steering_choice {
	COLO_STEER_AUTO,
	COLO_STEER_RSS,
	COLO_STEER_FLOW,
	COLO_STEER_PAIRED
};

struct colo_endpoint {
	char host[64]; /**< numeric IPv4 or IPv6 (without brackets) */
	uint16_t port; /**< 0: not given */
};

struct colo_config {
	enum colo_role role;   /* --role */
	unsigned int channels; /* --channels 1..COLO_MAX_CHANNELS, default 1 */
	struct colo_block_spec block[COLO_MAX_BLOCKS - 1]; /* --block, repeatable */
	unsigned int n_blocks;
	struct colo_endpoint listen;	  /* --listen, secondary */
	struct colo_endpoint connect;	  /* --connect, primary */
	char source[1024];		  /* --source NAME,key=value,..; primary and pair */
	char journal[PATH_MAX];		  /* --journal FILE; secondary */
	bool recover;			  /* --recover: from what a killed secondary left */
	char standby[PATH_MAX];		  /* --standby unix:PATH[,incoming=PATH]; secondary */
	char adapter[2 * PATH_MAX];	  /* --adapter NAME,..; secondary */
	uint32_t interval_ms;		  /* --interval 0..3600000, default 500 */
	uint32_t epochs;		  /* --epochs checkpoints to take, 0 (default): no end */
	enum colo_codec codec;		  /* --codec raw|zstd[:LEVEL] */
	int zstd_level;			  /* -7..19, default -1 */
	uint32_t mtu;			  /* --mtu COLO_MTU_MIN..COLO_MTU_MAX, default 4200 */
	enum colo_idle idle;		  /* --idle, default adaptive */
	bool verify;			  /* --verify */
	char json[PATH_MAX];		  /* --json */
	bool interactive;		  /* -i, --interactive */
	bool auto_start;		  /* -a, --auto-start: with -i begin at once */
	char cmdline_file[PATH_MAX];	  /* --cmdline-file */
	enum colo_peer_loss on_peer_loss; /* --on-peer-loss wait|failover, default wait */
	uint32_t peer_timeout_ms;	  /* --peer-timeout 50..60000, default 1000 */
	uint32_t hold_ms;		  /* --hold 10..60000, default 1000: longest pause */
	enum colo_privileges_choice privileges; /* --privileges drop|keep, default drop */
	uint32_t rekey;				/* --rekey 1024..2^31 packets, default 2^31 */
	uint32_t reconnect_ms;			/* --reconnect 0..3600000, default 10000 */
	uint32_t connect_timeout_ms;		/* --connect-timeout 0..600000, default 10000 */
	uint32_t precopy_threshold;		/* --precopy-threshold PAGES, default 16384 */
	uint32_t precopy_rounds; /* --precopy-rounds 1..1000, default 30: at most so many */
	unsigned int port;	 /* --port ethdev port id, default 0 */
	char ip[64];		 /* --ip of the datapath, default: made from the MAC */
	uint16_t udp_port;	 /* --udp-port BASE, default 17990 */
	unsigned int window;	 /* --window 64..COLO_WINDOW_MAX slots, power of 2; 0: auto */
	unsigned int rxd, txd;	 /* --rxd, --txd descriptors a queue, default 1024 */
	enum colo_steering_choice steering; /* --steering auto|rss|flow|paired */
	bool zero_copy;		    /* --zero-copy on|off, default on (where the driver can) */
	uint64_t device_block_size; /* --device-state-size, default 4M */
	uint64_t extra_blocks;	    /* --extra-blocks, default 128M, with --journal 0; secondary */
	bool extra_blocks_given;
	uint64_t given;		 /**< options of the command line, bits by their row in the table */
	char psk_file[PATH_MAX]; /* --psk-file FILE: session by TLS */
	bool insecure;		 /* --insecure: no TLS, frames not sealed */
	char fault[256];	 /* --fault drop=P,burst=N,dup=P,reorder=P,flip=P,seed=N */
};

/** Fill in the defaults. */
void colo_config_defaults(struct colo_config *c);

/**
 * Parse and check argv (argv[0] is the program's name, as rte_eal_init() leaves it).
 * @return 0: go on; 1: --help or --version was printed, exit 0; -1 with @p err.
 */
int colo_config_parse(struct colo_config *c, int argc, char **argv, struct colo_error *err);

/** Print what is in force, one `name value` a line (start-up and `show config`). */
void colo_config_print(const struct colo_config *c, FILE *f);

/** Parse "raw", "zstd", "zstd:LEVEL". @return 0 or -1 with @p err. */
int colo_parse_codec(const char *text, enum colo_codec *codec, int *level, struct colo_error *err);

const char *colo_role_name(enum colo_role role);

#endif
