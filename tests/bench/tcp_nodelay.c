/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Preloaded into a QEMU that is to be measured as if it set TCP_NODELAY: every TCP socket has it
 * from its beginning, those that are accepted take it from the socket that listens.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

int socket(int domain, int type, int protocol);

/* In place of libc's; that of another libc than the one this was built with works as well. */
int
socket(int domain, int type, int protocol)
{
	const int on = 1;
	const int fd = (int)syscall(SYS_socket, domain, type, protocol);

	if (fd >= 0 && (domain == AF_INET || domain == AF_INET6) &&
		(type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) == SOCK_STREAM)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return fd;
}
