//! Images that are made of a distribution's packages.

use crate::refusal::Refusal;

/// Which packages an image is made of: those that every system of the suite needs, and those that are named besides.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RootPackages {
    suite: String,
    packages: Vec<String>,
    mirror: Option<String>,
}

impl RootPackages {
    /// Judges what the owner names. Each becomes a word of a command: none may be an option of it, or a file.
    ///
    /// # Errors
    /// When the suite or a package has another form than their names have, or the mirror is no address of one.
    pub fn of(suite: &str, packages: &[String], mirror: Option<&str>) -> Result<Self, Refusal> {
        let odd = |what: &str, name: &str| {
            Err(Refusal::new("image_packages", format!("{name:?} is no name of a {what}; correct it")))
        };
        if !is_name(suite) {
            return odd("suite", suite);
        }
        if let Some(name) = packages.iter().find(|name| !is_name(name)) {
            return odd("package", name);
        }
        let is_address = |mirror: &str| {
            let rest = mirror.strip_prefix("https://").or_else(|| mirror.strip_prefix("http://"));
            rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic()))
        };
        if let Some(mirror) = mirror.filter(|mirror| !is_address(mirror)) {
            let message = format!(
                "{mirror:?} is no address of a mirror; give one that begins with http:// or https://"
            );
            return Err(Refusal::new("image_mirror", message));
        }
        Ok(Self { suite: suite.into(), packages: packages.to_vec(), mirror: mirror.map(str::to_owned) })
    }

    /// The words that `mmdebstrap` is given; the root goes to its standard output.
    pub fn arguments(&self) -> Vec<String> {
        let mut words = vec!["--variant=minbase".to_owned(), "--format=tar".to_owned()];
        if !self.packages.is_empty() {
            words.push(format!("--include={}", self.packages.join(",")));
        }
        words.extend(["--".to_owned(), self.suite.clone(), "-".to_owned()]);
        words.extend(self.mirror.clone());
        words
    }

    /// What the book calls it.
    pub fn source(&self) -> String {
        let mut source = format!("packages of {}", self.suite);
        if !self.packages.is_empty() {
            source.push_str(&format!(" with {}", self.packages.join(", ")));
        }
        source
    }
}

/// Names of packages as Debian's policy (5.6.1) has them; those of suites have the same form.
fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.len() <= 100
        && name.bytes().next().is_some_and(is_plain)
        && name.bytes().all(|byte| is_plain(byte) || b"+-.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_stays_a_name() {
        let of = |suite: &str, packages: &[&str], mirror: Option<&str>| {
            let packages: Vec<String> = packages.iter().map(|name| (*name).to_owned()).collect();
            RootPackages::of(suite, &packages, mirror).map_err(|refusal| refusal.code)
        };
        let made = of("bookworm", &["git", "g++-12"], Some("http://mirror.example/debian")).unwrap();
        assert_eq!(
            made.arguments(),
            [
                "--variant=minbase",
                "--format=tar",
                "--include=git,g++-12",
                "--",
                "bookworm",
                "-",
                "http://mirror.example/debian"
            ]
        );
        assert_eq!(made.source(), "packages of bookworm with git, g++-12");
        for odd in [
            "",
            "-x",
            "--setup-hook=touch",
            "a b",
            "a,b",
            "../x",
            "A",
            "a\n",
            "a/b",
            "a=1",
            "?essential",
            "~i",
        ] {
            assert_eq!(of(odd, &[], None), Err("image_packages"), "{odd:?}");
            assert_eq!(of("bookworm", &["git", odd], None), Err("image_packages"), "{odd:?}");
        }
        for odd in
            ["", "-", "/etc/passwd", "file:///x", "copy:/x", "deb http://x y main", "http://", "http://x y"]
        {
            assert_eq!(of("bookworm", &[], Some(odd)), Err("image_mirror"), "{odd:?}");
        }
    }
}
