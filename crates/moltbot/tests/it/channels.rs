//! Chat channels with real servers: who is answered, who is told a code and nothing else, and what outlives a kill.

mod contract;
mod irc;
mod services;
mod telegram;
