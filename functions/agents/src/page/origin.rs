//! Whether a form was sent by one of our own pages.
//! It must not know what the form does.

use axum::http::{HeaderMap, header};

/// Whether the browser says that this POST comes from a page of the same origin. `public` is the
/// origin of this deployment, when it is set; else the `Host` that was asked.
///
/// Two signs are read (Fetch Metadata and Fetch standards): `Sec-Fetch-Site`, which no script
/// can set and that older browsers do not send, and `Origin`, which is `null` where the browser
/// keeps it to itself. Neither may contradict, and one of them must say yes.
pub(crate) fn is_ours(headers: &HeaderMap, public: Option<&str>) -> bool {
    let site = text(headers, "sec-fetch-site");
    let origin = text(headers, header::ORIGIN.as_str()).filter(|origin| *origin != "null");
    let host = text(headers, header::HOST.as_str());
    let same = origin.map(|origin| is_same(origin, host, public));
    match (site, same) {
        (Some("same-origin"), None | Some(true)) | (None, Some(true)) => true,
        (Some(_) | None, _) => false,
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn is_same(origin: &str, host: Option<&str>, public: Option<&str>) -> bool {
    if let Some(public) = public {
        return origin.eq_ignore_ascii_case(public.trim_end_matches('/'));
    }
    let asked = origin.split_once("://").map(|(_, host)| host);
    asked
        .zip(host)
        .is_some_and(|(asked, host)| asked.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(signs: &[(&'static str, &str)], public: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "pages.test:8080".parse().unwrap());
        for (name, value) in signs {
            headers.insert(*name, value.parse().unwrap());
        }
        is_ours(&headers, public)
    }

    #[test]
    fn only_our_own_pages_send_forms() {
        const SITE: &str = "sec-fetch-site";
        for (ours, signs) in [
            (true, &[(SITE, "same-origin"), ("origin", "null")][..]),
            (true, &[(SITE, "same-origin")]),
            (true, &[("origin", "http://pages.test:8080")]),
            (
                true,
                &[("origin", "https://PAGES.test:8080"), (SITE, "same-origin")],
            ),
            (false, &[]),
            (false, &[("origin", "null")]),
            (
                false,
                &[(SITE, "cross-site"), ("origin", "http://pages.test:8080")],
            ),
            (false, &[(SITE, "same-site")]),
            (false, &[(SITE, "none")]),
            (
                false,
                &[(SITE, "same-origin"), ("origin", "http://evil.test")],
            ),
            (false, &[("origin", "http://pages.test")]),
            (false, &[("origin", "pages.test:8080")]),
        ] {
            assert_eq!(sent(signs, None), ours, "{signs:?}");
        }
    }

    #[test]
    fn the_public_origin_counts_when_it_is_set() {
        let public = Some("https://agents.example/");
        assert!(sent(&[("origin", "https://agents.example")], public));
        assert!(!sent(&[("origin", "http://agents.example")], public));
        assert!(!sent(&[("origin", "http://pages.test:8080")], public));
    }
}
