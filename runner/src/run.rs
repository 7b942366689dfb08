//! What every step works with: the clients, the lease, the record of what was made.
//! It must not know the order of steps.

use crate::{
    actions::Actions,
    choice::Choice,
    clock::Clock,
    hetzner::{Hetzner, Server},
    lease::{Halt, Lease, Trouble},
    made::Ledger,
    report::{Inventory, Reporter},
    settings::CloudSettings,
    tailscale::{Device, Key, Tailscale},
};
use contract::{
    INVENTORY_ROWS_MAX, Inputs, InventoryRow, Operation, REPORT_BYTES_MAX, ServerFacts, Spec,
};
use std::{collections::BTreeMap, sync::Arc};
use tokio::time::Instant;

/// What the rows of an inventory may take of a report; labels are written by anybody, and may be
/// longer than ours.
const INVENTORY_BYTES_MAX: usize = REPORT_BYTES_MAX - 8 * 1024;
/// Names and punctuation of one row, rounded up.
const ROW_FRAME_BYTES: usize = 64;

/// Everything a step may use.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) inputs: Inputs,
    pub(crate) cloud: CloudSettings,
    /// What the claim's reply told about the agent.
    pub(crate) spec: Spec,
    pub(crate) hetzner: Hetzner,
    pub(crate) tailscale: Tailscale,
    pub(crate) lease: Lease,
    pub(crate) reporter: Reporter,
    pub(crate) clock: Clock,
    pub(crate) actions: Arc<Actions>,
    pub(crate) made: Ledger,
    pub(crate) work: Work,
}

/// What steps hand to later steps.
#[derive(Debug, Default)]
pub(crate) struct Work {
    /// An earlier process of this run made the machine: nothing to make, its device is awaited.
    pub(crate) adopted: bool,
    pub(crate) key: Option<Key>,
    pub(crate) firewall: Option<u64>,
    /// The machine that exists, for operations that make none. Never undone.
    pub(crate) found: Option<Server>,
    /// Jobs of this agent whose attempts may have left keys.
    pub(crate) jobs: Vec<String>,
    /// Servers that the callback knows to be the agent's, until they are known to be gone.
    pub(crate) known_servers: Vec<u64>,
    /// Those of them that nothing shows to be the agent's any more. Never touched.
    pub(crate) estranged: Vec<Server>,
    /// Devices that the callback knows to be the agent's, until they are known to be gone.
    pub(crate) known_devices: Vec<String>,
    /// The agent's server is somebody else's now.
    pub(crate) server_released: bool,
    /// Until then it says nothing that the device is connected: it was so while its machine was
    /// off.
    pub(crate) device_lags_until: Option<Instant>,
    /// Servers that the callback knows and that were not found.
    pub(crate) missed_servers: Vec<u64>,
    /// A destroy has found a server of the agent and deleted it.
    pub(crate) server_deleted: bool,
    /// The list by which a destroy knows that no server of the agent is left.
    pub(crate) confirmed: Option<Inventory>,
    /// Addresses of the servers that were deleted: they must have gone with them.
    pub(crate) addresses: Vec<u64>,
    /// What to try.
    pub(crate) choice: Choice,
    /// When the server was asked for.
    pub(crate) asked_at: Option<Instant>,
    /// Actions to wait for; none when the create's answer was lost.
    pub(crate) actions: Vec<u64>,
    /// Our device, once it is usable.
    pub(crate) device: Option<Device>,
    /// Why the device is not usable yet.
    pub(crate) device_waits_for: Option<&'static str>,
}

impl Run {
    /// The name of the agent's server and its hostname in the tailnet.
    pub(crate) fn server_name(&self) -> String {
        format!("agent-{}", self.inputs.agent_id)
    }

    /// The description of this attempt's auth key (Tailscale: up to 50 characters).
    pub(crate) fn key_description(&self) -> String {
        format!("{} f{}", self.inputs.job_id, self.inputs.fence)
    }

    /// Labels of everything of this installation.
    pub(crate) fn installation_labels(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            ("managed_by", "slipway".to_owned()),
            ("installation", self.cloud.hetzner.installation.clone()),
        ])
    }

    /// Labels of this attempt's server.
    pub(crate) fn server_labels(&self) -> BTreeMap<&'static str, String> {
        let mut labels = self.installation_labels();
        labels.insert("agent_id", self.inputs.agent_id.clone());
        labels.insert("provisioning_job_id", self.inputs.job_id.clone());
        labels.insert("fence", self.inputs.fence.to_string());
        labels
    }

    /// Chooses every server of this installation.
    pub(crate) fn installation_selector(&self) -> String {
        format!(
            "managed_by=slipway,installation={}",
            self.cloud.hetzner.installation
        )
    }

    /// Chooses everything of the agent.
    pub(crate) fn agent_selector(&self) -> String {
        format!(
            "{},agent_id={}",
            self.installation_selector(),
            self.inputs.agent_id
        )
    }

    /// The agent's servers. The labels are held against ours again: what is deleted by this
    /// list must be the agent's whatever the other side makes of a selector.
    pub(crate) async fn own_servers(&self) -> Result<Vec<Server>, crate::hetzner::Error> {
        let mut servers = self.hetzner.servers(&self.agent_selector()).await?;
        servers.retain(|server| self.is_own(server));
        Ok(servers)
    }

    /// Whether a server's own labels say that it is the agent's.
    pub(crate) fn is_own(&self, server: &Server) -> bool {
        let labels = self.server_labels();
        ["managed_by", "installation", "agent_id"]
            .iter()
            .all(|name| server.labels.get(*name) == labels.get(name))
    }

    /// Servers for an inventory, the newest first: the agent's, or the whole installation's. Of
    /// a list as long as a report can hold, the newest are the ones that nobody may know of yet.
    async fn listed(&self, whole: bool) -> Result<(Instant, Vec<Server>), crate::hetzner::Error> {
        let selector = if whole {
            self.installation_selector()
        } else {
            self.agent_selector()
        };
        let listed = self.hetzner.newest_servers(&selector, INVENTORY_ROWS_MAX);
        let (at, mut servers) = listed.await?;
        let labels = self.installation_labels();
        servers.retain(|server| {
            let named = |(name, value): (&&str, &String)| server.labels.get(*name) == Some(value);
            labels.iter().all(named) && (whole || self.is_own(server))
        });
        Ok((at, servers))
    }

    /// Writes a server down as ours, as reports show it.
    pub(crate) fn note_server(&self, server: &Server) {
        self.made.change(|made| {
            made.server = Some(server.id);
            made.server_in_doubt = false;
            made.name_taken = false;
            made.tell(ServerFacts {
                server_id: Some(server.id.to_string()),
                server_name: Some(server.name.clone()),
                server_ip: server.ipv4.clone(),
                ..ServerFacts::default()
            });
        });
    }

    /// Why there is no success to tell, when the closing list speaks against it: it shows a
    /// server that a destroy must have removed, or lacks the one we made, since somebody removed
    /// it meanwhile. A list may lag, so the latter is asked for itself.
    pub(crate) async fn contradicted_by(&self, rows: &[InventoryRow]) -> Option<Halt> {
        if self.inputs.operation == Operation::Destroy {
            let own = |row: &&InventoryRow| row.agent_id == self.inputs.agent_id;
            let left = rows.iter().find(own)?;
            let text = format!("server {} of the agent has turned up", left.server_id);
            return Some(Trouble::transient(text).into());
        }
        let id = self.made.all().server?;
        if rows.iter().any(|row| row.server_id == id.to_string()) {
            return None;
        }
        match self.hetzner.server(id).await {
            Ok(None) => Some(Trouble::transient(format!("server {id} vanished")).into()),
            Ok(Some(_)) | Err(_) => None,
        }
    }

    /// The agent's servers as an inventory, or the whole installation's; never more than a report
    /// can carry.
    pub(crate) async fn inventory(&self, whole: bool) -> Result<Inventory, crate::hetzner::Error> {
        if let Some(confirmed) = self.work.confirmed.clone().filter(|_| !whole) {
            return Ok(confirmed);
        }
        let (at, servers) = self.listed(whole).await?;
        let label =
            |server: &Server, name: &str| server.labels.get(name).cloned().unwrap_or_default();
        let mut room = INVENTORY_BYTES_MAX;
        let rows = servers
            .into_iter()
            .take(INVENTORY_ROWS_MAX)
            .map(|server| InventoryRow {
                server_id: server.id.to_string(),
                agent_id: label(&server, "agent_id"),
                fence: label(&server, "fence"),
                created: server.created,
            })
            .take_while(|row| {
                let taken = [&row.server_id, &row.agent_id, &row.fence, &row.created];
                let bytes = taken.map(String::len).iter().sum::<usize>() + ROW_FRAME_BYTES;
                let fits = bytes <= room;
                room = room.saturating_sub(bytes);
                fits
            })
            .collect();
        Ok(Inventory { at, rows })
    }
}
