//! The runner as its own process, against the fake world and a receiver of reports.

#[cfg(test)]
mod beside;
#[cfg(test)]
mod callback;
#[cfg(test)]
mod deaths;
#[cfg(test)]
mod decoys;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod door;
#[cfg(test)]
mod endings;
#[cfg(test)]
mod fault_rows;
#[cfg(test)]
mod fault_rows_tailnet;
#[cfg(test)]
mod fault_table;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod kills;
#[cfg(test)]
mod lab;
#[cfg(test)]
mod last_moments;
#[cfg(test)]
mod mistakes;
#[cfg(test)]
mod operations;
#[cfg(test)]
mod outages;
#[cfg(test)]
mod power;
#[cfg(test)]
mod provision;
#[cfg(test)]
mod quotes;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod removal;
#[cfg(test)]
mod rivals;
#[cfg(test)]
mod scene;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod telling;
#[cfg(test)]
mod virtual_time;
#[cfg(test)]
mod workflow;
