//! What the webhook is told from outside.
//! It must not know what the settings are used for.

use crate::signature::Verifier;
use host::{DatabaseSettings, QueueSettings, Reader, SettingsError};

/// Settings of the webhook.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `DATABASE_URL`, `DATABASE_CA`.
    pub database: DatabaseSettings,
    /// `JOB_QUEUE_URL`, `AWS_ENDPOINT_URL_SQS`.
    pub queue: QueueSettings,
    /// `STRIPE_WEBHOOK_SECRET`: one or more, comma-separated.
    pub verifier: Verifier,
    /// `STRIPE_LIVEMODE`: when set, events of the other kind are refused.
    pub livemode: Option<bool>,
}

impl Settings {
    /// Reads them.
    ///
    /// # Errors
    /// All mistakes at once.
    pub fn read(mut reader: Reader) -> Result<Self, SettingsError> {
        let livemode = reader.optional_bool("STRIPE_LIVEMODE");
        let verifier = reader
            .required_secret("STRIPE_WEBHOOK_SECRET")
            .and_then(|secrets| {
                Verifier::new(&secrets)
                    .map_err(|wrong| reader.mistake("STRIPE_WEBHOOK_SECRET", wrong))
                    .ok()
            });
        let (database, queue) = (reader.database(), reader.queue());
        let settings = verifier
            .zip(database)
            .zip(queue)
            .map(|((verifier, database), queue)| Self {
                database,
                queue,
                verifier,
                livemode,
            });
        reader.finish(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: [(&str, &str); 5] = [
        ("DATABASE_URL", "postgres://u:hunter2@h/d"),
        ("JOB_QUEUE_URL", "http://q.test/1/jobs"),
        ("AWS_ACCESS_KEY_ID", "AKIATEST"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("STRIPE_WEBHOOK_SECRET", "whsec_1, whsec_2"),
    ];

    #[test]
    fn secrets_are_kept_out_of_sight() {
        let settings = Settings::read(Reader::new(WHOLE)).unwrap();
        let shown = format!("{settings:?}");
        assert!(
            !shown.contains("whsec") && !shown.contains("hunter2"),
            "{shown}"
        );
    }

    #[test]
    fn every_mistake_is_told() {
        let wrong = [
            ("STRIPE_WEBHOOK_SECRET", "whsec_1,,"),
            ("STRIPE_LIVEMODE", "yes"),
        ];
        let told = Settings::read(Reader::new(wrong)).unwrap_err().to_string();
        for name in [
            "DATABASE_URL",
            "JOB_QUEUE_URL",
            "STRIPE_WEBHOOK_SECRET",
            "STRIPE_LIVEMODE",
        ] {
            assert!(told.contains(name), "{told}");
        }
        assert!(!told.contains("whsec_1"));
    }
}
