import BackupFormats
import BackupProtocol
import CairnTestSupport
import Foundation
import ManagementAPI
import Testing

@Suite("The endpoints")
struct EndpointTests {
    @Test("each have a method and path of their own")
    func areUnique() {
        let names = Endpoint.all.map(\.name)
        #expect(Set(names).count == names.count)
    }

    @Test("name every parameter of their path")
    func namePathParameters() {
        for endpoint in Endpoint.all where endpoint.isBuilt {
            let braces = endpoint.path.split(separator: "/").filter { $0.hasPrefix("{") }.map {
                String($0.dropFirst().dropLast())
            }
            for name in braces {
                #expect(endpoint.parameters.contains { $0.name == name && !$0.isOptional }, "\(endpoint.name): \(name)")
            }
        }
    }

    @Test("name no parameter twice")
    func parametersAreUnique() {
        for endpoint in Endpoint.all {
            let names = endpoint.parameters.map(\.name)
            #expect(Set(names).count == names.count, "\(endpoint.name)")
        }
    }

    @Test("name only privileges that exist, on paths whose braces they have")
    func accessRules() {
        for endpoint in Endpoint.all {
            switch endpoint.access {
            case .privilege(_, let path), .selfOr(_, let path):
                for part in path.split(separator: "/") where part.hasPrefix("{") {
                    #expect(endpoint.path.contains(part), "\(endpoint.name): \(part)")
                }
            case .owned:
                #expect(endpoint.parameters.contains { $0.name == "ns" }, "\(endpoint.name)")
            case .world, .anybody: break
            }
        }
    }

    @Test("take what the open request of sessions takes")
    func sessionParameters() {
        for (path, id) in [("/backup", ProtocolID.backup), ("/reader", .reader)] {
            for endpoint in Endpoint.all where endpoint.path == path {
                let ours = endpoint.schema.parameters.map { "\($0.name) \($0.isOptional)" }
                let theirs = OpenRequest.schema(of: id).parameters.map { "\($0.name) \($0.isOptional)" }
                #expect(Set(ours) == Set(theirs), "\(endpoint.name)")
            }
        }
    }

    @Test("are written down in docs/reference/api.md; CAIRN_REWRITE=1 writes it anew")
    func referenceIsCurrent() throws {
        let file = Fixtures.folder.appending(path: "../../docs/reference/api.md").standardizedFileURL
        if rewritesGoldenFiles { try APIReference.page.write(to: file, atomically: true, encoding: .utf8) }
        #expect(try String(contentsOf: file, encoding: .utf8) == APIReference.page)
    }
}
