// swift-tools-version: 6.2
import PackageDescription

/// How every target is built. A target that differs says why, next to its entry.
let house: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

/// `ByteReader` stores a `RawSpan`; a type that does needs this feature.
let lifetimes: [SwiftSetting] = house + [.enableExperimentalFeature("Lifetimes")]

// The floors, from the bottom up. Imports go down only; `Tidy` and the
// dependency lists below keep it so.

let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let nioHTTP1 = Target.Dependency.product(name: "NIOHTTP1", package: "swift-nio")
let nioTLS = Target.Dependency.product(name: "NIOTLS", package: "swift-nio")
let nioConcurrency = Target.Dependency.product(name: "NIOConcurrencyHelpers", package: "swift-nio")
let nioEmbedded = Target.Dependency.product(name: "NIOEmbedded", package: "swift-nio")
let nioHTTP2 = Target.Dependency.product(name: "NIOHTTP2", package: "swift-nio-http2")
let nioHPACK = Target.Dependency.product(name: "NIOHPACK", package: "swift-nio-http2")
let nioSSL = Target.Dependency.product(name: "NIOSSL", package: "swift-nio-ssl")
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let cryptoExtras = Target.Dependency.product(name: "CryptoExtras", package: "swift-crypto")
let x509 = Target.Dependency.product(name: "X509", package: "swift-certificates")
let asn1 = Target.Dependency.product(name: "SwiftASN1", package: "swift-asn1")
let grdb = Target.Dependency.product(name: "GRDB", package: "GRDB.swift")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let lifecycle = Target.Dependency.product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let unixSignals = Target.Dependency.product(name: "UnixSignals", package: "swift-service-lifecycle")
let asyncHTTPClient = Target.Dependency.product(name: "AsyncHTTPClient", package: "async-http-client")
let protobuf = Target.Dependency.product(name: "SwiftProtobuf", package: "swift-protobuf")
let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")

/// A target of ours on `floor`, with the settings of the house.
func room(
    _ name: String, on floor: String, _ dependencies: [Target.Dependency] = [], settings: [SwiftSetting] = house
) -> Target {
    .target(name: name, dependencies: dependencies, path: "Sources/\(floor)/\(name)", swiftSettings: settings)
}

/// The tests of one target.
func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(
        name: "\(name)Tests", dependencies: dependencies + ["CairnTestSupport"], path: "Tests/\(name)Tests",
        swiftSettings: lifetimes)
}

let foundations: [Target] = [
    room("BackupFormats", on: "Foundations", [crypto], settings: lifetimes),
    room("Chunking", on: "Foundations", ["BackupFormats"]),
    room("Pxar", on: "Foundations", ["BackupFormats"], settings: lifetimes),
    room("BlobCoding", on: "Foundations", ["BackupFormats", "CZstd", "CDeflate", crypto], settings: lifetimes),
    room(
        "BlobEncryption", on: "Foundations", ["BackupFormats", "BlobCoding", crypto, cryptoExtras, asn1],
        settings: lifetimes),
    room("VirtualDisks", on: "Foundations", ["BackupFormats", crypto], settings: lifetimes),
]

let storage: [Target] = [
    room("Platform", on: "Storage", ["BackupFormats", "CLinux"]),
    room(
        "Datastore", on: "Storage", ["BackupFormats", "BlobCoding", "Platform", crypto, logging], settings: lifetimes),
    room("StateDatabase", on: "Storage", ["BackupFormats", "Platform", grdb, crypto]),
]

let protocols: [Target] = [
    room("BackupProtocol", on: "Protocols", ["BackupFormats", crypto]),
    room(
        "BackupHTTP2", on: "Protocols",
        [
            "BackupFormats", "BackupProtocol", nioCore, nioPosix, nioHTTP1, nioTLS, nioConcurrency, nioHTTP2, nioHPACK,
            nioSSL, crypto, logging,
        ]),
    room("ManagementAPI", on: "Protocols", ["BackupFormats", "BackupProtocol"]),
    room(
        "XenAPI", on: "Protocols",
        ["BackupFormats", asyncHTTPClient, nioCore, nioPosix, nioHTTP1, nioSSL, nioConcurrency, logging]),
    .target(
        name: "PeerSyncProtocol", dependencies: ["BackupFormats", protobuf, crypto],
        path: "Sources/Protocols/PeerSyncProtocol", exclude: ["Schema"], swiftSettings: lifetimes),
]

let services: [Target] = [
    room(
        "AccessControl", on: "Services",
        ["BackupFormats", "StateDatabase", "Platform", "CCrypt", crypto, cryptoExtras, logging]),
    room("Tasks", on: "Services", ["BackupFormats", "StateDatabase", "Platform", logging]),
    room(
        "BackupClient", on: "Services",
        [
            "BackupFormats", "Chunking", "Pxar", "BlobCoding", "BlobEncryption", "Platform", "BackupProtocol", crypto,
            logging,
        ], settings: lifetimes),
    room(
        "BackupServer", on: "Services",
        [
            "BackupFormats", "BlobCoding", "Datastore", "BackupProtocol", "AccessControl", "Tasks", "StateDatabase",
            "Platform", crypto, logging,
        ], settings: lifetimes),
    room(
        "ObjectStorage", on: "Services",
        ["BackupFormats", "Platform", asyncHTTPClient, nioCore, nioPosix, nioHTTP1, nioSSL, crypto, logging]),
    room(
        "PeerSync", on: "Services",
        [
            "BackupFormats", "PeerSyncProtocol", "AccessControl", "Tasks", "StateDatabase", "BackupServer", "Datastore",
            "Platform", protobuf, crypto, logging,
        ]),
    room(
        "XenBackup", on: "Services",
        [
            "BackupFormats", "BlobCoding", "VirtualDisks", "XenAPI", "ObjectStorage", "BackupClient", "BackupProtocol",
            "BackupServer", "Datastore", "AccessControl", "Tasks", "StateDatabase", "Platform", crypto, logging,
        ], settings: lifetimes),
]

let surfaces: [Target] = [
    room(
        "Listener", on: "Surfaces",
        [
            "BackupFormats", "BackupProtocol", "BackupHTTP2", "ManagementAPI", "Platform", nioCore, nioPosix, nioTLS,
            nioConcurrency, nioSSL, x509, asn1, crypto, lifecycle, logging,
        ]),
    room(
        "RESTAPI", on: "Surfaces",
        [
            "BackupFormats", "BackupProtocol", "ManagementAPI", "BackupServer", "AccessControl", "Tasks", "Datastore",
            "StateDatabase", "BlobCoding", "Pxar", "PeerSync", "PeerSyncProtocol", "Platform", protobuf, crypto,
            logging,
        ], settings: lifetimes),
    room(
        "XenOrchestraProxy", on: "Surfaces",
        [
            "BackupFormats", "BackupProtocol", "ManagementAPI", "XenBackup", "Tasks", "StateDatabase", "Platform",
            crypto,
            logging,
        ]),
    room(
        "PeerSyncEndpoint", on: "Surfaces",
        [
            "BackupFormats", "BlobCoding", "BackupProtocol", "BackupHTTP2", "ManagementAPI", "PeerSyncProtocol",
            "PeerSync", "AccessControl", "StateDatabase", "Tasks", "Platform", protobuf, crypto, logging,
        ]),
    room(
        "Commands", on: "Surfaces",
        [
            "BackupFormats", "BackupProtocol", "BackupClient", "BackupHTTP2", "ManagementAPI", "BlobCoding",
            "BlobEncryption", "Pxar", "Platform", crypto, nioCore, nioPosix, nioSSL, argumentParser, logging,
        ], settings: lifetimes),
]

let libraries: [Target] = [
    .target(name: "CLinux", path: "Sources/C/CLinux", publicHeadersPath: "include"),
    .systemLibrary(name: "CZstd", path: "Sources/C/CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
    .systemLibrary(
        name: "CDeflate", path: "Sources/C/CDeflate", pkgConfig: "libdeflate", providers: [.apt(["libdeflate-dev"])]),
    .systemLibrary(name: "CCrypt", path: "Sources/C/CCrypt", providers: [.apt(["libcrypt-dev"])]),
]

let programs: [Target] = [
    .executableTarget(
        name: "cairn",
        dependencies: [
            "Commands", "Listener", "BackupHTTP2", "BackupProtocol", "RESTAPI", "BackupServer", "AccessControl",
            "Tasks", "Datastore", "XenOrchestraProxy", "XenBackup", "PeerSync",
            "PeerSyncProtocol", "PeerSyncEndpoint", "StateDatabase", "BackupFormats", "Platform", argumentParser,
            lifecycle, unixSignals, logging,
        ],
        path: "Sources/Programs/cairn",
        swiftSettings: house),
    // In this package and not in one of its own, because what it measures is `package`, not `public`.
    .executableTarget(
        name: "cairn-bench",
        dependencies: [
            "BackupFormats", "BlobCoding", "Chunking", "Datastore", "PeerSync", "PeerSyncProtocol", "PeerSyncEndpoint",
            "StateDatabase", "Platform", protobuf, crypto, logging,
        ],
        path: "Benchmarks/Kernels", swiftSettings: house),
]

let testTargets: [Target] = [
    .target(
        name: "CairnTestSupport", dependencies: ["BackupFormats", "Datastore", "BlobCoding", "Platform", crypto],
        path: "Tests/CairnTestSupport", swiftSettings: lifetimes),
    tests("BackupFormats", ["BackupFormats"]),
    tests("Chunking", ["Chunking", "BackupFormats", crypto]),
    tests("Pxar", ["Pxar", "BackupFormats"]),
    tests("BlobCoding", ["BlobCoding", "BackupFormats"]),
    tests("BlobEncryption", ["BlobEncryption", "BlobCoding", "BackupFormats", crypto]),
    tests("Platform", ["Platform", "BackupFormats"]),
    tests("Datastore", ["Datastore", "BackupFormats", "BlobCoding", "Platform"]),
    tests("StateDatabase", ["StateDatabase", "BackupFormats", "Platform", grdb]),
    tests("BackupProtocol", ["BackupProtocol", "BackupFormats"]),
    tests(
        "BackupHTTP2",
        ["BackupHTTP2", "BackupProtocol", nioCore, nioPosix, nioHTTP1, nioHTTP2, nioHPACK, nioSSL, nioEmbedded]),
    tests("ManagementAPI", ["ManagementAPI", "BackupProtocol", "BackupFormats"]),
    tests("AccessControl", ["AccessControl", "StateDatabase", "BackupFormats", "Platform", logging]),
    tests("Tasks", ["Tasks", "StateDatabase", "BackupFormats", "Platform", logging]),
    tests(
        "BackupClient",
        [
            "BackupClient", "BackupServer", "BackupProtocol", "BackupFormats", "Datastore", "Pxar", "Chunking",
            "BlobCoding", "BlobEncryption", "Platform", "AccessControl", "Tasks", "StateDatabase", logging,
        ]),
    tests(
        "BackupServer",
        [
            "BackupServer", "BackupProtocol", "BackupFormats", "Datastore", "BlobCoding", "AccessControl", "Tasks",
            "StateDatabase", "Platform", crypto,
        ]),
    tests(
        "Listener",
        [
            "Listener", "BackupHTTP2", "BackupProtocol", "BackupFormats", "ManagementAPI", "Platform", nioCore,
            nioPosix,
            nioHTTP1, nioHTTP2, nioHPACK, nioSSL, x509, logging,
        ]),
    tests(
        "RESTAPI",
        [
            "RESTAPI", "ManagementAPI", "BackupServer", "BackupProtocol", "BackupFormats", "Datastore", "AccessControl",
            "Tasks", "StateDatabase", "BlobCoding", "PeerSync", "PeerSyncProtocol", "Platform", logging,
        ]),
    tests(
        "Commands",
        ["Commands", "BackupFormats", "ManagementAPI", "BackupClient", "BlobEncryption", "Platform", argumentParser]),
    tests("VirtualDisks", ["VirtualDisks", "BackupFormats", "Platform", crypto]),
    tests(
        "PeerSync",
        [
            "PeerSync", "PeerSyncProtocol", "BackupFormats", "BackupServer", "Datastore", "AccessControl", "Tasks",
            "StateDatabase", "Platform", protobuf, logging,
        ]),
    tests(
        "PeerSyncEndpoint",
        [
            "PeerSyncEndpoint", "PeerSync", "PeerSyncProtocol", "Listener", "BackupHTTP2", "ManagementAPI",
            "BackupProtocol", "BackupFormats", "BlobCoding", "AccessControl", "StateDatabase", "Platform", protobuf,
            nioCore, nioPosix, nioHTTP2, nioHPACK, nioSSL, logging,
        ]),
    tests("PeerSyncProtocol", ["PeerSyncProtocol", "BackupFormats", protobuf, crypto]),
    tests("XenAPI", ["XenAPI", "BackupFormats", nioCore, nioPosix, nioHTTP1]),
    tests("ObjectStorage", ["ObjectStorage", "BackupFormats", "Platform"]),
    tests(
        "XenBackup",
        [
            "XenBackup", "VirtualDisks", "XenAPI", "ObjectStorage", "BackupServer", "BackupClient", "BackupProtocol",
            "BackupFormats", "Datastore", "BlobCoding", "AccessControl", "Tasks", "StateDatabase", "Platform", logging,
        ]),
    tests(
        "XenOrchestraProxy",
        [
            "XenOrchestraProxy", "XenBackup", "ManagementAPI", "BackupProtocol", "BackupFormats", "Tasks",
            "StateDatabase", "Platform", logging,
        ]),
    .testTarget(name: "Tidy", path: "Tests/Tidy", swiftSettings: house),
]

let package = Package(
    name: "cairn",
    products: [
        .executable(name: "cairn", targets: ["cairn"]),
        .library(name: "CairnClient", targets: ["BackupClient", "BackupHTTP2"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", exact: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-http2", exact: "1.46.0"),
        .package(url: "https://github.com/apple/swift-nio-ssl", exact: "2.37.6"),
        .package(url: "https://github.com/apple/swift-crypto", exact: "4.5.2"),
        .package(url: "https://github.com/apple/swift-certificates", exact: "1.21.1"),
        .package(url: "https://github.com/apple/swift-asn1", exact: "1.7.4"),
        .package(url: "https://github.com/apple/swift-log", exact: "1.16.2"),
        .package(url: "https://github.com/apple/swift-protobuf", exact: "1.39.0"),
        .package(url: "https://github.com/swift-server/async-http-client", exact: "1.37.0"),
        .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", exact: "2.13.0"),
        .package(url: "https://github.com/groue/GRDB.swift", exact: "7.10.0"),
    ],
    targets: foundations + storage + protocols + services + surfaces + libraries + programs + testTargets
)
