/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The main channel of a COLO primary. The input: u8 options, u8 bytes of a read (0: as many as
 * wanted), then what arrives at once before the primary is silent: u16 length and bytes, again and
 * again. Events are answered at each silence.
 *
 * Checked: pages lie in their blocks (each block is memory of exactly its size), device sections in
 * their buffer; a stream that failed stays so, with one sentence.
 */
#include "colo_stream.h"
#include "fuzz_stream.h"

enum option {
	OPTION_HOLD = 0x01,	    /* the sink says "not now" each third time */
	OPTION_SMALL_DEVICE = 0x02, /* a buffer for few device sections */
};

#define DEVICE_SIZE	  16384u
#define DEVICE_SIZE_SMALL 64u
#define TURNS_MAX	  100000u

static struct {
	struct colo_stream s;
	struct ut_image image;
	uint8_t *device;
	size_t device_size;
	size_t part; /* bytes of a read at most */
} t;

static void
begin(uint8_t options, uint8_t part)
{
	t.device_size = options & OPTION_SMALL_DEVICE ? DEVICE_SIZE_SMALL : DEVICE_SIZE;
	t.device = malloc(t.device_size);
	FUZZ_CHECK(t.device != NULL);
	t.part = part != 0 ? part : SIZE_MAX;
	fuzz_image_init(&t.image, options & OPTION_HOLD ? 3 : 0);
	colo_stream_init(&t.s, &t.image.sink, t.device, t.device_size);
}

static void
check_failed(void)
{
	struct colo_error first = {""}, again = {""};

	FUZZ_CHECK(colo_stream_next(&t.s, &first) == COLO_STREAM_FAILED);
	FUZZ_CHECK(colo_stream_next(&t.s, &again) == COLO_STREAM_FAILED);
	FUZZ_CHECK(strcmp(first.text, again.text) == 0);
	fuzz_check_sentence(first.text, sizeof(first.text));
	FUZZ_CHECK(colo_stream_closed(&t.s, &again) != 0);
}

static void
check_wanted(const struct iovec *iov, unsigned int n)
{
	FUZZ_CHECK(n > 0 && n <= COLO_STREAM_IOV);
	for (unsigned int i = 0; i < n; i++)
		FUZZ_CHECK(iov[i].iov_len > 0);
}

/* Parse what is there. @return the event that cannot be passed now. */
static enum colo_stream_event
parse(bool silent)
{
	struct colo_error err = {""};

	for (unsigned int turn = 0; turn < TURNS_MAX; turn++) {
		enum colo_stream_event event = colo_stream_next(&t.s, &err);

		switch (event) {
		case COLO_STREAM_PRECOPY:
		case COLO_STREAM_CHECKPOINT:
			FUZZ_CHECK(t.s.device_length <= t.device_size);
			/* fall through */
		case COLO_STREAM_REQUEST:
			if (!silent)
				return event;
			/* fall through */
		case COLO_STREAM_FLUSH:
			colo_stream_answered(&t.s);
			break;
		case COLO_STREAM_MORE:
		case COLO_STREAM_FAILED:
			return event;
		default: /* to be noted; HELD: asked again */
			break;
		}
	}
	FUZZ_CHECK(!"a parser that does not end");
	return COLO_STREAM_FAILED;
}

/* What arrives before the primary is silent. @return false: the stream is over. */
static bool
feed(const uint8_t *bytes, size_t n)
{
	enum colo_stream_event event = parse(false);

	while (n > 0 && event != COLO_STREAM_FAILED) {
		struct iovec iov[COLO_STREAM_IOV];
		unsigned int n_iov = colo_stream_want(&t.s, iov);
		size_t done;

		if (n_iov == 0) /* what waits for an answer has filled the buffer */
			break;
		check_wanted(iov, n_iov);
		done = ut_scatter(iov, n_iov, bytes, n < t.part ? n : t.part);
		colo_stream_got(&t.s, done);
		bytes += done;
		n -= done;
		event = parse(false);
	}
	return event != COLO_STREAM_FAILED && parse(true) != COLO_STREAM_FAILED;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	uint8_t options = fuzz_u8(&in), part = fuzz_u8(&in);
	struct colo_error err = {""};
	bool on = true;

	begin(options, part);
	while (on && in.left > 0) {
		size_t n = fuzz_u16(&in);
		const uint8_t *bytes = fuzz_bytes(&in, &n);

		on = feed(bytes, n);
	}
	if (!on)
		check_failed();
	else if (colo_stream_closed(&t.s, &err) != 0)
		fuzz_check_sentence(err.text, sizeof(err.text));
	ut_image_free(&t.image);
	free(t.device);
	return 0;
}
