package import BackupFormats

/// The answer to one call.
package struct BackupResponse: Sendable {
    package enum Body: Sendable {
        case bytes([UInt8])
        /// A body that is made while it is sent; `length` where it is known before.
        case stream(any ByteSource, length: Int?)
    }

    package var status: Int
    /// nil leaves the header out.
    package var contentType: String?
    package var body: Body
    /// Kept until the body has been sent or given up, such as a reservation of the memory that it takes.
    package var hold: (any AnyObject & Sendable)?

    package init(status: Int, contentType: String?, body: Body, hold: (any AnyObject & Sendable)? = nil) {
        self.status = status
        self.contentType = contentType
        self.body = body
        self.hold = hold
    }
}

extension BackupResponse {
    package static let jsonType = "application/json;charset=UTF-8"
    package static let octetStream = "application/octet-stream"

    /// Largest piece that ``collect(limit:)`` asks for.
    private static let pieceBytes = 256 * 1024

    /// The whole body.
    ///
    /// - Throws: ``BackupFailure`` of kind `invalidInput` where it is longer than `limit` bytes; what the source throws.
    package func collect(limit: Int) async throws -> [UInt8] {
        switch body {
        case .bytes(let bytes):
            guard bytes.count <= limit else { throw Self.tooLong(limit) }
            return bytes
        case .stream(let source, let length):
            if let length, length > limit { throw Self.tooLong(limit) }
            var bytes: [UInt8] = []
            bytes.reserveCapacity(length ?? 0)
            while let piece = try await source.read(upTo: Self.pieceBytes) {
                guard bytes.count + piece.count <= limit else { throw Self.tooLong(limit) }
                bytes.append(contentsOf: piece)
            }
            return bytes
        }
    }

    private static func tooLong(_ limit: Int) -> BackupFailure {
        BackupFailure(.invalidInput, "the answer is longer than \(limit) bytes")
    }
}
