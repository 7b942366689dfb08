//! Taps on the wires of one child process: counts its turns and can kill it at any of them.
//!
//! A tap is a TCP proxy between one process and one upstream. A *turn* begins when the client
//! speaks at the start of a connection or after the server last spoke: one question, however
//! many packets. Turns are numbered from 1 over all connections of the process. Knows TCP only;
//! the process, its owner and the protocols are unknown here.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use url::Url;

use crate::gate::Gate;

const BUFFER_BYTES: usize = 64 * 1024;
const HEAD_CHARS_MAX: usize = 100;

/// On which side of a turn the process dies, or only its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The question is not forwarded: the effect never happens.
    Before,
    /// The question is answered, the answer is withheld: the effect happened unseen.
    After,
    /// As after, but the process lives and sees its connection end.
    Cut,
}

/// Where a process is killed. Turn 0 is its start, before it has said anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KillPoint {
    /// Number of the turn, from 1; 0 kills at the start.
    pub turn: u32,
    /// Before or after the effect.
    pub side: Side,
}

/// One question that a process asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Number within the process, from 1.
    pub ordinal: u32,
    /// Which upstream was asked.
    pub label: String,
    /// Number of the connection within the process, from 1.
    pub connection: u32,
    /// Number within the connection, from 1.
    pub in_connection: u32,
    /// Beginning of the question: an HTTP request line, or the tag of a PostgreSQL message.
    pub head: String,
}

/// All wires of one process.
#[derive(Debug, Clone)]
pub(crate) struct Wire(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    struck: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    turns: Vec<Turn>,
    connections: u32,
    kill: Option<KillPoint>,
    hold: Option<(KillPoint, Gate)>,
    cut: bool,
    closed: bool,
    listeners: Vec<AbortHandle>,
}

impl Wire {
    pub(crate) fn new(kill: Option<KillPoint>) -> Self {
        let at_start = kill.is_some_and(|point| point.turn == 0);
        let state = Mutex::new(State {
            kill,
            ..State::default()
        });
        Self(Arc::new(Shared {
            state,
            struck: watch::Sender::new(at_start),
        }))
    }

    /// Puts a tap before the host of `url` and returns the URL that leads through it.
    pub(crate) async fn tap(&self, label: &str, url: &str) -> Result<String> {
        let mut tapped = Url::parse(url).with_context(|| format!("{label} is no URL"))?;
        let host = tapped
            .host_str()
            .with_context(|| format!("{label} names no host"))?;
        let default = if tapped.scheme().starts_with("postgres") {
            5432
        } else {
            80
        };
        let port = tapped.port().unwrap_or(default);
        let upstream = lookup_host((host, port)).await?.next();
        let upstream = upstream.with_context(|| format!("{label} has no address"))?;

        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(accept(self.clone(), label.to_owned(), listener, upstream));
        self.state().listeners.push(task.abort_handle());
        tapped
            .set_host(Some("127.0.0.1"))
            .context("the URL takes no host")?;
        if tapped.set_port(Some(address.port())).is_err() {
            anyhow::bail!("{label} takes no port");
        }
        Ok(tapped.into())
    }

    /// Everything asked so far, in order.
    pub(crate) fn turns(&self) -> Vec<Turn> {
        self.state().turns.clone()
    }

    pub(crate) fn was_cut(&self) -> bool {
        self.state().cut
    }

    /// Holds whatever passes the point up until the gate is opened.
    pub(crate) fn hold(&self, point: KillPoint, gate: Gate) {
        self.state().hold = Some((point, gate));
    }

    /// The next question that the process asks meets this side.
    pub(crate) fn strike_next(&self, side: Side) {
        let mut state = self.state();
        let turn = turn_after(&state.turns);
        state.kill = Some(KillPoint { turn, side });
    }

    /// Takes back what was planned and has not come to pass.
    pub(crate) fn spare(&self) {
        self.state().kill = None;
    }

    /// Whether its process has ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.state().closed
    }

    pub(crate) fn is_struck(&self) -> bool {
        *self.0.struck.borrow()
    }

    /// Returns when the kill point is reached; never, if it is not.
    pub(crate) async fn struck(&self) {
        let mut struck = self.0.struck.subscribe();
        if struck.wait_for(|struck| *struck).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Stops listening; connections end with the process.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        for listener in state.listeners.drain(..) {
            listener.abort();
        }
    }

    /// Kills the process now.
    pub(crate) fn strike(&self) {
        self.0.struck.send_replace(true);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(wire: Wire, label: String, listener: TcpListener, upstream: SocketAddr) {
    while let Ok((client, _)) = listener.accept().await {
        let wire = wire.clone();
        let label = label.clone();
        tokio::spawn(async move {
            // A refused upstream looks to the client like a connection that ends at once.
            if let Ok(server) = TcpStream::connect(upstream).await {
                drop((client.set_nodelay(true), server.set_nodelay(true)));
                Connection::new(wire, label).pump(client, server).await;
            }
        });
    }
}

/// One proxied connection.
struct Connection {
    wire: Wire,
    label: String,
    number: u32,
    turns: u32,
    /// Number of the turn that the server has not begun to answer.
    unanswered: Option<u32>,
}

/// Whether bytes may pass.
enum Verdict {
    Pass,
    Hold(Gate),
    Strike,
    Cut,
}

impl Connection {
    fn new(wire: Wire, label: String) -> Self {
        let mut state = wire.state();
        state.connections += 1;
        let number = state.connections;
        drop(state);
        Self {
            wire,
            label,
            number,
            turns: 0,
            unanswered: None,
        }
    }

    async fn pump(mut self, client: TcpStream, server: TcpStream) {
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let mut question = vec![0; BUFFER_BYTES];
        let mut answer = vec![0; BUFFER_BYTES];
        let (mut client_done, mut server_done) = (false, false);
        let wire = self.wire.clone();
        while !(client_done && server_done) {
            let verdict = tokio::select! {
                read = from_client.read(&mut question), if !client_done => {
                    let bytes = received(&question, read.unwrap_or(0));
                    client_done = bytes.is_empty();
                    let verdict = released(self.client_speaks(bytes)).await;
                    forward(&verdict, bytes, &mut to_server).await;
                    verdict
                }
                read = from_server.read(&mut answer), if !server_done => {
                    let bytes = received(&answer, read.unwrap_or(0));
                    server_done = bytes.is_empty();
                    let verdict = released(self.server_speaks()).await;
                    forward(&verdict, bytes, &mut to_client).await;
                    verdict
                }
                () = wire.struck() => Verdict::Strike,
            };
            match verdict {
                Verdict::Pass | Verdict::Hold(_) => {}
                Verdict::Cut => return,
                Verdict::Strike => {
                    self.wire.strike();
                    return hold(from_client).await;
                }
            }
        }
    }

    fn client_speaks(&mut self, bytes: &[u8]) -> Verdict {
        if self.wire.is_struck() {
            return Verdict::Strike;
        }
        if bytes.is_empty() || self.unanswered.is_some() {
            return Verdict::Pass;
        }
        self.turns += 1;
        let mut state = self.wire.state();
        let ordinal = turn_after(&state.turns);
        state.turns.push(Turn {
            ordinal,
            label: self.label.clone(),
            connection: self.number,
            in_connection: self.turns,
            head: head(bytes),
        });
        self.unanswered = Some(ordinal);
        let before = KillPoint {
            turn: ordinal,
            side: Side::Before,
        };
        if state.kill == Some(before) {
            Verdict::Strike
        } else {
            state.held_at(before)
        }
    }

    fn server_speaks(&mut self) -> Verdict {
        let Some(turn) = self.unanswered.take() else {
            return strike_if(self.wire.is_struck());
        };
        let mut state = self.wire.state();
        let planned = state.kill.filter(|point| point.turn == turn);
        match planned.map(|point| point.side) {
            Some(Side::Cut) => {
                state.cut = true;
                state.kill = None;
                Verdict::Cut
            }
            Some(Side::After) => Verdict::Strike,
            Some(Side::Before) | None if self.wire.is_struck() => Verdict::Strike,
            Some(Side::Before) | None => state.held_at(KillPoint {
                turn,
                side: Side::After,
            }),
        }
    }
}

impl State {
    fn held_at(&self, here: KillPoint) -> Verdict {
        match &self.hold {
            Some((point, gate)) if *point == here => Verdict::Hold(gate.clone()),
            Some(_) | None => Verdict::Pass,
        }
    }
}

/// Waits at a gate, if that is the verdict.
async fn released(verdict: Verdict) -> Verdict {
    if let Verdict::Hold(gate) = verdict {
        gate.stand().await;
        return Verdict::Pass;
    }
    verdict
}

/// Number of the turn that comes next.
fn turn_after(turns: &[Turn]) -> u32 {
    u32::try_from(turns.len())
        .unwrap_or(u32::MAX)
        .saturating_add(1)
}

fn strike_if(condition: bool) -> Verdict {
    if condition {
        Verdict::Strike
    } else {
        Verdict::Pass
    }
}

fn received(buffer: &[u8], length: usize) -> &[u8] {
    buffer.get(..length).unwrap_or_default()
}

/// Passes bytes on, or the end of the stream. A broken receiver shows at the next read.
async fn forward(verdict: &Verdict, bytes: &[u8], to: &mut OwnedWriteHalf) {
    match verdict {
        Verdict::Strike | Verdict::Cut => {}
        Verdict::Pass | Verdict::Hold(_) if bytes.is_empty() => drop(to.shutdown().await),
        Verdict::Pass | Verdict::Hold(_) => drop(to.write_all(bytes).await),
    }
}

/// Keeps the connection as it is until the process is dead, so that it cannot react.
async fn hold(mut from_client: OwnedReadHalf) {
    let mut sink = vec![0; BUFFER_BYTES];
    while from_client.read(&mut sink).await.is_ok_and(|read| read > 0) {}
}

/// The first line of an HTTP request without its query; for anything else only the first byte,
/// because more of it may be a password.
fn head(bytes: &[u8]) -> String {
    let line = bytes
        .split(|byte| *byte == b'\r')
        .next()
        .unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut words = line.split(' ');
    match (words.next(), words.next(), words.next()) {
        (Some(method), Some(path), Some(version)) if version.starts_with("HTTP/") => {
            let path = path.split('?').next().unwrap_or_default();
            format!("{method} {path}")
                .chars()
                .take(HEAD_CHARS_MAX)
                .collect()
        }
        _ => match bytes.first() {
            Some(tag) if tag.is_ascii_alphabetic() => format!("message {}", char::from(*tag)),
            Some(_) | None => "start".to_owned(),
        },
    }
}

#[cfg(test)]
#[path = "tap_tests.rs"]
mod tests;
