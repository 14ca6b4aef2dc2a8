/* SPDX-License-Identifier: BSD-3-Clause */
/* OpenSSL's allocator, led to OpenSSL's own secure heap. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "secret_heap.h"

#define SMALLEST 64u /* bytes of an allocation; a line of the cache */

/* OpenSSL's callbacks get no pointer of ours. Set once, by the main lcore, before other threads. */
static bool arena_is_up;

static void *
allocate(size_t size, const char *file, int line)
{
	/* the arena's own tables come first */
	return arena_is_up ? CRYPTO_secure_malloc(size, file, line) : malloc(size);
}

static void
release(void *memory, const char *file, int line)
{
	if (memory == NULL)
		return;
	if (arena_is_up && CRYPTO_secure_allocated(memory))
		CRYPTO_secure_free(memory, file, line); /* overwrites it */
	else
		free(memory);
}

static void *
reallocate(void *memory, size_t size, const char *file, int line)
{
	size_t had;
	void *moved;

	if (memory == NULL)
		return allocate(size, file, line);
	if (size == 0) {
		release(memory, file, line);
		return NULL;
	}
	if (!arena_is_up || !CRYPTO_secure_allocated(memory))
		return realloc(memory, size);
	had = CRYPTO_secure_actual_size(memory);
	if (size <= had)
		return memory;
	moved = allocate(size, file, line);
	if (moved == NULL)
		return NULL;
	memcpy(moved, memory, had);
	release(memory, file, line);
	return moved;
}

int
colo_secret_heap_start(struct colo_error *err)
{
	int rc;

	if (arena_is_up)
		return 0;
	if (CRYPTO_set_mem_functions(allocate, reallocate, release) != 1)
		return colo_error_set(err, "OpenSSL was in use already: keys may show in a core "
					   "file or be swapped out");
	rc = CRYPTO_secure_malloc_init(COLO_SECRET_HEAP_SIZE, SMALLEST);
	arena_is_up = rc != 0;
	if (rc == 1)
		return 0;
	return colo_error_set(err,
		"%u bytes cannot be locked for keys, which may be swapped out; "
		"CAP_IPC_LOCK or a larger `ulimit -l` is accepted",
		COLO_SECRET_HEAP_SIZE);
}
