package import BackupFormats
import CLinux

extension TimeSource {
    /// The machine's clock; the only place that asks it.
    package static let system = TimeSource { cl_wall_clock() }
}
