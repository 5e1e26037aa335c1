//! Programs that only filter their input, with the options that keep them so.

use super::verdict::Part;

/// Whether a part only filters its standard input: a known filter, without files, with known options alone, every word
/// known before it runs, and nothing redirected or set. The caller makes sure that the program is the system's own.
pub fn is_safe(part: &Part) -> bool {
    let _ = part;
    false
}
