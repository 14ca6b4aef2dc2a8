/* SPDX-License-Identifier: BSD-3-Clause */
/* psk.c: which files hold a key, and where the key is then. */
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "psk.h"
#include "ut.h"

#define DIGITS_MAX 1200u

static char path[64];

/* A file of @p length bytes of @p text, with a mode. */
static void
make_file(const char *text, size_t length, mode_t mode)
{
	int fd;

	unlink(path);
	fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);
	CU_ASSERT_EQUAL_FATAL(write(fd, text, length), (ssize_t)length);
	CU_ASSERT_EQUAL(fchmod(fd, mode), 0);
	close(fd);
}

/* @return whether it is taken; the sentence has to name the file, and @p says if it is not. */
static bool
takes(const char *says)
{
	struct colo_psk psk;
	struct colo_error err = {""};

	if (colo_psk_read(&psk, path, &err) == 0) {
		CU_ASSERT_STRING_EQUAL(err.text, "");
		CU_ASSERT(psk.length >= COLO_PSK_MIN && psk.length <= COLO_PSK_MAX);
		colo_psk_wipe(&psk);
		return true;
	}
	CU_ASSERT_PTR_NULL(psk.key);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "--psk-file"));
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, path));
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, says));
	if (strstr(err.text, says) == NULL)
		printf("\n%s\n", err.text);
	return false;
}

static bool
takes_digits(size_t n, const char *says)
{
	char text[DIGITS_MAX];

	memset(text, 'a', sizeof(text));
	make_file(text, n, 0600);
	return takes(says);
}

static void
lengths(void)
{
	CU_ASSERT_FALSE(takes_digits(0, "0 digits"));
	CU_ASSERT_FALSE(takes_digits(62, "62 digits; 64 to 512"));
	CU_ASSERT_FALSE(takes_digits(63, "63 digits"));
	CU_ASSERT_TRUE(takes_digits(64, ""));
	CU_ASSERT_FALSE(takes_digits(65, "two for each byte"));
	CU_ASSERT_TRUE(takes_digits(66, ""));
	CU_ASSERT_FALSE(takes_digits(511, "two for each byte"));
	CU_ASSERT_TRUE(takes_digits(512, ""));
	CU_ASSERT_FALSE(takes_digits(513, "513 digits"));
	CU_ASSERT_FALSE(takes_digits(514, "514 digits; 64 to 512"));
	CU_ASSERT_FALSE(takes_digits(1024, "1024 digits"));
	CU_ASSERT_FALSE(takes_digits(1025, "1025 bytes"));
}

static void
contents(void)
{
	uint8_t text[128];
	char digits[68];
	struct colo_error err;

	/* every value of a digit, in both cases */
	memcpy(text, "00112233445566778899aAbBcCdDeEfF00112233445566778899AabBCcDDeEFf", 64);
	CU_ASSERT_EQUAL(colo_psk_parse(text, 64, "f", &err), 32);
	for (unsigned int i = 0; i < 32; i++)
		CU_ASSERT_EQUAL(text[i], 0x11 * (i % 16));
	for (unsigned int i = 32; i < 64; i++) /* no digit stays behind */
		CU_ASSERT_EQUAL(text[i], 0);

	memset(digits, '1', sizeof(digits));
	memcpy(digits + 64, " \t\r\n", 4);
	make_file(digits, 68, 0600);
	CU_ASSERT_TRUE(takes(""));
	digits[0] = ' ';
	make_file(digits, 68, 0600);
	CU_ASSERT_FALSE(takes("byte 1 is no hexadecimal digit"));
	digits[0] = '1';
	/* next to the digits in ASCII, and what is no character */
	for (const char *wrong = "/:@G`g\n"; *wrong != '\0'; wrong++) {
		digits[40] = *wrong;
		make_file(digits, 64, 0600);
		CU_ASSERT_FALSE(takes("byte 41 is no hexadecimal digit"));
	}
	digits[40] = '\0';
	make_file(digits, 64, 0600);
	CU_ASSERT_FALSE(takes("byte 41"));
	digits[40] = (char)0xff;
	make_file(digits, 64, 0600);
	CU_ASSERT_FALSE(takes("byte 41"));
	make_file("0x", 2, 0600);
	CU_ASSERT_FALSE(takes("openssl rand -hex 32"));
}

static void
modes(void)
{
	char digits[64];

	memset(digits, '2', sizeof(digits));
	for (unsigned int bit = 0; bit < 9; bit++) {
		make_file(digits, sizeof(digits), 0400u | 1u << bit);
		CU_ASSERT_EQUAL(takes("0600 or 0400 is accepted"), bit >= 6);
	}
	make_file(digits, sizeof(digits), 0600);
	CU_ASSERT_TRUE(takes(""));
	if (geteuid() != 0) /* only root may give files away */
		return;
	CU_ASSERT_EQUAL(chown(path, 12345, 0), 0);
	CU_ASSERT_FALSE(takes("belongs to user 12345"));
}

static void
no_files(void)
{
	char own[sizeof(path)];

	strcpy(own, path);
	unlink(path);
	CU_ASSERT_FALSE(takes("No such file"));
	CU_ASSERT_EQUAL(mkfifo(path, 0600), 0);
	CU_ASSERT_FALSE(takes("not a regular file")); /* at once: there is no writer */
	unlink(path);
	CU_ASSERT_EQUAL(mkdir(path, 0700), 0);
	CU_ASSERT_FALSE(takes("not a regular file"));
	rmdir(path);
	strcpy(path, "/dev/zero");
	CU_ASSERT_FALSE(takes("not a regular file"));
	strcpy(path, own);
}

/* @return whether /proc/self/smaps shows @p flag for the page at @p address. */
static bool
page_has(const void *address, const char *flag)
{
	unsigned long from, to, wanted = (unsigned long)address;
	bool inside = false, found = false;
	char line[512];
	FILE *f = fopen("/proc/self/smaps", "r");

	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			inside = wanted >= from && wanted < to;
		if (inside && strncmp(line, "VmFlags:", 8) == 0)
			found = strstr(line, flag) != NULL;
	}
	if (f != NULL)
		fclose(f);
	return found;
}

static void
where_it_is(void)
{
	char digits[64];
	struct colo_psk psk;
	struct colo_error err;
	int status;
	pid_t child;

	memset(digits, '3', sizeof(digits));
	make_file(digits, sizeof(digits), 0400);
	CU_ASSERT_EQUAL_FATAL(colo_psk_read(&psk, path, &err), 0);
	CU_ASSERT_EQUAL(psk.length, 32);
	CU_ASSERT_EQUAL(psk.key[0], 0x33);
	CU_ASSERT_TRUE(page_has(psk.key, " dd")); /* not dumped */
#ifndef __SANITIZE_ADDRESS__			  /* it makes mlock() do nothing */
	CU_ASSERT_TRUE(page_has(psk.key, " lo")); /* not swapped */
#endif
	child = fork();
	if (child == 0)
		_exit(psk.key[0] != 0); /* not inherited */
	CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
	CU_ASSERT_EQUAL(status, 0);
	colo_psk_wipe(&psk);
	CU_ASSERT_PTR_NULL(psk.key);
	colo_psk_wipe(&psk);
}

int
main(void)
{
	static const struct ut_case cases[] = {
		{"lengths", lengths},
		{"contents", contents},
		{"modes and owners", modes},
		{"what is no file", no_files},
		{"not dumped, not swapped, not inherited", where_it_is},
	};
	int failed;

	snprintf(path, sizeof(path), "/tmp/colo_psk_ut.%d", getpid());
	failed = UT_RUN("psk", cases);
	unlink(path);
	return failed;
}
