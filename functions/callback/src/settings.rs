//! What the callback is told from outside.
//! It must not know what the settings are used for.

use contract::{MIN_SECRET_BYTES, Verifier};
use host::{DatabaseSettings, QueueSettings, Reader, SettingsError};
use secrecy::{ExposeSecret, SecretString};

/// Settings of the callback.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `DATABASE_URL`, `DATABASE_CA`.
    pub database: DatabaseSettings,
    /// `JOB_QUEUE_URL`, `AWS_ENDPOINT_URL_SQS`.
    pub queue: QueueSettings,
    /// `CALLBACK_SECRET`, and `CALLBACK_SECRET_PREVIOUS` while it is being rotated.
    pub verifier: Verifier,
    /// `INSTALLATION`, as the runner has it; `default` when not set.
    pub installation: String,
}

impl Settings {
    /// Reads them.
    ///
    /// # Errors
    /// All mistakes at once.
    pub fn read(mut reader: Reader) -> Result<Self, SettingsError> {
        let secret = reader.required_secret("CALLBACK_SECRET");
        let previous = reader.optional_secret("CALLBACK_SECRET_PREVIOUS");
        for (name, secret) in [
            ("CALLBACK_SECRET", &secret),
            ("CALLBACK_SECRET_PREVIOUS", &previous),
        ] {
            if secret
                .as_ref()
                .is_some_and(|secret| bytes(secret).len() < MIN_SECRET_BYTES)
            {
                reader.mistake(name, format!("has fewer than {MIN_SECRET_BYTES} bytes"));
            }
        }
        let secrets: Vec<Vec<u8>> = secret
            .iter()
            .chain(&previous)
            .map(|secret| bytes(secret).to_vec())
            .collect();
        // What is wrong with them was noted above.
        let verifier = Verifier::new(secrets).ok();
        let installation = reader.optional("INSTALLATION");
        let installation = installation.unwrap_or_else(|| "default".to_owned());
        if !is_label(&installation) {
            let what = "is no Hetzner label: at most 63 letters, digits, '-', '_', '.'";
            reader.mistake("INSTALLATION", what);
        }
        let (database, queue) = (reader.database(), reader.queue());
        let settings = verifier
            .zip(database)
            .zip(queue)
            .map(|((verifier, database), queue)| Self {
                database,
                queue,
                verifier,
                installation,
            });
        reader.finish(settings)
    }
}

/// Hetzner: a label's value begins and ends with a letter or digit.
fn is_label(text: &str) -> bool {
    let inside = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
    let (first, last) = (text.bytes().next(), text.bytes().last());
    text.len() <= 63 && edge(first) && edge(last) && text.bytes().all(inside)
}

fn bytes(secret: &SecretString) -> &[u8] {
    secret.expose_secret().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: &str = "0123456789abcdef0123456789abcdef";
    const OLD: &str = "fedcba9876543210fedcba9876543210";

    fn read(more: &[(&str, &str)]) -> Result<Settings, String> {
        let base = [
            ("DATABASE_URL", "postgres://h/d"),
            ("JOB_QUEUE_URL", "http://q.test/1/jobs"),
            ("AWS_ACCESS_KEY_ID", "AKIATEST"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
        ];
        let pairs = base.iter().chain(more).copied();
        Settings::read(Reader::new(pairs)).map_err(|error| error.to_string())
    }

    #[test]
    fn two_secrets_hold_while_one_is_rotated() {
        let both = [("CALLBACK_SECRET", NEW), ("CALLBACK_SECRET_PREVIOUS", OLD)];
        let verifier = read(&both).unwrap().verifier;
        for secret in [NEW, OLD] {
            assert!(verifier.holds(&contract::sign(secret.as_bytes(), b"x"), b"x"));
        }
        let one = read(&[("CALLBACK_SECRET", NEW)]).unwrap().verifier;
        assert!(!one.holds(&contract::sign(OLD.as_bytes(), b"x"), b"x"));
    }

    #[test]
    fn an_installation_is_a_label() {
        let installed = |name| {
            let more = [("CALLBACK_SECRET", NEW), ("INSTALLATION", name)];
            read(&more).map(|settings| settings.installation)
        };
        assert_eq!(installed("shop-2").unwrap(), "shop-2");
        for wrong in ["-x", "a b", &"x".repeat(64)] {
            assert!(installed(wrong).unwrap_err().starts_with("INSTALLATION"));
        }
        let secret = [("CALLBACK_SECRET", NEW)];
        assert_eq!(read(&secret).unwrap().installation, "default");
    }

    #[test]
    fn a_short_or_missing_secret_is_a_mistake() {
        for (more, says) in [
            (vec![], "CALLBACK_SECRET: is missing"),
            (
                vec![("CALLBACK_SECRET_PREVIOUS", OLD)],
                "CALLBACK_SECRET: is missing",
            ),
            (
                vec![("CALLBACK_SECRET", "hunter2")],
                "CALLBACK_SECRET: has fewer than 32 bytes",
            ),
            (
                vec![
                    ("CALLBACK_SECRET", NEW),
                    ("CALLBACK_SECRET_PREVIOUS", "hunter2"),
                ],
                "CALLBACK_SECRET_PREVIOUS: has fewer than 32 bytes",
            ),
        ] {
            assert_eq!(read(&more).unwrap_err(), says);
        }
    }
}
