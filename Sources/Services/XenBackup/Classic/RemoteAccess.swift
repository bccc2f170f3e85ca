import VirtualDisks

/// A file of a remote as disks want it.
struct RemoteAccess: RandomAccess {
    let file: any RemoteFile

    func size() async throws -> UInt64 { try await file.size() }
    func read(at offset: UInt64, count: Int) async throws -> [UInt8] { try await file.read(at: offset, count: count) }
    func write(_ bytes: [UInt8], at offset: UInt64) async throws { try await file.write(bytes, at: offset) }
    func truncate(to size: UInt64) async throws { try await file.truncate(to: size) }
    func sync() async throws { try await file.sync() }
}
