//! A state of the world with both attempts in it, and the steps that lead on from it.
//! It must not know which steps were taken before.

use super::{
    form::{self, Line},
    past::{Past, Recall, Story, Weight},
    process::{Next, Processes},
    touch::Touch,
};
use bytes::Bytes;
use contract::{Reply, Report};
use http::{Method, Request, Response, StatusCode};
use runner::End;
use sim::{Sim, Waiting, World};
use std::sync::Arc;
use tokio::runtime::Runtime;

pub(super) const OLDER: i64 = 5;
pub(super) const NEWER: i64 = 6;
pub(super) const FENCES: [i64; 2] = [OLDER, NEWER];

/// One of the two attempts.
#[derive(Clone)]
pub(super) struct Side {
    pub(super) past: Past,
    story: Story,
    pub(super) next: Next,
}

impl Side {
    pub(super) fn end(&self) -> Option<End> {
        match self.next {
            Next::Call(_) => None,
            Next::Ended(end) => Some(end),
        }
    }
}

/// Everything there is.
pub(super) struct State {
    pub(super) sim: Sim,
    pub(super) world: World,
    /// The newest fence that claimed.
    claimed: i64,
    pub(super) sides: [Side; 2],
}

/// What happens next: a call goes through, or something happens in the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Call(usize),
    World(Waiting),
}

/// Falsifies calls and answers of an attempt, for worlds or runners that are broken on purpose.
#[derive(Clone, Copy)]
pub(super) struct Bend {
    pub(super) call: fn(i64, &mut Request<Bytes>),
    pub(super) answer: fn(i64, &mut Response<Bytes>),
}

/// What is the same in all states of an exploration.
pub(super) struct Setting {
    /// Carries calls to the world, which stands still itself.
    pub(super) runtime: Runtime,
    pub(super) processes: [Processes; 2],
    pub(super) recalls: [Recall; 2],
    /// The callback takes everybody's reports, whatever attempt is newer.
    pub(super) believes_all: bool,
    pub(super) bend: Bend,
}

/// Sees a call of the attempt of this fence before it has its effect.
pub(super) type Watch<'a> = &'a mut dyn FnMut(&World, i64, &Request<Bytes>);

impl Setting {
    /// Where both attempts begin.
    pub(super) fn begin(&mut self, sim: &Sim) -> State {
        let sides = [0, 1].map(|side| Side {
            past: Past::default(),
            story: Story::default(),
            next: self.processes[side].next(&Past::default()),
        });
        let _inside = self.runtime.enter();
        State {
            sim: sim.copy(),
            world: sim.world(),
            claimed: 0,
            sides,
        }
    }

    /// The state after a step. Calls that neither see nor change anything of the other attempt's
    /// go through at once: whatever order they have, it comes to the same.
    pub(super) fn after(&mut self, state: &State, step: Step, watch: Watch<'_>) -> State {
        let inside = self.runtime.enter();
        let mut next = State {
            sim: state.sim.copy(),
            world: state.world.clone(),
            claimed: state.claimed,
            sides: state.sides.clone(),
        };
        if let Step::World(waiting) = step {
            happen(&next.sim, waiting);
            next.world = next.sim.world();
        }
        drop(inside);
        if let Step::Call(side) = step {
            self.pass(&mut next, side, watch);
        }
        for side in [0, 1] {
            while self.is_own_matter(&next, side) {
                self.pass(&mut next, side, watch);
            }
        }
        next
    }

    /// Whether the call that waits is nobody else's matter.
    fn is_own_matter(&self, state: &State, side: usize) -> bool {
        let Next::Call(request) = &state.sides[side].next else {
            return false;
        };
        match request.uri().host() {
            // Who is the newest does not change any more.
            Some("callback.sim") => self.believes_all || state.claimed == NEWER,
            _ => self.is_constant(side, request) || is_settled(state, request),
        }
    }

    /// Whether a call is always answered the same: access tokens, the price list, and reports
    /// that nobody refuses.
    fn is_constant(&self, side: usize, request: &Request<Bytes>) -> bool {
        match request.uri().host() {
            Some("callback.sim") => self.believes_all || FENCES[side] == NEWER,
            _ => ["/api/v2/oauth/token", "/v1/server_types"].contains(&request.uri().path()),
        }
    }

    fn pass(&mut self, state: &mut State, side: usize, watch: Watch<'_>) {
        let Next::Call(asked) = state.sides[side].next.clone() else {
            return;
        };
        let mut request = Request::clone(&asked);
        (self.bend.call)(FENCES[side], &mut request);
        watch(&state.world, FENCES[side], &request);
        let mut answer = self.answer(state, request);
        (self.bend.answer)(FENCES[side], &mut answer);
        let own = &mut state.sides[side];
        own.past = own.past.and(Arc::clone(&asked), answer.clone());
        own.next = self.processes[side].next(&own.past);
        if self.is_constant(side, &asked) {
            return;
        }
        let line = form::heard(&asked, &answer);
        let before = own.story.clone();
        if !own.story.add(line.clone(), weight(&asked, &answer)) {
            self.recalls[side].hold(&before, &line, &Line::of(&ahead(&own.next)));
        }
    }

    fn answer(&self, state: &mut State, request: Request<Bytes>) -> Response<Bytes> {
        if request.uri().host() != Some("callback.sim") {
            let answer = self.runtime.block_on(async {
                let answer = state.sim.carry(request).await;
                state.world = state.sim.world();
                answer
            });
            return answer.expect("no connection breaks here");
        }
        let report: Report = serde_json::from_slice(request.body()).unwrap();
        let fence = report.sender.fence();
        state.claimed = state.claimed.max(fence);
        let mut answer = Response::new(Bytes::from(serde_json::to_vec(&Reply::default()).unwrap()));
        if fence < state.claimed && !self.believes_all {
            *answer.status_mut() = StatusCode::CONFLICT;
        }
        answer
    }
}

/// Lets something happen, with what follows from it that no attempt can tell from it: a server
/// that is made is also started, a machine that has booted also enrols.
fn happen(sim: &Sim, waiting: Waiting) {
    assert!(sim.let_happen(&waiting), "{waiting:?}");
    let what = match waiting.what {
        "create_server" => "start_server",
        "boot" => "enrolment",
        _ => return,
    };
    sim.let_happen(&Waiting { what, ..waiting });
}

/// Whether the answer to a call stays what it is now, and the call has no effect: nobody deletes
/// the firewall, what is gone does not come back, and actions that ended do not begin again.
fn is_settled(state: &State, request: &Request<Bytes>) -> bool {
    let world = &state.world;
    let mut parts = request.uri().path().rsplit('/');
    let (last, before) = (parts.next().unwrap_or_default(), parts.next());
    match (request.method().as_str(), before, last) {
        (_, Some("v1"), "firewalls") => !world.firewalls.is_empty(),
        (_, Some("servers"), id) => !world.servers.iter().any(|one| one.id.to_string() == id),
        (_, Some("device"), id) => !world.devices.iter().any(|one| one.node_id == id),
        ("DELETE", Some("keys"), id) => world.keys.iter().any(|one| one.id == id && one.revoked),
        ("GET", Some("v1"), "actions") => !state.sim.waiting().iter().any(is_action),
        _ => false,
    }
}

fn is_action(waiting: &Waiting) -> bool {
    !["boot", "enrolment"].contains(&waiting.what)
}

/// What an attempt has read only leads to what it makes next; what it made it remembers. Of
/// power changes it remembers the last.
fn weight(request: &Request<Bytes>, answer: &Response<Bytes>) -> Weight {
    let path = request.uri().path();
    let makes = ["/api/v2/tailnet/-/keys", "/v1/servers"].contains(&path);
    match request.method() == Method::POST && answer.status().is_success() {
        true if makes => Weight::Lasting,
        true if path.contains("/actions/") => Weight::Turning,
        _ => Weight::Passing,
    }
}

fn ahead(next: &Next) -> String {
    match next {
        Next::Call(request) => form::call(request),
        Next::Ended(end) => format!("{end:?}"),
    }
}

impl State {
    /// Every step that can be next. Of what the world does by itself the actions of one server
    /// keep their order, and so does what its machine does.
    pub(super) fn steps(&self) -> Vec<Step> {
        let waiting = self.sim.waiting();
        let lane = |one: &Waiting| (one.subject, is_action(one));
        let is_first = |index: usize| {
            let mut earlier = waiting[..index].iter();
            !earlier.any(|one| lane(one) == lane(&waiting[index]))
        };
        let world = (0..waiting.len()).filter(|index| is_first(*index));
        let world = world.map(|index| Step::World(waiting[index]));
        let calls = [0, 1].into_iter();
        let calls = calls.filter(|side| self.sides[*side].end().is_none());
        world.chain(calls.map(Step::Call)).collect()
    }

    /// How both ended, once nothing can happen any more.
    pub(super) fn ends(&self) -> Option<[End; 2]> {
        let [older, newer] = self.sides.each_ref().map(Side::end);
        Some([older?, newer?]).filter(|_| self.sim.waiting().is_empty())
    }

    /// Whether two steps from here come to the same in either order.
    pub(super) fn are_apart(&self, one: Step, other: Step) -> bool {
        let touch = |step| match step {
            Step::World(waiting) => Some(Touch::of_world(&waiting)),
            Step::Call(side) => match &self.sides[side].next {
                Next::Call(request) => Some(Touch::of(request)),
                Next::Ended(_) => None,
            },
        };
        let (one, other) = (touch(one), touch(other));
        matches!((one, other), (Some(one), Some(other)) if one.is_apart_from(other))
    }

    /// The canonical form, hashed.
    pub(super) fn form(&self) -> u64 {
        let apart = Line::of("ahead");
        let [older, newer] = &self.sides;
        let [older_next, newer_next] = [older, newer].map(|side| Line::of(&ahead(&side.next)));
        let world = form::world(&self.world, &self.sim.waiting());
        let world = Line::of(&format!("{world} {}", self.claimed));
        let older = older.story.lines().chain([&apart, &older_next]);
        let newer = newer.story.lines().chain([&apart, &newer_next]);
        let lines: Vec<&Line> = older.chain(newer).chain([&world]).collect();
        form::canonical(&lines)
    }

    /// How a step reads.
    pub(super) fn show(&self, step: Step) -> String {
        match step {
            Step::Call(side) => format!("f{} {}", FENCES[side], ahead(&self.sides[side].next)),
            Step::World(Waiting { what, subject }) => format!("{what} of {subject}"),
        }
    }
}
