#define _GNU_SOURCE
#include "CLinuxFiles.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/msdos_fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

static long result(long value) { return value < 0 ? -errno : value; }

/// The name under which the kernel knows a descriptor: leads to the object itself, a link included.
struct fd_path { char text[32]; };
static struct fd_path path_of(int fd) {
    struct fd_path path;
    snprintf(path.text, sizeof path.text, "/proc/self/fd/%d", fd);
    return path;
}

int cl_file_info(int folder, const char *name, struct cl_file_info *info) {
    struct stat status;
    int code = name ? fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) : fstat(folder, &status);
    if (code < 0) return -errno;
    info->mode = status.st_mode;
    info->uid = status.st_uid;
    info->gid = status.st_gid;
    info->device_major = major(status.st_rdev);
    info->device_minor = minor(status.st_rdev);
    info->device = status.st_dev;
    info->inode = status.st_ino;
    info->links = status.st_nlink;
    info->size = status.st_size < 0 ? 0 : (uint64_t)status.st_size;
    info->seconds = status.st_mtim.tv_sec;
    info->nanoseconds = (uint32_t)status.st_mtim.tv_nsec;
    return 0;
}

static int open_quietly(int folder, const char *name, int flags) {
    int fd = openat(folder, name, flags | O_NOATIME | O_CLOEXEC);
    // Only owners may leave the access time alone.
    if (fd < 0 && errno == EPERM) fd = openat(folder, name, flags | O_CLOEXEC);
    return (int)result(fd);
}

int cl_open_root(const char *path) { return open_quietly(AT_FDCWD, path, O_RDONLY | O_DIRECTORY); }
int cl_open_folder(int folder, const char *name) {
    return open_quietly(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
}
int cl_open_reading(int folder, const char *name) {
    return open_quietly(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
}
int cl_open_reference(int folder, const char *name) {
    return (int)result(openat(folder, name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
}
int cl_open_updating(int folder, const char *name) {
    return (int)result(openat(folder, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
}
int cl_create_file(int folder, const char *name) {
    return (int)result(openat(folder, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
}

long cl_read_folder(int folder, void *buffer, size_t count) {
    return result(syscall(SYS_getdents64, folder, buffer, count));
}
long cl_read_link(int folder, const char *name, void *buffer, size_t count) {
    return result(readlinkat(folder, name, buffer, count));
}

long cl_list_xattrs(int fd, int reference, void *buffer, size_t count) {
    return result(reference ? listxattr(path_of(fd).text, buffer, count) : flistxattr(fd, buffer, count));
}
long cl_get_xattr(int fd, int reference, const char *name, void *buffer, size_t count) {
    return result(
        reference ? getxattr(path_of(fd).text, name, buffer, count) : fgetxattr(fd, name, buffer, count));
}
int cl_set_xattr(int fd, int reference, const char *name, const void *value, size_t count) {
    return (int)result(
        reference ? setxattr(path_of(fd).text, name, value, count, 0) : fsetxattr(fd, name, value, count, 0));
}
int cl_remove_xattr(int fd, int reference, const char *name) {
    return (int)result(reference ? removexattr(path_of(fd).text, name) : fremovexattr(fd, name));
}

int cl_get_flags(int fd, uint32_t *flags) {
    long value = 0;
    if (ioctl(fd, FS_IOC_GETFLAGS, &value) < 0) return -errno;
    *flags = (uint32_t)value;
    return 0;
}
int cl_set_flags(int fd, uint32_t flags) {
    long value = flags;
    return (int)result(ioctl(fd, FS_IOC_SETFLAGS, &value));
}
int cl_get_fat_attributes(int fd, uint32_t *attributes) {
    return (int)result(ioctl(fd, FAT_IOCTL_GET_ATTRIBUTES, attributes));
}
int cl_set_fat_attributes(int fd, uint32_t attributes) {
    return (int)result(ioctl(fd, FAT_IOCTL_SET_ATTRIBUTES, &attributes));
}
int cl_get_project(int fd, uint32_t *project) {
    struct fsxattr attributes = {0};
    if (ioctl(fd, FS_IOC_FSGETXATTR, &attributes) < 0) return -errno;
    *project = attributes.fsx_projid;
    return 0;
}
int cl_set_project(int fd, uint32_t project) {
    struct fsxattr attributes = {0};
    if (ioctl(fd, FS_IOC_FSGETXATTR, &attributes) < 0) return -errno;
    attributes.fsx_projid = project;
    return (int)result(ioctl(fd, FS_IOC_FSSETXATTR, &attributes));
}

int cl_file_system_magic(int fd, uint64_t *magic) {
    struct statfs status;
    if (fstatfs(fd, &status) < 0) return -errno;
    *magic = (uint64_t)status.f_type & 0xffffffff;
    return 0;
}

int cl_make_folder(int folder, const char *name) { return (int)result(mkdirat(folder, name, 0700)); }
int cl_make_node(int folder, const char *name, uint32_t kind, uint32_t major, uint32_t minor) {
    return (int)result(mknodat(folder, name, (kind & S_IFMT) | 0600, makedev(major, minor)));
}
int cl_make_symlink(int folder, const char *name, const char *target) {
    return (int)result(symlinkat(target, folder, name));
}
int cl_make_hard_link(int target_folder, const char *target, int folder, const char *name) {
    return (int)result(linkat(target_folder, target, folder, name, 0));
}
int cl_remove(int folder, const char *name, int is_folder) {
    return (int)result(unlinkat(folder, name, is_folder ? AT_REMOVEDIR : 0));
}
int cl_rename_at(int folder, const char *name, int target_folder, const char *target, int exclusively) {
    if (!exclusively) return (int)result(renameat(folder, name, target_folder, target));
    if (renameat2(folder, name, target_folder, target, RENAME_NOREPLACE) == 0) return 0;
    // NFS has no such flag. A second name is exclusive as well.
    if (errno != EINVAL && errno != ENOSYS) return -errno;
    if (linkat(folder, name, target_folder, target, 0) == 0) return (int)result(unlinkat(folder, name, 0));
    if (errno == EEXIST) return -EEXIST;
    struct stat status;
    if (fstatat(target_folder, target, &status, AT_SYMLINK_NOFOLLOW) == 0) return -EEXIST;
    return (int)result(renameat(folder, name, target_folder, target));
}
int cl_touch_modified(int folder, const char *name) {
    struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_NOW}};
    return (int)result(utimensat(folder, name, times, AT_SYMLINK_NOFOLLOW));
}

int cl_set_owner(int fd, int reference, uint32_t uid, uint32_t gid) {
    return (int)result(reference ? fchownat(fd, "", uid, gid, AT_EMPTY_PATH) : fchown(fd, uid, gid));
}
int cl_set_mode(int fd, int reference, uint32_t mode) {
    return (int)result(reference ? chmod(path_of(fd).text, mode) : fchmod(fd, mode));
}
int cl_set_modified(int fd, int reference, int64_t seconds, uint32_t nanoseconds) {
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = seconds, .tv_nsec = nanoseconds}};
    if (!reference) return (int)result(futimens(fd, times));
    return (int)result(utimensat(AT_FDCWD, path_of(fd).text, times, 0));
}

void cl_will_read_all(int fd) { (void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL); }

int cl_raise_open_files(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return -errno;
    if (limit.rlim_cur == limit.rlim_max) return 0;
    limit.rlim_cur = limit.rlim_max;
    return (int)result(setrlimit(RLIMIT_NOFILE, &limit));
}
