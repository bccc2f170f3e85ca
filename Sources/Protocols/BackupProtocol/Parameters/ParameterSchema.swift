import BackupFormats

/// One parameter of a call.
package struct Parameter: Sendable {
    package let name: String
    package let type: ParameterType
    package let isOptional: Bool

    package static func required(_ name: String, _ type: ParameterType) -> Parameter {
        Parameter(name: name, type: type, isOptional: false)
    }

    package static func optional(_ name: String, _ type: ParameterType) -> Parameter {
        Parameter(name: name, type: type, isOptional: true)
    }
}

/// The parameters that a call takes; all others are refused, except `_dc`, which browsers add against caches.
package struct ParameterSchema: Sendable {
    package static let ignoredName = "_dc"

    package let parameters: [Parameter]
    private let byName: [String: Parameter]

    package init(_ parameters: [Parameter]) {
        self.parameters = parameters
        byName = Dictionary(parameters.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    }

    package static let none = ParameterSchema([])

    /// Checks `source` and gives the values.
    ///
    /// - Parameter path: Parameters that stand in the path, as text; they join those of either kind of source.
    /// - Throws: ``ParameterFailure`` with every parameter that is refused; where none is, with every one that is missing.
    package func values(
        of source: ParameterSource, path: [(name: String, value: String)] = []
    ) throws(ParameterFailure) -> ParameterValues {
        var reading = Reading(byName: byName)
        for (name, value) in path { reading.take(name, text: value) }
        switch source {
        case .text(let pairs):
            for (name, value) in pairs { reading.take(name, text: value) }
        case .json(let object):
            for member in object.members { reading.take(member.name, json: member.value) }
        }
        if !reading.refused.isEmpty { throw ParameterFailure(reading.refused) }
        let missing = parameters.filter { !$0.isOptional && reading.values[$0.name] == nil }.map(\.name).sorted()
        guard missing.isEmpty else {
            let what =
                switch source {
                case .text: "parameter"
                case .json: "property"
                }
            throw ParameterFailure(
                missing.map { .init(name: $0, reason: "\(what) is missing and it is not optional.") })
        }
        return ParameterValues(reading.values)
    }
}

/// The state of one ``ParameterSchema/values(of:path:)``.
private struct Reading {
    let byName: [String: Parameter]
    var values: [String: ParameterValue] = [:]
    var refused: [ParameterFailure.Item] = []

    init(byName: [String: Parameter]) { self.byName = byName }

    private mutating func refuse(_ name: String, _ reason: String) {
        guard refused.count < ParameterFailure.maxItems else { return }
        refused.append(.init(name: String(name.prefix(128)), reason: reason))
    }

    private mutating func type(of name: String) -> ParameterType? {
        if name == ParameterSchema.ignoredName { return nil }
        guard let parameter = byName[name] else {
            refuse(name, "schema does not allow additional properties.")
            return nil
        }
        return parameter.type
    }

    mutating func take(_ name: String, text: String) {
        guard let type = type(of: name) else { return }
        if case .array(let itemType) = type {
            var items: [ParameterValue] = []
            // Taken out while it grows, so that the array is not copied for each item.
            if case .array(let earlier) = values.removeValue(forKey: name) { items = earlier }
            switch itemType.value(ofText: text) {
            case .success(let item): items.append(item)
            case .failure(let objection): refuse("\(name)/[\(items.count)]", objection.reason)
            }
            values[name] = .array(items)
            return
        }
        guard values[name] == nil else { return refuse(name, "duplicate parameter.") }
        switch type.value(ofText: text) {
        case .success(let value): values[name] = value
        case .failure(let objection): refuse(name, objection.reason)
        }
    }

    mutating func take(_ name: String, json: JSONValue) {
        guard let type = type(of: name) else { return }
        guard values[name] == nil else { return refuse(name, "duplicate parameter.") }
        if case .array(let itemType) = type {
            guard case .array(let elements) = json else { return refuse(name, "Expected array - got scalar value.") }
            var items: [ParameterValue] = []
            items.reserveCapacity(elements.count)
            for (index, element) in elements.enumerated() {
                switch itemType.value(ofJSON: element) {
                case .success(let item): items.append(item)
                case .failure(let objection): refuse("\(name)/[\(index)]", objection.reason)
                }
            }
            values[name] = .array(items)
            return
        }
        switch type.value(ofJSON: json) {
        case .success(let value): values[name] = value
        case .failure(let objection): refuse(name, objection.reason)
        }
    }
}

/// Why one value is refused.
private struct Objection: Error {
    let reason: String
}

extension ParameterType {
    fileprivate func value(ofText text: String) -> Result<ParameterValue, Objection> {
        switch self {
        case .string(let rule):
            return rule.objection(to: text).map { .failure(Objection(reason: $0)) } ?? .success(.string(text))
        case .integer(let range):
            guard let number = Int64(text) else { return .failure(Objection(reason: "Expected integer value.")) }
            return Self.checked(number, range)
        case .boolean:
            return switch text.lowercased() {
            case "1", "on", "yes", "true": .success(.boolean(true))
            case "0", "off", "no", "false": .success(.boolean(false))
            default: .failure(Objection(reason: "Expected boolean value."))
            }
        case .number:
            guard let number = Double(text), number.isFinite else {
                return .failure(Objection(reason: "Expected number value."))
            }
            return .success(.number(number))
        case .array, .json:
            return .failure(Objection(reason: "value is only possible in a JSON body."))
        }
    }

    fileprivate func value(ofJSON json: JSONValue) -> Result<ParameterValue, Objection> {
        switch self {
        case .string(let rule):
            guard let text = json.stringValue else { return .failure(Objection(reason: "Expected string value.")) }
            return rule.objection(to: text).map { .failure(Objection(reason: $0)) } ?? .success(.string(text))
        case .integer(let range):
            guard let number = json.intValue else { return .failure(Objection(reason: "Expected integer value.")) }
            return Self.checked(number, range)
        case .boolean:
            guard let value = json.boolValue else { return .failure(Objection(reason: "Expected boolean value.")) }
            return .success(.boolean(value))
        case .number:
            guard let number = json.doubleValue, number.isFinite else {
                return .failure(Objection(reason: "Expected number value."))
            }
            return .success(.number(number))
        case .array:
            return .failure(Objection(reason: "lists of lists are not possible."))
        case .json:
            return .success(.json(json))
        }
    }

    private static func checked(_ number: Int64, _ range: ClosedRange<Int64>) -> Result<ParameterValue, Objection> {
        if number < range.lowerBound {
            return .failure(Objection(reason: "value must have a minimum value of \(range.lowerBound) (got \(number))"))
        }
        if number > range.upperBound {
            return .failure(Objection(reason: "value must have a maximum value of \(range.upperBound) (got \(number))"))
        }
        return .success(.integer(number))
    }
}
