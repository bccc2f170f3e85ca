package import BackupFormats

/// A rule that takes groups in or leaves them out: `[include:|exclude:]type:vm`, `group:vm/100`, `regex:^vm/1`.
/// (Spec: rest E.5.)
package struct GroupFilter: Hashable, Sendable, CustomStringConvertible {
    enum Rule: Hashable, Sendable {
        case type(BackupType)
        case group(BackupGroup)
        /// Sought anywhere in `type/id`.
        case regex(String)
    }

    /// Longest text of a filter.
    package static let limit = 1024

    let rule: Rule
    let isExclusion: Bool
    package let description: String

    /// - Throws: ``BackupFailure`` of kind `invalidInput`.
    package init(parsing text: String) throws {
        func wrong(_ reason: String) -> BackupFailure {
            BackupFailure(.invalidInput, "'\(text.prefix(64))' is no group filter: \(reason)")
        }
        guard text.utf8.count <= Self.limit else { throw wrong("it is longer than \(Self.limit) bytes") }
        description = text
        var rest = text[...]
        if rest.hasPrefix("include:") {
            rest = rest.dropFirst("include:".count)
            isExclusion = false
        } else if rest.hasPrefix("exclude:") {
            rest = rest.dropFirst("exclude:".count)
            isExclusion = true
        } else {
            isExclusion = false
        }
        let parts = rest.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map { String($0) }
        guard parts.count == 2 else { throw wrong("it is type:…, group:… or regex:…") }
        switch parts[0] {
        case "type":
            guard let type = BackupType(rawValue: parts[1]) else { throw wrong("a type is vm, ct or host") }
            rule = .type(type)
        case "group":
            guard let group = BackupGroup(parsing: parts[1]) else { throw wrong("a group is type/id") }
            rule = .group(group)
        case "regex":
            guard (try? Regex(parts[1])) != nil else { throw wrong("the regular expression cannot be read") }
            rule = .regex(parts[1])
        default: throw wrong("it is type:…, group:… or regex:…")
        }
    }

    func matches(_ group: BackupGroup) -> Bool {
        switch rule {
        case .type(let type): group.type == type
        case .group(let other): group == other
        case .regex(let text): (try? Regex(text)).map { "\(group)".firstMatch(of: $0) != nil } ?? false
        }
    }
}

extension [GroupFilter] {
    /// Whether the filters take the group: it is included, where there are inclusions at all, and not excluded.
    package func take(_ group: BackupGroup) -> Bool {
        guard !contains(where: { $0.isExclusion && $0.matches(group) }) else { return false }
        let inclusions = filter { !$0.isExclusion }
        return inclusions.isEmpty || inclusions.contains { $0.matches(group) }
    }
}
