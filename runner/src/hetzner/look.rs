//! Reads that `doctor` needs, and a run in doubt at most.
//! It must not change anything.

use super::{Error, Firewall, Hetzner, existing, wire};
use outbound::Repeat;
use serde::Deserialize;
use std::time::Duration;

#[derive(Deserialize)]
struct OneSshKey {
    ssh_key: Named,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct OneImage {
    image: ImageBody,
}

#[derive(Deserialize)]
struct Images {
    images: Vec<ImageBody>,
}

#[derive(Deserialize)]
struct ImageBody {
    status: String,
    #[serde(default)]
    architecture: String,
}

/// One call of a person who waits may take this long.
const PROBE_MAX: Duration = Duration::from_secs(10);

impl Hetzner {
    /// Whether Hetzner answers and takes the token: one try, no patience.
    pub(crate) async fn probe(&self) -> Result<(), Error> {
        let request = self.get("/locations").repeat(Repeat::Never);
        self.send(request.deadline(PROBE_MAX)).await.map(drop)
    }

    /// Name of the SSH key of this id, if the project has it.
    pub(crate) async fn ssh_key_name(&self, id: u64) -> Result<Option<String>, Error> {
        let found = self
            .read_patiently::<OneSshKey>(self.get(&format!("/ssh_keys/{id}")))
            .await;
        Ok(existing(found)?.map(|body| body.ssh_key.name))
    }

    /// The firewall of this id, if the project has it.
    pub(crate) async fn firewall(&self, id: u64) -> Result<Option<Firewall>, Error> {
        let found = self
            .read_patiently::<wire::OneFirewall>(self.get(&format!("/firewalls/{id}")))
            .await;
        Ok(existing(found)?.map(|body| body.firewall.into()))
    }

    /// Architectures of the images that a server could be made from: of this name, or of this id
    /// when `wished` is a number (snapshots have no name).
    pub(crate) async fn image(&self, wished: &str) -> Result<Vec<String>, Error> {
        let found: Vec<ImageBody> = if wished.parse::<u64>().is_ok() {
            let one = self
                .read_patiently::<OneImage>(self.get(&format!("/images/{wished}")))
                .await;
            existing(one)?.map(|body| body.image).into_iter().collect()
        } else {
            let list: Images = self
                .read_patiently(self.get("/images").query("name", wished))
                .await?;
            list.images
        };
        let usable = found
            .into_iter()
            .filter(|image| image.status == "available");
        Ok(usable.map(|image| image.architecture).collect())
    }
}
