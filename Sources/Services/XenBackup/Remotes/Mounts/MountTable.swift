/// The mounts in use. Who shares one shares it until the last has given it back. (Spec: xo-proxy C33.)
actor MountTable {
    private let mounter: Mounter
    private var users: [String: Int] = [:]
    /// What was begun last on each: one after the other, so that nobody mounts what another unmounts.
    private var last: [String: Task<Void, Never>] = [:]

    init(_ mounter: Mounter) { self.mounter = mounter }

    /// - Returns: The folder that it is mounted on, until ``release(_:)``.
    func mount(_ command: MountCommand, name: String) async throws -> String {
        let id = command.id
        users[id, default: 0] += 1
        let previous = last[id]
        let mounter = mounter
        let work = Task {
            await previous?.value
            return try await mounter.mount(command, name: name)
        }
        last[id] = Task { _ = try? await work.value }
        do {
            return try await work.value
        } catch {
            await release(command)
            throw error
        }
    }

    func release(_ command: MountCommand) async {
        let id = command.id
        users[id, default: 1] -= 1
        guard users[id] == 0 else { return }
        let previous = last[id]
        let mounter = mounter
        let work = Task {
            await previous?.value
            if self.isUnused(id) { await mounter.unmount(command) }
        }
        last[id] = work
        await work.value
        if isUnused(id), last[id] == work {
            users[id] = nil
            last[id] = nil
        }
    }

    private func isUnused(_ id: String) -> Bool { (users[id] ?? 0) == 0 }
}
