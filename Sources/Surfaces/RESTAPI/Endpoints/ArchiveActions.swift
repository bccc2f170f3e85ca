import BackupFormats
import BackupProtocol
import BackupServer
import Datastore
import ManagementAPI
import Pxar

/// Looking into archives: folders as lists, single files, folders as ZIP or tar. (Spec: rest E.4.)
extension Routes {
    static let archives: [String: EndpointAction] = [
        "GET \(store)/catalog": { call in
            let asked = try InnerPath(try call.values.string("filepath"))
            let opened = try await open(call)
            guard let entries = try await list(asked, call, opened) else {
                throw BackupFailure(.noSuchObject, "There is no folder '\(asked.text)' in the snapshot")
            }
            return .data(.array(entries.map { json($0, in: asked) }))
        },
        "GET \(store)/pxar-file-download": { call in
            let asked = try InnerPath(try call.values.string("filepath"))
            let opened = try await open(call)
            let (archive, path) = try await archive(asked, call, opened)
            guard let node = try await archive.reader.node(at: path) else {
                throw BackupFailure(.noSuchObject, "There is no '\(asked.text)' in the snapshot")
            }
            if case .directory = node.entry.content {
                let parents = Array(path.dropLast().joined(separator: [UInt8(ascii: "/")]))
                return call.flag("tar")
                    ? folder(FolderStream(node, of: archive, parents: parents, writer: TarWriter()), TarWriter.self)
                    : folder(FolderStream(node, of: archive, parents: parents, writer: ZIPWriter()), ZIPWriter.self)
            }
            guard let content = try await archive.content(of: node) else {
                throw BackupFailure(.invalidInput, "'\(asked.text)' is neither a file nor a folder")
            }
            return .whole(
                RESTResponse(
                    status: 200, headers: [("content-type", BackupResponse.octetStream)],
                    body: .stream(FileContentSource(content), length: Int(clamping: content.range.count))))
        },
    ]

    private static func folder<Writer: FolderWriter & Sendable>(
        _ stream: FolderStream<Writer>, _: Writer.Type
    ) -> EndpointResult {
        .whole(
            RESTResponse(
                status: 200, headers: [("content-type", Writer.contentType)], body: .stream(stream, length: nil)))
    }

    private static func open(_ call: Call) async throws -> (store: Datastore, reader: SnapshotReader) {
        let (place, grant) = try content(call)
        let snapshot = try call.values.snapshot()
        return try await call.blocking {
            try call.services.content.openReader(snapshot, in: place, purpose: "a look into its archives", by: grant)
        }
    }

    /// The archive that is meant, and the path in it.
    private static func archive(
        _ asked: InnerPath, _ call: Call, _ opened: (store: Datastore, reader: SnapshotReader)
    ) async throws -> (archive: FileArchive, path: [[UInt8]]) {
        var path = asked.names
        let text: String
        if let given = call.text("archive-name") {
            text = given
        } else {
            guard let first = path.first else {
                throw BackupFailure(.invalidInput, "filepath must name an archive of the snapshot")
            }
            text = String(decoding: first, as: UTF8.self)
            path.removeFirst()
        }
        guard let name = ArchiveName(text) else {
            throw BackupFailure(.invalidInput, "'\(text)' is not the name of an archive")
        }
        let archive = try await FileArchive.open(
            name, in: opened.store, of: opened.reader, workers: call.services.workers)
        return (archive, path)
    }

    /// From the catalog where the snapshot has one; split archives have none and are looked into.
    private static func list(
        _ asked: InnerPath, _ call: Call, _ opened: (store: Datastore, reader: SnapshotReader)
    ) async throws -> [CatalogEntry]? {
        let (store, reader) = opened
        let (names, isEncrypted) = try await call.blocking {
            let files = try reader.manifest().files
            let catalog = files.first { $0.name == .catalog }
            return (files.map(\.name), catalog.map { $0.cryptMode == .encrypt })
        }
        let given = call.text("archive-name")
        let archive = given ?? asked.names.first.map { String(decoding: $0, as: UTF8.self) }
        let isSplit = archive?.hasSuffix(".mpxar.didx") == true
        if let isEncrypted, !isSplit {
            guard !isEncrypted else { throw FileArchive.encrypted(.catalog) }
            let content = try await call.blocking {
                try ArchiveContent(.catalog, chunks: store.chunks, of: reader, workers: call.services.workers)
            }
            return try await CatalogListing(content: content).entries(
                at: (given.map { [Array($0.utf8)] } ?? []) + asked.names)
        }
        guard archive != nil else {
            return names.filter { FileArchive.isArchive($0.name) }.map {
                CatalogEntry(name: Array($0.name.utf8), kind: .directory(position: 0))
            }
        }
        let found = try await self.archive(asked, call, opened)
        return try await found.archive.entries(at: found.path)
    }

    private static func json(_ entry: CatalogEntry, in folder: InnerPath) -> JSONValue {
        var object: JSONObject = [
            "filepath": .string(Base64.encode(folder.bytes + [UInt8(ascii: "/")] + entry.name)),
            "leaf": .bool(!entry.isDirectory), "text": .string(String(decoding: entry.name, as: UTF8.self)),
        ]
        let type: JSONValue
        switch entry.kind {
        case .directory: type = "d"
        case .file(let size, let modified):
            object["mtime"] = .integer(modified)
            object["size"] = .integer(size)
            type = "f"
        case .symlink: type = "l"
        case .hardLink: type = "h"
        case .blockDevice: type = "b"
        case .characterDevice: type = "c"
        case .fifo: type = "p"
        case .socket: type = "s"
        }
        object["type"] = type
        return .object(object)
    }
}

/// The parameter `filepath`: base64 of a path, or `/` or `root` for the top.
private struct InnerPath {
    /// The path as it was asked for, without a slash at the end: paths of children continue it.
    let bytes: [UInt8]
    let names: [[UInt8]]

    init(_ text: String) throws {
        guard text != "/", text != "root" else {
            (bytes, names) = ([], [])
            return
        }
        guard let decoded = Base64.decode(text) else {
            throw ParameterFailure(name: "filepath", reason: "value is not base64, and neither 'root' nor '/'")
        }
        let slash = UInt8(ascii: "/")
        bytes = Array(decoded.reversed().drop { $0 == slash }.reversed())
        names = bytes.split(separator: slash).map { Array($0) }
        guard names.allSatisfy({ PxarName.isAllowed($0) }) else {
            throw ParameterFailure(name: "filepath", reason: "a part of the path is no possible name")
        }
    }

    var text: String { String(decoding: bytes, as: UTF8.self) }
}
