//! Signed links to an agent's status page: whoever holds one sees that agent until it expires.
//! Nothing about a link is stored. It must not know what the page shows or who asks.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use domain::{AgentId, Timestamp};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use std::time::Duration;
use uuid::Uuid;

/// How long a new link is good for.
pub const LINK_LIFE: Duration = Duration::from_hours(24 * 30);

/// Says what is signed, so that no other use of the same key ever makes a link.
const DOMAIN: &[u8] = b"slipway status link\0";
/// The first byte of a link; another layout gets another number.
const VERSION: u8 = 1;
/// Version, agent id, end of its life in seconds.
const SIGNED: usize = 1 + 16 + 8;
const MAC: usize = 32;

/// A link that was made with the secret and is not expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// Whose page it opens.
    pub agent_id: AgentId,
    /// Until when.
    pub expires: Timestamp,
}

/// Why a link opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// It was not made with the secret.
    #[error("this is no status link")]
    Wrong,
    /// It was made with the secret and is past its life.
    #[error("the status link has expired")]
    Expired {
        /// Whose page it opened.
        agent_id: AgentId,
    },
}

/// A link to `agent_id` until `expires`, rounded down to whole seconds: one path segment of 76
/// characters, safe in any URL.
pub fn make(secret: &SecretString, agent_id: AgentId, expires: Timestamp) -> String {
    let mut link = Vec::with_capacity(SIGNED + MAC);
    link.push(VERSION);
    link.extend_from_slice(agent_id.0.as_bytes());
    link.extend_from_slice(&expires.unix_seconds().to_be_bytes());
    let mac = mac(secret, &link).finalize().into_bytes();
    link.extend_from_slice(&mac);
    BASE64_URL_SAFE_NO_PAD.encode(link)
}

/// Opens a link at `now`.
///
/// # Errors
/// When it is forged or expired; compares in constant time.
pub fn open(secret: &SecretString, link: &str, now: Timestamp) -> Result<Opened, LinkError> {
    let bytes = BASE64_URL_SAFE_NO_PAD
        .decode(link)
        .or(Err(LinkError::Wrong))?;
    let (signed, told) = bytes.split_at_checked(SIGNED).ok_or(LinkError::Wrong)?;
    mac(secret, signed)
        .verify_slice(told)
        .or(Err(LinkError::Wrong))?;
    let opened = read(signed).ok_or(LinkError::Wrong)?;
    if opened.expires <= now {
        return Err(LinkError::Expired {
            agent_id: opened.agent_id,
        });
    }
    Ok(opened)
}

fn read(signed: &[u8]) -> Option<Opened> {
    let (version, rest) = signed.split_first()?;
    let (agent_id, expires) = rest.split_first_chunk()?;
    let expires = i64::from_be_bytes(expires.try_into().ok()?);
    (*version == VERSION).then_some(Opened {
        agent_id: AgentId(Uuid::from_bytes(*agent_id)),
        expires: Timestamp::from_unix_seconds(expires),
    })
}

fn mac(secret: &SecretString, signed: &[u8]) -> Hmac<Sha256> {
    match Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()) {
        Ok(mac) => mac.chain_update(DOMAIN).chain_update(signed),
        // HMAC takes keys of any length; the type cannot say so.
        Err(_) => unreachable!("HMAC refused a key"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AGENT: AgentId = AgentId(Uuid::from_u128(7));
    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

    fn secret(text: &str) -> SecretString {
        text.to_owned().into()
    }

    #[test]
    fn a_link_opens_its_agent_until_it_expires() {
        let key = secret("key");
        let expires = NOW.plus(LINK_LIFE);
        let link = make(&key, AGENT, expires);
        assert_eq!(link.len(), 76);
        let opened = open(&key, &link, NOW).unwrap();
        assert_eq!((opened.agent_id, opened.expires), (AGENT, expires));
        let last = Timestamp::from_unix_seconds(expires.unix_seconds() - 1);
        assert!(open(&key, &link, last).is_ok());
        let late = LinkError::Expired { agent_id: AGENT };
        assert_eq!(open(&key, &link, expires), Err(late));
    }

    #[test]
    fn another_key_opens_nothing_whatever_the_time() {
        let link = make(&secret("key"), AGENT, NOW.plus(LINK_LIFE));
        for now in [NOW, NOW.plus(LINK_LIFE * 2)] {
            assert_eq!(open(&secret("kez"), &link, now), Err(LinkError::Wrong));
        }
    }

    #[test]
    fn another_version_is_no_link_even_when_signed() {
        let key = secret("key");
        let mut bytes = vec![2; SIGNED];
        let mac = mac(&key, &bytes).finalize().into_bytes();
        bytes.extend_from_slice(&mac);
        let link = BASE64_URL_SAFE_NO_PAD.encode(bytes);
        assert_eq!(open(&key, &link, NOW), Err(LinkError::Wrong));
    }

    proptest! {
        #[test]
        fn no_changed_bit_and_no_changed_length_opens(bit in 0_usize..76 * 6, cut in 0_usize..76) {
            let key = secret("key");
            let link = make(&key, AGENT, NOW.plus(LINK_LIFE));
            let mut bytes = BASE64_URL_SAFE_NO_PAD.decode(&link).unwrap();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let changed = BASE64_URL_SAFE_NO_PAD.encode(bytes);
            prop_assert_eq!(open(&key, &changed, NOW), Err(LinkError::Wrong));
            let (head, _) = link.split_at(cut);
            prop_assert_eq!(open(&key, head, NOW), Err(LinkError::Wrong));
            for longer in [format!("{link}{head}A"), format!("{link}A")] {
                prop_assert_eq!(open(&key, &longer, NOW), Err(LinkError::Wrong));
            }
        }

        #[test]
        fn no_text_opens(text in "\\PC{0,100}") {
            prop_assert_eq!(open(&secret("key"), &text, NOW), Err(LinkError::Wrong));
        }
    }
}
