import BackupFormats

/// What texts about users and tokens may look like. (Spec: rest D.6.)
enum AccountRules {
    static let passwordLength = 8...64
    static let nameLength = 2...64
    static let maxCommentLength = 128

    static func checkNewPassword(_ password: String) throws {
        guard passwordLength.contains(password.count), isPrintable(password) else {
            throw BackupFailure(
                .invalidInput,
                "A password has \(passwordLength.lowerBound) to \(passwordLength.upperBound) printable characters")
        }
    }

    static func checkComment(_ comment: String?) throws {
        guard let comment else { return }
        guard comment.count <= maxCommentLength, isPrintable(comment) else {
            throw BackupFailure(.invalidInput, "A comment is one line of at most \(maxCommentLength) characters")
        }
    }

    static func checkName(_ name: String?, _ what: String) throws {
        guard let name else { return }
        guard nameLength.contains(name.count), isPrintable(name) else {
            throw BackupFailure(
                .invalidInput, "\(what) is one line of \(nameLength.lowerBound) to \(nameLength.upperBound) characters")
        }
    }

    static func checkExpire(_ expire: Int64?) throws {
        guard (expire ?? 0) >= 0 else { throw BackupFailure(.invalidInput, "The time of expiry must not be negative") }
    }

    private static func isPrintable(_ text: String) -> Bool {
        text.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control }
    }
}
