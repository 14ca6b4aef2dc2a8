/* SPDX-License-Identifier: BSD-3-Clause */
/* Pack and check the bodies of a session's messages: every byte off the socket is judged here. */
#include <inttypes.h>
#include <string.h>

#include "hello.h"
#include "seal.h"
#include "wire.h"

#define HELLO_MAX (39u + 6u + 1u + 16u + 2u + COLO_MAX_BLOCKS * (1u + COLO_BLOCK_NAME_MAX + 8u))
static_assert(HELLO_MAX <= COLO_SESSION_BODY_MAX, "the largest hello fits a body");
static_assert(COLO_SESSION_REASON_MAX <= UINT8_MAX, "a text's length is one byte");

const char *
colo_message_name(uint16_t type)
{
	static const char *const name[COLO_MESSAGE_MAX + 1] = {"unknown", "HELLO", "ACCEPT",
		"REFUSE", "START", "PING", "PONG", "ABORT", "BYE", "GONE"};

	return name[type <= COLO_MESSAGE_MAX ? type : 0];
}

/* ---- pack ---- */

static uint8_t *
put_number(uint8_t *at, uint64_t value, unsigned int bytes)
{
	for (unsigned int i = 0; i < bytes; i++)
		at[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
	return at + bytes;
}

static uint8_t *
put_bytes(uint8_t *at, const void *bytes, size_t length)
{
	memcpy(at, bytes, length);
	return at + length;
}

static unsigned int
ip_bytes(uint8_t ip_version)
{
	return ip_version == 4 ? 4 : 16;
}

static uint8_t *
put_address(uint8_t *at, const struct colo_address *address)
{
	at = put_bytes(at, address->mac, sizeof(address->mac));
	at = put_number(at, address->ip_version, 1);
	at = put_bytes(at, address->ip, ip_bytes(address->ip_version));
	return put_number(at, address->source_port, 2);
}

static uint8_t *
put_ports(uint8_t *at, const uint16_t *ports, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		at = put_number(at, ports[i], 2);
	return at;
}

static uint8_t *
put_block(uint8_t *at, const struct colo_hello_block *block)
{
	size_t length = strnlen(block->name, COLO_BLOCK_NAME_MAX);

	at = put_number(at, length, 1);
	at = put_bytes(at, block->name, length);
	return put_number(at, block->size, 8);
}

size_t
colo_hello_pack(uint8_t *body, const struct colo_hello *hello)
{
	uint8_t *at = body;

	at = put_number(at, COLO_SESSION_VERSION, 2);
	at = put_number(at, hello->session, 4);
	at = put_number(at, hello->mtu, 4);
	at = put_number(at, hello->n_channels, 2);
	at = put_number(at, hello->n_blocks, 2);
	at = put_number(at, hello->peer_timeout_ms, 4);
	at = put_number(at, hello->hold_ms, 4);
	at = put_number(at, hello->instance, 8);
	at = put_number(at, hello->committed, 4);
	at = put_number(at, hello->doubt, 4);
	at = put_number(at, hello->seal_shift, 1);
	at = put_address(at, &hello->address);
	for (unsigned int i = 0; i < hello->n_blocks && i < COLO_MAX_BLOCKS; i++)
		at = put_block(at, &hello->block[i]);
	return at - body;
}

size_t
colo_accept_pack(uint8_t *body, const struct colo_accept *accept, unsigned int n_channels)
{
	uint8_t *at = body;

	at = put_number(at, COLO_SESSION_VERSION, 2);
	at = put_number(at, accept->window, 4);
	at = put_address(at, &accept->address);
	at = put_ports(at, accept->address.channel_port, n_channels);
	at = put_number(at, accept->resumes, 4);
	at += colo_text_pack(at, accept->why);
	return at - body;
}

size_t
colo_start_pack(uint8_t *body, const uint16_t *ports, unsigned int n_channels)
{
	return put_ports(put_number(body, n_channels, 2), ports, n_channels) - body;
}

static bool
is_printable(uint8_t byte)
{
	return byte >= 0x20 && byte <= 0x7e;
}

size_t
colo_text_pack(uint8_t *body, const char *text)
{
	size_t length;

	if (text == NULL || text[0] == '\0')
		text = "no reason given";
	length = strnlen(text, COLO_SESSION_REASON_MAX);
	body[0] = (uint8_t)length;
	for (size_t i = 0; i < length; i++)
		body[1 + i] = is_printable(text[i]) ? (uint8_t)text[i] : '?';
	return 1 + length;
}

/* ---- check ---- */

/** Takes fields off a body; a field beyond the end reads as 0 and is remembered in `ended`. */
struct reader {
	const char *message; /* for the sentence */
	const uint8_t *at;
	size_t left;
	bool ended;
};

static const uint8_t *
get_bytes(struct reader *r, size_t length)
{
	const uint8_t *at = r->at;

	if (r->ended || length > r->left) {
		r->ended = true;
		return NULL;
	}
	r->at += length;
	r->left -= length;
	return at;
}

static uint64_t
get_number(struct reader *r, unsigned int bytes)
{
	const uint8_t *at = get_bytes(r, bytes);
	uint64_t value = 0;

	for (unsigned int i = 0; at != NULL && i < bytes; i++)
		value = value << 8 | at[i];
	return value;
}

static int
too_short(const struct reader *r, struct colo_error *err)
{
	return colo_error_set(err, "%s is too short for its fields", r->message);
}

static int
check_end(const struct reader *r, struct colo_error *err)
{
	if (r->ended)
		return too_short(r, err);
	if (r->left != 0)
		return colo_error_set(
			err, "%s has %zu bytes beyond its last field", r->message, r->left);
	return 0;
}

/** A number that has to lie in @p min .. @p max. */
static int
get_within(struct reader *r, unsigned int bytes, const char *field, uint64_t min, uint64_t max,
	uint64_t *value, struct colo_error *err)
{
	*value = get_number(r, bytes);
	if (r->ended)
		return too_short(r, err);
	if (*value < min || *value > max)
		return colo_error_set(err,
			"%s: %s is %" PRIu64 "; accepted is %" PRIu64 " to %" PRIu64, r->message,
			field, *value, min, max);
	return 0;
}

static int
check_version(struct reader *r, struct colo_error *err)
{
	uint64_t version = get_number(r, 2);

	if (r->ended)
		return too_short(r, err);
	if (version != COLO_SESSION_VERSION)
		return colo_error_set(err,
			"%s: protocol version is %" PRIu64 "; this end speaks version %u",
			r->message, version, COLO_SESSION_VERSION);
	return 0;
}

/** Text with its length byte before it: 1 .. @p max printable bytes; @p text has one more. */
static int
get_text(struct reader *r, const char *field, size_t max, char *text, struct colo_error *err)
{
	size_t length = get_number(r, 1);
	const uint8_t *bytes = get_bytes(r, length);

	if (bytes == NULL)
		return too_short(r, err);
	if (length == 0 || length > max)
		return colo_error_set(err, "%s: %s has %zu bytes; accepted is 1 to %zu", r->message,
			field, length, max);
	for (size_t i = 0; i < length; i++) {
		if (!is_printable(bytes[i]))
			return colo_error_set(err,
				"%s: %s has byte 0x%02x; accepted is printable ASCII", r->message,
				field, bytes[i]);
		text[i] = (char)bytes[i];
	}
	text[length] = '\0';
	return 0;
}

/** A host's own address: neither "any" nor multicast (IPv4's 224.0.0.0/3 with broadcast). */
static bool
is_unicast(uint8_t ip_version, const uint8_t *ip)
{
	static const uint8_t any[16];

	if (memcmp(ip, any, ip_bytes(ip_version)) == 0)
		return false;
	return ip_version == 4 ? ip[0] < 224 : ip[0] != 0xff;
}

static int
get_ip(struct reader *r, struct colo_address *address, struct colo_error *err)
{
	const uint8_t *ip;
	uint64_t version = get_number(r, 1);

	if (r->ended)
		return too_short(r, err);
	if (version != 4 && version != 6)
		return colo_error_set(err, "%s: IP version is %" PRIu64 "; accepted is 4 or 6",
			r->message, version);
	address->ip_version = (uint8_t)version;
	ip = get_bytes(r, ip_bytes(address->ip_version));
	if (ip == NULL)
		return too_short(r, err);
	if (!is_unicast(address->ip_version, ip))
		return colo_error_set(err, "%s: IP address is not a unicast address", r->message);
	memcpy(address->ip, ip, ip_bytes(address->ip_version));
	return 0;
}

static int
get_address(struct reader *r, struct colo_address *address, struct colo_error *err)
{
	const uint8_t *mac = get_bytes(r, sizeof(address->mac));
	uint64_t port;

	if (mac == NULL)
		return too_short(r, err);
	/* All zeros is legal: net_ring has such an address. */
	if (mac[0] & 1)
		return colo_error_set(err, "%s: MAC address is a multicast address", r->message);
	memcpy(address->mac, mac, sizeof(address->mac));
	if (get_ip(r, address, err) < 0 ||
		get_within(r, 2, "UDP source port", 1, UINT16_MAX, &port, err) < 0)
		return -1;
	address->source_port = (uint16_t)port;
	return 0;
}

static int
get_ports(struct reader *r, unsigned int n, uint16_t *ports, struct colo_error *err)
{
	uint64_t port;

	for (unsigned int i = 0; i < n; i++) {
		if (get_within(r, 2, "UDP port of a channel", 1, UINT16_MAX, &port, err) < 0)
			return -1;
		ports[i] = (uint16_t)port;
	}
	return 0;
}

static int
get_block(struct reader *r, struct colo_hello *hello, unsigned int i, struct colo_error *err)
{
	struct colo_hello_block *block = &hello->block[i];

	if (get_text(r, "name of a block", COLO_BLOCK_NAME_MAX, block->name, err) < 0)
		return -1;
	for (unsigned int other = 0; other < i; other++)
		if (strcmp(hello->block[other].name, block->name) == 0)
			return colo_error_set(
				err, "%s: two blocks have the name %s", r->message, block->name);
	if (get_within(r, 8, "size of a block", COLO_PAGE_SIZE, COLO_MAX_BLOCK_SIZE, &block->size,
		    err) < 0)
		return -1;
	if (block->size % COLO_PAGE_SIZE != 0)
		return colo_error_set(err,
			"%s: size %" PRIu64 " of block %s is not a multiple of %u", r->message,
			block->size, block->name, COLO_PAGE_SIZE);
	return 0;
}

/** The numbers a hello begins with. */
static int
get_hello_numbers(struct reader *r, struct colo_hello *hello, struct colo_error *err)
{
	uint64_t session, mtu, channels, blocks, timeout, hold, instance, committed, doubt, shift;

	if (get_within(r, 4, "session", 1, UINT32_MAX, &session, err) < 0 ||
		get_within(r, 4, "MTU", COLO_MTU_MIN, COLO_MTU_MAX, &mtu, err) < 0 ||
		get_within(r, 2, "number of channels", 1, COLO_MAX_CHANNELS, &channels, err) < 0 ||
		get_within(r, 2, "number of blocks", 1, COLO_MAX_BLOCKS, &blocks, err) < 0 ||
		get_within(r, 4, "peer timeout", COLO_PEER_TIMEOUT_MIN, COLO_PEER_TIMEOUT_MAX,
			&timeout, err) < 0 ||
		get_within(r, 4, "hold", COLO_HOLD_MIN, COLO_HOLD_MAX, &hold, err) < 0 ||
		get_within(r, 8, "instance", 1, UINT64_MAX, &instance, err) < 0 ||
		get_within(r, 4, "committed", 0, UINT32_MAX - 1, &committed, err) < 0 ||
		get_within(r, 4, "doubt", 0, UINT32_MAX - 1, &doubt, err) < 0 ||
		get_within(r, 1, "seal_shift", COLO_SEAL_SHIFT_MIN, COLO_SEAL_SHIFT_MAX, &shift,
			err) < 0)
		return -1;
	hello->session = (uint32_t)session;
	hello->mtu = (uint32_t)mtu;
	hello->n_channels = (uint16_t)channels;
	hello->n_blocks = (uint16_t)blocks;
	hello->peer_timeout_ms = (uint32_t)timeout;
	hello->hold_ms = (uint32_t)hold;
	hello->instance = instance;
	hello->committed = (uint32_t)committed;
	hello->doubt = (uint32_t)doubt;
	hello->seal_shift = (uint8_t)shift;
	if (doubt != 0 && doubt <= committed)
		return colo_error_set(err,
			"%s: doubt is %" PRIu64 "; accepted is 0, or more than committed",
			r->message, doubt);
	return 0;
}

int
colo_hello_check(
	const uint8_t *body, size_t length, struct colo_hello *hello, struct colo_error *err)
{
	struct reader r = {.message = "HELLO", .at = body, .left = length};

	memset(hello, 0, sizeof(*hello));
	if (check_version(&r, err) < 0 || get_hello_numbers(&r, hello, err) < 0 ||
		get_address(&r, &hello->address, err) < 0)
		return -1;
	for (unsigned int i = 0; i < hello->n_blocks; i++)
		if (get_block(&r, hello, i, err) < 0)
			return -1;
	return check_end(&r, err);
}

int
colo_accept_check(const uint8_t *body, size_t length, unsigned int n_channels,
	struct colo_accept *accept, struct colo_error *err)
{
	struct reader r = {.message = "ACCEPT", .at = body, .left = length};
	uint64_t window, resumes;

	memset(accept, 0, sizeof(*accept));
	if (check_version(&r, err) < 0 ||
		get_within(&r, 4, "window", COLO_WINDOW_MIN, COLO_WINDOW_MAX, &window, err) < 0)
		return -1;
	if ((window & (window - 1)) != 0)
		return colo_error_set(
			err, "ACCEPT: window is %" PRIu64 "; accepted is a power of two", window);
	accept->window = (uint32_t)window;
	if (get_address(&r, &accept->address, err) < 0 ||
		get_ports(&r, n_channels, accept->address.channel_port, err) < 0 ||
		get_within(&r, 4, "resumes", 0, UINT32_MAX - 1, &resumes, err) < 0 ||
		get_text(&r, "why", COLO_SESSION_REASON_MAX, accept->why, err) < 0)
		return -1;
	accept->resumes = (uint32_t)resumes;
	return check_end(&r, err);
}

int
colo_start_check(const uint8_t *body, size_t length, unsigned int n_channels, uint16_t *ports,
	struct colo_error *err)
{
	struct reader r = {.message = "START", .at = body, .left = length};
	uint64_t n;

	if (get_within(&r, 2, "number of channels", n_channels, n_channels, &n, err) < 0 ||
		get_ports(&r, n_channels, ports, err) < 0)
		return -1;
	return check_end(&r, err);
}

int
colo_text_check(
	const uint8_t *body, size_t length, const char *message, char *text, struct colo_error *err)
{
	struct reader r = {.message = message, .at = body, .left = length};

	if (get_text(&r, "reason", COLO_SESSION_REASON_MAX, text, err) < 0)
		return -1;
	return check_end(&r, err);
}

int
colo_empty_check(size_t length, const char *message, struct colo_error *err)
{
	if (length != 0)
		return colo_error_set(
			err, "%s has %zu bytes; accepted is an empty message", message, length);
	return 0;
}
