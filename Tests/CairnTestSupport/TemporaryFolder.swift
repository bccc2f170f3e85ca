import Platform

/// An empty folder that goes away with the value.
package final class TemporaryFolder: Sendable {
    package let path: String

    /// - Parameter inMemory: For tests with very many files, where the machine has a file system in memory.
    package init(inMemory: Bool = false) throws {
        let parent = inMemory && FileSystem.isUsable("/dev/shm") ? "/dev/shm" : "/tmp"
        path = try FileSystem.makeTemporaryFolder(in: parent, prefix: "cairn-test")
    }

    deinit {
        _ = try? FileSystem.removeTree(path)
    }
}

extension FileSystem {
    fileprivate static func isUsable(_ path: String) -> Bool { (try? isFolder(path)) == true }
}
