/*
 * http_compat.h
 *	  Differences between the versions of libcurl we support, each behind one name.
 *
 * The only file with LIBCURL_VERSION_NUM.
 */
#ifndef CONTRATOS_HTTP_COMPAT_H
#define CONTRATOS_HTTP_COMPAT_H

#include "postgres.h"

#include <curl/curl.h>

/* 7.85 takes the names of protocols and deprecates the bit mask. */
static inline CURLcode
curl_http_only_compat(CURL *easy, bool tls)
{
#if LIBCURL_VERSION_NUM >= 0x075500
	return curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, tls ? "https" : "http");
#else
	return curl_easy_setopt(easy, CURLOPT_PROTOCOLS, tls ? (long) CURLPROTO_HTTPS : (long) CURLPROTO_HTTP);
#endif
}

/*
 * 7.87 can leave behind a resolver thread that gets no answer.  Older versions wait for
 * it when a request is aborted: a cancel is then as slow as the resolver.
 */
static inline CURLcode
curl_quick_exit_compat(CURL *easy pg_attribute_unused())
{
#if LIBCURL_VERSION_NUM >= 0x075700
	return curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
#else
	return CURLE_OK;
#endif
}

/*
 * 8.6 has a code for a header line that is longer than libcurl keeps (100 kB).  Older
 * versions say that memory is out.
 */
static inline bool
curl_may_mean_too_large_compat(CURLcode result)
{
#if LIBCURL_VERSION_NUM >= 0x080600
	return result == CURLE_TOO_LARGE;
#else
	return result == CURLE_OUT_OF_MEMORY;
#endif
}

#endif /* CONTRATOS_HTTP_COMPAT_H */
