/// Decides where a stream of bytes is cut into chunks.
///
/// The stream arrives in pieces of any size; the cuts do not depend on how it
/// was sliced. What follows the last cut at the end of the stream is the last
/// chunk, of any length above zero; the caller knows that the stream has ended.
package protocol Cutter: Sendable {
    /// The largest chunk that a cut can end.
    var maximumSize: Int { get }

    /// Looks at `bytes`, which continue the stream.
    ///
    /// - Returns: How many of `bytes` belong to the current chunk, when the
    ///   chunk ends inside or at the end of them; call again with the rest. nil
    ///   when all of them belong to a chunk that goes on.
    mutating func nextCut(in bytes: UnsafeRawBufferPointer) -> Int?
}

extension Cutter {
    /// As the call for raw pointers.
    package mutating func nextCut(in bytes: ArraySlice<UInt8>) -> Int? {
        bytes.withUnsafeBytes { nextCut(in: $0) }
    }
}

/// Cuts after every `size` bytes: the chunks of a fixed index.
package struct FixedCutter: Cutter {
    package let maximumSize: Int
    private var length = 0

    package init(size: Int) {
        precondition(size > 0, "a chunk of no bytes never ends")
        maximumSize = size
    }

    package mutating func nextCut(in bytes: UnsafeRawBufferPointer) -> Int? {
        guard bytes.count >= maximumSize - length else {
            length += bytes.count
            return nil
        }
        defer { length = 0 }
        return maximumSize - length
    }
}
