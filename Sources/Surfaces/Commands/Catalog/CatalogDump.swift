import ArgumentParser
import BackupClient
import BackupFormats
import BackupProtocol
import Platform

struct CatalogCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "catalog", abstract: "The list of files that a snapshot carries.", subcommands: [CatalogDump.self])
}

struct CatalogDump: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "dump", abstract: "Lists all files of a snapshot.")

    /// Catalogs above this are refused; they are read into memory.
    private static let byteLimit = 1 << 30

    @Argument(help: ArgumentHelp("type/id/time, or type/id for the newest.", valueName: "snapshot")) var snapshot:
        String
    @OptionGroup var repository: RepositoryOptions
    @OptionGroup var namespace: NamespaceOption
    @OptionGroup var keys: KeyOptions

    mutating func run() async throws {
        let key = try keys.key()?.key
        let text = snapshot
        let namespace = try namespace.parameters()
        let bytes = try await repository.withServer { server, repository in
            let name = try await SnapshotChoice.resolve(text, namespace, server, repository)
            let transport = try await server.openSession(
                .reader,
                name.parameters.merging(namespace).merging(["store": .string(repository.datastore), "debug": true]),
                trying: "The snapshot \(name) cannot be opened")
            let download = try await SnapshotDownload.open(name, transport: transport, key: key)
            let file = try download.file(named: ArchiveName.catalog.name)
            guard file.size <= UInt64(Self.byteLimit) else {
                throw BackupFailure(.unsupported, "The catalog has \(file.size) bytes, \(Self.byteLimit) can be shown")
            }
            let catalog = Monitor<[UInt8]>([])
            try await download.stream(file) { piece in catalog.withLock { $0 += piece } }
            await transport.close()
            return catalog.withLock { $0 }
        }
        do {
            let reader = try CatalogReader(bytes)
            var printer = CatalogPrinter(reader: reader)
            try printer.dump()
        } catch let error as FormatError {
            throw BackupFailure(.corruptData, "The catalog is damaged", cause: error)
        }
    }
}

/// Writes a catalog as the stock client does: kind, quoted path, and of files size and time.
private struct CatalogPrinter {
    private static let flushBytes = 64 << 10

    let reader: CatalogReader
    private var output: [UInt8] = []

    init(reader: CatalogReader) { self.reader = reader }

    mutating func dump() throws {
        // Folders that are to be shown still, the next one last: a stack, since nesting can be deep.
        var stack: [(entry: CatalogEntry, path: [UInt8])] = try children(
            of: reader.rootPosition, path: [UInt8(ascii: ".")])
        while let (entry, path) = stack.popLast() {
            append(entry, path)
            if case .directory(let position) = entry.kind { stack += try children(of: position, path: path) }
        }
        flush()
    }

    private func children(of position: Int, path: [UInt8]) throws -> [(entry: CatalogEntry, path: [UInt8])] {
        try reader.entries(at: position).reversed().map { ($0, path + [UInt8(ascii: "/")] + $0.name) }
    }

    private mutating func append(_ entry: CatalogEntry, _ path: [UInt8]) {
        let (letter, rest): (String, String) =
            switch entry.kind {
            case .directory: ("d", "")
            case .file(let size, let modified): ("f", " \(size) \(Self.time(modified))")
            case .symlink: ("l", "")
            case .hardLink: ("h", "")
            case .blockDevice: ("b", "")
            case .characterDevice: ("c", "")
            case .fifo: ("p", "")
            case .socket: ("s", "")
            }
        output += Array("\(letter) \"".utf8)
        output += Self.quoted(path)
        output += Array("\"\(rest)\n".utf8)
        if output.count >= Self.flushBytes { flush() }
    }

    private mutating func flush() {
        try? StandardStreams.write(StandardStreams.output, output)
        output.removeAll(keepingCapacity: true)
    }

    private static func time(_ seconds: Int64) -> String { BackupTime.text(seconds) }

    /// Quotes, backslashes, control characters and what is no UTF-8 are escaped.
    private static func quoted(_ bytes: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        var parser = Unicode.UTF8.ForwardParser()
        var rest = bytes.makeIterator()
        var offset = 0
        while true {
            switch parser.parseScalar(from: &rest) {
            case .emptyInput: return result
            case .valid(let scalar):
                result += scalar.count == 1 ? escaped(bytes[offset]) : Array(bytes[offset..<offset + scalar.count])
                offset += scalar.count
            case .error(let length):
                for byte in bytes[offset..<offset + length] { result += hex(byte) }
                offset += length
            }
        }
    }

    private static func escaped(_ byte: UInt8) -> [UInt8] {
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"): [UInt8(ascii: "\\"), byte]
        case UInt8(ascii: "\n"): Array("\\n".utf8)
        case UInt8(ascii: "\t"): Array("\\t".utf8)
        case UInt8(ascii: "\r"): Array("\\r".utf8)
        case 0..<0x20, 0x7f: hex(byte)
        default: [byte]
        }
    }

    private static func hex(_ byte: UInt8) -> [UInt8] { Array("\\x\(Hex.encode([byte]).uppercased())".utf8) }
}
