//! Holes, for tests alone: the feature `drill-holes` builds a program in which one control can be taken away by its name, so
//! that a test sees the attack on it succeed. A drill that cannot fail shows nothing.
//!
//! Without the feature, which is how every program is built that anybody uses, [`hole!`](crate::hole) is the word `false`:
//! neither the names nor the question are in the program.

/// The control that is taken away.
#[cfg(feature = "drill-holes")]
static OPEN: std::sync::OnceLock<String> = std::sync::OnceLock::new();

/// Takes a control away, once for this process.
#[cfg(feature = "drill-holes")]
pub fn open(name: String) {
    drop(OPEN.set(name));
}

/// Whether this control is taken away.
#[cfg(feature = "drill-holes")]
pub fn is_open(name: &str) -> bool {
    OPEN.get().is_some_and(|open| open == name)
}

/// Whether the control of this name is taken away.
#[cfg(feature = "drill-holes")]
#[macro_export]
macro_rules! hole {
    ($name:literal) => {
        $crate::hole::is_open($name)
    };
}

/// Never.
#[cfg(not(feature = "drill-holes"))]
#[macro_export]
macro_rules! hole {
    ($name:literal) => {
        false
    };
}
