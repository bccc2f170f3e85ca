package import Platform
package import Tasks
package import XenBackup

/// What the methods work with.
package struct ProxyServices: Sendable {
    let xen: any XenService
    let trees: TaskTrees
    let tokens: TokenStore
    let workers: WorkerPool

    package init(xen: any XenService, trees: TaskTrees, tokens: TokenStore, workers: WorkerPool) {
        self.xen = xen
        self.trees = trees
        self.tokens = tokens
        self.workers = workers
    }
}
