//! The door to the network: the only listener, the only HTTP and WebSocket client.
#![forbid(unsafe_code)]
