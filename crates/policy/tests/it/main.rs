//! The judge from outside.

mod commands;
