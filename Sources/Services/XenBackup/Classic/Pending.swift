import BackupFormats
import Tasks
import VirtualDisks

private let pending = BackupFailure(.unsupported, "Delta backups as files are not supported yet")

extension DiskFolder {
    func usableDisk(uuid: String) async throws -> String? { nil }
    func write(_ disk: VMBackupDisk, from source: any DiskSource, name: String, milliseconds: Int64) async throws
        -> UInt64
    {
        throw pending
    }
}

final class DiskChain: Sendable {
    let view: any DiskView
    init(view: any DiskView) { self.view = view }
    static func open(_ path: String, in folder: MachineFolder) async throws -> DiskChain { throw pending }
    func close() async {}
}

extension ClassicClean {
    func cleanDisks(_ listing: inout MachineListing, _ task: TaskNode, merges: Bool) async throws {}
}

struct XVACheck {
    private var head: [UInt8] = []
    private var tail: [UInt8] = []
    private var count = 0

    mutating func add(_ bytes: [UInt8]) {
        if head.count < 4 { head += bytes.prefix(4 - head.count) }
        tail = Array((tail + bytes.suffix(1024)).suffix(1024))
        count += bytes.count
    }

    func finish() throws {
        if count >= 20, head.starts(with: [0x1f, 0x8b]) || head == [0x28, 0xb5, 0x2f, 0xfd] { return }
        guard count > 1024, count % 512 == 0, tail.allSatisfy({ $0 == 0 }) else {
            throw FormatError.invalid("the end of the archive is missing", offset: count)
        }
    }
}
