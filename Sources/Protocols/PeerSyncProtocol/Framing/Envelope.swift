/// A message of a Connect stream: a byte of flags, the length in four bytes, big-endian, and the payload.
/// (Spec: backrest-sync §3.3.)
package struct Envelope: Sendable, Equatable {
    static let prefixBytes = 5
    private static let compressed: UInt8 = 0x01
    private static let end: UInt8 = 0x02

    /// Whether the payload is compressed with the direction's encoding.
    package var isCompressed: Bool
    /// Whether it is the last of a response: then the payload is JSON.
    package var isEnd: Bool
    package var payload: [UInt8]

    package init(payload: [UInt8], isCompressed: Bool = false, isEnd: Bool = false) {
        self.payload = payload
        self.isCompressed = isCompressed
        self.isEnd = isEnd
    }

    package var encoded: [UInt8] {
        let flags = (isCompressed ? Self.compressed : 0) | (isEnd ? Self.end : 0)
        return [flags] + BigEndian.prefixed(payload)
    }

    fileprivate init(flags: UInt8) throws(PeerSyncFailure) {
        guard flags & ~(Self.compressed | Self.end) == 0 else {
            throw PeerSyncFailure(.protocolError, "a message with unknown flags \(flags)")
        }
        self.init(payload: [], isCompressed: flags & Self.compressed != 0, isEnd: flags & Self.end != 0)
    }
}

/// Cuts what arrives into envelopes. Takes memory for bytes that have come, never for a length that was promised.
package struct EnvelopeReader: Sendable {
    /// Before the peer is known: the key exchange takes 1,673 bytes.
    package static let limitOfStrangers = 64 << 10
    package static let limitOfPeers = 32 << 20
    /// Memory that an idle stream keeps: many streams wait most of their time.
    private static let keptBytes = 1 << 16

    /// Largest payload that is taken; may be raised when the peer is known.
    package var limit: Int
    private var buffer: [UInt8] = []
    private var start = 0

    package init(limit: Int = limitOfStrangers) { self.limit = limit }

    package mutating func append(_ bytes: some Sequence<UInt8>) {
        if start > Self.keptBytes {
            buffer.removeFirst(start)
            start = 0
        }
        buffer += bytes
    }

    /// The next whole envelope; nil until more has come.
    ///
    /// - Throws: ``PeerSyncFailure``: `tooLarge` for a length above the limit, `protocolError` for unknown flags.
    package mutating func next() throws(PeerSyncFailure) -> Envelope? {
        let rest = buffer[start...]
        guard rest.count >= Envelope.prefixBytes else { return nil }
        var envelope = try Envelope(flags: rest[start])
        let length = rest[start + 1..<start + Envelope.prefixBytes].reduce(0) { $0 << 8 | Int($1) }
        guard length <= limit else {
            throw PeerSyncFailure(.tooLarge, "a message of \(length) bytes; \(limit) are taken")
        }
        guard rest.count >= Envelope.prefixBytes + length else { return nil }
        let first = start + Envelope.prefixBytes
        envelope.payload = Array(buffer[first..<first + length])
        start = first + length
        if start == buffer.count {
            buffer.removeAll(keepingCapacity: buffer.capacity <= Self.keptBytes)
            start = 0
        }
        return envelope
    }

    /// Called when nothing more comes.
    ///
    /// - Throws: ``PeerSyncFailure`` (`protocolError`) in the middle of an envelope.
    package func finish() throws(PeerSyncFailure) {
        guard start == buffer.count else {
            throw PeerSyncFailure(.protocolError, "the stream ends in the middle of a message")
        }
    }
}
