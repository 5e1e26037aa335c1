//! An answer as messages in Telegram's HTML, each within the limit, with every tag closed in the message that opened it.

use std::ops::Range;

use super::markdown::{Rich, Span, Style, read};

/// The longest message, in UTF-16 code units of what people read. Telegram takes 4096; the rest is for its own ways to count.
const UNITS: usize = 4000;

/// Cuts an answer in Markdown into messages. The same answer gives the same messages; none is empty.
pub(super) fn pieces(markdown: &str) -> Vec<String> {
    let rich = read(markdown);
    cut(&rich.text, UNITS).into_iter().map(|range| render(&rich, range)).collect()
}

/// The words of a message, without its tags: what is sent when Telegram does not take the tags.
pub(super) fn plain(html: &str) -> String {
    let mut text = String::with_capacity(html.len());
    let mut rest = html;
    while let Some(at) = rest.find(['<', '&']) {
        let (words, more) = rest.split_at(at);
        text.push_str(words);
        let end = if more.starts_with('<') { more.find('>') } else { more.find(';') };
        let Some((mark, after)) = end.and_then(|end| more.split_at_checked(end + 1)) else {
            rest = more;
            break;
        };
        text.push_str(match mark {
            "&lt;" => "<",
            "&gt;" => ">",
            "&amp;" => "&",
            "&quot;" => "\"",
            _ => "",
        });
        rest = after;
    }
    text.push_str(rest);
    text
}

/// The ranges of a text that messages have: cut between paragraphs, else lines, else words, and within a word only when it
/// alone is too long. Ends of lines and spaces at a cut are left out; a line keeps its indentation.
fn cut(text: &str, units: usize) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut at = text.len() - text.trim_start().len();
    let end = text.trim_end().len();
    while let Some(left) = text.get(at..end).filter(|left| !left.is_empty()) {
        let fitting = fitting(left, units);
        let length = if fitting == left.len() { fitting } else { best_cut(left, fitting) };
        let piece = left.get(..length).unwrap_or(left);
        let words = piece.trim_end();
        if !words.is_empty() {
            ranges.push(at..at + words.len());
        }
        let rest = left.get(length..).unwrap_or_default();
        at += length + rest.len() - rest.trim_start_matches('\n').len();
    }
    ranges
}

/// How many bytes of a text have no more units than that; those of one character at least.
fn fitting(text: &str, units: usize) -> usize {
    let mut left = units;
    for (at, character) in text.char_indices() {
        match left.checked_sub(character.len_utf16()) {
            Some(rest) => left = rest,
            None => return at.max(character.len_utf8()),
        }
    }
    text.len()
}

/// Where to cut the beginning of a text that is followed by more: at the last of the best places in its second half.
fn best_cut(text: &str, fitting: usize) -> usize {
    let beginning = text.get(..fitting).unwrap_or(text);
    // A place right behind the beginning is as good as one in it.
    for separator in ["\n\n", "\n", " "] {
        if text.get(fitting..).is_some_and(|rest| rest.starts_with(separator)) {
            return fitting;
        }
        if let Some(at) = beginning.rfind(separator).filter(|at| *at > fitting / 2) {
            return at + separator.len();
        }
    }
    fitting
}

/// The words in `range` with their tags.
fn render(rich: &Rich, range: Range<usize>) -> String {
    let clip = |span: &Span| {
        let within = span.range.start.max(range.start)..span.range.end.min(range.end);
        (within.start < within.end).then(|| Span { range: within, style: span.style.clone() })
    };
    let mut ahead = rich.spans.iter().filter_map(clip).peekable();
    let mut open: Vec<Span> = Vec::new();
    let mut html = String::new();
    let mut at = range.start;
    loop {
        while open.last().is_some_and(|span| span.range.end <= at) {
            open.pop().inspect(|span| html.push_str(closing(&span.style)));
        }
        while let Some(span) = ahead.next_if(|span| span.range.start <= at) {
            html.push_str(&opening(&span.style));
            open.push(span);
        }
        if at >= range.end {
            break;
        }
        let next_end = open.last().map_or(range.end, |span| span.range.end);
        let next_start = ahead.peek().map_or(range.end, |span| span.range.start);
        let next = next_end.min(next_start).max(at + 1);
        escape_into(rich.text.get(at..next).unwrap_or_default(), &mut html);
        at = next;
    }
    html
}

fn opening(style: &Style) -> String {
    match style {
        Style::Bold => "<b>".into(),
        Style::Code => "<code>".into(),
        Style::Italic => "<i>".into(),
        Style::Link(target) => {
            let mut tag = String::from("<a href=\"");
            escape_into(target, &mut tag);
            tag.push_str("\">");
            tag
        }
        Style::Pre(None) => "<pre>".into(),
        Style::Pre(Some(language)) => format!("<pre><code class=\"language-{language}\">"),
        Style::Quote => "<blockquote>".into(),
        Style::Strike => "<s>".into(),
    }
}

const fn closing(style: &Style) -> &'static str {
    match style {
        Style::Bold => "</b>",
        Style::Code => "</code>",
        Style::Italic => "</i>",
        Style::Link(_) => "</a>",
        Style::Pre(None) => "</pre>",
        Style::Pre(Some(_)) => "</code></pre>",
        Style::Quote => "</blockquote>",
        Style::Strike => "</s>",
    }
}

fn escape_into(text: &str, html: &mut String) {
    for character in text.chars() {
        match character {
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '&' => html.push_str("&amp;"),
            '"' => html.push_str("&quot;"),
            other => html.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn markdown_becomes_what_telegram_shows() {
        for (markdown, expected) in [
            ("plain", "plain"),
            ("**bold** *it* ~~gone~~ `x < y`", "<b>bold</b> <i>it</i> <s>gone</s> <code>x &lt; y</code>"),
            ("# Title\n\ntext", "<b><i>Title</i></b>\n\ntext"),
            ("## Part\ntext", "<b>Part</b>\n\ntext"),
            ("- a\n- b\n  - c\n\nafter", "• a\n• b\n  • c\n\nafter"),
            ("3. a\n4. b", "3. a\n4. b"),
            ("- [x] done\n- [ ] open", "• ☑ done\n• ☐ open"),
            ("- one\n\n- two", "• one\n• two"),
            ("> quoted\n> > deeper\n\nsaid", "<blockquote>quoted\n\ndeeper</blockquote>\n\nsaid"),
            (
                "```rust\nlet a = 1 < 2;\n```",
                "<pre><code class=\"language-rust\">let a = 1 &lt; 2;</code></pre>",
            ),
            ("```\na\n\n  b\n```", "<pre>a\n\n  b</pre>"),
            ("```\"><b>\nx\n```", "<pre>x</pre>"),
            ("[here](https://example.org/?a=1&b=2)", "<a href=\"https://example.org/?a=1&amp;b=2\">here</a>"),
            ("<https://example.org>", "https://example.org"),
            ("[run](javascript:alert(1))", "run (javascript:alert(1))"),
            ("[me](tg://user?id=1)", "me (tg://user?id=1)"),
            ("![cat](https://example.org/c.png)", "<a href=\"https://example.org/c.png\">cat</a>"),
            ("<b>not ours</b> & so", "&lt;b&gt;not ours&lt;/b&gt; &amp; so"),
            ("a\nb  \nc", "a\nb\nc"),
            ("one\n\n---\n\ntwo", "one\n\n—————\n\ntwo"),
            ("|a|bb|\n|-|-:|\n|ccc|d|\n", "<pre>a   | bb\n----+---\nccc |  d</pre>"),
            ("***both***", "<i><b>both</b></i>"),
            ("a\u{0}b\u{7}c", "abc"),
            ("", ""),
            ("```\n```", ""),
        ] {
            assert_eq!(pieces(markdown).join("§"), expected, "{markdown:?}");
        }
    }

    #[test]
    fn a_long_answer_is_cut_between_lines_and_its_tags_are_closed_and_opened_again() {
        let code: String = (0..600).map(|line| format!("    line {line};\n")).collect();
        let pieces = pieces(&format!("before\n\n```c\n{code}```\nafter"));
        assert_eq!(pieces.len(), 3, "{}", pieces.len());
        assert!(pieces[0].starts_with("before\n\n<pre><code class=\"language-c\">    line 0;\n"));
        assert!(pieces[0].ends_with(";</code></pre>"), "{}", pieces[0]);
        assert!(
            pieces[1].starts_with("<pre><code class=\"language-c\">    line "),
            "the indentation is kept"
        );
        assert!(pieces[2].ends_with("</code></pre>\n\nafter"));
    }

    #[test]
    fn characters_outside_the_first_plane_count_twice_and_are_never_torn() {
        let pieces = pieces(&"😀".repeat(4001));
        let units: Vec<usize> = pieces.iter().map(|piece| piece.encode_utf16().count()).collect();
        assert_eq!(units, [4000, 4000, 2]);
    }

    #[test]
    fn the_words_are_found_again_without_the_tags() {
        let html = &pieces("**a** < `b` & [c](https://example.org/?x=\"1\")")[0];
        assert_eq!(plain(html), "a < b & c");
        assert_eq!(plain("a & b < c"), "a & b < c", "what is no HTML stays as it is");
    }

    fn is_well_formed(html: &str) -> bool {
        let mut open = Vec::new();
        for tag in html.split('<').skip(1) {
            let tag = tag.split('>').next().unwrap();
            match tag.strip_prefix('/') {
                Some(name) => match open.pop() {
                    Some(begun) if begun == name => {}
                    _ => return false,
                },
                None => open.push(tag.split(' ').next().unwrap()),
            }
        }
        open.is_empty()
    }

    proptest! {
        #[test]
        fn any_text_gives_messages_that_fit_and_are_well_formed(text in "[-a-z *_`~#>|\\[\\]()!<&\n0-9.ä😀]{0,400}") {
            let rich = read(&text);
            for range in cut(&rich.text, 40) {
                let html = render(&rich, range.clone());
                let words = plain(&html);
                prop_assert_eq!(&words, rich.text.get(range).unwrap());
                prop_assert!(!words.trim().is_empty());
                prop_assert!(words.encode_utf16().count() <= 40);
                prop_assert!(is_well_formed(&html), "{}", html);
            }
            let kept: String = cut(&rich.text, 40).into_iter().map(|range| rich.text.get(range).unwrap().to_owned()).collect();
            let letters = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            prop_assert_eq!(letters(&kept), letters(&rich.text));
        }
    }
}
