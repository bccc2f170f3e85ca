import BackupFormats
import Platform

/// Where an image is restored to: a new file, or a block device that is there.
package final class ImageTarget: Sendable {
    /// Blocks of zeros of this size inside of other content become holes.
    private static let holeBytes = 64 << 10

    private let file: OpenFile
    private let isDevice: Bool
    private let writeBehind = WriteBehind()

    /// - Parameter overwrites: Whether a file that exists is emptied and used; a device always is.
    /// - Throws: ``BackupFailure`` of kind `conflict` where the file exists, and as the system says.
    package init(_ path: String, overwrites: Bool = false) throws {
        do {
            if let status = try FileSystem.status(path) {
                guard overwrites || status.kind == .other else {
                    throw BackupFailure(
                        .conflict, "\(path) exists already", hints: ["Choose another target, or add --overwrite."])
                }
                file = try OpenFile(path, .readWrite)
                if status.kind == .file { try file.truncate(to: 0) }
            } else {
                file = try OpenFile(path, .makeNew(mode: 0o644))
            }
            isDevice = file.isBlockDevice
        } catch let error as SystemError {
            throw error.failure("\(path) cannot be opened for writing")
        }
    }

    /// Whether what is not written reads as zeros.
    var readsAsZero: Bool { !isDevice }

    func prepare(byteCount: UInt64) throws {
        do {
            guard isDevice else { return try file.truncate(to: Int(byteCount)) }
            let size = try DeviceSize.byteCount(of: file)
            guard UInt64(size) >= byteCount else {
                throw BackupFailure(
                    .storageFull, "The device \(file.path) has \(size) bytes, the image \(byteCount)",
                    hints: ["Choose a device that is at least as large as the image."])
            }
        } catch let error as SystemError {
            throw error.failure("\(file.path) cannot take the image")
        }
    }

    func write(_ content: [UInt8], at offset: UInt64) throws {
        do {
            try content.withUnsafeBytes { bytes in
                guard readsAsZero else { return try file.write(bytes, at: Int(offset)) }
                for run in Self.dataRuns(bytes) {
                    try file.write(UnsafeRawBufferPointer(rebasing: bytes[run]), at: Int(offset) + run.lowerBound)
                }
            }
        } catch let error as SystemError {
            throw error.failure("The image cannot be written to \(file.path)")
        }
        if !content.isEmpty { writeBehind.add(file, at: Int(offset), count: content.count) }
    }

    func finish() throws {
        writeBehind.release()
        guard isDevice else { return }
        do { try file.sync() } catch { throw error.failure("The image cannot be written to \(file.path)") }
    }

    /// The parts that are not blocks of zeros.
    private static func dataRuns(_ bytes: UnsafeRawBufferPointer) -> [Range<Int>] {
        var runs: [Range<Int>] = []
        for start in stride(from: 0, to: bytes.count, by: holeBytes) {
            let end = min(start + holeBytes, bytes.count)
            if ZeroBytes.isZero(UnsafeRawBufferPointer(rebasing: bytes[start..<end])) { continue }
            if let last = runs.last, last.upperBound == start {
                runs[runs.count - 1] = last.lowerBound..<end
            } else {
                runs.append(start..<end)
            }
        }
        return runs
    }
}
