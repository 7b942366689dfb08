//! What dispatch is told from outside. What only a call to GitHub needs is checked when the call
//! is made: a job must not be lost because a token is not set yet.
//! It must not know what the settings are used for.

use host::{DatabaseSettings, QueueSettings, Reader, SettingsError};
use jsonwebtoken::EncodingKey;
use secrecy::{ExposeSecret, SecretString};
use std::{fmt, net::IpAddr};

/// GitHub's own API.
const GITHUB_API_URL: &str = "https://api.github.com";

/// Settings of dispatch.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `DATABASE_URL`, `DATABASE_CA`.
    pub database: DatabaseSettings,
    /// `JOB_QUEUE_URL`, `AWS_ENDPOINT_URL_SQS`.
    pub queue: QueueSettings,
    /// What a call to GitHub needs, or all that is wrong with it in one line.
    pub github: Result<GitHubSettings, String>,
}

/// What a call to GitHub needs.
#[derive(Debug, Clone)]
pub struct GitHubSettings {
    /// `GITHUB_API_URL`, without a slash at its end.
    pub api_url: String,
    /// `GITHUB_REPOSITORY`.
    pub repository: Repository,
    /// `CALLBACK_URL`: where runs report to.
    pub callback_url: String,
    /// Who asks.
    pub credential: Credential,
}

/// `owner/name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// Who owns it.
    pub owner: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

/// Who asks GitHub.
#[derive(Clone)]
pub enum Credential {
    /// `GITHUB_TOKEN`: a fine-grained personal token.
    Token(SecretString),
    /// `GITHUB_APP_ID` and `GITHUB_APP_PRIVATE_KEY`.
    App {
        /// The App's id, or its client id.
        id: String,
        /// The App's RSA key.
        key: Box<EncodingKey>,
    },
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.variables())
    }
}

impl Credential {
    /// The variables that hold it, for people.
    pub const fn variables(&self) -> &'static str {
        match self {
            Self::Token(_) => "GITHUB_TOKEN",
            Self::App { .. } => "GITHUB_APP_ID with GITHUB_APP_PRIVATE_KEY",
        }
    }
}

impl Settings {
    /// Reads them.
    ///
    /// # Errors
    /// All mistakes in what dispatch cannot work without.
    pub fn read(mut reader: Reader) -> Result<Self, SettingsError> {
        let github = GitHubSettings::read(reader.clone());
        let (database, queue) = (reader.database(), reader.queue());
        let settings = database.zip(queue).map(|(database, queue)| Self {
            database,
            queue,
            github,
        });
        reader.finish(settings)
    }
}

impl GitHubSettings {
    /// Reads what a call to GitHub needs.
    ///
    /// # Errors
    /// One line that names everything missing or wrong.
    pub fn read(mut reader: Reader) -> Result<Self, String> {
        let api_url = reader.optional("GITHUB_API_URL");
        let api_url = api_url
            .as_deref()
            .unwrap_or(GITHUB_API_URL)
            .trim_end_matches('/')
            .to_owned();
        let credential = credential(&mut reader);
        let repository = repository(&mut reader);
        let callback_url = address(&mut reader, "CALLBACK_URL");
        let settings = credential.zip(repository).zip(callback_url).map(
            |((credential, repository), callback_url)| Self {
                api_url,
                repository,
                callback_url,
                credential,
            },
        );
        reader
            .finish(settings)
            .map_err(|error| error.to_string().replace('\n', "; "))
    }
}

fn credential(reader: &mut Reader) -> Option<Credential> {
    let token = reader.optional_secret("GITHUB_TOKEN");
    let id = reader.optional("GITHUB_APP_ID");
    let key = reader.optional_secret("GITHUB_APP_PRIVATE_KEY");
    match (token, id, key) {
        (Some(token), _, _) => Some(Credential::Token(token)),
        (None, Some(id), Some(key)) => {
            // Templates and .env files often carry a key with its line ends written as \n.
            let pem = key.expose_secret().replace("\\n", "\n");
            let Ok(key) = EncodingKey::from_rsa_pem(pem.as_bytes()) else {
                reader.mistake(
                    "GITHUB_APP_PRIVATE_KEY",
                    "is not an RSA private key in PEM form",
                );
                return None;
            };
            Some(Credential::App {
                id,
                key: Box::new(key),
            })
        }
        (None, Some(_), None) => {
            reader.mistake(
                "GITHUB_APP_PRIVATE_KEY",
                "is missing, and so is GITHUB_TOKEN",
            );
            None
        }
        (None, None, Some(_)) => {
            reader.mistake("GITHUB_APP_ID", "is missing, and so is GITHUB_TOKEN");
            None
        }
        (None, None, None) => {
            let what = "is missing, and so are GITHUB_APP_ID and GITHUB_APP_PRIVATE_KEY";
            reader.mistake("GITHUB_TOKEN", what);
            None
        }
    }
}

fn repository(reader: &mut Reader) -> Option<Repository> {
    let text = reader.required("GITHUB_REPOSITORY")?;
    let plain = |part: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        !part.is_empty() && !matches!(part, "." | "..") && part.bytes().all(plain)
    };
    match text.split_once('/') {
        Some((owner, name)) if plain(owner) && plain(name) => Some(Repository {
            owner: owner.to_owned(),
            name: name.to_owned(),
        }),
        Some(_) | None => {
            reader.mistake("GITHUB_REPOSITORY", "is not of the form owner/name");
            None
        }
    }
}

/// The runner refuses every other address too.
fn is_safe(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else {
        return url.starts_with("https://");
    };
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    let host = host.trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

fn address(reader: &mut Reader, name: &str) -> Option<String> {
    let text = reader.required(name)?;
    if is_safe(&text) && text.bytes().all(|b| b.is_ascii_graphic()) {
        return Some(text);
    }
    reader.mistake(
        name,
        "is not a URL that begins with https:// (http:// for loopback only)",
    );
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: [(&str, &str); 3] = [
        ("GITHUB_TOKEN", "github_pat_1"),
        ("GITHUB_REPOSITORY", "acme/ops"),
        ("CALLBACK_URL", "https://api.acme.test/callback"),
    ];

    #[test]
    fn a_token_a_repository_and_an_address_are_enough() {
        let settings = GitHubSettings::read(Reader::new(WHOLE)).unwrap();
        assert_eq!(settings.api_url, "https://api.github.com");
        assert_eq!(settings.repository.to_string(), "acme/ops");
        assert!(!format!("{settings:?}").contains("github_pat_1"));
    }

    #[test]
    fn everything_missing_is_named_in_one_line() {
        let error = GitHubSettings::read(Reader::new([])).unwrap_err();
        for name in [
            "GITHUB_TOKEN",
            "GITHUB_APP_ID",
            "GITHUB_REPOSITORY",
            "CALLBACK_URL",
        ] {
            assert!(error.contains(name), "{error}");
        }
        assert!(!error.contains('\n'));
    }

    #[test]
    fn wrong_values_are_named_and_not_shown() {
        for (name, value) in [
            ("GITHUB_REPOSITORY", "acme"),
            ("GITHUB_REPOSITORY", "acme/ops/x"),
            ("GITHUB_REPOSITORY", "../ops"),
            ("CALLBACK_URL", "ftp://hunter2"),
            ("CALLBACK_URL", "https://a b"),
        ] {
            let wrong = WHOLE
                .into_iter()
                .filter(|(n, _)| *n != name)
                .chain([(name, value)]);
            let error = GitHubSettings::read(Reader::new(wrong)).unwrap_err();
            assert!(error.starts_with(name) && !error.contains(value), "{error}");
        }
        let app = [
            ("GITHUB_APP_ID", "1"),
            ("GITHUB_APP_PRIVATE_KEY", "hunter2"),
        ];
        let error = GitHubSettings::read(Reader::new(app)).unwrap_err();
        assert!(
            error.contains("GITHUB_APP_PRIVATE_KEY: is not an RSA") && !error.contains("hunter2")
        );
        let half = GitHubSettings::read(Reader::new([("GITHUB_APP_ID", "1")])).unwrap_err();
        assert!(half.starts_with("GITHUB_APP_PRIVATE_KEY"), "{half}");
    }

    #[test]
    fn a_missing_token_does_not_stop_the_process() {
        let rest = [
            ("DATABASE_URL", "postgres://h/d"),
            ("JOB_QUEUE_URL", "http://q.test/1/jobs"),
            ("AWS_ACCESS_KEY_ID", "AKIATEST"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
        ];
        let settings = Settings::read(Reader::new(rest)).unwrap();
        assert!(settings.github.is_err());
        assert!(Settings::read(Reader::new(WHOLE)).is_err());
    }
}
