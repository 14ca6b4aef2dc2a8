/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What every fuzz target needs: an input that is taken apart from its front, and checks that end
 * the program, so that libFuzzer keeps the input.
 *
 * A target defines LLVMFuzzerTestOneInput() and, where something is made once,
 * LLVMFuzzerInitialize(). It drives the project's own functions, leaves nothing behind from one
 * input to the next, and depends on nothing but the input: no clock, no seed, no file.
 */
#ifndef COLO_FUZZ_H
#define COLO_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* In builds with NDEBUG too. */
#define FUZZ_CHECK(condition)                                                             \
	do {                                                                              \
		if (!(condition)) {                                                       \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, \
				#condition);                                              \
			abort();                                                          \
		}                                                                         \
	} while (0)

/* What is left of an input. Beyond its end everything reads as 0. */
struct fuzz_input {
	const uint8_t *at;
	size_t left;
};

/* The next @p n bytes, or as many as are left: @p n is set to that. */
static inline const uint8_t *
fuzz_bytes(struct fuzz_input *in, size_t *n)
{
	const uint8_t *at = in->at;

	if (*n > in->left)
		*n = in->left;
	in->at += *n;
	in->left -= *n;
	return at;
}

/* A number of @p bytes bytes, little endian. */
static inline uint64_t
fuzz_number(struct fuzz_input *in, unsigned int bytes)
{
	size_t n = bytes;
	const uint8_t *at = fuzz_bytes(in, &n);
	uint64_t value = 0;

	for (size_t i = 0; i < n; i++)
		value |= (uint64_t)at[i] << (8 * i);
	return value;
}

static inline uint8_t
fuzz_u8(struct fuzz_input *in)
{
	return (uint8_t)fuzz_number(in, 1);
}

static inline uint16_t
fuzz_u16(struct fuzz_input *in)
{
	return (uint16_t)fuzz_number(in, 2);
}

/* A copy of exactly @p n bytes, so that a checker of memory sees a read beyond them. The caller
 * frees it. */
static inline uint8_t *
fuzz_copy(const uint8_t *bytes, size_t n)
{
	uint8_t *copy = calloc(1, n != 0 ? n : 1);

	FUZZ_CHECK(copy != NULL);
	if (n > 0)
		memcpy(copy, bytes, n);
	return copy;
}

/* An error's sentence: there is one, it ends, and whoever it quotes cannot write on a terminal. */
static inline void
fuzz_check_sentence(const char *text, size_t size)
{
	size_t length = strnlen(text, size);

	FUZZ_CHECK(length > 0 && length < size);
	for (size_t i = 0; i < length; i++)
		FUZZ_CHECK((uint8_t)text[i] >= 0x20 && text[i] != 0x7f);
}

#endif
