package import Datastore
import Platform
import Synchronization

/// Makes something happen when a store comes by a chosen step, once: `options.beforeStep = fault.hook`.
package final class StepFault: Sendable {
    private struct Armed {
        var step: StoreStep
        var action: @Sendable () throws -> Void
    }

    private let armed = Mutex<Armed?>(nil)
    private let visited = Mutex<[StoreStep]>([])

    package init() {}

    /// Fails at the next visit of `step`, as a system call would.
    package func arm(_ step: StoreStep, _ error: any Error = SystemError("fault", "injected", code: 5)) {
        arm(step) { throw error }
    }

    /// Does `action` at the next visit of `step`.
    package func arm(_ step: StoreStep, action: @escaping @Sendable () throws -> Void) {
        armed.withLock { $0 = Armed(step: step, action: action) }
    }

    /// The steps in the order in which the store came by.
    package var steps: [StoreStep] { visited.withLock { $0 } }

    package var hook: @Sendable (StoreStep) throws -> Void {
        { step in
            self.visited.withLock { $0.append(step) }
            let action = self.armed.withLock { armed -> (@Sendable () throws -> Void)? in
                guard let fault = armed, fault.step == step else { return nil }
                armed = nil
                return fault.action
            }
            try action?()
        }
    }
}
