import PeerSync
import PeerSyncProtocol
import Synchronization

/// Bounds what those cost who have not proved who they are: how many of their sessions are open, and how often an address
/// opens one. (Spec: backrest-sync §6.2.)
package final class StrangerGate: Sendable {
    package struct Limits: Sendable {
        package var openPerAddress = PeerLimits.strangersPerAddress
        package var open = PeerLimits.strangers
        /// Sessions that an address may open at once before it has to wait. Those that end up trusted do not count.
        package var burst = 120
        /// Further ones, each second.
        package var perSecond = 10.0
        /// Addresses that are remembered.
        package var addresses = 4096

        package init() {}
    }

    private struct Address {
        var open = 0
        var allowance: Double
        var last: ContinuousClock.Instant
    }

    private struct State {
        var open = 0
        var addresses: [String: Address] = [:]
    }

    /// The right to one session, until it is trusted or over.
    final class Place: Sendable {
        private let gate: StrangerGate
        private let address: String
        private let isHeld = Atomic(true)

        fileprivate init(in gate: StrangerGate, of address: String) {
            self.gate = gate
            self.address = address
        }

        deinit { leave() }

        func leave() {
            if isHeld.exchange(false, ordering: .relaxed) { gate.leave(address, wasTrusted: false) }
        }

        /// It was no stranger at all.
        func trust() {
            if isHeld.exchange(false, ordering: .relaxed) { gate.leave(address, wasTrusted: true) }
        }
    }

    private let limits: Limits
    private let state = Mutex(State())

    package init(limits: Limits = Limits()) { self.limits = limits }

    var rememberedAddresses: Int { state.withLock { $0.addresses.count } }

    /// - Parameter address: Whom it counts against.
    /// - Throws: ``PeerSyncFailure`` (`tooLarge`) where there are too many.
    func enter(_ address: String, at now: ContinuousClock.Instant) throws(PeerSyncFailure) -> Place {
        let refusal = state.withLock { state -> String? in
            guard state.open < limits.open else { return "too many sessions that have not proved who they are" }
            if state.addresses[address] == nil { makeRoom(in: &state, at: now) }
            var entry = state.addresses[address] ?? Address(allowance: Double(limits.burst), last: now)
            refill(&entry, at: now)
            defer { state.addresses[address] = entry }
            guard entry.open < limits.openPerAddress else {
                return "too many sessions of this address that have not proved who they are"
            }
            guard entry.allowance >= 1 else { return "too many sessions of this address in a short time" }
            entry.allowance -= 1
            entry.open += 1
            state.open += 1
            return nil
        }
        if let refusal { throw PeerSyncFailure(.tooLarge, refusal) }
        return Place(in: self, of: address)
    }

    private func leave(_ address: String, wasTrusted: Bool) {
        state.withLock { state in
            state.open -= 1
            // Who has an open session is never forgotten.
            state.addresses[address]?.open -= 1
            if wasTrusted { state.addresses[address]?.allowance += 1 }
        }
    }

    private func refill(_ entry: inout Address, at now: ContinuousClock.Instant) {
        guard now > entry.last else { return }
        let seconds = (now - entry.last) / .seconds(1)
        entry.allowance = min(Double(limits.burst), entry.allowance + seconds * limits.perSecond)
        entry.last = now
    }

    /// Forgets who has nothing open and has waited longest, if somebody must go.
    private func makeRoom(in state: inout State, at now: ContinuousClock.Instant) {
        guard state.addresses.count >= limits.addresses else { return }
        let wait = Double(limits.burst) / limits.perSecond
        let rested = state.addresses.filter { $0.value.open > 0 || (now - $0.value.last) / .seconds(1) < wait }
        guard rested.count == state.addresses.count else {
            state.addresses = rested
            return
        }
        if let oldest = rested.filter({ $0.value.open == 0 }).min(by: { $0.value.last < $1.value.last }) {
            state.addresses[oldest.key] = nil
        }
    }
}
