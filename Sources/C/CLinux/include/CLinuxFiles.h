#ifndef CLINUX_FILES_H
#define CLINUX_FILES_H
#include <stdint.h>
#include <sys/types.h>

// Calls on files below an open folder. None follows a link in the last component. Each returns 0 (or the named
// value), or -errno. `name` is one component, ended by zero.

/// What `stat` says of a file.
struct cl_file_info {
    uint32_t mode, uid, gid, device_major, device_minor;
    uint64_t device, inode, links, size;
    int64_t seconds;
    uint32_t nanoseconds;
};

/// Of `name` in `folder`; of `folder` itself where `name` is NULL.
int cl_file_info(int folder, const char *name, struct cl_file_info *info);

/// Opens a path as a folder, following links: where a walk begins. The descriptor.
int cl_open_root(const char *path);
/// Opens a folder for listing and as the base of other calls. The descriptor.
int cl_open_folder(int folder, const char *name);
/// Opens a file for reading, without waiting for anything and without touching its access time where that is allowed.
int cl_open_reading(int folder, const char *name);
/// Opens anything as a mere reference (O_PATH).
int cl_open_reference(int folder, const char *name);
/// Opens a file for reading and writing, without waiting for anything.
int cl_open_updating(int folder, const char *name);
/// Makes a new file of mode 0600 and opens it for reading and writing.
int cl_create_file(int folder, const char *name);

/// Reads folder entries in the kernel's layout (getdents64); the bytes read, 0 at the end.
long cl_read_folder(int folder, void *buffer, size_t count);
/// The target of a link; its length.
long cl_read_link(int folder, const char *name, void *buffer, size_t count);

/// Extended attributes. `reference` says that `fd` was opened by cl_open_reference. The lengths.
long cl_list_xattrs(int fd, int reference, void *buffer, size_t count);
long cl_get_xattr(int fd, int reference, const char *name, void *buffer, size_t count);
int cl_set_xattr(int fd, int reference, const char *name, const void *value, size_t count);
int cl_remove_xattr(int fd, int reference, const char *name);

/// Inode flags (FS_IOC_GETFLAGS, FS_IOC_SETFLAGS), FAT attributes and quota project.
int cl_get_flags(int fd, uint32_t *flags);
int cl_set_flags(int fd, uint32_t flags);
int cl_get_fat_attributes(int fd, uint32_t *attributes);
int cl_set_fat_attributes(int fd, uint32_t attributes);
int cl_get_project(int fd, uint32_t *project);
int cl_set_project(int fd, uint32_t project);

/// The kind of a file system, as in linux/magic.h.
int cl_file_system_magic(int fd, uint64_t *magic);

int cl_make_folder(int folder, const char *name);
int cl_make_node(int folder, const char *name, uint32_t kind, uint32_t major, uint32_t minor);
int cl_make_symlink(int folder, const char *name, const char *target);
int cl_make_hard_link(int target_folder, const char *target, int folder, const char *name);
int cl_remove(int folder, const char *name, int is_folder);
/// Renames; `exclusively` fails with EEXIST where `target` exists, in one step (also where the file system knows no
/// RENAME_NOREPLACE, as long as it is a file and the file system has hard links).
int cl_rename_at(int folder, const char *name, int target_folder, const char *target, int exclusively);
/// Sets the modification time of `name` in `folder` to now.
int cl_touch_modified(int folder, const char *name);

/// Owner, mode and modification time of what `fd` is; `reference` as above.
int cl_set_owner(int fd, int reference, uint32_t uid, uint32_t gid);
int cl_set_mode(int fd, int reference, uint32_t mode);
int cl_set_modified(int fd, int reference, int64_t seconds, uint32_t nanoseconds);

/// Says that a file will be read from front to back.
void cl_will_read_all(int fd);
/// Raises the soft limit of open files to the hard one.
int cl_raise_open_files(void);
#endif
