//! Finds the agent's one server, for operations on a machine that exists. What is found is told,
//! but never taken for something this attempt made: a cancel must not delete it.

use crate::{
    hetzner::Server,
    lease::{Halt, Trouble},
    run::Run,
    steps::{
        known,
        look::{Verdict, judge},
    },
};
use contract::ServerFacts;

/// The first step of `stop` and `start`.
pub(crate) async fn find(run: &mut Run) -> Result<(), Halt> {
    known::learn(run);
    let mut servers = run.own_servers().await?;
    if servers.is_empty() {
        servers = known::servers(run, &servers).await?;
        known::none_estranged(run)?;
    }
    // A newer fence means that this attempt is stale; it must not touch the machine.
    let verdict = judge(servers.clone(), run.inputs.fence)?;
    let count = servers.len();
    let Some(server) = servers.into_iter().next().filter(|_| count == 1) else {
        let text = match verdict {
            Verdict::Clear => "the agent has no server".to_owned(),
            Verdict::Own(_) | Verdict::Older(_) => {
                format!("the agent has {count} servers; remove those that are not its own")
            }
        };
        return Err(Trouble::permanent(text).into());
    };
    run.actions
        .line(&format!("server {} is {}", server.id, server.status));
    note(run, server);
    Ok(())
}

fn note(run: &mut Run, server: Server) {
    run.made.change(|made| {
        made.tell(ServerFacts {
            server_id: Some(server.id.to_string()),
            server_name: Some(server.name.clone()),
            server_ip: server.ipv4.clone().or_else(|| server.ipv6.clone()),
            ..ServerFacts::default()
        });
    });
    run.work.found = Some(server);
}
