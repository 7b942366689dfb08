//! Stripe's own libraries, the Python and the JavaScript one, beside ours. Odd and bad signature
//! headers get the same answer, but for the cases in which we are stricter; each of those says why.
//! The events of our tests are such as they accept, and name to us what they name to them.

#![cfg(test)]

use secrecy::SecretString;
use serde_json::{Value, json};
use sim::{
    peers,
    stripe::{EventHead, Signer, events::every_kind},
};
use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};
use stripe_webhook::{event::Event, signature::Verifier};

const NOW: i64 = 1_700_000_000;
const SECRET: &str = "whsec_test";
const BODY: &str = r#"{"id":"evt_1","object":"event","type":"x","data":{"object":{}}}"#;
/// Over `BODY` at `NOW` with `SECRET`.
const MADE: &str = "642e6beb2dbc243ef2c883582986bceb107bc787735fee9d0e5619fd0f02e320";

struct Case {
    name: &'static str,
    header: String,
    secret: &'static str,
    now: i64,
    /// Set where we refuse what at least one of Stripe's verifiers accepts.
    stricter: Option<&'static str>,
}

fn case(name: &'static str, header: impl Into<String>) -> Case {
    Case {
        name,
        header: header.into(),
        secret: SECRET,
        now: NOW,
        stricter: None,
    }
}

impl Case {
    fn at(self, now: i64) -> Self {
        Self { now, ..self }
    }

    fn with(self, secret: &'static str) -> Self {
        Self { secret, ..self }
    }

    fn stricter(self, why: &'static str) -> Self {
        Self {
            stricter: Some(why),
            ..self
        }
    }
}

fn good() -> String {
    format!("t={NOW},v1={MADE}")
}

fn agreed() -> Vec<Case> {
    let wrong = "0".repeat(64);
    vec![
        case("as Stripe sends it", good()),
        case("with the fake v0", format!("t={NOW},v1={MADE},v0={wrong}")),
        case("v1 before t", format!("v1={MADE},t={NOW}")),
        case(
            "wrong v1, then right",
            format!("t={NOW},v1={wrong},v1={MADE}"),
        ),
        case(
            "right v1, then wrong",
            format!("t={NOW},v1={MADE},v1={wrong}"),
        ),
        case("only a wrong v1", format!("t={NOW},v1={wrong}")),
        case("only v0", format!("t={NOW},v0={MADE}")),
        case("no t", format!("v1={MADE}")),
        case("no v1", format!("t={NOW}")),
        case("empty", ""),
        case("no pair at all", "garbage"),
        case("t without a value", format!("t,v1={MADE}")),
        case("empty t", format!("t=,v1={MADE}")),
        case("t is a word", format!("t=now,v1={MADE}")),
        case(
            "t beyond 64 bits",
            format!("t={},v1={MADE}", "9".repeat(30)),
        ),
        case("t with a plus sign", format!("t=+{NOW},v1={MADE}")),
        case("t with leading zeros", format!("t=000{NOW},v1={MADE}")),
        case("t after a space", format!("t= {NOW},v1={MADE}")),
        case("t before a space", format!("t={NOW} ,v1={MADE}")),
        case("negative t", format!("t=-{NOW},v1={MADE}")),
        case("v1 without a value", format!("t={NOW},v1")),
        case("empty v1", format!("t={NOW},v1=")),
        case("space after the comma", format!("t={NOW}, v1={MADE}")),
        case("space after the signature", format!("t={NOW},v1={MADE} ")),
        case(
            "upper-case hex",
            format!("t={NOW},v1={}", MADE.to_uppercase()),
        ),
        case("upper-case scheme", format!("t={NOW},V1={MADE}")),
        case(
            "signature cut short",
            format!("t={NOW},v1={}", MADE.trim_end_matches("20")),
        ),
        case("signature too long", format!("t={NOW},v1={MADE}00")),
        case(
            "= at the end of the signature",
            format!("t={NOW},v1={MADE}="),
        ),
        case("comma at the end", format!("t={NOW},v1={MADE},")),
        case("commas everywhere", format!(",,t={NOW},,v1={MADE},,")),
        case(
            "unknown keys",
            format!("x=1,t={NOW},y,v2={wrong},v1={MADE}"),
        ),
        case("semicolons", format!("t={NOW};v1={MADE}")),
        case(
            "two headers joined",
            format!("{},{}", format_args!("v1={wrong}"), good()),
        ),
        case("299 s old", good()).at(NOW + 299),
        case("301 s old", good()).at(NOW + 301),
        case("300 s old", good()).at(NOW + 300),
        case("299 s ahead", good()).at(NOW - 299),
        case("300 s ahead", good()).at(NOW - 300),
        case("another secret", good()).with("whsec_other"),
    ]
}

fn ours_is_stricter() -> Vec<Case> {
    let same = format!("t={NOW},t={NOW},v1={MADE}");
    let first = format!("t={NOW},t=1,v1={MADE}");
    let last = format!("t=1,t={NOW},v1={MADE}");
    let two = "they take the first or the last t; which one is meant cannot be known";
    let part = "JavaScript takes the digits at the beginning; only a whole integer is a time";
    vec![
        case("301 s ahead", good())
            .at(NOW - 301)
            .stricter("they accept any future"),
        case("years ahead", good())
            .at(1_000_000_000)
            .stricter("they accept any future"),
        case("the same t twice", same).stricter(two),
        case("two t, the first right", first).stricter(two),
        case("two t, the last right", last).stricter(two),
        case("t with a fraction", format!("t={NOW}.5,v1={MADE}")).stricter(part),
        case("t with a letter", format!("t={NOW}x,v1={MADE}")).stricter(part),
        case("t with an underscore", format!("t=1_700000000,v1={MADE}"))
            .stricter("Python reads underscores inside numbers"),
        case(
            "nine signatures",
            format!("t={NOW}{}", format!(",v1={MADE}").repeat(9)),
        )
        .stricter("eight are tried: each costs an HMAC's comparison"),
        case(
            "a header of 5000 bytes",
            format!("{},x={}", good(), "y".repeat(5000)),
        )
        .stricter("4096 bytes are read"),
    ]
}

fn ours(case: &Case) -> bool {
    let verifier = Verifier::new(&SecretString::from(case.secret)).unwrap();
    verifier
        .check(Some(&case.header), BODY.as_bytes(), case.now)
        .is_ok()
}

/// What a script says to a list of questions.
fn ask(mut command: Command, script: &str, questions: &Value) -> Vec<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/verifiers")
        .join(script);
    let mut child = command
        .arg(script)
        .arg(BODY)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(questions.to_string().as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let status = output.status;
    assert!(status.success(), "the script ended with {status}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn theirs(command: Command, script: &str, cases: &[Case]) -> Vec<bool> {
    let asked: Vec<_> = cases
        .iter()
        .map(|case| json!({"header": case.header, "secret": case.secret, "now": case.now}))
        .collect();
    ask(command, script, &json!(asked))
        .iter()
        .map(|answer| answer.as_bool().unwrap())
        .collect()
}

fn python() -> Command {
    Command::new(peers::python().unwrap())
}

fn node() -> Command {
    let mut node = Command::new("node");
    node.env("NODE_PATH", peers::node_dir().unwrap().join("node_modules"));
    node
}

#[test]
fn odd_headers_get_the_answer_of_stripes_own_verifiers() {
    let (agreed, stricter) = (agreed(), ours_is_stricter());
    for (name, answers) in [
        ("python", theirs(python(), "verify.py", &agreed)),
        ("javascript", theirs(node(), "verify.cjs", &agreed)),
    ] {
        assert_eq!(answers.len(), agreed.len());
        for (case, theirs) in agreed.iter().zip(answers) {
            assert_eq!(
                ours(case),
                theirs,
                "{name}, {}: {:?}",
                case.name,
                case.header
            );
        }
    }
    let python = theirs(python(), "verify.py", &stricter);
    let javascript = theirs(node(), "verify.cjs", &stricter);
    for ((case, python), javascript) in stricter.iter().zip(python).zip(javascript) {
        let why = case.stricter.expect("each exception has its reason");
        assert!(!ours(case), "{} is not refused, though {why}", case.name);
        assert!(
            python || javascript,
            "{} is refused by all: no exception",
            case.name
        );
    }
}

/// Every kind of event under this head, signed, with its payload.
fn signed(head: &EventHead) -> Value {
    let signer = Signer::new(SECRET);
    let case = |event: &Value| {
        let payload = event.to_string();
        let header = signer.sign(payload.as_bytes(), NOW);
        json!({"payload": payload, "header": header, "secret": SECRET})
    };
    every_kind(head).iter().map(case).collect()
}

fn read(case: &Value) -> Event {
    Event::parse(case["payload"].as_str().unwrap()).unwrap()
}

#[test]
fn events_of_both_shapes_are_such_as_javascript_reads() {
    for head in [
        EventHead::new("evt_1", NOW),
        EventHead::before_basil("evt_1", NOW),
    ] {
        let cases = signed(&head);
        let answers = ask(node(), "read.cjs", &cases);
        for (case, theirs) in cases.as_array().unwrap().iter().zip(&answers) {
            assert_eq!(read(case).kind, theirs["kind"].as_str().unwrap());
            assert!(theirs["id"].is_string(), "{theirs}");
        }
        assert_eq!(answers.len(), cases.as_array().unwrap().len());
    }
}

#[test]
fn events_name_to_us_what_they_name_to_pythons_typed_objects() {
    let cases = signed(&EventHead::new("evt_1", NOW));
    let answers = ask(python(), "read.py", &cases);
    assert_eq!(answers.len(), cases.as_array().unwrap().len());
    for (case, theirs) in cases.as_array().unwrap().iter().zip(answers) {
        let event = read(case);
        let mut references = event.meaning.references;
        references.sort();
        let subscription = event.meaning.subscription;
        let ours = json!({"kind": event.kind, "references": references, "strange": [],
            "subscription": subscription.map(|id| id.to_string())});
        assert_eq!(ours, theirs);
    }
}
