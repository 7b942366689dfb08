//! Reads a process's settings: every mistake is kept, and all are told at once, one line each,
//! naming the variable and never its value.
//! It knows which variables several functions share; each function knows its own.

use secrecy::SecretString;
use std::{collections::BTreeMap, fmt, fs, str::FromStr};

/// What was wrong with the settings, one line per mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError(Vec<String>);

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for SettingsError {}

/// Where the database is.
#[derive(Debug, Clone)]
pub struct DatabaseSettings {
    /// `DATABASE_URL`.
    pub url: SecretString,
    /// `DATABASE_CA`: certificates to trust, as PEM.
    pub ca_pem: Option<Vec<u8>>,
}

/// Where the queue is, and who sends.
#[derive(Debug, Clone)]
pub struct QueueSettings {
    /// `JOB_QUEUE_URL`.
    pub url: String,
    /// `AWS_ENDPOINT_URL_SQS`: another SQS than Amazon's.
    pub endpoint: Option<String>,
    /// `AWS_REGION`, which Lambda sets; else as the queue's URL says.
    pub region: String,
    /// The keys that Lambda puts into the environment.
    pub keys: AwsKeys,
}

/// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`.
#[derive(Debug, Clone)]
pub struct AwsKeys {
    /// Names the keys.
    pub id: SecretString,
    /// Signs.
    pub secret: SecretString,
    /// Goes with keys that are lent.
    pub session: Option<SecretString>,
}

/// Reads variables and collects mistakes.
#[derive(Clone)]
pub struct Reader {
    values: BTreeMap<String, String>,
    mistakes: Vec<String>,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reader({} mistakes)", self.mistakes.len())
    }
}

impl Reader {
    /// The process's environment. The only place of a function that looks at it.
    pub fn environment() -> Self {
        let mut reader = Self::new([]);
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else {
                continue;
            };
            match value.into_string() {
                Ok(value) => drop(reader.values.insert(name, value)),
                Err(_) => drop(reader.values.insert(name, "\u{fffd}".to_owned())),
            }
        }
        reader
    }

    /// Settings handed in, for a process that holds several functions.
    pub fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let values = pairs
            .into_iter()
            .map(|(n, v)| (n.to_owned(), v.to_owned()))
            .collect();
        Self {
            values,
            mistakes: Vec::new(),
        }
    }

    /// Notes a mistake about a variable. `what` must not quote the value.
    pub fn mistake(&mut self, name: &str, what: impl fmt::Display) {
        self.mistakes.push(format!("{name}: {what}"));
    }

    /// A variable that may be missing. Blank counts as missing, since templates pass unset
    /// parameters as empty text; white space around a value is never meant.
    pub fn optional(&mut self, name: &str) -> Option<String> {
        let value = self.values.get(name)?.trim().to_owned();
        if value.contains('\u{fffd}') {
            self.mistake(name, "is not UTF-8");
            return None;
        }
        if value.starts_with("ssm:") {
            self.mistake(
                name,
                "ssm: values are not read by this version; give the value itself",
            );
            return None;
        }
        (!value.is_empty()).then_some(value)
    }

    /// A variable that must be there.
    pub fn required(&mut self, name: &str) -> Option<String> {
        let before = self.mistakes.len();
        let value = self.optional(name);
        if value.is_none() && self.mistakes.len() == before {
            self.mistake(name, "is missing");
        }
        value
    }

    /// A secret that may be missing.
    pub fn optional_secret(&mut self, name: &str) -> Option<SecretString> {
        self.optional(name).map(SecretString::from)
    }

    /// A secret that must be there.
    pub fn required_secret(&mut self, name: &str) -> Option<SecretString> {
        self.required(name).map(SecretString::from)
    }

    /// A variable that may be missing, but must be a `T` if it is there; `T`'s error must not
    /// quote the text.
    pub fn optional_as<T: FromStr<Err: fmt::Display>>(&mut self, name: &str) -> Option<T> {
        match self.optional(name)?.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.mistake(name, error);
                None
            }
        }
    }

    /// `true` or `false`, or missing.
    pub fn optional_bool(&mut self, name: &str) -> Option<bool> {
        match self.optional(name)?.as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => {
                self.mistake(name, "is neither true nor false");
                None
            }
        }
    }

    /// `DATABASE_URL` and `DATABASE_CA` (PEM text, or the path of a file that holds it).
    pub fn database(&mut self) -> Option<DatabaseSettings> {
        let ca_pem = self
            .optional("DATABASE_CA")
            .and_then(|value| self.pem("DATABASE_CA", value));
        let url = self.required_secret("DATABASE_URL")?;
        Some(DatabaseSettings { url, ca_pem })
    }

    fn pem(&mut self, name: &str, value: String) -> Option<Vec<u8>> {
        if value.starts_with("-----BEGIN") {
            return Some(value.into_bytes());
        }
        match fs::read(&value) {
            Ok(pem) => Some(pem),
            Err(error) => {
                self.mistake(
                    name,
                    format!("neither PEM text nor a file that can be read: {error}"),
                );
                None
            }
        }
    }

    /// `JOB_QUEUE_URL`, `AWS_ENDPOINT_URL_SQS`, `AWS_REGION`.
    pub fn queue(&mut self) -> Option<QueueSettings> {
        let endpoint = self.optional("AWS_ENDPOINT_URL_SQS");
        let region = self
            .optional("AWS_REGION")
            .or_else(|| self.optional("AWS_DEFAULT_REGION"));
        let keys = self.keys();
        let url = self.required("JOB_QUEUE_URL")?;
        if !(url.starts_with("https://") || url.starts_with("http://")) {
            self.mistake("JOB_QUEUE_URL", "is not the URL of a queue");
            return None;
        }
        let region = region.unwrap_or_else(|| region_of(&url));
        Some(QueueSettings {
            url,
            endpoint,
            region,
            keys: keys?,
        })
    }

    fn keys(&mut self) -> Option<AwsKeys> {
        let id = self.required_secret("AWS_ACCESS_KEY_ID");
        let secret = self.required_secret("AWS_SECRET_ACCESS_KEY");
        Some(AwsKeys {
            id: id?,
            secret: secret?,
            session: self.optional_secret("AWS_SESSION_TOKEN"),
        })
    }

    /// Gives the settings when nothing was wrong. `settings` is `None` only after a mistake.
    ///
    /// # Errors
    /// All mistakes made so far.
    pub fn finish<T>(self, settings: Option<T>) -> Result<T, SettingsError> {
        match settings {
            Some(settings) if self.mistakes.is_empty() => Ok(settings),
            Some(_) | None => {
                assert!(
                    !self.mistakes.is_empty(),
                    "a missing setting was noted as a mistake"
                );
                Err(SettingsError(self.mistakes))
            }
        }
    }
}

/// The region in `https://sqs.<region>.amazonaws.com/…`; SQS elsewhere takes any.
fn region_of(queue_url: &str) -> String {
    queue_url
        .split_once("://sqs.")
        .and_then(|(_, rest)| rest.split_once(".amazonaws."))
        .map_or("us-east-1", |(region, _)| region)
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn all_mistakes_are_told_at_once_and_no_value_is() {
        let mut reader = Reader::new([
            ("STRIPE_LIVEMODE", "hunter2"),
            ("DATABASE_URL", "  "),
            ("DATABASE_CA", "/no/such/hunter2"),
            ("JOB_QUEUE_URL", "hunter2"),
            ("AWS_ACCESS_KEY_ID", "hunter2"),
            ("COUNT", "hunter2"),
            ("SECRET", "ssm:/hunter2"),
        ]);
        let parts = (
            reader.database(),
            reader.queue(),
            reader.optional_bool("STRIPE_LIVEMODE"),
            reader.optional_as::<u16>("COUNT"),
            reader.required_secret("SECRET"),
        );
        let told = reader.finish(parts.0.map(drop)).unwrap_err().to_string();
        let names: Vec<&str> = told
            .lines()
            .filter_map(|line| line.split(':').next())
            .collect();
        assert_eq!(
            names,
            [
                "DATABASE_CA",
                "DATABASE_URL",
                "AWS_SECRET_ACCESS_KEY",
                "JOB_QUEUE_URL",
                "STRIPE_LIVEMODE",
                "COUNT",
                "SECRET"
            ]
        );
        assert!(!told.contains("hunter2"), "{told}");
    }

    #[test]
    fn values_are_trimmed_and_the_region_is_known() {
        let mut reader = Reader::new([
            ("DATABASE_URL", " postgres://u@h/d\n"),
            ("DATABASE_CA", "-----BEGIN CERTIFICATE-----"),
            (
                "JOB_QUEUE_URL",
                "https://sqs.eu-north-1.amazonaws.com/1/jobs",
            ),
            ("AWS_REGION", ""),
            ("AWS_ACCESS_KEY_ID", "AKIATEST"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
        ]);
        let database = reader.database().unwrap();
        assert_eq!(database.url.expose_secret(), "postgres://u@h/d");
        assert!(database.ca_pem.is_some());
        assert!(!format!("{database:?}").contains("u@h"));
        assert_eq!(reader.queue().unwrap().region, "eu-north-1");
        assert_eq!(region_of("http://127.0.0.1:9324/1/jobs"), "us-east-1");
        assert_eq!(reader.finish(Some(7)), Ok(7));
    }

    #[test]
    fn a_mistake_spoils_settings_that_are_complete() {
        let mut reader = Reader::new([("FLAG", "maybe")]);
        assert_eq!(reader.optional_bool("FLAG"), None);
        assert!(reader.finish(Some(7)).is_err());
    }
}
