import BackupFormats
import CairnTestSupport
import Logging
import Tasks
import VirtualDisks

@testable import XenBackup

/// A classic repository over files in memory, and what tests do with it all the time.
struct ClassicSetting: Sendable {
    static let vm = "11111111-aaaa-4bbb-8ccc-000000000001"
    static let machine = "xo-vm-backups/\(vm)"

    let files: MemoryFiles
    let repository: ClassicRepository
    let record = TaskRecord()

    init(
        _ files: MemoryFiles = MemoryFiles(), mergeStateInterval: Duration = .seconds(10),
        gate: MachineGate = MachineGate()
    ) {
        self.init(over: files, memory: files, mergeStateInterval: mergeStateInterval, gate: gate)
    }

    /// Over other files; those in memory stay empty.
    init(over other: any RemoteFiles) {
        self.init(over: other, memory: MemoryFiles(), mergeStateInterval: .zero, gate: MachineGate())
    }

    private init(over files: any RemoteFiles, memory: MemoryFiles, mergeStateInterval: Duration, gate: MachineGate) {
        self.files = memory
        repository = ClassicRepository(
            files: files, remoteID: "remote-1", name: "memory", time: ManualClock().source,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
            options: .init(mergeStateInterval: mergeStateInterval, gate: gate), test: { _ in ["success": true] })
    }

    func list() async throws -> [VMBackup] { try await repository.vmBackups(of: Self.vm)[Self.vm] ?? [] }
    func ids() async throws -> [String] { try await list().map { ClassicPath.name(of: $0.id) } }

    /// The day-th backup happens on that day of June 2024.
    static func time(_ day: Int) -> Int64 { 1_717_200_000_000 + Int64(day) * 86_400_000 }
    static func name(_ day: Int) -> String { "\(BackupDate.text(time(day))).json" }

    static func metadata(_ mode: VMBackupMode, _ day: Int, schedule: String = "sch-1") -> VMBackupMetadata {
        VMBackupMetadata([
            "version": "2.0.0", "mode": .string(mode.rawValue), "jobId": "job-1", "scheduleId": .string(schedule),
            "timestamp": .integer(time(day)),
            "vm": ["uuid": .string(vm), "name_label": "web1", "name_description": "", "tags": ["prod"]],
            "vmSnapshot": ["uuid": "snap", "suspend_VDI": "OpaqueRef:NULL"],
        ])
    }

    static func plan(_ mode: VMBackupMode, _ day: Int, schedule: String = "sch-1") -> VMBackupPlan {
        VMBackupPlan(mode: mode, jobID: "job-1", scheduleID: schedule, timestamp: time(day))
    }

    /// Bytes that pass for an XVA.
    static func xva(_ seed: UInt64) -> [UInt8] {
        var random = SeededRandom(seed: seed)
        let content = random.bytes(1024)
        var header = [UInt8](repeating: 0, count: 512)
        header.replaceSubrange(0..<7, with: Array("ova.xml".utf8))
        header.replaceSubrange(100..<107, with: Array("0000644".utf8))
        header.replaceSubrange(124..<135, with: Array("00000002000".utf8))
        header.replaceSubrange(257..<265, with: Array("ustar\u{0}00".utf8))
        header[156] = UInt8(ascii: "0")
        for index in 148..<156 { header[index] = 0x20 }
        let sum = String(header.reduce(0) { $0 + Int($1) }, radix: 8)
        let digits = String(repeating: "0", count: 6 - sum.count) + sum
        header.replaceSubrange(148..<156, with: Array("\(digits)\u{0} ".utf8))
        return header + content + [UInt8](repeating: 0, count: 1024)
    }

    func withTarget<Value>(_ body: (any VMBackupTarget) async throws -> Value) async throws -> Value {
        let target = try await repository.target(for: Self.vm)
        do {
            let value = try await body(target)
            await target.release()
            return value
        } catch {
            await target.release()
            throw error
        }
    }

    @discardableResult
    func backUpFull(_ day: Int, schedule: String = "sch-1") async throws -> String {
        try await withTarget { target in
            let writer = try await target.begin(Self.plan(.full, day, schedule: schedule))
            let bytes = Self.xva(UInt64(day))
            _ = try await writer.write(xva: BytesSource(bytes), maxByteCount: UInt64(bytes.count))
            return try await writer.commit(Self.metadata(.full, day, schedule: schedule))
        }
    }
}
