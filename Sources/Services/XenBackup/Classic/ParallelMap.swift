/// Does `body` for each item, at most `width` at once; results in the order of the items.
func parallelMap<Item: Sendable, Value: Sendable>(
    _ items: [Item], width: Int, _ body: @escaping @Sendable (Item) async throws -> Value
) async throws -> [Value] {
    try await withThrowingTaskGroup(of: (Int, Value).self) { group in
        var results = [Value?](repeating: nil, count: items.count)
        var next = 0
        while next < min(width, items.count) {
            let index = next
            group.addTask { (index, try await body(items[index])) }
            next += 1
        }
        while let (index, value) = try await group.next() {
            results[index] = value
            guard next < items.count else { continue }
            let following = next
            group.addTask { (following, try await body(items[following])) }
            next += 1
        }
        return results.compactMap { $0 }
    }
}
