//! Chooses what to try, from what can be bought now, and sees to the firewall.
//! It must not make a server.

use crate::{
    choice::choice,
    hetzner::Kind,
    lease::{Halt, Trouble},
    region,
    run::Run,
    schedule::refusal_pause,
};
use contract::ErrorClass;

/// So often the firewall is refused for a while (429, maintenance) before the attempt fails.
const REFUSALS_MAX: u32 = 6;
/// The one port that is open: direct connections of the tailnet (Tailscale's default).
pub(crate) const TAILSCALE_PORT: u16 = 41641;

/// Fills the list of candidates and finds the firewall.
pub(crate) async fn choose(run: &mut Run) -> Result<(), Halt> {
    if run.work.adopted {
        return Ok(());
    }
    let location = wished_location(run);
    let wished_type = run
        .spec
        .server_type
        .clone()
        .unwrap_or_else(|| run.cloud.hetzner.server_type.clone());
    let types = run.hetzner.server_types().await?;
    run.work.choice = choice(&types, &wished_type, &region::zone(&location));
    let Some(first) = run.work.choice.candidates.first() else {
        let text = format!(
            "neither {wished_type} nor a shared x86 type with 2 cores and 4 GB is sold at \
             {location} or elsewhere in its zone just now"
        );
        return Err(Halt::Failed(Trouble {
            class: ErrorClass::Capacity,
            text,
        }));
    };
    run.actions.line(&format!(
        "first choice: {} at {}",
        first.server_type, first.location
    ));
    if first.server_type != wished_type {
        run.actions
            .line(&format!("{wished_type} is not sold at {}", first.location));
    }
    run.work.firewall = Some(firewall(run).await?);
    Ok(())
}

/// The spec's location, else the region's; an unknown region is warned about.
fn wished_location(run: &Run) -> String {
    if let Some(location) = &run.spec.location {
        return location.clone();
    }
    let given = if run.spec.region.is_empty() {
        &run.inputs.region
    } else {
        &run.spec.region
    };
    let (location, known) = region::location(given);
    if !known {
        run.actions
            .warn(&format!("region {given:?} is unknown, {location} is used"));
    }
    location.to_owned()
}

/// The name of an installation's own firewall.
pub(crate) fn firewall_name(installation: &str) -> String {
    format!("slipway-{installation}")
}

/// The firewall of the settings, or the one of a fixed name, made when it is missing. Attempts
/// of other agents may make it at the same moment: then the name is taken, and it exists.
async fn firewall(run: &Run) -> Result<u64, Halt> {
    if let Some(id) = run.cloud.hetzner.firewall_id {
        return Ok(id);
    }
    let name = firewall_name(&run.cloud.hetzner.installation);
    if let Some(found) = run.hetzner.firewall_named(&name).await? {
        let open = found.opens_beside(TAILSCALE_PORT);
        if !open.is_empty() {
            run.actions.warn(&format!(
                "firewall {name} lets in {} as well; agents need nothing but {TAILSCALE_PORT}/udp",
                open.join(", ")
            ));
        }
        return Ok(found.id);
    }
    let labels = run.installation_labels();
    let mut refusals = 0;
    loop {
        run.hetzner.wait_to_create().await;
        run.lease.before_change().await?;
        let made = run
            .hetzner
            .create_firewall(&name, &labels, TAILSCALE_PORT)
            .await;
        match made {
            Ok(made) => {
                run.actions.line(&format!("firewall {} made", made.name));
                return Ok(made.id);
            }
            Err(error) if matches!(error.kind, Kind::NameTaken | Kind::Doubt) => {
                if let Some(found) = run.hetzner.firewall_named(&name).await? {
                    return Ok(found.id);
                }
                if !error.refused || refusals == REFUSALS_MAX {
                    return Err(error.into());
                }
                refusals += 1;
                run.lease.pause(refusal_pause(refusals)).await?;
            }
            Err(error) if error.kind == Kind::Later && refusals < REFUSALS_MAX => refusals += 1,
            Err(error) => return Err(error.into()),
        }
    }
}
