import BackupFormats
import Platform

/// When a time zone is how far from UTC: the content of a file of the system's zone database (RFC 8536).
struct ZoneRules: Sendable {
    static let folder = "/usr/share/zoneinfo"
    /// The files are a few kilobytes long.
    static let maxFileBytes = 1 << 20

    /// Moments (Unix seconds) from which on the offset of the same index holds.
    private var transitions: [Int64] = []
    private var offsets: [Int] = []
    /// Before the first transition.
    private var first = 0
    /// After the last transition.
    private var rule: ZoneRule?

    static let utc = ZoneRules()

    private init() {}

    /// The rules of a zone by its name, such as `Europe/Berlin`.
    ///
    /// - Throws: ``BackupFailure`` of kind `invalidInput` where this machine does not know it.
    init(named name: String) throws {
        guard name != "UTC", name != "Etc/UTC" else {
            self = .utc
            return
        }
        let parts = name.split(separator: "/", omittingEmptySubsequences: false)
        let isName = parts.allSatisfy { part in
            !part.isEmpty && part.utf8.allSatisfy { Self.letters.contains($0) }
        }
        guard isName, let file = try? FileSystem.readIfPresent("\(Self.folder)/\(name)", limit: Self.maxFileBytes)
        else {
            throw BackupFailure(
                .invalidInput, "The time zone '\(name)' is not known on this machine",
                hints: ["Install the package tzdata if the name is right."])
        }
        do {
            try self.init(parsing: file)
        } catch {
            throw BackupFailure(.internalFault, "The file of the time zone '\(name)' is damaged", cause: error)
        }
    }

    private static let letters = Set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-".utf8)

    /// Reads the second, 64-bit part of the file, and the rule behind it.
    init(parsing file: [UInt8]) throws(FormatError) {
        var reader = BigEndianReader(bytes: file)
        let outer = try Counts(from: &reader)
        guard outer.version >= 2 else { throw .invalid("a zone file without 64-bit part", offset: 4) }
        try reader.skip(outer.byteCount(ofTime: 4))
        let counts = try Counts(from: &reader)
        guard counts.types > 0 else { throw .invalid("a zone file without types", offset: reader.offset) }
        for _ in 0..<counts.times { transitions.append(Int64(bitPattern: try reader.integer(8))) }
        var indices: [Int] = []
        for _ in 0..<counts.times { indices.append(Int(try reader.integer(1))) }
        var types: [Int] = []
        for _ in 0..<counts.types {
            types.append(Int(Int32(truncatingIfNeeded: try reader.integer(4))))
            try reader.skip(2)
        }
        guard let firstType = types.first, indices.allSatisfy({ $0 < types.count }) else {
            throw .invalid("a zone file with a type that is not there", offset: reader.offset)
        }
        first = firstType
        offsets = indices.map { types[$0] }
        try reader.skip(counts.letters + counts.leaps * 12 + counts.standards + counts.universals)
        let footer = String(decoding: file.dropFirst(reader.offset), as: UTF8.self)
        rule = ZoneRule(footer.filter { $0 != "\n" })
    }

    /// Seconds that local time is ahead of UTC.
    func offset(at time: Int64) -> Int {
        guard let last = transitions.last else { return rule?.offset(at: time) ?? first }
        if time >= last, let rule { return rule.offset(at: time) }
        var low = 0
        var high = transitions.count
        while low < high {
            let middle = (low + high) / 2
            if transitions[middle] <= time { low = middle + 1 } else { high = middle }
        }
        return low == 0 ? first : offsets[low - 1]
    }

    private struct Counts {
        let version: Int
        let universals, standards, leaps, times, types, letters: Int

        init(from reader: inout BigEndianReader) throws(FormatError) {
            guard try reader.integer(4) == 0x545a_6966 else { throw .invalid("not a zone file", offset: 0) }
            let digit = try reader.integer(1)
            version = digit == 0 ? 1 : Int(digit) - 0x30
            try reader.skip(15)
            // Each is checked against the file when its items are read.
            universals = Int(try reader.integer(4))
            standards = Int(try reader.integer(4))
            leaps = Int(try reader.integer(4))
            times = Int(try reader.integer(4))
            types = Int(try reader.integer(4))
            letters = Int(try reader.integer(4))
        }

        func byteCount(ofTime width: Int) -> Int {
            times * (width + 1) + types * 6 + letters + leaps * (width + 4) + standards + universals
        }
    }
}

private struct BigEndianReader {
    let bytes: [UInt8]
    var offset = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    mutating func skip(_ count: Int) throws(FormatError) {
        guard count >= 0, count <= bytes.count - offset else {
            throw .truncated(offset: offset, needed: count, available: bytes.count - offset)
        }
        offset += count
    }

    mutating func integer(_ count: Int) throws(FormatError) -> UInt64 {
        let start = offset
        try skip(count)
        return bytes[start..<offset].reduce(0) { $0 << 8 | UInt64($1) }
    }
}
