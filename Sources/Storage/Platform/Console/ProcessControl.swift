import Glibc

/// What a program does to its own process.
package enum ProcessControl {
    package static func exit(_ status: Int32) -> Never { Glibc.exit(status) }

    /// A write to a pipe that nobody reads any more fails instead of ending the process.
    package static func ignoreBrokenPipes() { signal(SIGPIPE, SIG_IGN) }
}
