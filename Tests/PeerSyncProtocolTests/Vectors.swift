import BackupFormats
import CairnTestSupport
import Foundation
import PeerSyncProtocol
import Testing

/// The vectors that the original program made.
enum Vectors {
    static func load(_ name: String) throws -> JSONValue {
        try JSONValue(parsing: Array(Data(contentsOf: Fixtures.url("backrest/\(name).json"))))
    }
}

extension JSONValue {
    func list(_ name: String) throws -> [JSONValue] { try #require(self[name]?.arrayValue) }
    func text(_ name: String) throws -> String { try #require(self[name]?.stringValue) }
    func flag(_ name: String) throws -> Bool {
        let value = self[name]?.boolValue
        return try #require(value as Bool?, "\(name)")
    }
    func hex(_ name: String) throws -> [UInt8] { try #require(Hex.decode(try text(name))) }
    func object(_ name: String) throws -> JSONValue { try #require(self[name]) }
}
