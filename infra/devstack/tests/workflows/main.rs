//! The workflows: clean to the linters, and run for real by `act` on this machine:
//! `provision-agent.yml` with the real runner, the fake world and a receiver of reports, and
//! `release.yml` with a repository that takes pushes. What the runner gives a new machine, read
//! by the distribution's own `cloud-init`. And the runner's doctor beside the real callback.

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
mod release;
#[cfg(test)]
mod stage;
#[cfg(test)]
mod user_data;
