/// What a verification found.
package struct VerifyOutcome: Hashable, Sendable {
    /// Errors of one snapshot that are told one by one.
    static let errorLimit = 1000

    /// One sentence for each thing that is wrong, up to a thousand.
    package private(set) var errors: [String] = []
    package private(set) var errorCount = 0
    package var checkedChunks = 0
    /// Encoded bytes read.
    package var readByteCount = 0
    /// Bytes of the archives that these chunks are.
    package var contentByteCount = 0
    package var isGood: Bool { errorCount == 0 }

    package init() {}

    /// - Returns: Whether the error is told, or one of too many.
    @discardableResult
    mutating func note(_ error: String) -> Bool {
        errorCount += 1
        guard errors.count < Self.errorLimit else { return false }
        errors.append(error)
        return true
    }

    mutating func add(_ other: VerifyOutcome) {
        for error in other.errors { note(error) }
        errorCount += other.errorCount - other.errors.count
        checkedChunks += other.checkedChunks
        readByteCount += other.readByteCount
        contentByteCount += other.contentByteCount
    }
}
