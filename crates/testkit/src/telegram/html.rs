//! Telegram's HTML, read as strictly as it is documented: these tags, closed in order, and everything else escaped.

/// Tags without attributes.
const PLAIN: [&str; 13] =
    ["b", "strong", "i", "em", "u", "ins", "s", "strike", "del", "tg-spoiler", "code", "pre", "blockquote"];

/// The text without its tags, or why it cannot be read.
pub(super) fn visible(html: &str) -> Result<String, String> {
    let mut text = String::new();
    let mut open: Vec<String> = Vec::new();
    let mut rest = html;
    while let Some(next) = rest.chars().next() {
        let offset = html.len() - rest.len();
        match next {
            '<' => {
                let end =
                    rest.find('>').ok_or_else(|| format!("Unclosed start tag at byte offset {offset}"))?;
                let tag = rest.get(1..end).unwrap_or_default();
                take_tag(tag, offset, &mut open)?;
                rest = rest.get(end + 1..).unwrap_or_default();
            }
            '&' => {
                let (character, length) = entity(rest)
                    .ok_or_else(|| format!("Unescaped & or unknown entity at byte offset {offset}"))?;
                text.push(character);
                rest = rest.get(length..).unwrap_or_default();
            }
            '>' => return Err(format!("Unescaped > at byte offset {offset}")),
            other => {
                text.push(other);
                rest = rest.get(other.len_utf8()..).unwrap_or_default();
            }
        }
    }
    match open.pop() {
        None => Ok(text),
        Some(tag) => Err(format!("Can't find end tag corresponding to start tag \"{tag}\"")),
    }
}

fn take_tag(tag: &str, offset: usize, open: &mut Vec<String>) -> Result<(), String> {
    if let Some(name) = tag.strip_prefix('/') {
        return match open.pop() {
            Some(begun) if begun == name => Ok(()),
            Some(begun) => Err(format!(
                "Unmatched end tag at byte offset {offset}, expected \"</{begun}>\", found \"</{name}>\""
            )),
            None => Err(format!("Unexpected end tag at byte offset {offset}")),
        };
    }
    let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
    let attribute = |wanted: &str| {
        attributes.strip_prefix(wanted).and_then(|rest| rest.strip_prefix("=\"")?.strip_suffix('"'))
    };
    let fits = match name {
        "a" => attribute("href").is_some_and(|href| !href.contains(['"', '<', '>'])),
        "blockquote" if attributes == "expandable" => true,
        "code" if !attributes.is_empty() => {
            let language = attribute("class").and_then(|class| class.strip_prefix("language-"));
            language.is_some() && open.last().is_some_and(|tag| tag == "pre")
        }
        "span" => attribute("class") == Some("tg-spoiler"),
        name => PLAIN.contains(&name) && attributes.is_empty(),
    };
    if !fits {
        return Err(format!("Unsupported start tag \"{name}\" at byte offset {offset}"));
    }
    let code_within_pre = name == "code" && open.last().is_some_and(|tag| tag == "pre");
    let inside_code = open.iter().any(|tag| tag == "code" || tag == "pre");
    if inside_code && !code_within_pre {
        return Err(format!("Tag \"{name}\" inside code at byte offset {offset}"));
    }
    if name == "blockquote" && open.iter().any(|tag| tag == name) {
        return Err(format!("Nested blockquote at byte offset {offset}"));
    }
    open.push(name.to_owned());
    Ok(())
}

/// The character that an entity at the beginning stands for, and its length in bytes.
fn entity(text: &str) -> Option<(char, usize)> {
    let end = text.find(';')?;
    let name = text.get(1..end)?;
    let character = match name {
        "amp" => '&',
        "gt" => '>',
        "lt" => '<',
        "quot" => '"',
        _ => {
            let number = name.strip_prefix('#')?;
            let number = match number.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(number)?
        }
    };
    Some((character, end + 1))
}

#[cfg(test)]
mod tests {
    use super::visible;

    #[test]
    fn what_is_documented_is_read_and_nothing_else() {
        for (html, expected) in [
            ("<b>x</b> &amp; &lt;y&gt; &#128512;", Ok("x & <y> 😀")),
            ("<pre><code class=\"language-rust\">a</code></pre>", Ok("a")),
            ("<a href=\"https://example.org/?a=1&amp;b=2\">here</a>", Ok("here")),
            ("<b>x", Err("Can't find end tag corresponding to start tag \"b\"")),
            ("<h1>x</h1>", Err("Unsupported start tag \"h1\" at byte offset 0")),
            ("<b><i>x</b></i>", Err("Unmatched end tag at byte offset 7, expected \"</i>\", found \"</b>\"")),
            ("a < b", Err("Unclosed start tag at byte offset 2")),
            ("a & b", Err("Unescaped & or unknown entity at byte offset 2")),
            ("a &nbsp; b", Err("Unescaped & or unknown entity at byte offset 2")),
            ("<code><b>x</b></code>", Err("Tag \"b\" inside code at byte offset 6")),
        ] {
            assert_eq!(visible(html), expected.map(str::to_owned).map_err(str::to_owned), "{html}");
        }
    }
}
