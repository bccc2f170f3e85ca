import BackupFormats
import Logging
import VirtualDisks

/// The folder of one disk of a machine and job: `vdis/<job>/<disk>`. (Spec: xo-proxy §4.5.)
struct DiskFolder: Sendable {
    private static let aliasLimit = 1024
    /// Both structures at the beginning of a VHD.
    private static let frontBytes = VHDFooter.byteCount + VHDHeader.byteCount
    /// 2000-01-01, from which VHDs count.
    private static let epoch: Int64 = 946_684_800

    let machine: MachineFolder
    let job: String
    let disk: String

    var files: any RemoteFiles { machine.files }
    var path: String { "\(machine.path)/\(ClassicPath.disks)/\(job)/\(disk)" }

    func path(_ name: String) -> String { "\(path)/\(name)" }

    static func isDisk(_ name: String) -> Bool { ClassicPath.isName(name) && name.hasSuffix(".vhd") }
    static func isAlias(_ name: String) -> Bool { ClassicPath.isName(name) && name.hasSuffix(".alias.vhd") }

    /// Where the data of an alias lies.
    ///
    /// - Throws: ``BackupFailure`` of kind `corruptData` where it names nothing that can be data.
    func aliasTarget(_ name: String) async throws -> String {
        do {
            let text = String(decoding: try await files.read(path(name), limit: Self.aliasLimit), as: UTF8.self)
            if let target = ClassicPath.resolve(text, in: path, within: machine.path),
                Self.isDisk(ClassicPath.name(of: target)), !Self.isAlias(ClassicPath.name(of: target))
            {
                return target
            }
        } catch let failure as BackupFailure where failure.kind == .invalidInput {}
        throw BackupFailure(.corruptData, "The alias /\(path(name)) names no data")
    }

    /// The state of the merge into a disk; nil where none is under way.
    func mergeState(of name: String) async throws -> MergeState? {
        do {
            let file = try await files.read(path(MergeState.name(of: name)), limit: MergeState.maxFileBytes)
            return try MergeState(parsing: file)
        } catch let failure as BackupFailure where failure.kind == .notFound {
            return nil
        } catch let error as FormatError {
            throw BackupFailure(
                .corruptData, "The state of the merge into /\(path(name)) is damaged", cause: error)
        }
    }

    /// The disk with that identity, if its whole chain opens and no other disk is a difference to it already.
    ///
    /// - Returns: Its name.
    func usableDisk(uuid: String) async throws -> String? {
        guard let uuid = DiskUUID(parsing: uuid) else { return nil }
        let names: [String]
        do {
            names = try await files.list(path).filter { Self.isDisk($0) && !Self.isAlias($0) }
        } catch let failure as BackupFailure where failure.kind == .notFound {
            return nil
        }
        var found: [String] = []
        for name in names {
            let front = try await files.read(path(name), at: 0, count: Self.frontBytes)
            guard let footer = try? VHDFooter(parsing: front),
                let header = try? VHDHeader(parsing: Array(front.dropFirst(VHDFooter.byteCount)))
            else { continue }
            if footer.type == .differencing, header.parentUUID == uuid { return nil }
            if footer.uuid == uuid { found.append(name) }
        }
        guard let name = found.first, found.count == 1 else { return nil }
        do {
            await (try await DiskChain.open(path(name), in: machine)).close()
            return name
        } catch let failure as BackupFailure where [.notFound, .corruptData, .unsupported].contains(failure.kind) {
            machine.logger.warning("The disk /\(path(name)) cannot be a base: \(failure)")
            return nil
        }
    }

    /// Writes a new disk: under a hidden name first, then looked at, then under its own.
    ///
    /// - Returns: Length of the file.
    func write(
        _ disk: VMBackupDisk, from source: any DiskSource, name: String, milliseconds: Int64
    ) async throws -> UInt64 {
        guard let uuid = DiskUUID(parsing: disk.uuid) else {
            throw BackupFailure(.invalidInput, "'\(disk.uuid)' cannot be the uuid of a disk")
        }
        var parent: VHDFileWriter.Parent?
        if source.isDifferencing {
            guard let base = disk.baseUUID, let baseUUID = DiskUUID(parsing: base),
                let baseName = try await usableDisk(uuid: base)
            else { throw BackupFailure(.conflict, "The base of the disk \(disk.liveUUID) is not on the remote") }
            guard baseName < name else {
                throw BackupFailure(.conflict, "The base of the disk \(disk.liveUUID) is not older than the backup")
            }
            parent = .init(uuid: baseUUID, name: baseName)
        }
        let hidden = path(".\(milliseconds).\(name)")
        try await files.remove(hidden)
        do {
            let byteCount = try await write(
                hidden, source, uuid: uuid, parent: parent,
                timeStamp: UInt32(clamping: milliseconds / 1000 - Self.epoch))
            try await files.move(hidden, to: path(name), .replace)
            return byteCount
        } catch {
            let files = files
            await Task { try? await files.remove(hidden) }.value
            throw error
        }
    }

    private func write(
        _ path: String, _ source: any DiskSource, uuid: DiskUUID, parent: VHDFileWriter.Parent?, timeStamp: UInt32
    ) async throws -> UInt64 {
        try await files.makeFolder(self.path)
        let file = try await files.open(path, .create)
        do {
            let access = RemoteAccess(file: file)
            let writer = try await VHDFileWriter.create(
                access, name: "/\(path)", size: source.size, uuid: uuid, parent: parent, timeStamp: timeStamp)
            var next = try await source.nextBlock()
            while let block = next {
                try Task.checkCancellation()
                // The next one arrives while this one is written.
                async let following = source.nextBlock()
                try await writer.write(block)
                next = try await following
            }
            let byteCount = try await writer.finish()
            _ = try await VHDFile.open(access, name: "/\(path)", .strict)
            await file.close()
            return byteCount
        } catch {
            await file.close()
            throw error
        }
    }
}
