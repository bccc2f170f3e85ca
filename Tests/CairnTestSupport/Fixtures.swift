package import Foundation

/// Finds the files below `Tests/Fixtures`.
package enum Fixtures {
    /// The folder `Tests/Fixtures` of this checkout.
    package static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: "Fixtures")

    package static func url(_ path: String) -> URL { folder.appending(path: path) }

    /// The bytes of the fixture at `path`, relative to `Tests/Fixtures`.
    package static func bytes(_ path: String) throws -> [UInt8] { [UInt8](try Data(contentsOf: url(path))) }

    package static func text(_ path: String) throws -> String { String(decoding: try bytes(path), as: UTF8.self) }
}
