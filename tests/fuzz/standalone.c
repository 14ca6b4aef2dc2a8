/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * main() of a fuzz target without libFuzzer: every file of the folders (or every file) named is an
 * input. Closing line: N passed, N failed; a failed one ends the program before that.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"

#define INPUT_MAX (1u << 20)

/* Targets that make nothing have none of their own. */
int __attribute__((weak)) LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return 0;
}

/* The input ends where memory ends: a read beyond it is seen without a sanitizer too. */
static void
run_bytes(const uint8_t *bytes, size_t n)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), room = (n + page) / page * page;
	uint8_t *map =
		mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	FUZZ_CHECK(map != MAP_FAILED && mprotect(map + room, page, PROT_NONE) == 0);
	memcpy(map + room - n, bytes, n);
	LLVMFuzzerTestOneInput(map + room - n, n);
	munmap(map, room + page);
}

static unsigned int
run_file(const char *path)
{
	static uint8_t bytes[INPUT_MAX];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, bytes, sizeof(bytes)) : -1;

	if (fd >= 0)
		close(fd);
	if (n < 0) {
		perror(path);
		exit(1);
	}
	fprintf(stderr, "%s\n", path); /* so that the one that ends us is known */
	run_bytes(bytes, (size_t)n);
	return 1;
}

static unsigned int
run_folder(const char *path)
{
	struct dirent **names;
	int n = scandir(path, &names, NULL, alphasort);
	unsigned int runs = 0;
	char file[4096];

	for (int i = 0; i < n; i++) {
		snprintf(file, sizeof(file), "%s/%s", path, names[i]->d_name);
		if (names[i]->d_name[0] != '.')
			runs += run_file(file);
		free(names[i]);
	}
	if (n >= 0)
		free(names);
	return runs;
}

int
main(int argc, char **argv)
{
	unsigned int runs = 1;
	struct stat st;

	LLVMFuzzerInitialize(&argc, &argv);
	run_bytes((const uint8_t *)"", 0);
	for (int i = 1; i < argc; i++)
		runs += stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode) ? run_folder(argv[i])
								       : run_file(argv[i]);
	printf("%u passed, 0 failed\n", runs);
	return 0;
}
