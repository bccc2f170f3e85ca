import BackupFormats
import Synchronization

@testable import XenAPI
@testable import XenBackup

/// A pool in memory: objects with fields, machines whose disks are maps from block to the byte that fills it.
final class FakeHost: XenHost {
    typealias Content = [Int: UInt8]

    struct State {
        var objects: [String: [String: JSONObject]] = [:]
        var contents: [String: Content] = [:]
        var nextNumber = 0
        var calls: [String] = []
        /// What to do when a call of this name comes; it may throw.
        var faults: [String: @Sendable () async throws -> Void] = [:]
        var everyCall: (@Sendable (String) async throws -> Void)?
        /// Exports that are open.
        var openTransfers = 0
        var compressions: [String?] = []
        var isClosed = false
    }

    let state = Mutex(State())

    init() {
        state.withLock { state in
            for number in 0..<2 {
                state.objects["SR", default: [:]]["OpaqueRef:SR-\(number)"] = ["uuid": .string("sr-\(number)")]
            }
        }
    }

    // MARK: Building

    func add(_ kind: String, _ fields: JSONObject = [:]) -> String {
        state.withLock { Self.add(kind, fields, &$0) }
    }

    private static func add(_ kind: String, _ fields: JSONObject, _ state: inout State) -> String {
        state.nextNumber += 1
        let reference = "OpaqueRef:\(kind)-\(state.nextNumber)"
        var fields = fields
        if fields["uuid"] == nil { fields["uuid"] = .string(uuid(state.nextNumber)) }
        state.objects[kind, default: [:]][reference] = fields
        return reference
    }

    static func uuid(_ number: Int) -> String {
        let digits = String(number)
        return "00000000-0000-4000-8000-" + String(repeating: "0", count: 12 - digits.count) + digits
    }

    /// A machine without disks.
    func addMachine(_ uuid: String, _ more: JSONObject = [:]) -> String {
        var fields: JSONObject = [
            "uuid": .string(uuid), "name_label": .string("name of \(uuid)"), "name_description": "", "tags": [],
            "power_state": "Running", "is_a_template": false, "is_a_snapshot": false, "is_control_domain": false,
            "snapshots": [], "VBDs": [], "VIFs": [], "VTPMs": [], "suspend_VDI": "OpaqueRef:NULL",
            "other_config": [:], "blocked_operations": [:], "current_operations": [:],
        ]
        for member in more.members { fields[member.name] = member.value }
        return add("VM", fields)
    }

    func addDisk(
        to machine: String, name: String = "disk", blocks: Int = 2, content: Content = [:],
        storage: String = "OpaqueRef:SR-0"
    ) -> String {
        let disk = add(
            "VDI",
            [
                "name_label": .string(name), "virtual_size": .integer(blocks * 2 << 20), "SR": .string(storage),
                "snapshots": [], "VBDs": [], "other_config": [:], "sm_config": [:], "managed": true, "type": "user",
                "snapshot_of": "OpaqueRef:NULL",
            ])
        state.withLock { state in
            state.contents[disk] = content
            Self.attach(disk, to: machine, &state)
        }
        return disk
    }

    private static func attach(_ disk: String, to machine: String, _ state: inout State) {
        let attachment = add(
            "VBD", ["type": "Disk", "VDI": .string(disk), "VM": .string(machine), "userdevice": "0"], &state)
        state.append(attachment, to: "VBDs", of: "VM", machine)
        state.append(attachment, to: "VBDs", of: "VDI", disk)
    }

    func change(_ kind: String, _ reference: String, _ name: String, _ value: JSONValue?) {
        state.withLock { $0.objects[kind]?[reference]?[name] = value }
    }

    func write(_ disk: String, _ changes: Content) {
        state.withLock { state in
            state.contents[disk, default: [:]].merge(changes) { $1 }
        }
    }

    func fields(_ kind: String, _ reference: String) -> JSONObject? { state.withLock { $0.objects[kind]?[reference] } }
    func content(_ disk: String) -> Content { state.withLock { $0.contents[disk] ?? [:] } }
    func count(_ kind: String) -> Int { state.withLock { $0.objects[kind]?.count ?? 0 } }

    /// Snapshots that exist, by name.
    var snapshotNames: [String] {
        state.withLock { state in
            (state.objects["VM"] ?? [:]).values.filter { $0["is_a_snapshot"]?.boolValue == true }
                .compactMap { $0["name_label"]?.stringValue }.sorted()
        }
    }

    func fault(_ call: String, _ fault: (@Sendable () async throws -> Void)?) {
        state.withLock { $0.faults[call] = fault }
    }

    func calls(_ name: String) -> Int { state.withLock { state in state.calls.count { $0 == name } } }

    // MARK: XenHost

    private func begin(_ method: String) async throws {
        let (fault, every) = state.withLock { state in
            state.calls.append(method)
            return (state.faults[method], state.everyCall)
        }
        try await every?(method)
        try await fault?()
    }

    func call(_ method: String, _ parameters: [JSONValue]) async throws -> JSONValue {
        try Task.checkCancellation()
        try await begin(method)
        let parts = method.split(separator: ".", maxSplits: 1).map(String.init)
        return try state.withLock { try $0.answer(parts[0], parts[1], parameters) }
    }

    func run(_ method: String, _ parameters: [JSONValue]) async throws -> String {
        try Task.checkCancellation()
        try await begin(method)
        let target = parameters.first?.stringValue ?? ""
        return try state.withLock { state in
            switch method {
            case "VM.snapshot", "VM.checkpoint":
                let ignored = Set((parameters.dropFirst(2).first?.arrayValue ?? []).compactMap(\.stringValue))
                return try Self.snapshot(
                    target, parameters[1], ignored, withMemory: method == "VM.checkpoint", &state)
            case "VM.clean_shutdown": state.objects["VM"]?[target]?["power_state"] = "Halted"
            case "VM.start": state.objects["VM"]?[target]?["power_state"] = "Running"
            case "VM.destroy":
                guard let machine = state.objects["VM"]?.removeValue(forKey: target) else {
                    throw XenFailure(code: "HANDLE_INVALID", parameters: ["VM", target])
                }
                for attachment in machine["VBDs"]?.arrayValue ?? [] {
                    state.remove(attachment.stringValue ?? "", from: "VBDs", ofAll: "VDI")
                    state.objects["VBD"]?[attachment.stringValue ?? ""] = nil
                }
                state.remove(target, from: "snapshots", ofAll: "VM")
            case "VDI.destroy":
                guard state.objects["VDI"]?.removeValue(forKey: target) != nil else {
                    throw XenFailure(code: "HANDLE_INVALID", parameters: ["VDI", target])
                }
                state.contents[target] = nil
            default: throw XenFailure(code: "MESSAGE_METHOD_UNKNOWN", parameters: [method])
            }
            return ""
        }
    }

    private static func snapshot(
        _ machine: String, _ name: JSONValue, _ ignored: Set<String>, withMemory: Bool, _ state: inout State
    ) throws -> String {
        guard var fields = state.objects["VM"]?[machine] else {
            throw XenFailure(code: "HANDLE_INVALID", parameters: ["VM", machine])
        }
        let attachments = (fields["VBDs"]?.arrayValue ?? []).compactMap(\.stringValue)
        fields["uuid"] = nil
        fields["name_label"] = name
        fields["is_a_snapshot"] = true
        fields["is_a_template"] = true
        fields["power_state"] = "Halted"
        fields["snapshot_of"] = .string(machine)
        fields["VBDs"] = []
        fields["snapshots"] = []
        let snapshot = add("VM", fields, &state)
        state.append(snapshot, to: "snapshots", of: "VM", machine)
        for attachment in attachments {
            guard let disk = state.objects["VBD"]?[attachment]?["VDI"]?.stringValue, !ignored.contains(disk),
                var record = state.objects["VDI"]?[disk]
            else { continue }
            record["uuid"] = nil
            record["snapshot_of"] = .string(disk)
            record["VBDs"] = []
            let copy = add("VDI", record, &state)
            state.contents[copy] = state.contents[disk]
            attach(copy, to: snapshot, &state)
        }
        if withMemory {
            let memory = add(
                "VDI",
                [
                    "name_label": "memory", "virtual_size": .integer(2 << 20), "SR": "OpaqueRef:SR-0", "VBDs": [],
                    "other_config": [:], "type": "suspend", "snapshot_of": "OpaqueRef:NULL",
                ], &state)
            state.contents[memory] = [0: 77]
            state.objects["VM"]?[snapshot]?["suspend_VDI"] = .string(memory)
        }
        return snapshot
    }

    func exportMachine(_ ref: String, compression: String?) async throws -> any XenTransfer {
        try await begin("export")
        let bytes = state.withLock { state -> [UInt8] in
            state.compressions.append(compression)
            let disks = (state.objects["VM"]?[ref]?["VBDs"]?.arrayValue ?? []).compactMap(\.stringValue)
                .compactMap { state.objects["VBD"]?[$0]?["VDI"]?.stringValue }
            return Array("xva:".utf8) + disks.flatMap { FakeDisk.bytes(state.contents[$0] ?? [:]) }
        }
        return FakeTransfer(bytes, self)
    }

    func exportDisk(_ ref: String, base: String?) async throws -> any XenTransfer {
        try await begin(base == nil ? "export_raw_vdi" : "export_raw_vdi base")
        let description = try state.withLock { state -> JSONValue in
            guard let disk = state.objects["VDI"]?[ref], let content = state.contents[ref] else {
                throw XenFailure(code: "HANDLE_INVALID", parameters: ["VDI", ref])
            }
            var blocks = content
            if let base {
                guard let before = state.contents[base] else {
                    throw XenFailure(code: "HANDLE_INVALID", parameters: ["VDI", base])
                }
                blocks = content.filter { before[$0.key] != $0.value }
            }
            return [
                "size": disk["virtual_size"] ?? 0, "isDifferencing": .bool(base != nil),
                "blocks": .array(blocks.sorted { $0.key < $1.key }.map { [.integer($0.key), .integer($0.value)] }),
            ]
        }
        return FakeTransfer(Array(description.compactText.utf8), self)
    }

    func exportPoolDatabase() async throws -> any XenTransfer {
        try await begin("export database")
        return FakeTransfer(Array("database".utf8), self)
    }

    func importMachine(into storage: String, from source: any ByteSource, byteCount: UInt64?) async throws -> String {
        throw XenFailure(code: "MESSAGE_METHOD_UNKNOWN")
    }
    func importDisk(_ ref: String, from source: any ByteSource, byteCount: UInt64) async throws {
        throw XenFailure(code: "MESSAGE_METHOD_UNKNOWN")
    }
    func importPoolDatabase(from source: any ByteSource, byteCount: UInt64) async throws {
        try await begin("import database \(try await source.readAll(limit: 1000).count)")
    }
    func close() async { state.withLock { $0.isClosed = true } }
}

extension FakeHost.State {
    mutating func append(_ item: String, to field: String, of kind: String, _ reference: String) {
        let items = objects[kind]?[reference]?[field]?.arrayValue ?? []
        objects[kind]?[reference]?[field] = .array(items + [.string(item)])
    }

    mutating func remove(_ item: String, from field: String, ofAll kind: String) {
        for reference in (objects[kind] ?? [:]).keys {
            guard let items = objects[kind]?[reference]?[field]?.arrayValue, items.contains(.string(item)) else {
                continue
            }
            objects[kind]?[reference]?[field] = .array(items.filter { $0 != .string(item) })
        }
    }

    /// The calls that all classes of objects have.
    mutating func answer(_ kind: String, _ name: String, _ parameters: [JSONValue]) throws -> JSONValue {
        if name == "get_all_records" {
            return .object(
                JSONObject(
                    (objects[kind] ?? [:]).sorted { $0.key < $1.key }.map { .init(name: $0, value: .object($1)) }))
        }
        let target = parameters.first?.stringValue ?? ""
        if name == "get_by_uuid" {
            guard let found = objects[kind]?.first(where: { $0.value["uuid"]?.stringValue == target })?.key else {
                throw XenFailure(code: "UUID_INVALID", parameters: [kind, target])
            }
            return .string(found)
        }
        guard var fields = objects[kind]?[target] else {
            throw XenFailure(code: "HANDLE_INVALID", parameters: [kind, target])
        }
        if name == "update_allowed_operations" { return "" }
        if name == "get_record" { return .object(fields) }
        if let field = name.dropping("get_") { return fields[field] ?? "" }
        if name == "destroy" {
            objects[kind]?[target] = nil
            return ""
        }
        if let field = name.dropping("set_") {
            fields[field] = parameters[1]
        } else if let field = name.dropping("add_to_"), let key = parameters[1].stringValue {
            var map = fields[field]?.objectValue ?? [:]
            guard map[key] == nil else {
                throw XenFailure(code: "MAP_DUPLICATE_KEY", parameters: [kind, field, target, key])
            }
            map[key] = parameters[2]
            fields[field] = .object(map)
        } else if let field = name.dropping("remove_from_"), let key = parameters[1].stringValue {
            var map = fields[field]?.objectValue ?? [:]
            map[key] = nil
            fields[field] = .object(map)
        } else {
            throw XenFailure(code: "MESSAGE_METHOD_UNKNOWN", parameters: ["\(kind).\(name)"])
        }
        objects[kind]?[target] = fields
        return ""
    }
}

extension String {
    fileprivate func dropping(_ prefix: String) -> String? {
        hasPrefix(prefix) ? String(dropFirst(prefix.count)) : nil
    }
}

/// Bytes from the host; counts whether it was finished.
final class FakeTransfer: XenTransfer {
    private let source: BytesSource
    private let host: FakeHost
    private let isFinished = Flag()
    let byteCount: UInt64?

    init(_ bytes: [UInt8], _ host: FakeHost) {
        source = BytesSource(bytes)
        byteCount = UInt64(bytes.count)
        self.host = host
        host.state.withLock { $0.openTransfers += 1 }
    }

    func read(upTo maxBytes: Int) async throws -> [UInt8]? {
        try Task.checkCancellation()
        return try await source.read(upTo: min(maxBytes, 64 << 10))
    }

    func finish() async {
        guard !isFinished.isRaised else { return }
        isFinished.raise()
        host.state.withLock { $0.openTransfers -= 1 }
    }
}
