//! `moltbot ledger export`: records in another program's form, to a file, to standard output, or once to a server.

use std::io;
use std::path::Path;

use moltbot_config::settings::{LedgerConfig, OtlpConfig, SyslogConfig};
use moltbot_gateway::sending::{SendError, Server, send_once};
use moltbot_ledger::export::{self, ExportError, Exported, Format, Origin};
use moltbot_ledger::query::Reader;
use moltbot_net::FetchError;
use moltbot_policy::secret::{SecretAct, SecretPermit};
use moltbot_vault::OwnerFile;

use super::{note_skipped, reader};
use crate::arguments::{Export, ExportFormat};
use crate::book::{CommandBook, OWNER};
use crate::exit::Exit;
use crate::home::{self, Home};
use crate::serve::block_on;
use crate::{clock, output};

/// After how many records it is told how far the sending is.
const PROGRESS: u64 = 10_000;
/// The port of syslog over TLS.
const SYSLOG_PORT: u16 = 6514;

/// Does what the options say.
pub(super) fn run(home: &Home, options: &Export) -> anyhow::Result<Exit> {
    match &options.server {
        None => write(home, options),
        Some(address) => send(home, options, address),
    }
}

fn write(home: &Home, options: &Export) -> anyhow::Result<Exit> {
    let (origin, reader) = (home.origin()?, reader(home)?);
    let written = match &options.output {
        None => {
            let mut out = io::BufWriter::new(io::stdout().lock());
            to_writer(&reader, &origin, options, &mut out)?
        }
        Some(path) => to_file(&reader, &origin, options, path)?,
    };
    note_skipped(written.skipped);
    Ok(Exit::Done)
}

fn to_writer(
    reader: &Reader,
    origin: &Origin,
    options: &Export,
    out: &mut impl io::Write,
) -> anyhow::Result<Exported> {
    let range = options.from..=options.until.unwrap_or(u64::MAX);
    match export::write(reader, origin, format_of(options), range, out) {
        Err(ExportError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Err(error.into()),
        exported => exported.map_err(|error| home::failed(&error)),
    }
}

/// Writes as it reads: an export is as large as the book.
fn to_file(reader: &Reader, origin: &Origin, options: &Export, path: &Path) -> anyhow::Result<Exported> {
    let path = std::path::absolute(path)?;
    let written = OwnerFile::at(&path).create_from(|mut out| to_writer(reader, origin, options, &mut out));
    written?.ok_or_else(|| {
        Exit::Failed.because(format!("{} is there already; choose another name", path.display()))
    })
}

const fn format_of(options: &Export) -> Format {
    match options.format {
        ExportFormat::Jsonl => Format::Jsonl,
        ExportFormat::Ocsf => Format::Ocsf,
        ExportFormat::Otlp => Format::Otlp,
        ExportFormat::Syslog => Format::Syslog,
    }
}

/// Sends the records to a server once.
fn send(home: &Home, options: &Export, address: &str) -> anyhow::Result<Exit> {
    let settings = settings(options, address)?;
    let book = CommandBook::open(home)?;
    let settings = with_own(home, settings, &book)?;
    let book = book.shared();
    let server = match &settings {
        Settings::Otlp(settings) => Server::otlp(settings, &book),
        Settings::Syslog(settings) => Server::syslog(settings, &book),
    };
    let server = server.map_err(|error| failed(&error))?;
    let (origin, range) = (home.origin()?, (options.from, options.until.unwrap_or(u64::MAX)));
    let (mut told, mut reached) = (0, 0);
    let mut progress = |sequence: u64| {
        reached = sequence;
        if sequence.saturating_sub(told) >= PROGRESS {
            told = sequence;
            output::note(&format!("sent up to record {sequence}"));
        }
    };
    let sent = block_on(async {
        let sending = send_once(&server, &home.state, &origin, range, OWNER, clock::now_ms(), &mut progress);
        Ok(sending.await)
    })?;
    home.close_book();
    match sent {
        Ok(0) => output::line("there is no such record; nothing was sent")?,
        Ok(last) => output::line(&format!("{} has the records up to {last}", server.target()))?,
        Err(error) => {
            if reached > 0 {
                output::note(&format!(
                    "up to record {reached} was handed over, which the server may have; what comes twice has the same number"
                ));
            }
            return Err(failed(&error));
        }
    }
    Ok(Exit::Done)
}

/// What cannot be recorded may work later.
fn failed(error: &SendError) -> anyhow::Error {
    match error {
        SendError::Fetch(FetchError::Unrecorded(unrecorded)) => Exit::Busy.because(unrecorded),
        error => home::failed(error),
    }
}

/// The server of one sending.
enum Settings {
    Otlp(OtlpConfig),
    Syslog(SyslogConfig),
}

fn settings(options: &Export, address: &str) -> anyhow::Result<Settings> {
    let ca_file = options.ca.as_deref().map(std::path::absolute).transpose()?;
    let ca_file = ca_file.map(|path| path.display().to_string());
    let misfit = || {
        Exit::Usage.because(
            "this server does not fit the form: `--format syslog --to tls://host[:port]`, or `--format otlp --to https://…`",
        )
    };
    match (options.format, address.split_once("://")) {
        (ExportFormat::Syslog, Some(("tls", rest))) => {
            let (host, port) = host_and_port(rest).ok_or_else(misfit)?;
            Ok(Settings::Syslog(SyslogConfig { ca_file, host, port }))
        }
        (ExportFormat::Otlp, Some(("http" | "https", _))) => {
            let (headers, url) = (std::collections::BTreeMap::new(), address.to_owned());
            Ok(Settings::Otlp(OtlpConfig { ca_file, headers, url }))
        }
        _ => Err(misfit()),
    }
}

/// `host`, `host:port`, `[address]` or `[address]:port`.
fn host_and_port(text: &str) -> Option<(String, u16)> {
    let text = text.strip_suffix('/').unwrap_or(text);
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (text, SYSLOG_PORT),
    };
    let is_bare_address = host.contains(':') && !host.starts_with('[');
    (!host.is_empty() && port > 0 && !is_bare_address).then(|| (host.to_owned(), port))
}

/// With what the config says of the same server: its authorities, and the headers of a collector, which may be secret and
/// are therefore no option.
fn with_own(home: &Home, settings: Settings, book: &CommandBook) -> anyhow::Result<Settings> {
    let LedgerConfig { otlp, syslog } = home.load()?.config.ledger;
    Ok(match settings {
        Settings::Otlp(mut settings) => {
            if let Some(own) = otlp.filter(|own| own.url == settings.url) {
                if !own.headers.is_empty() {
                    let place = "ledger.otlp.headers";
                    drop(book.record(SecretPermit::for_owner(SecretAct::Load, place, OWNER))?);
                }
                settings.headers = own.headers;
                settings.ca_file = settings.ca_file.or(own.ca_file);
            }
            Settings::Otlp(settings)
        }
        Settings::Syslog(mut settings) => {
            let same = |own: &SyslogConfig| own.host == settings.host && own.port == settings.port;
            if let Some(own) = syslog.filter(same) {
                settings.ca_file = settings.ca_file.or(own.ca_file);
            }
            Settings::Syslog(settings)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_told_from_an_address() {
        for (text, expected) in [
            ("logs.example.org", Some(("logs.example.org", 6514))),
            ("logs.example.org/", Some(("logs.example.org", 6514))),
            ("logs.example.org:1514", Some(("logs.example.org", 1514))),
            ("[::1]", Some(("[::1]", 6514))),
            ("[::1]:1514", Some(("[::1]", 1514))),
            ("::1", None),
            ("logs:0", None),
            ("logs:x", None),
            ("", None),
            (":1", None),
        ] {
            let found = host_and_port(text);
            assert_eq!(found.as_ref().map(|(host, port)| (host.as_str(), *port)), expected, "{text}");
        }
    }
}
