import BackupFormats
import Synchronization

/// Gives the items of an array one after the other.
final class ListCursor<Item: Sendable>: Sendable {
    private let items: [Item]
    private let position = Mutex(0)

    init(_ items: [Item]) { self.items = items }

    func next() -> Item? {
        position.withLock { position in
            guard position < items.count else { return nil }
            defer { position += 1 }
            return items[position]
        }
    }
}
