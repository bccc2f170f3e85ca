import BackupFormats
import CairnTestSupport
@testable import PeerSyncProtocol
import SwiftProtobuf

/// Messages, good and damaged, through everything that reads them: what is taken must survive writing and reading again.
struct ItemFuzzer: Fuzzer {
    private let samples: [(type: any Message.Type, bytes: [UInt8])]
    private let tokens: [[UInt8]]
    private let scopes: [[UInt8]]
    private var random: SeededRandom

    init(random: SeededRandom) throws {
        self.random = random
        samples =
            try FuzzCorpus.samples().filter { $0.bytes.count < 2048 }
            + FuzzCorpus.items().map { (WireSyncStreamItem.self, $0) }
        tokens = [try Vectors.load("session_trace").text("pairing_token")].map { Array($0.utf8) }
        scopes = ["*", "repo:a", "plan:b", "!repo:c", "!plan:d"].map { Array($0.utf8) }
    }

    mutating func step() throws -> Int {
        if random.chance(1, in: 10) { return try texts() }
        let (type, bytes) = samples.randomElement(using: &random) ?? (WireSyncStreamItem.self, [])
        let other = samples.randomElement(using: &random)?.bytes ?? []
        let input = Mutation.of(bytes, with: other, &random)
        do throws(FuzzFinding) {
            try take(input, as: type)
        } catch { throw error }
        return 1
    }

    private mutating func take(_ input: [UInt8], as type: any Message.Type) throws(FuzzFinding) {
        var options = BinaryDecodingOptions()
        options.discardUnknownFields = true
        guard let message = try? type.init(serializedBytes: input, options: options) else { return }
        guard let written = try? message.serializedBytes() as [UInt8],
            let again = try? type.init(serializedBytes: written), let twice = try? again.serializedBytes() as [UInt8],
            written == twice
        else { throw FuzzFinding(what: "\(type) does not survive writing", input: input) }
        switch message {
        case let item as WireSyncStreamItem:
            for role in PeerRole.allCases {
                let capabilities = PeerCapabilities(rawValue: random.next() & 1)
                guard let taken = try? PeerItem(item, from: role, capabilities: capabilities) else { continue }
                guard taken.mayBeSent(by: role, capabilities),
                    let bytes = try? taken.message.serializedBytes() as [UInt8],
                    let outer = try? WireSyncStreamItem(serializedBytes: bytes),
                    let back = try? PeerItem(outer, from: role, capabilities: capabilities),
                    (try? back.message.serializedBytes() as [UInt8]) == bytes
                else { throw FuzzFinding(what: "the item \(taken) of a \(role) does not survive", input: input) }
            }
            if (try? Handshake(verifying: item, transcript: [], ownKeyID: "")) != nil {
                throw FuzzFinding(what: "a handshake for no transcript is taken", input: input)
            }
        case let config as WireMultihost:
            for permissions in (config.knownHosts + config.authorizedClients).map(\.permissions) {
                try check(permissions, input)
            }
        default: break
        }
    }

    /// Texts that people paste.
    private mutating func texts() throws(FuzzFinding) -> Int {
        let token = Mutation.of(tokens[0], with: scopes[1], &random)
        if let parsed = try? PairingToken(parsing: String(decoding: token, as: UTF8.self)),
            (try? PairingToken(parsing: "\(parsed)")) != parsed
        {
            throw FuzzFinding(what: "the token '\(parsed)' does not survive", input: token)
        }
        var permission = WireMultihost.Permission()
        permission.type = .permissionReadOperations
        var input: [UInt8] = []
        for _ in 0..<Int.random(in: 0...3, using: &random) {
            var scope = scopes.randomElement(using: &random) ?? []
            if random.chance(1, in: 3) { scope = Mutation.of(scope, with: scopes[2], &random) }
            permission.scopes.append(String(decoding: scope, as: UTF8.self))
            input += scope + [0]
        }
        try check([permission], input)
        return 2
    }

    private func check(_ messages: [WireMultihost.Permission], _ input: [UInt8]) throws(FuzzFinding) {
        guard let permissions = try? PeerPermissions(messages) else { return }
        // The exclusion of a subject wins in whatever company.
        for message in messages where message.type == .permissionReadOperations && messages.count == 1 {
            for (scope, subject) in [("!repo:c", PeerPermissions.Subject.repo("c")), ("!plan:d", .plan("d"))]
            where message.scopes.contains(scope) && permissions.mayReadOperations(subject) {
                throw FuzzFinding(what: "\(scope) does not exclude", input: input)
            }
        }
    }
}
