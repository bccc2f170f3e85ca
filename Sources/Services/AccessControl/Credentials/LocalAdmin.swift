import BackupFormats
import Crypto
import Platform
import StateDatabase
import Synchronization

/// How the owner's commands on the same machine act as `root@pam`, who has no password. (Decision 9.)
///
/// Each start of the server makes a new secret and writes it to a file of mode 0600 in the state folder, which has mode
/// 0700; beside it `server.json` says where the server listens and which certificate it has. Who can read the file is
/// the owner already. The secret counts only from loopback addresses, and not where a header says that a proxy has
/// handed the request on; it is no part of the database and of exported states.
final class LocalAdmin: Sendable {
    static let secretFile = "local-admin.token"
    static let serverFile = "server.json"
    private static let proxyHeaders: Set<String> = ["forwarded", "x-forwarded-for", "x-real-ip", "via"]

    private let folder: StateFolder
    private let secretHash = Mutex<[UInt8]?>(nil)

    init(folder: StateFolder) { self.folder = folder }

    func publish(address: String, fingerprint: String, pid: Int32) throws {
        let secret = Hex.encode(try SystemRandom.bytes(32))
        try folder.replace(Self.secretFile, with: Array((secret + "\n").utf8))
        let server: JSONValue = [
            "pid": .integer(pid), "address": .string(address), "fingerprint": .string(fingerprint),
        ]
        try folder.replace(Self.serverFile, with: Array((server.prettyText + "\n").utf8))
        secretHash.withLock { $0 = Self.digest(secret) }
    }

    func withdraw() throws {
        secretHash.withLock { $0 = nil }
        try folder.remove(Self.serverFile)
        try folder.remove(Self.secretFile)
    }

    func verify(_ secret: String, peer: String, headers: [(name: String, value: String)]) throws(CredentialFault) {
        guard Self.isLoopback(peer), !headers.contains(where: { Self.proxyHeaders.contains($0.name) }) else {
            throw CredentialFault("the local secret counts on this machine only")
        }
        guard let expected = secretHash.withLock({ $0 }), isEqualInConstantTime(expected, Self.digest(secret)) else {
            throw CredentialFault("invalid credentials")
        }
    }

    private static func digest(_ text: String) -> [UInt8] { Array(SHA256.hash(data: Array(text.utf8))) }

    /// Whether an address, with or without a port, is this machine's own.
    static func isLoopback(_ peer: String) -> Bool {
        var host = Substring(peer)
        if host.hasPrefix("[") {
            host = host.dropFirst().prefix { $0 != "]" }
        } else if host.filter({ $0 == ":" }).count == 1 {
            host = host.prefix { $0 != ":" }
        }
        if host == "::1" { return true }
        if host.lowercased().hasPrefix("::ffff:") { host = host.dropFirst("::ffff:".count) }
        let numbers = host.split(separator: ".", omittingEmptySubsequences: false).map { UInt8($0) }
        return numbers.count == 4 && numbers[0] == 127 && !numbers.contains(nil)
    }
}
