//! The plan and the record of a whole stack's taps: which process is killed where, and what
//! every process asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::tap::{KillPoint, Turn, Wire};

/// Handed to a stack to tap its processes. Clones share one plan and one record.
#[derive(Debug, Clone, Default)]
pub struct Taps(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    plan: HashMap<(String, u32), KillPoint>,
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
        state
            .processes
            .push((program.to_owned(), start, wire.clone()));
        wire
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
