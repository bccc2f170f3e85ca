import BackupFormats
import VirtualDisks

/// A disk of a backup with all that it is a difference to, open for reading.
///
/// Chains that a merge is working on open as well, at each of its steps: the state file says that the oldest link may lack
/// its end; and an oldest link that bears the identity of a younger one holds everything up to that. (Spec: xo-proxy §7.5.)
struct DiskChain: Sendable {
    private static let maxLinks = 1000
    /// A merge may end while we look: then the disk lies there under another name.
    private static let attempts = 4

    let view: VHDChain
    private let files: [any RemoteFile]

    /// - Parameter path: Of the youngest disk.
    /// - Throws: ``BackupFailure`` of kind `notFound` where a link is missing, `corruptData` where one is damaged or not the parent
    ///   that its child names, `unsupported` for disks in the form of folders.
    static func open(_ path: String, in machine: MachineFolder) async throws -> DiskChain {
        var attempt = 1
        while true {
            var opener = Opener(machine: machine)
            do {
                return try await opener.open(path)
            } catch {
                for link in opener.links { await link.remote.close() }
                let kind = (error as? BackupFailure)?.kind
                guard attempt < attempts, kind == .notFound || kind == .corruptData else { throw error }
                attempt += 1
            }
        }
    }

    func close() async { for file in files { await file.close() } }

    private struct Link {
        let path: String
        let remote: any RemoteFile
        let file: VHDFile
    }

    private struct Opener {
        let machine: MachineFolder
        var links: [Link] = []

        mutating func open(_ path: String) async throws -> DiskChain {
            var next: String? = path
            while let path = next {
                guard links.count < DiskChain.maxLinks, !links.contains(where: { $0.path == path }) else {
                    throw BackupFailure(.corruptData, "The chain of disks at /\(path) does not end")
                }
                guard let link = try await linkIfPresent(path) else {
                    next = try await oldestOfMerged(path)
                    continue
                }
                links.append(link)
                next = try await parent(of: link)
            }
            let chain = try await withoutMerged()
            let view = try await VHDChain.open(chain)
            return DiskChain(view: view, files: links.map(\.remote))
        }

        private func folder(of path: String) throws -> DiskFolder {
            let parts = path.dropFirst(machine.path.utf8.count + 1).split(separator: "/")
            guard parts.count >= 4, parts[0] == ClassicPath.disks else {
                throw BackupFailure(.corruptData, "/\(path) is no place for a disk")
            }
            return DiskFolder(machine: machine, job: String(parts[1]), disk: String(parts[2]))
        }

        private func parent(of link: Link) async throws -> String? {
            guard await link.file.isDifferencing else { return nil }
            let name = await link.file.header.parentName
            let folder = ClassicPath.folder(of: link.path)
            guard let path = ClassicPath.resolve(name, in: folder, within: machine.path) else {
                throw BackupFailure(.corruptData, "The disk /\(link.path) names '\(name)' as its parent")
            }
            return path
        }

        private func linkIfPresent(_ path: String) async throws -> Link? {
            let name = ClassicPath.name(of: path)
            if DiskFolder.isAlias(name) {
                let target = try await folder(of: path).aliasTarget(name)
                if (try? await machine.files.list(target)) != nil {
                    throw BackupFailure(.unsupported, "Disks in the form of folders are not supported yet: /\(path)")
                }
                return try await file(target, named: path)
            }
            do {
                return try await file(path, named: path)
            } catch let failure as BackupFailure where failure.kind == .notFound {
                return nil
            }
        }

        /// For a link that is gone: the disk that holds what it held and waits for its name. Links above that are held
        /// there, too, are dropped.
        private mutating func oldestOfMerged(_ path: String) async throws -> String {
            let folder = try folder(of: path)
            let missing = ClassicPath.name(of: path)
            for name in try await names(in: folder) {
                guard let oldest = MergeState.oldestDisk(ofStateNamed: name), oldest != missing,
                    let state = try? await folder.mergeState(of: oldest), state.step == .cleanup,
                    state.chain.contains(missing), let youngest = state.chain.last
                else { continue }
                if let first = links.firstIndex(where: { $0.path == folder.path(youngest) }) {
                    for link in links[first...] { await link.remote.close() }
                    links.removeSubrange(first...)
                }
                return folder.path(oldest)
            }
            throw BackupFailure(.notFound, "The disk /\(path) is missing")
        }

        private func names(in folder: DiskFolder) async throws -> [String] {
            do {
                return try await machine.files.list(folder.path)
            } catch let failure as BackupFailure where failure.kind == .notFound {
                return []
            }
        }

        private func file(_ path: String, named name: String) async throws -> Link {
            let remote = try await machine.files.open(path, .read)
            do {
                let access = RemoteAccess(file: remote)
                do {
                    return Link(
                        path: name, remote: remote, file: try await VHDFile.open(access, name: "/\(name)", .strict))
                } catch let failure as BackupFailure where failure.kind == .corruptData {
                    let state = MergeState.name(of: ClassicPath.name(of: name))
                    guard (try? await machine.files.size(of: "\(ClassicPath.folder(of: name))/\(state)")) != nil else {
                        throw failure
                    }
                    return Link(
                        path: name, remote: remote, file: try await VHDFile.open(access, name: "/\(name)", .lenient))
                }
            } catch {
                await remote.close()
                throw error
            }
        }

        /// The links without those that a merge has put into an older one already.
        private func withoutMerged() async throws -> [VHDFile] {
            var kept: [VHDFile] = []
            for link in links {
                let uuid = await link.file.uuid
                for (position, younger) in kept.enumerated() where await younger.uuid == uuid {
                    kept.removeSubrange(position...)
                    break
                }
                kept.append(link.file)
            }
            return kept
        }
    }
}
