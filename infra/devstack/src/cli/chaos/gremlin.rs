//! Makes things go wrong: kills processes, cuts connections, takes machines away, bends calls,
//! loses nudges.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use devstack::{Mischief, Side};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use sim::{Knob, Vendor};
use tokio::time::{Instant, sleep};

use super::Set;
use super::faults::{cures, fault, spells};

/// Between two mishaps of one agent, in milliseconds.
const PAUSE_MS: (u64, u64) = (4_000, 16_000);
/// How long a trouble of a world lasts, in milliseconds.
const SPELL_MS: (u64, u64) = (1500, 6000);

/// What befalls nudges; of the delay much passes at once.
const NUDGES: Mischief = Mischief {
    lose: 0.12,
    double: 0.12,
    delay: 0.12,
    delay_max: Duration::from_mins(2),
};

const FUNCTIONS: [&str; 4] = ["stripe-webhook", "dispatch", "callback", "agents"];

/// Works until it is dropped; [`Gremlin::end`] takes everything back.
#[derive(Debug)]
pub(super) struct Gremlin<'a> {
    set: &'a Set<'a>,
    agents: u32,
    /// What is turned on, and when it is to be turned off.
    lasting: Mutex<Vec<(Instant, Knob)>>,
}

impl<'a> Gremlin<'a> {
    pub(super) fn new(set: &'a Set<'a>, agents: u32) -> Self {
        Self {
            set,
            agents,
            lasting: Mutex::default(),
        }
    }

    /// From now on nudges suffer.
    pub(super) fn begin(&self) {
        self.set.stack.queue().disturb(Some(NUDGES), self.set.seed);
    }

    pub(super) async fn run(&self) {
        // Apart from the customers' numbers.
        let mut random = StdRng::seed_from_u64(self.set.seed.rotate_left(17) ^ 0x9E37);
        loop {
            let pause = random.random_range(PAUSE_MS.0..PAUSE_MS.1);
            sleep(Duration::from_millis(pause) / self.agents).await;
            self.end_what_lasted();
            self.act(&mut random);
        }
    }

    /// All is well again outside.
    pub(super) fn end(&self) {
        let (stack, mut random) = (self.set.stack, StdRng::seed_from_u64(0));
        stack.queue().disturb(None, 0);
        self.set.taps.spare_all();
        stack.sim().clear_faults();
        for knob in cures(&mut random) {
            stack.sim().turn(knob);
        }
    }

    fn act(&self, random: &mut StdRng) {
        match random.random_range(0..100) {
            0..8 => self.cool(random),
            8..32 => self.strike_function(random),
            32..37 => self.kill_runner(random),
            37..47 => self.strike("runner", random),
            47..51 => self.lose_machine(random),
            51..87 => self.bend(random),
            _ => self.enchant(random),
        }
    }

    /// Kills what is idle.
    fn cool(&self, random: &mut StdRng) {
        let functions = self.set.stack.functions();
        let all = [
            &functions.stripe_webhook,
            &functions.dispatch,
            &functions.callback,
            &functions.agents,
        ];
        if let Some(function) = pick(&all, random) {
            function.recycle();
            self.set.tally.count("idle functions ended");
        }
    }

    fn strike_function(&self, random: &mut StdRng) {
        let program = pick(&FUNCTIONS, random).copied().unwrap_or_default();
        self.strike(program, random);
    }

    /// The next question of a process is its last, or its connection is cut.
    fn strike(&self, program: &str, random: &mut StdRng) {
        let side = pick(&[Side::Before, Side::After, Side::Cut], random);
        let living = self.set.taps.living(program);
        if let (Some(start), Some(side)) = (pick(&living, random), side)
            && self.set.taps.strike_next(program, *start, *side)
        {
            self.set.tally.count(match (side, program) {
                (Side::Cut, _) => "connections cut",
                (Side::Before | Side::After, "runner") => "runners killed",
                (Side::Before | Side::After, _) => "functions killed",
            });
        }
    }

    fn kill_runner(&self, random: &mut StdRng) {
        let living = self.set.taps.living("runner");
        if let Some(start) = pick(&living, random)
            && self.set.taps.strike("runner", *start)
        {
            self.set.tally.count("runners killed");
        }
    }

    fn lose_machine(&self, random: &mut StdRng) {
        let runs = self.set.stack.sim().world().runs;
        let working: Vec<_> = runs
            .iter()
            .filter(|run| run.status == "in_progress")
            .collect();
        if let Some(run) = pick(&working, random) {
            self.set.stack.lose_machine(run.id);
            self.set.tally.count("machines lost");
            let operation = run.inputs.get("operation").map_or("", String::as_str);
            let line = format!("the machine of a {operation} run vanishes with its runner");
            self.set.tally.say(line);
        }
    }

    fn bend(&self, random: &mut StdRng) {
        if let Some(fault) = fault(random) {
            self.set.tally.count(of_vendor(fault.vendor));
            self.set.stack.sim().add_fault(fault);
        }
    }

    fn enchant(&self, random: &mut StdRng) {
        let mut spells = spells(random);
        let spell = spells.swap_remove(random.random_range(0..spells.len()));
        self.set.tally.count(of_vendor(spell.vendor));
        let name = format!("{:?}", spell.on);
        let lasts = random.random_range(SPELL_MS.0..SPELL_MS.1);
        self.set.stack.sim().turn(spell.on);
        let Some(off) = spell.off else {
            self.set.tally.say(format!("{:?}: {name}", spell.vendor));
            return;
        };
        let ends = Instant::now() + Duration::from_millis(lasts);
        let mut lasting = self.lasting.lock().unwrap_or_else(PoisonError::into_inner);
        lasting.push((ends, off));
        let seconds = Duration::from_millis(lasts).as_secs_f64();
        let line = format!("{:?}: {name} for {seconds:.1} s", spell.vendor);
        self.set.tally.say(line);
    }

    fn end_what_lasted(&self) {
        let now = Instant::now();
        let mut lasting = self.lasting.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, off) in lasting.extract_if(.., |(ends, _)| *ends <= now) {
            self.set.stack.sim().turn(off);
        }
    }
}

const fn of_vendor(vendor: Vendor) -> &'static str {
    match vendor {
        Vendor::Hetzner => "Hetzner",
        Vendor::Tailscale => "Tailscale",
        Vendor::Github => "GitHub",
    }
}

fn pick<'a, T>(all: &'a [T], random: &mut StdRng) -> Option<&'a T> {
    if all.is_empty() {
        return None;
    }
    all.get(random.random_range(0..all.len()))
}
