#define _GNU_SOURCE
#include "CLinux.h"
#include <errno.h>
#include <unistd.h>

int cl_syncfs(int fd) { return syncfs(fd) == 0 ? 0 : -errno; }
