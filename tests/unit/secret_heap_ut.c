/* SPDX-License-Identifier: BSD-3-Clause */
/* secret_heap.c: after handshakes and exports, where in this process the key is to be found. */
#include <fcntl.h>
#include <sys/socket.h>

#include <openssl/crypto.h>

#include "secret_heap.h"
#include "ut_session.h"

#define KEY_BYTES  32u
#define SCAN_STEP  (1u << 20)
#define REGION_MAX (1ul << 30) /* larger ones are a sanitizer's */

static uint8_t chunk[SCAN_STEP + KEY_BYTES];

/* The key's bytes without its bytes: not to find ourselves. */
static uint8_t
key_byte_hidden(unsigned int i)
{
	return (uint8_t)((0x11 * (i % 16)) ^ 0xa5);
}

static bool
is_key(const uint8_t *at)
{
	for (unsigned int i = 0; i < KEY_BYTES; i++)
		if ((at[i] ^ 0xa5) != key_byte_hidden(i))
			return false;
	return true;
}

/* What the search itself has copied. */
static bool
is_own(uint64_t address)
{
	return address + KEY_BYTES > (uint64_t)chunk && address < (uint64_t)(chunk + sizeof(chunk));
}

static unsigned int
find_in(int memory, uint64_t from, uint64_t to)
{
	unsigned int found = 0;

	for (uint64_t at = from; at < to; at += SCAN_STEP) {
		ssize_t n = pread(memory, chunk, sizeof(chunk), (off_t)at);

		for (ssize_t i = 0; i + KEY_BYTES <= n && i < SCAN_STEP; i++)
			found += !is_own(at + (uint64_t)i) && is_key(chunk + i);
		memset(chunk, 0, sizeof(chunk));
	}
	return found;
}

/* @return copies in memory that is dumped or swapped; @p kept: in the other. */
static unsigned int
find_copies(unsigned int *kept)
{
	FILE *maps = fopen("/proc/self/smaps", "r");
	int memory = open("/proc/self/mem", O_RDONLY);
	unsigned int found = 0, open_copies = 0;
	unsigned long from, to;
	char line[512], mode[8];

	*kept = 0;
	while (maps != NULL && fgets(line, sizeof(line), maps) != NULL) {
		if (sscanf(line, "%lx-%lx %7s", &from, &to, mode) == 3)
			found = mode[0] == 'r' && mode[1] == 'w' && to - from < REGION_MAX
					? find_in(memory, from, to)
					: 0;
		if (strncmp(line, "VmFlags:", 8) != 0 || found == 0)
			continue;
		if (strstr(line, " dd") != NULL && strstr(line, " lo") != NULL)
			*kept += found;
		else
			open_copies += found;
	}
	fclose(maps);
	close(memory);
	return open_copies;
}

static struct colo_tls_stream *client, *server;
static int fd[2];

static void
shake_hands(struct colo_tls *tls)
{
	bool worked;

	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	client = colo_tls_stream_new(tls, fd[0], false);
	server = colo_tls_stream_new(tls, fd[1], true);
	for (unsigned int i = 0; i < 4; i++) {
		colo_tls_handshake(client, &worked);
		colo_tls_handshake(server, &worked);
	}
	CU_ASSERT_TRUE_FATAL(colo_tls_is_up(client) && colo_tls_is_up(server));
}

static void
copies(void)
{
	struct colo_tls *tls = ut_make_tls(UT_KEY);
	unsigned int kept;
	uint8_t secret[32];

	CU_ASSERT_EQUAL(find_copies(&kept), 0);
	CU_ASSERT_NOT_EQUAL(kept, 0); /* the search finds what is there */
	shake_hands(tls);
	CU_ASSERT_EQUAL(colo_tls_export(client, NULL, 0, secret, sizeof(secret)), 0);
	CU_ASSERT_EQUAL(find_copies(&kept), 0);
	CU_ASSERT_NOT_EQUAL(kept, 0);
	colo_tls_stream_free(client);
	colo_tls_stream_free(server);
	colo_tls_free(tls);
	close(fd[0]);
	close(fd[1]);
	CU_ASSERT_EQUAL(find_copies(&kept), 0);
	CU_ASSERT_EQUAL(kept, 0); /* wiped */
}

static void
bounded(void)
{
	size_t used = CRYPTO_secure_used();
	void *m;

	CU_ASSERT(used > 0 && used < COLO_SECRET_HEAP_SIZE / 2);
	CU_ASSERT_PTR_NULL(OPENSSL_malloc(COLO_SECRET_HEAP_SIZE));
	m = OPENSSL_malloc(100);
	CU_ASSERT_PTR_NOT_NULL_FATAL(m);
	memset(m, 7, 100);
	m = OPENSSL_realloc(m, 100000);
	CU_ASSERT_PTR_NOT_NULL_FATAL(m);
	CU_ASSERT_EQUAL(((uint8_t *)m)[99], 7);
	CU_ASSERT_PTR_EQUAL(OPENSSL_realloc(m, 10), m);
	CU_ASSERT_PTR_NULL(OPENSSL_realloc(m, 0));
	OPENSSL_free(NULL);
	CU_ASSERT_EQUAL(CRYPTO_secure_used(), used);
}

int
main(void)
{
	static const struct ut_case cases[] = {
		{"where the key is", copies},
		{"the arena has an end", bounded},
	};
	struct colo_error err = {""};

	if (colo_secret_heap_start(&err) != 0) { /* a machine without CAP_IPC_LOCK */
		printf("skipped: %s\n", err.text);
		return 77;
	}
	return colo_secret_heap_start(&err) != 0 || UT_RUN("secret_heap", cases);
}
