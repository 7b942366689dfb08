//! Signing and opening: known values, both secrets, both cases, freshness, and garbage.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use contract::{REPORT_BYTES_MAX, Rejection, Report, RunPair, Said, Sender, Verifier, sign};
use proptest::prelude::*;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const OLD: &[u8] = b"fedcba9876543210fedcba9876543210";

fn verifier() -> Verifier {
    Verifier::new(vec![SECRET.to_vec(), OLD.to_vec()]).unwrap()
}

fn report(sent_at: i64) -> Vec<u8> {
    let run = RunPair {
        workflow_run_id: "7".to_owned(),
        run_attempt: 1,
    };
    let sender = Sender::Attempt {
        fence: 1,
        run,
        sent_at,
    };
    Report::new("j", sender, 1, Said::Heartbeat)
        .to_body()
        .unwrap()
}

#[test]
fn the_signature_is_hmac_sha256() {
    // RFC 4231, test case 2.
    let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    assert_eq!(sign(b"Jefe", b"what do ya want for nothing?"), expected);
}

#[test]
fn both_secrets_and_both_cases_are_accepted() {
    let body = report(1000);
    for secret in [SECRET, OLD] {
        let signature = sign(secret, &body);
        assert!(verifier().open(Some(&signature), &body, 1000).is_ok());
        assert!(
            verifier()
                .open(Some(&signature.to_uppercase()), &body, 1000)
                .is_ok()
        );
    }
}

#[test]
fn nothing_else_is() {
    let body = report(1000);
    let good = sign(SECRET, &body);
    let short = good.get(..63).unwrap();
    let long = format!("{good}00");
    let prefixed = format!("sha256={good}");
    let other = sign(b"another secret of thirty-two byt", &body);
    for wrong in ["", short, &long, &prefixed, &other, &"g".repeat(64)] {
        let rejection = verifier().open(Some(wrong), &body, 1000).unwrap_err();
        assert_eq!(rejection, Rejection::Signature, "{wrong}");
    }
    assert_eq!(
        verifier().open(None, &body, 1000).unwrap_err(),
        Rejection::Signature
    );
}

#[test]
fn freshness_reaches_three_hundred_seconds_both_ways() {
    let body = report(1000);
    let signature = sign(SECRET, &body);
    for (now, fresh) in [(700, true), (699, false), (1300, true), (1301, false)] {
        let opened = verifier().open(Some(&signature), &body, now);
        assert_eq!(opened.is_ok(), fresh, "{now}");
        assert!(fresh || opened == Err(Rejection::Stale));
    }
    let old = br#"{"job_id":"j","status":"failed"}"#;
    assert!(
        verifier()
            .open(Some(&sign(SECRET, old)), old, i64::MAX)
            .is_ok()
    );
}

#[test]
fn size_comes_first_and_parsing_last() {
    let huge = vec![b' '; REPORT_BYTES_MAX + 1];
    let rejection = verifier()
        .open(Some(&sign(SECRET, &huge)), &huge, 0)
        .unwrap_err();
    assert_eq!(rejection, Rejection::TooLarge);
    let garbage = b"{]";
    assert_eq!(
        verifier().open(Some("00"), garbage, 0).unwrap_err(),
        Rejection::Signature
    );
    let signed = verifier()
        .open(Some(&sign(SECRET, garbage)), garbage, 0)
        .unwrap_err();
    assert!(matches!(signed, Rejection::Malformed(_)));
}

#[test]
fn short_secrets_are_refused() {
    assert!(Verifier::new(vec![b"short".to_vec()]).is_err());
    assert!(Verifier::new(Vec::new()).is_err());
    assert!(!format!("{:?}", verifier()).contains("0123"));
}

proptest! {
    #[test]
    fn one_changed_bit_is_noticed(body in prop::collection::vec(any::<u8>(), 1..200), at: usize) {
        let signature = sign(SECRET, &body);
        prop_assert!(verifier().holds(&signature, &body));
        let mut changed = body.clone();
        let index = at % changed.len();
        changed[index] ^= 1 << (at % 8);
        prop_assert!(!verifier().holds(&signature, &changed));
    }

    #[test]
    fn garbage_never_panics(
        signature in ".{0,80}", body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        prop_assert!(verifier().open(Some(&signature), &body, 0).is_err());
        let signed = sign(SECRET, &body);
        let opened = verifier().open(Some(&signed), &body, 0);
        prop_assert!(!matches!(opened, Err(Rejection::Signature)));
    }
}
