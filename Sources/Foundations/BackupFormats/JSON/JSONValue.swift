/// A JSON document that keeps what others would lose: the order of members and
/// the literal of each number. What is signed or handed through stays as it came.
///
/// Members of an object are unique; the parser refuses duplicates.
package enum JSONValue: Hashable, Sendable {
    case null
    case bool(Bool)
    /// The literal as it stood, for example `1`, `-0.5` or `1e3`.
    case number(String)
    case string(String)
    case array([JSONValue])
    case object(JSONObject)

    package static func integer(_ value: some BinaryInteger) -> JSONValue { .number(String(value)) }

    /// The member of that name, where this is an object that has it.
    package subscript(_ name: String) -> JSONValue? {
        if case .object(let object) = self { object[name] } else { nil }
    }

    package var stringValue: String? { if case .string(let text) = self { text } else { nil } }
    package var boolValue: Bool? { if case .bool(let value) = self { value } else { nil } }
    /// The value of a number whose literal is a plain integer that fits.
    package var intValue: Int64? { if case .number(let literal) = self { Int64(literal) } else { nil } }
    package var doubleValue: Double? { if case .number(let literal) = self { Double(literal) } else { nil } }
    package var arrayValue: [JSONValue]? { if case .array(let items) = self { items } else { nil } }
    package var objectValue: JSONObject? { if case .object(let object) = self { object } else { nil } }
    package var isNull: Bool { self == .null }
}

/// The members of a JSON object, in order.
package struct JSONObject: Hashable, Sendable, ExpressibleByDictionaryLiteral {
    package struct Member: Hashable, Sendable {
        package var name: String
        package var value: JSONValue

        package init(name: String, value: JSONValue) {
            self.name = name
            self.value = value
        }
    }

    package private(set) var members: [Member]

    package init() { members = [] }

    /// Later members of the same name replace earlier ones.
    package init(_ members: [Member]) {
        self.members = []
        for member in members { self[member.name] = member.value }
    }

    /// From members whose names are known to be unique; the parser has checked them.
    init(uniqueMembers: [Member]) { members = uniqueMembers }

    package init(dictionaryLiteral elements: (String, JSONValue)...) {
        self.init(elements.map { Member(name: $0.0, value: $0.1) })
    }

    package subscript(_ name: String) -> JSONValue? {
        get { members.first { $0.name == name }?.value }
        set {
            let index = members.firstIndex { $0.name == name }
            switch (index, newValue) {
            case (let index?, let value?): members[index].value = value
            case (let index?, nil): members.remove(at: index)
            case (nil, let value?): members.append(Member(name: name, value: value))
            case (nil, nil): break
            }
        }
    }

    /// The same members with each object inside sorted by name in byte order.
    package func sorted() -> JSONObject {
        JSONObject(
            uniqueMembers: members.map { Member(name: $0.name, value: $0.value.sorted()) }
                .sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) })
    }
}

extension JSONValue {
    /// The same document with the members of each object sorted by name in byte order.
    package func sorted() -> JSONValue {
        switch self {
        case .object(let object): .object(object.sorted())
        case .array(let items): .array(items.map { $0.sorted() })
        default: self
        }
    }
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral,
    ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral, ExpressibleByNilLiteral
{
    package init(stringLiteral value: String) { self = .string(value) }
    package init(integerLiteral value: Int) { self = .integer(value) }
    package init(booleanLiteral value: Bool) { self = .bool(value) }
    package init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
    package init(dictionaryLiteral elements: (String, JSONValue)...) {
        self = .object(JSONObject(elements.map { JSONObject.Member(name: $0.0, value: $0.1) }))
    }
    package init(nilLiteral: ()) { self = .null }
}
