//! The beginning of a connection: capabilities, SASL, nick, and the channels to join.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use irc_proto::{CapSubCommand, Command};
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use super::people::People;
use super::wire::{Reader, Writer, numeric};
use super::{Accounts, IrcSettings, Sasl, SignedIn};
use crate::driver::Broken;

/// Capabilities that are asked for: who is signed in with services, when that or somebody's host changes, and ids of
/// messages.
const WANTED: [&str; 5] = [TELLS_CHANGES, TAGS, "chghost", TELLS_AT_JOIN, "message-tags"];
const TAGS: &str = "account-tag";
const TELLS_AT_JOIN: &str = "extended-join";
const TELLS_CHANGES: &str = "account-notify";
const SASL: &str = "sasl";
/// Bytes of base64 in one line of a SASL answer (IRCv3).
const SASL_PIECE: usize = 400;

/// How far the sign-in is.
#[derive(Default)]
struct Progress {
    offered: Vec<String>,
    accepted: Vec<String>,
}

/// Signs in. Answers what the server granted.
pub(super) async fn sign_in(
    settings: &IrcSettings,
    reader: &mut Reader,
    writer: &Writer,
) -> Result<SignedIn, Broken> {
    writer.line("CAP LS 302").await?;
    if let Some(password) = &settings.password {
        writer.line(&Zeroizing::new(format!("PASS :{}", password.expose_secret()))).await?;
    }
    writer.line(&format!("NICK {}", settings.nick)).await?;
    writer.line(&format!("USER {} 0 * :{}", settings.username, settings.realname)).await?;
    let mut progress = Progress::default();
    loop {
        let message = reader.next().await?;
        match &message.command {
            Command::PING(token, _) => writer.line(&format!("PONG :{token}")).await?,
            Command::CAP(_, sub, field, suffix) => {
                let is_more = field.as_deref() == Some("*");
                let list = suffix.as_deref().or(field.as_deref()).unwrap_or_default();
                require_kept(sub, list)?;
                capabilities(settings, &mut progress, writer, sub, list, is_more).await?;
            }
            Command::AUTHENTICATE(prompt) if prompt == "+" => answer(settings, writer).await?,
            Command::ERROR(why) => {
                return Err(Broken::passing(format!("the IRC server refused: {}", harmless(why))));
            }
            _ => {}
        }
        match numeric(&message) {
            Some((1, parameters)) => {
                require_signed_in(settings, &progress)?;
                let nick = parameters.first().cloned().unwrap_or_else(|| settings.nick.clone());
                let accounts = accounts(&progress.accepted, &nick);
                return Ok(SignedIn { nick, accounts });
            }
            Some((903, _)) => writer.line("CAP END").await?,
            Some((number, parameters)) => refused(settings, number, parameters)?,
            None => {}
        }
    }
}

async fn capabilities(
    settings: &IrcSettings,
    progress: &mut Progress,
    writer: &Writer,
    sub: &CapSubCommand,
    list: &str,
    is_more: bool,
) -> Result<(), Broken> {
    let names = list.split_whitespace().map(|one| one.split('=').next().unwrap_or(one).to_owned());
    match sub {
        CapSubCommand::LS => {
            progress.offered.extend(names);
            if is_more {
                return Ok(());
            }
            let mut wanted: Vec<&str> = WANTED.to_vec();
            if settings.sasl.is_some() {
                wanted.push(SASL);
            }
            wanted.retain(|name| progress.offered.iter().any(|offered| offered == name));
            if wanted.is_empty() {
                return writer.line("CAP END").await;
            }
            writer.line(&format!("CAP REQ :{}", wanted.join(" "))).await
        }
        CapSubCommand::ACK => {
            progress.accepted.extend(names);
            let asks_sasl = settings.sasl.is_some() && progress.accepted.iter().any(|one| one == SASL);
            let mechanism = match settings.sasl.as_ref().filter(|_| asks_sasl) {
                None => return writer.line("CAP END").await,
                Some(Sasl::External(_)) => "EXTERNAL",
                Some(Sasl::Plain(..)) => "PLAIN",
            };
            writer.line(&format!("AUTHENTICATE {mechanism}")).await
        }
        CapSubCommand::NAK => writer.line("CAP END").await,
        _ => Ok(()),
    }
}

/// How accounts are told by a server that accepted those capabilities.
fn accounts(accepted: &[String], nick: &str) -> Accounts {
    let has = |name: &str| accepted.iter().any(|one| one == name);
    if has(TAGS) {
        Accounts::Tagged
    } else if has(TELLS_AT_JOIN) && has(TELLS_CHANGES) {
        Accounts::Followed(People::new(nick))
    } else {
        Accounts::Untold
    }
}

/// Demands that a server does not take back what it told accounts by: what is believed of them would grow old.
pub(super) fn require_kept(sub: &CapSubCommand, list: &str) -> Result<(), Broken> {
    let is_needed = |name: &str| [TAGS, TELLS_AT_JOIN, TELLS_CHANGES].contains(&name);
    if *sub == CapSubCommand::DEL && list.split_whitespace().any(is_needed) {
        return Err(Broken::passing("the IRC server does not tell accounts any more as it did"));
    }
    Ok(())
}

/// Answers the server's prompt, in pieces: SASL PLAIN (RFC 4616) or EXTERNAL (RFC 4422, appendix A).
async fn answer(settings: &IrcSettings, writer: &Writer) -> Result<(), Broken> {
    let answer = match &settings.sasl {
        None => return Ok(()),
        Some(Sasl::External(account)) => {
            Zeroizing::new(STANDARD.encode(account.as_deref().unwrap_or_default()))
        }
        Some(Sasl::Plain(account, password)) => plain(account, password),
    };
    for piece in answer.as_bytes().chunks(SASL_PIECE) {
        let piece = Zeroizing::new(String::from_utf8_lossy(piece).into_owned());
        writer.line(&Zeroizing::new(format!("AUTHENTICATE {}", *piece))).await?;
    }
    if answer.len().is_multiple_of(SASL_PIECE) { writer.line("AUTHENTICATE +").await } else { Ok(()) }
}

fn plain(account: &str, password: &SecretString) -> Zeroizing<String> {
    let clear = Zeroizing::new(format!("\0{account}\0{}", password.expose_secret()));
    Zeroizing::new(STANDARD.encode(clear.as_bytes()))
}

/// Who is to be signed in with services and is not, is not served: the nick alone is not ours.
fn require_signed_in(settings: &IrcSettings, progress: &Progress) -> Result<(), Broken> {
    if settings.sasl.is_none() || progress.accepted.iter().any(|one| one == SASL) {
        return Ok(());
    }
    Err(Broken::lasting("the IRC server offers no SASL; remove channels.irc.sasl, or name another server"))
}

/// What a numeric answer means for the sign-in. Others mean nothing.
fn refused(settings: &IrcSettings, number: u16, parameters: &[String]) -> Result<(), Broken> {
    let why = harmless(parameters.last().map(String::as_str).unwrap_or_default());
    match number {
        433 | 436 | 437 => {
            Err(Broken::passing(format!("the nick {:?} is taken just now ({why})", settings.nick)))
        }
        431 | 432 => {
            Err(Broken::lasting(format!("the IRC server takes no nick {:?} ({why})", settings.nick)))
        }
        464 => Err(Broken::lasting("the IRC server refused channels.irc.password; set the right one")),
        465 => Err(Broken::lasting(format!("the IRC server bans us ({why})"))),
        902 | 904 | 905 | 906 | 908 => Err(Broken::lasting(format!(
            "the sign-in of channels.irc.sasl was refused ({why}); check the account and its password or certificate"
        ))),
        _ => Ok(()),
    }
}

/// The beginning of what a server says, in one line.
pub(super) fn harmless(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sasl_plain_is_as_rfc_4616_says() {
        assert_eq!(*plain("tim", &"tanstaaftanstaaf".into()), "AHRpbQB0YW5zdGFhZnRhbnN0YWFm");
    }
}
