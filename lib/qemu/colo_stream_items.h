/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to colo_stream*.c: the items that a main channel consists of, and who takes them. */
#ifndef COLO_QEMU_COLO_STREAM_ITEMS_H
#define COLO_QEMU_COLO_STREAM_ITEMS_H

#include "big_endian.h"
#include "colo_stream.h"

/* In the order of the steps[] in colo_stream.c. */
enum item {
	ITEM_MAGIC,
	ITEM_CONFIGURATION,
	ITEM_MACHINE,
	ITEM_SECTION,
	ITEM_COMMAND,
	ITEM_COMMAND_DATA,
	ITEM_RAM_START,
	ITEM_RAM_NAME,
	ITEM_RAM_ID,
	ITEM_FOOTER,
	ITEM_RECORD,
	ITEM_LISTED_LENGTH,
	ITEM_LISTED,
	ITEM_BLOCK_LENGTH,
	ITEM_BLOCK,
	ITEM_PAGE,
	ITEM_PAGE_BYTES,
	ITEM_FILL,
	ITEM_ZERO,
	ITEM_DEVICES,
	ITEM_MESSAGE,
	ITEM_CHECKPOINT_RAM,
	ITEM_CHECKPOINT_EOF,
	ITEM_DEVICE_SIZE,
	ITEM_DEVICE_BYTES,
	N_ITEMS,
};

enum ram_part {
	RAM_START,
	RAM_PART,
	RAM_END,
	RAM_CHECKPOINT,
};

enum section_type {
	SECTION_EOF = 0x00,
	SECTION_START = 0x01,
	SECTION_PART = 0x02,
	SECTION_END = 0x03,
	SECTION_FULL = 0x04,
	SECTION_SUBSECTION = 0x05,
	SECTION_DESCRIPTION = 0x06,
	SECTION_CONFIGURATION = 0x07,
	SECTION_COMMAND = 0x08,
	SECTION_FOOTER = 0x7e,
};

#define FOOTER_SIZE 5u

/* What a step returns when there is nothing to tell: an event that no caller sees. */
#define GO_ON ((enum colo_stream_event)100)

typedef enum colo_stream_event (*colo_stream_step)(struct colo_stream *s);

/* Wait for an item of @p need bytes; 0: its step is called at once. @return GO_ON. */
enum colo_stream_event colo_stream_await(struct colo_stream *s, enum item item, size_t need);

/* Store the sentence, with the place it is about. @return FAILED. */
enum colo_stream_event colo_stream_refuse(struct colo_stream *s, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Are all characters printable? Others become '?', so that a sentence can show them. */
bool colo_stream_printable(uint8_t *text, size_t length);

/* colo_stream_ram.c */
enum colo_stream_event colo_stream_record(struct colo_stream *s);
enum colo_stream_event colo_stream_listed_length(struct colo_stream *s);
enum colo_stream_event colo_stream_listed(struct colo_stream *s);
enum colo_stream_event colo_stream_block_length(struct colo_stream *s);
enum colo_stream_event colo_stream_block(struct colo_stream *s);
enum colo_stream_event colo_stream_page(struct colo_stream *s);
enum colo_stream_event colo_stream_page_bytes(struct colo_stream *s);
enum colo_stream_event colo_stream_fill(struct colo_stream *s);
enum colo_stream_event colo_stream_zero(struct colo_stream *s);

/* colo_stream_device.c */
enum colo_stream_event colo_stream_devices_begin(struct colo_stream *s);
enum colo_stream_event colo_stream_devices(struct colo_stream *s);
enum colo_stream_event colo_stream_device_size(struct colo_stream *s);
enum colo_stream_event colo_stream_device_bytes(struct colo_stream *s);

#endif
