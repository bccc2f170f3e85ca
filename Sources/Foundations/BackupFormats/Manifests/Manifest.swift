/// The table of contents of a snapshot: `index.json.blob`, JSON in a plain blob.
/// A snapshot is finished when it has one.
///
/// Only ``unprotected`` may change after the client wrote it; all else is
/// covered by the signature, where there is one. Members that this version does
/// not know are kept when read and written again; the signature does not cover
/// them. (Spec: formats §4.)
package struct Manifest: Hashable, Sendable {
    /// Bytes of JSON that are parsed at most.
    package static let maxByteCount = 16 << 20
    /// Archives that one manifest lists at most.
    package static let maxFileCount = 16_384

    /// One archive of the snapshot.
    package struct File: Hashable, Sendable {
        package let name: ArchiveName
        package let cryptMode: CryptMode
        /// Of an index: bytes of the image or stream. Of a blob: bytes of the encoded file.
        package let size: UInt64
        /// Of an index: its checksum. Of a blob: SHA-256 of the encoded file, or nil where
        /// the writer left it empty, which is tolerated for blobs only.
        package let checksum: ChunkDigest?
        fileprivate let otherMembers: JSONObject

        package init(name: ArchiveName, cryptMode: CryptMode, size: UInt64, checksum: ChunkDigest?) {
            self.name = name
            self.cryptMode = cryptMode
            self.size = size
            self.checksum = checksum
            otherMembers = [:]
        }
    }

    package let snapshot: SnapshotName
    package private(set) var files: [File]
    /// Notes, statistics, verify state and the key's fingerprint: never signed.
    package var unprotected: JSONObject
    /// 64 lowercase hexadecimal digits; nil for a manifest that nobody signed.
    package var signature: String?
    private let otherMembers: JSONObject

    package init(
        snapshot: SnapshotName, files: [File] = [], unprotected: JSONObject = [:], signature: String? = nil
    ) {
        self.snapshot = snapshot
        self.files = files
        self.unprotected = unprotected
        self.signature = signature
        otherMembers = [:]
    }

    /// The entry of that archive.
    package func file(_ name: ArchiveName) -> File? { files.first { $0.name == name } }

    /// Adds an entry, or replaces the one of the same name. A signature made before no longer fits.
    package mutating func add(_ file: File) {
        if let index = files.firstIndex(where: { $0.name == file.name }) {
            files[index] = file
        } else {
            files.append(file)
        }
    }

    /// Whether the two agree in everything but ``unprotected``, the only part that may change later.
    package func differsOnlyInUnprotected(from other: Manifest) -> Bool {
        var same = self
        same.unprotected = other.unprotected
        return same == other
    }
}

extension Manifest {
    /// Reads the JSON, which is the content of the blob.
    ///
    /// - Throws: ``FormatError``: above ``maxByteCount`` or ``maxFileCount``, no JSON, a member missing or of the
    ///   wrong type, a name that no archive can have, an archive listed twice, `index.json.blob` listed.
    package init(parsing json: [UInt8]) throws(FormatError) {
        guard json.count <= Self.maxByteCount else {
            throw .tooLong(UInt64(json.count), limit: Self.maxByteCount, offset: 0)
        }
        guard var members = try JSONValue(parsing: json).objectValue else {
            throw .invalid("a manifest is a JSON object", offset: 0)
        }
        guard let type = members.remove("backup-type")?.stringValue.flatMap(BackupType.init(rawValue:)),
            let id = members.remove("backup-id")?.stringValue, let group = BackupGroup(type: type, id: id),
            let time = members.remove("backup-time")?.intValue, let snapshot = SnapshotName(group: group, time: time)
        else { throw .invalid("backup type, id or time of a manifest is missing or wrong", offset: 0) }
        self.snapshot = snapshot

        guard let entries = members.remove("files")?.arrayValue else {
            throw .invalid("a manifest lists its files", offset: 0)
        }
        guard entries.count <= Self.maxFileCount else {
            throw .tooLong(UInt64(entries.count), limit: Self.maxFileCount, offset: 0)
        }
        files = []
        var seen: Set<ArchiveName> = [.manifest]
        for entry in entries {
            let file = try File(entry)
            guard seen.insert(file.name).inserted else {
                throw .invalid("a manifest cannot list \(file.name) here", offset: 0)
            }
            files.append(file)
        }

        switch members.remove("unprotected") {
        case nil, .null: unprotected = [:]
        case .object(let object): unprotected = object
        default: throw .invalid("'unprotected' of a manifest is an object", offset: 0)
        }
        switch members.remove("signature") {
        case nil, .null: signature = nil
        case .string(let text) where ChunkDigest(parsing: text) != nil: signature = text
        default: throw .invalid("the signature of a manifest has 64 hexadecimal digits", offset: 0)
        }
        otherMembers = members
    }

    /// The JSON as the blob holds it: pretty, members sorted, `"signature": null` where there is none.
    package var encoded: [UInt8] {
        var members = otherMembers
        for member in protectedMembers(complete: true).members { members[member.name] = member.value }
        members["unprotected"] = .object(unprotected)
        members["signature"] = signature.map { .string($0) } ?? .null
        return Array(JSONValue.object(members.sorted()).prettyText.utf8)
    }

    /// The bytes that the signature covers: known members only, without `unprotected` and `signature`,
    /// in canonical form. (Spec: formats §4.6.)
    ///
    /// - Throws: ``FormatError/invalid(_:offset:)`` if a null stands in them, which no parsed manifest has.
    package func signedBytes() throws(FormatError) -> [UInt8] {
        try JSONValue.object(protectedMembers(complete: false)).canonicalBytes()
    }

    private func protectedMembers(complete: Bool) -> JSONObject {
        [
            "backup-id": .string(snapshot.group.id),
            "backup-time": .integer(snapshot.time),
            "backup-type": .string(snapshot.group.type.rawValue),
            "files": .array(files.map { $0.json(complete: complete) }),
        ]
    }
}

extension Manifest.File {
    fileprivate init(_ value: JSONValue) throws(FormatError) {
        guard var members = value.objectValue, let text = members.remove("filename")?.stringValue else {
            throw .invalid("an entry of a manifest has a file name", offset: 0)
        }
        guard let name = ArchiveName(text) else { throw .invalid("'\(text)' is no archive name", offset: 0) }
        self.name = name
        switch members.remove("crypt-mode") {
        case nil: cryptMode = .none
        case .string(let text):
            guard let mode = CryptMode(rawValue: text) else {
                throw .invalid("unknown crypt mode of \(name)", offset: 0)
            }
            cryptMode = mode
        default: throw .invalid("unknown crypt mode of \(name)", offset: 0)
        }
        guard let size = members.remove("size")?.intValue, size >= 0 else {
            throw .invalid("size of \(name) is missing or wrong", offset: 0)
        }
        self.size = UInt64(size)
        let csum = members.remove("csum")?.stringValue
        checksum = csum.flatMap { ChunkDigest(parsing: $0) }
        guard checksum != nil || (csum == "" && name.kind == .blob) else {
            throw .invalid("checksum of \(name) is missing or wrong", offset: 0)
        }
        otherMembers = members
    }

    fileprivate func json(complete: Bool) -> JSONValue {
        var members: JSONObject = [
            "crypt-mode": .string(cryptMode.rawValue),
            "csum": .string(checksum?.description ?? ""),
            "filename": .string(name.name),
            "size": .integer(size),
        ]
        if complete { for member in otherMembers.members { members[member.name] = member.value } }
        return .object(members)
    }
}

extension JSONObject {
    /// Takes the member of that name out.
    fileprivate mutating func remove(_ name: String) -> JSONValue? {
        defer { self[name] = nil }
        return self[name]
    }
}
