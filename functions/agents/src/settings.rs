//! What the agents function is told from outside.
//! It must not know what the settings are used for.

use host::{DatabaseSettings, QueueSettings, Reader, SettingsError};
use secrecy::SecretString;

/// Settings of the agents function.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `DATABASE_URL`, `DATABASE_CA`.
    pub database: DatabaseSettings,
    /// `JOB_QUEUE_URL`, `AWS_ENDPOINT_URL_SQS`.
    pub queue: QueueSettings,
    /// `API_TOKEN`: the operator's.
    pub api_token: SecretString,
}

impl Settings {
    /// Reads them.
    ///
    /// # Errors
    /// All mistakes at once.
    pub fn read(mut reader: Reader) -> Result<Self, SettingsError> {
        let api_token = reader.required_secret("API_TOKEN");
        let (database, queue) = (reader.database(), reader.queue());
        let settings = api_token
            .zip(database)
            .zip(queue)
            .map(|((api_token, database), queue)| Self {
                database,
                queue,
                api_token,
            });
        reader.finish(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_told_and_the_token_never() {
        let told = Settings::read(Reader::new([("API_TOKEN", " ")]))
            .unwrap_err()
            .to_string();
        assert_eq!(told.lines().count(), 5, "{told}");
        let whole = [
            ("API_TOKEN", "hunter2"),
            ("DATABASE_URL", "postgres://h/d"),
            ("JOB_QUEUE_URL", "http://q.test/1/jobs"),
            ("AWS_ACCESS_KEY_ID", "AKIATEST"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
        ];
        let settings = Settings::read(Reader::new(whole)).unwrap();
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
