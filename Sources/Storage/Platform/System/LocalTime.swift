import Glibc

/// The time zone of this machine.
package enum LocalTime {
    /// Seconds that local time is ahead of UTC at `time` (Unix seconds); 0 where that cannot be told.
    package static func offset(at time: Int64) -> Int {
        var seconds = time_t(time)
        var parts = tm()
        guard localtime_r(&seconds, &parts) != nil else { return 0 }
        return parts.tm_gmtoff
    }
}
