import BackupFormats
import VirtualDisks

/// What lies in the folder of one disk: which files are disks, who is whose parent, and which can be read.
struct DiskScan: Sendable {
    struct Disk: Sendable {
        let name: String
        let uuid: DiskUUID
        /// Of a differencing disk: identity and name of what it is the difference to.
        let parent: (uuid: DiskUUID, name: String)?
    }

    /// Why a folder is left alone.
    struct Untouchable: Error, CustomStringConvertible {
        let description: String
    }

    let folder: DiskFolder
    let names: [String]
    /// Disks whose own file is whole, by name.
    private(set) var disks: [String: Disk] = [:]
    /// Names of files that are no disks, or damaged ones, and why.
    private(set) var broken: [String: String] = [:]
    /// Oldest disks of merges that were begun.
    private(set) var merging: [String] = []

    /// - Throws: ``Untouchable`` where something is there that we cannot judge, else what reading says.
    init(_ folder: DiskFolder) async throws {
        self.folder = folder
        names = try await folder.files.list(folder.path)
        merging = names.compactMap(MergeState.oldestDisk(ofStateNamed:))
        for name in names where DiskFolder.isDisk(name) {
            do {
                disks[name] = DiskFolder.isAlias(name) ? try await alias(name) : try await disk(name)
            } catch let failure as BackupFailure where failure.kind == .corruptData {
                broken[name] = failure.description
            }
        }
    }

    private func disk(_ name: String) async throws -> Disk {
        let path = folder.path(name)
        let remote = try await folder.files.open(path, .read)
        do {
            let file = try await VHDFile.open(
                RemoteAccess(file: remote), name: "/\(path)", merging.contains(name) ? .lenient : .strict)
            let disk = Disk(name: name, uuid: await file.uuid, parent: try await parent(of: file))
            await remote.close()
            return disk
        } catch {
            await remote.close()
            throw error
        }
    }

    private func parent(of file: VHDFile) async throws -> (uuid: DiskUUID, name: String)? {
        guard let uuid = await file.parentUUID else { return nil }
        let name = await file.header.parentName
        guard let path = ClassicPath.resolve(name, in: folder.path, within: folder.path),
            ClassicPath.folder(of: path) == folder.path
        else { throw Untouchable(description: "\(file.name) has a parent elsewhere: '\(name)'") }
        return (uuid, ClassicPath.name(of: path))
    }

    /// An alias is either damaged, or stands for a disk in a form that we leave alone.
    private func alias(_ name: String) async throws -> Disk? {
        let target = try await folder.aliasTarget(name)
        if let names = try? await folder.files.list(target), !names.isEmpty {
            throw Untouchable(description: "disks in the form of folders are not supported yet: /\(folder.path(name))")
        }
        do {
            _ = try await folder.files.size(of: target)
        } catch let failure as BackupFailure where failure.kind == .notFound || failure.kind == .invalidInput {
            throw BackupFailure(.corruptData, "The data of the alias /\(folder.path(name)) is missing")
        }
        throw Untouchable(description: "an alias of a file: /\(folder.path(name))")
    }

    /// Whether the disk can be read, down to the last of its chain.
    func isUsable(_ name: String) -> Bool {
        var seen: Set<String> = []
        var next = name
        while let disk = disks[next], seen.insert(next).inserted {
            guard let parent = disk.parent else { return true }
            guard disks[parent.name]?.uuid == parent.uuid else { return false }
            next = parent.name
        }
        return false
    }

    /// Why a disk cannot be used.
    func fault(of name: String) -> String {
        if let reason = broken[name] { return reason }
        guard disks[name] != nil else { return "it is missing" }
        return "its parent is missing or damaged"
    }

    /// The usable disk that more than one usable disk is the difference to.
    var forked: String? {
        var children: [String: Int] = [:]
        for disk in disks.values where isUsable(disk.name) {
            if let parent = disk.parent { children[parent.name, default: 0] += 1 }
        }
        return children.filter { $0.value > 1 }.map(\.key).min()
    }

    /// A younger disk and the older one below it that bears its identity: a merge ended, and nobody gave the result its name.
    var unnamedMerge: (oldest: String, youngest: String)? {
        for disk in disks.values.sorted(by: { $0.name < $1.name }) {
            var seen: Set<String> = [disk.name]
            var next = disk.parent?.name
            while let name = next, let older = disks[name], seen.insert(name).inserted {
                if older.uuid == disk.uuid { return (name, disk.name) }
                next = older.parent?.name
            }
        }
        return nil
    }

    /// The chains that wait to become one disk each, oldest first: disks that nobody refers to, and the first that somebody does.
    func mergeable(referenced: Set<String>) -> [[String]] {
        referenced.sorted().filter(isUsable).compactMap { name in
            var chain = [name]
            while let parent = chain.first.flatMap({ disks[$0]?.parent?.name }), !referenced.contains(parent) {
                chain.insert(parent, at: 0)
            }
            return chain.count > 1 ? chain : nil
        }
    }

    /// Disks that nobody needs, youngest first.
    func superfluous(referenced: Set<String>) -> [String] {
        var needed = Set(mergeable(referenced: referenced).flatMap { $0 })
        for name in referenced {
            var seen: Set<String> = []
            var next: String? = name
            while let current = next, seen.insert(current).inserted { next = disks[current]?.parent?.name }
            needed.formUnion(seen)
        }
        return (Array(disks.keys) + Array(broken.keys)).filter { !needed.contains($0) }.sorted(by: >)
    }

    /// The disks from one up to an older one, oldest first; nil where the younger does not depend on it.
    func chain(from oldest: String, to youngest: String) -> [String]? {
        var chain = [youngest]
        while let first = chain.first, first != oldest {
            guard let parent = disks[first]?.parent?.name, !chain.contains(parent) else { return nil }
            chain.insert(parent, at: 0)
        }
        return chain
    }
}
