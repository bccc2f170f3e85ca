import BackupFormats
import Tasks

/// A chunk store in a folder of a remote, which stays open, and mounted, as long as the store is used.
struct LeasedRepository: XenRepository {
    private let store: any XenRepository
    private let files: LeasedFiles

    init(_ store: any XenRepository, _ files: LeasedFiles) {
        self.store = store
        self.files = files
    }

    var remoteID: String { store.remoteID }
    var name: String { store.name }
    var prefersUncompressedExports: Bool { store.prefersUncompressedExports }

    func info() async throws -> JSONObject { try await store.info() }
    func test() async -> JSONObject { await store.test() }
    func totalBackupSize() async throws -> JSONObject { try await store.totalBackupSize() }
    func vmBackups(of vm: String?) async throws -> [String: [VMBackup]] { try await store.vmBackups(of: vm) }
    func target(for vm: String) async throws -> any VMBackupTarget { try await store.target(for: vm) }
    func openBackup(_ id: String) async throws -> any VMBackupReader { try await store.openBackup(id) }
    func deleteVMBackups(_ ids: [String], task: TaskNode) async throws {
        try await store.deleteVMBackups(ids, task: task)
    }
    func metadataBackups(_ kind: MetadataKind) async throws -> [JSONObject] { try await store.metadataBackups(kind) }
    func writeMetadataBackup(_ backup: MetadataBackup) async throws { try await store.writeMetadataBackup(backup) }
    func readMetadataBackup(
        _ id: String
    ) async throws -> (metadata: JSONObject, dataName: String, data: any ByteSource) {
        try await store.readMetadataBackup(id)
    }
    func deleteMetadataBackup(_ id: String) async throws { try await store.deleteMetadataBackup(id) }

    func close() async {
        await store.close()
        await files.close()
    }
}
