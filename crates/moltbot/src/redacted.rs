//! What this process knows to be secret, and the log without it.

use std::io::{self, Write};
use std::sync::LazyLock;

use moltbot_policy::redact::Redactor;
use tracing_subscriber::fmt::MakeWriter;

/// What stands in the log for what must not be seen.
const HIDDEN: &str = "***";

/// The one list of known values. It is empty until the config is read; forms of secrets are found before that.
static REDACTOR: LazyLock<Redactor> = LazyLock::new(Redactor::default);

/// What finds secrets in this process's texts: hide the values of the config and of the secret store in it as soon as
/// they are known, and give it to the book.
pub(crate) fn redactor() -> &'static Redactor {
    &REDACTOR
}

/// A place for lines of the log, which gets them without secrets.
pub(crate) struct Redacted<M>(pub(crate) M);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for Redacted<M> {
    type Writer = Redacted<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Redacted(self.0.make_writer())
    }
}

impl<W: Write> Write for Redacted<W> {
    /// Takes a whole line, as the log's formatter gives it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        self.0.write_all(redactor().redact(&text, &|_| HIDDEN.into()).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_log_stays_json_and_has_no_secret() {
        let mut lines = Redacted(Vec::new());
        let told = r#"{"level":"WARN","message":"GET https://api.telegram.org/bot123456789:AAabcdefghijklmnopqrstuvwxyz0123456/x failed","header":"Authorization: Bearer abcdef","password":"x\"y"}"#;
        lines.write_all(told.as_bytes()).unwrap();
        let line: serde_json::Value = serde_json::from_slice(&lines.0).unwrap();
        let expected = serde_json::json!({"level": "WARN", "message": "GET https://api.telegram.org/bot***/x failed",
            "header": "Authorization: Bearer ***", "password": "***"});
        assert_eq!(line, expected);
    }
}
