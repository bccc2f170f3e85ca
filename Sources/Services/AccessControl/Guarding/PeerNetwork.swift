/// Whom failures of a login are counted against: an IPv4 address, or the first half of an IPv6 address, since whoever
/// has one address there has 2^64.
package enum PeerNetwork {
    /// - Parameter peer: As in requests: `127.0.0.1:1`, `[2001:db8::1]:1`.
    package static func of(_ peer: String) -> String {
        let host = address(of: peer)
        guard host.contains(":") else { return host }
        let halves = host.split(separator: "%").first.map { parts(of: String($0)) } ?? []
        return halves.prefix(4).joined(separator: ":")
    }

    /// The address alone: without brackets, port and the prefix of IPv4 in IPv6.
    package static func address(of peer: String) -> String { LocalAdmin.host(of: peer) }

    /// The eight groups of an address, zeros written out as far as needed.
    private static func parts(of address: String) -> [String] {
        guard let gap = address.firstRange(of: "::") else {
            return address.split(separator: ":").map(String.init)
        }
        let front = address[..<gap.lowerBound].split(separator: ":").map(String.init)
        let back = address[gap.upperBound...].split(separator: ":").map(String.init)
        return front + [String](repeating: "0", count: max(0, 8 - front.count - back.count)) + back
    }
}
