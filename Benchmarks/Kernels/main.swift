// What is measured: `cairn-bench` the hot paths, `cairn-bench gc` the garbage collection of a datastore,
// `cairn-bench verify` its verification, `cairn-bench peers-manifest` a hub's work on a large manifest, `cairn-bench
// peers-crowd CAIRN [MEMBERS [SECONDS]]` that program with a thousand members.

import PeerSync
import Platform

MemoryTuning.keepBigBlocks()
let arguments = Array(CommandLine.arguments.dropFirst())
switch arguments.first {
case nil: measureHotPaths()
case "gc": try CollectionBench(chunkCount: arguments.dropFirst().first.flatMap { Int($0) } ?? 1_000_000).run()
case "verify": try VerifyBench().run()
case "peers-manifest": try await PeersManifestBench().run()
case "peers-crowd":
    let numbers = arguments.dropFirst(2).compactMap { Int($0) }
    try await PeersCrowdBench(
        program: arguments.dropFirst().first ?? ".build/release/cairn",
        memberCount: numbers.first ?? PeerLimits.members,
        seconds: numbers.dropFirst().first ?? 60
    ).run()
case let word?: print("There is no benchmark '\(word)'")
}
