package import BackupFormats

/// The export of a machine that arrives as a stream: its description, then the pieces of its disks. Asked by one reader
/// at a time. (Spec: xo-proxy §7.7.)
package actor XVAReader {
    private static let readBytes = 256 << 10
    private static let responseStart = Array("HTTP/".utf8)
    private static let responseLimit = 4096

    /// The bytes of `ova.xml`, as they came.
    package nonisolated let description: [UInt8]
    private let name: String
    private let source: any ByteSource
    private var decoder: XVADecoder
    private var bytes: [UInt8]
    private var taken: Int
    private var failure: (any Error)?

    /// Reads up to the end of `ova.xml`.
    ///
    /// - Parameter name: What the export is called in errors: `machine web1`.
    /// - Throws: ``BackupFailure`` of kind `unsupported` where it is compressed, `corruptData` where it is no XVA,
    ///   `unavailable` where it ends too early or is an HTTP response, and what the source throws.
    package static func open(_ source: any ByteSource, name: String = "machine") async throws -> XVAReader {
        var bytes: [UInt8] = []
        while bytes.count < TarHeader.byteCount, let more = try await source.read(upTo: readBytes) { bytes += more }
        guard !XVACheck.isCompressed(bytes) else {
            throw BackupFailure(
                .unsupported, "The export of \(name) is compressed", hints: ["Ask the host for an uncompressed export."]
            )
        }
        if bytes.starts(with: responseStart) {
            let text = String(decoding: bytes.prefix(responseLimit), as: UTF8.self).split(whereSeparator: \.isNewline)
                .joined(separator: " ")
            throw BackupFailure(.unavailable, "The host sent an HTTP response in the place of \(name): \(text)")
        }
        var decoder = XVADecoder()
        var taken = 0
        do {
            while true {
                if let event = try decoder.next(in: bytes, at: &taken) {
                    guard case .description(let description) = event else { break }
                    return XVAReader(
                        description: description, name: name, source: source, decoder: decoder, bytes: bytes,
                        taken: taken)
                }
                guard let more = try await source.read(upTo: readBytes) else { break }
                bytes = more
                taken = 0
            }
            throw Self.cut(name, decoder)
        } catch let error as FormatError {
            throw Self.corrupt(name, error)
        }
    }

    private init(
        description: [UInt8], name: String, source: any ByteSource, decoder: XVADecoder, bytes: [UInt8], taken: Int
    ) {
        self.description = description
        self.name = name
        self.source = source
        self.decoder = decoder
        self.bytes = bytes
        self.taken = taken
    }

    /// The next piece: disk by disk, ascending in each. Nil after the last, when the archive has proved to be whole.
    ///
    /// - Throws: ``BackupFailure`` of kind `unavailable` where the archive ends too early, `corruptData` where a
    ///   checksum or anything else is wrong, and what the source throws.
    package func nextPiece() async throws -> XVAPiece? {
        if let failure { throw failure }
        do {
            return try await advance()
        } catch {
            let described = (error as? FormatError).map { Self.corrupt(name, $0) } ?? error
            failure = described
            throw described
        }
    }

    private func advance() async throws -> XVAPiece? {
        while true {
            if let event = try decoder.next(in: bytes, at: &taken) {
                if case .piece(let piece) = event { return piece }
                continue
            }
            guard let more = try await source.read(upTo: Self.readBytes) else {
                guard decoder.isComplete else { throw Self.cut(name, decoder) }
                try decoder.finish()
                return nil
            }
            bytes = more
            taken = 0
        }
    }

    private static func cut(_ name: String, _ decoder: XVADecoder) -> BackupFailure {
        BackupFailure(.unavailable, "The export of \(name) was cut after \(decoder.position) bytes")
    }

    private static func corrupt(_ name: String, _ error: FormatError) -> BackupFailure {
        BackupFailure(.corruptData, "What came for \(name) is not an XVA that can be read", cause: error)
    }
}
