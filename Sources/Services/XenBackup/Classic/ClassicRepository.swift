package import BackupFormats
package import Logging
import Tasks

/// A remote in the layout of Xen Orchestra: files of machines, disks and metadata. (Spec: xo-proxy §4.5–§4.10.)
///
/// On object stores it holds full backups and metadata backups; disks as VHD files need a file system.
package final class ClassicRepository: XenRepository {
    package struct Options: Sendable {
        /// How long to wait for a machine's lock that another holds. (Spec: §8 point 8.)
        package var lockPatience: Duration
        /// At most so long the state of a merge lags behind.
        package var mergeStateInterval: Duration
        /// Knows which machines are being read.
        package var gate: MachineGate

        package init(
            lockPatience: Duration = .seconds(60), mergeStateInterval: Duration = .seconds(10),
            gate: MachineGate = .shared
        ) {
            self.lockPatience = lockPatience
            self.mergeStateInterval = mergeStateInterval
            self.gate = gate
        }
    }

    /// Machines that are listed at once.
    private static let listWidth = 4

    package let remoteID: String
    package let name: String
    let files: any RemoteFiles
    let time: TimeSource
    let options: Options
    let logger: Logger
    var gate: MachineGate { options.gate }
    private let tester: @Sendable (any RemoteFiles) async -> JSONObject

    /// - Parameter test: What ``test()`` does with the files. (Spec: §4.4.)
    package init(
        files: any RemoteFiles, remoteID: String, name: String, time: TimeSource, logger: Logger,
        options: Options = Options(), test: @escaping @Sendable (any RemoteFiles) async -> JSONObject
    ) {
        self.files = files
        self.remoteID = remoteID
        self.name = name
        self.time = time
        self.logger = logger
        self.options = options
        tester = test
    }

    package func info() async throws -> JSONObject { try await files.info() }

    package func test() async -> JSONObject { await tester(files) }

    package func totalBackupSize() async throws -> JSONObject {
        // What the metadata of machines says; other backups do not count. (Spec: §2.4.)
        let sizes = try await vmBackups(of: nil).values.joined().map { UInt64(clamping: $0.metadata.size ?? 0) }
        return ["onDisk": .integer(sizes.reduce(0) { $0 &+ $1 })]
    }

    package func close() async { await files.close() }

    func machine(_ vm: String) -> MachineFolder { MachineFolder(files: files, vm: vm, logger: logger) }

    package func vmBackups(of vm: String?) async throws -> [String: [VMBackup]] {
        let machines: [String]
        if let vm {
            try ClassicPath.requireName(vm, of: "machine")
            machines = [vm]
        } else {
            machines = try await existingMachines()
        }
        let isProtected = await hasImmutabilityMark()
        let lists = try await parallelMap(machines, width: Self.listWidth) { vm -> (String, [VMBackup]) in
            do {
                return (vm, try await self.machine(vm).backups(isProtected: isProtected))
            } catch {
                // What is no folder is no machine.
                if (try? await self.files.size(of: self.machine(vm).path)) != nil { return (vm, []) }
                throw error
            }
        }
        return Dictionary(uniqueKeysWithValues: lists.filter { !$0.1.isEmpty })
    }

    private func existingMachines() async throws -> [String] {
        do {
            return try await files.list(ClassicPath.machines).filter(ClassicPath.isMachine)
        } catch let failure as BackupFailure where failure.kind == .notFound {
            return []
        }
    }

    private func hasImmutabilityMark() async -> Bool {
        guard files.capabilities.isFileSystem else { return false }
        return (try? await files.size(of: ClassicPath.immutability)) != nil
    }

    package func target(for vm: String) async throws -> any VMBackupTarget {
        try ClassicPath.requireName(vm, of: "machine")
        let folder = machine(vm)
        try await files.makeFolder(folder.path)
        let lock = try await files.lock(folder.path, patience: options.lockPatience)
        return ClassicTarget(repository: self, folder: folder, lock: lock)
    }

    package func openBackup(_ id: String) async throws -> any VMBackupReader {
        let place = try ClassicBackupID(parsing: id)
        let folder = machine(place.vm)
        return ClassicReader(repository: self, folder: folder, metadata: try await folder.metadata(place.name))
    }
}
