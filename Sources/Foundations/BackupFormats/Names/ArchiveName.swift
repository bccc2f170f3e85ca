/// The name of a file of a snapshot on the server: a safe id that ends in `.fidx`, `.didx` or `.blob`.
package struct ArchiveName: Hashable, Sendable {
    package enum Kind: String, Sendable {
        case fixedIndex = "fidx"
        case dynamicIndex = "didx"
        case blob
    }

    package static let manifest = ArchiveName("index.json.blob")!
    package static let clientLog = ArchiveName("client.log.blob")!
    package static let catalog = ArchiveName("catalog.pcat1.didx")!
    package static let encryptedKey = ArchiveName("rsa-encrypted.key.blob")!

    package let name: String
    package let kind: Kind

    /// - Returns: nil where `name` is no safe id, is longer than 255 bytes or has another ending.
    package init?(_ name: some StringProtocol) {
        guard SafeID.isValid(name), name.utf8.count <= 255, let dot = name.lastIndex(of: "."),
            let kind = Kind(rawValue: String(name[name.index(after: dot)...]))
        else { return nil }
        self.name = String(name)
        self.kind = kind
    }
}

extension ArchiveName: CustomStringConvertible {
    package var description: String { name }
}
