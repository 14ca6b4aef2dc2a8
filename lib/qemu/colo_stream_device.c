/* SPDX-License-Identifier: BSD-3-Clause */
/* Device sections of a COLO primary's main channel: precopy's, of unknown length, and a
 * checkpoint's. Both are kept verbatim. */
#include <inttypes.h>
#include <string.h>

#include "colo_stream_items.h"
#include "json.h"

/* How QEMU 11's description of the devices begins: 00 of the sections, 06 be32 length, JSON. */
static const char json_begin[] = "{\"configuration\"";

#define JSON_BEGIN_SIZE	 (sizeof(json_begin) - 1)
#define DESCRIPTION_HEAD 5u /* 06 be32 length */
#define DEVICES_MIN	 (1u + FOOTER_SIZE + 1u)

static void
collect_into(struct colo_stream *s, size_t used, size_t size)
{
	s->direct = s->device + used;
	s->direct_left = size - used;
}

/* Do the first @p length bytes end as device sections do: a footer, then 00? */
static bool
ends_well(const uint8_t *device, size_t length)
{
	return length >= DEVICES_MIN && device[length - 1] == SECTION_EOF &&
	       device[length - 1 - FOOTER_SIZE] == SECTION_FOOTER;
}

/* The type of the first one was read already. */
enum colo_stream_event
colo_stream_devices_begin(struct colo_stream *s)
{
	s->device[0] = SECTION_FULL;
	s->device_looked = 0;
	s->n_candidates = 0;
	collect_into(s, 1, s->device_size);
	return colo_stream_await(s, ITEM_DEVICES, 0);
}

/* JSON begins at @p json; is it a description whose head stands before it? */
static enum colo_stream_event
add_candidate(struct colo_stream *s, size_t json)
{
	const uint8_t *head = s->device + json - DESCRIPTION_HEAD;
	size_t length;

	if (json < DESCRIPTION_HEAD || head[0] != SECTION_DESCRIPTION ||
		!ends_well(s->device, json - DESCRIPTION_HEAD))
		return GO_ON;
	length = get_be32(head + 1);
	if (length > COLO_STREAM_JSON_MAX || length > s->device_size - json)
		return colo_stream_refuse(s,
			"the devices' description of %zu bytes is not accepted: %u are, and %zu "
			"bytes together with the device sections",
			length, COLO_STREAM_JSON_MAX, s->device_size);
	if (s->n_candidates == COLO_STREAM_CANDIDATES)
		return colo_stream_refuse(s,
			"more than %u descriptions inside the device sections are not accepted",
			COLO_STREAM_CANDIDATES);
	s->candidate_at[s->n_candidates] = json - DESCRIPTION_HEAD;
	s->candidate_end[s->n_candidates++] = json + length;
	return GO_ON;
}

static enum colo_stream_event
look_for_descriptions(struct colo_stream *s, size_t used)
{
	while (used - s->device_looked >= JSON_BEGIN_SIZE) {
		const uint8_t *from = s->device + s->device_looked;
		const uint8_t *found =
			memmem(from, used - s->device_looked, json_begin, JSON_BEGIN_SIZE);

		if (found == NULL) {
			s->device_looked = used - JSON_BEGIN_SIZE + 1;
			break;
		}
		s->device_looked = (size_t)(found - s->device) + 1;
		if (add_candidate(s, (size_t)(found - s->device)) != GO_ON)
			return COLO_STREAM_FAILED;
	}
	return GO_ON;
}

static bool
is_description(const char *text, size_t length)
{
	struct colo_json json, member, device;
	uint64_t page_size;

	return colo_json_parse(text, length, &json) == 0 &&
	       colo_json_member(&json, "page_size", &member) &&
	       colo_json_u64(&member, &page_size) == 0 && page_size == COLO_PAGE_SIZE &&
	       colo_json_member(&json, "devices", &member) &&
	       colo_json_element(&member, 0, &device);
}

/* Forget those that more bytes follow. @return the length of the sections, if one ends here. */
static size_t
ending_candidate(struct colo_stream *s, size_t used)
{
	unsigned int kept = 0;
	size_t length = 0;

	for (unsigned int i = 0; i < s->n_candidates; i++) {
		size_t at = s->candidate_at[i], end = s->candidate_end[i];
		size_t json = at + DESCRIPTION_HEAD;

		if (end < used)
			continue;
		s->candidate_at[kept] = at;
		s->candidate_end[kept++] = end;
		if (end == used && is_description((const char *)s->device + json, end - json))
			length = at;
	}
	s->n_candidates = kept;
	return length;
}

enum colo_stream_event
colo_stream_devices(struct colo_stream *s)
{
	size_t used = (size_t)(s->direct - s->device);
	size_t length;

	if (look_for_descriptions(s, used) != GO_ON)
		return COLO_STREAM_FAILED;
	length = ending_candidate(s, used);
	if (length > 0 && s->ahead_at == s->ahead_end) {
		s->device_length = length;
		s->expected = 1;
		return COLO_STREAM_PRECOPY;
	}
	if (s->direct_left == 0)
		return colo_stream_refuse(s,
			"device sections and their description without an end in %zu bytes are "
			"not accepted",
			s->device_size);
	return COLO_STREAM_MORE;
}

enum colo_stream_event
colo_stream_device_size(struct colo_stream *s)
{
	uint64_t size = get_be64(s->item);

	if (size < DEVICES_MIN || size > s->device_size)
		return colo_stream_refuse(s,
			"a device state of %" PRIu64 " bytes is not accepted: %u to %zu bytes are",
			size, DEVICES_MIN, s->device_size);
	collect_into(s, 0, size);
	s->device_length = size;
	return colo_stream_await(s, ITEM_DEVICE_BYTES, 0);
}

enum colo_stream_event
colo_stream_device_bytes(struct colo_stream *s)
{
	if (s->device[0] != SECTION_FULL || !ends_well(s->device, s->device_length))
		return colo_stream_refuse(s,
			"a device state is accepted that begins with a section (04) and ends in a "
			"footer and 00; this one of %zu bytes does not",
			s->device_length);
	s->checkpoints++;
	s->expected = 1;
	colo_stream_await(s, ITEM_MESSAGE, 4);
	s->pending = COLO_STREAM_CHECKPOINT;
	return COLO_STREAM_CHECKPOINT;
}
