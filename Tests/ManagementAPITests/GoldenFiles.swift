import Foundation

/// Whether tests replace the files that they compare with.
let rewritesGoldenFiles = ProcessInfo.processInfo.environment["CAIRN_REWRITE"] != nil
