/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The only program of the test guest, its /init: counts, rewrites pages of its own data, checks
 * them, and says so on the console, once a turn: "COUNTER n CHECKSUM ok" (or BAD).
 *
 * Kernel command line: colo.data=PAGES colo.dirty=PAGES (rewritten a turn) colo.check=PAGES (added
 * up a turn; all, if not given) colo.hz=TURNS a second, by the guest's clock: it stands still while
 * the guest does, so that a long pause does not change the rate.
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
#define STRIDE	   7919ul /* pages; a prime */
#define SECOND	   1000000000l

struct guest_data {
	uint64_t *words;    /* [n_pages * PAGE_WORDS] */
	uint64_t *page_sum; /* [n_pages] what each page must add up to */
	unsigned long n_pages;
	unsigned long rewritten; /* page */
	unsigned long checked;	 /* page */
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

/*
 * The next pages: each as often as any other, none twice before all were, neighbours far apart.
 */
static void
rewrite_pages(struct guest_data *d, unsigned long n)
{
	while (n-- > 0) {
		d->rewritten = (d->rewritten + STRIDE) % d->n_pages;
		rewrite_page(d, d->rewritten);
	}
}

static int
data_is_right(struct guest_data *d, unsigned long n)
{
	int right = 1;

	while (n-- > 0) {
		d->checked = (d->checked + 1) % d->n_pages;
		if (page_checksum(d->words + d->checked * PAGE_WORDS) != d->page_sum[d->checked])
			right = 0;
	}
	return right;
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

/* Sleep until a turn after the last one; a guest that cannot keep up begins at once, and anew. */
static void
sleep_until_next(struct timespec *next, long turn_ns)
{
	struct timespec now;

	next->tv_nsec += turn_ns;
	next->tv_sec += next->tv_nsec / SECOND;
	next->tv_nsec %= SECOND;
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (now.tv_sec > next->tv_sec ||
		(now.tv_sec == next->tv_sec && now.tv_nsec > next->tv_nsec))
		*next = now;
	else
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, next, NULL);
}

int
main(void)
{
	char cmdline[4096];
	struct guest_data data = {0};
	struct timespec next;
	unsigned long dirty, check, n_pages;
	long turn_ns;

	read_cmdline(cmdline, sizeof(cmdline));
	n_pages = option(cmdline, "colo.data=", 1024, 1ul << 20);
	dirty = option(cmdline, "colo.dirty=", 64, 1ul << 20);
	check = option(cmdline, "colo.check=", n_pages, n_pages);
	turn_ns = SECOND / (long)option(cmdline, "colo.hz=", 20, 1000);
	if (data_init(&data, n_pages) != 0) {
		printf("GUEST has not enough memory for its data\n");
		pause();
	}
	clock_gettime(CLOCK_MONOTONIC, &next);
	for (unsigned long count = 1;; count++) {
		rewrite_pages(&data, dirty);
		printf("COUNTER %lu CHECKSUM %s\n", count,
			data_is_right(&data, check) ? "ok" : "BAD");
		fflush(stdout);
		sleep_until_next(&next, turn_ns);
	}
}
