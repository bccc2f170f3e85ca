import BackupFormats

/// The chunks of an archive, in order, whatever kind of index named them.
struct ChunkList: Sendable {
    private enum Index: Sendable {
        case dynamic(DynamicIndex)
        case fixed(FixedIndex)
    }

    let archive: ArchiveName
    private let index: Index

    /// Reads an index file.
    ///
    /// - Throws: ``BackupFailure`` of kind `corruptData` where it is none, `invalidInput` for a blob.
    init(_ archive: ArchiveName, parsing file: [UInt8]) throws {
        self.archive = archive
        do {
            switch archive.kind {
            case .dynamicIndex: index = .dynamic(try DynamicIndex(parsing: file))
            case .fixedIndex: index = .fixed(try FixedIndex(parsing: file))
            case .blob: throw BackupFailure(.invalidInput, "\(archive) is a blob and has no chunks")
            }
        } catch let error as FormatError {
            throw BackupFailure(.corruptData, "The index \(archive) is damaged", cause: error)
        }
    }

    var count: Int {
        switch index {
        case .dynamic(let index): index.count
        case .fixed(let index): index.count
        }
    }

    /// Bytes of the archive.
    var size: UInt64 {
        switch index {
        case .dynamic(let index): index.size
        case .fixed(let index): index.size
        }
    }

    var checksum: ChunkDigest {
        switch index {
        case .dynamic(let index): index.computedChecksum
        case .fixed(let index): index.computedChecksum
        }
    }

    func digest(at place: Int) -> ChunkDigest {
        switch index {
        case .dynamic(let index): index.digest(at: place)
        case .fixed(let index): index.digest(at: place)
        }
    }

    /// Where chunk `place` lies in the archive.
    func range(at place: Int) -> Range<UInt64> {
        switch index {
        case .dynamic(let index): index.range(at: place)
        case .fixed(let index): index.range(at: place)
        }
    }
}
