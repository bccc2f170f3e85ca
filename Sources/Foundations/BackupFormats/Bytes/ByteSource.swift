/// Gives bytes piece by piece, in order: a body, a file, a disk. Asked by one reader at a time.
package protocol ByteSource: Sendable {
    /// The next bytes, at least one and at most `maxBytes`; nil at the end.
    func read(upTo maxBytes: Int) async throws -> [UInt8]?
}
