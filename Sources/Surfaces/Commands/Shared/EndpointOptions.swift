import ArgumentParser
import BackupFormats
import BackupProtocol
import ManagementAPI

/// The endpoint of the API whose parameters are a command's options.
protocol EndpointChoice: Sendable {
    /// Method and path, as ``Endpoint/name``.
    static var endpoint: String { get }
    /// Parameters that the command gives in another way. Those of the path are never options.
    static var omitted: Set<String> { get }
}

extension EndpointChoice {
    static var omitted: Set<String> { [] }

    /// The parameters that can be given as options.
    static var parameters: [EndpointParameter] {
        guard let endpoint = Endpoint.all.first(where: { $0.name == Self.endpoint }) else { return [] }
        return endpoint.parameters.filter { !omitted.contains($0.name) && !endpoint.path.contains("{\($0.name)}") }
    }
}

/// The parameters of an endpoint as options: names, help and completions come from its description, so that a command
/// knows what its server knows.
///
/// ArgumentParser finds options by reflection. This type reflects as one property for each parameter.
struct EndpointOptions<Choice: EndpointChoice>: ParsableArguments, CustomReflectable {
    /// What was given, as the API takes it; parameters that were not given are left out.
    private(set) var values: JSONObject = [:]
    /// What is wrong with a value; ArgumentParser tells of it only when it asks for the validation.
    private var objection: ValidationError?

    init() {}

    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Key.self)
        for parameter in Choice.parameters {
            do {
                if let value = try parameter.value(in: container) { values[parameter.name] = value }
            } catch let error as ValidationError {
                objection = objection ?? error
            }
        }
    }

    func validate() throws {
        if let objection { throw objection }
    }

    var customMirror: Mirror {
        Mirror(self, children: Choice.parameters.map { (label: $0.name, value: $0.option) })
    }

    /// The name of a parameter as the name of a property.
    fileprivate struct Key: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }

        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }
}

/// A boolean on the command line: the option alone means yes.
private enum Truth: String, CaseIterable, ExpressibleByArgument {
    case `true`, `false`

    init?(argument: String) {
        switch argument.lowercased() {
        case "1", "true", "yes", "on": self = .true
        case "0", "false", "no", "off": self = .false
        default: return nil
        }
    }
}

/// ArgumentParser takes `--verify-new=false` for `--verify-new`, whatever stands behind the sign; `--verify-new false` it
/// understands.
enum BooleanOptions {
    /// The parameters that are booleans wherever they occur.
    private static let names: Set<String> = {
        var names: Set<String> = []
        var others: Set<String> = []
        for parameter in Endpoint.all.flatMap(\.parameters) {
            if case .boolean = parameter.type { names.insert(parameter.name) } else { others.insert(parameter.name) }
        }
        return names.subtracting(others)
    }()

    /// The arguments with each `--name=value` of a boolean as two.
    ///
    /// - Throws: `ValidationError` where such a value is neither true nor false.
    static func separated(_ arguments: [String]) throws -> [String] {
        let end = arguments.firstIndex(of: "--") ?? arguments.endIndex
        let options = try arguments[..<end].flatMap { argument -> [String] in
            guard argument.hasPrefix("--") else { return [argument] }
            let parts = argument.dropFirst(2).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, names.contains(String(parts[0])) else { return [argument] }
            guard Truth(argument: String(parts[1])) != nil else {
                throw ValidationError("--\(parts[0]): '\(parts[1])' is neither true nor false")
            }
            return ["--\(parts[0])", String(parts[1])]
        }
        return options + arguments[end...]
    }
}

extension EndpointParameter {
    private var help: ArgumentHelp {
        var text = summary
        if let form {
            text += " (\(form.filter { $0 != "`" && $0 != "\\" }))"
        }
        if !isOptional { text += " Required." }
        if case .integer(let range) = type, range.upperBound < Int64.max {
            text += " \(range.lowerBound) to \(range.upperBound)."
        }
        if let assumed, assumed != false { text += " Default: \(assumed.stringValue ?? assumed.compactText)." }
        return ArgumentHelp(stringLiteral: text)
    }

    private func help(_ valueName: String) -> ArgumentHelp {
        var help = help
        help.valueName = valueName
        return help
    }

    private static func valueName(_ type: ParameterType, _ name: String) -> String {
        switch type {
        case .integer, .number: "number"
        case .string(let rule): rule.words.map { $0.count <= 4 ? $0.joined(separator: "|") : name } ?? name
        case .array(let item): valueName(item, name)
        default: name
        }
    }

    private static func completion(_ type: ParameterType) -> CompletionKind {
        switch type {
        case .string(let rule): rule.words.map { .list($0) } ?? .default
        case .array(let item): completion(item)
        default: .default
        }
    }

    /// The property wrapper that describes this parameter to ArgumentParser.
    fileprivate var option: Any {
        let valueName = Self.valueName(type, name)
        switch type {
        case .boolean:
            return Option<Truth?>(name: .customLong(name), defaultAsFlag: Truth.true, help: help("true|false"))
        case .array:
            return Option<[String]>(
                wrappedValue: [], name: .customLong(name), parsing: .singleValue, help: help(valueName),
                completion: Self.completion(type))
        default:
            return Option<String?>(
                name: .customLong(name), help: help(valueName), completion: Self.completion(type))
        }
    }

    /// What was given for this parameter, or nil.
    fileprivate func value<Choice>(
        in container: KeyedDecodingContainer<EndpointOptions<Choice>.Key>
    ) throws -> JSONValue? {
        let key = EndpointOptions<Choice>.Key(stringValue: name)
        switch type {
        case .boolean:
            return try container.decode(Option<Truth?>.self, forKey: key).wrappedValue.map { .bool($0 == .true) }
        case .array(let item):
            let texts = try container.decode(Option<[String]>.self, forKey: key).wrappedValue
            return texts.isEmpty ? nil : .array(try texts.map { try json($0, as: item) })
        default:
            return try container.decode(Option<String?>.self, forKey: key).wrappedValue.map { try json($0, as: type) }
        }
    }

    private func json(_ text: String, as type: ParameterType) throws -> JSONValue {
        switch type {
        case .integer:
            guard let number = Int64(text) else { throw ValidationError("--\(name): '\(text)' is no whole number") }
            return .integer(number)
        case .number:
            guard let number = Double(text), number.isFinite else {
                throw ValidationError("--\(name): '\(text)' is no number")
            }
            return .number("\(number)")
        case .json:
            do { return try JSONValue(parsing: Array(text.utf8)) } catch {
                throw ValidationError("--\(name): '\(text)' is no JSON")
            }
        default:
            return .string(text)
        }
    }
}
