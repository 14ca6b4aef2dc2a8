/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * synthetic-memory ARGS FIRST LAST FILE..: after how many of its sets, from FIRST to LAST, does the
 * synthetic guest that ARGS describe hold what is in FILEs, one a block? Prints "whole SET"; or
 * "torn SET PAGES": so many pages are of the next set already, all others as of this one; or
 * "none".
 *
 * synthetic-memory ARGS follow FILE..: the same for each line "FIRST LAST" of standard input, at
 * once; FIRST never goes back, so that a long life is made once and not anew for each question.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bounds.h"
#include "synthetic_pages.h"

struct guest {
	struct colo_synthetic_config config;
	struct colo_synthetic_pages pages;
	uint64_t n_pages;
	uint32_t set;
	uint8_t *now, *next; /* [n_pages] after `set`, after the one that follows */
};

static int
fail(const char *what)
{
	fprintf(stderr, "synthetic-memory: %s\n", what);
	return 2;
}

/* Append a file's pages to what was read before. @return 0 or -1. */
static int
append_file(const char *path, uint8_t **bytes, uint64_t *length)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = -1;
	struct stat st;
	uint8_t *more;

	if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size % COLO_PAGE_SIZE == 0) {
		more = realloc(*bytes, *length + st.st_size);
		if (more != NULL) {
			*bytes = more;
			got = pread(fd, *bytes + *length, st.st_size, 0);
			*length += st.st_size;
		}
	}
	if (fd >= 0)
		close(fd);
	return got >= 0 && got == st.st_size ? 0 : -1;
}

static void
make_page(const struct guest *g, uint64_t page, uint32_t set, uint8_t *memory)
{
	if (!colo_synthetic_pages_make(&g->pages, page, set, memory + page * COLO_PAGE_SIZE))
		memset(memory + page * COLO_PAGE_SIZE, 0, COLO_PAGE_SIZE);
}

static void
dirty(const struct guest *g, uint32_t set, uint8_t *memory)
{
	struct colo_synthetic_walk walk;
	uint64_t page;

	colo_synthetic_walk_begin(&walk, &g->config, g->n_pages, set);
	while (colo_synthetic_walk_next(&walk, &page))
		make_page(g, page, set, memory);
}

static bool
same(const uint8_t *a, const uint8_t *b, uint64_t page)
{
	return memcmp(a + page * COLO_PAGE_SIZE, b + page * COLO_PAGE_SIZE, COLO_PAGE_SIZE) == 0;
}

/* @return how many pages are of the next set, all others of this one; -1: some are of neither. */
static int64_t
count_next(const struct guest *g, const uint8_t *seen)
{
	int64_t n = 0;

	for (uint64_t page = 0; page < g->n_pages; page++) {
		if (same(seen, g->now, page))
			continue;
		if (!same(seen, g->next, page))
			return -1;
		n++;
	}
	return n;
}

static void
begin(struct guest *g)
{
	for (uint64_t page = 0; page < g->n_pages; page++)
		make_page(g, page, 0, g->now);
	memcpy(g->next, g->now, g->n_pages * COLO_PAGE_SIZE);
	dirty(g, 1, g->next);
}

static void
step(struct guest *g)
{
	struct colo_synthetic_walk walk;
	uint64_t page;

	g->set++;
	colo_synthetic_walk_begin(&walk, &g->config, g->n_pages, g->set);
	while (colo_synthetic_walk_next(&walk, &page))
		memcpy(g->now + page * COLO_PAGE_SIZE, g->next + page * COLO_PAGE_SIZE,
			COLO_PAGE_SIZE);
	dirty(g, g->set + 1, g->next);
}

/* A whole set is an answer before any torn one. */
static void
search(struct guest *g, const uint8_t *seen, uint32_t first, uint32_t last)
{
	int64_t torn = 0, n;
	uint32_t torn_set = 0;

	while (g->set < first)
		step(g);
	for (;; step(g)) {
		n = count_next(g, seen);
		if (n == 0) {
			printf("whole %" PRIu32 "\n", g->set);
			return;
		}
		if (n > 0) {
			torn = n;
			torn_set = g->set;
		}
		if (g->set >= last)
			break;
	}
	if (torn > 0)
		printf("torn %" PRIu32 " %" PRId64 "\n", torn_set, torn);
	else
		puts("none");
}

/* @return the bytes of all files, NULL if one cannot be read. */
static uint8_t *
read_files(char **paths, int n, uint64_t *length)
{
	uint8_t *bytes = NULL;

	*length = 0;
	for (int i = 0; i < n; i++) {
		if (append_file(paths[i], &bytes, length) != 0) {
			free(bytes);
			return NULL;
		}
	}
	return bytes;
}

static int
answer(struct guest *g, char **paths, int n, uint32_t first, uint32_t last)
{
	uint64_t length;
	uint8_t *seen = read_files(paths, n, &length);

	if (seen == NULL || length != g->n_pages * COLO_PAGE_SIZE) {
		free(seen);
		return fail("a file cannot be read, or has another size than before");
	}
	search(g, seen, first, last);
	fflush(stdout);
	free(seen);
	return 0;
}

static int
follow(struct guest *g, char **paths, int n)
{
	unsigned long first, last;
	char line[64];
	int rc = 0;

	while (rc == 0 && fgets(line, sizeof(line), stdin) != NULL) {
		if (sscanf(line, "%lu %lu", &first, &last) != 2 || first < g->set)
			return fail("FIRST LAST are needed, and FIRST must not go back");
		rc = answer(g, paths, n, first, last);
	}
	return rc;
}

int
main(int argc, char **argv)
{
	struct guest g = {0};
	struct colo_error err;
	bool follows = argc > 3 && strcmp(argv[2], "follow") == 0;
	int first_file = follows ? 3 : 4, rc;
	uint64_t length;
	uint8_t *seen;
	bool there;

	if (argc <= first_file)
		return fail("ARGS FIRST LAST FILE.. or ARGS follow FILE.. are needed");
	seen = read_files(&argv[first_file], argc - first_file, &length);
	there = seen != NULL;
	free(seen);
	g.n_pages = length / COLO_PAGE_SIZE;
	g.now = malloc(length);
	g.next = malloc(length);
	if (colo_synthetic_config_parse(&g.config, argv[1], &err) != 0 ||
		colo_synthetic_pages_open(&g.pages, &g.config, &err) != 0)
		return fail(err.text);
	if (!there || g.now == NULL || g.next == NULL || g.config.dirty > g.n_pages)
		return fail("a file cannot be read, no memory, or fewer pages than ARGS dirty");
	begin(&g);
	if (follows)
		rc = follow(&g, &argv[first_file], argc - first_file);
	else
		rc = answer(&g, &argv[first_file], argc - first_file, strtoul(argv[2], NULL, 10),
			strtoul(argv[3], NULL, 10));
	colo_synthetic_pages_close(&g.pages);
	free(g.now);
	free(g.next);
	return rc;
}
