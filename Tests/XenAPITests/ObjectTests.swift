import BackupFormats
import Synchronization
import Testing

@testable import XenAPI

/// A pool of which only some calls are answered, by closures.
private final class ScriptedHost: XenHost {
    typealias Answer = @Sendable (_ parameters: [JSONValue]) throws -> JSONValue

    let answers: [String: Answer]
    let calls = Mutex<[String]>([])

    init(_ answers: [String: Answer]) { self.answers = answers }

    /// Calls that change something, with their first parameters.
    var changes: [String] { calls.withLock { $0 }.filter { !$0.contains(".get_") } }

    func call(_ method: String, _ parameters: [JSONValue]) async throws -> JSONValue {
        let texts = parameters.map { $0.stringValue ?? $0.compactText }
        calls.withLock { $0.append(([method] + texts).joined(separator: " ")) }
        guard let answer = answers[method] else { return "" }
        return try answer(parameters)
    }

    func run(_ method: String, _ parameters: [JSONValue]) async throws -> String {
        try await call(method, parameters).stringValue ?? ""
    }

    func exportMachine(_ ref: String, compression: String?) async throws -> any XenTransfer {
        throw CancellationError()
    }
    func importMachine(into: String, from: any ByteSource, byteCount: UInt64?) async throws -> String { "" }
    func exportDisk(_ ref: String, base: String?) async throws -> any XenTransfer { throw CancellationError() }
    func importDisk(_ ref: String, from source: any ByteSource, byteCount: UInt64) async throws {}
    func exportPoolDatabase() async throws -> any XenTransfer { throw CancellationError() }
    func importPoolDatabase(from source: any ByteSource, byteCount: UInt64) async throws {}
    func close() async {}
}

@Suite("An object of a pool")
struct ObjectTests {
    @Test("gets a mark in place of an older one, or loses it")
    func marks() async throws {
        let host = ScriptedHost([:])
        try await host.setOtherConfig("VDI", "d", "k", "v")
        try await host.setOtherConfig("VDI", "d", "k", nil)
        #expect(
            host.changes == [
                "VDI.remove_from_other_config d k", "VDI.add_to_other_config d k v", "VDI.remove_from_other_config d k",
            ])
    }

    @Test("is snapshotted without some disks, by hosts that can")
    func ignoredDisks() async throws {
        let host = ScriptedHost(["VM.snapshot": { _ in "s" }])
        #expect(try await host.snapshotMachine("v", name: "n") == "s")
        #expect(try await host.snapshotMachine("v", name: "n", ignoring: ["d"]) == "s")
        #expect(host.changes == ["VM.snapshot v n", "VM.snapshot v n [\"d\"]"])
    }

    @Test("is snapshotted whole by hosts that cannot leave disks out, which then go at once")
    func ignoredDisksOfOldHosts() async throws {
        let host = ScriptedHost([
            "VM.snapshot": { parameters in
                if parameters.count > 2 { throw XenFailure(code: "MESSAGE_PARAMETER_COUNT_MISMATCH") }
                return "s"
            },
            "VM.get_VBDs": { _ in ["b1", "b2"] },
            "VBD.get_record": { ["type": "Disk", "VDI": $0 == ["b1"] ? "d1" : "d2"] },
            "VDI.get_snapshot_of": { $0 == ["d1"] ? "live1" : "live2" },
        ])
        #expect(try await host.snapshotMachine("v", name: "n", ignoring: ["live2"]) == "s")
        #expect(
            host.changes == ["VM.snapshot v n [\"live2\"]", "VM.snapshot v n", "VBD.destroy b2", "VDI.destroy d2"])
    }

    @Test("is snapshotted without memory where it does not run")
    func checkpoint() async throws {
        let host = ScriptedHost([
            "VM.checkpoint": { _ in throw XenFailure(code: "VM_BAD_POWER_STATE") }, "VM.snapshot": { _ in "s" },
        ])
        #expect(try await host.checkpointMachine("v", name: "n") == "s")
    }

    @Test("is destroyed with its disks, memory and snapshots, but for disks that others use")
    func destruction() async throws {
        let host = ScriptedHost([
            "VM.get_record": { parameters in
                if parameters == ["gone"] { throw XenFailure(code: "HANDLE_INVALID") }
                guard parameters == ["v"] else { return ["power_state": "Halted", "snapshots": []] }
                return [
                    "power_state": "Running", "is_a_template": true, "snapshots": ["s", "gone"],
                    "suspend_VDI": "memory",
                    "blocked_operations": ["destroy": "no", "start": "no"],
                ]
            },
            "VM.get_VBDs": { $0 == ["v"] ? ["b1", "b2", "b3"] : [] },
            "VBD.get_record": { parameters in
                if parameters == ["b3"] { return ["type": "CD", "VDI": "iso"] }
                return ["type": "Disk", "VDI": parameters == ["b1"] ? "d1" : "d2"]
            },
            "VDI.get_VBDs": { $0 == ["d1"] ? ["dom0"] : $0 == ["d2"] ? ["other"] : [] },
            "VBD.get_VM": { $0 == ["dom0"] ? "control" : "machine" },
            "VM.get_is_control_domain": { $0 == ["control"] ? true : false },
        ])
        try await host.destroyMachine("v")
        #expect(
            host.changes == [
                "VM.set_is_a_template v false", "VM.remove_from_blocked_operations v destroy", "VM.hard_shutdown v",
                "VM.destroy v", "VM.destroy s", "VDI.destroy d1", "VDI.destroy memory",
            ])
    }

    @Test("is never destroyed where it is the host's own", arguments: ["is_control_domain", "is_default_template"])
    func protected(field: String) async throws {
        let host = ScriptedHost(["VM.get_record": { _ in .object(JSONObject([.init(name: field, value: true)])) }])
        await #expect(throws: BackupFailure.self) { try await host.destroyMachine("v") }
        #expect(host.changes.isEmpty)
    }

    @Test("that is a disk in use is taken from the control domain, and tried again for a while")
    func diskInUse() async throws {
        let left = Mutex(2)
        let host = ScriptedHost([
            "VDI.destroy": { _ in
                let isBusy = left.withLock { left in
                    left -= 1
                    return left >= 0
                }
                if isBusy { throw XenFailure(code: "VDI_IN_USE", parameters: ["d"]) }
                return ""
            },
            "VDI.get_VBDs": { _ in ["b", "c"] }, "VBD.get_VM": { $0 == ["b"] ? "dom0" : "guest" },
            "VM.get_is_control_domain": { $0 == ["dom0"] ? true : false }, "VBD.get_currently_attached": { _ in true },
        ])
        var limits = XenLimits()
        limits.inUsePause = .milliseconds(1)
        try await host.destroyDisk("d", limits: limits)
        #expect(
            host.changes == [
                "VDI.destroy d", "VBD.unplug b", "VBD.destroy b", "VDI.destroy d", "VBD.unplug b", "VBD.destroy b",
                "VDI.destroy d",
            ])
        left.withLock { $0 = 1000 }
        await #expect(throws: XenFailure.self) { try await host.destroyDisk("d", limits: limits) }
    }

    @Test("is no trouble where it is gone")
    func gone() async throws {
        let host = ScriptedHost([
            "VDI.destroy": { _ in throw XenFailure(code: "HANDLE_INVALID") },
            "VM.get_record": { _ in throw XenFailure(code: "HANDLE_INVALID") },
        ])
        try await host.destroyDisk("d")
        try await host.destroyMachine("v")
        #expect(XenReference.of("OpaqueRef:NULL") == nil)
        #expect(XenReference.of("") == nil)
        #expect(XenReference.of("OpaqueRef:x") == "OpaqueRef:x")
    }
}
