//! Compares secrets without telling, by the time it takes, where they differ.
//! It knows nothing of what they open.

use secrecy::{ExposeSecret, SecretString};
use std::hint::black_box;

/// Whether `given` is the secret. Takes the same time wherever they differ; only a different
/// length shows, which is no secret.
pub fn same_secret(secret: &SecretString, given: &str) -> bool {
    let (secret, given) = (secret.expose_secret().as_bytes(), given.as_bytes());
    let differences = secret
        .iter()
        .zip(given)
        .fold(0_u8, |differences, (one, other)| {
            black_box(differences | (one ^ other))
        });
    secret.len() == given.len() && differences == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_text_is_the_secret() {
        let secret = SecretString::from("hunter2");
        assert!(same_secret(&secret, "hunter2"));
        for other in ["", "hunter", "hunter22", "Hunter2", "hunter3"] {
            assert!(!same_secret(&secret, other), "{other}");
        }
    }
}
