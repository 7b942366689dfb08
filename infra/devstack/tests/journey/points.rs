//! Every place on the way of one payment at which a process can be stopped, and a visit to each.

use std::collections::{BTreeSet, HashSet};

use devstack::{KillPoint, ProcessRecord, Side};
use futures_util::{StreamExt, stream};

use crate::scene::{SCENES_AT_ONCE, Scene};

const ROUNDS_MAX: u32 = 3;

/// A moment of one process: the how-manieth start of which program, where, and what it asks there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Point {
    pub(crate) program: String,
    pub(crate) start: u32,
    pub(crate) place: KillPoint,
    question: Option<(String, String)>,
}

impl Point {
    /// The process of this point, if it has come there and asks what it is to ask.
    pub(crate) fn process(&self, record: Vec<ProcessRecord>) -> Option<ProcessRecord> {
        let is_its = |one: &ProcessRecord| one.program == self.program && one.start == self.start;
        let process = record.into_iter().find(is_its)?;
        let turns = process.turns.iter();
        let mut asked = turns.filter(|turn| turn.ordinal == self.place.turn);
        let question = asked.next().map(question);
        (question == self.question).then_some(process)
    }
}

fn question(turn: &devstack::Turn) -> (String, String) {
    (turn.label.clone(), turn.head.clone())
}

/// Everything that is said on the way of one payment, from a run in which nothing goes wrong.
/// No time passes in it: else it would depend on the moment what is said.
async fn said() -> Vec<ProcessRecord> {
    let scene = Scene::new().await;
    let agents = [scene.pay().await.agent_id];
    scene.comes_to_rest(&agents).await;
    scene.check_outside(&agents).await;
    let said = scene.world.taps.record();
    let programs: BTreeSet<_> = said.iter().map(|process| &*process.program).collect();
    let all = ["callback", "dispatch", "runner", "stripe-webhook"];
    assert_eq!(programs, all.into());
    said
}

/// The start of every process, and these sides of everything that it asks.
async fn points(sides: &[Side]) -> Vec<Point> {
    let mut points = Vec::new();
    for process in said().await {
        let point = |place, question| Point {
            program: process.program.clone(),
            start: process.start,
            place,
            question,
        };
        let (turn, side) = (0, Side::Before);
        points.push(point(KillPoint { turn, side }, None));
        for asked in &process.turns {
            let turn = asked.ordinal;
            let places = sides.iter().map(|side| KillPoint { turn, side: *side });
            points.extend(places.map(|place| point(place, Some(question(asked)))));
        }
    }
    points
}

/// Goes to every wanted point, each in a scene of its own; `visit` answers whether it was met.
///
/// On a busy machine seconds pass by themselves, and dispatch asks its queue once more than in
/// other runs: that question is listed and comes no more, or it comes first and moves the others
/// on. Then it is listed again, until every point of one list was met.
pub(crate) async fn visit_all<V>(
    sides: &[Side],
    is_wanted: impl Fn(&Point) -> bool,
    visit: impl Fn(Point) -> V,
) where
    V: Future<Output = bool> + Send + 'static,
{
    let (mut met, mut missed) = (HashSet::new(), Vec::new());
    for _ in 0..ROUNDS_MAX {
        let mut points = points(sides).await;
        points.retain(&is_wanted);
        let count = points.len();
        points.retain(|point| !met.contains(point));
        let visits = stream::iter(points.clone()).map(|point| {
            let visited = tokio::spawn(visit(point.clone()));
            async move {
                let is_met = visited
                    .await
                    .unwrap_or_else(|error| panic!("{point:?}: {error}"));
                is_met.then_some(point)
            }
        });
        let visits = visits.buffer_unordered(SCENES_AT_ONCE);
        met.extend(
            visits
                .filter_map(std::future::ready)
                .collect::<Vec<_>>()
                .await,
        );
        missed = points;
        missed.retain(|point| !met.contains(point));
        println!("met {} of {count} points", count - missed.len());
        if missed.is_empty() {
            return;
        }
    }
    panic!("listed and never met: {missed:#?}");
}
