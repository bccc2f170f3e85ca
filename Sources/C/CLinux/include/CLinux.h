#ifndef CLINUX_H
#define CLINUX_H
#include "CLinuxFiles.h"
#include <stdint.h>
#include <sys/types.h>

// Linux calls that Swift's Glibc module lacks. Each returns 0 (or the named value), or -errno.

/// Flushes the file system that holds `fd`.
int cl_syncfs(int fd);

/// Renames and fails with EEXIST where `new_path` exists (renameat2 with RENAME_NOREPLACE).
int cl_rename_exclusively(const char *old_path, const char *new_path);

/// How a lock is wanted: shared, exclusive, or given up.
enum { CL_LOCK_SHARED = 0, CL_LOCK_EXCLUSIVE = 1, CL_LOCK_NONE = 2 };

/// A POSIX record lock on the whole file, without waiting. -EAGAIN where another process holds it.
int cl_record_lock(int fd, int kind);

/// A lock on the whole file that belongs to the open file description, without waiting. -EAGAIN where it is held.
int cl_description_lock(int fd, int kind);

/// Sets the access time to now and leaves the modification time; does not follow a link.
int cl_touch_access_time(int folder_fd, const char *path);

/// Makes and opens a new file (mode 0600) whose name ends in random letters for the `XXXXXX` of `pattern`; the descriptor.
int cl_make_temporary(char *pattern);

/// Raises malloc's thresholds so that big blocks are kept rather than given back to the kernel, and lets all threads
/// share `arenas` heaps.
int cl_keep_big_blocks(int mmap_threshold, int trim_threshold, int arenas);

/// Begins to write a part of the file (`count` 0: up to its end) to the disk, without waiting for it (sync_file_range).
int cl_start_writing(int fd, int64_t offset, int64_t count);

/// Makes a pipe that no other program inherits; reading from its first end does not wait.
int cl_pipe(int *reading, int *writing);

/// Writes the kernel's text for an error number into `buffer`, ended by zero.
void cl_error_text(int code, char *buffer, size_t count);

/// Fills `buffer` with random bytes of the kernel.
int cl_random(void *buffer, size_t count);

/// The system's clock in nanoseconds since 1970.
int64_t cl_wall_clock(void);
#endif
