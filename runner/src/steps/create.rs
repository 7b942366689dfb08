//! Creates the server. A create is not idempotent, its name is: what got no answer, and what
//! finds the name taken, is settled by a look at the list, never by a blind repeat.
//! It must not wait for the server.

use crate::{
    choice::Candidate,
    cloud_init::user_data,
    hetzner::{Created, Error, Kind, NewServer, Server},
    lease::{Halt, Trouble},
    made::Made,
    run::Run,
    schedule::{refusal_pause, short_pause},
    steps::{
        look::{self, Holder},
        remove::{self, Wait},
    },
};
use contract::ErrorClass;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// So often a create is tried when it stays unclear or the name stays taken.
const ROUNDS_MAX: u32 = 5;

/// So often a create is refused for a while (429, maintenance) before that counts as a round.
const REFUSALS_MAX: u32 = 6;
/// So often undo looks for a server that may exist: lists may lag behind a create.
const DOUBT_LOOKS: u32 = 3;
/// So long undo looks for a server that exists by name and does not show.
const NAME_LOOKS_MAX: Duration = Duration::from_mins(1);

/// How one call for a server ended.
enum Asked {
    Made(Created),
    /// Not to be had: the next candidate.
    NotHere(String),
    /// A type that nobody asked for does not fit, as when its disk is too small for the image:
    /// another may.
    Unfit(String),
    /// The name is taken or the answer is lost: look.
    Unclear {
        why: String,
        /// The answer was that of a refusal for now.
        is_refusal: bool,
    },
    /// Surely not made; may work later.
    Later(String),
}

/// Creates the server, or adopts the one whose answer was lost.
pub(crate) async fn create(run: &mut Run) -> Result<(), Halt> {
    if run.work.adopted || run.made.all().server.is_some() {
        return Ok(());
    }
    let mut candidates = run.work.choice.candidates.clone();
    let mut refused = Refused::default();
    let mut last = String::new();
    let mut rounds = 0;
    let mut refusals = 0;
    while rounds < ROUNDS_MAX {
        let Some(candidate) = candidates.first().cloned() else {
            return Err(refused.all(&run.work.choice.out_of_stock).into());
        };
        let Candidate {
            server_type,
            location,
            ..
        } = &candidate;
        match ask(run, &candidate).await? {
            Asked::Made(created) => {
                note_made(run, created, &candidate);
                return Ok(());
            }
            Asked::NotHere(why) => {
                let text = format!("{server_type} at {location}: {why}");
                run.actions.remark("Not to be had", &text);
                refused.is_sold_out = true;
                refused.texts.push(text);
                candidates.remove(0);
                continue;
            }
            Asked::Unfit(why) => {
                let text = format!("{server_type}: {why}");
                run.actions.remark("Does not fit", &text);
                refused.texts.push(text);
                refused.unfit.push(server_type.clone());
                candidates.retain(|one| one.server_type != *server_type);
                continue;
            }
            Asked::Unclear { why, is_refusal } => {
                run.actions.line(&format!("unclear: {why}"));
                last = why;
                if let Some(server) = settle(run).await? {
                    run.actions
                        .line(&format!("server {} is ours, adopted", server.id));
                    run.note_server(&server);
                    return Ok(());
                }
                if is_refusal && refusals < REFUSALS_MAX {
                    refusals += 1;
                    run.lease.pause(refusal_pause(refusals)).await?;
                    continue;
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

fn note_made(run: &mut Run, created: Created, candidate: &Candidate) {
    let text = format!(
        "{} at {}, server {}",
        candidate.server_type, candidate.location, created.server.id
    );
    run.actions.remark("Type and location", &text);
    run.work.actions = created.actions;
    run.note_server(&created.server);
}

/// Why no candidate was taken.
#[derive(Default)]
struct Refused {
    texts: Vec<String>,
    /// One of them may be to be had later.
    is_sold_out: bool,
    /// Types that do not fit, wherever they are sold.
    unfit: Vec<String>,
}

impl Refused {
    /// What it means when there is no other candidate. Something else that is out of stock may
    /// fit.
    fn all(&self, out_of_stock: &[String]) -> Trouble {
        let texts = self.texts.join("; ");
        let may_fit = |one: &String| !self.unfit.contains(one);
        if self.is_sold_out || out_of_stock.iter().any(may_fit) {
            return Trouble {
                class: ErrorClass::Capacity,
                text: format!("no server can be had now: {texts}"),
            };
        }
        Trouble::permanent(format!(
            "the wished type is not sold here, and no other fits: {texts}; set \
             HETZNER_SERVER_TYPE or HETZNER_IMAGE, then retry"
        ))
    }
}

async fn ask(run: &mut Run, candidate: &Candidate) -> Result<Asked, Halt> {
    let (Some(key), Some(firewall)) = (&run.work.key, run.work.firewall) else {
        return Err(Trouble::permanent("the plan reached a create without a key").into());
    };
    let name = run.server_name();
    let labels = run.server_labels();
    let user_data = user_data(&name, &key.secret).map_err(Trouble::permanent)?;
    let new = NewServer {
        name: &name,
        server_type: &candidate.server_type,
        location: &candidate.location,
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
    run.made.change(|made| match &asked {
        Err(error) if error.kind == Kind::NameTaken => made.name_taken = true,
        Err(error) if error.may_be_done => {}
        Ok(_) | Err(_) => made.server_in_doubt = doubted,
    });
    match asked {
        Ok(created) => Ok(Asked::Made(created)),
        Err(error) if error.may_be_done => Ok(Asked::Unclear {
            why: error.to_string(),
            is_refusal: error.refused,
        }),
        Err(error) => match error.kind {
            Kind::Unavailable => Ok(Asked::NotHere(error.to_string())),
            Kind::NameTaken | Kind::Doubt => Ok(Asked::Unclear {
                why: error.to_string(),
                is_refusal: error.refused,
            }),
            Kind::Busy | Kind::Later => Ok(Asked::Later(error.to_string())),
            Kind::Refused if !candidate.is_wished && is_about_the_type(&error) => {
                Ok(Asked::Unfit(error.to_string()))
            }
            // What is not found is something that the request names: asking again is no use.
            Kind::Limit | Kind::Denied | Kind::Refused | Kind::NotFound => {
                Err(Trouble::permanent(error.to_string()).into())
            }
        },
    }
}

/// Whether another type may be accepted: the image does not fit this one, or it is none any more.
/// Where Hetzner names no field its words tell.
fn is_about_the_type(error: &Error) -> bool {
    if error.wrong.is_empty() {
        return ["disk", "architecture", "server type"]
            .iter()
            .any(|word| error.text.contains(word));
    }
    let mut wrong = error.wrong.iter();
    wrong.any(|field| field == "image" || field == "server_type")
}

/// Looks what a lost answer left, or what holds the name: our own server is ours (its key is the
/// one we hold, this attempt had none before), an older attempt's is deleted. A list may lag
/// behind a create, so an empty one is read again.
async fn settle(run: &mut Run) -> Result<Option<Server>, Halt> {
    match look::clear_name(run).await? {
        Holder::Own(server) => return Ok(Some(server)),
        Holder::Cleared => {
            run.made.change(nothing_in_doubt);
            return Ok(None);
        }
        Holder::Nobody => run.lease.pause(short_pause(0)).await?,
    }
    let labelled = look::clear_older(run, false).await?;
    if labelled.is_none() {
        run.lease.pause(short_pause(1)).await?;
    }
    Ok(labelled)
}

const fn nothing_in_doubt(made: &mut Made) {
    made.server_in_doubt = false;
    made.name_taken = false;
}

/// Undo: deletes our server and waits until it is gone.
pub(crate) async fn delete(run: &mut Run) -> Result<(), Trouble> {
    let made = run.made.all();
    let ids = match made.server {
        Some(id) => vec![id],
        None if made.server_in_doubt => find_in_doubt(run, made.name_taken).await?,
        None => Vec::new(),
    };
    for id in ids {
        match remove::server(&run.hetzner, id, Wait::Undo).await {
            Ok(()) => run.actions.line(&format!("server {id} deleted")),
            Err(why) => return Err(why.into_trouble()),
        }
    }
    run.made.change(|made| {
        made.server = None;
        nothing_in_doubt(made);
    });
    Ok(())
}

/// Looks for a server that may be there. One whose name is taken is surely there, so it is
/// looked for until it shows, and stays in doubt when it does not in time.
async fn find_in_doubt(run: &Run, name_taken: bool) -> Result<Vec<u64>, Trouble> {
    let started = Instant::now();
    for round in 0.. {
        sleep(short_pause(round)).await;
        match in_doubt(run).await? {
            Doubted::Ours(id) => return Ok(vec![id]),
            Doubted::NotOurs => break,
            Doubted::Unseen if name_taken && started.elapsed() > NAME_LOOKS_MAX => {
                let text = format!("{} exists and does not show yet", run.server_name());
                return Err(Trouble::transient(text));
            }
            Doubted::Unseen if !name_taken && round + 1 >= DOUBT_LOOKS => break,
            Doubted::Unseen => {}
        }
    }
    Ok(Vec::new())
}

/// What became of a server that may have been made.
pub(crate) enum Doubted {
    /// Ours, by its labels and fence.
    Ours(u64),
    /// Something else holds the name, so ours was not made.
    NotOurs,
    /// Nothing shows.
    Unseen,
}

/// One look by name (Hetzner: unique per project); only this attempt's own fence counts.
pub(crate) async fn in_doubt(run: &Run) -> Result<Doubted, Trouble> {
    let named = run.hetzner.server_named(&run.server_name()).await?;
    let fence = run.inputs.fence.to_string();
    Ok(match named {
        None => Doubted::Unseen,
        Some(server) if run.is_own(&server) && server.labels.get("fence") == Some(&fence) => {
            Doubted::Ours(server.id)
        }
        Some(_) => Doubted::NotOurs,
    })
}
