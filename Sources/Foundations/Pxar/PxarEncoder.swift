package import BackupFormats

/// Writes an archive of version 1, entry by entry.
///
/// Each call appends the bytes of items to a buffer of the caller's. The
/// contents of files do not come through here: after ``beginFile(_:_:size:into:)``
/// the caller passes the promised number of bytes on itself, and reports them
/// with ``passedPayload(_:)``. So nothing is copied, and positions stay right.
///
/// Children belong in the order of their names' bytes; the encoder does not
/// sort. Calls in an order that makes no archive are a fault of the program.
package struct PxarEncoder: Sendable {
    private struct Directory {
        /// Position of the file name; 0 for the root.
        var start: UInt64
        /// Position of the entry item, which the tail of the table points at.
        var entry: UInt64
        var nameHash: UInt64
        var children: [GoodbyeItem] = []
    }

    private struct OpenFile {
        var start: UInt64
        var nameHash: UInt64
        var remaining: UInt64
    }

    private var directories: [Directory] = []
    private var file: OpenFile?
    /// Bytes of the archive so far, those of contents included.
    package private(set) var position: UInt64 = 0

    /// Starts an archive with its root folder.
    ///
    /// - Throws: ``FormatError`` where an attribute is above a limit.
    package init(root: PxarMetadata, into output: inout [UInt8]) throws(FormatError) {
        precondition(root.stat.kind == .directory, "the root of an archive is a folder")
        try write(into: &output) { (output) throws(FormatError) in try Self.append(root, to: &output) }
        directories = [Directory(start: 0, entry: 0, nameHash: 0)]
    }

    /// Whether all folders are closed: the archive is complete.
    package var isFinished: Bool { directories.isEmpty }

    /// Opens a folder inside the current one.
    ///
    /// - Throws: ``FormatError`` where the name is not allowed or an attribute is above a limit; nothing is written then.
    package mutating func beginDirectory(
        _ name: [UInt8], _ metadata: PxarMetadata, into output: inout [UInt8]
    ) throws(FormatError) {
        let start = position
        try append(name, metadata, into: &output) { _ in }
        directories.append(
            Directory(
                start: start, entry: start + Self.fileNameSize(name), nameHash: PxarNameHash.hash(name)))
    }

    /// Closes the current folder; the root last, which completes the archive.
    package mutating func endDirectory(into output: inout [UInt8]) {
        precondition(file == nil, "a folder ends after the files in it")
        guard let directory = directories.popLast() else { preconditionFailure("no folder is open") }
        let table = position
        write(into: &output) { output in
            GoodbyeTable.append(
                children: directory.children, directoryStart: directory.entry, position: table, to: &output)
        }
        record(directory.nameHash, from: directory.start)
    }

    /// Starts a regular file whose `size` bytes the caller passes on next.
    ///
    /// - Returns: The position that hard links to this file name.
    /// - Throws: As ``beginDirectory(_:_:into:)``.
    @discardableResult
    package mutating func beginFile(
        _ name: [UInt8], _ metadata: PxarMetadata, size: UInt64, into output: inout [UInt8]
    ) throws(FormatError) -> UInt64 {
        let start = position
        try append(name, metadata, into: &output) { $0.appendHeader(.payload, contentSize: size) }
        file = OpenFile(start: start, nameHash: PxarNameHash.hash(name), remaining: size)
        closeFileIfComplete()
        return start
    }

    /// Counts `count` bytes of the current file's content, which the caller has put behind the bytes given so far.
    package mutating func passedPayload(_ count: Int) {
        if count == 0 { return }
        guard var open = file, count > 0, UInt64(count) <= open.remaining else {
            preconditionFailure("more content than the size that was announced")
        }
        open.remaining -= UInt64(count)
        position += UInt64(count)
        file = open
        closeFileIfComplete()
    }

    /// - Throws: As ``beginDirectory(_:_:into:)``; a target above 4096 bytes as well.
    package mutating func addSymlink(
        _ name: [UInt8], _ metadata: PxarMetadata, target: [UInt8], into output: inout [UInt8]
    ) throws(FormatError) {
        try checkPath(target)
        try add(name, metadata, into: &output) { output in
            output.appendHeader(.symlink, contentSize: UInt64(target.count + 1))
            output += target
            output.append(0)
        }
    }

    /// - Throws: As ``beginDirectory(_:_:into:)``.
    package mutating func addDevice(
        _ name: [UInt8], _ metadata: PxarMetadata, major: UInt32, minor: UInt32, into output: inout [UInt8]
    ) throws(FormatError) {
        try add(name, metadata, into: &output) { output in
            output.appendHeader(.device, contentSize: 16)
            output.appendLittleEndian(UInt64(major))
            output.appendLittleEndian(UInt64(minor))
        }
    }

    /// Adds a FIFO or a socket, by the mode of `metadata`.
    ///
    /// - Throws: As ``beginDirectory(_:_:into:)``.
    package mutating func addSpecial(
        _ name: [UInt8], _ metadata: PxarMetadata, into output: inout [UInt8]
    ) throws(FormatError) {
        try add(name, metadata, into: &output) { _ in }
    }

    /// Adds another name of an earlier file.
    ///
    /// - Parameters:
    ///   - target: What ``beginFile(_:_:size:into:)`` returned for the file.
    ///   - path: The file's path from the root, without a leading slash.
    /// - Throws: As ``beginDirectory(_:_:into:)``; a path above 4096 bytes as well.
    package mutating func addHardLink(
        _ name: [UInt8], target: UInt64, path: [UInt8], into output: inout [UInt8]
    ) throws(FormatError) {
        precondition(target < position, "a hard link names an earlier file")
        try checkPath(path)
        let start = position
        try append(name, nil, into: &output) { output in
            output.appendHeader(.hardLink, contentSize: UInt64(8 + path.count + 1))
            output.appendLittleEndian(start - target)
            output += path
            output.append(0)
        }
        record(PxarNameHash.hash(name), from: start)
    }
}

extension PxarEncoder {
    private static func fileNameSize(_ name: [UInt8]) -> UInt64 { UInt64(PxarLimits.headerSize + name.count + 1) }

    private mutating func write<Failure: Error>(
        into output: inout [UInt8], _ body: (inout [UInt8]) throws(Failure) -> Void
    ) throws(Failure) {
        let before = output.count
        do throws(Failure) {
            try body(&output)
        } catch {
            output.removeLast(output.count - before)
            throw error
        }
        position += UInt64(output.count - before)
    }

    private func checkPath(_ path: [UInt8]) throws(FormatError) {
        guard path.count <= PxarLimits.pathSize else {
            throw .tooLong(UInt64(path.count), limit: PxarLimits.pathSize, offset: Int(position))
        }
        guard !path.contains(0) else { throw .invalid("a path contains NUL", offset: Int(position)) }
    }

    /// File name, metadata unless nil, and what `content` appends.
    private mutating func append(
        _ name: [UInt8], _ metadata: PxarMetadata?, into output: inout [UInt8], _ content: (inout [UInt8]) -> Void
    ) throws(FormatError) {
        precondition(file == nil, "the content of a file is still to be passed on")
        precondition(!directories.isEmpty, "the archive is complete")
        guard PxarName.isAllowed(name) else { throw .invalid("a file name is not allowed", offset: Int(position)) }
        try write(into: &output) { (output) throws(FormatError) in
            output.appendHeader(.fileName, contentSize: UInt64(name.count + 1))
            output += name
            output.append(0)
            if let metadata { try Self.append(metadata, to: &output) }
            content(&output)
        }
    }

    private mutating func add(
        _ name: [UInt8], _ metadata: PxarMetadata, into output: inout [UInt8], _ content: (inout [UInt8]) -> Void
    ) throws(FormatError) {
        let start = position
        try append(name, metadata, into: &output, content)
        record(PxarNameHash.hash(name), from: start)
    }

    /// Notes a child that ends here in the folder that holds it.
    private mutating func record(_ hash: UInt64, from start: UInt64) {
        guard let last = directories.indices.last else { return }
        directories[last].children.append(GoodbyeItem(hash: hash, offset: start, size: position - start))
    }

    private mutating func closeFileIfComplete() {
        guard let open = file, open.remaining == 0 else { return }
        file = nil
        record(open.nameHash, from: open.start)
    }
}
