/*
 * An allocator that wipes whatever is freed, for every library of the process: the JSON parser, the
 * TLS and HTTP libraries keep copies of tokens and headers in ordinary memory for a moment, and
 * none of them can be asked to wipe. Linking wiping_heap.c into a program is all that it takes;
 * there is nothing to call. The serving path frees nothing, so it costs nothing there.
 *
 * It stands in front of glibc's allocator, and is left out under the sanitizers, which bring one of
 * their own.
 */
#ifndef MRTOKEND_BASE_WIPING_HEAP_H
#define MRTOKEND_BASE_WIPING_HEAP_H

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define WIPING_HEAP_IS_THERE 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
	__has_feature(memory_sanitizer)
#define WIPING_HEAP_IS_THERE 0
#endif
#endif
#if !defined(WIPING_HEAP_IS_THERE) && defined(__GLIBC__)
#define WIPING_HEAP_IS_THERE 1
#elif !defined(WIPING_HEAP_IS_THERE)
#define WIPING_HEAP_IS_THERE 0
#endif

#endif
