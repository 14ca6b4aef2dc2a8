/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/guest/guest_memory.h once more, for the simulation: named memory outlives the process that
 * mapped it, a page that must not change cannot be written, and what lies behind the end of a block
 * is not there.
 */
#include <string.h>
#include <sys/mman.h>

#include "guest_memory.h"
#include "sim.h"

#define REGIONS	    64u
#define REGION_SIZE ((SIM_MAX_PAGES + 16) * (uint64_t)COLO_PAGE_SIZE)
#define FILES	    16u

struct region {
	uint8_t *addr; /* NULL: never mapped */
	uint64_t size; /* accessible bytes from addr on */
	bool used;
};

struct file {
	char path[64]; /* empty: none */
	uint8_t *addr;
	uint64_t size;
};

/* Kept from seed to seed: mapping costs more than a checkpoint. */
static struct region region[REGIONS];
static struct file file[FILES];

static struct region *
free_region(uint64_t size)
{
	struct region *fits = NULL;

	for (unsigned int i = 0; i < REGIONS; i++) {
		struct region *r = &region[i];

		if (r->used)
			continue;
		if (r->addr != NULL && r->size == size)
			return r;
		if (fits == NULL || (fits->addr != NULL && r->addr == NULL))
			fits = r;
	}
	return fits;
}

void *
sim_memory_alloc(uint64_t size)
{
	struct region *r = free_region(size);

	if (r == NULL || size > REGION_SIZE - COLO_PAGE_SIZE)
		sim_fail("the simulation has no memory of %llu bytes", (unsigned long long)size);
	if (r->addr == NULL) {
		r->addr = mmap(NULL, REGION_SIZE, PROT_NONE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (r->addr == MAP_FAILED) {
			r->addr = NULL;
			sim_fail("no memory for the simulation");
		}
	}
	if (r->size > size)
		mprotect(r->addr, r->size, PROT_NONE);
	mprotect(r->addr, size, PROT_READ | PROT_WRITE);
	memset(r->addr, 0, size);
	r->size = size;
	r->used = true;
	return r->addr;
}

void
sim_memory_release(void *addr)
{
	for (unsigned int i = 0; i < REGIONS; i++)
		if (region[i].addr == addr)
			region[i].used = false;
}

void
sim_memory_protect(const struct colo_memory *m, bool on)
{
	if (m->addr != NULL)
		mprotect(m->addr, m->size, on ? PROT_READ : PROT_READ | PROT_WRITE);
}

bool
sim_memory_is_ours(const void *addr)
{
	const uint8_t *a = addr;

	for (unsigned int i = 0; i < REGIONS; i++)
		if (region[i].addr != NULL && a >= region[i].addr &&
			a < region[i].addr + REGION_SIZE)
			return true;
	return false;
}

static struct file *
find_file(const char *path)
{
	for (unsigned int i = 0; i < FILES; i++)
		if (strcmp(file[i].path, path) == 0)
			return &file[i];
	return NULL;
}

bool
sim_file_exists(const char *path)
{
	return path[0] != '\0' && find_file(path) != NULL;
}

static void
remove_file(struct file *f)
{
	if (f->addr != NULL)
		sim_memory_release(f->addr);
	memset(f, 0, sizeof(*f));
}

void
sim_files_forget(void)
{
	for (unsigned int i = 0; i < FILES; i++)
		remove_file(&file[i]);
}

void
sim_memory_reset(void)
{
	sim_files_forget();
	for (unsigned int i = 0; i < REGIONS; i++)
		region[i].used = false;
}

int
colo_memory_map(struct colo_memory *m, const char *path, uint64_t size, int numa_node,
	struct colo_error *err)
{
	struct file *f;

	(void)numa_node;
	(void)err;
	sim_hook();
	memset(m, 0, sizeof(*m));
	m->fd = -1;
	m->size = size;
	m->page_size = COLO_PAGE_SIZE;
	if (path == NULL || path[0] == '\0') {
		m->addr = sim_memory_alloc(size);
		return 0;
	}
	f = find_file(path);
	if (f == NULL) {
		f = find_file("");
		SIM_CHECK(f != NULL, "the simulation has too many files");
		snprintf(f->path, sizeof(f->path), "%s", path);
		f->addr = sim_memory_alloc(size);
		f->size = size;
		m->created = true;
	}
	SIM_CHECK(f->size == size, "file %s has %llu bytes, mapped are %llu", path,
		(unsigned long long)f->size, (unsigned long long)size);
	snprintf(m->path, sizeof(m->path), "%s", path);
	m->addr = f->addr;
	sim_memory_protect(m, false);
	return 0;
}

int
colo_memory_discard(struct colo_memory *m, struct colo_error *err)
{
	(void)err;
	sim_hook();
	/* on purpose also what is protected: whether this was allowed is seen after the turn */
	sim_memory_protect(m, false);
	memset(m->addr, 0, m->size);
	if (sim.running == SIM_SECONDARY)
		sim.secondary.emptied = true;
	return 0;
}

void
colo_memory_free(struct colo_memory *m, bool keep_file)
{
	struct file *f = m->path[0] != '\0' ? find_file(m->path) : NULL;

	if (f == NULL && m->addr != NULL)
		sim_memory_release(m->addr);
	if (f != NULL && m->created && !keep_file)
		remove_file(f);
	memset(m, 0, sizeof(*m));
	m->fd = -1;
}

/* journal.c asks whether there is one. */
int __wrap_access(const char *path, int mode);
int
__wrap_access(const char *path, int mode)
{
	(void)mode;
	return sim_file_exists(path) ? 0 : -1;
}
