//! One Lambda function: a pool of its real processes behind the Runtime API.
//!
//! As Lambda does, a process handles one event at a time, idle ones are kept and reused, a new
//! one is started when all are busy, and over the limit events wait. A time-out kills.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use thiserror::Error;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use crate::clock::Clock;
use crate::entropy;
use crate::process::{Launcher, Process, Program, Value};
use crate::runtime_api::{FunctionError, RuntimeApi, Work};

/// Lambda allows a process this long until it asks for its first event.
const INIT_TIMEOUT: Duration = Duration::from_secs(10);

/// A function and its limits.
#[derive(Debug, Clone)]
pub struct FunctionConfig {
    /// What each process runs; the pool adds Lambda's own variables.
    pub program: Program,
    /// Most processes at once.
    pub concurrency_max: usize,
    /// After this a process is killed.
    pub timeout: Duration,
}

/// Why an invocation has no answer. Whatever the cause, its effects may have happened.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvokeError {
    /// The function answered with an error.
    #[error("{}: {}", .0.error_type, .0.message)]
    Function(FunctionError),
    /// The process ended before it answered.
    #[error("the process ended ({status}): {last_line}")]
    Died {
        /// Exit status as text.
        status: String,
        /// The last line it printed.
        last_line: String,
    },
    /// It took longer than allowed and was killed.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The process cannot be started.
    #[error("{0}")]
    Start(String),
}

/// A function that can be invoked. Clones share one pool.
#[derive(Clone)]
pub struct Function(Arc<Pool>);

struct Pool {
    config: FunctionConfig,
    launcher: Arc<Launcher>,
    clock: Clock,
    slots: Semaphore,
    idle: Mutex<Vec<Instance>>,
    starts: AtomicU32,
    open: AtomicU32,
}

/// An invocation that has no result yet.
struct Open(Arc<Pool>);

/// One process and the endpoint it polls.
struct Instance {
    process: Process,
    api: RuntimeApi,
}

impl Function {
    pub(crate) fn new(config: FunctionConfig, launcher: Arc<Launcher>, clock: Clock) -> Self {
        let slots = Semaphore::new(config.concurrency_max);
        let idle = Mutex::new(Vec::new());
        let (starts, open) = (AtomicU32::new(0), AtomicU32::new(0));
        Self(Arc::new(Pool {
            config,
            launcher,
            clock,
            slots,
            idle,
            starts,
            open,
        }))
    }

    /// Hands one event to a process and returns its answer. The invocation goes on when the
    /// caller gives up, as it does on Lambda.
    pub async fn invoke(&self, event: Bytes) -> Result<Bytes, InvokeError> {
        let open = Open::new(&self.0);
        let invocation = tokio::spawn(async move { open.0.invoke(event).await });
        invocation
            .await
            .unwrap_or_else(|error| Err(InvokeError::Start(error.to_string())))
    }

    /// Name of the function.
    pub fn name(&self) -> &str {
        &self.0.config.program.name
    }

    /// How many processes were started so far.
    pub fn starts(&self) -> u32 {
        self.0.starts.load(Ordering::Relaxed)
    }

    /// Whether an event waits for a process or is with one.
    pub fn is_at_work(&self) -> bool {
        self.0.open.load(Ordering::SeqCst) > 0
    }

    /// Kills the idle processes, so that the next event meets a cold start.
    pub fn recycle(&self) {
        self.0.idle().clear();
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Function").field(&self.0.config).finish()
    }
}

impl Open {
    fn new(pool: &Arc<Pool>) -> Self {
        pool.open.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(pool))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Pool {
    async fn invoke(&self, event: Bytes) -> Result<Bytes, InvokeError> {
        // The semaphore is never closed.
        let slot = self.slots.acquire().await;
        let instance = match self.warm() {
            Some(instance) => instance,
            None => self
                .start()
                .await
                .map_err(|e| InvokeError::Start(format!("{e:#}")))?,
        };
        let result = instance.handle(event, self).await;
        if result.is_ok() || matches!(result, Err(InvokeError::Function(_))) {
            self.idle().push(instance);
        }
        drop(slot);
        result
    }

    /// The process used last, as long as it still lives.
    fn warm(&self) -> Option<Instance> {
        let mut idle = self.idle();
        idle.retain(|instance| instance.process.is_alive());
        idle.pop()
    }

    async fn start(&self) -> Result<Instance> {
        let name = &self.config.program.name;
        let api = RuntimeApi::start(format!("arn:aws:lambda:us-east-1:0:function:{name}")).await?;
        let mut program = self.config.program.clone();
        let own = [
            ("AWS_LAMBDA_RUNTIME_API", api.address.as_str()),
            ("AWS_LAMBDA_FUNCTION_NAME", name),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/devstack"),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "devstack"),
            ("_HANDLER", "bootstrap"),
            ("TZ", ":UTC"),
        ];
        let own = own.map(|(name, value)| (name.to_owned(), Value::plain(value)));
        program.env.extend(own);
        let process = self.launcher.spawn(&program).await?;
        self.starts.fetch_add(1, Ordering::Relaxed);
        Ok(Instance { process, api })
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Instance>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Instance {
    async fn handle(&self, event: Bytes, pool: &Pool) -> Result<Bytes, InvokeError> {
        let (taken_sender, taken) = oneshot::channel();
        let (reply_sender, reply) = oneshot::channel();
        let limit = pool.config.timeout;
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        let work = Work {
            id: entropy::uuid().to_string(),
            event,
            deadline_unix_ms: pool.clock.unix_ms().saturating_add(limit_ms),
            taken: taken_sender,
            reply: reply_sender,
        };
        // An endpoint takes work as long as we hold it.
        drop(self.api.work.send(work).await);
        self.unless_dead(INIT_TIMEOUT, taken).await?;
        self.unless_dead(limit, reply)
            .await?
            .map_err(InvokeError::Function)
    }

    /// What the process sends, unless it ends first or takes too long. An answer that arrived
    /// before the end counts.
    async fn unless_dead<T>(
        &self,
        limit: Duration,
        sent: oneshot::Receiver<T>,
    ) -> Result<T, InvokeError> {
        let answered_or_dead = async {
            tokio::select! {
                biased;
                Ok(value) = sent => Some(value),
                _ = self.process.exited() => None,
            }
        };
        match timeout(limit, answered_or_dead).await {
            Ok(Some(value)) => Ok(value),
            Ok(None) => Err(self.death().await),
            Err(_) => {
                self.process.kill();
                self.process.exited().await;
                Err(InvokeError::TimedOut(limit))
            }
        }
    }

    async fn death(&self) -> InvokeError {
        let status = self.process.exited().await.to_string();
        InvokeError::Died {
            status,
            last_line: self.process.last_line(),
        }
    }
}
