//! What a signal leaves time for: deletes for everything this attempt made, sent side by side.
//! It must not wait for their end: the next attempt or the destroy job confirms.

use crate::{
    lease::Permit,
    made::Made,
    run::Run,
    steps::{
        create::{self, Doubted},
        device, key,
        remove::may_pass,
        tailnet,
    },
};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// One call may take this long.
const CALL_MAX: Duration = Duration::from_secs(3);
/// Pause before a server is tried again that was locked, or of which no answer came.
const AGAIN_PAUSE: Duration = Duration::from_millis(500);
/// Pause before a delete that was refused for now is sent again.
const REFUSED_PAUSE: Duration = Duration::from_millis(1500);

/// Sends every delete; a server's is sent again while that may help.
pub(crate) async fn send_deletes(run: &Run, made: &Made) {
    tokio::join!(server(run, made), device(run), keys(run, made));
}

async fn server(run: &Run, made: &Made) {
    let mut ids: Vec<u64> = made.server.into_iter().collect();
    if made.server.is_none()
        && made.server_in_doubt
        && let Ok(Ok(Doubted::Ours(id))) = timeout(CALL_MAX, create::in_doubt(run)).await
    {
        ids.push(id);
    }
    for id in ids {
        let what = format!("server {id}");
        let mut told = false;
        let sent = loop {
            let sent = run.hetzner.delete_server(id, CALL_MAX).await;
            // A server that is being made is locked until it is, and an answer may be lost; whoever
            // called bounds the time, so the first error is told at once.
            let Err(error) = &sent else { break sent };
            if !may_pass(error.kind) {
                break sent;
            }
            if !std::mem::replace(&mut told, true) {
                said(run, &what, Err(error));
            }
            sleep(if error.refused {
                REFUSED_PAUSE
            } else {
                AGAIN_PAUSE
            })
            .await;
        };
        said(run, &what, sent.map(drop));
    }
}

async fn device(run: &Run) {
    let Ok(Ok(ids)) = timeout(CALL_MAX, device::left_by_us(run)).await else {
        return;
    };
    for id in ids {
        let sent = tailnet::delete_device(&run.tailscale, Permit::Undo, &id);
        if let Ok(Ok(sent)) = timeout(CALL_MAX, sent).await {
            said(run, &format!("device {id}"), sent);
        }
    }
}

/// The key we know, and one whose answer did not come: it carries our description.
async fn keys(run: &Run, made: &Made) {
    let mut ids: Vec<String> = made.key.iter().cloned().collect();
    if made.key_in_doubt
        && let Ok(Ok(found)) = timeout(CALL_MAX, key::described(run)).await
    {
        let valid = found.into_iter().filter(|key| key.valid);
        ids.extend(valid.map(|key| key.id));
    }
    for id in ids {
        let sent = tailnet::delete_key(&run.tailscale, Permit::Undo, &id);
        if let Ok(sent) = timeout(CALL_MAX, sent).await {
            said(run, &format!("key {id}"), sent);
        }
    }
}

fn said<E: std::fmt::Display>(run: &Run, what: &str, sent: Result<(), E>) {
    match sent {
        Ok(()) => run.actions.line(&format!("delete of {what} sent")),
        Err(error) => run.actions.line(&format!("delete of {what}: {error}")),
    }
}
