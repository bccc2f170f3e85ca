import BackupFormats

/// What one parameter may be. (Spec: xo-proxy §1.11.)
indirect enum Form: Sendable {
    case string(minLength: Int = 0)
    case boolean
    case number(minimum: Int? = nil)
    case integer(minimum: Int? = nil)
    case object
    case array(of: Form)
    case any

    /// As JSON Schema says it.
    var json: JSONObject {
        switch self {
        case .string(let minLength): Self.json("string", "minLength", minLength > 0 ? minLength : nil)
        case .boolean: ["type": "boolean"]
        case .number(let minimum): Self.json("number", "minimum", minimum)
        case .integer(let minimum): Self.json("integer", "minimum", minimum)
        case .object: ["type": "object"]
        case .array(let form): ["type": "array", "items": .object(form.json)]
        case .any: [:]
        }
    }

    private static func json(_ type: String, _ limit: String, _ value: Int?) -> JSONObject {
        var json: JSONObject = ["type": .string(type)]
        json[limit] = value.map { .integer($0) }
        return json
    }

    /// Everything in which `value` differs from the form.
    func violations(of value: JSONValue, at path: String) -> [Violation] {
        switch (self, value) {
        case (.any, _), (.boolean, .bool), (.object, .object): return []
        case (.string(let minLength), .string(let text)):
            return text.unicodeScalars.count >= minLength ? [] : [.tooShort(path, minLength)]
        case (.number(let minimum), .number): return Self.violations(of: value, path, minimum)
        case (.integer(let minimum), .number) where value.wholeNumber != nil:
            return Self.violations(of: value, path, minimum)
        case (.array(let form), .array(let items)):
            return items.enumerated().flatMap { form.violations(of: $0.element, at: "\(path)/\($0.offset)") }
        default: return [.wrongType(path, typeName)]
        }
    }

    private static func violations(of value: JSONValue, _ path: String, _ minimum: Int?) -> [Violation] {
        guard let minimum, let number = value.doubleValue, number < Double(minimum) else { return [] }
        return [.tooSmall(path, minimum)]
    }

    private var typeName: String { json["type"]?.stringValue ?? "any" }
}

extension JSONValue {
    /// A number without a fraction that fits, however it is written: `3`, `3.0`, `3e0`.
    var wholeNumber: Int? {
        if let value = intValue { return Int(exactly: value) }
        return doubleValue.flatMap { Int(exactly: $0) }
    }
}

/// The parameters of a method: their names and forms.
struct ParameterList: Sendable {
    struct Member: Sendable {
        let name: String
        let form: Form
        let isRequired: Bool
        /// Filled in where it is missing.
        let standard: JSONValue?
    }

    let members: [Member]
    /// Whether further members are fine, because the object is passed on as a whole.
    var isOpen = false

    static let none = ParameterList(members: [])

    /// What is wrong with the parameters, all of it; nothing where they are fine.
    ///
    /// - Parameter isStrict: Whether unknown members are wrong.
    func violations(of parameters: JSONValue, isStrict: Bool) -> [Violation] {
        guard let object = parameters.objectValue else { return [.wrongType("", "object")] }
        var violations: [Violation] = []
        for member in members {
            if let value = object[member.name] {
                violations += member.form.violations(of: value, at: "/\(member.name)")
            } else if member.isRequired {
                violations.append(.missing(member.name))
            }
        }
        if isStrict { violations += unknownNames(in: object).map { .unknown($0) } }
        return violations
    }

    func unknownNames(in object: JSONObject) -> [String] {
        guard !isOpen else { return [] }
        let known = Set(members.map(\.name))
        return object.members.map(\.name).filter { !known.contains($0) }
    }

    /// The parameters with what is missing filled in, without unknown ones.
    func completed(_ parameters: JSONObject) -> JSONObject {
        var result = isOpen ? parameters : [:]
        for member in members { result[member.name] = parameters[member.name] ?? member.standard }
        return result
    }

    /// Each parameter as `system.methodSignature` shows it.
    var json: JSONObject {
        JSONObject(
            members.map { member in
                var json = member.form.json
                if !member.isRequired { json["optional"] = true }
                json["default"] = member.standard
                return JSONObject.Member(name: member.name, value: .object(json))
            })
    }
}

extension ParameterList: ExpressibleByArrayLiteral {
    init(arrayLiteral members: Member...) { self.members = members }
}

extension ParameterList.Member {
    static func required(_ name: String, _ form: Form) -> Self {
        Self(name: name, form: form, isRequired: true, standard: nil)
    }

    static func optional(_ name: String, _ form: Form, _ standard: JSONValue? = nil) -> Self {
        Self(name: name, form: form, isRequired: false, standard: standard)
    }
}
