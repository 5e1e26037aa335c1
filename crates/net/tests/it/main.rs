//! The door to the network by its public face, on real sockets.

#[cfg(test)]
mod book;
#[cfg(test)]
mod fetch;
#[cfg(test)]
mod gateway_client;
#[cfg(test)]
mod listen;
#[cfg(test)]
mod proxy;
#[cfg(test)]
mod server;
#[cfg(test)]
mod stream;
