//! How the program is linked for use: code that is there twice is kept once, and relocations are packed. Both are pages
//! that a start would read and an idle gateway keep.
#![forbid(unsafe_code)]

#[expect(clippy::disallowed_methods, reason = "this is how cargo and a build script talk")]
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| found == value);
    // The linker of the toolchain, which knows these, is the default on this target alone.
    if is("PROFILE", "release") && is("TARGET", "x86_64-unknown-linux-gnu") {
        println!("cargo::rustc-link-arg-bins=-Wl,--icf=all");
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
