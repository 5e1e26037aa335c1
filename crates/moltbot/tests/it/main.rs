//! The program from outside: its house rules, its command line, its transcripts.

#[cfg(test)]
mod architecture;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod help;
#[cfg(test)]
mod program;
