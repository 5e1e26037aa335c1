//! What a heartbeat says: nothing, when all is well.

/// What a model answers when nothing needs its owner's attention; as upstream, so that prompts that people wrote go on working.
const ALL_WELL: &str = "HEARTBEAT_OK";
/// What a model answers in any turn that nobody waits for.
const SILENT: &str = "NO_REPLY";

/// What of a heartbeat's answer is told: nothing of one that says that all is well, with no more than `most` characters
/// beside the word. Everything of one that does not say it.
pub(crate) fn told(answer: &str, most: usize) -> String {
    let answer = answer.trim();
    let Some(rest) = without_word(answer) else { return answer.to_owned() };
    if rest.chars().count() <= most { String::new() } else { rest.to_owned() }
}

/// The answer without the word, when it begins or ends with it; marks around the word go with it.
fn without_word(answer: &str) -> Option<&str> {
    let is_mark = |c: char| c.is_whitespace() || "*_`~#>\"'".contains(c);
    let ends = |c: char| is_mark(c) || c == '.' || c == '!';
    let goes_on = |c: char| c.is_alphanumeric() || c == '_';
    [ALL_WELL, SILENT].into_iter().find_map(|word| {
        let after = answer.trim_start_matches(is_mark).strip_prefix(word);
        let after =
            after.filter(|rest| !rest.starts_with(goes_on) || rest.trim_start_matches('_').is_empty());
        let before = answer.trim_end_matches(ends).strip_suffix(word);
        let before = before.filter(|rest| !rest.ends_with(goes_on));
        let after = after.map(|rest| rest.trim_start_matches(ends).trim());
        after.or_else(|| before.map(|rest| rest.trim_end_matches(is_mark).trim()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_says_that_all_is_well_is_not_told() {
        for (answer, most, expected) in [
            ("HEARTBEAT_OK", 0, ""),
            ("  **HEARTBEAT_OK**\n", 0, ""),
            ("`HEARTBEAT_OK`.", 0, ""),
            ("NO_REPLY", 0, ""),
            ("", 300, ""),
            ("HEARTBEAT_OK nothing new", 300, ""),
            ("nothing new\n\nHEARTBEAT_OK", 300, ""),
            ("HEARTBEAT_OK nothing new", 10, "nothing new"),
            ("Rent is due today.\n**HEARTBEAT_OK**", 10, "Rent is due today."),
            ("_HEARTBEAT_OK_", 0, ""),
            ("Rent is due today.", 300, "Rent is due today."),
            ("HEARTBEAT_OKAY", 300, "HEARTBEAT_OKAY"),
            ("say HEARTBEAT_OK to them", 300, "say HEARTBEAT_OK to them"),
            ("äöü HEARTBEAT_OK", 3, ""),
            ("äöü! HEARTBEAT_OK", 2, "äöü!"),
        ] {
            assert_eq!(told(answer, most), expected, "{answer:?} {most}");
        }
    }
}
