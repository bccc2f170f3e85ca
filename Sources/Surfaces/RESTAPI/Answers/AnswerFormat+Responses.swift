import AccessControl
import BackupFormats
import BackupProtocol
import ManagementAPI

extension AnswerFormat {
    /// The answer to a call that went well. (Spec: rest F.2, F.3.)
    func success(
        _ data: JSONValue, beside: JSONObject = [:], headers: [(name: String, value: String)] = []
    ) -> RESTResponse {
        var object: JSONObject = ["data": data]
        for member in beside.members { object[member.name] = member.value }
        if self == .extjs {
            object["status"] = 200
            object["success"] = true
        }
        return Self.response(200, .object(object), headers)
    }

    /// The answer to a call that was refused: the text with its status, or, in `extjs`, a description with status 200.
    func failure(_ refusal: Refusal) -> RESTResponse {
        let headers = Self.headers(of: refusal.status)
        guard self == .extjs else {
            return RESTResponse(
                status: refusal.status, headers: [("content-type", BackupResponse.jsonType)] + headers,
                body: .bytes(Array(refusal.text.utf8)))
        }
        let isVerification = !refusal.parameters.isEmpty
        let errors = JSONObject(refusal.parameters.map { .init(name: $0.name, value: .string($0.reason)) })
        return Self.response(
            200,
            [
                "message": .string(isVerification ? "parameter verification errors" : refusal.text),
                "errors": .object(errors), "success": false, "status": .integer(refusal.status),
            ], headers)
    }

    /// The answer to a request that was refused before its format was known, or its credentials.
    static func plain(_ refusal: Refusal) -> RESTResponse {
        RESTResponse(
            status: refusal.status, headers: headers(of: refusal.status), body: .bytes(Array(refusal.text.utf8)))
    }

    private static func response(
        _ status: Int, _ value: JSONValue, _ headers: [(name: String, value: String)]
    ) -> RESTResponse {
        RESTResponse(
            status: status, headers: [("content-type", BackupResponse.jsonType)] + headers,
            body: .bytes(Array(value.compactText.utf8)))
    }

    /// A 401 takes the cookie away that did not help.
    private static func headers(of status: Int) -> [(name: String, value: String)] {
        status == 401 ? [("set-cookie", AuthCookie.clearing)] : []
    }
}
