// What is measured: `cairn-bench` the hot paths, `cairn-bench gc` the garbage collection of a datastore,
// `cairn-bench verify` its verification, `cairn-bench peers-manifest` a hub's work on a large manifest, `cairn-bench

import Platform

MemoryTuning.keepBigBlocks()
let arguments = Array(CommandLine.arguments.dropFirst())
switch arguments.first {
case nil: measureHotPaths()
case "gc": try CollectionBench(chunkCount: arguments.dropFirst().first.flatMap { Int($0) } ?? 1_000_000).run()
case "verify": try VerifyBench().run()
case "peers-manifest": try await PeersManifestBench().run()
case let word?: print("There is no benchmark '\(word)'")
}
