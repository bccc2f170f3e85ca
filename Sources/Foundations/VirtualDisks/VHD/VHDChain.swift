import BackupFormats

/// Several VHD files, each the difference to the next, as one disk. (Spec: xo-proxy §7.5, §7.6.)
///
/// Each sector is that of the youngest file that holds it. The disk is as large as the youngest says; older ones may be
/// smaller, and are zeros behind their end, or larger, where a merge of a grown disk was interrupted.
package struct VHDChain: DiskView {
    /// Youngest first.
    private let files: [VHDFile]
    package let size: UInt64
    /// Whether the oldest file is a difference itself, to something that is not part of this chain.
    package let isDifferencing: Bool

    /// - Parameters:
    ///   - files: Youngest first.
    ///   - isPart: The oldest may be a differencing disk: the chain is merged, not read as a disk.
    ///   - comparesIdentities: Whether each file must have the uuid that the one before it names as its parent's. After
    ///     an interrupted merge it need not.
    /// - Throws: ``BackupFailure`` of kind `corruptData` where a file is not the parent of the one before it, or has
    ///   no parent where one follows; where the last one needs a parent and `isPart` is false.
    package static func open(
        _ files: [VHDFile], isPart: Bool = false, comparesIdentities: Bool = true
    ) async throws -> VHDChain {
        guard let youngest = files.first else { throw BackupFailure(.corruptData, "A chain of disks without any disk") }
        var child = youngest
        for parent in files.dropFirst() {
            let expected = await child.parentUUID
            let found = await parent.uuid
            guard let expected else {
                throw BackupFailure(.corruptData, "\(child.name) has no parent, but \(parent.name) is given as one")
            }
            guard expected == found || !comparesIdentities else {
                throw BackupFailure(
                    .corruptData, "\(parent.name) (\(found)) is not the parent of \(child.name), which is \(expected)")
            }
            child = parent
        }
        let isDifferencing = await child.isDifferencing
        guard isPart || !isDifferencing else {
            throw BackupFailure(.corruptData, "\(child.name) depends on a disk that is missing")
        }
        return VHDChain(files: files, size: await youngest.size, isDifferencing: isDifferencing)
    }

    private init(files: [VHDFile], size: UInt64, isDifferencing: Bool) {
        self.files = files
        self.size = size
        self.isDifferencing = isDifferencing
    }

    package func presentBlocks() async throws -> [Int] {
        guard files.count > 1 else { return await files.first?.presentBlocks ?? [] }
        let count = DiskGeometry.blockCount(size)
        var isPresent = [Bool](repeating: false, count: count)
        for file in files {
            for index in await file.presentBlocks where index < count { isPresent[index] = true }
        }
        return isPresent.indices.filter { isPresent[$0] }
    }

    package func block(_ index: Int) async throws -> [UInt8] {
        let used = VHDPlaces.usedBytes(of: index, size: size)
        guard used > 0, var bytes = try await merged(index)?.bytes else {
            return [UInt8](repeating: 0, count: DiskGeometry.blockBytes)
        }
        if used < DiskGeometry.blockBytes {
            bytes.removeLast(DiskGeometry.blockBytes - used)
            bytes.appendZeros(DiskGeometry.blockBytes - used)
        }
        return bytes
    }

    /// What these files together hold of a block; nil where none of them has any of it.
    package func merged(_ index: Int) async throws -> VHDBlock? {
        var result: VHDBlock?
        for file in files {
            guard let older = try await file.block(index) else { continue }
            if result == nil { result = older } else { result?.fill(from: older) }
            if result?.sectors.isFull() == true { break }
        }
        return result
    }
}
