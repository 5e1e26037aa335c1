//! Drivers against stand-ins of their vendors, over a real socket and with a real book.

#[cfg(test)]
mod telegram;
