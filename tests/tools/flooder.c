/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sends frames as fast as one core can, by a raw socket: what an attacker on the segment does.
 *
 *   flooder INTERFACE FILE SECONDS
 *
 * FILE: frames, each with its length in two bytes (big-endian) before it; sent again and again in
 * turn. Prints how many were sent.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define FRAMES_MAX  4096u
#define BYTES_MAX   (64u << 20)
#define BATCH	    64u
#define SECONDS_MAX 60.0

struct frames {
	uint8_t *bytes;
	struct iovec frame[FRAMES_MAX];
	unsigned int n;
};

static int
load(struct frames *f, const char *path)
{
	FILE *file = fopen(path, "rb");
	size_t size = 0, at = 0, length;

	f->bytes = malloc(BYTES_MAX);
	if (file == NULL || f->bytes == NULL)
		return -1;
	size = fread(f->bytes, 1, BYTES_MAX, file);
	fclose(file);
	while (f->n < FRAMES_MAX && at + 2 < size) {
		length = (size_t)f->bytes[at] << 8 | f->bytes[at + 1];
		at += 2;
		if (length == 0 || length > size - at)
			return -1;
		f->frame[f->n++] = (struct iovec){.iov_base = f->bytes + at, .iov_len = length};
		at += length;
	}
	return f->n > 0 ? 0 : -1;
}

static int
open_raw(const char *interface)
{
	struct sockaddr_ll address = {.sll_family = AF_PACKET,
		.sll_protocol = 0, /* receives nothing */
		.sll_ifindex = (int)if_nametoindex(interface)};
	int fd = socket(AF_PACKET, SOCK_RAW, 0), on = 1;

	if (fd < 0 || address.sll_ifindex == 0 ||
		bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		return -1;
	(void)setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on));
	return fd;
}

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static uint64_t
flood(int fd, struct frames *f, double seconds)
{
	struct mmsghdr batch[BATCH];
	double end = now() + seconds;
	unsigned int next = 0;
	uint64_t sent = 0;

	while (now() < end) {
		int n;

		memset(batch, 0, sizeof(batch));
		for (unsigned int i = 0; i < BATCH; i++) {
			batch[i].msg_hdr.msg_iov = &f->frame[(next + i) % f->n];
			batch[i].msg_hdr.msg_iovlen = 1;
		}
		n = sendmmsg(fd, batch, BATCH, 0);
		if (n < 0 && errno != ENOBUFS && errno != EAGAIN && errno != EINTR)
			break;
		if (n > 0) {
			sent += (uint64_t)n;
			next = (next + (unsigned int)n) % f->n;
		}
	}
	return sent;
}

int
main(int argc, char **argv)
{
	static struct frames frames;
	double seconds = argc == 4 ? strtod(argv[3], NULL) : 0;
	int fd;

	if (argc != 4 || !(seconds > 0 && seconds <= SECONDS_MAX)) {
		fprintf(stderr, "usage: flooder INTERFACE FILE SECONDS\n");
		return 1;
	}
	if (load(&frames, argv[2]) != 0) {
		fprintf(stderr, "flooder: %s holds no frames\n", argv[2]);
		return 1;
	}
	fd = open_raw(argv[1]);
	if (fd < 0) {
		fprintf(stderr, "flooder: %s: %s\n", argv[1], strerror(errno));
		return 1;
	}
	printf("%llu frames sent\n", (unsigned long long)flood(fd, &frames, seconds));
	free(frames.bytes);
	return 0;
}
