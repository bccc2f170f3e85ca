package import BackupFormats

/// A pattern for paths in an archive, as in `.pxarexclude`, `--exclude` and `--pattern`.
///
/// | Written          | Means                                                        |
/// |------------------|--------------------------------------------------------------|
/// | `*`, `?`         | any bytes, any byte of one name                              |
/// | `[a-z]`, `[!a]`  | one byte of a set, or not of it                              |
/// | `**`             | as a whole name: any number of folders, also none            |
/// | `\x`             | the byte `x` itself                                          |
/// | leading `!`      | the opposite: includes what an earlier pattern excludes      |
/// | leading `/`      | counts from the root of the archive, else from any folder    |
/// | trailing `/`     | folders only                                                 |
///
/// Source: REST specification, section G.1.
package struct PathPattern: Hashable, Sendable {
    private enum Token: Hashable, Sendable {
        case byte(UInt8)
        case any
        case run
        case set([ClosedRange<UInt8>], negated: Bool)
    }

    private enum Part: Hashable, Sendable {
        case folders
        case name([Token])
    }

    /// The pattern begins with `!`.
    package let isNegated: Bool
    /// The pattern begins with `/`.
    package let isAnchored: Bool
    /// The pattern ends with `/`.
    package let matchesFoldersOnly: Bool
    private let parts: [Part]

    /// - Throws: ``BackupFailure`` of kind `invalidInput` for an empty pattern, a set that does not end or a lone backslash.
    package init(_ text: String) throws(BackupFailure) {
        try self.init(Array(text.utf8))
    }

    /// - Throws: As for text.
    package init(_ bytes: [UInt8]) throws(BackupFailure) {
        var rest = bytes[...]
        isNegated = rest.first == UInt8(ascii: "!")
        if isNegated { rest.removeFirst() }
        isAnchored = rest.first == Self.slash
        matchesFoldersOnly = rest.last == Self.slash && rest.dropLast().last != Self.backslash
        var parts: [Part] = isAnchored ? [] : [.folders]
        for name in try Self.split(rest) { parts.append(try Self.part(name, of: bytes)) }
        guard parts.count > (isAnchored ? 0 : 1) else { throw Self.failure(bytes, "is empty") }
        self.parts = parts
    }

    /// Whether the pattern means the path made of `names`.
    package func matches(_ names: ArraySlice<[UInt8]>, isFolder: Bool) -> Bool {
        if matchesFoldersOnly, !isFolder { return false }
        // One place to return to is enough: a later `**` takes over from an earlier one.
        var part = 0
        var name = names.startIndex
        var retry: (part: Int, name: Int)?
        while true {
            if part < parts.count, parts[part] == .folders {
                part += 1
                retry = (part, name)
                continue
            }
            if part == parts.count, name == names.endIndex { return true }
            if part < parts.count, name < names.endIndex, case .name(let tokens) = parts[part],
                Self.match(tokens, names[name])
            {
                part += 1
                name += 1
                continue
            }
            guard let place = retry, place.name < names.endIndex else { return false }
            retry = (place.part, place.name + 1)
            part = place.part
            name = place.name + 1
        }
    }
}

extension PathPattern {
    private static let slash = UInt8(ascii: "/")
    private static let backslash = UInt8(ascii: "\\")

    private static func failure(_ bytes: [UInt8], _ reason: String) -> BackupFailure {
        BackupFailure(.invalidInput, "The pattern '\(String(decoding: bytes, as: UTF8.self))' \(reason)")
    }

    /// The names between slashes; empty ones are left out.
    private static func split(_ bytes: ArraySlice<UInt8>) throws(BackupFailure) -> [ArraySlice<UInt8>] {
        bytes.split(separator: slash)
    }

    private static func part(_ name: ArraySlice<UInt8>, of pattern: [UInt8]) throws(BackupFailure) -> Part {
        if name.elementsEqual("**".utf8) { return .folders }
        var tokens: [Token] = []
        var place = name.startIndex
        while place < name.endIndex {
            switch name[place] {
            case UInt8(ascii: "*"):
                if tokens.last != .run { tokens.append(.run) }
            case UInt8(ascii: "?"):
                tokens.append(.any)
            case UInt8(ascii: "["):
                guard let (set, end) = set(name, from: place + 1) else {
                    throw failure(pattern, "has a set without end")
                }
                tokens.append(set)
                place = end
            case backslash:
                place += 1
                guard place < name.endIndex else { throw failure(pattern, "has a backslash without a byte behind it") }
                tokens.append(.byte(name[place]))
            case let byte:
                tokens.append(.byte(byte))
            }
            place += 1
        }
        return .name(tokens)
    }

    /// The set that begins behind `[`, and the place of its `]`.
    private static func set(_ name: ArraySlice<UInt8>, from start: Int) -> (Token, Int)? {
        var ranges: [ClosedRange<UInt8>] = []
        var place = start
        let negated = place < name.endIndex && [UInt8(ascii: "!"), UInt8(ascii: "^")].contains(name[place])
        if negated { place += 1 }
        let first = place
        while place < name.endIndex {
            var low = name[place]
            if low == UInt8(ascii: "]"), place > first { return (.set(ranges, negated: negated), place) }
            if low == backslash, place + 1 < name.endIndex {
                place += 1
                low = name[place]
            }
            if place + 2 < name.endIndex, name[place + 1] == UInt8(ascii: "-"), name[place + 2] != UInt8(ascii: "]") {
                let high = name[place + 2]
                if low <= high { ranges.append(low...high) }
                place += 3
            } else {
                ranges.append(low...low)
                place += 1
            }
        }
        return nil
    }

    private static func match(_ tokens: [Token], _ name: [UInt8]) -> Bool {
        var token = 0
        var byte = 0
        var retry: (token: Int, byte: Int)?
        while true {
            if token < tokens.count, tokens[token] == .run {
                token += 1
                retry = (token, byte)
                continue
            }
            if token == tokens.count, byte == name.count { return true }
            if token < tokens.count, byte < name.count, match(tokens[token], name[byte]) {
                token += 1
                byte += 1
                continue
            }
            guard let place = retry, place.byte < name.count else { return false }
            retry = (place.token, place.byte + 1)
            token = place.token
            byte = place.byte + 1
        }
    }

    private static func match(_ token: Token, _ byte: UInt8) -> Bool {
        switch token {
        case .byte(let wanted): wanted == byte
        case .any: true
        case .run: false
        case .set(let ranges, let negated): ranges.contains { $0.contains(byte) } != negated
        }
    }
}
