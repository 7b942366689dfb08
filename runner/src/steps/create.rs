//! Creates the server. A create is not idempotent, its name is: what got no answer, and what
//! finds the name taken, is settled by a look at the list, never by a blind repeat.
//! It must not wait for the server.

use crate::{
    cloud_init::user_data,
    hetzner::{Created, Kind, NewServer, Server},
    lease::{Halt, Trouble},
    run::Run,
    schedule::short_pause,
    steps::{
        look,
        remove::{self, Wait},
    },
};
use contract::ErrorClass;
use tokio::time::{Instant, sleep};

/// So often a create is tried when it stays unclear or the name stays taken.
const ROUNDS_MAX: u32 = 5;

/// So often a create is refused for a while (429, maintenance) before that counts as a round.
const REFUSALS_MAX: u32 = 6;
/// So often undo looks for a server that may exist: lists may lag behind a create.
const DOUBT_LOOKS: u32 = 3;

/// How one call for a server ended.
enum Asked {
    Made(Created),
    /// Not to be had: the next candidate.
    NotHere(String),
    /// The name is taken or the answer is lost: look.
    Unclear(String),
    /// Surely not made; may work later.
    Later(String),
}

/// Creates the server, or adopts the one whose answer was lost.
pub(crate) async fn create(run: &mut Run) -> Result<(), Halt> {
    if run.work.adopted || run.made.all().server.is_some() {
        return Ok(());
    }
    let mut refused = Vec::new();
    let mut next = 0;
    let mut last = String::new();
    let mut rounds = 0;
    let mut refusals = 0;
    while rounds < ROUNDS_MAX {
        let Some(candidate) = run.work.candidates.get(next) else {
            let text = format!("no server can be had now: {}", refused.join("; "));
            return Err(Halt::Failed(Trouble {
                class: ErrorClass::Capacity,
                text,
            }));
        };
        let (server_type, location) = (candidate.server_type.clone(), candidate.location.clone());
        match ask(run, &server_type, &location).await? {
            Asked::Made(created) => {
                let id = created.server.id;
                run.actions.remark(
                    "Type and location",
                    &format!("{server_type} at {location}, server {id}"),
                );
                run.work.actions = created.actions;
                run.note_server(&created.server);
                return Ok(());
            }
            Asked::NotHere(why) => {
                let text = format!("{server_type} at {location}: {why}");
                run.actions.remark("Not to be had", &text);
                refused.push(text);
                next += 1;
                continue;
            }
            Asked::Unclear(why) => {
                run.actions.line(&format!("unclear: {why}"));
                last = why;
                if let Some(server) = settle(run, rounds).await? {
                    run.actions
                        .line(&format!("server {} is ours, adopted", server.id));
                    run.note_server(&server);
                    return Ok(());
                }
            }
            // Such a refusal costs no round: how long to wait is the budget's matter.
            Asked::Later(why) if refusals < REFUSALS_MAX => {
                refusals += 1;
                last = why;
                run.lease.pause(short_pause(refusals)).await?;
                continue;
            }
            Asked::Later(why) => last = why,
        }
        run.lease.pause(short_pause(rounds)).await?;
        rounds += 1;
    }
    Err(Trouble::transient(format!("no server after {ROUNDS_MAX} rounds: {last}")).into())
}

async fn ask(run: &mut Run, server_type: &str, location: &str) -> Result<Asked, Halt> {
    let (Some(key), Some(firewall)) = (&run.work.key, run.work.firewall) else {
        return Err(Trouble::permanent("the plan reached a create without a key").into());
    };
    let name = run.server_name();
    let labels = run.server_labels();
    let user_data = user_data(&name, &key.secret).map_err(Trouble::permanent)?;
    let new = NewServer {
        name: &name,
        server_type,
        location,
        image: &run.cloud.hetzner.image,
        ssh_key: run.cloud.hetzner.ssh_key_id,
        firewall,
        user_data: &user_data,
        labels: &labels,
    };
    run.hetzner.wait_to_create().await;
    run.lease.before_change().await?;
    run.work.asked_at = Some(Instant::now());
    // A taken name may be that of our own earlier call, so it does not end a doubt either.
    let doubted = run
        .made
        .change(|made| std::mem::replace(&mut made.server_in_doubt, true));
    let asked = run.hetzner.create_server(&new).await;
    if !matches!(&asked, Err(error) if matches!(error.kind, Kind::Doubt | Kind::NameTaken)) {
        run.made.change(|made| made.server_in_doubt = doubted);
    }
    match asked {
        Ok(created) => Ok(Asked::Made(created)),
        Err(error) => match error.kind {
            Kind::Unavailable => Ok(Asked::NotHere(error.to_string())),
            Kind::NameTaken | Kind::Doubt => Ok(Asked::Unclear(error.to_string())),
            Kind::Busy | Kind::Later | Kind::NotFound => Ok(Asked::Later(error.to_string())),
            Kind::Limit | Kind::Denied | Kind::Refused => Err(error.into()),
        },
    }
}

/// Looks what a lost answer left: our own server is ours (its key is the one we hold, this
/// attempt had none before), an older attempt's is deleted. A list may lag behind a create, so an
/// empty one is read again.
async fn settle(run: &mut Run, round: u32) -> Result<Option<Server>, Halt> {
    for look in 0..2 {
        if let Some(server) = look::clear_older(run, false).await? {
            return Ok(Some(server));
        }
        run.lease.pause(short_pause(look)).await?;
    }
    if round > 0
        && let Some(server) = run.hetzner.server_named(&run.server_name()).await?
        && run
            .own_servers()
            .await?
            .iter()
            .all(|own| own.id != server.id)
    {
        let text = format!(
            "the name {} belongs to server {}, which is not this installation's; rename or \
             remove it, then retry",
            server.name, server.id
        );
        return Err(Trouble::permanent(text).into());
    }
    Ok(None)
}

/// Undo: deletes our server and waits until it is gone. In doubt the list says whether there is
/// one; only this attempt's own fence counts.
pub(crate) async fn delete(run: &mut Run) -> Result<(), Trouble> {
    let made = run.made.all();
    let mut ids: Vec<u64> = made.server.into_iter().collect();
    for round in 0..DOUBT_LOOKS {
        if made.server.is_some() || !made.server_in_doubt || !ids.is_empty() {
            break;
        }
        sleep(short_pause(round)).await;
        ids = own_fence(run).await?;
    }
    for id in ids {
        match remove::server(&run.hetzner, id, Wait::Undo).await {
            Ok(()) => run.actions.line(&format!("server {id} deleted")),
            Err(Halt::Failed(trouble)) => return Err(trouble),
            Err(other) => return Err(Trouble::transient(other.to_string())),
        }
    }
    run.made.change(|made| {
        made.server = None;
        made.server_in_doubt = false;
    });
    Ok(())
}

/// Ids of the servers that carry this attempt's fence.
pub(crate) async fn own_fence(run: &Run) -> Result<Vec<u64>, Trouble> {
    let fence = run.inputs.fence.to_string();
    let servers = run.own_servers().await?;
    let own = servers
        .into_iter()
        .filter(|one| one.labels.get("fence") == Some(&fence));
    Ok(own.map(|server| server.id).collect())
}
