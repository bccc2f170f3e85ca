#ifndef CLINUX_H
#define CLINUX_H
#include <sys/types.h>
/// Flushes the file system that holds `fd`; 0 or -errno.
int cl_syncfs(int fd);
#endif
