#define _GNU_SOURCE
#include "CLinux.h"
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int cl_syncfs(int fd) { return syncfs(fd) == 0 ? 0 : -errno; }

int cl_rename_exclusively(const char *old_path, const char *new_path) {
    return renameat2(AT_FDCWD, old_path, AT_FDCWD, new_path, RENAME_NOREPLACE) == 0 ? 0 : -errno;
}

static int lock_whole_file(int fd, int command, int kind) {
    struct flock lock;
    memset(&lock, 0, sizeof lock);
    lock.l_type = kind == CL_LOCK_SHARED ? F_RDLCK : kind == CL_LOCK_EXCLUSIVE ? F_WRLCK : F_UNLCK;
    lock.l_whence = SEEK_SET;
    if (fcntl(fd, command, &lock) == 0) return 0;
    return errno == EACCES ? -EAGAIN : -errno;
}

int cl_record_lock(int fd, int kind) { return lock_whole_file(fd, F_SETLK, kind); }

int cl_description_lock(int fd, int kind) { return lock_whole_file(fd, F_OFD_SETLK, kind); }

int cl_touch_access_time(int folder_fd, const char *path) {
    struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_OMIT}};
    return utimensat(folder_fd, path, times, AT_SYMLINK_NOFOLLOW) == 0 ? 0 : -errno;
}

int cl_make_temporary(char *pattern) {
    int fd = mkostemp(pattern, O_CLOEXEC);
    return fd >= 0 ? fd : -errno;
}

int cl_keep_big_blocks(int mmap_threshold, int trim_threshold, int arenas) {
    return mallopt(M_MMAP_THRESHOLD, mmap_threshold) && mallopt(M_TRIM_THRESHOLD, trim_threshold) &&
                   mallopt(M_ARENA_MAX, arenas)
               ? 0
               : -EINVAL;
}

int cl_start_writing(int fd, int64_t offset, int64_t count) {
    return sync_file_range(fd, offset, count, SYNC_FILE_RANGE_WRITE) == 0 ? 0 : -errno;
}

void cl_error_text(int code, char *buffer, size_t count) {
    char scratch[256];
    snprintf(buffer, count, "%s", strerror_r(code, scratch, sizeof scratch));
}

int cl_pipe(int *reading, int *writing) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) return -errno;
    *reading = ends[0];
    *writing = ends[1];
    return fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

int cl_random(void *buffer, size_t count) {
    unsigned char *bytes = buffer;
    while (count > 0) {
        ssize_t got = getrandom(bytes, count, 0);
        if (got < 0) {
            if (errno == EINTR) continue;
            return -errno;
        }
        bytes += got;
        count -= (size_t)got;
    }
    return 0;
}

int64_t cl_wall_clock(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}
