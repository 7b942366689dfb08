//! What the runner may do now: its lease, its deadline and the orders it was given.
//! All of it counts on the monotonic clock, from before the acknowledged report was sent.
//! It must not know how reports travel.

use contract::ErrorClass;
use std::{fmt, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

/// No new outside change begins with this much lease, or time of the run, left or less: a call
/// takes up to 30 s, and what became of it has to be seen.
pub(crate) const CHANGE_MARGIN: Duration = Duration::from_secs(45);

/// The runner stops itself so long after it first sent its claim.
pub(crate) const RUN_MAX: Duration = Duration::from_mins(13);

/// Something that went wrong, for people and for the next attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) class: ErrorClass,
    pub(crate) text: String,
}

impl Trouble {
    pub(crate) fn transient(text: impl Into<String>) -> Self {
        Self {
            class: ErrorClass::Transient,
            text: text.into(),
        }
    }

    pub(crate) fn permanent(text: impl Into<String>) -> Self {
        Self {
            class: ErrorClass::Permanent,
            text: text.into(),
        }
    }
}

/// Why the plan does not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Halt {
    /// A step failed.
    Failed(Trouble),
    /// The callback said `continue: false`.
    Stopped,
    /// The callback said 409: the attempt is not ours any more.
    Fenced,
    /// The callback refused a report for good.
    Refused(String),
    /// No report was acknowledged in time.
    LeaseLost,
    /// The run took too long.
    Deadline,
    /// SIGINT or SIGTERM.
    Signal,
}

impl Halt {
    /// What it means for the next attempt.
    pub(crate) fn class(&self) -> ErrorClass {
        match self {
            Self::Failed(trouble) => trouble.class,
            Self::Refused(_) => ErrorClass::Permanent,
            Self::Stopped | Self::Fenced | Self::LeaseLost | Self::Deadline | Self::Signal => {
                ErrorClass::Transient
            }
        }
    }
}

impl Halt {
    /// The same as trouble, for what goes on whatever halted work.
    pub(crate) fn into_trouble(self) -> Trouble {
        if let Self::Failed(trouble) = self {
            return trouble;
        }
        Trouble::transient(self.to_string())
    }
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(trouble) => f.write_str(&trouble.text),
            Self::Stopped => f.write_str("stopped: the agent is not wanted any more"),
            Self::Fenced => f.write_str("the attempt was taken over or ended"),
            Self::Refused(why) => write!(f, "the callback refused a report: {why}"),
            Self::LeaseLost => f.write_str("no report was acknowledged until the lease ran out"),
            Self::Deadline => f.write_str("the run has no time left"),
            Self::Signal => f.write_str("the run was canceled"),
        }
    }
}

impl From<Trouble> for Halt {
    fn from(trouble: Trouble) -> Self {
        Self::Failed(trouble)
    }
}

impl From<crate::hetzner::Error> for Trouble {
    fn from(error: crate::hetzner::Error) -> Self {
        Self {
            class: error.kind.class(),
            text: error.to_string(),
        }
    }
}

impl From<crate::tailscale::Error> for Trouble {
    fn from(error: crate::tailscale::Error) -> Self {
        Self {
            class: error.kind.class(),
            text: error.to_string(),
        }
    }
}

impl From<crate::hetzner::Error> for Halt {
    fn from(error: crate::hetzner::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<crate::tailscale::Error> for Halt {
    fn from(error: crate::tailscale::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// Where the attempt stands.
#[derive(Debug, Clone)]
struct Standing {
    lease_until: Instant,
    deadline: Instant,
    halted: Option<Halt>,
}

impl Standing {
    /// Why work must stop now, if it must.
    fn halt(&self, now: Instant) -> Option<Halt> {
        if let Some(halt) = &self.halted {
            return Some(halt.clone());
        }
        if now >= self.deadline {
            return Some(Halt::Deadline);
        }
        (now >= self.lease_until).then_some(Halt::LeaseLost)
    }

    fn may_change(&self, now: Instant) -> bool {
        self.lease_until.saturating_duration_since(now) > CHANGE_MARGIN
    }

    /// No report can bring enough lease any more: the run itself ends too soon.
    fn is_too_late(&self, now: Instant) -> bool {
        self.deadline.saturating_duration_since(now) <= CHANGE_MARGIN
    }
}

/// The lease, shared by whoever reports and whoever works.
#[derive(Debug, Clone)]
pub(crate) struct Lease(Arc<watch::Sender<Standing>>);

impl Lease {
    /// A lease that lasts `claim_max` until the claim is acknowledged, of a run that ends itself
    /// after `run_max`. `started` is the moment before the claim was first sent.
    pub(crate) fn new(started: Instant, claim_max: Duration, run_max: Duration) -> Self {
        Self(Arc::new(watch::Sender::new(Standing {
            lease_until: started + claim_max,
            deadline: started + run_max,
            halted: None,
        })))
    }

    /// A report sent at `sent_at` was acknowledged.
    pub(crate) fn renew(&self, sent_at: Instant, seconds: u32) {
        let until = sent_at + Duration::from_secs(u64::from(seconds));
        self.0.send_modify(|standing| standing.lease_until = until);
    }

    /// Work must stop. The first reason stays, but a signal overrides it.
    pub(crate) fn halt(&self, why: Halt) {
        self.0.send_modify(|standing| {
            if standing.halted.is_none() || why == Halt::Signal {
                standing.halted = Some(why);
            }
        });
    }

    /// When the lease runs out, or the run must end.
    pub(crate) fn ends(&self) -> Instant {
        let standing = self.0.borrow();
        standing.lease_until.min(standing.deadline)
    }

    /// When the run must end.
    pub(crate) fn deadline(&self) -> Instant {
        self.0.borrow().deadline
    }

    /// Whether work may go on.
    pub(crate) fn check(&self) -> Result<(), Halt> {
        self.0.borrow().halt(Instant::now()).map_or(Ok(()), Err)
    }

    /// Returns when a new outside change may begin: at once with enough lease left, else after
    /// the next acknowledged report. Near the end of the run none may begin any more.
    pub(crate) async fn before_change(&self) -> Result<(), Halt> {
        let mut watch = self.0.subscribe();
        loop {
            self.check()?;
            let (standing, now) = (watch.borrow_and_update().clone(), Instant::now());
            if standing.is_too_late(now) {
                return Err(Halt::Deadline);
            }
            if standing.may_change(now) {
                return Ok(());
            }
            tokio::select! {
                _ = watch.changed() => {}
                () = sleep_until(self.ends()) => {}
            }
        }
    }

    /// Sleeps, but not on when work must stop.
    pub(crate) async fn pause(&self, span: Duration) -> Result<(), Halt> {
        let mut watch = self.0.subscribe();
        let done = sleep(span);
        tokio::pin!(done);
        loop {
            watch.mark_unchanged();
            self.check()?;
            tokio::select! {
                () = &mut done => return self.check(),
                _ = watch.changed() => {}
                () = sleep_until(self.ends()) => {}
            }
        }
    }
}

/// What allows a change outside.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Permit<'a> {
    /// The lease, with enough of it left.
    Held(&'a Lease),
    /// It takes back what this attempt made, by its own id: allowed whatever the lease.
    Undo,
}

impl Permit<'_> {
    /// Returns when the change may begin.
    pub(crate) async fn before_change(self) -> Result<(), Halt> {
        match self {
            Self::Held(lease) => lease.before_change().await,
            Self::Undo => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    proptest! {
        #[test]
        fn no_change_begins_that_could_outlive_the_lease(lease in 0_u64..400, age in 0_u64..400) {
            let start = Instant::now();
            let standing = Standing {
                lease_until: start + secs(lease),
                deadline: start + RUN_MAX,
                halted: None,
            };
            let now = start + secs(age);
            if standing.may_change(now) {
                prop_assert!(now + CHANGE_MARGIN < standing.lease_until);
                prop_assert_eq!(standing.halt(now), None);
            }
            prop_assert_eq!(standing.halt(now).is_some(), age >= lease);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_lease_counts_from_before_the_report_was_sent() {
        let lease = Lease::new(Instant::now(), secs(300), RUN_MAX);
        let sent_at = Instant::now();
        sleep(secs(9)).await;
        lease.renew(sent_at, 180);
        assert_eq!(lease.ends(), sent_at + secs(180));
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_waits_for_a_renewal_and_fails_without_one() {
        let start = Instant::now();
        let lease = Lease::new(start, secs(50), RUN_MAX);
        lease.before_change().await.unwrap();
        sleep(secs(6)).await;
        let renewing = lease.clone();
        tokio::spawn(async move {
            sleep(secs(20)).await;
            renewing.renew(Instant::now(), 180);
        });
        lease.before_change().await.unwrap();
        assert_eq!(start.elapsed(), secs(26));
        sleep(secs(140)).await;
        assert_eq!(lease.before_change().await, Err(Halt::LeaseLost));
        assert_eq!(start.elapsed(), secs(26 + 180));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_ends_early_when_work_must_stop() {
        let lease = Lease::new(Instant::now(), secs(300), RUN_MAX);
        lease.pause(secs(10)).await.unwrap();
        let stopping = lease.clone();
        tokio::spawn(async move {
            sleep(secs(5)).await;
            stopping.halt(Halt::Stopped);
            stopping.halt(Halt::Fenced);
        });
        let started = Instant::now();
        assert_eq!(lease.pause(secs(100)).await, Err(Halt::Stopped));
        assert_eq!(started.elapsed(), secs(5));
        lease.halt(Halt::Signal);
        assert_eq!(lease.check(), Err(Halt::Signal));
    }

    #[tokio::test(start_paused = true)]
    async fn the_run_ends_at_its_deadline_however_long_the_lease() {
        let start = Instant::now();
        let lease = Lease::new(start, secs(100_000), RUN_MAX);
        assert_eq!(lease.pause(secs(50_000)).await, Err(Halt::Deadline));
        assert_eq!(start.elapsed(), RUN_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn no_change_begins_at_the_end_of_the_run_however_long_the_lease() {
        let run_max = CHANGE_MARGIN + secs(2);
        let lease = Lease::new(Instant::now(), secs(100_000), run_max);
        lease.pause(secs(1)).await.unwrap();
        lease.before_change().await.unwrap();
        lease.pause(secs(1)).await.unwrap();
        assert_eq!(lease.before_change().await, Err(Halt::Deadline));
    }
}
