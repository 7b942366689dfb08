//! The whole product, real processes over real sockets, from payment to active agent.

#![cfg(test)]

mod cancels;
mod chaos;
mod duplicates;
mod give_up;
mod inventory;
mod kills;
mod life;
mod lost;
mod payment;
mod points;
mod round_trips;
mod scene;
mod world;
