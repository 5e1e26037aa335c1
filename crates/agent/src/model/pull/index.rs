//! What an index of packages says of a file: as JSON (PEP 691) or as a page of links (PEP 503).
//!
//! Nothing here decides what is fetched: a wrong answer leads to another file, which is then refused for its digest.

use serde::Deserialize;

/// A file in an index.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Found {
    /// Where it is, which may be relative to the page.
    pub(super) url: String,
    /// Its SHA-256 in small digits, where the index says it.
    pub(super) sha256: Option<String>,
}

#[derive(Deserialize)]
struct Page {
    files: Vec<File>,
}

#[derive(Deserialize)]
struct File {
    filename: String,
    url: String,
    #[serde(default)]
    hashes: Hashes,
}

#[derive(Default, Deserialize)]
struct Hashes {
    sha256: Option<String>,
}

/// Finds the file `name` in a page of the type `kind`.
pub(super) fn find(kind: &str, text: &str, name: &str) -> Option<Found> {
    if kind.contains("json") {
        let page: Page = serde_json::from_str(text).ok()?;
        let file = page.files.into_iter().find(|file| file.filename == name)?;
        let sha256 = file.hashes.sha256.map(|digest| digest.to_ascii_lowercase());
        return Some(Found { url: file.url, sha256 });
    }
    links(text).find_map(|link| {
        let (place, fragment) = link.split_once('#').unwrap_or((&link, ""));
        let path = place.split('?').next().unwrap_or_default();
        if path.rsplit('/').next() != Some(name) {
            return None;
        }
        let sha256 = fragment.strip_prefix("sha256=").map(str::to_ascii_lowercase);
        Some(Found { url: place.to_owned(), sha256 })
    })
}

/// What the links of a page lead to.
fn links(text: &str) -> impl Iterator<Item = String> {
    text.split("href").skip(1).filter_map(|rest| {
        let rest = rest.trim_start().strip_prefix('=')?.trim_start();
        let quote = rest.chars().next().filter(|mark| matches!(mark, '"' | '\''))?;
        let link = rest.strip_prefix(quote)?.split(quote).next()?;
        Some(link.replace("&amp;", "&"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_found_in_both_forms_and_by_its_whole_name() {
        let json = r#"{"meta":{"api-version":"1.1"},"name":"x","files":[
            {"filename":"x-1.tar.gz","url":"x-1.tar.gz","hashes":{}},
            {"filename":"x-1.whl","url":"../../f/x-1.whl","hashes":{"sha256":"AB"},"size":3}]}"#;
        let found = find("application/vnd.pypi.simple.v1+json", json, "x-1.whl").unwrap();
        assert_eq!((found.url.as_str(), found.sha256.as_deref()), ("../../f/x-1.whl", Some("ab")));
        let html = r##"<html><a href="/f/ax-1.whl">ax-1.whl</a><a
            data-x="1" href = '/f/x-1.whl?a=1&amp;b=2#sha256=CD'>x-1.whl</a></html>"##;
        let found = find("text/html; charset=utf-8", html, "x-1.whl").unwrap();
        assert_eq!((found.url.as_str(), found.sha256.as_deref()), ("/f/x-1.whl?a=1&b=2", Some("cd")));
        for text in ["", "<a href>", "<a href=x-1.whl>", "<a href=\"x-1.whl", "{}"] {
            assert_eq!(find("text/html", text, "y.whl"), None, "{text}");
            assert_eq!(find("application/json", text, "y.whl"), None, "{text}");
        }
    }
}
