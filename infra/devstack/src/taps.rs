//! The plan and the record of a whole stack's taps: which process is killed where, and what
//! every process asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::gate::Gate;
use crate::tap::{KillPoint, Side, Turn, Wire};

/// Handed to a stack to tap its processes. Clones share one plan and one record.
#[derive(Debug, Clone, Default)]
pub struct Taps(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    plan: HashMap<(String, u32), KillPoint>,
    hold: Option<(String, u32, KillPoint, Gate)>,
    processes: Vec<(String, u32, Wire)>,
}

/// What one process did on its wires.
#[derive(Debug, Clone)]
pub struct ProcessRecord {
    /// Name of the program.
    pub program: String,
    /// The how-manieth start of that program this was, from 1.
    pub start: u32,
    /// Its questions in order.
    pub turns: Vec<Turn>,
    /// Whether it was killed by plan.
    pub killed: bool,
    /// Whether one of its connections was cut by plan.
    pub cut: bool,
}

impl Taps {
    /// No kills planned, nothing recorded.
    pub fn new() -> Self {
        Self::default()
    }

    /// Kills the `start`-th process of `program` (from 1) at `point`.
    pub fn kill(&self, program: &str, start: u32, point: KillPoint) {
        self.state().plan.insert((program.to_owned(), start), point);
    }

    /// Stops the `start`-th process of `program` (from 1) at `point` until [`Held::release`]:
    /// before, its question is not asked yet; after, its answer is under way. Other connections
    /// of it go on. Each call replaces the one before.
    pub fn hold(&self, program: &str, start: u32, point: KillPoint) -> Held {
        let gate = Gate::new();
        self.state().hold = Some((program.to_owned(), start, point, gate.clone()));
        Held(gate)
    }

    /// The starts of a program that still run, oldest first.
    pub fn living(&self, program: &str) -> Vec<u32> {
        let state = self.state();
        let living = state.processes.iter();
        living
            .filter(|(name, _, wire)| name == program && !wire.is_closed())
            .map(|(_, start, _)| *start)
            .collect()
    }

    /// Kills a running process now. False when it has ended.
    pub fn strike(&self, program: &str, start: u32) -> bool {
        self.on_living(program, start, Wire::strike)
    }

    /// Kills a running process at the next question it asks, or cuts that connection. False when
    /// it has ended.
    pub fn strike_next(&self, program: &str, start: u32, side: Side) -> bool {
        self.on_living(program, start, |wire| wire.strike_next(side))
    }

    /// Takes back everything planned that has not come to pass.
    pub fn spare_all(&self) {
        let mut state = self.state();
        state.plan.clear();
        for (_, _, wire) in &state.processes {
            wire.spare();
        }
    }

    fn on_living(&self, program: &str, start: u32, act: impl FnOnce(&Wire)) -> bool {
        let state = self.state();
        let process = state
            .processes
            .iter()
            .find(|(name, number, _)| name == program && *number == start);
        let living = process.filter(|(_, _, wire)| !wire.is_closed());
        if let Some((_, _, wire)) = living {
            act(wire);
        }
        living.is_some()
    }

    /// Everything recorded so far, in the order of the starts.
    pub fn record(&self) -> Vec<ProcessRecord> {
        let state = self.state();
        let processes = state.processes.iter();
        processes
            .map(|(program, start, wire)| ProcessRecord {
                program: program.clone(),
                start: *start,
                turns: wire.turns(),
                killed: wire.is_struck(),
                cut: wire.was_cut(),
            })
            .collect()
    }

    /// Opens the wire of a process about to start.
    pub(crate) fn wire(&self, program: &str) -> Wire {
        let mut state = self.state();
        let earlier = state
            .processes
            .iter()
            .filter(|(name, ..)| name == program)
            .count();
        let start = u32::try_from(earlier).unwrap_or(u32::MAX).saturating_add(1);
        let kill = state.plan.get(&(program.to_owned(), start)).copied();
        let wire = Wire::new(kill);
        if let Some((held, number, point, gate)) = &state.hold
            && held == program
            && *number == start
        {
            wire.hold(*point, gate.clone());
        }
        state
            .processes
            .push((program.to_owned(), start, wire.clone()));
        wire
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A process that stands still at one point, or will.
#[derive(Debug)]
pub struct Held(Gate);

impl Held {
    /// Returns when the process has come to the point; never, when it does not.
    pub async fn reached(&self) {
        self.0.reached().await;
    }

    /// Lets it go on.
    pub fn release(&self) {
        self.0.open();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tap::Side;

    #[test]
    fn a_kill_meets_the_right_start_of_the_right_program() {
        let taps = Taps::new();
        taps.kill(
            "dispatch",
            2,
            KillPoint {
                turn: 0,
                side: Side::Before,
            },
        );
        for program in ["dispatch", "callback", "dispatch", "dispatch"] {
            taps.wire(program);
        }
        let killed: Vec<_> = taps
            .record()
            .iter()
            .map(|p| (p.program.clone(), p.start, p.killed))
            .collect();
        let expected = [
            ("dispatch", 1, false),
            ("callback", 1, false),
            ("dispatch", 2, true),
        ]
        .map(|(program, start, killed)| (program.to_owned(), start, killed));
        assert_eq!(killed[..3], expected);
        assert_eq!(killed[3], ("dispatch".to_owned(), 3, false));
    }
}
