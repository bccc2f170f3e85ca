import BackupFormats
import Platform
package import StateDatabase
import Synchronization

/// Every change that came over the management API: one line of JSON each, in `audit.log` of the state folder (mode
/// 0600).
///
/// A file that has grown to its limit becomes `audit.log.1`, that one `audit.log.2`, and the oldest goes.
package final class AuditLog: Sendable {
    package static let fileName = "audit.log"
    /// Bytes after which a new file is begun.
    private static let fileLimit = 8 << 20
    /// A line is cut off from reading beyond this; a request's parameters are shorter.
    private static let readLimit = 16 << 20
    /// Older files that are kept.
    private static let keptFiles = 8
    /// Longest text of a parameter that is written down.
    private static let textLimit = 512

    private let folder: StateFolder
    private let fileLimit: Int
    /// One writer at a time; the file is opened for each record, so that moving it away does no harm.
    private let writing = Mutex(())

    package init(folder: StateFolder, fileLimit: Int? = nil) {
        self.folder = folder
        self.fileLimit = fileLimit ?? Self.fileLimit
    }

    /// Adds a record. Blocks.
    ///
    /// - Throws: ``BackupFailure`` where the file cannot be written.
    package func record(_ record: AuditRecord) throws {
        var written = record
        written.details = JSONObject(
            record.details.members.map { .init(name: $0.name, value: Self.shortened($0.value)) })
        let line = Array("\(written.json.compactText)\n".utf8)
        try writing.withLock { _ in
            do {
                let file = try OpenFile(folder.path(of: Self.fileName), .append(mode: 0o600))
                if try file.byteCount() + line.count > fileLimit {
                    try rotate()
                    try OpenFile(folder.path(of: Self.fileName), .append(mode: 0o600)).write(line, at: 0)
                } else {
                    // The file is open for appending: the place does not count.
                    try file.write(line, at: 0)
                }
            } catch let error as SystemError {
                throw error.failure("\(Self.fileName) cannot be written")
            }
        }
    }

    private static func shortened(_ value: JSONValue) -> JSONValue {
        guard let text = value.stringValue, text.utf8.count > textLimit else { return value }
        return .string("\(String(decoding: text.utf8.prefix(textLimit), as: UTF8.self))…")
    }

    private func rotate() throws(SystemError) {
        try FileSystem.removeFile(path(Self.keptFiles))
        for number in stride(from: Self.keptFiles - 1, through: 0, by: -1) {
            guard try FileSystem.exists(path(number)) else { continue }
            try FileSystem.rename(path(number), to: path(number + 1))
        }
    }

    /// The file in use has number 0.
    private func path(_ number: Int) -> String {
        folder.path(of: number == 0 ? Self.fileName : "\(Self.fileName).\(number)")
    }

    /// The records that a filter wants, newest first. Blocks.
    ///
    /// - Returns: The page, and how many there are at least: all of them where `isComplete`.
    package func records(_ filter: AuditFilter) throws -> (records: [AuditRecord], count: Int, isComplete: Bool) {
        var found: [AuditRecord] = []
        var count = 0
        for number in 0...Self.keptFiles {
            guard let bytes = try read(number) else { continue }
            for line in bytes.split(separator: UInt8(ascii: "\n")).reversed() {
                // A line that a crash cut short, or of somebody else: no record.
                guard let json = try? JSONValue(parsing: Array(line)), let record = AuditRecord(json),
                    filter.accepts(record)
                else { continue }
                count += 1
                guard count > filter.start else { continue }
                guard filter.limit == 0 || found.count < filter.limit else { return (found, count, false) }
                found.append(record)
            }
        }
        return (found, count, true)
    }

    private func read(_ number: Int) throws -> [UInt8]? {
        do {
            return try FileSystem.read(path(number), limit: Self.readLimit)
        } catch {
            if error.isMissing { return nil }
            throw error.failure("\(path(number)) cannot be read")
        }
    }
}
