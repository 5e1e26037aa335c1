//! The program from outside: its house rules, its command line, its transcripts.

#[cfg(test)]
mod access;
#[cfg(test)]
mod advisories;
#[cfg(test)]
mod agents;
#[cfg(test)]
mod allowances;
#[cfg(test)]
mod approvals;
#[cfg(test)]
mod architecture;
#[cfg(test)]
mod attacks;
#[cfg(test)]
mod audit;
#[cfg(test)]
mod broken;
#[cfg(test)]
mod canary;
#[cfg(test)]
mod channels;
#[cfg(test)]
mod chaos;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod clients;
#[cfg(test)]
mod containers;
#[cfg(test)]
mod credentials;
#[cfg(test)]
mod devices;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod drill;
#[cfg(test)]
mod editing;
#[cfg(test)]
mod embeddings;
#[cfg(test)]
mod enclosed;
#[cfg(test)]
mod endurance;
#[cfg(test)]
mod flood;
#[cfg(test)]
mod foreign;
#[cfg(test)]
mod forged_state;
#[cfg(test)]
mod full_disk;
#[cfg(test)]
mod generations;
#[cfg(test)]
mod heartbeat;
#[cfg(test)]
mod help;
#[cfg(test)]
mod hooks;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod includes;
#[cfg(test)]
mod json5_npm;
#[cfg(test)]
mod keyring;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod kill;
#[cfg(test)]
mod known_good;
#[cfg(test)]
mod loading;
#[cfg(test)]
mod local;
#[cfg(test)]
mod local_model;
#[cfg(test)]
mod lockdown;
#[cfg(test)]
mod methods;
#[cfg(test)]
mod migrate;
#[cfg(test)]
mod models;
#[cfg(test)]
mod modes;
#[cfg(test)]
mod names;
#[cfg(test)]
mod network;
#[cfg(test)]
mod nodes;
#[cfg(test)]
mod open_config;
#[cfg(test)]
mod openapi;
#[cfg(test)]
mod own_socket;
#[cfg(test)]
mod pages;
#[cfg(test)]
mod patching;
#[cfg(test)]
mod paths;
#[cfg(test)]
mod policies;
#[cfg(test)]
mod posture;
#[cfg(test)]
mod program;
#[cfg(test)]
mod programs;
#[cfg(test)]
mod protocol;
#[cfg(test)]
mod proxies;
#[cfg(test)]
mod quarantine;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod resets;
#[cfg(test)]
mod resume;
#[cfg(test)]
mod review;
mod secrets;
#[cfg(test)]
mod sending;
#[cfg(test)]
mod service;
#[cfg(test)]
mod settings;
#[cfg(test)]
mod stop;
mod strict;
#[cfg(test)]
mod support;
#[cfg(test)]
mod talk;
#[cfg(test)]
mod telegram;
#[cfg(test)]
mod transcripts;
#[cfg(test)]
mod tui;
#[cfg(test)]
mod turns;
#[cfg(test)]
mod walls;
