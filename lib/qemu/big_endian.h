/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to the parsers of QEMU's streams: big-endian numbers at any address. */
#ifndef COLO_QEMU_BIG_ENDIAN_H
#define COLO_QEMU_BIG_ENDIAN_H

#include <stdint.h>

static inline uint32_t
get_be16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

static inline uint32_t
get_be32(const uint8_t *p)
{
	return get_be16(p) << 16 | get_be16(p + 2);
}

static inline uint64_t
get_be64(const uint8_t *p)
{
	return (uint64_t)get_be32(p) << 32 | get_be32(p + 4);
}

#endif
