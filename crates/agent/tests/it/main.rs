//! Turns from end to end: a real store, book and vault in a temporary home, and a scripted model.

#[cfg(test)]
mod compaction;
#[cfg(test)]
mod exec;
#[cfg(test)]
mod external;
#[cfg(test)]
mod failover;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod house;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod model;
#[cfg(test)]
mod providers;
#[cfg(test)]
mod resume;
#[cfg(test)]
mod steering;
#[cfg(test)]
mod tools;
#[cfg(test)]
mod turn;
#[cfg(test)]
mod workspaces;
