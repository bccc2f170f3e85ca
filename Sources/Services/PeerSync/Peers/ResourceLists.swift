/// What peers tell of their repos and plans comes in pieces. (Spec: backrest-sync §5.5.)
enum ResourceLists {
    /// New entries replace old ones of the same name where these stand; others follow in their order.
    static func merge<Entry>(_ old: [Entry], _ new: [Entry], by name: KeyPath<Entry, String>) -> [Entry] {
        var all = old
        var places = Dictionary(old.enumerated().map { ($1[keyPath: name], $0) }) { first, _ in first }
        for entry in new {
            if let place = places[entry[keyPath: name]] {
                all[place] = entry
            } else {
                places[entry[keyPath: name]] = all.count
                all.append(entry)
            }
        }
        return all
    }
}
