/* SPDX-License-Identifier: BSD-3-Clause */
/* One word in a file says what a killed secondary's guest memory holds. */
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "journal.h"
#include "page.h"

#define FLUSHING 1u

/* FNV-1a, 64 bits (public domain): tells one list of blocks from another. */
static uint64_t
add_bytes(uint64_t digest, const void *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		digest = (digest ^ ((const uint8_t *)bytes)[i]) * 0x100000001b3ull;
	return digest;
}

static uint64_t
digest_blocks(const struct colo_blocks *blocks)
{
	uint64_t digest = 0xcbf29ce484222325ull;

	for (unsigned int i = 0; i < blocks->n; i++) {
		digest =
			add_bytes(digest, blocks->block[i].name, strlen(blocks->block[i].name) + 1);
		digest = add_bytes(digest, &blocks->block[i].size, sizeof(blocks->block[i].size));
	}
	return digest;
}

/* A file that had to be made holds nothing of what the journal speaks of. */
static int
check_all_there(const struct colo_blocks *blocks, struct colo_error *err)
{
	for (unsigned int i = 0; i < blocks->n; i++) {
		const struct colo_block *b = &blocks->block[i];
		const struct colo_memory *m = b->guest.created ? &b->guest : &b->cache;

		if (m->created)
			return colo_error_set(err,
				"--recover: %s of block %s is not there: nothing to recover",
				m->path, b->name);
	}
	return 0;
}

static uint32_t
page_crc(const struct colo_journal_page *p)
{
	return colo_crc32(p, offsetof(struct colo_journal_page, crc));
}

static int
check_page(const struct colo_journal *j, const char *path, const struct colo_blocks *blocks,
	struct colo_error *err)
{
	const struct colo_journal_page *p = j->page;

	if (p->magic != COLO_JOURNAL_MAGIC)
		return colo_error_set(err, "--recover: %s is not a journal of dpdk-colo", path);
	if (p->version != COLO_JOURNAL_VERSION)
		return colo_error_set(err, "--recover: journal %s has version %u; accepted is %u",
			path, p->version, COLO_JOURNAL_VERSION);
	if (p->crc != page_crc(p))
		return colo_error_set(err,
			"--recover: the header of journal %s is damaged (its CRC differs)", path);
	if (p->n_blocks != blocks->n || p->blocks_digest != digest_blocks(blocks))
		return colo_error_set(err,
			"--recover: journal %s is of other blocks; accepted are the names, sizes "
			"and "
			"order it was written with",
			path);
	return 0;
}

/*
 * The flush that was cut short, or the undoing of what was being received, all of it again: which
 * pages were left nobody knows any more.
 */
static void
make_equal(struct colo_blocks *blocks, bool flush)
{
	for (unsigned int i = 0; i < blocks->n; i++) {
		const struct colo_block *b = &blocks->block[i];

		for (uint32_t page = 0; page < b->n_pages; page++) {
			uint8_t *guest = colo_page_addr(&b->guest, page);
			uint8_t *cache = colo_page_addr(&b->cache, page);

			if (!colo_page.equal(guest, cache))
				colo_page.copy(flush ? guest : cache, flush ? cache : guest);
		}
	}
	colo_page_fence();
}

static void
write_page(struct colo_journal *j, const struct colo_blocks *blocks)
{
	struct colo_journal_page *p = j->page;

	atomic_store_explicit(&p->commit, 0, memory_order_relaxed);
	p->magic = COLO_JOURNAL_MAGIC;
	p->version = COLO_JOURNAL_VERSION;
	p->n_blocks = blocks->n;
	p->blocks_digest = digest_blocks(blocks);
	p->crc = page_crc(p);
	atomic_store_explicit(&p->instance, 0, memory_order_relaxed);
}

int
colo_journal_open(struct colo_journal *j, const char *path, struct colo_blocks *blocks,
	bool recover, struct colo_error *err)
{
	memset(j, 0, sizeof(*j));
	if (recover && access(path, R_OK | W_OK) != 0)
		return colo_error_set(
			err, "--recover: there is no journal at %s to recover from", path);
	if (colo_memory_map(&j->memory, path, COLO_JOURNAL_SIZE, -1, err) != 0)
		return -1;
	j->page = (struct colo_journal_page *)j->memory.addr;
	if (!recover && !j->memory.created && colo_journal_committed(j) != 0 &&
		j->page->magic == COLO_JOURNAL_MAGIC) {
		colo_error_set(err,
			"--journal %s says that a killed secondary left checkpoint %u in guest "
			"memory; "
			"--recover goes on from it, or remove that file first",
			path, colo_journal_committed(j));
		colo_journal_close(j, true);
		return -1;
	}
	if (!recover) {
		write_page(j, blocks);
	} else if (check_page(j, path, blocks, err) != 0 || check_all_there(blocks, err) != 0) {
		colo_journal_close(j, true);
		return -1;
	} else if (colo_journal_committed(j) != 0) {
		make_equal(blocks,
			atomic_load_explicit(&j->page->commit, memory_order_relaxed) & FLUSHING);
		colo_journal_flushed(j);
	}
	j->memory.created = true; /* an orderly end leaves nothing to recover */
	return 0;
}

uint32_t
colo_journal_committed(const struct colo_journal *j)
{
	if (j->page == NULL)
		return 0;
	return (uint32_t)(atomic_load_explicit(&j->page->commit, memory_order_relaxed) >> 1);
}

/*
 * Each is one store: a process killed between any two instructions leaves one state or the other.
 * Release: what it says of cache or guest memory is there before it is said.
 */
static void
say(struct colo_journal *j, uint64_t commit)
{
	if (j->page != NULL)
		atomic_store_explicit(&j->page->commit, commit, memory_order_release);
}

void
colo_journal_forget(struct colo_journal *j, uint64_t instance)
{
	say(j, 0);
	if (j->page != NULL)
		atomic_store_explicit(&j->page->instance, instance, memory_order_release);
}

uint64_t
colo_journal_instance(const struct colo_journal *j)
{
	if (j->page == NULL)
		return 0;
	return atomic_load_explicit(&j->page->instance, memory_order_relaxed);
}

void
colo_journal_commit(struct colo_journal *j, uint32_t epoch)
{
	say(j, (uint64_t)epoch << 1 | FLUSHING);
}

void
colo_journal_flushed(struct colo_journal *j)
{
	say(j, (uint64_t)colo_journal_committed(j) << 1);
}

void
colo_journal_close(struct colo_journal *j, bool keep)
{
	if (j->page != NULL)
		colo_memory_free(&j->memory, keep);
	j->page = NULL;
}
