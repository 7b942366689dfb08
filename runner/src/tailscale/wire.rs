//! Tailscale's JSON, only what we read, and how it becomes ours. Times may be year 1 or empty,
//! fields may be absent; a list may be null, but never missing: that nothing is there must be said.

use crate::tailscale::{Device, Key, ListedKey};
use secrecy::SecretString;
use serde::{Deserialize, Deserializer};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

#[derive(Deserialize)]
pub(super) struct TokenBody {
    pub(super) access_token: String,
    #[serde(default)]
    pub(super) expires_in: Option<u64>,
}

#[derive(Deserialize)]
pub(super) struct KeyBody {
    id: String,
    key: String,
    created: String,
}

impl TryFrom<KeyBody> for Key {
    type Error = String;

    fn try_from(body: KeyBody) -> Result<Self, Self::Error> {
        let created = moment(&body.created).ok_or("the key's time of creation is unreadable")?;
        Ok(Key {
            id: body.id,
            secret: SecretString::from(body.key),
            created,
        })
    }
}

#[derive(Deserialize)]
pub(super) struct Keys {
    #[serde(deserialize_with = "list")]
    pub(super) keys: Vec<KeyRow>,
}

fn list<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct KeyRow {
    id: String,
    #[serde(default)]
    key_type: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    created: Option<String>,
    #[serde(default)]
    invalid: bool,
}

impl KeyRow {
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// The list holds credentials of other kinds too.
    pub(super) fn is_auth(&self) -> bool {
        self.key_type.as_deref().is_none_or(|kind| kind == "auth")
    }

    pub(super) const fn is_described(&self) -> bool {
        self.description.is_some()
    }
}

impl From<KeyRow> for ListedKey {
    fn from(row: KeyRow) -> Self {
        Self {
            id: row.id,
            description: row.description.unwrap_or_default(),
            created: row.created.as_deref().and_then(moment),
            valid: !row.invalid,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Devices {
    #[serde(deserialize_with = "list")]
    pub(super) devices: Vec<DeviceBody>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeviceBody {
    #[serde(default)]
    id: String,
    #[serde(default)]
    node_id: String,
    #[serde(default)]
    hostname: String,
    #[serde(default)]
    tags: Option<Vec<String>>,
    #[serde(default)]
    created: Option<String>,
    #[serde(default)]
    authorized: bool,
    #[serde(default)]
    connected_to_control: Option<bool>,
    #[serde(default)]
    addresses: Option<Vec<String>>,
    #[serde(default)]
    tailnet_lock_error: Option<String>,
    #[serde(default)]
    key_expiry_disabled: Option<bool>,
}

impl From<DeviceBody> for Device {
    fn from(body: DeviceBody) -> Self {
        Self {
            node_id: if body.node_id.is_empty() {
                body.id
            } else {
                body.node_id
            },
            hostname: body.hostname,
            tags: body.tags.unwrap_or_default(),
            created: body.created.as_deref().and_then(moment),
            authorized: body.authorized,
            connected: body.connected_to_control,
            addresses: body.addresses.unwrap_or_default(),
            lock_error: body.tailnet_lock_error.unwrap_or_default(),
            expires: body.key_expiry_disabled == Some(false),
        }
    }
}

fn moment(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn odd_devices_are_read() {
        for body in [
            json!({"id": "1", "hostname": "a", "created": "", "isExternal": true}),
            json!({"id": "1", "created": "0001-01-01T00:00:00Z", "tags": null, "new": []}),
            json!({"id": "1", "addresses": null, "connectedToControl": null}),
        ] {
            let device = Device::from(serde_json::from_value::<DeviceBody>(body).unwrap());
            assert_eq!(
                device.node_id, "1",
                "the old id serves where there is no other"
            );
        }
    }

    #[test]
    fn a_list_is_empty_when_it_says_so_and_not_when_it_is_missing() {
        for (body, count) in [
            (
                json!({"devices": [{"id": "1"}], "keys": [{"id": "k"}], "new": 1}),
                Some(1),
            ),
            (json!({"devices": [], "keys": []}), Some(0)),
            (json!({"devices": null, "keys": null}), Some(0)),
            (json!({}), None),
            (json!({"message": "soon"}), None),
        ] {
            let devices = serde_json::from_value::<Devices>(body.clone()).ok();
            assert_eq!(devices.map(|list| list.devices.len()), count, "{body}");
            let keys = serde_json::from_value::<Keys>(body.clone()).ok();
            assert_eq!(keys.map(|list| list.keys.len()), count, "{body}");
        }
    }

    #[test]
    fn only_auth_keys_count_and_what_the_list_leaves_out_is_asked_for() {
        for (body, auth, described) in [
            (
                json!({"id": "k1", "keyType": "auth", "description": "x"}),
                true,
                true,
            ),
            (json!({"id": "k1"}), true, false),
            (json!({"id": "k1", "keyType": "client"}), false, false),
            (
                json!({"id": "k1", "keyType": "api", "description": "x"}),
                false,
                true,
            ),
        ] {
            let row = serde_json::from_value::<KeyRow>(body.clone()).unwrap();
            assert_eq!(
                (row.is_auth(), row.is_described()),
                (auth, described),
                "{body}"
            );
        }
    }

    #[test]
    fn a_key_shows_nothing_of_its_secret() {
        let body = json!({"id": "k1", "key": "tskey-auth-k1-x", "created": "2026-11-21T10:00:00Z"});
        let key = Key::try_from(serde_json::from_value::<KeyBody>(body).unwrap()).unwrap();
        assert!(!format!("{key:?}").contains("tskey"), "{key:?}");
        let odd = json!({"id": "k1", "key": "x", "created": "yesterday"});
        assert!(Key::try_from(serde_json::from_value::<KeyBody>(odd).unwrap()).is_err());
    }
}
