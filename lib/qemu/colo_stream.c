/* SPDX-License-Identifier: BSD-3-Clause */
/* A COLO primary's main channel: its frame of sections, commands and COLO messages. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "colo_stream_items.h"

#define STREAM_MAGIC   0x5145564du /* "QEVM" */
#define STREAM_VERSION 3u
#define RAM_VERSION    4u

enum command {
	COMMAND_OPEN_RETURN_PATH = 1,
	COMMAND_PING = 2,
	COMMAND_ENABLE_COLO = 8,
	COMMAND_SWITCHOVER_START = 11,
};

/* COLO messages of a primary. */
enum message {
	MESSAGE_REQUEST = 1,
	MESSAGE_VMSTATE_SEND = 3,
	MESSAGE_VMSTATE_SIZE = 4,
};

static_assert(COLO_MACHINE_NAME_MAX <= COLO_STREAM_ITEM_MAX, "machine");
static_assert(255 + 8 <= COLO_STREAM_ITEM_MAX, "section's name");

enum colo_stream_event
colo_stream_await(struct colo_stream *s, enum item item, size_t need)
{
	s->state = item;
	s->need = need;
	s->have = 0;
	return GO_ON;
}

enum colo_stream_event
colo_stream_refuse(struct colo_stream *s, const char *format, ...)
{
	int used = snprintf(s->error.text, sizeof(s->error.text),
		"COLO primary's main channel, at byte %" PRIu64 ": ", s->consumed - s->need);
	va_list ap;

	va_start(ap, format);
	vsnprintf(s->error.text + used, sizeof(s->error.text) - (size_t)used, format, ap);
	va_end(ap);
	s->failed = true;
	return COLO_STREAM_FAILED;
}

bool
colo_stream_printable(uint8_t *text, size_t length)
{
	bool good = true;

	for (size_t i = 0; i < length; i++) {
		if (text[i] >= 0x20 && text[i] <= 0x7e)
			continue;
		text[i] = '?';
		good = false;
	}
	return good;
}

static enum colo_stream_event
take_magic(struct colo_stream *s)
{
	uint32_t magic = get_be32(s->item), version = get_be32(s->item + 4);

	if (magic != STREAM_MAGIC || version != STREAM_VERSION)
		return colo_stream_refuse(s,
			"a stream that begins with %08x, version %u is not accepted: QEVM "
			"(%08x), version %u is",
			magic, version, STREAM_MAGIC, STREAM_VERSION);
	return colo_stream_await(s, ITEM_CONFIGURATION, 5);
}

static enum colo_stream_event
take_configuration(struct colo_stream *s)
{
	uint32_t length = get_be32(s->item + 1);

	if (s->item[0] != SECTION_CONFIGURATION)
		return colo_stream_refuse(s,
			"section type 0x%02x is not accepted here: the configuration (0x07) is",
			s->item[0]);
	if (length == 0 || length > COLO_MACHINE_NAME_MAX)
		return colo_stream_refuse(s,
			"a machine type's name of %u bytes is not accepted: 1 to %u bytes are",
			length, COLO_MACHINE_NAME_MAX);
	return colo_stream_await(s, ITEM_MACHINE, length);
}

static enum colo_stream_event
take_machine(struct colo_stream *s)
{
	if (!colo_stream_printable(s->item, s->need))
		return colo_stream_refuse(s,
			"machine type's name %.*s is not accepted: printable "
			"characters are",
			(int)s->need, (const char *)s->item);
	memcpy(s->machine, s->item, s->need);
	s->machine[s->need] = '\0';
	return colo_stream_await(s, ITEM_SECTION, 1);
}

static enum colo_stream_event
take_ram_section(struct colo_stream *s, enum ram_part part)
{
	if (part == RAM_START ? s->listed : !s->listed)
		return colo_stream_refuse(s,
			"RAM's section type 0x%02x is not accepted %s its "
			"start section (0x01)",
			s->item[0], s->listed ? "after" : "before");
	if (!s->return_path)
		return colo_stream_refuse(s, "RAM is not accepted before the return path is "
					     "opened: set the primary's capability return-path");
	s->part = part;
	if (part == RAM_START)
		return colo_stream_await(s, ITEM_RAM_START, 5);
	return colo_stream_await(s, ITEM_RAM_ID, 4);
}

/* The type of the next section, or of a command. */
static enum colo_stream_event
take_section(struct colo_stream *s)
{
	unsigned int type = s->item[0];

	if (type == SECTION_FULL && s->ram_done)
		return colo_stream_devices_begin(s);
	if (s->ram_done)
		return colo_stream_refuse(s,
			"section type 0x%02x is not accepted here: after the "
			"end of RAM device sections (0x04) are",
			type);
	switch (type) {
	case SECTION_START:
		return take_ram_section(s, RAM_START);
	case SECTION_PART:
		return take_ram_section(s, RAM_PART);
	case SECTION_END:
		return take_ram_section(s, RAM_END);
	case SECTION_COMMAND:
		return colo_stream_await(s, ITEM_COMMAND, 4);
	case SECTION_SUBSECTION:
		return colo_stream_refuse(s,
			"a configuration with subsections is not accepted: "
			"switch the primary's capabilities x-ignore-shared, mapped-ram and "
			"validate-uuid off");
	}
	return colo_stream_refuse(s,
		"section type 0x%02x is not accepted here: RAM (0x01, 0x02, "
		"0x03) and commands (0x08) are",
		type);
}

/* @return how many bytes of data a command has, or -1 if it is none that we take. */
static int
command_size(unsigned int command)
{
	switch (command) {
	case COMMAND_PING:
		return 4;
	case COMMAND_OPEN_RETURN_PATH:
	case COMMAND_SWITCHOVER_START:
		return 0;
	}
	return -1;
}

static enum colo_stream_event
take_command(struct colo_stream *s)
{
	unsigned int length = get_be16(s->item + 2);
	int wanted;

	s->command = get_be16(s->item);
	wanted = command_size(s->command);
	if (wanted < 0 || length != (unsigned int)wanted)
		return colo_stream_refuse(s,
			"command %u of %u bytes is not accepted: open return path (1, 0 bytes), "
			"ping (2, 4 bytes) and switchover start (11, 0 bytes) are%s",
			s->command, length,
			s->command == COMMAND_ENABLE_COLO ? "; QEMU 11 is needed" : "");
	return colo_stream_await(s, ITEM_COMMAND_DATA, length);
}

static enum colo_stream_event
take_command_data(struct colo_stream *s)
{
	bool *seen = s->command == COMMAND_SWITCHOVER_START ? &s->switched : &s->return_path;

	if (s->command == COMMAND_PING) {
		s->ping = get_be32(s->item);
		colo_stream_await(s, ITEM_SECTION, 1);
		return COLO_STREAM_PING;
	}
	if (*seen)
		return colo_stream_refuse(
			s, "command %u is accepted once; it came twice", s->command);
	if (s->command == COMMAND_SWITCHOVER_START && !s->listed)
		return colo_stream_refuse(s, "command %u is not accepted before RAM", s->command);
	*seen = true;
	return colo_stream_await(s, ITEM_SECTION, 1);
}

static enum colo_stream_event
take_ram_start(struct colo_stream *s)
{
	s->ram_section = get_be32(s->item);
	return colo_stream_await(s, ITEM_RAM_NAME, s->item[4] + 8u);
}

static enum colo_stream_event
take_ram_name(struct colo_stream *s)
{
	size_t length = s->need - 8;
	uint32_t instance = get_be32(s->item + length), version = get_be32(s->item + length + 4);

	colo_stream_printable(s->item, length);
	if (length != 3 || memcmp(s->item, "ram", 3) != 0)
		return colo_stream_refuse(s,
			"a section called %.*s is not accepted: only ram is; switch off what else "
			"migrates in parts",
			(int)length, (const char *)s->item);
	if (instance != 0 || version != RAM_VERSION)
		return colo_stream_refuse(s,
			"RAM's instance %u, version %u is not accepted: instance 0, version %u is",
			instance, version, RAM_VERSION);
	return colo_stream_await(s, ITEM_RECORD, 8);
}

static enum colo_stream_event
check_ram_id(struct colo_stream *s, uint32_t id)
{
	if (id == s->ram_section)
		return GO_ON;
	return colo_stream_refuse(
		s, "section id %u is not accepted here: RAM's id %u is", id, s->ram_section);
}

static enum colo_stream_event
take_ram_id(struct colo_stream *s)
{
	if (check_ram_id(s, get_be32(s->item)) != GO_ON)
		return COLO_STREAM_FAILED;
	return colo_stream_await(s, ITEM_RECORD, 8);
}

/* End of a RAM section: what follows depends on which one it was. */
static enum colo_stream_event
take_footer(struct colo_stream *s)
{
	if (s->item[0] != SECTION_FOOTER)
		return colo_stream_refuse(
			s, "0x%02x is not accepted here: a footer (0x7e) is", s->item[0]);
	if (check_ram_id(s, get_be32(s->item + 1)) != GO_ON)
		return COLO_STREAM_FAILED;
	if (s->part == RAM_CHECKPOINT)
		return colo_stream_await(s, ITEM_CHECKPOINT_EOF, 1);
	colo_stream_await(s, ITEM_SECTION, 1);
	if (s->part == RAM_START)
		return GO_ON;
	s->ram_done = s->part == RAM_END;
	return s->ram_done ? COLO_STREAM_RAM_END : COLO_STREAM_PART;
}

static const char *
message_name(uint32_t message)
{
	switch (message) {
	case MESSAGE_REQUEST:
		return "checkpoint-request";
	case MESSAGE_VMSTATE_SEND:
		return "vmstate-send";
	case MESSAGE_VMSTATE_SIZE:
		return "vmstate-size";
	}
	return "none of a primary's";
}

static enum colo_stream_event
take_message(struct colo_stream *s)
{
	uint32_t message = get_be32(s->item);

	if (message != s->expected)
		return colo_stream_refuse(s,
			"COLO message %u (%s) is not accepted here: %u (%s) is", message,
			message_name(message), s->expected, message_name(s->expected));
	switch (message) {
	case MESSAGE_REQUEST:
		s->expected = MESSAGE_VMSTATE_SEND;
		colo_stream_await(s, ITEM_MESSAGE, 4);
		s->pending = COLO_STREAM_REQUEST;
		return COLO_STREAM_REQUEST;
	case MESSAGE_VMSTATE_SEND:
		colo_stream_await(s, ITEM_CHECKPOINT_RAM, 5);
		return COLO_STREAM_STOPPED;
	}
	return colo_stream_await(s, ITEM_DEVICE_SIZE, 8);
}

static enum colo_stream_event
take_checkpoint_ram(struct colo_stream *s)
{
	if (s->item[0] != SECTION_END)
		return colo_stream_refuse(s,
			"section type 0x%02x is not accepted here: a checkpoint's RAM (0x03) is",
			s->item[0]);
	if (check_ram_id(s, get_be32(s->item + 1)) != GO_ON)
		return COLO_STREAM_FAILED;
	s->part = RAM_CHECKPOINT;
	return colo_stream_await(s, ITEM_RECORD, 8);
}

static enum colo_stream_event
take_checkpoint_eof(struct colo_stream *s)
{
	if (s->item[0] != SECTION_EOF)
		return colo_stream_refuse(s,
			"section type 0x%02x is not accepted here: the end of a checkpoint's RAM "
			"(0x00) is",
			s->item[0]);
	s->expected = MESSAGE_VMSTATE_SIZE;
	colo_stream_await(s, ITEM_MESSAGE, 4);
	return COLO_STREAM_CHECKPOINT_RAM_END;
}

/* Who takes an item once it is complete. */
static const colo_stream_step steps[N_ITEMS] = {
	[ITEM_MAGIC] = take_magic,
	[ITEM_CONFIGURATION] = take_configuration,
	[ITEM_MACHINE] = take_machine,
	[ITEM_SECTION] = take_section,
	[ITEM_COMMAND] = take_command,
	[ITEM_COMMAND_DATA] = take_command_data,
	[ITEM_RAM_START] = take_ram_start,
	[ITEM_RAM_NAME] = take_ram_name,
	[ITEM_RAM_ID] = take_ram_id,
	[ITEM_FOOTER] = take_footer,
	[ITEM_RECORD] = colo_stream_record,
	[ITEM_LISTED_LENGTH] = colo_stream_listed_length,
	[ITEM_LISTED] = colo_stream_listed,
	[ITEM_BLOCK_LENGTH] = colo_stream_block_length,
	[ITEM_BLOCK] = colo_stream_block,
	[ITEM_PAGE] = colo_stream_page,
	[ITEM_PAGE_BYTES] = colo_stream_page_bytes,
	[ITEM_FILL] = colo_stream_fill,
	[ITEM_ZERO] = colo_stream_zero,
	[ITEM_DEVICES] = colo_stream_devices,
	[ITEM_MESSAGE] = take_message,
	[ITEM_CHECKPOINT_RAM] = take_checkpoint_ram,
	[ITEM_CHECKPOINT_EOF] = take_checkpoint_eof,
	[ITEM_DEVICE_SIZE] = colo_stream_device_size,
	[ITEM_DEVICE_BYTES] = colo_stream_device_bytes,
};

/* Move up to @p n bytes that were read ahead. @return how many. */
static size_t
take_ahead(struct colo_stream *s, uint8_t *to, size_t n)
{
	size_t there = s->ahead_end - s->ahead_at;

	if (n > there)
		n = there;
	memcpy(to, s->ahead + s->ahead_at, n);
	s->ahead_at += n;
	if (s->ahead_at == s->ahead_end)
		s->ahead_at = s->ahead_end = 0;
	s->consumed += n;
	return n;
}

/* @return true once the item at hand is complete. */
static bool
complete_item(struct colo_stream *s)
{
	if (s->direct != NULL) {
		size_t n = take_ahead(s, s->direct, s->direct_left);

		s->direct += n;
		s->direct_left -= n;
		if (s->state == ITEM_DEVICES) /* any number of bytes may be all */
			return true;
		if (s->direct_left > 0)
			return false;
		s->direct = NULL;
	}
	s->have += take_ahead(s, s->item + s->have, s->need - s->have);
	return s->have == s->need;
}

/* An event that waits for the caller: is anything wrong with that? */
static enum colo_stream_event
repeat(struct colo_stream *s)
{
	if (s->pending == COLO_STREAM_FLUSH || s->ahead_at == s->ahead_end)
		return s->pending;
	s->need = 0;
	return colo_stream_refuse(s,
		"%zu bytes came before the %s was answered: the primary must "
		"wait",
		s->ahead_end - s->ahead_at,
		s->pending == COLO_STREAM_REQUEST ? "request of a checkpoint" : "checkpoint");
}

enum colo_stream_event
colo_stream_next(struct colo_stream *s, struct colo_error *err)
{
	enum colo_stream_event event = GO_ON;

	while (event == GO_ON && !s->failed) {
		if (s->pending != COLO_STREAM_MORE)
			event = repeat(s);
		else
			event = complete_item(s) ? steps[s->state](s) : COLO_STREAM_MORE;
	}
	if (!s->failed)
		return event;
	colo_error_set(err, "%s", s->error.text);
	return COLO_STREAM_FAILED;
}

void
colo_stream_init(
	struct colo_stream *s, const struct colo_page_sink *sink, uint8_t *device, size_t size)
{
	*s = (struct colo_stream){.sink = sink, .device = device, .device_size = size, .block = -1};
	colo_stream_await(s, ITEM_MAGIC, 8);
}

unsigned int
colo_stream_want(struct colo_stream *s, struct iovec iov[COLO_STREAM_IOV])
{
	unsigned int n = 0;

	if (s->direct != NULL && s->direct_left > 0)
		iov[n++] = (struct iovec){.iov_base = s->direct, .iov_len = s->direct_left};
	if (s->ahead_end < sizeof(s->ahead))
		iov[n++] = (struct iovec){.iov_base = s->ahead + s->ahead_end,
			.iov_len = sizeof(s->ahead) - s->ahead_end};
	return n;
}

void
colo_stream_got(struct colo_stream *s, size_t n)
{
	if (s->direct != NULL) {
		size_t direct = n < s->direct_left ? n : s->direct_left;

		s->direct += direct;
		s->direct_left -= direct;
		s->consumed += direct;
		n -= direct;
	}
	assert(n <= sizeof(s->ahead) - s->ahead_end);
	s->ahead_end += n;
}

void
colo_stream_answered(struct colo_stream *s)
{
	if (s->state == ITEM_DEVICES) {
		s->direct = NULL;
		colo_stream_await(s, ITEM_MESSAGE, 4);
	}
	s->pending = COLO_STREAM_MORE;
}

int
colo_stream_closed(struct colo_stream *s, struct colo_error *err)
{
	bool between = s->state == ITEM_MESSAGE && s->have == 0;

	if (!s->failed && between && s->pending == COLO_STREAM_REQUEST)
		return 0;
	if (!s->failed && between && s->expected == MESSAGE_REQUEST &&
		s->pending == COLO_STREAM_MORE)
		return 0;
	if (!s->failed) {
		s->need = 0;
		colo_stream_refuse(s, "the primary closed it in the middle of %s",
			s->expected == 0 || s->state == ITEM_DEVICES ? "precopy" : "a checkpoint");
	}
	return colo_error_set(err, "%s", s->error.text);
}
