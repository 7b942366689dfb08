//! Which type at which location, from what can be bought now: a pure list of candidates, best
//! first. It must not know what was tried.

use crate::hetzner::ServerType;

/// The smallest machine that is taken where the wished type is not sold.
const CORES_MIN: u32 = 2;
/// Its memory.
const MEMORY_GB_MIN: f64 = 4.0;
/// At most this many are tried in all, each location having its share: who asks for ever in vain
/// is shut out (Hetzner: users' reports).
const CANDIDATES_MAX: usize = 12;

/// A type and a location that sells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) server_type: String,
    pub(crate) location: String,
    /// Somebody asked for this type; the others stand in for it.
    pub(crate) is_wished: bool,
}

/// What there is to choose from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Choice {
    /// Best first.
    pub(crate) candidates: Vec<Candidate>,
    /// Types that would be among them and are just out of stock.
    pub(crate) out_of_stock: Vec<String>,
}

/// For each location in turn: the wished type where it is sold, then the cheapest shared x86
/// types that are big enough.
pub(crate) fn choice(types: &[ServerType], wished: &str, zone: &[String]) -> Choice {
    let share = CANDIDATES_MAX / zone.len().max(1);
    let all: Vec<Vec<Sold>> = zone.iter().map(|place| at(types, wished, place)).collect();
    let away = all.iter().flatten().filter(|one| !one.now && one.stays);
    let out_of_stock = away.map(|one| one.candidate.server_type.clone()).collect();
    let candidates = all.into_iter().flat_map(|mut here| {
        here.retain(|one| one.now);
        here.sort_by(|one, other| {
            one.stands_in()
                .cmp(&other.stands_in())
                .then(one.price.total_cmp(&other.price))
                .then(one.candidate.server_type.cmp(&other.candidate.server_type))
        });
        here.into_iter().take(share).map(|one| one.candidate)
    });
    Choice {
        candidates: candidates.collect(),
        out_of_stock,
    }
}

/// A candidate that is, or was, sold at a location.
struct Sold {
    candidate: Candidate,
    price: f64,
    /// In stock.
    now: bool,
    /// No end of its sale is announced.
    stays: bool,
}

impl Sold {
    const fn stands_in(&self) -> bool {
        !self.candidate.is_wished
    }
}

fn at(types: &[ServerType], wished: &str, location: &str) -> Vec<Sold> {
    let sold = types.iter().filter_map(|kind| {
        let place = kind.locations.iter().find(|place| place.name == location)?;
        let big_enough = kind.cores >= CORES_MIN && kind.memory_gb >= MEMORY_GB_MIN;
        let (is_wished, stays) = (kind.name == wished, place.leaves.is_none());
        let taken = is_wished || (kind.shared_x86 && big_enough && stays);
        taken.then(|| Sold {
            candidate: Candidate {
                server_type: kind.name.clone(),
                location: location.to_owned(),
                is_wished,
            },
            price: place.price_monthly,
            now: place.available,
            stays,
        })
    });
    sold.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hetzner::Location;
    use proptest::prelude::*;

    fn kind(name: &str, cores: u32, memory_gb: f64, price: f64, places: &[&str]) -> ServerType {
        let location = |place: &&str| Location {
            name: (*place).to_owned(),
            available: true,
            leaves: None,
            price_monthly: price,
        };
        ServerType {
            name: name.to_owned(),
            cores,
            memory_gb,
            architecture: "x86".to_owned(),
            shared_x86: !name.starts_with("ca") && !name.starts_with("cc"),
            locations: places.iter().map(location).collect(),
        }
    }

    fn list() -> Vec<ServerType> {
        vec![
            kind("cpx11", 2, 2.0, 4.99, &["ash"]),
            kind("cpx21", 3, 4.0, 8.99, &["ash"]),
            kind("cx23", 2, 4.0, 3.49, &["fsn1", "nbg1"]),
            kind("cx33", 4, 8.0, 5.49, &["fsn1", "nbg1"]),
            kind("cax11", 2, 4.0, 3.0, &["fsn1", "nbg1"]),
            kind("ccx13", 2, 8.0, 1.0, &["fsn1", "nbg1"]),
        ]
    }

    fn names(types: &[ServerType], wished: &str, zone: &[&str]) -> Vec<String> {
        let zone: Vec<String> = zone.iter().map(|name| (*name).to_owned()).collect();
        let found = choice(types, wished, &zone).candidates;
        found
            .iter()
            .map(|one| format!("{}@{}", one.server_type, one.location))
            .collect()
    }

    #[test]
    fn the_wish_comes_first_where_it_is_sold() {
        assert_eq!(
            names(&list(), "cpx11", &["ash"]),
            ["cpx11@ash", "cpx21@ash"]
        );
        assert_eq!(
            names(&list(), "cpx11", &["fsn1", "nbg1"]),
            ["cx23@fsn1", "cx33@fsn1", "cx23@nbg1", "cx33@nbg1"]
        );
        assert_eq!(
            names(&list(), "cax11", &["fsn1"]),
            ["cax11@fsn1", "cx23@fsn1", "cx33@fsn1"]
        );
    }

    #[test]
    fn what_is_out_of_stock_or_leaves_is_passed_over() {
        let mut types = list();
        types[2].locations[0].available = false;
        types[3].locations[0].leaves = Some("2027-01-01T00:00:00Z".to_owned());
        assert_eq!(names(&types, "cpx11", &["fsn1"]), Vec::<String>::new());
        let out_of_stock = |wished, place: &str| {
            let zone = [place.to_owned()];
            choice(&types, wished, &zone).out_of_stock
        };
        assert_eq!(out_of_stock("cpx11", "fsn1"), ["cx23"]);
        assert!(out_of_stock("cpx11", "ash").is_empty(), "all is there");
        assert_eq!(
            names(&types, "cx33", &["fsn1"]),
            ["cx33@fsn1"],
            "a wish may leave soon"
        );
    }

    #[test]
    fn every_location_of_a_zone_has_its_share() {
        let places = ["fsn1", "nbg1", "hel1"];
        let types: Vec<ServerType> = (0..9_u32)
            .map(|number| kind(&format!("cx{number}"), 2, 4.0, f64::from(number), &places))
            .collect();
        for (zone, count) in [(&places[..], 4), (&places[..1], 9)] {
            let names = names(&types, "cx8", zone);
            for place in zone {
                let there = names.iter().filter(|name| name.ends_with(place));
                assert_eq!(there.count(), count, "{names:?}");
            }
            assert!(names[0].starts_with("cx8@") && names[1].starts_with("cx0@"));
        }
    }

    proptest! {
        #[test]
        fn every_candidate_can_be_bought(stock in proptest::collection::vec(any::<bool>(), 10)) {
            let mut types = list();
            let places = types.iter_mut().flat_map(|kind| kind.locations.iter_mut());
            for (place, available) in places.zip(stock) {
                place.available = available;
            }
            let zone = ["fsn1".to_owned(), "nbg1".to_owned()];
            for one in choice(&types, "cpx11", &zone).candidates {
                let kind = types.iter().find(|kind| kind.name == one.server_type).unwrap();
                let place = kind.locations.iter().find(|place| place.name == one.location);
                prop_assert!(place.unwrap().available);
            }
        }
    }
}
