import Platform

/// An empty folder that goes away with the value.
package final class TemporaryFolder: Sendable {
    package let path: String

    package init() throws {
        path = try FileSystem.makeTemporaryFolder(prefix: "cairn-test")
    }

    deinit {
        _ = try? FileSystem.removeTree(path)
    }
}
