/*
 * A server on loopback that gives one scripted answer after another, over TLS with a certificate of
 * its own or plain, and remembers what it was asked.
 * Each test program that needs it includes this once.
 */
#ifndef MRTOKEND_TESTS_UNIT_TLS_SERVER_H
#define MRTOKEND_TESTS_UNIT_TLS_SERVER_H

#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <sys/socket.h>

/* How many requests are remembered, and how long one may be; a test may want others. */
#ifndef REQUESTS_MAX
#define REQUESTS_MAX 64
#define REQUEST_SIZE 4096
#endif

struct server {
	EVP_PKEY *key;
	X509 *certificate; /* its own authority */
	SSL_CTX *context; /* NULL: no TLS */
	char ca_file[64];
	char origin[64];
	int listen_fd;
	pthread_t thread;
	const char *const *answers; /* the last one for all that follow; NULL: wait for the end */
	pthread_mutex_t lock; /* guards what follows */
	int fd; /* the connection being served, or -1 */
	unsigned count;
	unsigned connections;
	char requests[REQUESTS_MAX][REQUEST_SIZE]; /* head and body */
};

static inline int server_read(SSL *tls, int fd, char *bytes, size_t size)
{
	return tls != NULL ? SSL_read(tls, bytes, (int)size) : (int)read(fd, bytes, size);
}

static inline void server_write(SSL *tls, int fd, const char *bytes)
{
	if (tls != NULL)
		SSL_write(tls, bytes, (int)strlen(bytes));
	else if (write(fd, bytes, strlen(bytes)) < 0)
		abort();
}

/* How much is to be read: the head, and as much behind it as it says; 0: not known yet. */
static inline size_t request_len(const char *request)
{
	const char *end = strstr(request, "\r\n\r\n");
	const char *length = strcasestr(request, "\r\nContent-Length: ");
	if (end == NULL)
		return 0;
	size_t head = (size_t)(end + 4 - request);
	return head + (length == NULL || length > end ? 0 : strtoul(length + 18, NULL, 10));
}

static inline bool read_request(SSL *tls, int fd, char *request)
{
	size_t len = 0;
	request[0] = '\0';
	while (request_len(request) == 0 || len < request_len(request)) {
		int got = server_read(tls, fd, request + len, REQUEST_SIZE - 1 - len);
		if (got <= 0)
			return false;
		len += (size_t)got;
		request[len] = '\0';
	}
	return true;
}

/* The answer to this request, or NULL. */
static inline const char *take_request(struct server *server, const char *request)
{
	pthread_mutex_lock(&server->lock);
	unsigned number = server->count++ % REQUESTS_MAX;
	strcpy(server->requests[number], request);
	const char *answer = server->answers[0];
	if (answer != NULL && server->answers[1] != NULL)
		server->answers++;
	pthread_mutex_unlock(&server->lock);
	return answer;
}

static inline void serve_connection(struct server *server, int fd, char *request)
{
	SSL *tls = server->context == NULL ? NULL : SSL_new(server->context);
	if (tls != NULL)
		SSL_set_fd(tls, fd);
	if (tls == NULL || SSL_accept(tls) == 1)
		while (read_request(tls, fd, request)) {
			const char *answer = take_request(server, request);
			if (answer != NULL)
				server_write(tls, fd, answer);
		}
	SSL_free(tls);
}

static inline void *server_main(void *context)
{
	struct server *server = context;
	char *request = malloc(REQUEST_SIZE);
	for (;;) {
		int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0 && errno == EINTR)
			continue;
		if (fd < 0)
			break;
		pthread_mutex_lock(&server->lock);
		server->fd = fd;
		server->connections++;
		pthread_mutex_unlock(&server->lock);
		serve_connection(server, fd, request);
		pthread_mutex_lock(&server->lock);
		server->fd = -1;
		pthread_mutex_unlock(&server->lock);
		close(fd);
	}
	free(request);
	return NULL;
}

static inline void make_certificate(struct server *server)
{
	X509V3_CTX context;
	X509 *certificate = X509_new();
	server->certificate = certificate;
	server->key = EVP_EC_gen("P-256");
	X509_set_version(certificate, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
	X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
	X509_gmtime_adj(X509_getm_notAfter(certificate), 86400);
	X509_set_pubkey(certificate, server->key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
		(const unsigned char *)"the server of the test", -1, -1, 0);
	X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
	X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
	X509_EXTENSION *extension =
		X509V3_EXT_conf_nid(NULL, &context, NID_subject_alt_name, "IP:127.0.0.1");
	X509_add_ext(certificate, extension, -1);
	X509_EXTENSION_free(extension);
	ck_assert_int_gt(X509_sign(certificate, server->key, EVP_sha256()), 0);
	strcpy(server->ca_file, "/tmp/mrtokend-unit-ca.XXXXXX");
	FILE *file = fdopen(mkstemp(server->ca_file), "w");
	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(PEM_write_X509(file, certificate), 1);
	ck_assert_int_eq(fclose(file), 0);
	server->context = SSL_CTX_new(TLS_server_method());
	ck_assert_int_eq(SSL_CTX_use_certificate(server->context, certificate), 1);
	ck_assert_int_eq(SSL_CTX_use_PrivateKey(server->context, server->key), 1);
}

static inline void server_run(struct server *server, const char *const *answers)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	signal(SIGPIPE, SIG_IGN);
	server->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(server->listen_fd, (struct sockaddr *)&address, len), 0);
	ck_assert_int_eq(getsockname(server->listen_fd, (struct sockaddr *)&address, &len), 0);
	ck_assert_int_eq(listen(server->listen_fd, 16), 0);
	snprintf(server->origin, sizeof(server->origin), "%s://127.0.0.1:%u",
		server->context == NULL ? "http" : "https", ntohs(address.sin_port));
	server->answers = answers;
	server->fd = -1;
	pthread_mutex_init(&server->lock, NULL);
	ck_assert_int_eq(pthread_create(&server->thread, NULL, server_main, server), 0);
}

static inline void server_start(struct server *server, const char *const *answers)
{
	memset(server, 0, sizeof(*server));
	make_certificate(server);
	server_run(server, answers);
}

/* Without TLS; there is no ca_file. */
static inline void server_start_plain(struct server *server, const char *const *answers)
{
	memset(server, 0, sizeof(*server));
	server_run(server, answers);
}

/* Break the connection off. */
static inline void server_hang_up(struct server *server)
{
	pthread_mutex_lock(&server->lock);
	if (server->fd >= 0)
		shutdown(server->fd, SHUT_RDWR);
	pthread_mutex_unlock(&server->lock);
}

/* The requests stay. */
static inline void server_stop(struct server *server)
{
	shutdown(server->listen_fd, SHUT_RDWR);
	server_hang_up(server);
	pthread_join(server->thread, NULL);
	close(server->listen_fd);
	SSL_CTX_free(server->context);
	X509_free(server->certificate);
	EVP_PKEY_free(server->key);
	pthread_mutex_destroy(&server->lock);
	unlink(server->ca_file);
}

static inline unsigned count_of(struct server *server)
{
	pthread_mutex_lock(&server->lock);
	unsigned count = server->count;
	pthread_mutex_unlock(&server->lock);
	return count;
}

/* The request of that number, of which the first is 0; it must be there, and answered. */
static inline const char *request_of(struct server *server, unsigned number)
{
	ck_assert_uint_gt(server->count, number);
	return server->requests[number % REQUESTS_MAX];
}

/* The value of a header in the request, copied, or "" when it is not there exactly once. */
static inline const char *header_of(const char *request, const char *name, char out[256])
{
	size_t len = strlen(name);
	unsigned count = 0;
	const char *end = strstr(request, "\r\n\r\n");
	out[0] = '\0';
	for (const char *at = strstr(request, "\r\n"); at < end; at = strstr(at, "\r\n")) {
		at += 2;
		if (strncasecmp(at, name, len) != 0 || at[len] != ':')
			continue;
		snprintf(out, 256, "%.*s", (int)strcspn(at + len + 2, "\r"), at + len + 2);
		count++;
	}
	if (count != 1)
		out[0] = '\0';
	return out;
}

static inline const char *body_of(const char *request)
{
	return strstr(request, "\r\n\r\n") + 4;
}

/* An answer of a head and a body, whose length it tells. */
static inline const char *text_of(char *out, size_t size, const char *head, const char *body)
{
	snprintf(out, size, "%sContent-Length: %zu\r\n\r\n%s", head, strlen(body), body);
	return out;
}

#endif
