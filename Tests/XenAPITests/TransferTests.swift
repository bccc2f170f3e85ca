import BackupFormats
import Synchronization
import Testing

@testable import XenAPI

@Suite("A transfer")
struct TransferTests {
    private func withPool(
        _ change: (inout XenLimits) -> Void = { _ in }, _ body: (FakePool, XenConnection) async throws -> Void
    ) async throws {
        let pool = try await FakePool.start()
        let host = try await pool.connect(change)
        do { try await body(pool, host) } catch {
            await host.close()
            await pool.stop()
            throw error
        }
        #expect(pool.tasks.isEmpty, "tasks are left on the host")
        await host.close()
        await pool.stop()
    }

    private static let data = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }

    @Test("brings an export's bytes, with the query that the host needs", arguments: [true, false])
    func download(isMeasured: Bool) async throws {
        try await withPool { pool, host in
            pool.serve { request in
                guard request.path == "/export_raw_vdi/", request.query["vdi"] == "OpaqueRef:d",
                    request.query["base"] == "OpaqueRef:b", request.query["format"] == "vhd",
                    request.query["session_id"] == "OpaqueRef:s1", let task = request.query["task_id"]
                else { return .status(400) }
                pool.set(task, "success")
                return FakeHost.Answer(pieces: [Self.data], contentLength: isMeasured ? Self.data.count : nil)
            }
            let transfer = try await host.exportDisk("OpaqueRef:d", base: "OpaqueRef:b")
            #expect(transfer.byteCount == (isMeasured ? UInt64(Self.data.count) : nil))
            #expect(try await collect(transfer) == Self.data)
            #expect(try await transfer.read(upTo: 10) == nil)
            await transfer.finish()
            await transfer.finish()
        }
    }

    @Test("goes over the pool's network for backups, where there is one")
    func backupNetwork() async throws {
        let pool = try await FakePool.start()
        // Another address of this machine, with the same port.
        let port = try pool.host.port
        let other = try await FakeHost.start(host: "127.0.0.2", port: port) { request in
            guard request.path == "/export/" else { return .status(500) }
            pool.set(request.query["task_id"] ?? "", "success")
            return .bytes([1, 2, 3, 4, 5, 6])
        }
        pool.state.withLock { $0.pool["other_config"] = ["xo:backupNetwork": "n"] }
        pool.on("host.get_all_records") { _ in ["OpaqueRef:h1": ["address": "127.0.0.1"]] }
        pool.on("network.get_by_uuid") { _ in "OpaqueRef:n" }
        pool.on("PIF.get_all_records") { _ in
            [
                "OpaqueRef:p1": ["network": "OpaqueRef:other", "host": "OpaqueRef:h1", "IP": "127.0.0.3"],
                "OpaqueRef:p2": ["network": "OpaqueRef:n", "host": "OpaqueRef:h1", "IP": "127.0.0.2"],
            ]
        }
        let host = try await pool.connect()
        let transfer = try await host.exportMachine("OpaqueRef:v", compression: nil)
        #expect(try await collect(transfer) == [1, 2, 3, 4, 5, 6])
        await transfer.finish()
        await host.close()
        await other.stop()
        await pool.stop()
    }

    @Test("logs in anew where the session has ended, before or after its task was made", arguments: ["GET", "PUT"])
    func expiredSession(method: String) async throws {
        try await withPool { pool, host in
            let isEarly = Mutex(true)
            pool.serve { request in
                if isEarly.withLock({ $0 }) {
                    isEarly.withLock { $0 = false }
                    pool.state.withLock { $0.sessions = [] }
                }
                let isGood = pool.state.withLock { $0.sessions.contains(request.query["session_id"] ?? "") }
                guard isGood else { return .status(401) }
                guard let task = request.query["task_id"] else { return .status(400) }
                pool.set(task, "success")
                return .bytes([1, 2, 3, 4, 5])
            }
            pool.state.withLock { $0.sessions = [] }
            if method == "GET" {
                let transfer = try await host.exportPoolDatabase()
                #expect(try await collect(transfer) == [1, 2, 3, 4, 5])
                await transfer.finish()
            } else {
                try await host.importPoolDatabase(from: ScriptedSource([1]), byteCount: 1)
            }
            #expect(pool.state.withLock { $0.logins } == 3)
        }
    }

    @Test("to a host that is gone says so", arguments: ["GET", "PUT"])
    func unreachable(method: String) async throws {
        try await withPool { pool, host in
            pool.serve { _ in .reset }
            do {
                if method == "GET" {
                    _ = try await host.exportPoolDatabase()
                } else {
                    try await host.importPoolDatabase(from: ScriptedSource([1]), byteCount: 1)
                }
                Issue.record("reached")
            } catch let failure as BackupFailure {
                #expect(failure.kind == .unavailable)
                #expect(failure.summary.contains("cannot be reached"))
            }
        }
    }

    @Test("is redirected to the member that has the data", arguments: ["GET", "PUT"])
    func redirections(method: String) async throws {
        try await withPool { pool, host in
            let received = Mutex<[UInt8]>([])
            let member = try await FakeHost.start { request in
                guard request.query["session_id"] == "OpaqueRef:s1", request.query["vdi"] == "OpaqueRef:d" else {
                    return .status(403)
                }
                guard request.method == "PUT" else {
                    pool.set(request.query["task_id"] ?? "", "success")
                    return .bytes([1, 2, 3])
                }
                guard let task = request.query["task_id"] else { return .status(500) }
                received.withLock { $0 = request.body }
                pool.set(task, "success")
                return .status(200)
            }
            pool.serve { request in
                guard request.body.isEmpty else { return .status(500) }
                let query = "session_id=OpaqueRef%3As1&vdi=OpaqueRef%3Ad&format=vhd"
                return .redirect("http://\(member.address)\(request.path)?\(query)")
            }
            if method == "GET" {
                let transfer = try await host.exportDisk("OpaqueRef:d", base: nil)
                #expect(try await collect(transfer) == [1, 2, 3])
                await transfer.finish()
            } else {
                try await host.importDisk(
                    "OpaqueRef:d", from: ScriptedSource(Self.data), byteCount: UInt64(Self.data.count))
                #expect(received.withLock { $0 } == Self.data)
            }
            await member.stop()
        }
    }

    @Test("gives up where redirections go in a circle")
    func circle() async throws {
        try await withPool { pool, host in
            pool.serve { .redirect($0.path + "?x=y") }
            await #expect(throws: BackupFailure.self) { try await host.exportMachine("OpaqueRef:v", compression: nil) }
            await #expect(throws: BackupFailure.self) {
                try await host.importDisk("OpaqueRef:d", from: ScriptedSource([1]), byteCount: 1)
            }
        }
    }

    @Test("fails with the text of an answer that stands where the data should be")
    func errorInBody() async throws {
        try await withPool { pool, host in
            pool.serve { request in
                pool.set(request.query["task_id"] ?? "", "success")
                let pieces = ["HT", "TP/1.1 500 Internal Error\r\n", "content-length: 0\r\n\r\n"].map { Array($0.utf8) }
                return FakeHost.Answer(pieces: pieces, pause: .milliseconds(10))
            }
            let transfer = try await host.exportDisk("OpaqueRef:d", base: nil)
            do {
                _ = try await collect(transfer)
                Issue.record("taken for data")
            } catch let failure as BackupFailure {
                #expect(failure.summary.contains("HTTP/1.1 500 Internal Error"))
            }
            await transfer.finish()
        }
    }

    @Test("of bodies shorter than that mark is whole", arguments: ["", "HTTP", "abc"])
    func shortBody(_ text: String) async throws {
        try await withPool { pool, host in
            pool.serve { request in
                pool.set(request.query["task_id"] ?? "", "success")
                return .bytes(Array(text.utf8))
            }
            let transfer = try await host.exportPoolDatabase()
            #expect(try await collect(transfer) == Array(text.utf8))
            await transfer.finish()
        }
    }

    @Test("that is cut fails, with the host's reason if it has one", arguments: [true, false])
    func cut(hasReason: Bool) async throws {
        try await withPool({ if !hasReason { $0.reason = .milliseconds(100) } }) { pool, host in
            pool.serve { request in
                if hasReason { pool.set(request.query["task_id"] ?? "", "failure", error: ["VDI_IO_ERROR", "x"]) }
                return FakeHost.Answer(pieces: [Array(Self.data.prefix(1000))], contentLength: 2000, closes: true)
            }
            let transfer = try await host.exportDisk("OpaqueRef:d", base: nil)
            do {
                _ = try await collect(transfer)
                Issue.record("the cut was not noticed")
            } catch {
                let isReason = error as? XenFailure == XenFailure(code: "VDI_IO_ERROR", parameters: ["x"])
                #expect(isReason == hasReason)
                #expect(hasReason || "\(error)".contains("cut off after 1000 bytes"))
            }
            await transfer.finish()
        }
    }

    @Test("without a declared length fails where the host's task does")
    func failedTask() async throws {
        try await withPool { pool, host in
            pool.serve { request in
                pool.set(request.query["task_id"] ?? "", "failure", error: ["VDI_IO_ERROR"])
                return FakeHost.Answer(pieces: [[1, 2, 3, 4, 5, 6]])
            }
            let transfer = try await host.exportMachine("OpaqueRef:v", compression: "zstd")
            await #expect(throws: XenFailure(code: "VDI_IO_ERROR")) { _ = try await collect(transfer) }
            await transfer.finish()
        }
    }

    @Test("that the host refuses brings its status, or the reason of its task")
    func refused() async throws {
        try await withPool({ $0.reason = .milliseconds(100) }) { pool, host in
            pool.serve { _ in .status(500) }
            do {
                _ = try await host.exportDisk("OpaqueRef:d", base: nil)
                Issue.record("taken")
            } catch let failure as BackupFailure {
                #expect(failure.summary.contains("500"))
                #expect(!failure.summary.contains("OpaqueRef:s"))
            }
        }
        try await withPool { pool, host in
            pool.serve { request in
                if let task = request.query["task_id"] { pool.set(task, "failure", error: ["SR_FULL"]) }
                return .status(500)
            }
            await #expect(throws: XenFailure(code: "SR_FULL")) {
                try await host.importDisk("OpaqueRef:d", from: ScriptedSource([1]), byteCount: 1)
            }
        }
    }

    @Test("in which nothing moves for too long is given up")
    func inactivity() async throws {
        try await withPool({ $0.inactivity = .milliseconds(300) }) { pool, host in
            pool.serve { _ in
                FakeHost.Answer(pieces: [[1, 2, 3, 4, 5, 6], [1]], contentLength: 8, pause: .seconds(60))
            }
            let transfer = try await host.exportDisk("OpaqueRef:d", base: nil)
            do {
                _ = try await collect(transfer)
                Issue.record("waited for ever")
            } catch let failure as BackupFailure {
                #expect(failure.summary.contains("nothing came"))
            }
            await transfer.finish()
        }
    }

    @Test("that its reader leaves is cancelled on the host")
    func left() async throws {
        try await withPool { pool, host in
            pool.serve { _ in FakeHost.Answer(pieces: [Self.data], contentLength: 1 << 40, closes: false) }
            let transfer = try await host.exportDisk("OpaqueRef:d", base: nil)
            _ = try await transfer.read(upTo: 10)
            await transfer.finish()
            #expect(pool.count("task.cancel") == 1)
            await #expect(throws: CancellationError.self) {
                while try await transfer.read(upTo: 1 << 20) != nil {}
            }
        }
    }

    @Test("into the pool asks without body and task first, and declares its length")
    func upload() async throws {
        try await withPool { pool, host in
            let seen = Mutex<[FakeHost.Request]>([])
            pool.serve { request in
                seen.withLock { $0.append(request) }
                guard let task = request.query["task_id"] else { return .status(400) }
                pool.set(
                    task, "success", result: "<value><array><data><value>OpaqueRef:new</value></data></array></value>")
                return .status(200)
            }
            let machine = try await host.importMachine(
                into: "OpaqueRef:sr", from: ScriptedSource(Self.data), byteCount: UInt64(Self.data.count))
            #expect(machine == "OpaqueRef:new")
            let requests = seen.withLock { $0 }
            #expect(requests.map(\.contentLength) == ["0", "\(Self.data.count)"])
            #expect(requests.allSatisfy { $0.path == "/import/" && $0.query["sr_id"] == "OpaqueRef:sr" })
            #expect(requests.last?.body == Self.data)
        }
    }

    @Test("of unknown length declares a huge one and cuts")
    func unknownLength() async throws {
        try await withPool({ $0.reason = .milliseconds(300) }) { pool, host in
            let received = Mutex<[UInt8]>([])
            pool.serve { request in
                guard let task = request.query["task_id"] else { return .status(400) }
                guard request.isCut, request.contentLength == "1125899906842624" else { return .status(500) }
                received.withLock { $0 = request.body }
                pool.set(task, "success", result: "<value>OpaqueRef:new</value>")
                return .status(200)
            }
            let machine = try await host.importMachine(
                into: "OpaqueRef:sr", from: ScriptedSource(Self.data), byteCount: nil)
            #expect(machine == "OpaqueRef:new")
            #expect(received.withLock { $0 } == Self.data)
        }
    }

    @Test("whose source fails or ends too soon fails with that, and is cancelled on the host")
    func badSource() async throws {
        try await withPool({ $0.reason = .milliseconds(100) }) { pool, host in
            pool.serve { request in request.query["task_id"] == nil ? .status(400) : .status(200) }
            let failure = BackupFailure(.corruptData, "the chunk is gone")
            do {
                try await host.importDisk(
                    "OpaqueRef:d", from: ScriptedSource(Self.data, failure: failure), byteCount: 4_000_000)
                Issue.record("taken")
            } catch let failure as BackupFailure {
                #expect(failure.summary == "the chunk is gone")
            }
            await #expect(throws: BackupFailure.self) {
                try await host.importDisk("OpaqueRef:d", from: ScriptedSource(Self.data), byteCount: 4_000_000)
            }
        }
    }

    @Test("of a machine that ends after its caller was cancelled leaves no machine")
    func lateMachine() async throws {
        try await withPool({ $0.reason = .milliseconds(100) }) { pool, host in
            let isThere = Mutex(false)
            pool.serve { request in
                guard request.query["task_id"] != nil else { return .status(400) }
                isThere.withLock { $0 = true }
                try? await Task.sleep(for: .milliseconds(100))
                return .status(200)
            }
            pool.on("task.cancel") { parameters in
                pool.set(parameters[0].stringValue ?? "", "success", result: "<value>OpaqueRef:late</value>")
                return ""
            }
            pool.on("VM.get_record") { _ in ["power_state": "Halted", "snapshots": []] }
            pool.on("VM.get_VBDs") { _ in [] }
            let destroyed = Mutex<[String]>([])
            pool.on("Async.VM.destroy") { parameters in
                destroyed.withLock { $0.append(parameters[0].stringValue ?? "") }
                let task = pool.makeTask()
                pool.set(task, "success")
                return .string(task)
            }
            let work = Task { try await host.importMachine(into: "sr", from: ScriptedSource([1]), byteCount: 1) }
            while !isThere.withLock({ $0 }) { try await Task.sleep(for: .milliseconds(2)) }
            work.cancel()
            await #expect(throws: CancellationError.self) { try await work.value }
            #expect(destroyed.withLock { $0 } == ["OpaqueRef:late"])
        }
    }
}
