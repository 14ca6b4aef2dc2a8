/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * One multifd channel of a QEMU 11 COLO primary: an initial packet, then packets of up to 128
 * pages of one block each, until a SYNC packet; then it waits to be released.
 *
 *     initial  magic be32, version be32, uuid[16], id, zeros                   64 bytes
 *     packet   0 magic be32     4 version be32   8 flags be32     12 pages_alloc be32
 *              16 normal be32   20 next size be32   24 packet number be64   32 zero be32
 *              64 block name[256]   320 offsets be64[128]: normal pages, then zero ones
 *              then `next size` bytes: the normal pages, or what they are compressed to
 *
 * The reader drives it, as colo_stream.h shows: next, want, got. Pages that are not compressed are
 * read straight to their places, together with the next packet's header; compressed ones are
 * decoded there. No allocation after colo_multifd_init() but zstd's window (8 MiB at most).
 *
 * One thread at a time; the list of blocks is only read, and may be completed by another thread
 * while this one waits at a SYNC.
 */
#ifndef COLO_QEMU_MULTIFD_H
#define COLO_QEMU_MULTIFD_H

#include <sys/uio.h>

#include "page_decoder.h"
#include "page_sink.h"

#define COLO_MULTIFD_MAGIC	  0x11223344u
#define COLO_MULTIFD_INITIAL_SIZE 64u	 /**< bytes */
#define COLO_MULTIFD_HEADER_SIZE  1344u	 /**< bytes */
#define COLO_MULTIFD_PAGES	  128u	 /**< of a packet */
#define COLO_MULTIFD_UUID_SIZE	  16u	 /**< bytes */
#define COLO_MULTIFD_IN_SIZE	  65536u /**< compressed bytes that are read at once */
#define COLO_MULTIFD_COMPRESSED_MAX \
	(2u * COLO_PAGE_SIZE)			  /**< compressed bytes of a page, on average */
#define COLO_MULTIFD_IOV (COLO_MULTIFD_PAGES + 1) /**< a packet's pages and the next header */

/** What colo_multifd_next() has come to. */
enum colo_multifd_event {
	COLO_MULTIFD_FAILED = -1, /**< see err; it stays so */
	COLO_MULTIFD_MORE = 0,	  /**< everything that was read is parsed: read on */
	COLO_MULTIFD_INITIAL,	  /**< id and uuid are known: see colo_multifd_claim() */
	/** place() or zero() said "not now": end the epoch, then go on; told again until then */
	COLO_MULTIFD_HELD,
	/**
	 * All pages before this point are placed. Told again until colo_multifd_released(): when
	 * the main channel's flush has seen SYNC on every channel.
	 */
	COLO_MULTIFD_SYNC,
};

/** The state of one channel. Its fields are the parser's, but those said to be public. */
struct colo_multifd {
	uint8_t id;			      /**< public, with INITIAL */
	uint8_t uuid[COLO_MULTIFD_UUID_SIZE]; /**< public, with INITIAL */
	uint64_t packets, syncs;	      /**< public: how many have come, SYNC included */
	enum colo_compression compression;    /**< public, once packets of pages have come */

	const struct colo_stream_blocks *blocks; /**< main channel's parser's */
	const struct colo_page_sink *sink;	 /**< caller's */
	struct colo_page_decoder decoder;
	int state;			   /**< what is awaited */
	bool synced;			   /**< waits to be released */
	bool numbered, paged;		   /**< a packet has come; one of pages has */
	bool failed;			   /**< for ever, with the sentence in error */
	uint64_t number;		   /**< public: of the packet at hand */
	unsigned int block;		   /**< of the packet at hand */
	uint32_t n_normal, n_zero;	   /**< its pages */
	uint32_t n_to, n_zeroed, n_done;   /**< those with a place; told as zero; whole */
	size_t page_have;		   /**< bytes of the page at hand, where compressed */
	size_t left;			   /**< bytes of the packet that have not been read */
	size_t have;			   /**< bytes in head[] */
	size_t in_at, in_end;		   /**< compressed bytes in in[] that are not decoded */
	uint32_t page[COLO_MULTIFD_PAGES]; /**< numbers: normal ones, then zero ones */
	uint8_t *to[COLO_MULTIFD_PAGES];   /**< where the normal ones go */
	struct colo_error error;
	uint8_t head[COLO_MULTIFD_HEADER_SIZE]; /**< initial packet, or a header */
	uint8_t in[COLO_MULTIFD_IN_SIZE];
};

/** Which ids have come on a migration's channels. Zeros but n: none. One thread. */
struct colo_multifd_ids {
	unsigned int n;	     /**< channels that are expected, up to COLO_MAX_CHANNELS */
	unsigned int n_seen; /**< those that have come */
	uint32_t seen;	     /**< bit: id */
	uint8_t uuid[COLO_MULTIFD_UUID_SIZE]; /**< of the first one */
};

/** Is a connection that begins with these bytes a multifd channel? (Else it is a main channel.) */
bool colo_multifd_begins(const uint8_t first[4]);

/** Begin. @p blocks and @p sink outlive @p m. @return 0, or -1 with @p err. */
int colo_multifd_init(struct colo_multifd *m, const struct colo_stream_blocks *blocks,
	const struct colo_page_sink *sink, struct colo_error *err);

/** Free; safe to call again. */
void colo_multifd_fini(struct colo_multifd *m);

/** Parse what was read up to the next event. @return it; FAILED with @p err. */
enum colo_multifd_event colo_multifd_next(struct colo_multifd *m, struct colo_error *err);

/**
 * Where to read to, when the last event was MORE.
 * @return how many of @p iov are set; a read may fill any part of them, in order.
 */
unsigned int colo_multifd_want(struct colo_multifd *m, struct iovec iov[COLO_MULTIFD_IOV]);

/** @p n bytes were read to where colo_multifd_want() said. */
void colo_multifd_got(struct colo_multifd *m, size_t n);

/** The flush that a SYNC belongs to is over. */
void colo_multifd_released(struct colo_multifd *m);

/** The primary has closed the channel. @return 0 between packets, or -1 with @p err. */
int colo_multifd_closed(struct colo_multifd *m, struct colo_error *err);

/**
 * Enter a channel's id.
 * @return 0, or -1 with @p err: it is beyond their number, was seen, or another migration's.
 */
int colo_multifd_claim(
	struct colo_multifd_ids *ids, const struct colo_multifd *m, struct colo_error *err);

#endif
