//! How the program is linked for use: code that is there twice is kept once, relocations are packed, and what a start runs
//! lies together. All three are pages that a start would read and an idle gateway keep.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;

/// The sections of functions that a start, a sign-in and an idle minute enter, one a line, as `tests/layout/run.sh` saw it.
const START: &str = "start.txt";

#[expect(clippy::disallowed_methods, reason = "this is how cargo and a build script talk")]
fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={START}");
    println!("cargo::rerun-if-env-changed=MOLTBOT_LINK_MAP");
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| found == value);
    // The linker of the toolchain, which knows these, is the default on this target alone.
    if !is("PROFILE", "release") || !is("TARGET", "x86_64-unknown-linux-gnu") {
        return Ok(());
    }
    link("--icf=all");
    link("-z,pack-relative-relocs");
    let path = Path::new(&std::env::var("OUT_DIR")?).join("start.ld");
    std::fs::write(&path, script(&std::fs::read_to_string(START)?)?)?;
    link(&format!("-T,{}", path.display()));
    if let Ok(map) = std::env::var("MOLTBOT_LINK_MAP") {
        link(&format!("-Map={map}"));
    }
    Ok(())
}

fn link(argument: &str) {
    println!("cargo::rustc-link-arg-bins=-Wl,{argument}");
}

/// The linker's script that puts these sections first. Names end in a hash of what the function is made of: those that were
/// seen come first, and after them what has such a name but for the hash, because a changed dependency changes the hashes
/// of all that use it.
fn script(names: &str) -> Result<String, std::fmt::Error> {
    let mut text = String::from("SECTIONS\n{\n  .text.start :\n  {\n");
    let mut seen = BTreeSet::new();
    let alike = names.lines().filter_map(without_hash).filter(|name| seen.insert(name.clone()));
    for name in names.lines().map(str::to_owned).chain(alike) {
        writeln!(text, "    *({name})")?;
    }
    text.push_str("  }\n}\nINSERT BEFORE .text;\n");
    Ok(text)
}

/// A pattern for the name whatever its hash is, which are `17h` and 16 digits at its end.
fn without_hash(name: &str) -> Option<String> {
    let (path, _) = name.split_once("17h").filter(|_| name.contains("_ZN"))?;
    Some(format!("{path}17h*"))
}
