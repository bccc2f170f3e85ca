import BackupFormats
import Synchronization
import VirtualDisks
import XenAPI
import XenBackup

/// A pool in memory: objects with fields, of which the references in VBDs and VIFs also show in their machines; disks
/// with blocks; and a failure at any step.
final class StoreHost: XenHost {
    struct State {
        var objects: [String: [String: JSONObject]] = [:]
        var next = 0
        var blocks: [String: [Int: [UInt8]]] = [:]
        var modules: [String: JSONValue] = [:]
        var calls: [String] = []
        /// Calls until one fails; nil: none does.
        var fuse: Int?
        var refused: [String: XenFailure] = [:]
        var imported: [UInt8] = []
    }

    let state = Mutex(State())
    /// Runs before each import of a disk.
    let beforeImport: @Sendable () async throws -> Void

    init(beforeImport: @escaping @Sendable () async throws -> Void = {}) { self.beforeImport = beforeImport }

    @discardableResult
    func add(_ kind: String, _ fields: JSONObject) -> String {
        state.withLock { Self.add(kind, fields, &$0) }
    }

    private static func add(_ kind: String, _ fields: JSONObject, _ state: inout State) -> String {
        state.next += 1
        let reference = "OpaqueRef:\(kind)-\(state.next)"
        var fields = fields
        if fields["uuid"] == nil {
            let digits = String(state.next)
            fields["uuid"] = .string(
                "00000000-0000-4000-8000-" + String(repeating: "0", count: 12 - digits.count) + digits)
        }
        if fields["other_config"] == nil { fields["other_config"] = [:] }
        state.objects[kind, default: [:]][reference] = fields
        return reference
    }

    func records(of kind: String) -> [JSONObject] {
        state.withLock { $0.objects[kind, default: [:]] }
            .sorted { ($0.key.utf8.count, $0.key) < ($1.key.utf8.count, $1.key) }.map(\.value)
    }

    func only(_ kind: String) throws -> JSONObject {
        let records = records(of: kind)
        guard records.count == 1 else { throw BackupFailure(.internalFault, "\(records.count) of \(kind)") }
        return records[0]
    }

    func calls(_ method: String) -> Int { state.withLock { $0.calls }.count { $0 == method } }

    // MARK: Calls

    func call(_ method: String, _ parameters: [JSONValue]) async throws -> JSONValue {
        try Task.checkCancellation()
        return try state.withLock { state in
            try Self.burn(method, &state)
            return try Self.perform(method, parameters, &state)
        }
    }

    func run(_ method: String, _ parameters: [JSONValue]) async throws -> String {
        _ = try await call(method, parameters)
        return ""
    }

    /// Writing calls count down to the failure.
    private static func burn(_ method: String, _ state: inout State) throws {
        state.calls.append(method)
        if let failure = state.refused[method] { throw failure }
        guard let fuse = state.fuse, !method.contains(".get_"), !method.hasSuffix(".destroy"),
            method != "VM.hard_shutdown"
        else { return }
        state.fuse = fuse - 1
        if fuse == 0 { throw XenFailure(code: "INTERNAL_ERROR", parameters: [method]) }
    }

    private static func perform(_ method: String, _ parameters: [JSONValue], _ state: inout State) throws -> JSONValue {
        let parts = method.split(separator: ".").map(String.init)
        let (kind, name) = (parts[0], parts[1])
        let first = parameters.first?.stringValue ?? ""
        switch name {
        case "get_all_records":
            return .object(
                JSONObject(state.objects[kind, default: [:]].map { .init(name: $0.key, value: .object($0.value)) }))
        case "get_by_uuid":
            let found = state.objects[kind, default: [:]].first { $0.value["uuid"]?.stringValue == first }
            guard let found else { throw XenFailure(code: "UUID_INVALID", parameters: [kind, first]) }
            return .string(found.key)
        case "create" where kind == "VTPM":
            return .string(add(kind, ["VM": parameters[0]], &state))
        case "create":
            var fields = parameters.first?.objectValue ?? [:]
            if kind == "VM", fields["power_state"] == nil { fields["power_state"] = "Halted" }
            return .string(add(kind, fields, &state))
        default: break
        }
        guard var fields = state.objects[kind]?[first] else {
            throw XenFailure(code: "HANDLE_INVALID", parameters: [kind, first])
        }
        switch name {
        case "get_record": return .object(withLinks(kind, first, fields, state))
        case "destroy":
            state.objects[kind]?[first] = nil
            for link in kind == "VM" ? ["VBD", "VIF", "VTPM"] : [] {
                state.objects[link] = state.objects[link]?.filter { $0.value["VM"]?.stringValue != first }
            }
            return ""
        case "hard_shutdown": fields["power_state"] = "Halted"
        case "add_tags":
            fields["tags"] = .array((fields["tags"]?.arrayValue ?? []) + [parameters[1]])
        case "set_contents":
            state.modules[first] = parameters[1]
            return ""
        case "set_bios_strings": fields["bios_strings"] = parameters[1]
        case "remove_from_other_config", "remove_from_blocked_operations", "add_to_other_config":
            let field = String(name.drop { $0 != "_" }.dropFirst(name.hasPrefix("add") ? 4 : 6))
            var map = fields[field]?.objectValue ?? [:]
            map[parameters[1].stringValue ?? ""] = name.hasPrefix("add") ? parameters[2] : JSONValue?.none
            fields[field] = .object(map)
        case let name where name.hasPrefix("set_"): fields[String(name.dropFirst(4))] = parameters[1]
        case let name where name.hasPrefix("get_"):
            return withLinks(kind, first, fields, state)[String(name.dropFirst(4))] ?? ""
        default: throw XenFailure(code: "MESSAGE_METHOD_UNKNOWN", parameters: [method])
        }
        state.objects[kind]?[first] = fields
        return ""
    }

    private static func withLinks(_ kind: String, _ reference: String, _ fields: JSONObject, _ state: State)
        -> JSONObject
    {
        var fields = fields
        let links =
            kind == "VM"
            ? [("VBDs", "VBD", "VM"), ("VIFs", "VIF", "VM")] : kind == "VDI" ? [("VBDs", "VBD", "VDI")] : []
        for (name, other, field) in links {
            let ends = state.objects[other, default: [:]].filter { $0.value[field]?.stringValue == reference }
            fields[name] = .array(ends.keys.sorted().map { .string($0) })
        }
        return fields
    }

    // MARK: Transfers

    func importDisk(_ ref: String, from source: any ByteSource, byteCount: UInt64) async throws {
        try await beforeImport()
        try state.withLock { try Self.burn("import_raw_vdi", &$0) }
        let reader = try await VHDReader.open(source)
        guard
            UInt64(clamping: state.withLock { $0.objects["VDI"]?[ref]?["virtual_size"]?.intValue } ?? -1) == reader.size
        else { throw XenFailure(code: "VDI_SIZE_INVALID") }
        while let block = try await reader.nextBlock() {
            state.withLock { $0.blocks[ref, default: [:]][block.index] = block.bytes }
        }
    }

    func importMachine(into storage: String, from source: any ByteSource, byteCount: UInt64?) async throws -> String {
        var bytes: [UInt8] = []
        while let piece = try await source.read(upTo: 1 << 20) { bytes += piece }
        return state.withLock { state in
            state.imported = bytes
            let machine = Self.add(
                "VM",
                [
                    "name_label": "[XO Backup] web", "is_a_template": true, "power_state": "Halted", "tags": ["prod"],
                    "other_config": ["mac_seed": "old", "xo:backup:job": "j", "xo:backup:sr": "kept", "mine": "1"],
                ], &state)
            let disk = Self.add("VDI", ["SR": .string(storage), "other_config": ["xo:backup:vm": "v"]], &state)
            _ = Self.add("VBD", ["VM": .string(machine), "VDI": .string(disk), "type": "Disk"], &state)
            _ = Self.add("VIF", ["VM": .string(machine), "MAC": "aa:bb:cc:00:11:22", "device": "0"], &state)
            return machine
        }
    }

    func exportMachine(_ ref: String, compression: String?) async throws -> any XenTransfer {
        throw CancellationError()
    }
    func exportDisk(_ ref: String, base: String?) async throws -> any XenTransfer { throw CancellationError() }
    func exportPoolDatabase() async throws -> any XenTransfer { throw CancellationError() }
    func importPoolDatabase(from source: any ByteSource, byteCount: UInt64) async throws {}
    func close() async {}
}

/// A backup in memory.
struct SavedMachine: VMBackupReader {
    var metadata: VMBackupMetadata
    var disks: [String: SavedDisk] = [:]
    var archive: [UInt8] = []

    func xva() async throws -> (stream: any ByteSource, byteCount: UInt64?) {
        (RaggedSource(archive, seed: 1), UInt64(archive.count))
    }

    func disk(_ reference: String) async throws -> any DiskView {
        guard let disk = disks[reference] else { throw BackupFailure(.corruptData, "no disk \(reference)") }
        return disk
    }

    func close() async {}
}

struct SavedDisk: DiskView {
    let size: UInt64
    var blocks: [Int: [UInt8]] = [:]

    func presentBlocks() async throws -> [Int] { blocks.keys.sorted() }
    func block(_ index: Int) async throws -> [UInt8] {
        blocks[index] ?? [UInt8](repeating: 0, count: DiskGeometry.blockBytes)
    }
}
