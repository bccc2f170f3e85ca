import Glibc

/// How many files and connections this process may have open at once.
package enum OpenFileLimit {
    private static let wanted: rlim_t = 65_536

    /// Raises the limit as far as the process may: services begin with 1,024, and each member of a hub takes one.
    package static func raise() {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        limit.rlim_cur = max(limit.rlim_cur, min(limit.rlim_max, wanted))
        // A refusal leaves what was.
        _ = setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
}
