//! Where a region's machines stand, and where else they may when it is full.
//! It must not know what is sold where: that is asked each time.

/// Used for a region nobody knows.
const FALLBACK: &str = "nbg1";

/// Hetzner's locations by network zone (networks FAQ); one that knows no other stands alone.
const ZONES: [&[&str]; 4] = [&["nbg1", "fsn1", "hel1"], &["ash"], &["hil"], &["sin"]];

/// The location of a region, and whether the region is known.
pub(crate) fn location(region: &str) -> (&'static str, bool) {
    match region {
        "us-east" => ("ash", true),
        "us-west" => ("hil", true),
        "eu-central" => ("nbg1", true),
        "eu-west" => ("fsn1", true),
        "eu-north" => ("hel1", true),
        "ap-southeast" => ("sin", true),
        _ => (FALLBACK, false),
    }
}

/// `wished` first, then the other locations of its zone.
pub(crate) fn zone(wished: &str) -> Vec<String> {
    let others = ZONES
        .iter()
        .find(|zone| zone.contains(&wished))
        .into_iter()
        .flat_map(|zone| zone.iter())
        .filter(|name| **name != wished);
    std::iter::once(&wished)
        .chain(others)
        .map(|name| (*name).to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_region_has_its_location() {
        for (region, expected) in [
            ("us-east", ("ash", true)),
            ("us-west", ("hil", true)),
            ("eu-central", ("nbg1", true)),
            ("eu-west", ("fsn1", true)),
            ("eu-north", ("hel1", true)),
            ("ap-southeast", ("sin", true)),
            ("moon", ("nbg1", false)),
            ("", ("nbg1", false)),
        ] {
            assert_eq!(location(region), expected, "{region}");
        }
    }

    #[test]
    fn zones_begin_with_the_wish() {
        assert_eq!(zone("fsn1"), ["fsn1", "nbg1", "hel1"]);
        assert_eq!(zone("ash"), ["ash"]);
        assert_eq!(zone("new1"), ["new1"]);
    }
}
