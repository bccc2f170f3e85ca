package import BackupFormats
import Logging
package import Tasks

/// What is on remotes, and its removal. (Spec: xo-proxy §2.4, §2.5.)
extension XenBackups {
    package func listVMBackups(remotes: JSONObject, vm: String?) async throws -> JSONObject {
        try await listing(of: remotes) { repository in
            let backups = try await repository.vmBackups(of: vm)
            var result = JSONObject()
            for (uuid, entries) in backups.sorted(by: { $0.key < $1.key }) where !entries.isEmpty || uuid == vm {
                result[uuid] = .array(entries.map { .object($0.listing(remoteID: repository.remoteID)) })
            }
            if let vm, result[vm] == nil { result[vm] = [] }
            return .object(result)
        }
    }

    package func listMetadataBackups(_ kind: String, remotes: JSONObject) async throws -> JSONObject {
        guard let kind = MetadataKind(rawValue: kind) else {
            throw BackupFailure(.invalidInput, "there are no metadata backups of kind \(kind)")
        }
        return try await listing(of: remotes) { repository in
            let entries = try await repository.metadataBackups(kind)
            guard kind == .pool else { return .array(entries.map { .object($0) }) }
            var pools = JSONObject()
            for entry in entries {
                // `/xo-pool-metadata-backups/<schedule>/<pool>/<date>`.
                let parts = (entry["id"]?.stringValue ?? "").split(separator: "/")
                guard parts.count == 4 else { continue }
                let pool = String(parts[2])
                pools[pool] = .array((pools[pool]?.arrayValue ?? []) + [.object(entry)])
            }
            return .object(pools)
        }
    }

    package func deleteVMBackups(_ ids: [String], remote: JSONObject, root: TaskNode) async throws {
        try await withRepository(remote) { try await $0.deleteVMBackups(ids, task: root) }
    }

    package func deleteMetadataBackup(_ id: String, remote: JSONObject) async throws {
        try await withRepository(remote) { try await $0.deleteMetadataBackup(id) }
    }

    package func testRemote(_ remote: JSONObject) async -> JSONObject {
        do {
            return try await withRepository(remote) { await $0.test() }
        } catch {
            return ["success": false, "error": TaskFailure.json(error)]
        }
    }

    package func pingRemote(_ remote: JSONObject) async throws {
        try await withRepository(remote) { _ in }
    }

    package func remoteInfo(_ remote: JSONObject) async throws -> JSONObject {
        try await withRepository(remote) { try await $0.info() }
    }

    package func totalBackupSize(_ remote: JSONObject) async throws -> JSONObject {
        try await withRepository(remote) { try await $0.totalBackupSize() }
    }

    /// Opens a remote for the time of `body`.
    func withRepository<Value: Sendable>(
        _ remote: JSONObject, _ body: (any XenRepository) async throws -> Value
    ) async throws -> Value {
        let repository = try await repositories.open(remote)
        do {
            let value = try await body(repository)
            await inAnyCase { await repository.close() }
            return value
        } catch {
            await inAnyCase { await repository.close() }
            throw error
        }
    }

    /// Lists several remotes at once. A remote that fails is left out; where all fail, the first reason is thrown.
    private func listing(
        of remotes: JSONObject, _ list: @escaping @Sendable (any XenRepository) async throws -> JSONValue
    ) async throws -> JSONObject {
        let found = await withTaskGroup(of: (String, Result<JSONValue, any Error>).self) { group in
            var started = 0
            var results: [String: Result<JSONValue, any Error>] = [:]
            for member in remotes.members {
                if started >= Self.listingWidth, let (id, result) = await group.next() { results[id] = result }
                started += 1
                var remote = member.value.objectValue ?? [:]
                remote["id"] = .string(member.name)
                group.addTask { [remote] in
                    do {
                        return (member.name, .success(try await self.withRepository(remote, list)))
                    } catch {
                        return (member.name, .failure(error))
                    }
                }
            }
            for await (id, result) in group { results[id] = result }
            return results
        }
        var answer = JSONObject()
        var firstFailure: (any Error)?
        for member in remotes.members {
            switch found[member.name] {
            case .success(let value): answer[member.name] = value
            case .failure(let error):
                logger.warning("remote \(member.name) cannot be listed: \(error)")
                firstFailure = firstFailure ?? error
            case nil: break
            }
        }
        if answer.members.isEmpty, let firstFailure { throw firstFailure }
        return answer
    }

    /// Remotes that are listed at the same time.
    private static var listingWidth: Int { 8 }
}
