import BackupFormats
import CairnTestSupport
import Foundation
import Pxar

/// The archives among the fixtures.
let fixtureNames = [
    "acl", "deep", "empty-dir", "exclude", "exclude-cli", "flags", "hard", "links", "modes", "names", "owners",
    "special", "times", "xattr",
]

func archive(_ name: String) throws -> [UInt8] { try Fixtures.bytes("pbs/pxar/\(name).pxar") }

/// What happens in an archive, with contents joined.
enum Step: Equatable {
    case entry(PxarEntry)
    case content([UInt8])
    case directoryEnd
    case prelude([UInt8])
    case archiveEnd
}

/// Decodes `bytes`, handed over as `pieces` says.
func decode(_ bytes: [UInt8], slice: Int = .max) throws(FormatError) -> [Step] {
    var decoder = PxarDecoder()
    var steps: [Step] = []
    var content: [UInt8] = []
    var start = 0
    while start < bytes.count {
        let piece = Array(bytes[start..<min(bytes.count, slice == .max ? bytes.count : start + slice)])
        start += piece.count
        var offset = 0
        while let event = try nextEvent(of: &decoder, in: piece, at: &offset) {
            switch event {
            case .entry(let entry): steps.append(.entry(entry))
            case .payload(let range): content += piece[range]
            case .payloadEnd:
                steps.append(.content(content))
                content = []
            case .directoryEnd: steps.append(.directoryEnd)
            case .prelude(let bytes): steps.append(.prelude(bytes))
            case .archiveEnd: steps.append(.archiveEnd)
            }
        }
    }
    try decoder.finish()
    return steps
}

func nextEvent(
    of decoder: inout PxarDecoder, in piece: [UInt8], at offset: inout Int
) throws(FormatError) -> PxarEvent? {
    var result: Result<PxarEvent?, FormatError> = .success(nil)
    piece.withUnsafeBytes { bytes in
        do throws(FormatError) { result = .success(try decoder.next(in: bytes, at: &offset)) } catch {
            result = .failure(error)
        }
    }
    return try result.get()
}

/// Writes what was decoded, as an archive of version 1.
func encode(_ steps: [Step]) throws(FormatError) -> [UInt8] {
    var output: [UInt8] = []
    var encoder: PxarEncoder?
    var positions: [UInt64: UInt64] = [:]
    for step in steps {
        guard case .entry(let entry) = step else {
            switch step {
            case .content(let bytes):
                output += bytes
                encoder?.passedPayload(bytes.count)
            case .directoryEnd: encoder?.endDirectory(into: &output)
            default: break
            }
            continue
        }
        guard var writer = encoder else {
            encoder = try PxarEncoder(root: entry.metadata, into: &output)
            continue
        }
        switch entry.content {
        case .directory: try writer.beginDirectory(entry.name, entry.metadata, into: &output)
        case .file(let size):
            positions[entry.position] = try writer.beginFile(entry.name, entry.metadata, size: size, into: &output)
        case .symlink(let target):
            try writer.addSymlink(entry.name, entry.metadata, target: target, into: &output)
        case .device(let major, let minor):
            try writer.addDevice(entry.name, entry.metadata, major: major, minor: minor, into: &output)
        case .fifo, .socket: try writer.addSpecial(entry.name, entry.metadata, into: &output)
        case .hardLink(let distance, let path):
            let target = positions[entry.position - distance] ?? 0
            try writer.addHardLink(entry.name, target: target, path: path, into: &output)
        case .fileReference: break
        }
        encoder = writer
    }
    return output
}

/// Names from the root to each entry, as `pxar list` prints them (unescaped).
func paths(of steps: [Step]) -> [String] {
    var folders: [[UInt8]] = []
    var result: [String] = []
    for step in steps {
        switch step {
        case .entry(let entry):
            result.append(
                "/"
                    + (folders + [entry.name]).dropFirst().map { String(decoding: $0, as: UTF8.self) }.joined(
                        separator: "/"))
            if case .directory = entry.content { folders.append(entry.name) }
        case .directoryEnd: folders.removeLast()
        default: break
        }
    }
    return result
}

extension [UInt8] {
    init(hex: String) {
        let digits = hex.filter { !$0.isWhitespace }
        self = Hex.decode(digits) ?? []
    }
}

/// The steps of an archive, or nil where it is refused.
func outcome(_ bytes: [UInt8]) -> [Step]? { try? decode(bytes) }
