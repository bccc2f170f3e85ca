import ArgumentParser
import BackupFormats
import Platform

/// How results are written to standard output.
enum OutputFormat: String, CaseIterable, ExpressibleByArgument {
    case text, json
    case prettyJSON = "json-pretty"
}

struct OutputOptions: ParsableArguments {
    @Option(
        name: .customLong("output-format"),
        help: "text, json or json-pretty. By default PROXMOX_OUTPUT_FORMAT, else text.")
    var format: OutputFormat?

    private var chosen: OutputFormat {
        format ?? Environment.current["PROXMOX_OUTPUT_FORMAT"].flatMap { OutputFormat(rawValue: $0) } ?? .text
    }

    var isText: Bool { chosen == .text }

    /// Writes a value: `text` makes the lines for people.
    func write(_ value: JSONValue, text: (JSONValue) -> String) {
        switch chosen {
        case .text:
            let lines = text(value)
            if !lines.isEmpty { Output.line(lines) }
        case .json: Output.line(value.compactText)
        case .prettyJSON: Output.line(value.prettyText)
        }
    }

    /// Writes a list as a table of `columns`.
    func write(_ items: [JSONValue], columns: [Column]) {
        write(.array(items)) { _ in
            items.isEmpty ? "" : Table.render(columns.map(\.title), items.map { item in columns.map { $0.cell(item) } })
        }
    }
}

extension OutputOptions {
    /// Writes the members of an object, a line each.
    func write(fields value: JSONValue) {
        write(value) { value in
            let members = value.objectValue?.members ?? []
            return members.isEmpty
                ? "" : Table.render(["name", "value"], members.map { [$0.name, Column.text($0.value)] })
        }
    }
}

/// Where text goes: results to standard output, all else to standard error.
enum Output {
    static func line(_ text: String) { StandardStreams.print(text + "\n") }
    static func note(_ text: String) { StandardStreams.print(text + "\n", to: StandardStreams.error) }
}

/// A column of a list: its title, and how the cell of an item is made.
struct Column {
    let title: String
    let cell: (JSONValue) -> String

    init(_ title: String, _ cell: @escaping (JSONValue) -> String) {
        self.title = title
        self.cell = cell
    }

    /// A member as it is.
    init(_ title: String, member: String) {
        self.init(title) { Self.text($0[member]) }
    }

    static func text(_ value: JSONValue?) -> String {
        switch value {
        case nil, .null: ""
        case .string(let text): text.split(whereSeparator: \.isNewline).first.map { String($0) } ?? ""
        case .array(let items): items.map { text($0) }.joined(separator: " ")
        case let other?: other.compactText
        }
    }

    static func size(_ title: String, member: String) -> Column {
        Column(title) { $0[member]?.intValue.map { ByteSize.text($0) } ?? "" }
    }

    static func time(_ title: String, member: String) -> Column {
        Column(title) { $0[member]?.intValue.map { BackupTime.text($0) } ?? "" }
    }
}

enum Table {
    /// Pads each column to its widest cell; the last one is left ragged, so that no line ends in blanks.
    static func render(_ titles: [String], _ rows: [[String]]) -> String {
        let all = [titles] + rows
        let widths = titles.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
        return all.map { row in
            var line = row.indices.map { column in
                row[column] + String(repeating: " ", count: widths[column] - row[column].count)
            }.joined(separator: "  ")
            while line.last == " " { line.removeLast() }
            return line
        }.joined(separator: "\n")
    }
}
