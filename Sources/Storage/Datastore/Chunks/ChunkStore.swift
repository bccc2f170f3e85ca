package import BackupFormats
import BlobCoding
import Platform
import Synchronization

/// What became of an uploaded chunk.
package struct ChunkInsertion: Hashable, Sendable {
    package var isDuplicate: Bool
    /// Bytes of the chunk file that the store now has.
    package var storedByteCount: Int

    package init(isDuplicate: Bool, storedByteCount: Int) {
        self.isDuplicate = isDuplicate
        self.storedByteCount = storedByteCount
    }
}

/// The chunks of a store: one file each, named by its digest, below 65,536 prefix folders. (Spec: formats §1.7, §9.1.)
///
/// All calls block and may come from many threads at once; calls on chunks of one prefix follow each other.
package final class ChunkStore: Sendable {
    /// Prefixes share this many locks.
    private static let stripeCount = 1024
    /// Files set aside for one digest before the last is overwritten.
    private static let badNames = 10

    private final class Stripe: Sendable {
        let mutex = Mutex(())
    }

    package let pins = PinBoard()
    private let writeBehind = WriteBehind()
    private let layout: StoreLayout
    private let owner: FileOwner
    let options: StoreOptions
    private let isReadOnly: Bool
    private let stripes = (0..<ChunkStore.stripeCount).map { _ in Stripe() }

    init(layout: StoreLayout, owner: FileOwner, options: StoreOptions, isReadOnly: Bool) {
        self.layout = layout
        self.owner = owner
        self.options = options
        self.isReadOnly = isReadOnly
    }

    func path(of digest: ChunkDigest) -> String { "\(layout.chunks)/\(prefixName(digest.prefix))/\(digest)" }

    /// Runs `body` while nobody else changes files of the chunk's prefix.
    func withLock<Value>(_ digest: ChunkDigest, _ body: () throws -> Value) rethrows -> Value {
        try stripes[Int(digest.prefix) % Self.stripeCount].mutex.withLock { _ in try body() }
    }

    /// Stores a chunk unless the store has it, and pins it for the session.
    ///
    /// When this returns the chunk survives the end of this process; what survives a power cut is for the sync level
    /// to say. A plain chunk replaces a file that holds encrypted data, whatever the lengths (design decision 6).
    ///
    /// - Parameters:
    ///   - blob: The encoded chunk: checked by the caller (digest and length of a plain one), with a right CRC.
    ///   - length: The plain length, which the session will know the chunk by.
    ///   - set: The in-use set of the session.
    /// - Throws: ``BackupFailure``: `conflict` where the store has the digest with content of another kind,
    ///   `storageFull`, `invalidInput` where `blob` is none.
    package func insert(
        _ blob: [UInt8], as digest: ChunkDigest, length: Int, pinning set: InUseSet
    ) throws -> ChunkInsertion {
        try requireWritable()
        let encoding = try storing("Chunk \(digest) cannot be stored") { try DataBlobHeader(parsing: blob).encoding }
        set.pin(digest, length: length, origin: .copied)
        let insertion = try storing("Chunk \(digest) cannot be stored") {
            try withLock(digest) { try place(blob, encoding, digest) }
        }
        set.pin(digest, length: length, origin: insertion.isDuplicate ? .duplicate : .written)
        return insertion
    }

    /// Decides by what is there; the prefix is locked.
    private func place(_ blob: [UInt8], _ encoding: DataBlobHeader.Encoding, _ digest: ChunkDigest) throws
        -> ChunkInsertion
    {
        let path = path(of: digest)
        guard let status = try FileSystem.status(path, followsLinks: false) else { return try write(blob, digest) }
        guard status.kind == .file else {
            throw BackupFailure(.corruptData, "Chunk \(digest) cannot be stored: \(path) is not a file")
        }
        guard let stored = try storedEncoding(path) else { return try write(blob, digest) }
        switch (encoding.isEncrypted, stored.isEncrypted) {
        case (false, true):
            return try write(blob, digest)
        case (true, false):
            throw BackupFailure(.conflict, "Chunk \(digest) is encrypted, and the store has plain data of that digest")
        case (true, true):
            if status.byteCount != blob.count, stored == .encrypted, encoding == .encrypted {
                throw BackupFailure(
                    .conflict, "Chunk \(digest) has another length than the encrypted chunk of that digest in the store"
                )
            }
        case (false, false):
            // The smaller one is kept. One that is too short may be the rest of a crash: then its checksum is wrong.
            if status.byteCount > blob.count { return try write(blob, digest) }
            if status.byteCount < blob.count, !isIntact(path) { return try write(blob, digest) }
        }
        _ = try FileSystem.touchAccessTime(path)
        return ChunkInsertion(isDuplicate: true, storedByteCount: status.byteCount)
    }

    /// Nil where the file is empty, too short, or no blob at all: the aftermath of a crash, to be overwritten.
    private func storedEncoding(_ path: String) throws -> DataBlobHeader.Encoding? {
        let head = try OpenFile(path, followsLinks: false).read(at: 0, count: 44)
        return (try? DataBlobHeader(parsing: head))?.encoding
    }

    private func isIntact(_ path: String) -> Bool {
        guard let blob = try? FileSystem.read(path, limit: BlobLimits.encodedChunk.upperBound) else { return false }
        return (try? BlobChecksum.verify(blob)) != nil
    }

    private func write(_ blob: [UInt8], _ digest: ChunkDigest) throws -> ChunkInsertion {
        try options.beforeStep(.chunkWrite)
        let replace = {
            try AtomicFile.replace(
                self.path(of: digest), with: blob, mode: StoreLayout.fileMode, owner: self.owner.toGive,
                isSynced: self.options.syncLevel == .file, writeBehind: self.writeBehind,
                beforeRename: { try self.options.beforeStep(.chunkRename) })
        }
        do {
            try replace()
        } catch let error as SystemError where error.isMissing {
            let folder = "\(layout.chunks)/\(prefixName(digest.prefix))"
            try owner.makeFolder(folder, mode: StoreLayout.chunkFolderMode)
            try replace()
        }
        return ChunkInsertion(isDuplicate: false, storedByteCount: blob.count)
    }

    /// The stored blob of a chunk, its CRC checked. Whether the content fits the digest is not: see verification.
    ///
    /// - Throws: ``BackupFailure``: `noSuchObject` where the store lacks the chunk, `corruptData`.
    package func read(_ digest: ChunkDigest) throws -> [UInt8] {
        try storing("Chunk \(digest) cannot be read") {
            let file = try OpenFile(path(of: digest))
            file.startReading()
            let blob = try file.readAll(limit: BlobLimits.encodedChunk.upperBound)
            try BlobChecksum.verify(blob)
            return blob
        }
    }

    /// Bytes of the chunk file; nil where the store lacks it. A file without content is none.
    package func byteCount(of digest: ChunkDigest) throws -> Int? {
        try storing("Chunk \(digest) cannot be looked up") {
            guard let status = try FileSystem.status(path(of: digest), followsLinks: false), status.kind == .file,
                status.byteCount > 0
            else { return nil }
            return status.byteCount
        }
    }

    /// Sets the access time to now, for the garbage collection of a PBS.
    ///
    /// - Returns: false where the store lacks the chunk.
    @discardableResult
    package func touch(_ digest: ChunkDigest) throws -> Bool {
        try requireWritable()
        return try storing("Chunk \(digest) cannot be touched") {
            try withLock(digest) { try FileSystem.touchAccessTime(path(of: digest)) }
        }
    }

    /// Sets a corrupt chunk aside as `<digest>.N.bad` with the first free N of 0 to 9; the last is overwritten where
    /// all exist. A later upload of the content makes the chunk anew.
    ///
    /// - Parameter file: The inode of the file that was found to be corrupt; another one is left alone.
    /// - Returns: The new file name, or nil where there was no file, or another one.
    @discardableResult
    package func markBad(_ digest: ChunkDigest, file: UInt64? = nil) throws -> String? {
        try requireWritable()
        return try storing("Chunk \(digest) cannot be set aside") {
            try withLock(digest) {
                let path = path(of: digest)
                guard let status = try FileSystem.status(path, followsLinks: false) else { return nil }
                if let file, status.inode != file { return nil }
                var number = 0
                while number < Self.badNames - 1, try FileSystem.exists("\(path).\(number).bad") { number += 1 }
                try FileSystem.rename(path, to: "\(path).\(number).bad")
                return "\(digest).\(number).bad"
            }
        }
    }

    /// Takes a session's set off the board; its files need not stay open.
    func sessionEnded(_ set: InUseSet) {
        pins.end(set)
        writeBehind.release()
    }

    private func requireWritable() throws {
        if isReadOnly { throw BackupFailure(.conflict, "The datastore is open for reading only") }
    }
}
