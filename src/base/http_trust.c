#include "base/http_trust.h"

#include "base/http_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

bool http_url_is_of_host(const char *url)
{
	char host[64];
	struct in_addr v4;
	struct in6_addr v6;
	size_t scheme = strncasecmp(url, "http://", 7) == 0    ? 7
			: strncasecmp(url, "https://", 8) == 0 ? 8
							       : 0;
	const char *start = url + scheme;
	bool is_v6 = *start == '[';
	size_t len = is_v6 ? strcspn(++start, "]") : strcspn(start, ":/?#");
	if (scheme == 0 || len == 0 || len >= sizeof(host))
		return false;
	/* What could end the host elsewhere in the eyes of another parser is not looked into. */
	const char *end = start + len + (is_v6 ? 1 : 0);
	if ((is_v6 && start[len] != ']') || (*end != '\0' && strchr(":/?#", *end) == NULL) ||
		strpbrk(url, "@\\ \t\r\n") != NULL)
		return false;
	memcpy(host, start, len);
	host[len] = '\0';
	if (is_v6)
		return inet_pton(AF_INET6, host, &v6) == 1 &&
		       (IN6_IS_ADDR_LOOPBACK(&v6) || IN6_IS_ADDR_LINKLOCAL(&v6));
	if (strcasecmp(host, "localhost") == 0)
		return true;
	if (inet_pton(AF_INET, host, &v4) != 1)
		return false;
	uint32_t address = ntohl(v4.s_addr);
	return address >> 24 == 127 || address >> 16 == 0xa9fe; /* 169.254.0.0/16 */
}

/* Is this the certificate that was announced? Nothing else of it counts. */
static int check_thumbprint(X509_STORE_CTX *store, void *context)
{
	const char *thumbprint = context;
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	char words[41] = "";
	X509 *certificate = X509_STORE_CTX_get0_cert(store);
	if (certificate != NULL && X509_digest(certificate, EVP_sha1(), digest, &len) == 1 &&
		len == 20)
		for (unsigned i = 0; i < len; i++)
			snprintf(words + (size_t)2 * i, 3, "%02x", digest[i]);
	if (strcasecmp(words, thumbprint) == 0)
		return 1;
	X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_UNTRUSTED);
	return 0;
}

static CURLcode trust_thumbprint(CURL *easy, void *tls_context, void *context)
{
	(void)easy;
	SSL_CTX_set_cert_verify_callback(tls_context, check_thumbprint, context);
	return CURLE_OK;
}

bool http_trust_configure(CURL *easy, const char *thumbprint, const char *ca_file)
{
	if (thumbprint[0] != '\0') {
		/* Never a connection or a session whose server was checked in another way. */
		curl_easy_setopt(easy, CURLOPT_SHARE, NULL);
		curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
		curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
		curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, thumbprint);
		return curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L) == CURLE_OK &&
		       curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, trust_thumbprint) ==
			       CURLE_OK;
	}
	return curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK &&
	       (ca_file == NULL || curl_easy_setopt(easy, CURLOPT_CAINFO, ca_file) == CURLE_OK);
}

/* A file that cannot be opened for want of a descriptor or of memory is as good as ever. */
void http_trust_describe_bad_file(const char *ca_file, const char *reason, struct error *err)
{
	const char *path = ca_file == NULL ? "(the system's)" : ca_file;
	int fd = ca_file == NULL ? -1 : open(ca_file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	int errnum = fd < 0 && ca_file != NULL ? errno : 0;
	if (fd >= 0)
		close(fd);
	if (errnum == EMFILE || errnum == ENFILE || errnum == ENOMEM)
		error_set_errno(err, errnum, "cannot open ca_file %s", path);
	else
		error_set(err, ERR_CONFIGURATION,
			"cannot use the certificates in ca_file %s: %s; expected a readable PEM "
			"file",
			path, reason);
}

const char *http_trust_reason(CURL *easy, CURLcode result)
{
	long verified = X509_V_OK;
	if (result != CURLE_PEER_FAILED_VERIFICATION ||
		curl_easy_getinfo(easy, CURLINFO_SSL_VERIFYRESULT, &verified) != CURLE_OK)
		return curl_easy_strerror(result);
	/* libcurl compares the name itself, before it takes OpenSSL's verdict. */
	return verified == X509_V_OK || verified == X509_V_ERR_UNSPECIFIED
		       ? "the certificate is for another host"
		       : X509_verify_cert_error_string(verified);
}
