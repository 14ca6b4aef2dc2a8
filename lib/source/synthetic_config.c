/* SPDX-License-Identifier: BSD-3-Clause */
/* The keys of --source synthetic: one setter each, one table. */
#include <string.h>

#include "bounds.h"
#include "synthetic_config.h"
#include "text.h"

#define WHO "--source synthetic"

/* Guests measured at rest and under load: pages changed in 600 ms. */
#define REST_MAX_MS	  10000u
#define PRESET_IDLE_PAGES 600u
#define PRESET_LOAD_PAGES 7800u

static int
set_size(void *target, const char *value)
{
	struct colo_synthetic_config *c = target;

	c->has_size = true;
	if (colo_parse_size(value, &c->size) != 0)
		return -1;
	return c->size >= COLO_PAGE_SIZE && c->size <= COLO_MAX_BLOCK_SIZE &&
			       c->size % COLO_PAGE_SIZE == 0
		       ? 0
		       : -1;
}

static int
set_dirty(void *target, const char *value)
{
	struct colo_synthetic_config *c = target;

	c->has_dirty = true;
	if (colo_parse_digits(value, &c->dirty) != 0)
		return -1;
	return c->dirty <= UINT32_MAX ? 0 : -1;
}

static int
set_seed(void *target, const char *value)
{
	return colo_parse_digits(value, &((struct colo_synthetic_config *)target)->seed);
}

static int
set_zero(void *target, const char *value)
{
	return colo_parse_percent(value, 100, &((struct colo_synthetic_config *)target)->zero);
}

static int
set_dirty_zero(void *target, const char *value)
{
	return colo_parse_percent(
		value, 100, &((struct colo_synthetic_config *)target)->dirty_zero);
}

static int
set_compress(void *target, const char *value)
{
	return colo_parse_percent(value, 100, &((struct colo_synthetic_config *)target)->compress);
}

static int
set_mix(void *target, const char *value)
{
	struct colo_synthetic_config *c = target;

	c->has_mix = true;
	return colo_parse_percent(value, 100, &c->mix);
}

static int
set_image(void *target, const char *value)
{
	struct colo_synthetic_config *c = target;

	if (value[0] == '\0' || strlen(value) >= sizeof(c->image))
		return -1;
	strcpy(c->image, value);
	return 0;
}

static int
set_preset(void *target, const char *value)
{
	struct colo_synthetic_config *c = target;

	if (strcmp(value, "idle") == 0)
		c->preset_dirty = PRESET_IDLE_PAGES;
	else if (strcmp(value, "load") == 0)
		c->preset_dirty = PRESET_LOAD_PAGES;
	else
		return -1;
	return 0;
}

static int
set_pattern(void *target, const char *value)
{
	struct colo_synthetic_config *c = target;

	c->clustered = strcmp(value, "clustered") == 0;
	return c->clustered || strcmp(value, "random") == 0 ? 0 : -1;
}

static int
set_device(void *target, const char *value)
{
	struct colo_synthetic_config *c = target;

	if (colo_parse_size(value, &c->device) != 0)
		return -1;
	return c->device <= COLO_MAX_BLOCK_SIZE ? 0 : -1;
}

static int
set_rest(void *target, const char *value)
{
	uint64_t ms;

	if (colo_parse_digits(value, &ms) != 0 || ms > REST_MAX_MS)
		return -1;
	((struct colo_synthetic_config *)target)->rest_ms = ms;
	return 0;
}

static const struct colo_key keys[] = {
	{"size", set_size, "a multiple of 4096 bytes from 4k to 4T"},
	{"dirty", set_dirty, "a number of pages from 0 to 4294967295"},
	{"seed", set_seed, "a number from 0 to 18446744073709551615"},
	{"zero", set_zero, "0 to 100 percent"},
	{"dirty-zero", set_dirty_zero, "0 to 100 percent"},
	{"compress", set_compress, "0 to 100 percent"},
	{"image", set_image, "the path of a file"},
	{"mix", set_mix, "0 to 100 percent"},
	{"preset", set_preset, "idle or load"},
	{"pattern", set_pattern, "random or clustered"},
	{"rest", set_rest, "0 to 10000 milliseconds"},
	{"device", set_device, "a number of bytes from 0 to what --device-state-size has room for"},
};

int
colo_synthetic_config_parse(
	struct colo_synthetic_config *c, const char *args, struct colo_error *err)
{
	*c = (struct colo_synthetic_config){
		.size = 1ull << 30,
		.dirty = PRESET_IDLE_PAGES,
		.seed = 1,
		.zero = 360000,
		.compress = 500000,
		.mix = COLO_SYNTHETIC_ALL,
		.device = 13000,
	};
	if (colo_keys_parse(WHO, args, keys, sizeof(keys) / sizeof(keys[0]), c, err) != 0)
		return -1;
	if (c->has_mix && c->image[0] == '\0')
		return colo_error_set(
			err, WHO ": mix says how much is from an image; image=FILE is missing");
	if (c->preset_dirty != 0 && !c->has_dirty)
		c->dirty = c->preset_dirty;
	return 0;
}
