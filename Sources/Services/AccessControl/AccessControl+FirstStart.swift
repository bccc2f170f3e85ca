package import BackupFormats
import Platform
import StateDatabase

/// The first user and the password that nobody has seen yet.
package struct FirstStart: Sendable {
    package let userID: AuthID
    package let password: String
}

extension AccessControl {
    /// Holds the first password where no terminal could show it.
    package static let initialPasswordFile = "initial-admin-password"
    private static let passwordLength = 20
    /// Digits and letters that are not taken for one another; 32 of them, so that five random bits choose one.
    private static let passwordLetters = Array("23456789abcdefghijkmnpqrstuvwxyz")

    /// Makes `admin@pbs` with Admin on `/` and a random password where there is no user yet. (Decision 9.)
    ///
    /// - Returns: Nil where there are users. Otherwise the caller prints the password on a terminal, or calls
    ///   ``writeInitialPassword(_:)`` and prints the path.
    package func prepareFirstStart() async throws -> FirstStart? {
        guard try await database.read({ try $0.users().isEmpty }), let admin = AuthID(parsing: "admin@pbs") else {
            return nil
        }
        let letters = try SystemRandom.bytes(Self.passwordLength).map { Self.passwordLetters[Int($0 & 31)] }
        let password = String(letters)
        let hash = try await hashing.hash(password)
        let isFirst = try change { writer, _ in
            guard try writer.users().isEmpty else { return false }
            try writer.put(UserRecord(id: admin, comment: "First administrator", passwordHash: hash))
            try writer.put(ACLRecord(path: "/", subject: admin, role: Role.admin.rawValue, propagates: true))
            return true
        }
        return isFirst ? FirstStart(userID: admin, password: password) : nil
    }

    /// Writes the password to a file of mode 0600 in the state folder.
    ///
    /// - Returns: The path of the file.
    package func writeInitialPassword(_ first: FirstStart) throws -> String {
        try database.folder.replace(Self.initialPasswordFile, with: Array("\(first.password)\n".utf8))
        return database.folder.path(of: Self.initialPasswordFile)
    }
}
