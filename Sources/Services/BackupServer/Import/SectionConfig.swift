import BackupFormats

/// A configuration file of the original: sections with a type, an id and properties, which may be repeated.
///
/// ```
/// type: id
/// <TAB>key value
/// ```
///
/// A blank line ends a section; there are no comments. (Spec: rest H.3.)
struct SectionConfig {
    struct Section {
        var type: String
        var id: String
        /// In the order of the file; lists are repeated names.
        var properties: [(name: String, value: String)] = []

        /// The last value of that name.
        func value(_ name: String) -> String? { properties.last { $0.name == name }?.value }
    }

    private(set) var sections: [Section] = []

    /// - Throws: ``FormatError`` with the number of the line as its offset.
    init(parsing text: String) throws(FormatError) {
        var current: Section?
        for (number, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            let content = line.drop { $0 == " " || $0 == "\t" }
            if content.isEmpty {
                if let section = current { sections.append(section) }
                current = nil
            } else if content.startIndex == line.startIndex {
                guard let colon = content.firstIndex(of: ":"), content.first?.isLetter == true else {
                    throw .invalid("a section begins with 'type: id'", offset: number + 1)
                }
                if let section = current { sections.append(section) }
                let id = content[content.index(after: colon)...].drop { $0 == " " }
                current = Section(type: String(content[..<colon]), id: Self.trimmed(id))
            } else {
                guard current != nil else { throw .invalid("a property outside of a section", offset: number + 1) }
                let name = content.prefix { $0 != " " && $0 != "\t" }
                let value = content.dropFirst(name.count).drop { $0 == " " || $0 == "\t" }
                current?.properties.append((String(name), Self.trimmed(value)))
            }
        }
        if let section = current { sections.append(section) }
    }

    private static func trimmed(_ text: Substring) -> String {
        String(text.reversed().drop { $0 == " " || $0 == "\t" || $0 == "\r" }.reversed())
    }
}

extension SectionConfig.Section {
    private static let booleans: Set<String> = [
        "disable", "enable", "ignore-verified", "remove-vanished", "encrypted-only", "verified-only", "resync-corrupt",
        "run-on-mount", "unmount-on-done", "verify-new", "gc-on-unmount", "use-node-proxy",
    ]
    private static let numbers: Set<String> = [
        "keep-last", "keep-hourly", "keep-daily", "keep-weekly", "keep-monthly", "keep-yearly", "max-depth",
        "outdated-after", "transfer-last", "port", "read-threads", "verify-threads", "worker-threads", "expire",
    ]
    private static let lists: Set<String> = ["group-filter", "associated-key"]

    /// Whether a word of the configuration means yes; nil for other words.
    static func boolean(_ word: String) -> Bool? {
        switch word.lowercased() {
        case "1", "on", "yes", "true": true
        case "0", "off", "no", "false": false
        default: nil
        }
    }

    /// The properties with the types that they have in the API, without those named.
    func json(without left: Set<String> = []) -> JSONObject {
        var object: JSONObject = [:]
        for (name, value) in properties where !left.contains(name) {
            if Self.lists.contains(name) {
                object[name] = .array((object[name]?.arrayValue ?? []) + [.string(value)])
            } else if Self.booleans.contains(name), let flag = Self.boolean(value) {
                object[name] = .bool(flag)
            } else if Self.numbers.contains(name), let number = Int64(value) {
                object[name] = .integer(number)
            } else {
                object[name] = .string(value)
            }
        }
        return object
    }
}
