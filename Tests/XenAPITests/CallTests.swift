import BackupFormats
import Logging
import Synchronization
import Testing

@testable import XenAPI

@Suite("A call to a pool")
struct CallTests {
    private func withPool(_ body: (FakePool) async throws -> Void) async throws {
        let pool = try await FakePool.start()
        do { try await body(pool) } catch {
            await pool.stop()
            throw error
        }
        await pool.stop()
    }

    @Test("carries the session, and brings the result or the host's failure", arguments: [false, true])
    func framing(usesOldErrors: Bool) async throws {
        try await withPool { pool in
            pool.state.withLock { $0.usesOldErrors = usesOldErrors }
            pool.on("VM.get_record") { ["uuid": .string($0.first?.stringValue ?? ""), "big": 1_234_567_890_123] }
            pool.on("VM.start") { _ in
                throw XenFailure(code: "VM_BAD_POWER_STATE", parameters: ["r", "halted", "running"])
            }
            let host = try await pool.connect()
            #expect(try await host.record("VM", "OpaqueRef:v")["uuid"] == "OpaqueRef:v")
            await #expect(throws: XenFailure(code: "VM_BAD_POWER_STATE", parameters: ["r", "halted", "running"])) {
                try await host.call("VM.start", [])
            }
            await host.close()
            #expect(pool.state.withLock { $0.sessions }.isEmpty)
            await #expect(throws: BackupFailure.self) { try await host.call("VM.get_record", ["x"]) }
        }
    }

    @Test("logs in anew, once, where the session has ended")
    func renewal() async throws {
        try await withPool { pool in
            pool.on("VM.set_name_label") { _ in "" }
            let host = try await pool.connect()
            pool.state.withLock { $0.sessions = [] }
            pool.on("VM.get_record") { [pool] _ in
                // As the built-in methods do it.
                if pool.state.withLock({ $0.sessions }).isEmpty {
                    throw XenFailure(code: "SESSION_INVALID", parameters: ["OpaqueRef:s1"])
                }
                return [:]
            }
            await withTaskGroup(of: Void.self) { group in
                for _ in 0..<8 { group.addTask { _ = try? await host.record("VM", "r") } }
            }
            #expect(pool.state.withLock { $0.logins } == 2)
            pool.on("VM.get_record") { _ in throw XenFailure(code: "SESSION_INVALID", parameters: ["OpaqueRef:s2"]) }
            // Without the session, which is as good as a password.
            await #expect(throws: XenFailure(code: "SESSION_INVALID")) { try await host.record("VM", "r") }
            #expect(pool.state.withLock { $0.logins } == 3)
            await host.close()
        }
    }

    @Test("says that credentials are wrong, without them")
    func wrongCredentials() async throws {
        try await withPool { pool in
            var target = try pool.target()
            target.password = "guessed"
            do {
                _ = try await XenConnection.open(target, logger: Logger(label: "test"))
                Issue.record("got in")
            } catch let failure as BackupFailure {
                #expect(failure.kind == .notAuthenticated)
                #expect(!"\(failure)".contains("guessed"))
            }
        }
    }

    @Test("goes to the master where a member says who that is")
    func slave() async throws {
        try await withPool { pool in
            let master = try pool.host.address
            let slave = try await FakeHost.start { _ in
                .json(["error": ["code": 1, "message": "HOST_IS_SLAVE", "data": [.string(master)]], "id": 0])
            }
            var target = try pool.target()
            target.address = try XenAddress("http://\(slave.address)").unwrapped()
            let host = try await XenConnection.open(target, logger: Logger(label: "test"))
            #expect(try await host.records("pool").count == 1)
            await host.close()
            await slave.stop()
        }
    }

    @Test("follows the master when it moves, and finds another member when it is gone")
    func failOver() async throws {
        try await withPool { old in
            try await withPool { new in
                let (oldAddress, newAddress) = (try old.host.address, try new.host.address)
                for pool in [old, new] {
                    pool.on("host.get_all_records") { _ in
                        [
                            "OpaqueRef:h1": ["address": .string(oldAddress)],
                            "OpaqueRef:h2": ["address": .string(newAddress)],
                        ]
                    }
                    pool.on("VM.get_record") { _ in ["pool": .string(pool === old ? "old" : "new")] }
                }
                let host = try await old.connect()
                #expect(try await host.record("VM", "r")["pool"] == "old")
                await old.stop()
                #expect(try await host.record("VM", "r")["pool"] == "new")
                await host.close()
            }
        }
    }

    @Test("is repeated after a broken connection only where it changes nothing")
    func resets() async throws {
        try await withPool { pool in
            pool.on("VM.get_record") { _ in [:] }
            pool.on("VM.create") { _ in "OpaqueRef:new" }
            let host = try await pool.connect()
            pool.state.withLock { $0.resets = ["VM.get_record": 5, "VM.create": 1] }
            _ = try await host.record("VM", "r")
            #expect(pool.count("VM.get_record") == 6)
            do {
                _ = try await host.call("VM.create", [[:]])
                Issue.record("repeated")
            } catch let failure as BackupFailure {
                #expect(failure.kind == .unavailable)
            }
            #expect(pool.count("VM.create") == 1)
            pool.state.withLock { $0.resets = ["VM.get_record": 1000] }
            await #expect(throws: BackupFailure.self) { try await host.record("VM", "r") }
            #expect(pool.count("VM.get_record") == 6 + 11)
            await host.close()
        }
    }

    @Test("waits where the host has too many tasks, and gives up at last")
    func busy() async throws {
        try await withPool { pool in
            let left = Mutex(3)
            pool.on("VM.set_name_label") { _ in
                let isBusy = left.withLock { left in
                    left -= 1
                    return left >= 0
                }
                if isBusy { throw XenFailure(code: "TOO_MANY_PENDING_TASKS") }
                return ""
            }
            let host = try await pool.connect()
            try await host.setField("VM", "r", "name_label", "x")
            #expect(pool.count("VM.set_name_label") == 4)
            left.withLock { $0 = 1000 }
            await #expect(throws: XenFailure(code: "TOO_MANY_PENDING_TASKS")) {
                try await host.setField("VM", "r", "name_label", "x")
            }
            #expect(pool.count("VM.set_name_label") == 15)
            await host.close()
        }
    }

    @Test("is one of at most so many at once")
    func limit() async throws {
        try await withPool { pool in
            let running = Mutex((now: 0, most: 0))
            pool.on("VM.get_record") { _ in
                running.withLock { running in
                    running.now += 1
                    running.most = max(running.most, running.now)
                }
                try await Task.sleep(for: .milliseconds(5))
                running.withLock { $0.now -= 1 }
                return [:]
            }
            let host = try await pool.connect { $0.concurrentCalls = 3 }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<30 { group.addTask { _ = try await host.record("VM", "r") } }
                try await group.waitForAll()
            }
            #expect(running.withLock { $0.most } <= 3)
            await host.close()
        }
    }

    @Test("meets a host without JSON-RPC, and answers that are none")
    func foreign() async throws {
        let cases: [(FakeHost.Answer, BackupFailure.Kind)] = [
            (.bytes(Array("<methodResponse/>".utf8)), .unsupported),
            (
                FakeHost.Answer(
                    headers: [("content-type", "application/json")], pieces: [Array("{".utf8)], contentLength: 1),
                .corruptData
            ),
            (.json(["id": 0]), .corruptData), (.status(404), .unsupported),
        ]
        for (answer, kind) in cases {
            let host = try await FakeHost.start { _ in answer }
            let target = try XenTarget([
                "url": .string("http://\(host.address)"), "credentials": ["username": "u", "password": "p"],
            ])
            do {
                _ = try await XenConnection.open(target, logger: Logger(label: "test"))
                Issue.record("\(answer) was taken")
            } catch let failure as BackupFailure {
                #expect(failure.kind == kind)
            }
            await host.stop()
        }
    }

    @Test("to nobody fails at once")
    func nobody() async throws {
        let host = try await FakeHost.start { _ in .reset }
        let port = host.port
        await host.stop()
        let target = try XenTarget([
            "url": .string("http://127.0.0.1:\(port)"), "credentials": ["username": "u", "password": "p"],
        ])
        do {
            _ = try await XenConnection.open(target, logger: Logger(label: "test"))
            Issue.record("nobody answered")
        } catch let failure as BackupFailure {
            #expect(failure.kind == .unavailable)
        }
    }

    @Test("to a host that says nothing is given up at once when the caller is cancelled")
    func silentHost() async throws {
        let isAsked = Mutex(false)
        let host = try await FakeHost.start { _ in
            isAsked.withLock { $0 = true }
            try? await Task.sleep(for: .seconds(3600))
            return .reset
        }
        let target = try XenTarget([
            "url": .string("http://\(host.address)"), "credentials": ["username": "u", "password": "p"],
        ])
        let work = Task { try await XenConnection.open(target, logger: Logger(label: "test")) }
        while !isAsked.withLock({ $0 }) { try await Task.sleep(for: .milliseconds(2)) }
        work.cancel()
        await #expect(throws: CancellationError.self) { try await work.value }
        await host.stop()
    }

    @Test("that changes something is finished even when its caller is cancelled")
    func shielded() async throws {
        try await withPool { pool in
            let started = Mutex(false)
            pool.on("VM.create") { _ in
                started.withLock { $0 = true }
                try await Task.sleep(for: .milliseconds(100))
                return "OpaqueRef:new"
            }
            let host = try await pool.connect()
            let work = Task { try await host.call("VM.create", [[:]]) }
            while !started.withLock({ $0 }) { try await Task.sleep(for: .milliseconds(2)) }
            work.cancel()
            #expect(try await work.value == "OpaqueRef:new")
            await host.close()
        }
    }
}
