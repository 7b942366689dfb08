//! Arguments and their help.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use devstack::News;
use sim::DelayRange;
use uuid::Uuid;

const REGIONS_HELP: &str = "Region that the payment asks for";

/// The whole of Slipway on one machine: real functions, real PostgreSQL, real runner; Stripe,
/// GitHub, Hetzner and Tailscale are fakes that listen on 127.0.0.1.
#[derive(Debug, Parser)]
#[command(name = "devstack", version, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start everything, send signed payments, show the agents become active, tear all down
    Demo(DemoArgs),
    /// Start everything and stay until Ctrl-C
    Up(UpArgs),
    /// Send signed payments to a running `devstack up`, and follow their agents
    Pay(PayArgs),
    /// Tell a running `devstack up` what becomes of a purchase, as Stripe would
    Tell(TellArgs),
    /// Run a fleet of agents while everything around it fails, and watch it heal
    ///
    /// Customers pay, cancel, fail to pay, pay again, stop and start their agents. Meanwhile
    /// processes are killed, machines vanish, connections are cut, nudges are lost, doubled and
    /// delayed, and GitHub, Hetzner and Tailscale fail. Then all faults end, and when everything
    /// is at rest the world is checked: no server, device or key too many or too few, every paid
    /// agent active or failed with a reason. The exit code says whether all is well.
    Chaos(ChaosArgs),
    /// Bring the database of `DATABASE_URL` to the current schema
    Migrate,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DemoArgs {
    #[command(flatten)]
    pub(crate) payments: Payments,
    #[command(flatten)]
    pub(crate) start: StartArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct UpArgs {
    /// Address of the public paths; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    #[command(flatten)]
    pub(crate) start: StartArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct PayArgs {
    #[command(flatten)]
    pub(crate) payments: Payments,
    /// File that a running `devstack up` wrote [default: target/devstack/up.json]
    #[arg(long)]
    pub(crate) state_file: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct TellArgs {
    /// The agent, as `devstack pay` printed it
    pub(crate) agent: Uuid,
    /// What Stripe says
    #[arg(value_enum)]
    pub(crate) news: Said,
    /// File that a running `devstack up` wrote [default: target/devstack/up.json]
    #[arg(long)]
    pub(crate) state_file: Option<PathBuf>,
}

/// What becomes of a purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Said {
    /// The card is refused at a renewal: the agent is suspended
    PaymentFailed,
    /// The money came after all: the agent starts again
    PaidAgain,
    /// The subscription is over: everything is removed
    Canceled,
    /// All money was given back
    Refunded,
    /// The customer's bank takes the money back for now
    Disputed,
    /// The bank gave it back
    DisputeWon,
    /// The bank keeps it
    DisputeLost,
}

impl From<Said> for News {
    fn from(said: Said) -> Self {
        match said {
            Said::PaymentFailed => Self::PaymentFailed,
            Said::PaidAgain => Self::PaidAgain,
            Said::Canceled => Self::Canceled,
            Said::Refunded => Self::Refunded,
            Said::Disputed => Self::Disputed,
            Said::DisputeWon => Self::DisputeWon,
            Said::DisputeLost => Self::DisputeLost,
        }
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ChaosArgs {
    /// Customers at once; who cancels is followed by a new one
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub(crate) agents: u32,
    /// Minutes of trouble before all faults end [default: until Ctrl-C]
    #[arg(long, value_name = "MINUTES", value_parser = minutes)]
    pub(crate) minutes: Option<Duration>,
    /// How many seconds of leases, waits and deadlines pass in one
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=30))]
    pub(crate) speed: u32,
    /// Minutes that the healing may take once all faults are over
    #[arg(long, default_value = "6", value_name = "MINUTES", value_parser = minutes)]
    pub(crate) patience: Duration,
    #[command(flatten)]
    pub(crate) start: StartArgs,
}

/// How many payments, and how long they may take.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Payments {
    /// Number of payments, sent at once
    #[arg(long = "payments", short = 'n', default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) count: u32,
    #[arg(long, default_value = "us-east", help = REGIONS_HELP)]
    pub(crate) region: String,
    /// Seconds after which agents that are not active count as failed
    #[arg(long, default_value_t = 600, value_name = "SECONDS")]
    pub(crate) timeout: u64,
}

/// The database, and the delays of the fakes.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct StartArgs {
    /// Delays as real providers have them (a minute and more for each agent)
    #[arg(long)]
    pub(crate) real_delays: bool,
    /// Seconds from a dispatch to the start of its run
    #[arg(long, value_name = "SECONDS|MIN..MAX")]
    pub(crate) run_delay: Option<Delay>,
    /// Seconds that a server takes to be made
    #[arg(long, value_name = "SECONDS|MIN..MAX")]
    pub(crate) create_delay: Option<Delay>,
    /// Seconds that a server takes to start
    #[arg(long, value_name = "SECONDS|MIN..MAX")]
    pub(crate) start_delay: Option<Delay>,
    /// Seconds that a started server takes to boot
    #[arg(long, value_name = "SECONDS|MIN..MAX")]
    pub(crate) boot_delay: Option<Delay>,
    /// Seconds that a booted server takes to enrol
    #[arg(long, value_name = "SECONDS|MIN..MAX")]
    pub(crate) enrol_delay: Option<Delay>,
    /// Seed of the delays, and of all that goes wrong in chaos
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Most processes of one function
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) concurrency: u16,
}

/// A delay in seconds, or a range of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delay(pub(crate) DelayRange);

impl FromStr for Delay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (min, max) = text.split_once("..").unwrap_or((text, text));
        let (min, max) = (seconds(min)?, seconds(max)?);
        if min > max {
            return Err("the range is upside down".to_owned());
        }
        Ok(Self(DelayRange { min, max }))
    }
}

fn minutes(text: &str) -> Result<Duration, String> {
    Ok(seconds(text)?.saturating_mul(60))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text
        .trim()
        .parse()
        .map_err(|error| format!("{text:?}: {error}"))?;
    Duration::try_from_secs_f64(number).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn delays_are_seconds_or_ranges() {
        assert_eq!("2".parse(), Ok(Delay(DelayRange::millis(2_000, 2_000))));
        assert_eq!(
            "0.5..1.5".parse(),
            Ok(Delay(DelayRange::millis(500, 1_500)))
        );
        for bad in ["", "x", "2..1", "-1", "1..", "NaN"] {
            assert!(bad.parse::<Delay>().is_err(), "{bad}");
        }
    }
}
