private import Synchronization

/// Lends encoders and decoders to whoever works just now, so that each keeps its context warm.
/// Holds as many as were ever in use at the same time.
package final class BlobCoders: Sendable {
    private let encoders = Shelf(make: { BlobEncoder() })
    private let decoders = Shelf(make: { BlobDecoder() })

    package init() {}

    package func withEncoder<Result, Failure: Error>(
        _ body: (BlobEncoder) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        let encoder = encoders.take()
        defer { encoders.put(encoder) }
        return try body(encoder)
    }

    package func withDecoder<Result, Failure: Error>(
        _ body: (BlobDecoder) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        let decoder = decoders.take()
        defer { decoders.put(decoder) }
        return try body(decoder)
    }
}

/// Things that one at a time may use; a thing is either on the shelf or with one borrower.
private final class Shelf<Thing>: @unchecked Sendable {
    private let lock = Mutex<Void>(())
    private var things: [Thing] = []
    private let make: @Sendable () -> Thing

    init(make: @escaping @Sendable () -> Thing) { self.make = make }

    func take() -> Thing { lock.withLock { _ in things.popLast() } ?? make() }
    func put(_ thing: Thing) { lock.withLock { _ in things.append(thing) } }
}
