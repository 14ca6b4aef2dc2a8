/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A journal that a secondary finds at its start. The input: u8 options, u16 bytes of the file if it
 * is not whole, the file's contents.
 *
 * Checked: one that is not believed changes no byte of guest memory and cache; one that is leaves
 * both alike, from the side that it names; a new one is believed at once.
 */
#include <sys/mman.h>
#include <unistd.h>

#include <rte_log.h>

#include "fuzz.h"
#include "journal.h"
#include "page.h"

enum option {
	OPTION_RECOVER = 0x01,
	OPTION_MEND = 0x02,	/* magic, version and blocks are right */
	OPTION_MEND_CRC = 0x04, /* so is the header's CRC */
	OPTION_SHORT = 0x08,
	OPTION_CREATED = 0x10, /* guest memory's file was not there */
};

#define PAGES  3u
#define GUEST  0x11
#define CACHE  0x22
#define CUT_AT offsetof(struct colo_journal_page, crc)

static struct {
	struct colo_blocks blocks;
	struct colo_journal_page good; /* a new one of these blocks */
	int fd;
	char path[32];
} t;

static void
write_file(const void *bytes, size_t n)
{
	FUZZ_CHECK(ftruncate(t.fd, 0) == 0);
	FUZZ_CHECK(pwrite(t.fd, bytes, n, 0) == (ssize_t)n);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const struct colo_block_spec spec = {
		.name = "pc.ram", .size = PAGES * COLO_PAGE_SIZE};
	struct colo_error err = {""};
	struct colo_journal j;

	(void)argc;
	(void)argv;
	rte_log_set_global_level(RTE_LOG_CRIT);
	colo_page_init(NULL);
	FUZZ_CHECK(colo_blocks_add_secondary(&t.blocks, &spec, 1, -1, &err) == 0);
	t.fd = memfd_create("journal", MFD_CLOEXEC);
	snprintf(t.path, sizeof(t.path), "/proc/self/fd/%d", t.fd);
	FUZZ_CHECK(ftruncate(t.fd, COLO_JOURNAL_SIZE) == 0);
	FUZZ_CHECK(colo_journal_open(&j, t.path, &t.blocks, false, &err) == 0);
	memcpy(&t.good, j.page, sizeof(t.good));
	colo_journal_close(&j, true);
	return 0;
}

static bool
holds(const struct colo_memory *m, uint8_t byte)
{
	for (uint64_t i = 0; i < PAGES * COLO_PAGE_SIZE; i++)
		if (m->addr[i] != byte)
			return false;
	return true;
}

static void
make_file(struct fuzz_input *in, uint8_t options, struct colo_journal_page *page)
{
	uint8_t bytes[COLO_JOURNAL_SIZE] = {0};
	size_t size =
		options & OPTION_SHORT ? fuzz_u16(in) % (COLO_JOURNAL_SIZE + 1) : COLO_JOURNAL_SIZE;
	size_t n = sizeof(bytes);
	const uint8_t *from = fuzz_bytes(in, &n);

	if (n > 0)
		memcpy(bytes, from, n);
	if (options & OPTION_MEND)
		memcpy(bytes, &t.good, CUT_AT);
	if (options & OPTION_MEND_CRC) {
		uint32_t crc = colo_crc32(bytes, CUT_AT);

		memcpy(bytes + CUT_AT, &crc, sizeof(crc));
	}
	memcpy(page, bytes, sizeof(*page));
	write_file(bytes, size);
}

static void
check_recovered(const struct colo_journal *j, const struct colo_journal_page *was)
{
	uint64_t commit = atomic_load(&was->commit);
	const struct colo_block *b = &t.blocks.block[0];
	uint8_t side = commit & 1 ? CACHE : GUEST;

	FUZZ_CHECK(memcmp(was, &t.good, CUT_AT) == 0 && was->crc == t.good.crc);
	FUZZ_CHECK(colo_journal_committed(j) == (uint32_t)(commit >> 1));
	if (colo_journal_committed(j) == 0)
		FUZZ_CHECK(holds(&b->guest, GUEST) && holds(&b->cache, CACHE));
	else
		FUZZ_CHECK(holds(&b->guest, side) && holds(&b->cache, side));
}

/* One that was made new is believed, and nothing is recovered from it. */
static void
check_new(void)
{
	struct colo_error err = {""};
	struct colo_journal j;

	FUZZ_CHECK(colo_journal_open(&j, t.path, &t.blocks, true, &err) == 0);
	FUZZ_CHECK(colo_journal_committed(&j) == 0 && colo_journal_instance(&j) == 0);
	colo_journal_close(&j, true);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	struct colo_block *b = &t.blocks.block[0];
	uint8_t options = fuzz_u8(&in);
	bool recover = options & OPTION_RECOVER;
	struct colo_journal_page was;
	struct colo_error err = {""};
	struct colo_journal j;

	memset(b->guest.addr, GUEST, b->size);
	memset(b->cache.addr, CACHE, b->size);
	make_file(&in, options, &was);
	b->guest.created = options & OPTION_CREATED;
	if (colo_journal_open(&j, t.path, &t.blocks, recover, &err) != 0) {
		fuzz_check_sentence(err.text, sizeof(err.text));
		FUZZ_CHECK(holds(&b->guest, GUEST) && holds(&b->cache, CACHE));
		FUZZ_CHECK(j.page == NULL);
	} else {
		FUZZ_CHECK(!(recover && (options & OPTION_CREATED)));
		if (recover)
			check_recovered(&j, &was);
		colo_journal_close(&j, true);
		b->guest.created = false;
		if (!recover)
			check_new();
	}
	b->guest.created = false;
	return 0;
}
