/* SPDX-License-Identifier: BSD-3-Clause */
/* tls.c: handshakes that succeed and that must not, over socket pairs; what the exporter gives. */
#include <signal.h>
#include <sys/socket.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "ut_session.h"

#define OTHER_KEY "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100"

/* Both ends of one connection. */
struct ends {
	int fd[2];
	struct colo_tls_stream *client, *server;
	enum colo_tls_status client_is, server_is;
};

static struct ends
make_ends(struct colo_tls *client, struct colo_tls *server)
{
	struct ends e = {.client_is = COLO_TLS_AGAIN, .server_is = COLO_TLS_AGAIN};

	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM, 0, e.fd), 0);
	if (client != NULL)
		e.client = colo_tls_stream_new(client, e.fd[0], false);
	if (server != NULL)
		e.server = colo_tls_stream_new(server, e.fd[1], true);
	return e;
}

static void
free_ends(struct ends *e)
{
	colo_tls_stream_free(e->client);
	colo_tls_stream_free(e->server);
	close(e->fd[0]);
	close(e->fd[1]);
}

static void
shake_hands(struct ends *e)
{
	bool worked;

	for (unsigned int i = 0; i < 10; i++) {
		if (e->client != NULL && e->client_is == COLO_TLS_AGAIN)
			e->client_is = colo_tls_handshake(e->client, &worked);
		if (e->server != NULL && e->server_is == COLO_TLS_AGAIN)
			e->server_is = colo_tls_handshake(e->server, &worked);
	}
}

static struct ends
make_up(struct colo_tls *tls)
{
	struct ends e = make_ends(tls, tls);

	shake_hands(&e);
	CU_ASSERT_EQUAL_FATAL(e.client_is, COLO_TLS_OK);
	CU_ASSERT_EQUAL_FATAL(e.server_is, COLO_TLS_OK);
	return e;
}

static void
same_key(void)
{
	struct colo_tls *tls = ut_make_tls(UT_KEY), *again = ut_make_tls(UT_KEY "\n");
	struct ends e = make_ends(tls, again);
	uint8_t got[8];
	size_t n;

	CU_ASSERT_FALSE(colo_tls_is_up(e.client));
	CU_ASSERT_EQUAL(colo_tls_read(e.client, got, 8, &n), COLO_TLS_FAILED);
	CU_ASSERT_EQUAL(colo_tls_write(e.client, got, 8, &n), COLO_TLS_FAILED);
	shake_hands(&e);
	CU_ASSERT_EQUAL(e.client_is, COLO_TLS_OK);
	CU_ASSERT_EQUAL(e.server_is, COLO_TLS_OK);
	CU_ASSERT_EQUAL(colo_tls_read(e.server, got, 8, &n), COLO_TLS_AGAIN);
	CU_ASSERT_EQUAL(colo_tls_write(e.client, (const uint8_t *)"hello", 5, &n), COLO_TLS_OK);
	CU_ASSERT_EQUAL(n, 5);
	CU_ASSERT_EQUAL(colo_tls_read(e.server, got, 3, &n), COLO_TLS_OK);
	CU_ASSERT_EQUAL(n, 3);
	CU_ASSERT_EQUAL(colo_tls_read(e.server, got + 3, 3, &n), COLO_TLS_OK);
	CU_ASSERT_EQUAL(n, 2);
	CU_ASSERT_EQUAL(memcmp(got, "hello", 5), 0);
	colo_tls_close(e.client);
	CU_ASSERT_EQUAL(colo_tls_read(e.server, got, 8, &n), COLO_TLS_ENDED);
	free_ends(&e);
	colo_tls_free(tls);
	colo_tls_free(again);
	colo_tls_free(NULL);
}

/* libssl's calls lead here, too. */
static time_t later_s;

time_t
time(time_t *to)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (to != NULL)
		*to = now.tv_sec + later_s;
	return now.tv_sec + later_s;
}

/* OpenSSL forgets a session after five minutes; a key is not one that it may forget. */
static void
long_running(void)
{
	static const time_t ages_s[] = {60, 3600, 86400, 366 * 86400, 10ll * 366 * 86400, -86400};
	struct colo_tls *tls = ut_make_tls(UT_KEY);

	for (unsigned int i = 0; i < sizeof(ages_s) / sizeof(ages_s[0]); i++) {
		struct ends e = make_ends(tls, tls);

		later_s = ages_s[i];
		shake_hands(&e);
		CU_ASSERT_EQUAL(e.client_is, COLO_TLS_OK);
		CU_ASSERT_EQUAL(e.server_is, COLO_TLS_OK);
		free_ends(&e);
	}
	later_s = 0;
	colo_tls_free(tls);
}

static void
longest_key(void)
{
	char digits[513];
	struct colo_tls *tls;
	struct ends e;

	memset(digits, 'e', 512);
	digits[512] = '\0';
	tls = ut_make_tls(digits);
	e = make_up(tls);
	free_ends(&e);
	colo_tls_free(tls);
}

static void
wrong_key(void)
{
	struct colo_tls *a = ut_make_tls(UT_KEY), *b = ut_make_tls(OTHER_KEY);
	struct ends e = make_ends(a, b);
	bool worked;

	shake_hands(&e);
	CU_ASSERT_EQUAL(e.server_is, COLO_TLS_FAILED);
	CU_ASSERT_EQUAL(e.client_is, COLO_TLS_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(colo_tls_reason(e.server), "key is not ours"));
	CU_ASSERT_PTR_NOT_NULL(strstr(colo_tls_reason(e.client), "key is not ours"));
	CU_ASSERT_FALSE(colo_tls_is_up(e.server));
	/* once failed it stays so */
	CU_ASSERT_EQUAL(colo_tls_handshake(e.server, &worked), COLO_TLS_FAILED);
	free_ends(&e);
	/* one byte longer, otherwise the same: another key */
	colo_tls_free(b);
	b = ut_make_tls(UT_KEY "00");
	e = make_ends(a, b);
	shake_hands(&e);
	CU_ASSERT_EQUAL(e.server_is, COLO_TLS_FAILED);
	CU_ASSERT_EQUAL(e.client_is, COLO_TLS_FAILED);
	free_ends(&e);
	colo_tls_free(a);
	colo_tls_free(b);
}

static void
exporter(void)
{
	struct colo_tls *tls = ut_make_tls(UT_KEY);
	struct ends e = make_ends(tls, tls), f;
	uint8_t a[COLO_TLS_SECRET_MAX + 1], b[COLO_TLS_SECRET_MAX];

	CU_ASSERT_EQUAL(colo_tls_export(e.client, (const uint8_t *)"1", 1, a, 32), -1);
	shake_hands(&e);
	CU_ASSERT_EQUAL(colo_tls_export(e.client, (const uint8_t *)"1", 1, a, 32), 0);
	CU_ASSERT_EQUAL(colo_tls_export(e.server, (const uint8_t *)"1", 1, b, 32), 0);
	CU_ASSERT_EQUAL(memcmp(a, b, 32), 0);
	CU_ASSERT_EQUAL(colo_tls_export(e.server, (const uint8_t *)"2", 1, b, 32), 0);
	CU_ASSERT_NOT_EQUAL(memcmp(a, b, 32), 0);
	f = make_up(tls); /* the same key, another session */
	CU_ASSERT_EQUAL(colo_tls_export(f.server, (const uint8_t *)"1", 1, b, 32), 0);
	CU_ASSERT_NOT_EQUAL(memcmp(a, b, 32), 0);
	CU_ASSERT_EQUAL(colo_tls_export(e.client, NULL, 0, a, 0), -1);
	CU_ASSERT_EQUAL(colo_tls_export(e.client, NULL, 0, a, 1), 0);
	CU_ASSERT_EQUAL(colo_tls_export(e.client, NULL, 0, a, COLO_TLS_SECRET_MAX), 0);
	CU_ASSERT_EQUAL(colo_tls_export(e.client, NULL, 0, a, COLO_TLS_SECRET_MAX + 1), -1);
	free_ends(&e);
	free_ends(&f);
	colo_tls_free(tls);
}

/* ---- clients that OpenSSL lets us make otherwise ---- */

struct odd_client {
	const char *identity; /* NULL: no key is offered */
	const char *suites;   /* of TLS 1.3 */
	uint8_t suite[2];     /* that the key is for */
	const char *groups;   /* key shares that are offered */
	int max_version;
};

static const uint8_t key_bytes[32] = {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99,
	0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff, 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88,
	0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};

static int
offer(SSL *ssl, const EVP_MD *md, const unsigned char **id, size_t *n, SSL_SESSION **session)
{
	const struct odd_client *odd = SSL_get_app_data(ssl);

	(void)md;
	*session = NULL;
	if (odd->identity == NULL)
		return 1;
	*id = (const unsigned char *)odd->identity;
	*n = strlen(odd->identity);
	*session = SSL_SESSION_new();
	SSL_SESSION_set1_master_key(*session, key_bytes, sizeof(key_bytes));
	SSL_SESSION_set_cipher(*session, SSL_CIPHER_find(ssl, odd->suite));
	SSL_SESSION_set_protocol_version(*session, TLS1_3_VERSION);
	return 1;
}

/* @return whether the server takes it; @p says is in the reason if not. */
static bool
is_taken(struct odd_client odd, const char *says)
{
	struct colo_tls *tls = ut_make_tls(UT_KEY);
	struct ends e = make_ends(NULL, tls);
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	bool taken, worked;
	SSL *ssl;

	SSL_CTX_set_psk_use_session_callback(ctx, offer);
	SSL_CTX_set_max_proto_version(ctx, odd.max_version);
	SSL_CTX_set_ciphersuites(ctx, odd.suites);
	SSL_CTX_set1_groups_list(ctx, odd.groups);
	ssl = SSL_new(ctx);
	SSL_set_app_data(ssl, &odd);
	SSL_set_fd(ssl, e.fd[0]);
	fcntl(e.fd[0], F_SETFL, O_NONBLOCK);
	for (unsigned int i = 0; i < 10; i++) {
		SSL_connect(ssl);
		if (e.server_is == COLO_TLS_AGAIN)
			e.server_is = colo_tls_handshake(e.server, &worked);
	}
	taken = e.server_is == COLO_TLS_OK;
	if (!taken)
		CU_ASSERT_EQUAL(e.server_is, COLO_TLS_FAILED);
	if (!taken && strstr(colo_tls_reason(e.server), says) == NULL) {
		printf("\n%s\n", colo_tls_reason(e.server));
		CU_FAIL("reason");
	}
	ERR_clear_error();
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	free_ends(&e);
	colo_tls_free(tls);
	return taken;
}

#define ALL_SUITES "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384"

static void
odd_clients(void)
{
	const struct odd_client good = {
		COLO_TLS_IDENTITY, ALL_SUITES, {0x13, 0x02}, "X25519", TLS1_3_VERSION};
	struct odd_client odd = good;

	CU_ASSERT_TRUE(is_taken(good, ""));
	odd.groups = "P-256";
	CU_ASSERT_TRUE(is_taken(odd, ""));
	odd.groups = "P-521:P-256"; /* a share that is not ours first: the server asks again */
	CU_ASSERT_TRUE(is_taken(odd, ""));
	odd.groups = "P-521";
	CU_ASSERT_FALSE(is_taken(odd, "TLS: "));
	odd = good;
	odd.identity = "dpdk-colp";
	CU_ASSERT_FALSE(is_taken(odd, "does not offer the pre-shared key \"dpdk-colo\""));
	odd.identity = "dpdk-col";
	CU_ASSERT_FALSE(is_taken(odd, "does not offer the pre-shared key"));
	odd.identity = "dpdk-coloo";
	CU_ASSERT_FALSE(is_taken(odd, "does not offer the pre-shared key"));
	odd.identity = NULL;
	CU_ASSERT_FALSE(is_taken(odd, "does not offer the pre-shared key"));
	odd = good;
	odd.suite[1] = 0x01; /* the key is for SHA-256: its binder is too short */
	CU_ASSERT_FALSE(is_taken(odd, "TLS: bad extension"));
	odd.suites = "TLS_AES_128_GCM_SHA256"; /* no suite in common */
	CU_ASSERT_FALSE(is_taken(odd, "does not offer the pre-shared key"));
	odd = good;
	odd.max_version = TLS1_2_VERSION;
	CU_ASSERT_FALSE(is_taken(odd, "it speaks no TLS 1.3"));
}

/* ---- bytes that are no handshake ---- */

static void
garbage(void)
{
	static const struct {
		const char *bytes;
		size_t length;
	} cases[] = {
		{"GET / HTTP/1.1\r\n\r\n", 18},
		{"\x16\x03\x01\x00\x00", 5},
		{"\x16\x03\x01\xff\xff", 5},
		{"\x16\x03\x01\x00\x04\x01\xff\xff\xff", 9},	      /* a ClientHello of 16 MiB */
		{"\x16\x03\x01\x00\x04\x02\x00\x00\x00", 9},	      /* a ServerHello */
		{"\x16\x03\x01\x00\x06\x01\x00\x00\x02\x03\x03", 11}, /* too short */
		{"\x17\x03\x03\x00\x02xx", 7},			      /* data first */
		{"\x15\x03\x01\x00\x02\x02\x28", 7},		      /* an alert first */
		{"\0\1\0\2xxxxxxxx", 12},
	};
	struct colo_tls *tls = ut_make_tls(UT_KEY);
	bool worked;

	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ends e = make_ends(NULL, tls);

		CU_ASSERT_EQUAL(colo_tls_handshake(e.server, &worked), COLO_TLS_AGAIN);
		CU_ASSERT_FALSE(worked);
		CU_ASSERT_EQUAL(
			write(e.fd[0], cases[i].bytes, cases[i].length), (ssize_t)cases[i].length);
		shutdown(e.fd[0], SHUT_WR);
		shake_hands(&e);
		CU_ASSERT(e.server_is == COLO_TLS_FAILED || e.server_is == COLO_TLS_ENDED);
		if (e.server_is == COLO_TLS_FAILED)
			CU_ASSERT_NOT_EQUAL(colo_tls_reason(e.server)[0], '\0');
		free_ends(&e);
	}
	colo_tls_free(tls);
}

/* Bytes that one end sent in its handshake, up to @p cut of them, with one of them changed. */
static enum colo_tls_status
replay(struct colo_tls *tls, const uint8_t *hello, size_t length, size_t cut, size_t flip)
{
	struct ends e = make_ends(NULL, tls);
	uint8_t bytes[4096];
	enum colo_tls_status status;

	memcpy(bytes, hello, length);
	if (flip < length)
		bytes[flip] ^= 0x20;
	CU_ASSERT_EQUAL(write(e.fd[0], bytes, cut), (ssize_t)cut);
	shake_hands(&e);
	status = e.server_is;
	free_ends(&e);
	return status;
}

/* A ClientHello that was recorded: whole, cut and damaged at each byte, it makes no session. */
static void
recorded_hello(void)
{
	struct colo_tls *tls = ut_make_tls(UT_KEY);
	struct ends e = make_ends(tls, NULL);
	uint8_t hello[4096];
	ssize_t length;

	shake_hands(&e);
	length = read(e.fd[1], hello, sizeof(hello));
	CU_ASSERT_FATAL(length > 100);
	CU_ASSERT_EQUAL(hello[0], COLO_TLS_FIRST_BYTE);
	/* replayed as it was: the server speaks, and waits for a Finished that cannot come */
	CU_ASSERT_EQUAL(
		replay(tls, hello, (size_t)length, (size_t)length, SIZE_MAX), COLO_TLS_AGAIN);
	for (size_t cut = 0; cut < (size_t)length; cut++)
		CU_ASSERT_EQUAL(replay(tls, hello, (size_t)length, cut, SIZE_MAX), COLO_TLS_AGAIN);
	for (size_t flip = 0; flip < (size_t)length; flip++)
		CU_ASSERT_NOT_EQUAL(
			replay(tls, hello, (size_t)length, (size_t)length, flip), COLO_TLS_OK);
	free_ends(&e);
	colo_tls_free(tls);
}

/* A server that speaks without TLS: what its first byte may be, and what the client says. */
static void
plain_servers(void)
{
	struct colo_tls *tls = ut_make_tls(UT_KEY);

	for (unsigned int first = 0; first < 256; first++) {
		struct ends e = make_ends(tls, NULL);
		const uint8_t refuse[] = {(uint8_t)first, 3, 0, 5, 4, 'b', 'u', 's', 'y'};
		bool tls_byte = first == 0x15 || first == 0x16, worked;

		CU_ASSERT_EQUAL(colo_tls_handshake(e.client, &worked), COLO_TLS_AGAIN);
		CU_ASSERT_EQUAL(write(e.fd[1], refuse, sizeof(refuse)), (ssize_t)sizeof(refuse));
		shake_hands(&e);
		/* those of TLS begin a record that is not whole */
		CU_ASSERT_EQUAL(e.client_is, tls_byte ? COLO_TLS_AGAIN : COLO_TLS_FAILED);
		CU_ASSERT_EQUAL(
			strstr(colo_tls_reason(e.client), "without TLS") != NULL, !tls_byte);
		free_ends(&e);
	}
	colo_tls_free(tls);
}

/* What is said is read whole and unchanged, or not at all. */
static void
damaged_records(void)
{
	struct colo_tls *tls = ut_make_tls(UT_KEY);
	uint8_t record[256], got[256];
	ssize_t length;
	size_t n;

	for (size_t flip = 0; flip < 40; flip++) {
		struct ends e = make_up(tls);

		CU_ASSERT_EQUAL(colo_tls_write(e.client, (const uint8_t *)"some message", 12, &n),
			COLO_TLS_OK);
		/* what is read here never comes to the server's engine */
		length = recv(e.fd[1], record, sizeof(record), MSG_DONTWAIT);
		CU_ASSERT_EQUAL_FATAL(length, 5 + 12 + 1 + 16);
		if (flip < (size_t)length)
			record[flip] ^= 1;
		CU_ASSERT_EQUAL(write(e.fd[0], record, (size_t)length), length);
		if (flip < (size_t)length) { /* a longer length waits for more */
			CU_ASSERT_NOT_EQUAL(colo_tls_read(e.server, got, 12, &n), COLO_TLS_OK);
		} else {
			CU_ASSERT_EQUAL(colo_tls_read(e.server, got, 12, &n), COLO_TLS_OK);
			CU_ASSERT_EQUAL(write(e.fd[0], record, (size_t)length), length);
			CU_ASSERT_EQUAL(colo_tls_read(e.server, got, 12, &n), COLO_TLS_FAILED);
			CU_ASSERT_EQUAL(colo_tls_write(e.server, got, 1, &n), COLO_TLS_FAILED);
		}
		free_ends(&e);
	}
	colo_tls_free(tls);
}

/* A handshake byte by byte, and one whose peer goes away at each point. */
static void
slow_and_broken(void)
{
	struct colo_tls *tls = ut_make_tls(UT_KEY);
	struct ends e = make_ends(tls, NULL), f;
	uint8_t hello[4096];
	ssize_t length;
	bool worked;

	shake_hands(&e);
	length = read(e.fd[1], hello, sizeof(hello));
	f = make_ends(NULL, tls);
	for (ssize_t i = 0; i < length; i++) {
		CU_ASSERT_EQUAL(write(f.fd[0], hello + i, 1), 1);
		CU_ASSERT_EQUAL(colo_tls_handshake(f.server, &worked), COLO_TLS_AGAIN);
		CU_ASSERT_TRUE(worked);
	}
	CU_ASSERT(recv(f.fd[0], hello, 5, MSG_DONTWAIT) == 5); /* it answered */
	shutdown(f.fd[0], SHUT_WR);
	CU_ASSERT_EQUAL(colo_tls_handshake(f.server, &worked), COLO_TLS_ENDED);
	free_ends(&f);
	free_ends(&e);
	e = make_ends(tls, NULL);
	shake_hands(&e);
	close(e.fd[1]);
	e.fd[1] = -1;
	CU_ASSERT_EQUAL(colo_tls_handshake(e.client, &worked), COLO_TLS_ENDED);
	free_ends(&e);
	colo_tls_free(tls);
}

static X509 *
make_certificate(EVP_PKEY *key)
{
	X509 *x = X509_new();

	X509_gmtime_adj(X509_getm_notBefore(x), -60);
	X509_gmtime_adj(X509_getm_notAfter(x), 3600);
	X509_set_pubkey(x, key);
	X509_sign(x, key, EVP_sha256());
	return x;
}

/* A server without the key, with a certificate instead, of TLS @p version: not believed. */
static void
false_server(int version, const char *says)
{
	struct colo_tls *tls = ut_make_tls(UT_KEY);
	struct ends e = make_ends(tls, NULL);
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *certificate = make_certificate(key);
	bool worked;
	SSL *ssl;

	SSL_CTX_use_certificate(ctx, certificate);
	SSL_CTX_use_PrivateKey(ctx, key);
	SSL_CTX_set_max_proto_version(ctx, version);
	ssl = SSL_new(ctx);
	SSL_set_fd(ssl, e.fd[1]);
	fcntl(e.fd[1], F_SETFL, O_NONBLOCK);
	for (unsigned int i = 0; i < 10 && e.client_is == COLO_TLS_AGAIN; i++) {
		e.client_is = colo_tls_handshake(e.client, &worked);
		SSL_accept(ssl);
	}
	CU_ASSERT_EQUAL(e.client_is, COLO_TLS_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(colo_tls_reason(e.client), says));
	CU_ASSERT_FALSE(colo_tls_is_up(e.client));
	ERR_clear_error();
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	X509_free(certificate);
	EVP_PKEY_free(key);
	free_ends(&e);
	colo_tls_free(tls);
}

static void
false_servers(void)
{
	false_server(TLS1_3_VERSION, "it shows a certificate instead of knowing the pre-shared");
	false_server(TLS1_2_VERSION, "it speaks no TLS 1.3");
}

static void
no_key_file(void)
{
	struct colo_error err;

	CU_ASSERT_PTR_NULL(colo_tls_new("/nonexistent/key", &err));
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "/nonexistent/key"));
}

int
main(void)
{
	static const struct ut_case cases[] = {
		{"the same key at both ends", same_key},
		{"a process that has run for long", long_running},
		{"a key of 256 bytes", longest_key},
		{"another key", wrong_key},
		{"exporter", exporter},
		{"odd clients", odd_clients},
		{"garbage", garbage},
		{"a recorded hello: replayed, cut, damaged", recorded_hello},
		{"servers that speak without TLS", plain_servers},
		{"records damaged, replayed", damaged_records},
		{"byte by byte, and broken off", slow_and_broken},
		{"servers without the key", false_servers},
		{"no key file", no_key_file},
	};

	signal(SIGPIPE, SIG_IGN); /* the test's own SSL_connect() on a closed socket */
	return UT_RUN("tls", cases);
}
