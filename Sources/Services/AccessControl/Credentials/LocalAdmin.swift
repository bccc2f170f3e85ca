import BackupFormats
import Crypto
import Platform
import StateDatabase
import Synchronization

/// How the owner's commands on the same machine act as `root@pam`, who has no password. (Decision 9.)
///
/// Each start of the server makes a new secret and writes it to a file of mode 0600 in the state folder, which has mode
/// 0700; beside it `server.json` says where the server listens and which certificate it has. Who can read the file is
/// the owner already. The secret counts only from loopback addresses and from the very address that the server listens
/// on (a machine that calls its own address is seen there with that address), and not where a header says that a proxy
/// has handed the request on. It is no part of the database and of exported states.
final class LocalAdmin: Sendable {
    static let secretFile = "local-admin.token"
    static let serverFile = "server.json"
    private static let proxyHeaders: Set<String> = ["forwarded", "x-forwarded-for", "x-real-ip", "via"]

    private let folder: StateFolder
    private struct Published {
        let secretHash: [UInt8]
        let host: String
    }
    private let published = Mutex<Published?>(nil)

    init(folder: StateFolder) { self.folder = folder }

    func publish(address: String, fingerprint: String, pid: Int32) throws {
        let secret = Hex.encode(try SystemRandom.bytes(32))
        try folder.replace(Self.secretFile, with: Array((secret + "\n").utf8))
        let server: JSONValue = [
            "pid": .integer(pid), "address": .string(address), "fingerprint": .string(fingerprint),
        ]
        try folder.replace(Self.serverFile, with: Array((server.prettyText + "\n").utf8))
        published.withLock { $0 = Published(secretHash: Self.digest(secret), host: Self.host(of: address)) }
    }

    func withdraw() throws {
        published.withLock { $0 = nil }
        try folder.remove(Self.serverFile)
        try folder.remove(Self.secretFile)
    }

    func verify(_ secret: String, peer: String, headers: [(name: String, value: String)]) throws(CredentialFault) {
        let (published, host) = (published.withLock { $0 }, Self.host(of: peer))
        guard Self.isLoopback(host) || host == published?.host,
            !headers.contains(where: { Self.proxyHeaders.contains($0.name) })
        else {
            throw CredentialFault("the local secret counts on this machine only")
        }
        guard let published, isEqualInConstantTime(published.secretHash, Self.digest(secret)) else {
            throw CredentialFault("invalid credentials")
        }
    }

    private static func digest(_ text: String) -> [UInt8] { Array(SHA256.hash(data: Array(text.utf8))) }

    /// The address without brackets, port and the prefix of IPv4 in IPv6.
    static func host(of peer: String) -> String {
        var host = Substring(peer)
        if host.hasPrefix("[") {
            host = host.dropFirst().prefix { $0 != "]" }
        } else if host.count(where: { $0 == ":" }) == 1 {
            host = host.prefix { $0 != ":" }
        }
        let lower = host.lowercased()
        return lower.hasPrefix("::ffff:") && lower.contains(".") ? String(lower.dropFirst("::ffff:".count)) : lower
    }

    /// Whether an address as ``host(of:)`` gives it belongs to the loopback interface.
    private static func isLoopback(_ host: String) -> Bool {
        if host == "::1" { return true }
        let numbers = host.split(separator: ".", omittingEmptySubsequences: false).map { UInt8($0) }
        return numbers.count == 4 && numbers[0] == 127 && !numbers.contains(nil)
    }
}
