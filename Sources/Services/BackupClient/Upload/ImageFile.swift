import BackupFormats
import Platform

/// A disk image or block device that is read at many places at once.
package final class ImageFile: Sendable {
    private let file: OpenFile
    package let byteCount: Int
    package var path: String { file.path }

    /// - Throws: ``BackupFailure`` where it cannot be opened, is neither a file nor a block device, or is empty.
    package init(_ path: String) throws {
        do throws(SystemError) {
            file = try OpenFile(path)
            byteCount = try DeviceSize.byteCount(of: file)
        } catch {
            throw error.failure("The image \(path) cannot be opened")
        }
        guard byteCount > 0 else {
            throw BackupFailure(
                .invalidInput, "The image \(path) has no bytes", hints: ["An archive holds at least one byte."])
        }
    }

    func read(into buffer: ChunkBuffer, at offset: Int, count: Int) throws {
        do throws(SystemError) {
            try buffer.fill(count) { bytes throws(SystemError) in try file.read(into: bytes, at: offset) }
        } catch {
            throw error.failure("The image \(path) cannot be read at offset \(offset)")
        }
        guard buffer.count == count else {
            throw BackupFailure(
                .conflict, "The image \(path) ends at \(offset + buffer.count), it had \(byteCount) bytes before",
                hints: ["Something shortens the image while it is read: stop it, or back up a copy."])
        }
    }

    /// Whether the file system says that nothing is stored there, so that it reads as zeros.
    func isHole(at offset: Int, count: Int) throws -> Bool {
        guard let data = file.nextData(from: offset) else { return false }
        return data >= offset + count
    }
}
