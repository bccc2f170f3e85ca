import BackupFormats

/// One line of a goodbye table: where a child of the folder is.
///
/// | Offset | Size | Field  | Content                                             |
/// |-------:|-----:|--------|-----------------------------------------------------|
/// |      0 |    8 | hash   | ``PxarNameHash`` of the name                        |
/// |      8 |    8 | offset | bytes back from the table's header to the child     |
/// |     16 |    8 | size   | of the child, from its file name to its end         |
struct GoodbyeItem: Hashable, Sendable {
    static let byteCount = 24

    var hash: UInt64
    var offset: UInt64
    var size: UInt64

    func append(to output: inout [UInt8]) {
        output.appendLittleEndian(hash)
        output.appendLittleEndian(offset)
        output.appendLittleEndian(size)
    }
}

/// The table at the end of a folder: its children as a binary search tree by
/// hash, laid out breadth first, and a tail that says where the folder starts.
///
/// Source: formats specification, section 7.5.
package enum GoodbyeTable {
    /// Puts sorted items into the order of the table: the item at place i has
    /// smaller ones below place 2i + 1 and larger ones below 2i + 2.
    package static func layOut<Item>(sorted items: [Item]) -> [Item] {
        places(count: items.count).map { items[$0] }
    }

    /// For each place of the table, which of the sorted items stands there.
    private static func places(count: Int) -> [Int] {
        var places = [Int](repeating: 0, count: count)
        // An in-order walk over the places, without recursion.
        var stack: [Int] = []
        var place = 0
        var next = 0
        while place < count || !stack.isEmpty {
            while place < count {
                stack.append(place)
                place = 2 * place + 1
            }
            guard let parent = stack.popLast() else { break }
            places[parent] = next
            next += 1
            place = 2 * parent + 2
        }
        return places
    }

    /// Appends the whole item for a folder whose table starts at `position`.
    ///
    /// - Parameters:
    ///   - children: Hash, position and size of each child, in any order.
    ///   - directoryStart: What the tail points at: the folder's entry item; 0 for the root.
    static func append(
        children: [GoodbyeItem], directoryStart: UInt64, position: UInt64, to output: inout [UInt8]
    ) {
        let size = UInt64((children.count + 1) * GoodbyeItem.byteCount)
        output.appendHeader(.goodbye, contentSize: size)
        let sorted = children.sorted { ($0.hash, $0.offset) < ($1.hash, $1.offset) }
        for item in layOut(sorted: sorted) {
            GoodbyeItem(hash: item.hash, offset: position - item.offset, size: item.size).append(to: &output)
        }
        GoodbyeItem(
            hash: goodbyeTailMarker, offset: position - directoryStart, size: size + UInt64(PxarLimits.headerSize)
        ).append(to: &output)
    }
}
