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
    cut: bool,
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
        for listener in self.state().listeners.drain(..) {
            listener.abort();
        }
    }

    fn strike(&self) {
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
#[derive(PartialEq, Eq)]
enum Verdict {
    Pass,
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
                    let verdict = self.client_speaks(bytes);
                    forward(&verdict, bytes, &mut to_server).await;
                    verdict
                }
                read = from_server.read(&mut answer), if !server_done => {
                    let bytes = received(&answer, read.unwrap_or(0));
                    server_done = bytes.is_empty();
                    let verdict = self.server_speaks();
                    forward(&verdict, bytes, &mut to_client).await;
                    verdict
                }
                () = wire.struck() => Verdict::Strike,
            };
            match verdict {
                Verdict::Pass => {}
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
        let ordinal = u32::try_from(state.turns.len())
            .unwrap_or(u32::MAX)
            .saturating_add(1);
        state.turns.push(Turn {
            ordinal,
            label: self.label.clone(),
            connection: self.number,
            in_connection: self.turns,
            head: head(bytes),
        });
        self.unanswered = Some(ordinal);
        strike_if(
            state.kill
                == Some(KillPoint {
                    turn: ordinal,
                    side: Side::Before,
                }),
        )
    }

    fn server_speaks(&mut self) -> Verdict {
        let Some(turn) = self.unanswered.take() else {
            return strike_if(self.wire.is_struck());
        };
        let planned = self.wire.state().kill.filter(|point| point.turn == turn);
        match planned.map(|point| point.side) {
            Some(Side::Cut) => {
                self.wire.state().cut = true;
                Verdict::Cut
            }
            Some(Side::After) => Verdict::Strike,
            Some(Side::Before) | None => strike_if(self.wire.is_struck()),
        }
    }
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
        Verdict::Pass if bytes.is_empty() => drop(to.shutdown().await),
        Verdict::Pass => drop(to.write_all(bytes).await),
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
mod tests {
    use super::*;

    #[test]
    fn heads_tell_the_question_and_no_secret() {
        assert_eq!(
            head(b"GET /v1/servers?label=x HTTP/1.1\r\nhost: a\r\n"),
            "GET /v1/servers"
        );
        assert_eq!(head(b"p\0\0\0\x0csecret\0"), "message p");
        assert_eq!(head(b"\0\0\0\x08\x04\xd2"), "start");
    }

    /// Answers every line with `ok` and counts the lines it saw.
    async fn upstream() -> (String, Arc<Mutex<u32>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/base", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(0));
        let count = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let count = Arc::clone(&count);
                tokio::spawn(async move {
                    let mut byte = [0];
                    while stream.read(&mut byte).await.is_ok_and(|read| read > 0) {
                        if byte == *b"\n" {
                            *count.lock().unwrap() += 1;
                            stream.write_all(b"ok").await.unwrap();
                        }
                    }
                });
            }
        });
        (url, seen)
    }

    async fn connect(wire: &Wire, url: &str) -> TcpStream {
        let tapped = Url::parse(&wire.tap("echo", url).await.unwrap()).unwrap();
        assert_eq!(tapped.path(), "/base");
        TcpStream::connect(("127.0.0.1", tapped.port().unwrap()))
            .await
            .unwrap()
    }

    async fn ask(stream: &mut TcpStream) {
        stream.write_all(b"two ").await.unwrap();
        stream.write_all(b"parts\n").await.unwrap();
        let mut answer = [0; 2];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"ok");
    }

    #[tokio::test]
    async fn turns_are_counted_over_all_connections() {
        let (url, _) = upstream().await;
        let wire = Wire::new(None);
        let mut one = connect(&wire, &url).await;
        let mut two = connect(&wire, &url).await;
        ask(&mut one).await;
        ask(&mut two).await;
        ask(&mut one).await;
        let turns = wire.turns();
        let seen: Vec<_> = turns
            .iter()
            .map(|t| (t.ordinal, t.connection, t.in_connection))
            .collect();
        assert_eq!(seen, [(1, 1, 1), (2, 2, 1), (3, 1, 2)]);
    }

    #[tokio::test]
    async fn killed_before_a_turn_it_has_no_effect() {
        let (url, seen) = upstream().await;
        let wire = Wire::new(Some(KillPoint {
            turn: 2,
            side: Side::Before,
        }));
        let mut stream = connect(&wire, &url).await;
        ask(&mut stream).await;
        stream.write_all(b"never\n").await.unwrap();
        wire.struck().await;
        assert_eq!(*seen.lock().unwrap(), 1);
    }

    #[tokio::test]
    async fn killed_after_a_turn_it_has_its_effect_and_no_answer() {
        let (url, seen) = upstream().await;
        let wire = Wire::new(Some(KillPoint {
            turn: 2,
            side: Side::After,
        }));
        let mut stream = connect(&wire, &url).await;
        ask(&mut stream).await;
        stream.write_all(b"unseen\n").await.unwrap();
        wire.struck().await;
        assert_eq!(*seen.lock().unwrap(), 2);
        let mut late = [0];
        assert!(
            stream.try_read(&mut late).is_err(),
            "the answer was passed back"
        );
    }

    #[tokio::test]
    async fn a_kill_freezes_the_other_connections() {
        let (url, seen) = upstream().await;
        let wire = Wire::new(Some(KillPoint {
            turn: 2,
            side: Side::Before,
        }));
        let mut one = connect(&wire, &url).await;
        let mut two = connect(&wire, &url).await;
        ask(&mut one).await;
        two.write_all(b"never\n").await.unwrap();
        wire.struck().await;
        one.write_all(b"nor this\n").await.unwrap();
        tokio::task::yield_now().await;
        assert_eq!(*seen.lock().unwrap(), 1);
    }
}
