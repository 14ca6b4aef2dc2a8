/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * The main channel of a QEMU 11 COLO primary, parsed as its secondary: precopy, then checkpoints.
 *
 *     "QEVM" be32 3   07 machine's name
 *     08 commands: open return path, ping, switchover start
 *     01 RAM, start: block list        footer
 *     02 RAM, parts: pages             footer     as often as it takes
 *     03 RAM, end: pages               footer
 *     04 device sections ... 00        06 their description (JSON)      PRECOPY; then silence
 *     checkpoints: be32 1              REQUEST; then silence
 *                  be32 3              guest stands still
 *                  03 RAM: pages       footer   00
 *                  be32 4 be64 n       n bytes: device sections ... 00  CHECKPOINT; then silence
 *
 * The reader drives it. No socket, no allocation, no copy of a page but of its first bytes:
 *
 *     switch (colo_stream_next(s, &err)) {
 *     case COLO_STREAM_MORE:
 *             n = readv(fd, iov, colo_stream_want(s, iov));
 *             colo_stream_got(s, n);       or colo_stream_closed(s, &err) if n is 0
 *
 * Device sections do not say how long they are: precopy ends where a description is complete and
 * the primary is silent, for it waits for an answer then. So a reader hands over what has arrived
 * and reads on before it answers; a description that a guest has planted inside a device is
 * followed by more bytes and passed over.
 *
 * One thread at a time.
 */
#ifndef COLO_QEMU_COLO_STREAM_H
#define COLO_QEMU_COLO_STREAM_H

#include <stddef.h>
#include <sys/uio.h>

#include "migration_stream.h"
#include "page_sink.h"

#define COLO_STREAM_AHEAD      512u	  /**< bytes read beyond a page, in one system call */
#define COLO_STREAM_ITEM_MAX   264u	  /**< bytes of the longest item but a page */
#define COLO_STREAM_JSON_MAX   (2u << 20) /**< bytes of the devices' description */
#define COLO_STREAM_CANDIDATES 8u	  /**< places where a description seems to begin */
#define COLO_STREAM_IOV	       2u

/** What colo_stream_next() has come to. */
enum colo_stream_event {
	COLO_STREAM_FAILED = -1, /**< see err; it stays so */
	COLO_STREAM_MORE = 0,	 /**< everything that was read is parsed: read on */
	COLO_STREAM_PING,	 /**< answer PONG with s->ping on the return path */
	/** A part of precopy's RAM is over: a good place to end an epoch. */
	COLO_STREAM_PART,
	/** No more precopy RAM; the device sections follow. */
	COLO_STREAM_RAM_END,
	/** The primary has stopped its guest for a checkpoint; its pages follow. */
	COLO_STREAM_STOPPED,
	COLO_STREAM_CHECKPOINT_RAM_END, /**< all its pages have come */

	/* it is told again until something was done about it: */

	/** place() or zero() said "not now": end the epoch, then go on */
	COLO_STREAM_HELD,

	/* and these until colo_stream_answered(): */

	/** Wait for SYNC on every multifd channel, then let them all go on. */
	COLO_STREAM_FLUSH,
	/** Precopy is whole, device state included: answer SHUT on the return path, then ready. */
	COLO_STREAM_PRECOPY,
	COLO_STREAM_REQUEST,	/**< answer reply when a checkpoint is welcome */
	COLO_STREAM_CHECKPOINT, /**< it is whole: answer received, then loaded, once it is committed
				 */
};

/** The state of one main channel. Its fields are the parser's, but those said to be public. */
struct colo_stream {
	struct colo_stream_blocks blocks;	 /**< public; also for the multifd parsers */
	char machine[COLO_MACHINE_NAME_MAX + 1]; /**< public, set before the first block */
	uint32_t ping;				 /**< public, with PING */
	uint64_t checkpoints;			 /**< public: how many were whole */
	/** public, with PRECOPY and CHECKPOINT: sections in the caller's buffer, 00 included */
	size_t device_length;

	const struct colo_page_sink *sink; /**< caller's */
	uint8_t *device;		   /**< caller's buffer */
	size_t device_size;		   /**< bytes of it */
	size_t device_looked;		   /**< bytes in which a description was looked for */

	int state;			/**< which item is awaited */
	enum colo_stream_event pending; /**< repeated until answered; MORE: none */
	size_t need, have;		/**< bytes of the item; those that are in item[] */
	uint8_t *direct;		/**< where bytes of a page or of devices go on, or NULL */
	size_t direct_left;		/**< bytes that still go there */
	uint64_t consumed;		/**< bytes of the stream that are parsed */
	uint64_t list_left;		/**< bytes of blocks that are not listed yet */
	uint64_t record;		/**< offset and flags of the page at hand */
	uint32_t ram_section;		/**< id that the primary gave to RAM */
	uint32_t command, expected;	/**< whose data is awaited; the next COLO message */
	int part;			/**< of RAM: start, part, end or a checkpoint's */
	int block;			/**< of the page at hand; -1: none was named yet */
	bool return_path, switched;	/**< these commands have come */
	bool listed, ram_done;		/**< blocks() was called; precopy's RAM is over */
	bool failed;			/**< for ever, with the sentence in error */
	size_t ahead_at, ahead_end;	/**< bytes of ahead[] that are not parsed yet */
	unsigned int n_candidates;
	size_t candidate_at[COLO_STREAM_CANDIDATES];  /**< of its 06, in device[] */
	size_t candidate_end[COLO_STREAM_CANDIDATES]; /**< behind its JSON */
	struct colo_error error;
	uint8_t item[COLO_STREAM_ITEM_MAX];
	uint8_t ahead[COLO_STREAM_AHEAD];
};

/**
 * Begin. @p device (@p size bytes) holds precopy's device sections together with their
 * description (100 kB for a small guest), later each checkpoint's; both outlive @p s, as does
 * @p sink.
 */
void colo_stream_init(
	struct colo_stream *s, const struct colo_page_sink *sink, uint8_t *device, size_t size);

/** Parse what was read up to the next event. @return it; FAILED with @p err. */
enum colo_stream_event colo_stream_next(struct colo_stream *s, struct colo_error *err);

/**
 * Where to read to, when the last event was MORE.
 * @return how many of @p iov are set; a read may fill any part of them, in order.
 */
unsigned int colo_stream_want(struct colo_stream *s, struct iovec iov[COLO_STREAM_IOV]);

/** @p n bytes were read to where colo_stream_want() said. */
void colo_stream_got(struct colo_stream *s, size_t n);

/** What the last event asked for was done; only for those that wait for it. */
void colo_stream_answered(struct colo_stream *s);

/**
 * The primary has closed the channel, with everything parsed (MORE), or while it waits.
 * @return 0 if that was between two checkpoints; else -1 with @p err saying what was cut off.
 */
int colo_stream_closed(struct colo_stream *s, struct colo_error *err);

#endif
