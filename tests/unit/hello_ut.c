/* SPDX-License-Identifier: BSD-3-Clause */
/* hello.c: every field at its limits, every truncation, every flipped byte. */
#include <stdlib.h>
#include <string.h>

#include "hello.h"
#include "ut.h"
#include "wire.h"

/* Where fields are in a packed HELLO with an IPv4 address. */
#define AT_VERSION	 0
#define AT_SESSION	 2
#define AT_MTU		 6
#define AT_CHANNELS	 10
#define AT_BLOCKS	 12
#define AT_TIMEOUT	 14
#define AT_HOLD		 18
#define AT_COMMITTED	 30
#define AT_SEAL_SHIFT	 38
#define AT_MAC		 39
#define AT_IP_VERSION	 45
#define AT_IP		 46
#define AT_SOURCE_PORT	 50
#define AT_FIRST_BLOCK	 52
#define ACCEPT_AT_WINDOW 2

static struct colo_hello
good_hello(void)
{
	struct colo_hello h = {
		.session = 0x12345678,
		.mtu = 4200,
		.n_channels = 2,
		.n_blocks = 2,
		.peer_timeout_ms = 1000,
		.instance = 0x1234567890abcdefull,
		.seal_shift = 31,
		.hold_ms = 500,
		.block = {{"pc.ram", 1ull << 30}, {"0000:00:02.0/vga.vram", 16u << 20}},
		.address = {.mac = {2, 1, 2, 3, 4, 5},
			.ip_version = 4,
			.ip = {192, 0, 2, 1},
			.source_port = 17990},
	};

	return h;
}

static struct colo_accept
good_accept(void)
{
	struct colo_accept a = {
		.resumes = 77,
		.why = "resumed",
		.window = 1024,
		.address = {.mac = {2, 9, 8, 7, 6, 5},
			.ip_version = 6,
			.ip = {0x20, 1, 0xd, 0xb8},
			.source_port = 18000,
			.channel_port = {100, 65535}},
	};

	a.address.ip[15] = 1;
	return a;
}

/* The check on exactly that many bytes, so that a tool for memory errors sees one byte too far. */
static int
check_hello(const uint8_t *body, size_t length, struct colo_error *err)
{
	struct colo_hello out;
	uint8_t *exact = malloc(length == 0 ? 1 : length);
	int result;

	memcpy(exact, body, length);
	result = colo_hello_check(exact, length, &out, err);
	free(exact);
	return result;
}

static int
check_packed(const struct colo_hello *h)
{
	uint8_t body[COLO_SESSION_BODY_MAX];
	struct colo_error err;

	return check_hello(body, colo_hello_pack(body, h), &err);
}

static void
hello_round_trip(void)
{
	struct colo_hello in = good_hello(), out;
	uint8_t body[COLO_SESSION_BODY_MAX];
	struct colo_error err;

	CU_ASSERT_EQUAL(colo_hello_check(body, colo_hello_pack(body, &in), &out, &err), 0);
	CU_ASSERT_EQUAL(out.session, in.session);
	CU_ASSERT_EQUAL(out.mtu, in.mtu);
	CU_ASSERT_EQUAL(out.n_channels, 2);
	CU_ASSERT_EQUAL(out.n_blocks, 2);
	CU_ASSERT_EQUAL(out.peer_timeout_ms, 1000);
	CU_ASSERT_EQUAL(out.hold_ms, 500);
	CU_ASSERT_STRING_EQUAL(out.block[1].name, in.block[1].name);
	CU_ASSERT_EQUAL(out.block[0].size, in.block[0].size);
	CU_ASSERT_EQUAL(memcmp(&out.address, &in.address, sizeof(in.address)), 0);
}

static void
largest_hello_fits(void)
{
	struct colo_hello in = good_hello();
	uint8_t body[COLO_SESSION_BODY_MAX];
	struct colo_error err;

	in.address.ip_version = 6;
	in.n_blocks = COLO_MAX_BLOCKS;
	for (unsigned int i = 0; i < COLO_MAX_BLOCKS; i++) {
		memset(in.block[i].name, 'A' + (int)i, COLO_BLOCK_NAME_MAX);
		in.block[i].name[COLO_BLOCK_NAME_MAX] = '\0';
		in.block[i].size = COLO_MAX_BLOCK_SIZE;
	}
	CU_ASSERT_EQUAL(check_hello(body, colo_hello_pack(body, &in), &err), 0);
}

/* A number of the hello at min-1, min, max, max+1. */
static void
number_limits(unsigned int at, unsigned int bytes, uint64_t min, uint64_t max, const char *names)
{
	const uint64_t value[4] = {min - 1, min, max, max + 1};
	struct colo_hello h = good_hello();
	uint8_t body[COLO_SESSION_BODY_MAX];
	size_t length = colo_hello_pack(body, &h);
	struct colo_error err;

	for (unsigned int v = 0; v < 4; v++) {
		int wanted = v == 0 || v == 3 ? -1 : 0;

		if ((bytes == 4 && value[v] > UINT32_MAX) || (v == 0 && min == 0))
			continue;
		for (unsigned int i = 0; i < bytes; i++)
			body[at + i] = (uint8_t)(value[v] >> (8 * (bytes - 1 - i)));
		err.text[0] = '\0';
		CU_ASSERT_EQUAL(check_hello(body, length, &err), wanted);
		if (wanted < 0)
			CU_ASSERT_PTR_NOT_NULL(strstr(err.text, names));
	}
}

static void
hello_number_limits(void)
{
	number_limits(AT_VERSION, 2, COLO_SESSION_VERSION, COLO_SESSION_VERSION, "version");
	number_limits(AT_SESSION, 4, 1, UINT32_MAX, "session");
	number_limits(AT_MTU, 4, COLO_MTU_MIN, COLO_MTU_MAX, "MTU");
	number_limits(AT_CHANNELS, 2, 1, COLO_MAX_CHANNELS, "channels");
	number_limits(AT_TIMEOUT, 4, COLO_PEER_TIMEOUT_MIN, COLO_PEER_TIMEOUT_MAX, "timeout");
	number_limits(AT_HOLD, 4, COLO_HOLD_MIN, COLO_HOLD_MAX, "hold");
	number_limits(AT_SEAL_SHIFT, 1, 10, 31, "seal_shift");
	number_limits(AT_COMMITTED, 4, 0, UINT32_MAX - 1, "committed");
	number_limits(AT_FIRST_BLOCK + 7, 8, COLO_PAGE_SIZE, COLO_MAX_BLOCK_SIZE, "size");
}

static void
hello_instance(void)
{
	struct colo_hello h = good_hello();

	h.instance = 0;
	CU_ASSERT_EQUAL(check_packed(&h), -1);
	h.instance = 1;
	CU_ASSERT_EQUAL(check_packed(&h), 0);
	h.instance = UINT64_MAX;
	CU_ASSERT_EQUAL(check_packed(&h), 0);
}

/* What may have been committed is later than what is known to be. */
static void
hello_doubt(void)
{
	struct colo_hello h = good_hello();

	for (uint32_t committed = 0; committed < 3; committed++)
		for (uint32_t doubt = 0; doubt < 5; doubt++) {
			h.committed = committed;
			h.doubt = doubt;
			CU_ASSERT_EQUAL(check_packed(&h), doubt == 0 || doubt > committed ? 0 : -1);
		}
}

/* The number of blocks decides what follows, so each is packed with as many as it says. */
static void
block_count_limits(void)
{
	struct colo_hello h = good_hello();
	uint8_t body[COLO_SESSION_BODY_MAX];
	struct colo_error err;
	size_t length;

	for (unsigned int i = 0; i < COLO_MAX_BLOCKS; i++) {
		snprintf(h.block[i].name, sizeof(h.block[i].name), "b%u", i);
		h.block[i].size = COLO_PAGE_SIZE;
	}
	h.n_blocks = 0;
	CU_ASSERT_EQUAL(check_packed(&h), -1);
	h.n_blocks = 1;
	CU_ASSERT_EQUAL(check_packed(&h), 0);
	h.n_blocks = COLO_MAX_BLOCKS;
	CU_ASSERT_EQUAL(check_packed(&h), 0);
	/* One more, with the bytes for it: only the count is wrong. */
	length = colo_hello_pack(body, &h);
	body[AT_BLOCKS + 1] = COLO_MAX_BLOCKS + 1;
	memcpy(body + length, "\x02zz\0\0\0\0\0\0\x10\0", 11);
	CU_ASSERT_EQUAL(check_hello(body, length + 11, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "number of blocks"));
}

static void
block_size_multiple(void)
{
	struct colo_hello h = good_hello();

	h.block[1].size = 8191;
	CU_ASSERT_EQUAL(check_packed(&h), -1);
	h.block[1].size = 8192;
	CU_ASSERT_EQUAL(check_packed(&h), 0);
	h.block[1].size = 8193;
	CU_ASSERT_EQUAL(check_packed(&h), -1);
}

static void
block_names(void)
{
	struct colo_hello h = good_hello();
	uint8_t body[COLO_SESSION_BODY_MAX];
	struct colo_error err;
	size_t length;

	h.block[0].name[0] = '\0';
	CU_ASSERT_EQUAL(check_packed(&h), -1);
	strcpy(h.block[0].name, h.block[1].name);
	CU_ASSERT_EQUAL(check_packed(&h), -1);
	for (unsigned int byte = 0; byte < 256; byte++) {
		h = good_hello();
		length = colo_hello_pack(body, &h);
		body[AT_FIRST_BLOCK + 3] = (uint8_t)byte;
		CU_ASSERT_EQUAL(
			check_hello(body, length, &err), byte >= 0x20 && byte <= 0x7e ? 0 : -1);
	}
}

/* A name of 63 bytes is accepted (largest_hello_fits); here is one of 64. */
static void
block_name_too_long(void)
{
	struct colo_hello h = good_hello();
	uint8_t body[COLO_SESSION_BODY_MAX];
	struct colo_error err;
	size_t at = AT_FIRST_BLOCK;

	h.n_blocks = 1;
	colo_hello_pack(body, &h);
	body[at++] = COLO_BLOCK_NAME_MAX + 1;
	memset(body + at, 'n', COLO_BLOCK_NAME_MAX + 1);
	at += COLO_BLOCK_NAME_MAX + 1;
	memcpy(body + at, "\0\0\0\0\0\0\x10\0", 8);
	CU_ASSERT_EQUAL(check_hello(body, at + 8, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "name of a block"));
}

static void
addresses(void)
{
	struct colo_hello h = good_hello();
	uint8_t body[COLO_SESSION_BODY_MAX];
	struct colo_error err;
	size_t length = colo_hello_pack(body, &h);

	for (unsigned int version = 0; version < 256; version++) {
		body[AT_IP_VERSION] = (uint8_t)version;
		/* 6 takes 12 bytes more than there are */
		CU_ASSERT_EQUAL(check_hello(body, length, &err), version == 4 ? 0 : -1);
	}
	h.address.source_port = 0;
	CU_ASSERT_EQUAL(check_packed(&h), -1);
	h.address.source_port = 1;
	CU_ASSERT_EQUAL(check_packed(&h), 0);
	h.address.mac[0] = 1;
	CU_ASSERT_EQUAL(check_packed(&h), -1);
	memset(h.address.mac, 0, 6);
	CU_ASSERT_EQUAL(check_packed(&h), 0);
	h.address.ip[0] = 223;
	CU_ASSERT_EQUAL(check_packed(&h), 0);
	h.address.ip[0] = 224;
	CU_ASSERT_EQUAL(check_packed(&h), -1);
	memset(h.address.ip, 0, 16);
	CU_ASSERT_EQUAL(check_packed(&h), -1);
	h.address.ip_version = 6;
	CU_ASSERT_EQUAL(check_packed(&h), -1);
	h.address.ip[15] = 1;
	CU_ASSERT_EQUAL(check_packed(&h), 0);
	h.address.ip[0] = 0xff;
	CU_ASSERT_EQUAL(check_packed(&h), -1);
}

static void
hello_truncated_and_extended(void)
{
	struct colo_hello h = good_hello();
	uint8_t body[COLO_SESSION_BODY_MAX] = {0};
	struct colo_error err;
	size_t length = colo_hello_pack(body, &h);

	for (size_t cut = 0; cut < length; cut++)
		CU_ASSERT_EQUAL(check_hello(body, cut, &err), -1);
	CU_ASSERT_EQUAL(check_hello(body, length, &err), 0);
	CU_ASSERT_EQUAL(check_hello(body, length + 1, &err), -1);
}

/* What passes with a byte changed must pack to those very bytes: no field is read loosely. */
static void
hello_flipped(void)
{
	struct colo_hello h = good_hello(), out;
	uint8_t body[COLO_SESSION_BODY_MAX], again[COLO_SESSION_BODY_MAX];
	struct colo_error err;
	size_t length = colo_hello_pack(body, &h);

	for (size_t at = 0; at < length; at++) {
		for (unsigned int flip = 1; flip < 256; flip++) {
			body[at] ^= (uint8_t)flip;
			if (check_hello(body, length, &err) == 0) {
				CU_ASSERT_EQUAL(colo_hello_check(body, length, &out, &err), 0);
				CU_ASSERT_EQUAL(colo_hello_pack(again, &out), length);
				CU_ASSERT_EQUAL(memcmp(again, body, length), 0);
			}
			body[at] ^= (uint8_t)flip;
		}
	}
}

static int
check_accept(const uint8_t *body, size_t length)
{
	uint8_t *exact = malloc(length == 0 ? 1 : length);
	struct colo_accept out;
	struct colo_error err;
	int result;

	memcpy(exact, body, length);
	result = colo_accept_check(exact, length, 2, &out, &err);
	free(exact);
	return result;
}

static void
accept_round_trip(void)
{
	struct colo_accept in = good_accept(), out;
	uint8_t body[COLO_SESSION_BODY_MAX];
	struct colo_error err;
	size_t length = colo_accept_pack(body, &in, 2);

	CU_ASSERT_EQUAL(colo_accept_check(body, length, 2, &out, &err), 0);
	CU_ASSERT_EQUAL(memcmp(&in, &out, sizeof(in)), 0);
	CU_ASSERT_EQUAL(colo_accept_check(body, length, 1, &out, &err), -1);
	CU_ASSERT_EQUAL(colo_accept_check(body, length, 3, &out, &err), -1);
	for (size_t cut = 0; cut < length; cut++)
		CU_ASSERT_EQUAL(check_accept(body, cut), -1);
	for (size_t at = 0; at < length; at++) {
		for (unsigned int flip = 1; flip < 256; flip++) {
			body[at] ^= (uint8_t)flip;
			check_accept(body, length);
			body[at] ^= (uint8_t)flip;
		}
	}
}

static void
accept_window_and_ports(void)
{
	static const struct {
		uint32_t window;
		int wanted;
	} c[] = {{0, -1}, {32, -1}, {63, -1}, {64, 0}, {65, -1}, {96, -1}, {128, 0},
		{COLO_WINDOW_MAX - 1, -1}, {COLO_WINDOW_MAX, 0}, {COLO_WINDOW_MAX + 1, -1},
		{COLO_WINDOW_MAX * 2, -1}, {0x80000000u, -1}};
	uint8_t body[COLO_SESSION_BODY_MAX];
	struct colo_accept a = good_accept();

	for (unsigned int i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		a.window = c[i].window;
		CU_ASSERT_EQUAL(check_accept(body, colo_accept_pack(body, &a, 2)), c[i].wanted);
	}
	a = good_accept();
	a.address.channel_port[1] = 0;
	CU_ASSERT_EQUAL(check_accept(body, colo_accept_pack(body, &a, 2)), -1);
	a.address.channel_port[1] = 1;
	CU_ASSERT_EQUAL(check_accept(body, colo_accept_pack(body, &a, 2)), 0);
	body[1] = COLO_SESSION_VERSION + 1;
	CU_ASSERT_EQUAL(check_accept(body, 2 + 4 + 25 + 4 + 4 + 8), -1);
	body[1] = COLO_SESSION_VERSION;
	CU_ASSERT_EQUAL(check_accept(body, 2 + 4 + 25 + 4 + 4 + 8), 0);
}

static int
check_start(const uint8_t *body, size_t length, unsigned int n)
{
	uint8_t *exact = malloc(length == 0 ? 1 : length);
	uint16_t ports[COLO_MAX_CHANNELS];
	struct colo_error err;
	int result;

	memcpy(exact, body, length);
	result = colo_start_check(exact, length, n, ports, &err);
	free(exact);
	return result;
}

static void
start_messages(void)
{
	uint16_t ports[COLO_MAX_CHANNELS + 1];
	uint8_t body[COLO_SESSION_BODY_MAX];
	size_t length;

	for (unsigned int i = 0; i <= COLO_MAX_CHANNELS; i++)
		ports[i] = (uint16_t)(i + 1);
	length = colo_start_pack(body, ports, COLO_MAX_CHANNELS);
	CU_ASSERT_EQUAL(length, 2 + 2 * COLO_MAX_CHANNELS);
	CU_ASSERT_EQUAL(check_start(body, length, COLO_MAX_CHANNELS), 0);
	CU_ASSERT_EQUAL(check_start(body, length + 1, COLO_MAX_CHANNELS), -1);
	CU_ASSERT_EQUAL(check_start(body, length, COLO_MAX_CHANNELS - 1), -1);
	for (size_t cut = 0; cut < length; cut++)
		CU_ASSERT_EQUAL(check_start(body, cut, COLO_MAX_CHANNELS), -1);
	/* More than this end has room for, with the bytes for it. */
	length = colo_start_pack(body, ports, COLO_MAX_CHANNELS + 1);
	CU_ASSERT_EQUAL(check_start(body, length, COLO_MAX_CHANNELS), -1);
	ports[0] = 0;
	length = colo_start_pack(body, ports, 1);
	CU_ASSERT_EQUAL(check_start(body, length, 1), -1);
}

static int
check_text(const uint8_t *body, size_t length, char *text)
{
	uint8_t *exact = malloc(length == 0 ? 1 : length);
	struct colo_error err;
	int result;

	memcpy(exact, body, length);
	result = colo_text_check(exact, length, "ABORT", text, &err);
	free(exact);
	return result;
}

static void
texts(void)
{
	char text[COLO_SESSION_REASON_MAX + 1], longest[COLO_SESSION_REASON_MAX + 2];
	uint8_t body[COLO_SESSION_BODY_MAX];
	size_t length = colo_text_pack(body, "no\nroom\xff");

	CU_ASSERT_EQUAL(check_text(body, length, text), 0);
	CU_ASSERT_STRING_EQUAL(text, "no?room?");
	for (size_t cut = 0; cut < length; cut++)
		CU_ASSERT_EQUAL(check_text(body, cut, text), -1);
	CU_ASSERT_EQUAL(check_text(body, length + 1, text), -1);
	body[0] = 0;
	CU_ASSERT_EQUAL(check_text(body, 1, text), -1);
	body[0] = 1;
	body[1] = 0;
	CU_ASSERT_EQUAL(check_text(body, 2, text), -1);
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	CU_ASSERT_EQUAL(colo_text_pack(body, longest), 1 + COLO_SESSION_REASON_MAX);
	CU_ASSERT_EQUAL(check_text(body, 1 + COLO_SESSION_REASON_MAX, text), 0);
	CU_ASSERT_EQUAL(strlen(text), COLO_SESSION_REASON_MAX);
	CU_ASSERT_EQUAL(check_text(body, colo_text_pack(body, ""), text), 0);
	CU_ASSERT_STRING_EQUAL(text, "no reason given");
}

static void
empties_and_names(void)
{
	struct colo_error err;

	CU_ASSERT_EQUAL(colo_empty_check(0, "PING", &err), 0);
	CU_ASSERT_EQUAL(colo_empty_check(1, "PING", &err), -1);
	CU_ASSERT_STRING_EQUAL(colo_message_name(COLO_MESSAGE_HELLO), "HELLO");
	CU_ASSERT_STRING_EQUAL(colo_message_name(COLO_MESSAGE_BYE), "BYE");
	CU_ASSERT_STRING_EQUAL(colo_message_name(COLO_MESSAGE_MAX + 1), "unknown");
	CU_ASSERT_STRING_EQUAL(colo_message_name(0), "unknown");
}

int
main(void)
{
	static const struct ut_case cases[] = {
		{"a hello comes out as it went in", hello_round_trip},
		{"the largest hello fits", largest_hello_fits},
		{"limits of every number of a hello", hello_number_limits},
		{"the run of a primary", hello_instance},
		{"the checkpoint in doubt", hello_doubt},
		{"limits of the number of blocks", block_count_limits},
		{"block sizes are multiples of 4096", block_size_multiple},
		{"block names: not empty, printable, unique", block_names},
		{"a block name of 64 bytes", block_name_too_long},
		{"addresses", addresses},
		{"a hello cut at every byte", hello_truncated_and_extended},
		{"a hello with every byte changed", hello_flipped},
		{"an accept: round trip, cut, changed", accept_round_trip},
		{"limits of window and ports", accept_window_and_ports},
		{"start", start_messages},
		{"texts", texts},
		{"empty messages, names", empties_and_names},
	};

	return UT_RUN("hello", cases);
}
