import Crypto
import VirtualDisks

/// Writes XVAs as a host does, without the code under test; each member is a way to differ.
struct HandMadeXVA {
    enum Checksum { case xxhash, sha1, missing, wrong }

    struct Entry {
        var name: String
        var content: [UInt8]
    }

    static let description = [
        "<?xml version=\"1.0\"?>\n",
        structure([
            ("version", structure([("hostname", "<value>host &amp; co</value>")])),
            (
                "objects",
                "<value><array><data>\n"
                    + object("VM", "<value>Ref:0</value>", [("uuid", "<value>vm-uuid</value>")])
                    + object(
                        "VDI", "<value>Ref:4</value>",
                        [
                            ("uuid", "<value>disk-uuid</value>"),
                            ("name_label", "<value>root &lt;1&gt; &#x1F4BE;</value>"),
                            ("virtual_size", "<value>5242880</value>"),
                            ("other_config", structure([("uuid", "<value>no</value>")])),
                        ])
                    + object(
                        "VDI", "<value> <string>Ref:5</string> </value>",
                        [("virtual_size", "<value><string>1500</string></value>"), ("uuid", "<value/>")])
                    + "</data></array></value>"
            ),
        ]),
    ].joined()

    private static func object(_ kind: String, _ id: String, _ snapshot: [(String, String)]) -> String {
        structure([("class", "<value>\(kind)</value>"), ("id", id), ("snapshot", structure(snapshot))]) + "\n"
    }

    private static func structure(_ members: [(String, String)]) -> String {
        let inner = members.map { "<member><name>\($0)</name>\($1)</member>" }.joined()
        return "<value><struct>\(inner)</struct></value>"
    }

    var entries: [Entry] = [.init(name: "ova.xml", content: Array(description.utf8))]
    var end = [UInt8](repeating: 0, count: 1024)

    mutating func add(_ disk: String, _ index: Int, _ bytes: [UInt8], _ checksum: Checksum = .xxhash) {
        let number = String(index)
        let name = "\(disk)/" + String(repeating: "0", count: 8 - number.count) + number
        entries.append(.init(name: name, content: bytes))
        switch checksum {
        case .xxhash: entries.append(.init(name: name + ".xxhash", content: Array(XXHash64.text(bytes).utf8)))
        case .sha1:
            let digits = Insecure.SHA1.hash(data: bytes).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
            entries.append(.init(name: name + ".checksum", content: Array(digits.utf8)))
        case .wrong: entries.append(.init(name: name + ".xxhash", content: Array("0123456789ABCDEF".utf8)))
        case .missing: break
        }
    }

    func encode() -> [UInt8] {
        var bytes: [UInt8] = []
        for entry in entries {
            bytes += Self.header(entry.name, entry.content.count) + entry.content
            bytes += [UInt8](repeating: 0, count: (512 - bytes.count % 512) % 512)
        }
        return bytes + end
    }

    static func header(_ name: String, _ size: Int) -> [UInt8] {
        var bytes = field(name, 100) + field("0000600", 8) + field("0000000", 8) + field("0000000", 8)
        bytes += field(octal(size, 11), 12) + field(octal(0, 11), 12) + field("        ", 8) + field("0", 1)
        bytes += field("", 100) + field("ustar\u{0}00", 8)
        bytes += [UInt8](repeating: 0, count: 512 - bytes.count)
        let sum = bytes.reduce(0) { $0 + Int($1) }
        bytes.replaceSubrange(148..<156, with: field(octal(sum, 6) + "\u{0} ", 8))
        return bytes
    }

    private static func field(_ text: String, _ count: Int) -> [UInt8] {
        Array(text.utf8) + [UInt8](repeating: 0, count: count - text.utf8.count)
    }

    private static func octal(_ value: Int, _ count: Int) -> String {
        let digits = String(value, radix: 8)
        return String(repeating: "0", count: count - digits.count) + digits
    }
}
