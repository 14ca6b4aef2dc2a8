/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The only program of the test guest, its /init: counts, rewrites pages of its own data, checks
 * them, and says so on the console, once a turn: "COUNTER n CHECKSUM ok" (or BAD).
 *
 * Kernel command line: colo.data=PAGES colo.dirty=PAGES (rewritten a turn) colo.hz=TURNS a second.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PAGE_SIZE  4096u
#define PAGE_WORDS (PAGE_SIZE / sizeof(uint64_t))

struct guest_data {
	uint64_t *words;    /* [n_pages * PAGE_WORDS] */
	uint64_t *page_sum; /* [n_pages] what each page must add up to */
	unsigned long n_pages;
	uint64_t seed;
};

static uint64_t
next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* The value of "name=" on the kernel command line, within 1..most; else the default. */
static unsigned long
option(const char *cmdline, const char *name, unsigned long other, unsigned long most)
{
	const char *at = strstr(cmdline, name);
	unsigned long value = at != NULL ? strtoul(at + strlen(name), NULL, 10) : other;

	return value >= 1 && value <= most ? value : other;
}

/* Depends on the order of the words, so that exchanged words are noticed as well. */
static uint64_t
page_checksum(const uint64_t *page)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < PAGE_WORDS; i++)
		sum = (sum << 1 | sum >> 63) + page[i];
	return sum;
}

/* Half of a page is random, half repeats one word: about as compressible as real memory. */
static void
rewrite_page(struct guest_data *d, unsigned long n)
{
	uint64_t *page = d->words + n * PAGE_WORDS;
	uint64_t word = next_random(&d->seed);

	for (unsigned int i = 0; i < PAGE_WORDS; i++)
		page[i] = i % 2 != 0 ? next_random(&d->seed) : word;
	d->page_sum[n] = page_checksum(page);
}

static int
data_is_right(const struct guest_data *d)
{
	for (unsigned long n = 0; n < d->n_pages; n++)
		if (page_checksum(d->words + n * PAGE_WORDS) != d->page_sum[n])
			return 0;
	return 1;
}

static int
data_init(struct guest_data *d, unsigned long n_pages)
{
	d->n_pages = n_pages;
	d->seed = 88172645463325252ull;
	d->words = mmap(NULL, n_pages * PAGE_SIZE, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	d->page_sum = calloc(n_pages, sizeof(*d->page_sum));
	if (d->words == MAP_FAILED || d->page_sum == NULL)
		return -1;
	for (unsigned long n = 0; n < n_pages; n++)
		rewrite_page(d, n);
	return 0;
}

static void
read_cmdline(char *text, size_t size)
{
	FILE *f;

	text[0] = '\0';
	mkdir("/proc", 0755);
	if (mount("proc", "/proc", "proc", 0, NULL) != 0)
		return;
	f = fopen("/proc/cmdline", "r");
	if (f == NULL)
		return;
	if (fgets(text, (int)size, f) == NULL)
		text[0] = '\0';
	fclose(f);
}

int
main(void)
{
	char cmdline[4096];
	struct guest_data data;
	struct timespec turn;
	unsigned long dirty, hz;

	read_cmdline(cmdline, sizeof(cmdline));
	dirty = option(cmdline, "colo.dirty=", 64, 1ul << 20);
	hz = option(cmdline, "colo.hz=", 20, 1000);
	if (data_init(&data, option(cmdline, "colo.data=", 1024, 1ul << 20)) != 0) {
		printf("GUEST has not enough memory for its data\n");
		pause();
	}
	turn.tv_sec = hz == 1;
	turn.tv_nsec = hz == 1 ? 0 : 1000000000l / (long)hz;
	for (unsigned long count = 1;; count++) {
		for (unsigned long i = 0; i < dirty; i++)
			rewrite_page(&data, next_random(&data.seed) % data.n_pages);
		printf("COUNTER %lu CHECKSUM %s\n", count, data_is_right(&data) ? "ok" : "BAD");
		fflush(stdout);
		nanosleep(&turn, NULL);
	}
}
