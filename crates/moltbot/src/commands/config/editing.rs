//! `moltbot config edit`: the config in the owner's editor. What is not valid is not written, and not lost.

use moltbot_config::limits;
use secrecy::zeroize::Zeroizing;

use crate::book::CommandBook;
use crate::exit::Exit;
use crate::home::{self, Home};
use crate::output::{self, harmless};
use crate::{change, editor, environment, prompt};

/// The text that is edited, in the state folder: closed to others as the config is. It is there only for as long as nobody
/// has taken it or thrown it away.
const DRAFT: &str = "config-edit.json5";

/// Opens the editor until the text is valid, and writes it.
pub(super) fn run(home: &Home) -> anyhow::Result<Exit> {
    let editor = environment::editor().ok_or_else(|| {
        Exit::Usage.because("no editor is named: set VISUAL or EDITOR, such as EDITOR=nano")
    })?;
    let before = change::text(home)?;
    begin(home, &before)?;
    let edited = match edited(home, &editor, &before)? {
        None => return Ok(Exit::Done),
        Some(edited) => edited,
    };
    if *change::text(home)? != *before {
        return Err(Exit::Busy.because(
            "the config was changed by somebody else meanwhile, so nothing was written; what you wrote is kept: `moltbot config \
             edit` goes on with it, and writing it then takes back what the other has changed",
        ));
    }
    let book = CommandBook::open(home)?;
    change::write(home, &book, &before, &edited, "config edit")?;
    book.close();
    drop_draft(home)?;
    for line in moltbot_config::diff(&before, &change::text(home)?).map_err(|error| home::failed(&error))? {
        output::line(&harmless(&line))?;
    }
    change::remind(home)?;
    Ok(Exit::Done)
}

/// Puts the text where the editor finds it: the config's, else what was not taken the last time.
fn begin(home: &Home, text: &str) -> anyhow::Result<()> {
    if read(home)?.is_some() {
        output::note("what you wrote the last time was not taken; you go on with it");
        return Ok(());
    }
    home.state.write(DRAFT, text.as_bytes()).map_err(|error| home::failed(&error))
}

/// What the person has made of it, once it is valid; nothing when he changed nothing, or gave up.
fn edited(home: &Home, editor: &str, before: &str) -> anyhow::Result<Option<Zeroizing<String>>> {
    let file = home.state.path().join(DRAFT);
    loop {
        let status = editor::run(editor, &file, environment::plain_variable);
        let status =
            status.map_err(|error| Exit::Failed.because(format!("the editor cannot be started: {error}")))?;
        let text = read(home)?
            .ok_or_else(|| Exit::Failed.because("the editor has removed the file; nothing was changed"))?;
        if !status.success() {
            drop_draft(home)?;
            return Err(Exit::Failed.because(format!("the editor ended with {status}; nothing was changed")));
        }
        if *text == before {
            drop_draft(home)?;
            output::line("nothing was changed")?;
            return Ok(None);
        }
        let Err(errors) = home.try_load_text(text.as_bytes())? else { return Ok(Some(text)) };
        if !output::is_interactive() {
            return Err(Exit::Config.because(format!(
                "{errors}\nnothing was changed; what was written is kept in {}",
                file.display()
            )));
        }
        output::note(&errors.to_string());
        if !prompt::confirm("It is not valid, so nothing was changed. Edit again?")? {
            output::note(&format!(
                "what you wrote is kept in {}; `moltbot config edit` goes on with it",
                file.display()
            ));
            return Ok(None);
        }
    }
}

fn read(home: &Home) -> anyhow::Result<Option<Zeroizing<String>>> {
    let bytes = home.state.read(DRAFT, limits::CONFIG_BYTES).map_err(|error| home::failed(&error))?;
    let text = bytes.map(String::from_utf8).transpose();
    let text =
        text.map_err(|_| Exit::Config.because("what was written is not UTF-8; nothing was changed"))?;
    Ok(text.map(Zeroizing::new))
}

fn drop_draft(home: &Home) -> anyhow::Result<()> {
    home.state.remove(DRAFT).map_err(|error| home::failed(&error))
}
