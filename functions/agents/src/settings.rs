//! What the agents function is told from outside.
//! It must not know what the settings are used for.

use host::{DatabaseSettings, QueueSettings, Reader, SettingsError};
use secrecy::{ExposeSecret, SecretString};
use std::net::IpAddr;
use url::{Host, Url};

/// Shortest key for links, in bytes: as long as what HMAC-SHA-256 makes of it.
const LINK_KEY_BYTES_MIN: usize = 32;

/// Settings of the agents function.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `DATABASE_URL`, `DATABASE_CA`.
    pub database: DatabaseSettings,
    /// `JOB_QUEUE_URL`, `AWS_ENDPOINT_URL_SQS`.
    pub queue: QueueSettings,
    /// `API_TOKEN`: the operator's.
    pub api_token: SecretString,
    /// `STATUS_LINK_SECRET`: signs status links; at least 32 bytes.
    pub link_key: SecretString,
    /// `PUBLIC_URL`: origin of this deployment, without a slash at its end.
    pub public_url: Option<String>,
}

impl Settings {
    /// Reads them.
    ///
    /// # Errors
    /// All mistakes at once.
    pub fn read(mut reader: Reader) -> Result<Self, SettingsError> {
        let api_token = reader.required_secret("API_TOKEN");
        let link_key = reader
            .required_secret("STATUS_LINK_SECRET")
            .filter(|key| long_enough(&mut reader, key));
        let public_url = reader
            .optional("PUBLIC_URL")
            .and_then(|url| origin(&mut reader, &url));
        let (database, queue) = (reader.database(), reader.queue());
        let settings = api_token.zip(link_key).zip(database).zip(queue).map(
            |(((api_token, link_key), database), queue)| Self {
                database,
                queue,
                api_token,
                link_key,
                public_url,
            },
        );
        reader.finish(settings)
    }
}

fn long_enough(reader: &mut Reader, key: &SecretString) -> bool {
    let enough = key.expose_secret().len() >= LINK_KEY_BYTES_MIN;
    if !enough {
        let what = format!("is shorter than {LINK_KEY_BYTES_MIN} bytes");
        reader.mistake("STATUS_LINK_SECRET", what);
    }
    enough
}

/// An origin alone: links are appended to it. Plain HTTP only on this machine, because a link is
/// all that a customer needs to see an agent.
fn origin(reader: &mut Reader, text: &str) -> Option<String> {
    let url = Url::parse(text).ok().filter(is_origin);
    if url.is_none() {
        let what = "is not an https origin like https://agents.example.com";
        reader.mistake("PUBLIC_URL", what);
    }
    url.map(|url| url.origin().ascii_serialization())
}

fn is_origin(url: &Url) -> bool {
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let nobody = url.username().is_empty() && url.password().is_none();
    let here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => return false,
    };
    bare && nobody && (url.scheme() == "https" || (url.scheme() == "http" && here))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdef0123456789abcdef";
    const WHOLE: [(&str, &str); 6] = [
        ("API_TOKEN", "hunter2"),
        ("STATUS_LINK_SECRET", KEY),
        ("DATABASE_URL", "postgres://h/d"),
        ("JOB_QUEUE_URL", "http://q.test/1/jobs"),
        ("AWS_ACCESS_KEY_ID", "AKIATEST"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
    ];

    fn read(more: &[(&'static str, &'static str)]) -> Result<Settings, SettingsError> {
        Settings::read(Reader::new(WHOLE.into_iter().chain(more.iter().copied())))
    }

    #[test]
    fn every_mistake_is_told_and_the_secrets_never() {
        let wrong = [
            ("API_TOKEN", " "),
            ("STATUS_LINK_SECRET", "hunter2"),
            ("PUBLIC_URL", "agents.example.com"),
        ];
        let told = Settings::read(Reader::new(wrong)).unwrap_err().to_string();
        assert_eq!(told.lines().count(), 7, "{told}");
        assert!(!told.contains("hunter2"), "{told}");
        let shown = format!("{:?}", read(&[]).unwrap());
        assert!(
            !shown.contains("hunter2") && !shown.contains(KEY),
            "{shown}"
        );
    }

    #[test]
    fn a_public_url_is_an_origin_that_nobody_can_listen_to() {
        assert_eq!(read(&[]).unwrap().public_url, None);
        for (given, kept) in [
            ("https://agents.example.com", "https://agents.example.com"),
            (
                "https://Agents.example.com:443/",
                "https://agents.example.com",
            ),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://[::1]:80/", "http://[::1]"),
            ("http://localhost:8080", "http://localhost:8080"),
        ] {
            let settings = read(&[("PUBLIC_URL", given)]).unwrap();
            assert_eq!(settings.public_url.as_deref(), Some(kept), "{given}");
        }
        for wrong in [
            "http://agents.example.com",
            "https://agents.example.com/s",
            "https://u:p@agents.example.com",
            "https://agents.example.com/?a",
            "mailto:a@example.com",
            "/s",
        ] {
            let told = read(&[("PUBLIC_URL", wrong)]).unwrap_err().to_string();
            assert!(told.starts_with("PUBLIC_URL: "), "{told}");
        }
    }
}
