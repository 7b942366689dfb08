//! Doors before everything that the real process calls: each call passes its door twice, before
//! its effect and between the effect and the answer, counted and named, and can be held there.
//! They know HTTP; whose process it is and what its calls mean is unknown here.

use crate::{
    harness::Stage,
    lab::{Gate, Moment, open},
};
use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::request::Parts,
    middleware::{self, Next},
    response::Response,
};
use sim::Vendor;
use std::sync::{Arc, Mutex};
use tokio::{net::TcpListener, task::JoinSet};
use url::Url;

/// Every door of one stage; they close when this is dropped.
pub(crate) struct Doors {
    passage: Passage,
    _open: JoinSet<()>,
}

/// What all doors share.
#[derive(Clone)]
struct Passage(Arc<Mutex<Kept>>);

/// What a call is answered with instead of being handed on, if anything.
pub(crate) type Instead = Arc<dyn Fn(&Moment, &Parts, &Bytes) -> Option<Response> + Send + Sync>;

struct Kept {
    gate: Gate,
    instead: Instead,
    /// Calls that have come since the gate was changed.
    calls: usize,
}

impl Doors {
    /// Puts a door before Hetzner, Tailscale and the callback, and has the runner go through.
    pub(crate) async fn before(stage: &mut Stage) -> Self {
        let passage = Passage(Arc::new(Mutex::new(Kept {
            gate: open(),
            instead: Arc::new(|_, _, _| None),
            calls: 0,
        })));
        let mut doors = JoinSet::new();
        for (variable, router) in [
            ("HETZNER_API_URL", stage.sim.router(Vendor::Hetzner)),
            ("TAILSCALE_API_URL", stage.sim.router(Vendor::Tailscale)),
            ("CALLBACK_URL", stage.callback.router()),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut url = Url::parse(&stage.vars[variable]).unwrap();
            url.set_port(Some(listener.local_addr().unwrap().port()))
                .unwrap();
            stage.set(variable, url.as_str());
            let service = variable.split('_').next().unwrap_or(variable);
            let door = middleware::from_fn_with_state((service, passage.clone()), pass);
            let router = router.layer(door);
            doors.spawn(async move { axum::serve(listener, router).await.unwrap() });
        }
        Self {
            passage,
            _open: doors,
        }
    }

    /// From now on calls pass this gate, counted from 1.
    pub(crate) fn keep(&self, gate: Gate) {
        let mut kept = self.passage.0.lock().unwrap();
        (kept.gate, kept.calls) = (gate, 0);
    }

    /// From now on calls may be answered at the door.
    pub(crate) fn answer(&self, instead: Instead) {
        self.passage.0.lock().unwrap().instead = instead;
    }
}

/// One call. When the process dies meanwhile its connection ends, and the call with it.
async fn pass(
    State((service, passage)): State<(&'static str, Passage)>,
    request: Request,
    next: Next,
) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        return Response::default();
    };
    let (gate, instead, number) = {
        let mut kept = passage.0.lock().unwrap();
        kept.calls += 1;
        (
            Arc::clone(&kept.gate),
            Arc::clone(&kept.instead),
            kept.calls,
        )
    };
    let mut moment = Moment {
        number,
        call: format!("{} {service} {}", head.method, head.uri),
        after: false,
    };
    gate(moment.clone()).await;
    let answer = match instead(&moment, &head, &body) {
        Some(answer) => answer,
        None => next.run(Request::from_parts(head, Body::from(body))).await,
    };
    moment.after = true;
    gate(moment).await;
    answer
}
