//! Tests of the fakes: their rules in virtual time, faults over real sockets, and the vendors' own
//! client libraries as independent judges.

#[cfg(test)]
mod boot;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod github;
#[cfg(test)]
mod held;
#[cfg(test)]
mod help;
#[cfg(test)]
mod hetzner;
#[cfg(test)]
mod knobs;
#[cfg(test)]
mod peers;
#[cfg(test)]
mod stripe;
#[cfg(test)]
mod tailscale;
