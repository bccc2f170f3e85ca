import BackupFormats
import Foundation
import Logging
import PeerSync
import PeerSyncEndpoint
import PeerSyncProtocol
import Platform
import StateDatabase
import SwiftProtobuf
import Synchronization

/// A thousand members, each with a key exchange and a connection of its own and an operation a second, at `cairn serve`
/// in another process: how long an operation takes from the member to the hub's database, and whether that grows.
struct PeersCrowdBench {
    /// The hub takes a burst of strangers from one address, then ten a second, and ten at once.
    private static let burst = 100
    private static let strangersPerSecond = 9
    private static let dialling = 8
    /// How often the database is looked at.
    private static let look = Duration.milliseconds(20)
    private static let patience = Duration.seconds(120)
    private static let hubName = "hub"

    let program: String
    var memberCount = PeerLimits.members
    var seconds = 60

    private struct Member: Sendable {
        let place: Int
        let identity: PeerIdentity
    }

    func run() async throws {
        OpenFileLimit.raise()
        let folder = try FileSystem.makeTemporaryFolder(prefix: "cairn-bench")
        defer { _ = try? FileSystem.removeTree(folder) }
        let database = try StateDatabase(folder: StateFolder(path: "\(folder)/state"))
        let directory = try PeerDirectory(database: database, name: Self.hubName)
        let members = try (0..<memberCount).map { Member(place: $0, identity: try PeerIdentity()) }
        for member in members {
            try directory.add(
                Peer(
                    keyID: member.identity.keyID, instanceID: "member-\(member.place)", role: .member, grants: [],
                    added: 0))
        }
        let server = try Server(program: program, folder: folder)
        defer { server.stop() }
        let address = try await server.address(within: Self.patience)
        let hub = (keyID: directory.identity.keyID, instanceID: directory.instanceID)

        let connected = ContinuousClock.now
        let sessions = try await connect(members, to: HubAddress(parsing: address), hub: hub)
        print("\(sessions.count) members connected in \(Figure.seconds(.now - connected)), paced by the hub's limits")
        let before = server.processorSeconds
        let start = ContinuousClock.now
        let arrivals = Arrivals()
        let expected = sessions.count * seconds
        try await withThrowingTaskGroup(of: Void.self) { group in
            for session in sessions { group.addTask { try await session.report(for: seconds) } }
            group.addTask { try await Self.watch(database, until: expected, arrivals) }
            try await group.waitForAll()
        }
        let took = ContinuousClock.now - start
        let share = (server.processorSeconds - before) / (took / .seconds(1))
        tell(arrivals.lags, expected: expected, took, processors: share, peak: server.peakBytes)
        for session in sessions { session.close() }
        database.close()
    }

    private func tell(_ lags: [Int64], expected: Int, _ took: Duration, processors: Double, peak: Int) {
        let third = lags.count / 3
        guard third > 0 else {
            print("nothing arrived")
            return
        }
        let (early, late) = (Self.percentile(50, of: lags.prefix(third)), Self.percentile(50, of: lags.suffix(third)))
        let isSteady = lags.count == expected && late <= 2 * early + 200
        print("\(memberCount) members, an operation a second each, for \(seconds) s")
        print("  stored: \(lags.count) of \(expected), \(Int(Double(lags.count) / (took / .seconds(1)))) a second")
        print(
            "  from the member to the database: half within \(Self.percentile(50, of: lags[...])) ms, "
                + "99 % within \(Self.percentile(99, of: lags[...])) ms, all within \(lags.max() ?? 0) ms")
        print("  half of the first third within \(early) ms, of the last within \(late) ms (goal: does not grow)")
        print("  server: \(Figure.ratio(processors)) processors, peak memory \(peak >> 20) MiB")
        print(isSteady ? "  steady" : "  NOT STEADY")
    }

    private static func percentile(_ part: Int, of lags: ArraySlice<Int64>) -> Int64 {
        let sorted = lags.sorted()
        return sorted[min(sorted.count - 1, sorted.count * part / 100)]
    }

    // MARK: - Members

    private func connect(
        _ members: [Member], to address: HubAddress, hub: (keyID: String, instanceID: String)
    ) async throws -> [MemberConnection] {
        let dialer = HTTP2PeerDialer(log: Logger(label: "bench"))
        let begin = ContinuousClock.now
        return try await withThrowingTaskGroup(of: MemberConnection.self) { group in
            var sessions: [MemberConnection] = []
            for member in members {
                if member.place >= Self.dialling, let session = try await group.next() { sessions.append(session) }
                let paced = Double(max(0, member.place - Self.burst)) / Double(Self.strangersPerSecond)
                try await Task.sleep(until: begin + .seconds(paced))
                group.addTask {
                    try await MemberConnection(
                        dialer.dial(address), identity: member.identity, name: "member-\(member.place)", hub: hub)
                }
            }
            for try await session in group { sessions.append(session) }
            return sessions
        }
    }

    // MARK: - What the hub has stored

    /// Times from the sending of operations to their being seen in the database, in the order of their arrival.
    private final class Arrivals: Sendable {
        private let state = Mutex<[Int64]>([])
        var lags: [Int64] { state.withLock { $0 } }
        func add(_ lags: [Int64]) { state.withLock { $0 += lags } }
    }

    private static func watch(_ database: StateDatabase, until count: Int, _ arrivals: Arrivals) async throws {
        var next: Int64 = 1
        var lastNews = ContinuousClock.now
        while next <= count, .now - lastNews < patience {
            let first = next
            let starts = try await database.read { state in
                var starts: [Int64] = []
                while let operation = try state.peerOperation(first + Int64(starts.count)) {
                    starts.append(operation.record.start)
                }
                return starts
            }
            let now = TimeSource.system.nanoseconds() / 1_000_000
            arrivals.add(starts.map { now - $0 })
            next += Int64(starts.count)
            if !starts.isEmpty { lastNews = .now }
            try await Task.sleep(for: look)
        }
    }
}

/// A member's session that is established.
private final class MemberConnection: Sendable {
    private let stream: any PeerStream
    private let session: Mutex<PeerSession>
    private let name: String
    private let reading: Task<Void, Never>

    init(
        _ stream: any PeerStream, identity: PeerIdentity, name: String, hub: (keyID: String, instanceID: String)
    ) async throws {
        self.stream = stream
        self.name = name
        var session = PeerSession(
            member: identity, instanceID: name, of: hub, privateKey: try HybridPrivateKey())
        try await stream.send(session.opening().serializedBytes())
        while session.phase != .established {
            guard let bytes = try await stream.receive() else {
                throw BackupFailure(.unavailable, "the hub ends the session of \(name)")
            }
            for case .send(let item) in try session.receive(bytes) { try await stream.send(item.serializedBytes()) }
        }
        stream.trust()
        try await stream.send(session.seal(.manifest(ids: [], counters: [])).serializedBytes())
        // The first item that the hub sends to a member says that it knows it.
        guard try await stream.receive() != nil else {
            throw BackupFailure(.unavailable, "the hub does not accept \(name)")
        }
        self.session = Mutex(session)
        // What the hub tells is taken and not looked at.
        reading = Task { while (try? await stream.receive()) != nil {} }
    }

    /// An operation a second, from some moment within the first second on.
    func report(for seconds: Int) async throws {
        var next = ContinuousClock.now + .milliseconds(Int.random(in: 0..<1000))
        for id in 1...Int64(seconds) {
            try await Task.sleep(until: next)
            next += .seconds(1)
            var event = WireOperationEvent()
            event.createdOperations.operations = [operation(id)]
            let item = try session.withLock { try $0.seal(.operations(event)) }
            try await stream.send(item.serializedBytes())
        }
    }

    private func operation(_ id: Int64) -> WireOperation {
        var operation = WireOperation()
        operation.id = id
        operation.modno = id
        operation.flowID = id
        operation.repoID = "repo"
        operation.repoGuid = String(repeating: "0", count: 64)
        operation.planID = "plan"
        operation.instanceID = name
        operation.status = .statusSuccess
        operation.unixTimeStartMs = TimeSource.system.nanoseconds() / 1_000_000
        operation.unixTimeEndMs = operation.unixTimeStartMs + 1
        operation.operationBackup.lastStatus.summary.snapshotID = String(repeating: "0", count: 64)
        operation.operationBackup.lastStatus.summary.totalBytesProcessed = 1 << 30
        return operation
    }

    func close() {
        reading.cancel()
        stream.close()
    }
}

/// `cairn serve` in a process of its own.
private final class Server {
    private static let announcement = "peers listening on "

    private let process = Process()
    private let outputPath: String

    init(program: String, folder: String) throws {
        outputPath = "\(folder)/output"
        try AtomicFile.replace(outputPath, with: [])
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = [
            "serve", "--state", "\(folder)/state", "--listen", "127.0.0.1:0", "--peer-listen", "127.0.0.1:0",
            "--instance", "hub", "--log-level", "warning",
        ]
        process.standardOutput = try FileHandle(forWritingTo: URL(fileURLWithPath: outputPath))
        try process.run()
    }

    /// Where it listens for peers without TLS.
    func address(within patience: Duration) async throws -> String {
        let begin = ContinuousClock.now
        while .now - begin < patience, process.isRunning {
            let output = String(decoding: try FileSystem.read(outputPath, limit: 1 << 20), as: UTF8.self)
            if let line = output.split(separator: "\n").first(where: { $0.hasPrefix(Self.announcement) }) {
                return String(line.dropFirst(Self.announcement.count))
            }
            try await Task.sleep(for: .milliseconds(50))
        }
        throw BackupFailure(.unavailable, "\(process.executableURL?.path ?? "cairn") does not listen for peers")
    }

    var peakBytes: Int { ResidentMemory.field("VmHWM", of: "\(process.processIdentifier)") }

    /// Time of processors that it has taken.
    var processorSeconds: Double {
        let path = "/proc/\(process.processIdentifier)/stat"
        guard let bytes = try? FileSystem.read(path, limit: 4096) else { return 0 }
        // Behind the name, which may hold blanks: fields 14 and 15 of proc(5), hundredths of a second.
        let fields = String(decoding: bytes, as: UTF8.self).split(separator: ")").last?.split(separator: " ") ?? []
        guard fields.count > 12, let user = Double(fields[11]), let system = Double(fields[12]) else { return 0 }
        return (user + system) / 100
    }

    func stop() {
        process.terminate()
        process.waitUntilExit()
    }
}
