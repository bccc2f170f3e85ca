import BackupFormats

/// One thing that is wrong with parameters, in the words of JSON Schema's validators. (Spec: xo-proxy §1.10.)
struct Violation: Sendable, Equatable {
    let path: String
    let keyword: String
    let message: String
    let parameters: JSONObject

    init(path: String, keyword: String, _ message: String, _ parameters: JSONObject = [:]) {
        self.path = path
        self.keyword = keyword
        self.message = message
        self.parameters = parameters
    }

    static func missing(_ name: String) -> Violation {
        Violation(
            path: "", keyword: "required", "must have required property '\(name)'", ["missingProperty": .string(name)])
    }

    static func unknown(_ name: String) -> Violation {
        Violation(
            path: "", keyword: "additionalProperties", "must NOT have additional properties",
            ["additionalProperty": .string(name)])
    }

    static func wrongType(_ path: String, _ type: String) -> Violation {
        Violation(path: path, keyword: "type", "must be \(type)", ["type": .string(type)])
    }

    static func tooShort(_ path: String, _ length: Int) -> Violation {
        Violation(
            path: path, keyword: "minLength", "must NOT have fewer than \(length) characters",
            ["limit": .integer(length)])
    }

    static func tooSmall(_ path: String, _ minimum: Int) -> Violation {
        Violation(
            path: path, keyword: "minimum", "must be >= \(minimum)",
            ["comparison": ">=", "limit": .integer(minimum)])
    }

    var json: JSONValue {
        [
            "instancePath": .string(path), "keyword": .string(keyword), "message": .string(message),
            "params": .object(parameters),
        ]
    }
}
