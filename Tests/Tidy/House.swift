import Foundation

/// The sources of this checkout, as the house rules see them.
enum House {
    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    /// Paths below the root of all Swift files in `folder`.
    static func swiftFiles(in folder: String) -> [String] {
        let names =
            FileManager.default.enumerator(atPath: root.appending(path: folder).path)?
            .compactMap { $0 as? String } ?? []
        return names.filter { $0.hasSuffix(".swift") }.map { "\(folder)/\($0)" }.sorted()
    }

    static func text(_ path: String) throws -> String {
        try String(contentsOf: root.appending(path: path), encoding: .utf8)
    }

    /// What people write; not what a generator wrote.
    static let sources = swiftFiles(in: "Sources").filter { !$0.hasSuffix(".pb.swift") }
}
