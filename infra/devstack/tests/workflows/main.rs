//! The workflows: clean to the linters, and `provision-agent.yml` run for real by `act` on this
//! machine, with the real runner, the fake world and a receiver of reports. What the
//! runner gives a new machine, read by the distribution's own `cloud-init`. And the runner's
//! doctor beside the real callback.

#[cfg(test)]
mod doctor;
#[cfg(test)]
mod endings;
#[cfg(test)]
mod fetch;
#[cfg(test)]
mod lint;
#[cfg(test)]
mod receiver;
#[cfg(test)]
mod stage;
#[cfg(test)]
mod user_data;
