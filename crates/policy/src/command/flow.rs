//! What a command writes, as far as its text tells: enough to see what a pipeline hands to a shell.

use super::call::Call;
use super::escape;
use super::word::{Flow, UNKNOWN, Word};

/// What `call` writes.
pub(super) fn written(call: &Call) -> Flow {
    let name = call.name();
    let arguments = call.arguments();
    match name {
        "echo" => echo(arguments),
        "printf" => printf(arguments),
        "cat" | "tac" | "tee" | "head" | "tail" | "sort" | "uniq" | "nl" | "fold" | "sponge" | "pv"
        | "iconv" => passed(call),
        "base64" | "base32" | "xxd" | "openssl" | "basenc" | "uudecode" | "hexdump" | "python3" | "perl" => {
            decoded(call, name)
        }
        "rev" => match call.input.text() {
            Some(text) => Flow::Revealed(
                text.lines().map(|line| line.chars().rev().collect::<String>() + "\n").collect(),
            ),
            None => changed(&call.input),
        },
        "tr" => translated(call),
        "sed" | "awk" | "gawk" | "mawk" | "cut" | "dd" | "gzip" | "gunzip" | "zcat" | "bzip2" | "bunzip2"
        | "bzcat" | "xz" | "unxz" | "xzcat" | "zstd" | "unzstd" | "zstdcat" | "lz4" | "uncompress"
        | "gpg" | "age" | "tar" | "unzip" | "funzip" | "paste" | "column" | "od" => changed(&call.input),
        "curl" | "wget" | "wget2" | "fetch" | "aria2c" | "http" | "https" | "xh" | "lynx" | "w3m"
        | "links" | "nc" | "ncat" | "netcat" | "socat" | "telnet" | "ssh" | "ftp" | "tftp" | "dig"
        | "host" | "nslookup" | "drill" | "rclone" | "aws" | "gsutil" | "scp" | "gh" => Flow::Fetched,
        _ => match &call.input {
            // What filters text of a doubtful kind gives text of that kind.
            Flow::Decoded | Flow::Revealed(_) => Flow::Decoded,
            Flow::Fetched => Flow::Fetched,
            Flow::Nothing | Flow::Text(_) | Flow::Unknown => Flow::Unknown,
        },
    }
}

/// The text of a changed text is not known.
fn changed(input: &Flow) -> Flow {
    match input {
        Flow::Fetched => Flow::Fetched,
        Flow::Decoded | Flow::Nothing | Flow::Revealed(_) | Flow::Text(_) | Flow::Unknown => Flow::Decoded,
    }
}

/// What a program that only passes its input on gives: with a file named, something else.
fn passed(call: &Call) -> Flow {
    let files = call.arguments().iter().any(|word| !word.text.starts_with('-'));
    match (call.name(), files) {
        ("tee", _) | (_, false) => call.input.clone(),
        (_, true) if call.arguments().iter().any(|word| word.flow != Flow::Nothing) => call
            .arguments()
            .iter()
            .find(|word| word.flow != Flow::Nothing)
            .map_or(Flow::Unknown, |word| word.flow.clone()),
        (_, true) => Flow::Unknown,
    }
}

fn echo(arguments: &[Word]) -> Flow {
    let option = |word: &&Word| {
        let letters = word.text.strip_prefix('-').unwrap_or_default();
        !letters.is_empty() && letters.chars().all(|c| "neE".contains(c))
    };
    let escapes = arguments.iter().take_while(option).any(|word| word.text.contains('e'));
    let words: Vec<&str> = arguments.iter().skip_while(option).map(|word| word.text.as_str()).collect();
    let text = words.join(" ");
    // Some shells undo escapes without being asked to.
    if escapes || text.contains("\\x") || text.contains("\\0") { unescaped(&text) } else { Flow::Text(text) }
}

/// Text whose letters are spelt as numbers hides them.
fn unescaped(text: &str) -> Flow {
    let hides = text
        .split('\\')
        .skip(1)
        .any(|after| after.starts_with(['x', 'u', 'U']) || after.starts_with(|c: char| c.is_ascii_digit()));
    let known = escape::unescape(text);
    if hides { Flow::Revealed(known) } else { Flow::Text(known) }
}

fn printf(arguments: &[Word]) -> Flow {
    let mut rest = arguments.iter().filter(|word| word.text != "--");
    let Some(format) = rest.next() else { return Flow::Nothing };
    if format.text == "-v" {
        return Flow::Nothing;
    }
    let all = arguments.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ");
    let hides = matches!(unescaped(&all), Flow::Revealed(_));
    let format = escape::unescape(&format.text);
    let words: Vec<&str> = rest.map(|word| word.text.as_str()).collect();
    let mut text = String::new();
    let mut words = words.into_iter();
    loop {
        let mut used = false;
        let mut signs = format.chars();
        while let Some(c) = signs.next() {
            if c != '%' {
                text.push(c);
                continue;
            }
            match signs.find(|sign| sign.is_ascii_alphabetic() || *sign == '%') {
                Some('%') => text.push('%'),
                Some(kind) => {
                    used = true;
                    let word = words.next().unwrap_or_default();
                    text.push_str(&if kind == 'b' { escape::unescape(word) } else { word.to_owned() });
                }
                None => {}
            }
        }
        if !used || words.len() == 0 || text.len() > 65_536 {
            return if hides { Flow::Revealed(text) } else { Flow::Text(text) };
        }
    }
}

fn decoded(call: &Call, name: &str) -> Flow {
    let decodes = call.arguments().iter().any(|word| {
        matches!(
            word.text.as_str(),
            "--decode" | "-d" | "-D" | "-di" | "-id" | "-r" | "-rp" | "-pr" | "--decode-base64"
        ) || (word.text.starts_with("--d") && "--decode".starts_with(word.text.as_str()))
    });
    if name == "openssl" && call.has(&["s_client"]) {
        return Flow::Fetched;
    }
    if !decodes {
        return if matches!(call.input, Flow::Fetched) { Flow::Fetched } else { Flow::Unknown };
    }
    let Some(text) = call.input.text() else { return changed(&call.input) };
    if text.contains(UNKNOWN) {
        return Flow::Decoded;
    }
    let base64 = name == "base64" || (name == "openssl" && call.has(&["-base64", "base64", "-a"]));
    let known = match name {
        _ if base64 => escape::base64(text),
        "base32" => escape::base32(text),
        "xxd" => escape::hexadecimal(text),
        _ => None,
    };
    known.map_or(Flow::Decoded, Flow::Revealed)
}

/// `tr` with two plain sets of one length; what else it does is not followed.
fn translated(call: &Call) -> Flow {
    let Some(text) = call.input.text() else { return changed(&call.input) };
    let [from, to] = call.arguments() else { return Flow::Decoded };
    let (from, to) = (set(&from.text), set(&to.text));
    if from.len() != to.len() || text.contains(UNKNOWN) {
        return Flow::Decoded;
    }
    let one =
        |c: char| from.iter().rposition(|known| *known == c).and_then(|at| to.get(at)).copied().unwrap_or(c);
    Flow::Revealed(text.chars().map(one).collect())
}

fn set(text: &str) -> Vec<char> {
    let signs: Vec<char> = escape::unescape(text).chars().collect();
    let mut all = Vec::new();
    let mut rest = signs.as_slice();
    while let Some((first, after)) = rest.split_first() {
        if let ['-', last, left @ ..] = after {
            all.extend(*first..=*last);
            rest = left;
        } else {
            all.push(*first);
            rest = after;
        }
    }
    all
}
