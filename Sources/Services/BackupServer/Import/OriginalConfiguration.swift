import AccessControl
import BackupFormats
import Platform
package import StateDatabase

/// The configuration of a server of the original, taken over from its folder (`/etc/proxmox-backup`): users with their
/// passwords, tokens with their secrets, rights, datastores, jobs, remotes. Nothing in the folder is changed.
package struct OriginalConfiguration {
    /// What was taken over, and what was not.
    package struct Report: Sendable, Equatable {
        package var users = 0
        package var tokens = 0
        package var rights = 0
        package var datastores = 0
        package var jobs = 0
        package var remotes = 0
        /// One sentence for each thing that was left out or has to be known.
        package var remarks: [String] = []
    }

    private static let fileLimit = 16 << 20

    private let folder: String

    /// - Throws: ``BackupFailure`` of kind `noSuchObject` where there is no `user.cfg`.
    package init(folder: String) throws {
        self.folder = folder
        guard (try? FileSystem.exists("\(folder)/user.cfg")) == true else {
            throw BackupFailure(
                .noSuchObject, "\(folder) is not the configuration of a Proxmox Backup Server: it has no user.cfg")
        }
    }

    /// Adds everything to the state, in one transaction; what has the same name is replaced.
    ///
    /// - Throws: ``BackupFailure`` where a file cannot be read or understood; nothing is changed then.
    package func add(to database: StateDatabase) throws -> Report {
        let accounts = try sections("user.cfg")
        let (passwords, secrets) = (try secrets("shadow.json"), try secrets("token.shadow"))
        let rights = try text("acl.cfg")
        let stores = try sections("datastore.cfg")
        let jobs = [
            (ConfigSection.pruneJob, try sections("prune.cfg")), (.verifyJob, try sections("verification.cfg")),
            (.syncJob, try sections("sync.cfg")),
        ]
        let remotes = try sections("remote.cfg")
        return try database.write { writer in
            var report = Report()
            try Self.addAccounts(accounts, passwords, secrets, writer, &report)
            try Self.addRights(rights, writer, &report)
            try Self.addStores(stores, writer, &report)
            for (section, list) in jobs {
                for job in list {
                    try writer.put(ConfigEntry(id: job.id, properties: job.json(without: ["id"])), in: section)
                    report.jobs += 1
                }
            }
            try Self.addRemotes(remotes, writer, &report)
            return report
        }
    }

    // MARK: Files

    /// Empty where there is no such file.
    private func text(_ name: String) throws -> String {
        do {
            return try FileSystem.readIfPresent("\(folder)/\(name)", limit: Self.fileLimit)
                .map { String(decoding: $0, as: UTF8.self) } ?? ""
        } catch {
            throw error.failure("\(folder)/\(name) cannot be read")
        }
    }

    private func sections(_ name: String) throws -> [SectionConfig.Section] {
        do {
            return try SectionConfig(parsing: try text(name)).sections
        } catch let error as FormatError {
            throw BackupFailure(.corruptData, "\(folder)/\(name) cannot be understood", cause: error)
        }
    }

    private func secrets(_ name: String) throws -> [String: String] {
        let text = try text(name)
        guard !text.isEmpty else { return [:] }
        guard let object = (try? JSONValue(parsing: text))?.objectValue else {
            throw BackupFailure(.corruptData, "\(folder)/\(name) is no JSON object")
        }
        return object.members.reduce(into: [:]) { $0[$1.name] = $1.value.stringValue }
    }

    // MARK: Parts

    private static func addAccounts(
        _ sections: [SectionConfig.Section], _ passwords: [String: String], _ secrets: [String: String],
        _ writer: StateWriter, _ report: inout Report
    ) throws {
        for section in sections {
            guard let id = AuthID(parsing: section.id), id.isToken == (section.type == "token") else {
                report.remarks.append("\(section.type) '\(section.id)' was left out: that is no possible name")
                continue
            }
            let isEnabled = section.value("enable").flatMap { SectionConfig.Section.boolean($0) } ?? true
            let expire = section.value("expire").flatMap { Int64($0) } ?? 0
            if id.isToken {
                guard let hash = secrets[section.id] else {
                    report.remarks.append("token '\(id)' was left out: it has no secret")
                    continue
                }
                try writer.put(
                    TokenRecord(
                        id: id, comment: section.value("comment"), isEnabled: isEnabled, expire: expire,
                        secretHash: hash))
                report.tokens += 1
                continue
            }
            let hash = id.realm == Realm.pbs.rawValue ? passwords[id.name] : nil
            if id.realm != Realm.pbs.rawValue, id != .root {
                report.remarks.append(
                    "user '\(id)' cannot log in: realm \(id.realm) has no passwords here; tokens of the user work")
            }
            try writer.put(
                UserRecord(
                    id: id, comment: section.value("comment"), isEnabled: isEnabled, expire: expire,
                    firstName: section.value("firstname"), lastName: section.value("lastname"),
                    email: section.value("email"), passwordHash: hash))
            report.users += 1
        }
    }

    /// Lines `acl:PROPAGATE:PATH:SUBJECTS:ROLES`. (Spec: rest D.8.)
    private static func addRights(_ text: String, _ writer: StateWriter, _ report: inout Report) throws {
        for line in text.split(separator: "\n") where !line.allSatisfy(\.isWhitespace) {
            let fields = line.split(separator: ":", omittingEmptySubsequences: false)
            guard fields.count == 5, fields[0] == "acl", let path = AccessPath(parsing: String(fields[2])) else {
                throw BackupFailure(.corruptData, "acl.cfg has a line that cannot be understood: '\(line.prefix(120))'")
            }
            for subject in fields[3].split(separator: ",") {
                guard let id = AuthID(parsing: subject) else {
                    report.remarks.append("the rights of '\(subject)' on \(path) were left out: there are no groups")
                    continue
                }
                for role in fields[4].split(separator: ",") {
                    guard let known = Role(rawValue: String(role)) else {
                        report.remarks.append("role '\(role)' of '\(id)' on \(path) was left out: it is not known")
                        continue
                    }
                    try writer.put(
                        ACLRecord(
                            path: "\(path)", subject: id, role: known.rawValue, propagates: fields[1] != "0"))
                    report.rights += 1
                }
            }
        }
    }

    private static func addStores(
        _ sections: [SectionConfig.Section], _ writer: StateWriter, _ report: inout Report
    ) throws {
        for section in sections {
            guard let path = section.value("path"), section.value("backend").map({ $0.contains("s3") }) != true else {
                report.remarks.append("datastore '\(section.id)' was left out: it does not lie in a folder")
                continue
            }
            guard section.value("backing-device") == nil else {
                report.remarks.append("datastore '\(section.id)' was left out: it lies on a removable device")
                continue
            }
            try writer.put(
                DatastoreRecord(name: section.id, path: path, properties: section.json(without: ["name", "path"])))
            report.datastores += 1
        }
    }

    /// Passwords are in base64 in the file. (Spec: rest E.5.)
    private static func addRemotes(
        _ sections: [SectionConfig.Section], _ writer: StateWriter, _ report: inout Report
    ) throws {
        for section in sections {
            guard let encoded = section.value("password"), let password = Base64.decode(encoded) else {
                report.remarks.append("remote '\(section.id)' was left out: its password cannot be read")
                continue
            }
            var properties = section.json(without: ["name", "password", "userid"])
            // Its name in old releases.
            if properties["auth-id"] == nil { properties["auth-id"] = section.value("userid").map { .string($0) } }
            try writer.put(ConfigEntry(id: section.id, properties: properties), in: .remote)
            try writer.put(
                ConfigEntry(
                    id: section.id, properties: ["password": .string(String(decoding: password, as: UTF8.self))]),
                in: RemoteRegistry.secrets)
            report.remotes += 1
        }
    }
}
