//! What the fake Hetzner sells where, and how it is written in answers.
//!
//! The default follows the families of late 2026: `cx*3` and `cax*` in Europe only, CPX of the
//! first generation in the US and Singapore, its European entries no longer orderable.

use serde_json::{Value, json};

/// Everything that can be ordered.
#[derive(Debug, Clone)]
pub struct Catalog {
    /// Locations.
    pub locations: Vec<Location>,
    /// Server types.
    pub server_types: Vec<ServerType>,
    /// System images and snapshots.
    pub images: Vec<Image>,
    /// SSH keys already in the project.
    pub ssh_keys: Vec<SshKey>,
}

/// A location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// Hetzner's id.
    pub id: u64,
    /// `fsn1`, …
    pub name: String,
    /// `eu-central`, …
    pub network_zone: String,
    /// Two letters.
    pub country: String,
    /// City.
    pub city: String,
}

/// A server type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerType {
    /// Hetzner's id.
    pub id: u64,
    /// `cpx11`, …
    pub name: String,
    /// Virtual cores.
    pub cores: u32,
    /// Memory, GB.
    pub memory: u32,
    /// Disk, GB.
    pub disk: u32,
    /// `x86` or `arm`.
    pub architecture: String,
    /// Monthly net price, cents.
    pub cents_a_month: u32,
    /// Where it is sold.
    pub sold_at: Vec<SoldAt>,
}

/// One location of a server type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoldAt {
    /// The location's name.
    pub location: String,
    /// In stock now.
    pub available: bool,
    /// `unavailable_after`, RFC 3339; `None` = not deprecated.
    pub unavailable_after: Option<String>,
}

/// An image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Hetzner's id.
    pub id: u64,
    /// `None` for snapshots.
    pub name: Option<String>,
    /// `x86` or `arm`.
    pub architecture: String,
    /// Disk that it needs, GB.
    pub disk: u32,
}

/// An SSH key of the project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshKey {
    /// Hetzner's id.
    pub id: u64,
    /// Unique name.
    pub name: String,
    /// OpenSSH public key.
    pub public_key: String,
}

const EUROPE: [&str; 3] = ["fsn1", "nbg1", "hel1"];
const OVERSEAS: [&str; 3] = ["ash", "hil", "sin"];

impl Default for Catalog {
    fn default() -> Self {
        let mut cpx11 = server_type(22, "cpx11", (2, 2, 40), ("x86", 499), &OVERSEAS);
        let mut cpx21 = server_type(23, "cpx21", (3, 4, 80), ("x86", 899), &OVERSEAS);
        cpx11.sold_at.extend(EUROPE.map(retired));
        cpx21.sold_at.extend(EUROPE.map(retired));
        let mut cx22 = server_type(104, "cx22", (2, 4, 40), ("x86", 379), &[]);
        cx22.sold_at.extend(EUROPE.map(retired));
        let ubuntu = |id, name: &str, architecture: &str| Image {
            id,
            name: Some(name.to_owned()),
            architecture: architecture.to_owned(),
            disk: 5,
        };
        Self {
            locations: locations(),
            server_types: vec![
                cpx11,
                cpx21,
                cx22,
                server_type(45, "cax11", (2, 4, 40), ("arm", 379), &EUROPE),
                server_type(114, "cx23", (2, 4, 40), ("x86", 349), &EUROPE),
                server_type(115, "cx33", (4, 8, 80), ("x86", 549), &EUROPE),
                server_type(109, "cpx22", (2, 4, 80), ("x86", 649), &EUROPE),
            ],
            images: vec![
                ubuntu(67_794_396, "ubuntu-22.04", "x86"),
                ubuntu(103_907_373, "ubuntu-22.04", "arm"),
                ubuntu(161_547_269, "ubuntu-24.04", "x86"),
                ubuntu(161_547_270, "ubuntu-24.04", "arm"),
                Image {
                    id: 250_000_001,
                    name: None,
                    architecture: "x86".to_owned(),
                    disk: 40,
                },
            ],
            ssh_keys: vec![SshKey {
                id: 1,
                name: "operator".to_owned(),
                public_key: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAISimOperatorKey operator"
                    .to_owned(),
            }],
        }
    }
}

fn locations() -> Vec<Location> {
    let location = |id, name: &str, zone: &str, country: &str, city: &str| Location {
        id,
        name: name.to_owned(),
        network_zone: zone.to_owned(),
        country: country.to_owned(),
        city: city.to_owned(),
    };
    vec![
        location(1, "fsn1", "eu-central", "DE", "Falkenstein"),
        location(2, "nbg1", "eu-central", "DE", "Nuremberg"),
        location(3, "hel1", "eu-central", "FI", "Helsinki"),
        location(4, "ash", "us-east", "US", "Ashburn, VA"),
        location(5, "hil", "us-west", "US", "Hillsboro, OR"),
        location(6, "sin", "ap-southeast", "SG", "Singapore"),
    ]
}

fn server_type(
    id: u64,
    name: &str,
    (cores, memory, disk): (u32, u32, u32),
    (architecture, cents_a_month): (&str, u32),
    places: &[&str],
) -> ServerType {
    ServerType {
        id,
        name: name.to_owned(),
        cores,
        memory,
        disk,
        architecture: architecture.to_owned(),
        cents_a_month,
        sold_at: places.iter().map(|place| on_sale(place)).collect(),
    }
}

fn on_sale(location: &str) -> SoldAt {
    SoldAt {
        location: location.to_owned(),
        available: true,
        unavailable_after: None,
    }
}

fn retired(location: &str) -> SoldAt {
    SoldAt {
        location: location.to_owned(),
        available: false,
        unavailable_after: Some("2025-12-31T00:00:00+00:00".to_owned()),
    }
}

impl Catalog {
    /// A location by name or id.
    pub(crate) fn location(&self, key: &str) -> Option<&Location> {
        let id = key.parse().ok();
        self.locations
            .iter()
            .find(|place| place.name == key || Some(place.id) == id)
    }

    /// A server type by name or id.
    pub(crate) fn server_type(&self, key: &str) -> Option<&ServerType> {
        let id = key.parse().ok();
        self.server_types
            .iter()
            .find(|kind| kind.name == key || Some(kind.id) == id)
    }

    /// An image by id, or by name and architecture.
    pub(crate) fn image(&self, key: &str, architecture: &str) -> Option<&Image> {
        let id = key.parse().ok();
        let by_name = |image: &&Image| {
            image.name.as_deref() == Some(key) && image.architecture == architecture
        };
        let by_id = self.images.iter().find(|image| Some(image.id) == id);
        by_id.or_else(|| self.images.iter().find(by_name))
    }

    /// An SSH key by name or id.
    pub(crate) fn ssh_key(&self, key: &str) -> Option<&SshKey> {
        let id = key.parse().ok();
        self.ssh_keys
            .iter()
            .find(|known| known.name == key || Some(known.id) == id)
    }
}

impl Location {
    /// The API's object.
    pub(crate) fn json(&self) -> Value {
        json!({
            "id": self.id, "name": self.name, "description": format!("{} DC", self.city),
            "country": self.country, "city": self.city, "latitude": 50.0, "longitude": 12.0,
            "network_zone": self.network_zone,
        })
    }
}

impl ServerType {
    /// The API's object.
    pub(crate) fn json(&self, catalog: &Catalog) -> Value {
        let sold = self.sold_at.iter().map(|sold| sold.json(catalog));
        let prices = self.sold_at.iter().map(|sold| self.price_json(sold));
        json!({
            "id": self.id, "name": self.name, "description": self.name.to_uppercase(),
            "category": "cost_optimized", "cores": self.cores, "memory": f64::from(self.memory),
            "disk": self.disk, "deprecated": null, "storage_type": "local", "cpu_type": "shared",
            "architecture": self.architecture,
            "prices": prices.collect::<Vec<_>>(), "locations": sold.collect::<Vec<_>>(),
        })
    }

    fn price_json(&self, sold: &SoldAt) -> Value {
        let month = f64::from(self.cents_a_month) / 100.0;
        let pair = |net: f64| {
            let gross = net * 1.19;
            json!({"net": format!("{net:.10}"), "gross": format!("{gross:.10}")})
        };
        json!({
            "location": sold.location, "price_hourly": pair(month / 624.0),
            "price_monthly": pair(month), "included_traffic": 21_990_232_555_520_u64,
            "price_per_tb_traffic": pair(1.0),
        })
    }
}

impl SoldAt {
    /// Whether it can be ordered at all, capacity aside.
    pub(crate) fn orderable(&self) -> bool {
        self.unavailable_after.is_none()
    }

    fn json(&self, catalog: &Catalog) -> Value {
        let deprecation = self.unavailable_after.as_ref().map(
            |after| json!({"announced": "2025-10-16T06:00:00+00:00", "unavailable_after": after}),
        );
        json!({
            "id": catalog.location(&self.location).map(|place| place.id), "name": self.location,
            "available": self.available, "recommended": self.available,
            "deprecation": deprecation,
        })
    }
}

impl Image {
    /// What a person would call it.
    pub(crate) fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.id.to_string())
    }

    /// The API's object.
    pub(crate) fn json(&self) -> Value {
        let version = self
            .name
            .as_deref()
            .and_then(|name| name.split_once('-'))
            .map_or("22.04", |(_, version)| version);
        let kind = if self.name.is_some() {
            "system"
        } else {
            "snapshot"
        };
        json!({
            "id": self.id, "type": kind, "status": "available", "name": self.name,
            "description": format!("Ubuntu {version}"), "image_size": null, "disk_size": self.disk,
            "created": "2024-04-25T13:26:27+00:00", "created_from": null, "bound_to": null,
            "os_flavor": "ubuntu", "os_version": version, "rapid_deploy": true,
            "protection": {"delete": false}, "deprecated": null, "deprecation": null,
            "labels": {}, "deleted": null, "architecture": self.architecture,
        })
    }
}

impl SshKey {
    /// The API's object.
    pub(crate) fn json(&self) -> Value {
        json!({
            "id": self.id, "name": self.name, "public_key": self.public_key,
            "fingerprint": crate::draw::text(0, &[&self.public_key], 32), "labels": {},
            "created": "2026-01-01T00:00:00+00:00",
        })
    }
}
