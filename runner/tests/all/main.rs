//! The runner as its own process, against the fake world and a receiver of reports.

#[cfg(test)]
mod callback;
#[cfg(test)]
mod endings;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod operations;
#[cfg(test)]
mod provision;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod virtual_time;
#[cfg(test)]
mod workflow;
