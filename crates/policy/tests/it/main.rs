//! The judge from outside.

#[cfg(test)]
mod commands;
