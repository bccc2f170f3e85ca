import BackupFormats
import Platform

/// The files with the logs: `tasks/XX/UPID:…`, XX being the low byte of the start of the process. (Spec: rest E.8.)
struct TaskLogStore: Sendable {
    /// A log that has grown so long takes no more lines but the last.
    static let maxLogLength = 64 << 20
    private static let maxFileNameLength = 255
    /// Leaves room for the mark, and for a character that was cut in the middle.
    private static let cutNameLength = 250
    private static let pieceLength = 256 << 10

    /// The folder `tasks`.
    let folder: String

    /// Where the log of a task is. A name that no file may have is cut; its numbers, which come first, keep it unique.
    func path(of upid: UPID) -> String {
        let text = upid.description
        let name =
            text.utf8.count <= Self.maxFileNameLength
            ? text : String(decoding: text.utf8.prefix(Self.cutNameLength), as: UTF8.self) + "~"
        return "\(folder)/\(upid.logFolder)/\(name)"
    }

    func open(_ upid: UPID) throws(SystemError) -> OpenFile {
        try FileSystem.makeFolders("\(folder)/\(upid.logFolder)", mode: 0o700)
        return try OpenFile(path(of: upid), .append(mode: 0o600))
    }

    /// Adds the end of a task that died with its server; a broken last line is completed first.
    func close(_ upid: UPID, status: String, at now: Int64) throws(SystemError) {
        let file = try open(upid)
        let length = try file.byteCount()
        let reader = try OpenFile(path(of: upid))
        let isBroken = length > 0 ? try reader.read(at: length - 1, count: 1) != [UInt8(ascii: "\n")] : false
        try file.write(
            (isBroken ? [UInt8(ascii: "\n")] : []) + TaskLogLine.encode(TaskStatus.lastLine(status), at: now),
            at: length)
    }

    func remove(_ upid: UPID) throws(SystemError) { try FileSystem.removeFile(path(of: upid)) }

    /// Gives each line of a log to `body`, without its line end, numbered from 1.
    ///
    /// - Returns: The number of lines; nil where there is no log.
    func eachLine(_ upid: UPID, _ body: (Int, ArraySlice<UInt8>) -> Void) throws(SystemError) -> Int? {
        let file: OpenFile
        do { file = try OpenFile(path(of: upid)) } catch {
            if error.isMissing { return nil }
            throw error
        }
        var count = 0
        var offset = 0
        var line: [UInt8] = []
        while true {
            let piece = try file.read(at: offset, count: Self.pieceLength)
            if piece.isEmpty { break }
            offset += piece.count
            var rest = piece[...]
            while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
                count += 1
                if line.isEmpty {
                    body(count, rest[..<end])
                } else {
                    line += rest[..<end]
                    body(count, line[...])
                    line = []
                }
                rest = rest[(end + 1)...]
            }
            line += rest
        }
        // A line that is being written has no end yet; the next call gives it.
        return count
    }

    /// A piece of the file, empty behind its end; nil where there is none.
    func read(_ upid: UPID, from offset: Int, limit: Int) throws(SystemError) -> [UInt8]? {
        do {
            return try OpenFile(path(of: upid)).read(at: offset, count: limit)
        } catch {
            if error.isMissing { return nil }
            throw error
        }
    }

    func byteCount(_ upid: UPID) throws(SystemError) -> Int? {
        do {
            return try OpenFile(path(of: upid)).byteCount()
        } catch {
            if error.isMissing { return nil }
            throw error
        }
    }

    /// The whole file; nil where there is none.
    func read(_ upid: UPID) throws(SystemError) -> [UInt8]? {
        do {
            return try FileSystem.read(path(of: upid), limit: Self.maxLogLength + RunningTask.bufferLimit)
        } catch {
            if error.isMissing { return nil }
            throw error
        }
    }
}
