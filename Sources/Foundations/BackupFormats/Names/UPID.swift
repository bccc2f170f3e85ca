/// The name of a task, as it stands in lists, logs and the verify state of a manifest:
/// `UPID:node:pid:pstart:task id:start time:worker type:worker id:auth id:`.
///
/// The numbers are hexadecimal, upper case when printed, at least 8 digits
/// wide. The worker id is escaped like the name of a systemd unit. In a URL the
/// whole must be percent-encoded. (Spec: formats §9.10, rest E.8.)
package struct UPID: Hashable, Sendable {
    /// Longer text is refused.
    package static let maxLength = 2048

    package let node: String
    package let pid: UInt32
    /// When the process started, in kernel ticks.
    package let processStart: UInt64
    /// Counts the tasks of the process.
    package let taskID: UInt64
    /// Unix seconds.
    package let startTime: Int64
    /// For example `backup` or `verify_snapshot`.
    package let workerType: String
    /// What the task works on, unescaped; nil where there is none.
    package let workerID: String?
    package let authID: AuthID

    /// - Returns: nil where a part has a character or a size that the text form cannot hold.
    package init?(
        node: String, pid: UInt32, processStart: UInt64, taskID: UInt64, startTime: Int64, workerType: String,
        workerID: String?, authID: AuthID
    ) {
        guard Self.isNode(node), Self.isWord(workerType), processStart <= 0xf_ffff_ffff,
            (0...0xffff_ffff).contains(startTime)
        else { return nil }
        self.node = node
        self.pid = pid
        self.processStart = processStart
        self.taskID = taskID
        self.startTime = startTime
        self.workerType = workerType
        self.workerID = workerID == "" ? nil : workerID
        self.authID = authID
        guard description.utf8.count <= Self.maxLength else { return nil }
    }

    /// - Throws: ``FormatError/invalid(_:offset:)`` at the part that breaks the form.
    package init(parsing text: some StringProtocol) throws(FormatError) {
        let count = text.utf8.count
        guard count <= Self.maxLength else { throw .tooLong(UInt64(count), limit: Self.maxLength, offset: 0) }
        let parts = String(text).split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 10, parts[0] == "UPID", parts[9].isEmpty else {
            throw .invalid("not a task id of the form UPID:…:", offset: 0)
        }
        func offset(_ index: Int) -> Int { parts[..<index].reduce(0) { $0 + $1.utf8.count + 1 } }
        func number(_ index: Int, _ digits: ClosedRange<Int>) throws(FormatError) -> UInt64 {
            let part = parts[index]
            guard digits.contains(part.utf8.count), part.utf8.allSatisfy({ Hex.isDigit($0) }),
                let value = UInt64(part, radix: 16)
            else {
                throw .invalid("\(digits.lowerBound) hexadecimal digits expected in a task id", offset: offset(index))
            }
            return value
        }
        guard Self.isNode(parts[1]) else { throw .invalid("bad node name in a task id", offset: offset(1)) }
        node = String(parts[1])
        pid = UInt32(truncatingIfNeeded: try number(2, 8...8))
        processStart = try number(3, 8...9)
        taskID = try number(4, 8...16)
        startTime = Int64(try number(5, 8...8))
        guard Self.isWord(parts[6]) else { throw .invalid("bad worker type in a task id", offset: offset(6)) }
        workerType = String(parts[6])
        let id = try UnitName.unescape(parts[7], offset: offset(7))
        workerID = id.isEmpty ? nil : id
        guard let authID = AuthID(parsing: parts[8]) else {
            throw .invalid("bad auth id in a task id", offset: offset(8))
        }
        self.authID = authID
    }

    private static func isNode(_ text: some StringProtocol) -> Bool {
        SafeID.isValid(text) && text.utf8.count <= 255
    }

    private static func isWord(_ text: some StringProtocol) -> Bool {
        !text.isEmpty
            && text.utf8.allSatisfy {
                $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: ":") && $0 != UInt8(ascii: "/")
            }
    }

    /// The folder below `tasks` that holds the log: the low byte of the process start, two upper-case digits.
    package var logFolder: String { Self.hex(processStart & 0xff, 2) }

    private static func hex(_ value: UInt64, _ width: Int) -> String {
        let digits = String(value, radix: 16, uppercase: true)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
}

extension UPID: CustomStringConvertible {
    package var description: String {
        "UPID:\(node):\(Self.hex(UInt64(pid), 8)):\(Self.hex(processStart, 8)):\(Self.hex(taskID, 8))"
            + ":\(Self.hex(UInt64(startTime), 8)):\(workerType):\(UnitName.escape(workerID ?? "")):\(authID):"
    }
}

/// The escaping of systemd unit names, as worker ids and lock files use it:
/// `/` becomes `-`; all but letters, digits, `_` and `.`, and a leading `.`,
/// become `\xNN` with lower-case digits.
package enum UnitName {
    package static func escape(_ text: some StringProtocol) -> String {
        var result: [UInt8] = []
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "/"):
                result.append(UInt8(ascii: "-"))
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
                result.append(byte)
            case UInt8(ascii: ".") where !result.isEmpty:
                result.append(byte)
            default:
                result += Array("\\x\(Hex.encode([byte]))".utf8)
            }
        }
        return String(decoding: result, as: UTF8.self)
    }

    /// - Parameter offset: Where `text` stands in what the caller parses; errors count from it.
    package static func unescape(_ text: some StringProtocol, offset: Int = 0) throws(FormatError) -> String {
        let input = Array(text.utf8)
        var result: [UInt8] = []
        var index = 0
        while index < input.count {
            switch input[index] {
            case UInt8(ascii: "-"):
                result.append(UInt8(ascii: "/"))
            case UInt8(ascii: "\\"):
                guard index + 3 < input.count, input[index + 1] == UInt8(ascii: "x"),
                    let byte = Hex.decode(
                        String(decoding: input[index + 2...index + 3], as: UTF8.self), allowUppercase: true)
                else { throw .invalid("bad escape sequence", offset: offset + index) }
                result += byte
                index += 3
            default:
                result.append(input[index])
            }
            index += 1
        }
        guard let decoded = String(validating: result, as: UTF8.self) else {
            throw .invalid("escaped text is not UTF-8", offset: offset)
        }
        return decoded
    }
}
