//! Goes through every state that can be reached from a beginning, depth first, and checks each;
//! or takes drawn steps.
//! It must not know what is checked.

use super::{
    state::{Setting, State, Step},
    watch,
};
use outbound::Dice;
use runner::End;
use sim::Sim;
use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};
use tokio::runtime::Runtime;

/// A step after which something is not as it must be.
#[derive(Debug)]
pub(super) struct Breach {
    pub(super) what: String,
    pub(super) schedule: Vec<String>,
}

/// A step without the ids that differ in states of the same form.
type Name = (Option<usize>, &'static str);

fn name(step: Step) -> Name {
    match step {
        Step::Call(side) => (Some(side), ""),
        Step::World(waiting) => (None, waiting.what),
    }
}

/// A state on the way to the present one.
struct Place {
    state: State,
    form: u64,
    left: Vec<Step>,
    /// Steps that lead nowhere new from here: an earlier path took them first, and then came
    /// here all the same.
    asleep: Vec<Step>,
    /// The step that led here.
    by: String,
}

/// Where a step led.
struct Taken {
    state: State,
    form: u64,
    asleep: Vec<Step>,
    by: String,
}

/// What is wrong with a world in which both attempts ended so, if something is.
pub(super) type AtEnd = fn(&Runtime, &Sim, [End; 2]) -> Option<String>;

/// What is asked of an exploration.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    /// No call may be a delete.
    pub(super) keeps_all: bool,
    pub(super) at_end: AtEnd,
    /// Whether steps are spared that come to the same in another order.
    pub(super) spares: bool,
}

/// An exploration under way.
pub(super) struct Explorer {
    pub(super) setting: Setting,
    rules: Rules,
    /// The forms of all states so far, and which steps were never taken from each.
    seen: HashMap<u64, Vec<Name>>,
    path: Vec<Place>,
    /// Forms of the states on the path.
    on_path: HashSet<u64>,
    pub(super) steps: usize,
    pub(super) ends: usize,
    pub(super) deepest: usize,
}

/// No loop of an attempt has more rounds.
const ROUNDS_MAX: usize = 5_000;

impl Explorer {
    pub(super) fn new(setting: Setting, rules: Rules) -> Self {
        Self {
            setting,
            rules,
            seen: HashMap::new(),
            path: Vec::new(),
            on_path: HashSet::new(),
            steps: 0,
            ends: 0,
            deepest: 0,
        }
    }

    /// Goes through everything; ends with the first breach.
    pub(super) fn run(&mut self, sim: &Sim) -> Result<(), Breach> {
        let state = self.setting.begin(sim);
        self.enter(Taken {
            form: state.form(),
            state,
            asleep: Vec::new(),
            by: "begin".to_owned(),
        })?;
        while let Some(place) = self.path.last_mut() {
            if let Some(step) = place.left.pop() {
                let taken = self.take(step)?;
                self.enter(taken)?;
            } else {
                self.on_path.remove(&place.form);
                self.path.pop();
            }
        }
        Ok(())
    }

    /// Takes drawn steps to the end, the world's with one chance in `patience`. Loops run as long
    /// as they run.
    pub(super) fn walk(&mut self, sim: &Sim, dice: &Dice, patience: usize) -> Result<(), Breach> {
        let mut state = self.setting.begin(sim);
        let mut schedule = Vec::new();
        let draw = |sides: usize| {
            // The dice draw time.
            let sides = Duration::from_nanos(u64::try_from(sides - 1).unwrap());
            usize::try_from(dice.up_to(sides).as_nanos()).unwrap()
        };
        while state.ends().is_none() {
            let mut steps = state.steps();
            let is_call = |step: &Step| matches!(step, Step::Call(_));
            if steps.iter().any(is_call) && draw(patience) > 0 {
                steps.retain(is_call);
            }
            let step = steps[draw(steps.len())];
            schedule.push(state.show(step));
            match self.step_from(&state, step) {
                Ok(next) => state = next,
                Err(what) => return Err(Breach { what, schedule }),
            }
        }
        match self.wrong_end(&state) {
            Some(what) => Err(Breach { what, schedule }),
            None => Ok(()),
        }
    }

    /// The forms of all states.
    pub(super) fn forms(&self) -> HashSet<u64> {
        self.seen.keys().copied().collect()
    }

    /// Takes a step from the end of the path. One that leads back on the path is a round of a
    /// loop that heard the same again; when nothing is left to happen in the world, only time
    /// can end it, and so it goes on until it does.
    fn take(&mut self, step: Step) -> Result<Taken, Breach> {
        let place = self.path.pop().expect("a step begins somewhere");
        let by = place.state.show(step);
        let mut asleep = place.asleep.clone();
        asleep.retain(|other| place.state.are_apart(*other, step));
        let taken = self.step_from(&place.state, step);
        self.path.push(place);
        let mut state = taken.map_err(|what| self.breach(what, &by))?;
        let mut form = state.form();
        let is_round = self.on_path.contains(&form);
        let mut rounds = 0;
        while let (true, Step::Call(side)) = (is_round, step)
            && self.seen.contains_key(&form)
            && state.sides[side].end().is_none()
            && state.sim.waiting().is_empty()
        {
            let next = self.step_from(&state, step);
            state = next.map_err(|what| self.breach(what, &by))?;
            form = state.form();
            rounds += 1;
            assert!(rounds < ROUNDS_MAX, "a loop does not end: {by}");
        }
        if is_round {
            // It may lead elsewhere once the world is at rest, so it is not spared then.
            asleep.clear();
        } else if let (true, Some(place)) = (self.rules.spares, self.path.last_mut()) {
            place.asleep.push(step);
        }
        let times = if rounds > 0 { ", again and again" } else { "" };
        Ok(Taken {
            state,
            form,
            asleep,
            by: format!("{by}{times}"),
        })
    }

    /// Goes on from a state with the steps that were not taken from it before.
    fn enter(&mut self, taken: Taken) -> Result<(), Breach> {
        let Taken {
            state,
            form,
            asleep,
            by,
        } = taken;
        let names: Vec<Name> = asleep.iter().copied().map(name).collect();
        let mut left = state.steps();
        left.retain(|step| !names.contains(&name(*step)));
        if let Some(untaken) = self.seen.get_mut(&form) {
            left.retain(|step| untaken.contains(&name(*step)));
            untaken.retain(|step| names.contains(step));
            if left.is_empty() {
                return Ok(());
            }
        } else {
            self.seen.insert(form, names);
            if let Some(what) = self.wrong_end(&state) {
                return Err(self.breach(what, &by));
            }
        }
        self.path.push(Place {
            state,
            form,
            left,
            asleep,
            by,
        });
        self.on_path.insert(form);
        self.deepest = self.deepest.max(self.path.len());
        Ok(())
    }

    /// Takes a step and holds it against what must hold at every moment.
    fn step_from(&mut self, state: &State, step: Step) -> Result<State, String> {
        self.steps += 1;
        let keeps_all = self.rules.keeps_all;
        let mut wrong = None;
        let next = self.setting.after(state, step, &mut |world, fence, call| {
            let found = watch::wrong_call(world, fence, call, keeps_all);
            wrong = wrong.take().or(found);
        });
        match wrong.or_else(|| watch::wrong_world(&next.world)) {
            Some(what) => Err(what),
            None => Ok(next),
        }
    }

    fn wrong_end(&mut self, state: &State) -> Option<String> {
        let ends = state.ends()?;
        self.ends += 1;
        for side in &state.sides {
            crate::lab::assert_written_once(&side.past.reports());
        }
        (self.rules.at_end)(&self.setting.runtime, &state.sim, ends)
    }

    fn breach(&self, what: String, last: &str) -> Breach {
        let mut schedule: Vec<String> = self.path.iter().map(|place| place.by.clone()).collect();
        schedule.push(last.to_owned());
        Breach { what, schedule }
    }
}
