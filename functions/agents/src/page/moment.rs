//! Times and durations as people read them: UTC in the page, the visitor's own zone by script.
//! It must not know what happened then.

use askama::Template;
use domain::Timestamp;
use std::time::Duration;
use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};

const ISO: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
const CLOCK: &[BorrowedFormatItem<'_>] = format_description!("[hour]:[minute]:[second]");
const MINUTE: &[BorrowedFormatItem<'_>] = format_description!("[hour]:[minute]");
const DAY: &[BorrowedFormatItem<'_>] =
    format_description!("[day padding:none] [month repr:short] [year]");

/// A point in time as a `<time>` element.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(
    source = r#"<time datetime="{{ iso }}" data-as="{{ form }}">{{ text }}</time>"#,
    ext = "html"
)]
pub(crate) struct Moment {
    iso: String,
    form: &'static str,
    text: String,
}

impl Moment {
    /// To the second, with the day only when that is not today.
    pub(crate) fn clock(at: Timestamp, now: Timestamp) -> Self {
        Self::of(at, now, "clock", CLOCK)
    }

    /// To the minute, with the day only when that is not today.
    pub(crate) fn minute(at: Timestamp, now: Timestamp) -> Self {
        Self::of(at, now, "minute", MINUTE)
    }

    /// The day alone.
    pub(crate) fn day(at: Timestamp) -> Self {
        Self {
            iso: iso(at),
            form: "day",
            text: written(at, DAY),
        }
    }

    fn of(
        at: Timestamp,
        now: Timestamp,
        form: &'static str,
        short: &[BorrowedFormatItem<'_>],
    ) -> Self {
        let clock = written(at, short);
        let day = written(at, DAY);
        let text = if day == written(now, DAY) {
            format!("{clock} UTC")
        } else {
            format!("{day}, {clock} UTC")
        };
        Self {
            iso: iso(at),
            form,
            text,
        }
    }
}

/// For programs: RFC 3339 in UTC.
pub(crate) fn iso(at: Timestamp) -> String {
    written(at, ISO)
}

fn written(at: Timestamp, form: &[BorrowedFormatItem<'_>]) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.micros()).saturating_mul(1000))
        .ok()
        .and_then(|at| at.format(form).ok())
        .unwrap_or_default()
}

/// A duration as one says it: "a few seconds", "about 2 minutes".
pub(crate) fn about(length: Duration) -> String {
    let seconds = length.as_secs();
    match seconds {
        0..15 => "a few seconds".to_owned(),
        15..45 => "about half a minute".to_owned(),
        45..90 => "about a minute".to_owned(),
        90..5400 => format!("about {} minutes", seconds.saturating_add(30) / 60),
        5400.. => format!("about {} hours", seconds.saturating_add(1800) / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp::from_micros(1_800_000_009_500_000);

    #[test]
    fn a_moment_is_written_for_people_and_for_programs() {
        let later = AT.plus(Duration::from_hours(30));
        let today = Moment::clock(AT, AT).to_string();
        let iso = r#"<time datetime="2027-01-15T08:00:09.500Z" data-as="#;
        assert_eq!(today, format!(r#"{iso}"clock">08:00:09 UTC</time>"#));
        let other = Moment::minute(AT, later).to_string();
        assert_eq!(
            other,
            format!(r#"{iso}"minute">15 Jan 2027, 08:00 UTC</time>"#)
        );
        let day = Moment::day(AT).to_string();
        assert_eq!(day, format!(r#"{iso}"day">15 Jan 2027</time>"#));
    }

    #[test]
    fn lengths_are_rounded_as_people_do() {
        for (seconds, said) in [
            (0, "a few seconds"),
            (14, "a few seconds"),
            (30, "about half a minute"),
            (60, "about a minute"),
            (90, "about 2 minutes"),
            (149, "about 2 minutes"),
            (150, "about 3 minutes"),
            (7200, "about 2 hours"),
        ] {
            assert_eq!(about(Duration::from_secs(seconds)), said);
        }
    }
}
