/* SPDX-License-Identifier: BSD-3-Clause */
/* TLS 1.3 by OpenSSL: one context with the pre-shared key, an engine for each connection. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "psk.h"
#include "tls.h"

#define CIPHER_SUITE "TLS_AES_256_GCM_SHA384" /* the key's hash has to be the suite's */
#define GROUPS	     "X25519:P-256"

/* Seconds that OpenSSL honours the key from its reading on; by itself it would be five minutes. */
#define KEY_LIFETIME_S (100L * 366 * 86400)

#define ALERT_FIRST_BYTE 0x15 /* of a server that refuses the handshake */

static const uint8_t cipher_id[2] = {0x13, 0x02}; /* of CIPHER_SUITE, RFC 8446 B.4 */

struct colo_tls {
	struct colo_psk psk;
	SSL_CTX *ctx;
	SSL_SESSION *session; /* the key in OpenSSL's form; each handshake copies it */
	BIO_METHOD *bio;
};

struct colo_tls_stream {
	SSL *ssl;
	int fd;
	bool server;
	bool up;
	bool failed;
	bool plain;	   /* the server's first byte is none of TLS */
	uint64_t received; /* bytes off the socket */
	char reason[COLO_TLS_REASON_SIZE];
};

/* ---- the socket, as OpenSSL sees it ---- */

static bool
is_try_again(int code)
{
	return code == EAGAIN || code == EWOULDBLOCK || code == EINTR;
}

/* OpenSSL's own socket BIO raises SIGPIPE. */
static int
bio_write(BIO *bio, const char *from, int length)
{
	const struct colo_tls_stream *stream = BIO_get_data(bio);
	ssize_t sent = send(stream->fd, from, (size_t)length, MSG_NOSIGNAL | MSG_DONTWAIT);

	BIO_clear_retry_flags(bio);
	if (sent < 0 && is_try_again(errno))
		BIO_set_retry_write(bio);
	return (int)sent;
}

static int
bio_read(BIO *bio, char *to, int size)
{
	struct colo_tls_stream *stream = BIO_get_data(bio);
	ssize_t got = recv(stream->fd, to, (size_t)size, MSG_DONTWAIT);

	BIO_clear_retry_flags(bio);
	if (got < 0 && is_try_again(errno))
		BIO_set_retry_read(bio);
	if (got == 0)
		BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
	if (got <= 0)
		return (int)got;
	/* an end without TLS says so in plain, which OpenSSL would take for a record */
	if (stream->received == 0 && !stream->server && to[0] != COLO_TLS_FIRST_BYTE &&
		to[0] != ALERT_FIRST_BYTE) {
		stream->plain = true;
		return -1;
	}
	stream->received += (uint64_t)got;
	return (int)got;
}

static long
bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
	(void)number;
	(void)pointer;
	if (command == BIO_CTRL_EOF)
		return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
	return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *
new_bio_method(void)
{
	BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "colo socket");

	if (m != NULL && BIO_meth_set_write(m, bio_write) == 1 &&
		BIO_meth_set_read(m, bio_read) == 1 && BIO_meth_set_ctrl(m, bio_ctrl) == 1)
		return m;
	BIO_meth_free(m);
	return NULL;
}

/* ---- the key ---- */

/* Client: this is the key to offer, unless the server already asked for another hash. */
static int
offer_key(SSL *ssl, const EVP_MD *md, const unsigned char **identity, size_t *length,
	SSL_SESSION **session)
{
	struct colo_tls *tls = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

	*session = NULL;
	if (md != NULL && EVP_MD_get_type(md) != NID_sha384)
		return 1;
	*identity = (const unsigned char *)COLO_TLS_IDENTITY;
	*length = strlen(COLO_TLS_IDENTITY);
	SSL_SESSION_up_ref(tls->session);
	*session = tls->session;
	return 1;
}

/* Server: the key by the name that the client gives it. */
static int
find_key(SSL *ssl, const unsigned char *identity, size_t length, SSL_SESSION **session)
{
	struct colo_tls *tls = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

	*session = NULL;
	if (length == strlen(COLO_TLS_IDENTITY) &&
		memcmp(identity, COLO_TLS_IDENTITY, length) == 0) {
		SSL_SESSION_up_ref(tls->session);
		*session = tls->session;
	}
	return 1;
}

/* The cipher's object exists in a connection only. */
static SSL_SESSION *
new_key_session(SSL_CTX *ctx, const struct colo_psk *psk)
{
	SSL *ssl = SSL_new(ctx);
	SSL_SESSION *session = SSL_SESSION_new();
	const SSL_CIPHER *cipher = ssl != NULL ? SSL_CIPHER_find(ssl, cipher_id) : NULL;
	bool good = session != NULL && cipher != NULL &&
		    SSL_SESSION_set1_master_key(session, psk->key, psk->length) == 1 &&
		    SSL_SESSION_set_cipher(session, cipher) == 1 &&
		    SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION) == 1 &&
		    SSL_SESSION_set_timeout(session, KEY_LIFETIME_S) != 0;

	SSL_free(ssl);
	if (good)
		return session;
	SSL_SESSION_free(session);
	return NULL;
}

/* ---- the context ---- */

static SSL_CTX *
new_context(struct colo_tls *tls)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_method());

	if (ctx == NULL)
		return NULL;
	if (SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1 ||
		SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) != 1 ||
		SSL_CTX_set_ciphersuites(ctx, CIPHER_SUITE) != 1 ||
		SSL_CTX_set1_groups_list(ctx, GROUPS) != 1 ||
		SSL_CTX_set_num_tickets(ctx, 0) != 1) {
		SSL_CTX_free(ctx);
		return NULL;
	}
	SSL_CTX_set_app_data(ctx, tls);
	SSL_CTX_set_psk_use_session_callback(ctx, offer_key);
	SSL_CTX_set_psk_find_session_callback(ctx, find_key);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	/* an end without BYE is a lost peer anyway: no need to tell cut from closed */
	SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_clear_options(ctx, SSL_OP_ENABLE_MIDDLEBOX_COMPAT | SSL_OP_ALLOW_NO_DHE_KEX);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				      SSL_MODE_RELEASE_BUFFERS);
	return ctx;
}

struct colo_tls *
colo_tls_new(const char *psk_file, struct colo_error *err)
{
	struct colo_tls *tls = calloc(1, sizeof(*tls));

	if (tls == NULL) {
		colo_error_set(err, "out of memory for TLS");
		return NULL;
	}
	if (colo_psk_read(&tls->psk, psk_file, err) != 0) {
		colo_tls_free(tls);
		return NULL;
	}
	tls->bio = new_bio_method();
	tls->ctx = new_context(tls);
	tls->session = tls->ctx != NULL ? new_key_session(tls->ctx, &tls->psk) : NULL;
	/* OpenSSL has its copy now */
	colo_psk_wipe(&tls->psk);
	if (tls->bio != NULL && tls->session != NULL)
		return tls;
	colo_error_set(err, "OpenSSL offers no TLS 1.3 with %s and %s: %s", CIPHER_SUITE, GROUPS,
		ERR_peek_last_error() != 0 ? ERR_reason_error_string(ERR_peek_last_error())
					   : "out of memory");
	colo_tls_free(tls);
	return NULL;
}

void
colo_tls_free(struct colo_tls *tls)
{
	if (tls == NULL)
		return;
	colo_psk_wipe(&tls->psk);
	SSL_SESSION_free(tls->session); /* overwrites the key */
	SSL_CTX_free(tls->ctx);
	BIO_meth_free(tls->bio);
	free(tls);
}

/* ---- a connection ---- */

struct colo_tls_stream *
colo_tls_stream_new(struct colo_tls *tls, int fd, bool server)
{
	struct colo_tls_stream *stream = calloc(1, sizeof(*stream));
	BIO *bio;

	if (stream == NULL)
		return NULL;
	stream->fd = fd;
	stream->server = server;
	stream->ssl = SSL_new(tls->ctx);
	bio = stream->ssl != NULL ? BIO_new(tls->bio) : NULL;
	if (bio == NULL) {
		colo_tls_stream_free(stream);
		return NULL;
	}
	BIO_set_data(bio, stream);
	BIO_set_init(bio, 1);
	SSL_set_bio(stream->ssl, bio, bio);
	if (server) {
		SSL_set_accept_state(stream->ssl);
		return stream;
	}
	SSL_set_connect_state(stream->ssl);
	/* a server that shows a certificate instead of knowing the key is not believed */
	SSL_set_verify(stream->ssl, SSL_VERIFY_PEER, NULL);
	return stream;
}

void
colo_tls_stream_free(struct colo_tls_stream *stream)
{
	if (stream == NULL)
		return;
	SSL_free(stream->ssl);
	free(stream);
}

#define WITHOUT_TLS "it speaks without TLS; both ends need the same --psk-file, or both --insecure"
#define OTHER_KEY   "its pre-shared key is not ours: the same --psk-file has to be at both ends"
#define NO_KEY	    "it does not offer the pre-shared key \"" COLO_TLS_IDENTITY "\""

/** What an operator can do something about, in words; NULL: OpenSSL's own are as good. */
static const char *
explain(bool server, int reason)
{
	switch (reason) {
	case SSL_R_BINDER_DOES_NOT_VERIFY:
		return OTHER_KEY;
	case SSL_R_NO_SHARED_CIPHER: /* no key, so a certificate would be due */
	case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
	case SSL_R_MISSING_SIGALGS_EXTENSION:
		return NO_KEY;
	case SSL_R_UNSUPPORTED_PROTOCOL:
	case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
		return "it speaks no TLS 1.3";
	case SSL_R_CERTIFICATE_VERIFY_FAILED:
		return "it shows a certificate instead of knowing the pre-shared key";
	case SSL_R_SSLV3_ALERT_ILLEGAL_PARAMETER:
	case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
	case SSL_R_TLSV1_ALERT_DECRYPT_ERROR:
		return server ? NULL : OTHER_KEY;
	default:
		return NULL;
	}
}

/** The stream is of no use any more. */
static enum colo_tls_status
fail(struct colo_tls_stream *stream, const char *why)
{
	stream->failed = true;
	snprintf(stream->reason, sizeof(stream->reason), "%s", why);
	ERR_clear_error();
	return COLO_TLS_FAILED;
}

/** What OpenSSL's answer @p rc means. @p code: errno of the call. */
static enum colo_tls_status
judge(struct colo_tls_stream *stream, int rc, int code)
{
	char text[COLO_TLS_REASON_SIZE];
	unsigned long error;
	const char *why;

	switch (SSL_get_error(stream->ssl, rc)) {
	case SSL_ERROR_NONE:
		return COLO_TLS_OK;
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return COLO_TLS_AGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return COLO_TLS_ENDED;
	case SSL_ERROR_SYSCALL:
		if (code == 0 || code == ECONNRESET || code == EPIPE)
			return COLO_TLS_ENDED;
		return fail(stream, strerror(code));
	default:
		error = ERR_peek_error();
		why = explain(stream->server, ERR_GET_REASON(error));
		if (why == NULL) {
			why = ERR_reason_error_string(error);
			snprintf(text, sizeof(text), "TLS: %s", why != NULL ? why : "error");
			why = text;
		}
		return fail(stream, why);
	}
}

/** OpenSSL's error queue is the thread's: what others left in it is not ours. */
static void
before_call(void)
{
	ERR_clear_error();
	errno = 0;
}

enum colo_tls_status
colo_tls_handshake(struct colo_tls_stream *stream, bool *worked)
{
	uint64_t received = stream->received;
	enum colo_tls_status status;
	int rc;

	*worked = false;
	if (stream->failed)
		return COLO_TLS_FAILED;
	before_call();
	rc = SSL_do_handshake(stream->ssl);
	if (stream->plain)
		return fail(stream, WITHOUT_TLS);
	status = judge(stream, rc, errno);
	*worked = stream->received != received;
	if (status != COLO_TLS_OK)
		return status;
	/* both are so by our settings; a key exchange that forgot the key would be no session's */
	if (SSL_session_reused(stream->ssl) != 1 || SSL_version(stream->ssl) != TLS1_3_VERSION)
		return fail(stream, "the handshake did without the pre-shared key");
	stream->up = true;
	return COLO_TLS_OK;
}

bool
colo_tls_is_up(const struct colo_tls_stream *stream)
{
	return stream->up && !stream->failed;
}

enum colo_tls_status
colo_tls_read(struct colo_tls_stream *stream, uint8_t *to, size_t size, size_t *got)
{
	int rc;

	if (!colo_tls_is_up(stream))
		return COLO_TLS_FAILED;
	before_call();
	rc = SSL_read_ex(stream->ssl, to, size, got);
	return judge(stream, rc, errno);
}

enum colo_tls_status
colo_tls_write(struct colo_tls_stream *stream, const uint8_t *from, size_t length, size_t *sent)
{
	int rc;

	if (!colo_tls_is_up(stream))
		return COLO_TLS_FAILED;
	before_call();
	rc = SSL_write_ex(stream->ssl, from, length, sent);
	return judge(stream, rc, errno);
}

void
colo_tls_close(struct colo_tls_stream *stream)
{
	if (!colo_tls_is_up(stream))
		return;
	before_call();
	SSL_shutdown(stream->ssl);
	ERR_clear_error();
}

const char *
colo_tls_reason(const struct colo_tls_stream *stream)
{
	return stream->reason;
}

int
colo_tls_export(const struct colo_tls_stream *stream, const uint8_t *context, size_t context_length,
	uint8_t *secret, size_t n)
{
	if (!colo_tls_is_up(stream) || n == 0 || n > COLO_TLS_SECRET_MAX)
		return -1;
	before_call();
	return SSL_export_keying_material(stream->ssl, secret, n, COLO_TLS_LABEL,
		       strlen(COLO_TLS_LABEL), context, context_length, 1) == 1
		       ? 0
		       : -1;
}
