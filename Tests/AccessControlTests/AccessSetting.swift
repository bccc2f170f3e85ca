import BackupFormats
import Logging
import Platform
import StateDatabase
import Synchronization
import Testing

@testable import AccessControl

/// An access control on an empty state folder, with a clock that tests move.
final class AccessSetting: Sendable {
    let folder: StateFolder
    let database: StateDatabase
    let access: AccessControl
    let clock = HandClock()

    init() throws {
        folder = try StateFolder(path: FileSystem.makeTemporaryFolder(prefix: "cairn-access"))
        database = try StateDatabase(folder: folder)
        access = try Self.open(database, clock)
    }

    deinit {
        database.close()
        try? FileSystem.removeTree(folder.path)
    }

    static func open(_ database: StateDatabase, _ clock: HandClock) throws -> AccessControl {
        let hashing = PasswordHasher(width: 2)
        return try AccessControl(database: database, hashing: hashing, time: clock.source, log: Logger(label: "test"))
    }

    var root: Identity { access.inProcessRoot() }

    /// Makes users without password and tokens.
    func add(_ names: String...) async throws {
        for name in names {
            let id = try id(name)
            if id.isToken {
                _ = try access.addToken(id, by: root)
            } else {
                try await access.addUser(NewUser(id: id), by: root)
            }
        }
    }

    func give(_ role: Role, _ name: String, _ path: String, propagates: Bool = true) throws {
        try access.changeACL(
            ACLChange(path: try place(path), role: role, subject: try id(name), propagates: propagates), by: root)
    }

    func held(_ name: String, _ path: String) throws -> [String] {
        access.privileges(of: try id(name), on: try place(path)).names
    }

    func id(_ name: String) throws -> AuthID { try #require(AuthID(parsing: name)) }
    func place(_ path: String) throws -> AccessPath { try #require(AccessPath(parsing: path)) }
    func identity(_ name: String) throws -> Identity { Identity(authID: try id(name), proof: .ticket) }

    func get(_ headers: [(name: String, value: String)], method: String = "GET", peer: String = "192.0.2.1:1234")
        async throws
        -> AuthID
    {
        try await access.authenticate(method: method, headers: headers, peer: peer).authID
    }
}

/// A clock that stands until a test moves it.
final class HandClock: Sendable {
    private let now = Mutex<Int64>(1_705_030_082)

    var source: TimeSource { TimeSource { [self] in now.withLock { $0 } * 1_000_000_000 } }
    var seconds: Int64 { now.withLock { $0 } }

    func move(by seconds: Int64) { now.withLock { $0 += seconds } }
}

func expectRefusal<Value>(
    _ kind: BackupFailure.Kind, sourceLocation: SourceLocation = #_sourceLocation, _ body: () async throws -> Value
) async {
    let failure = await #expect(throws: BackupFailure.self, sourceLocation: sourceLocation) { _ = try await body() }
    #expect(failure?.kind == kind, sourceLocation: sourceLocation)
}
