//! The whole product, real processes over real sockets, from payment to active agent.

#![cfg(test)]

mod duplicates;
mod kills;
mod payment;
mod round_trips;
mod world;
