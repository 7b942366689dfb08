//! The door from outside: over the network, and in virtual time.

#[cfg(test)]
mod in_virtual_time;
#[cfg(test)]
mod over_the_network;
