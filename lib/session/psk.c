/* SPDX-License-Identifier: BSD-3-Clause */
/* The pre-shared key: the file's checks, and memory that nobody else gets to see. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "log.h"
#include "psk.h"

#define SECRET_SIZE   4096u /* a page of its own */
#define OTHERS_MODE   077
#define HOW_TO_MAKE   "(umask 077; openssl rand -hex 32 > FILE) makes one"
#define WHAT_IS_TAKEN "64 to 512 hexadecimal digits are accepted"

static_assert(COLO_PSK_FILE_MAX < SECRET_SIZE, "the file is read into the secret's page");

static int
digit_value(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static bool
is_white(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

int
colo_psk_parse(uint8_t *text, size_t length, const char *path, struct colo_error *err)
{
	size_t digits = 0;

	while (length > 0 && is_white(text[length - 1]))
		length--;
	while (digits < length && digit_value(text[digits]) >= 0)
		digits++;
	if (digits != length) /* the byte itself may be a secret's */
		return colo_error_set(err,
			"--psk-file %s: byte %zu is no hexadecimal digit; " WHAT_IS_TAKEN
			", white space only behind them; " HOW_TO_MAKE,
			path, digits + 1);
	if (digits < 2 * COLO_PSK_MIN || digits > 2 * COLO_PSK_MAX || digits % 2 != 0)
		return colo_error_set(err,
			"--psk-file %s: %zu digits; " WHAT_IS_TAKEN
			", two for each byte; " HOW_TO_MAKE,
			path, digits);
	for (size_t i = 0; i < digits / 2; i++)
		text[i] = (uint8_t)(digit_value(text[2 * i]) << 4 | digit_value(text[2 * i + 1]));
	OPENSSL_cleanse(text + digits / 2, digits / 2);
	return (int)(digits / 2);
}

/** Whose file it is, and who may read it. @return 0 or -1 with @p err. */
static int
check_file(int fd, const char *path, struct colo_error *err)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return colo_error_set(err, "--psk-file %s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return colo_error_set(
			err, "--psk-file %s: not a regular file; one with " WHAT_IS_TAKEN, path);
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return colo_error_set(err,
			"--psk-file %s: it belongs to user %u; root's or one's own is accepted",
			path, st.st_uid);
	if ((st.st_mode & OTHERS_MODE) != 0)
		return colo_error_set(err,
			"--psk-file %s: mode %04o lets others at the key; 0600 or 0400 is accepted",
			path, st.st_mode & 07777);
	if (st.st_size > COLO_PSK_FILE_MAX)
		return colo_error_set(err,
			"--psk-file %s: %lld bytes; " WHAT_IS_TAKEN ", in a file of at most %u",
			path, (long long)st.st_size, COLO_PSK_FILE_MAX);
	return 0;
}

/** @return a page that is not swapped, dumped or inherited; NULL: no memory. */
static uint8_t *
new_secret(void)
{
	void *page =
		mmap(NULL, SECRET_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return NULL;
	if (madvise(page, SECRET_SIZE, MADV_DONTDUMP) != 0 ||
		madvise(page, SECRET_SIZE, MADV_WIPEONFORK) != 0)
		COLO_LOG(WARNING, "the key may show in a core file: %s", strerror(errno));
	if (mlock(page, SECRET_SIZE) != 0)
		COLO_LOG(WARNING, "the key may be swapped out: %s", strerror(errno));
	return page;
}

/** @return bytes read, or -1. */
static ssize_t
read_whole(int fd, uint8_t *to, size_t size)
{
	size_t used = 0;
	ssize_t got;

	while (used < size) {
		got = read(fd, to + used, size - used);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		if (got == 0)
			break;
		used += (size_t)got;
	}
	return (ssize_t)used;
}

static int
read_key(struct colo_psk *psk, int fd, const char *path, struct colo_error *err)
{
	ssize_t got;
	int length;

	psk->key = new_secret();
	if (psk->key == NULL)
		return colo_error_set(err, "--psk-file %s: no memory for the key", path);
	got = read_whole(fd, psk->key, COLO_PSK_FILE_MAX);
	if (got < 0)
		return colo_error_set(err, "--psk-file %s: %s", path, strerror(errno));
	length = colo_psk_parse(psk->key, (size_t)got, path, err);
	if (length < 0)
		return -1;
	psk->length = (size_t)length;
	return 0;
}

int
colo_psk_read(struct colo_psk *psk, const char *path, struct colo_error *err)
{
	/* not blocking: a FIFO without a writer would keep us here */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int rc;

	memset(psk, 0, sizeof(*psk));
	if (fd < 0)
		return colo_error_set(
			err, "--psk-file %s: %s; " HOW_TO_MAKE, path, strerror(errno));
	rc = check_file(fd, path, err);
	if (rc == 0)
		rc = read_key(psk, fd, path, err);
	close(fd);
	if (rc != 0)
		colo_psk_wipe(psk);
	return rc;
}

void
colo_psk_wipe(struct colo_psk *psk)
{
	if (psk->key != NULL) {
		OPENSSL_cleanse(psk->key, SECRET_SIZE);
		munmap(psk->key, SECRET_SIZE);
	}
	memset(psk, 0, sizeof(*psk));
}
