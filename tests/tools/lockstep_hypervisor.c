/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lockstep-hypervisor CONTROL ARGSFILE THREADS: plays a hypervisor whose guest runs at the
 * secondary (docs/lockstep.md), its threads writing memory as fast as they can. The primary is a
 * synthetic guest, as ARGSFILE's first line describes it, with one round of precopy: checkpoint N
 * is its set N-1. All of memory is compared: at each load with that set, at each pause and takeover
 * with what that set and our own writes have made of it. Prints a line for each, with its
 * mismatches.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bounds.h"
#include "lockstep_log.h"
#include "synthetic_pages.h"
#include "wait.h"

#define MAX_THREADS 16u
#define LINE_MAX_   8192u
#define PAGE_WORDS  (COLO_PAGE_SIZE / sizeof(uint64_t))
#define BURST	    64u /* pages that a thread writes between two looks at what it is told */

struct area { /* one block */
	uint8_t *memory;
	uint64_t length; /* of the mapping */
	_Atomic uint64_t *log;
	uint64_t first, n_pages; /* counted over all blocks */
};

struct tool {
	const char *control, *args_file;
	unsigned int n_threads;
	pthread_t thread[MAX_THREADS];
	/* the connection */
	int fd;
	FILE *in;
	/* memory */
	struct area area[COLO_MAX_BLOCKS];
	unsigned int n_areas;
	uint64_t n_pages;
	/* what memory should be */
	struct colo_synthetic_config config;
	struct colo_synthetic_pages pages;
	uint8_t *model; /* as of `set` */
	uint32_t set;
	bool has_model;
	uint64_t *stamp; /* [n_pages] what we wrote there since the last load, 0: nothing */
	/* the guest */
	_Atomic bool runs;	   /* may the threads write? */
	_Atomic unsigned int busy; /* threads that do */
	bool exists;
	_Atomic uint64_t written;
};

static void __attribute__((noreturn)) die(const char *what)
{
	printf("hypervisor: %s\n", what);
	exit(2);
}

/* ---- the guest ---- */

static struct area *
area_of(struct tool *t, uint64_t page)
{
	struct area *a = t->area;

	while (page >= a->first + a->n_pages)
		a++;
	return a;
}

static void
write_page(struct tool *t, uint64_t page, uint64_t stamp)
{
	struct area *a = area_of(t, page);
	uint64_t at = page - a->first;
	volatile uint64_t *word = (uint64_t *)(uintptr_t)(a->memory + at * COLO_PAGE_SIZE);

	/* the log comes first: a page that is being written is in it, whatever happens to us */
	atomic_fetch_or_explicit(&a->log[at / 64], 1ull << at % 64, memory_order_seq_cst);
	t->stamp[page] = stamp;
	for (unsigned int i = 0; i < PAGE_WORDS; i++)
		word[i] = stamp;
}

struct writer {
	struct tool *t;
	unsigned int id;
};

/* Each thread has pages of its own, so that what each holds is known; they lie everywhere. */
static void *
writer_thread(void *arg)
{
	struct writer *w = arg;
	struct tool *t = w->t;
	uint64_t random = 88172645463325252ull + w->id, stamp = 0;

	for (;;) {
		atomic_fetch_add(&t->busy, 1);
		for (unsigned int i = 0; i < BURST && atomic_load(&t->runs); i++) {
			random ^= random << 13;
			random ^= random >> 7;
			random ^= random << 17;
			stamp++;
			write_page(t, random % (t->n_pages / t->n_threads) * t->n_threads + w->id,
				0xa000000000000000ull | (uint64_t)w->id << 48 | stamp);
			atomic_fetch_add_explicit(&t->written, 1, memory_order_relaxed);
		}
		atomic_fetch_sub(&t->busy, 1);
		usleep(atomic_load(&t->runs) ? 50 : 200);
	}
	return NULL;
}

static void
stop_guest(struct tool *t)
{
	atomic_store(&t->runs, false);
	while (atomic_load(&t->busy) != 0)
		usleep(20);
}

/* ---- what memory should be ---- */

static uint8_t *
page_at(struct tool *t, uint64_t page)
{
	struct area *a = area_of(t, page);

	return a->memory + (page - a->first) * COLO_PAGE_SIZE;
}

static void
make_page(struct tool *t, uint64_t page, uint32_t set)
{
	uint8_t *at = t->model + page * COLO_PAGE_SIZE;

	if (!colo_synthetic_pages_make(&t->pages, page, set, at))
		memset(at, 0, COLO_PAGE_SIZE);
}

/* Another primary may have another seed: the file is read again. */
static void
begin_model(struct tool *t)
{
	struct colo_error err;
	char args[1024];
	FILE *f = fopen(t->args_file, "r");

	if (f == NULL || fgets(args, sizeof(args), f) == NULL)
		die("no ARGSFILE");
	fclose(f);
	args[strcspn(args, "\n")] = '\0';
	if (t->has_model)
		colo_synthetic_pages_close(&t->pages);
	if (colo_synthetic_config_parse(&t->config, args, &err) != 0 ||
		colo_synthetic_pages_open(&t->pages, &t->config, &err) != 0)
		die(err.text);
	t->set = 0;
	t->has_model = true;
	for (uint64_t page = 0; page < t->n_pages; page++)
		make_page(t, page, 0);
}

static void
advance_model(struct tool *t, uint32_t set)
{
	if (!t->has_model || set < t->set)
		begin_model(t);
	while (t->set < set) {
		struct colo_synthetic_walk walk;
		uint64_t page;

		t->set++;
		colo_synthetic_walk_begin(&walk, &t->config, t->n_pages, t->set);
		while (colo_synthetic_walk_next(&walk, &page))
			make_page(t, page, t->set);
	}
}

static bool
is_right(struct tool *t, uint64_t page)
{
	const uint64_t *word = (const uint64_t *)(uintptr_t)page_at(t, page);

	if (t->stamp[page] == 0)
		return memcmp(word, t->model + page * COLO_PAGE_SIZE, COLO_PAGE_SIZE) == 0;
	for (unsigned int i = 0; i < PAGE_WORDS; i++)
		if (word[i] != t->stamp[page])
			return false;
	return true;
}

static void
compare(struct tool *t, const char *when)
{
	uint64_t wrong = 0, ours = 0, logged = 0;

	for (uint64_t page = 0; page < t->n_pages; page++) {
		struct area *a = area_of(t, page);
		uint64_t at = page - a->first;

		ours += t->stamp[page] != 0;
		logged += atomic_load(&a->log[at / 64]) >> at % 64 & 1;
		if (!is_right(t, page) && wrong++ < 3)
			printf("hypervisor: page %" PRIu64 " is wrong, first word %016" PRIx64
			       ", written by the guest %d\n",
				page, *(const uint64_t *)(uintptr_t)page_at(t, page),
				t->stamp[page] != 0);
	}
	printf("hypervisor: %s set %" PRIu32 ": %" PRIu64 " pages, %" PRIu64
	       " written here, %" PRIu64 " in the log, %" PRIu64 " mismatches\n",
		when, t->set, t->n_pages, ours, logged, wrong);
}

/* ---- the protocol ---- */

static void
answer(struct tool *t, const char *line)
{
	if (colo_send_all(t->fd, line, strlen(line), COLO_NO_ABORT, colo_deadline(10000)) !=
		COLO_OUTCOME_OK)
		printf("hypervisor: cannot answer\n");
}

static void *
map_file(const char *path, uint64_t *length)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct stat st;
	void *at;

	if (fd < 0 || fstat(fd, &st) != 0)
		die(path);
	*length = (uint64_t)st.st_size;
	at = mmap(NULL, *length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		die(path);
	close(fd);
	return at;
}

/* "block size=N log-offset=N name=NAME file=PATH" */
static void
take_block(struct tool *t, const char *line, struct colo_lockstep_log_header *log, unsigned int i)
{
	struct area *a = &t->area[i];
	uint64_t size, offset;
	char name[COLO_BLOCK_NAME_MAX + 1];
	const char *path = strstr(line, " file=");

	if (sscanf(line, "block size=%" SCNu64 " log-offset=%" SCNu64 " name=%63s", &size, &offset,
		    name) != 3 ||
		path == NULL || strcmp(name, log->block[i].name) != 0 ||
		size != log->block[i].size || offset != log->block[i].offset)
		die("a block differs from the dirty log's");
	a->first = t->n_pages;
	a->n_pages = size / COLO_PAGE_SIZE;
	a->log = (_Atomic uint64_t *)(uintptr_t)((uint8_t *)log + offset);
	if (!t->exists) { /* a secondary that was started anew may have made them anew */
		if (a->memory != NULL)
			munmap(a->memory, a->length);
		a->memory = map_file(path + 6, &a->length);
	}
	t->n_pages += a->n_pages;
}

static void
start_threads(struct tool *t)
{
	if (t->stamp != NULL)
		return;
	t->stamp = calloc(t->n_pages, sizeof(*t->stamp));
	t->model = malloc(t->n_pages * COLO_PAGE_SIZE);
	if (t->stamp == NULL || t->model == NULL)
		die("no memory");
	for (unsigned int i = 0; i < t->n_threads; i++) {
		struct writer *w = malloc(sizeof(*w));

		*w = (struct writer){.t = t, .id = i};
		if (pthread_create(&t->thread[i], NULL, writer_thread, w) != 0)
			die("no thread");
	}
}

static bool
say_hello(struct tool *t)
{
	struct colo_lockstep_log_header *log;
	char line[LINE_MAX_];
	unsigned int version, n;
	uint64_t length;
	bool runs = atomic_load(&t->runs);
	char *path;

	if (fgets(line, sizeof(line), t->in) == NULL)
		return false;
	line[strcspn(line, "\n")] = '\0';
	path = strstr(line, " log=");
	if (sscanf(line, "hello version=%u blocks=%u", &version, &n) != 2 || version != 1 ||
		path == NULL || n == 0 || n >= COLO_MAX_BLOCKS)
		die(line);
	log = map_file(path + 5, &length);
	if (log->magic != COLO_LOCKSTEP_LOG_MAGIC || log->version != 1 || log->n_blocks != n ||
		log->length != length)
		die("no dirty log");
	t->n_pages = 0;
	t->n_areas = n;
	for (unsigned int i = 0; i < n; i++) {
		if (fgets(line, sizeof(line), t->in) == NULL)
			return false;
		line[strcspn(line, "\n")] = '\0';
		take_block(t, line, log, i);
	}
	start_threads(t);
	snprintf(line, sizeof(line), "hello version=1 guest=%s\n",
		!t->exists ? "waiting"
		: runs	   ? "running"
			   : "paused");
	answer(t, line);
	printf("hypervisor: connected, said %s", line);
	return true;
}

static void
on_pause(struct tool *t)
{
	bool ran = atomic_load(&t->runs);

	stop_guest(t);
	if (ran)
		compare(t, "paused after");
	answer(t, "paused\n");
}

static void
on_load(struct tool *t, const char *line)
{
	uint64_t length, word = 0;
	uint32_t epoch;
	uint8_t *bytes;

	if (sscanf(line, "load epoch=%" SCNu32 " length=%" SCNu64, &epoch, &length) != 2)
		die(line);
	bytes = calloc(1, length + sizeof(word));
	if (bytes == NULL || fread(bytes, 1, length, t->in) != length)
		die("no device state");
	memcpy(&word, bytes, sizeof(word));
	free(bytes);
	advance_model(t, epoch - 1);
	memset(t->stamp, 0, t->n_pages * sizeof(*t->stamp));
	compare(t, "loaded");
	if (word != t->set + 1) /* the synthetic guest's devices count checkpoints */
		printf("hypervisor: device state of set %" PRIu64 ", mismatches\n", word);
	t->exists = true;
	answer(t, "loaded\n");
}

static void
handle(struct tool *t, const char *line)
{
	if (strcmp(line, "pause") == 0) {
		on_pause(t);
	} else if (strncmp(line, "load ", 5) == 0) {
		on_load(t, line);
	} else if (strcmp(line, "resume") == 0 && t->exists) {
		atomic_store(&t->runs, true);
		answer(t, "resumed\n");
	} else if (strcmp(line, "takeover") == 0 && t->exists) {
		stop_guest(t);
		compare(t, "takes over from");
		atomic_store(&t->runs, true);
		answer(t, "taken-over\n");
		printf("hypervisor: the guest goes on alone\n");
	} else {
		die(line);
	}
}

static void
serve(struct tool *t)
{
	enum colo_outcome outcome;
	struct colo_error err;
	char line[LINE_MAX_];

	t->fd = colo_unix_connect(t->control, COLO_NO_ABORT, colo_deadline(1000), &outcome, &err);
	if (t->fd < 0) {
		usleep(50000);
		return;
	}
	(void)fcntl(t->fd, F_SETFL, 0); /* stdio blocks */
	t->in = fdopen(t->fd, "r");
	if (t->in == NULL)
		die("no stream");
	if (say_hello(t)) {
		while (fgets(line, sizeof(line), t->in) != NULL) {
			line[strcspn(line, "\n")] = '\0';
			handle(t, line);
		}
	}
	printf("hypervisor: connection lost, the guest %s\n",
		atomic_load(&t->runs) ? "runs on" : "stands still");
	fclose(t->in);
	usleep(50000);
}

int
main(int argc, char **argv)
{
	static struct tool t;

	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGPIPE, SIG_IGN);
	if (argc != 4)
		die("CONTROL ARGSFILE THREADS are needed");
	t.control = argv[1];
	t.args_file = argv[2];
	t.n_threads = (unsigned int)strtoul(argv[3], NULL, 10);
	if (t.n_threads == 0 || t.n_threads > MAX_THREADS)
		die("THREADS: 1 to 16");
	for (;;)
		serve(&t);
}
