//! The file by which macOS starts the gateway (launchd.plist(5)). It can be printed anywhere; moltbot is tested on Linux alone.

use std::fmt::Write as _;
use std::path::Path;

/// What the gateway is called there.
const LABEL: &str = "bot.molt.gateway";
/// Files that it makes can be read by the owner alone.
const UMASK: u16 = 0o077;

/// The file for `program`. Fails with the path that it could not name.
pub(super) fn text(program: &Path, state: Option<&Path>, profile: Option<&str>) -> Result<String, String> {
    let mut arguments = vec![escaped(&program.display().to_string())?];
    if let Some(profile) = profile {
        arguments.extend(["--profile".to_owned(), escaped(profile)?]);
    }
    arguments.extend(["gateway".to_owned(), "run".to_owned()]);
    let mut text = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
        <!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n\
        <plist version=\"1.0\">\n<dict>\n",
    );
    let mut add = |name: &str, value: &str| {
        writeln!(text, "  <key>{name}</key>\n  {value}").map_err(|error| error.to_string())
    };
    add("Label", &string(LABEL))?;
    let words: String = arguments.iter().map(|word| string(word)).collect();
    add("ProgramArguments", &format!("<array>{words}</array>"))?;
    if let Some(state) = state {
        let state = string(&escaped(&state.display().to_string())?);
        add("EnvironmentVariables", &format!("<dict><key>MOLTBOT_STATE_DIR</key>{state}</dict>"))?;
    }
    add("RunAtLoad", "<true/>")?;
    // Not when it was stopped.
    add("KeepAlive", "<dict><key>SuccessfulExit</key><false/></dict>")?;
    add("ThrottleInterval", "<integer>5</integer>")?;
    add("ExitTimeOut", "<integer>60</integer>")?;
    add("Umask", &format!("<integer>{UMASK}</integer>"))?;
    text.push_str("</dict>\n</plist>\n");
    Ok(text)
}

fn string(text: &str) -> String {
    format!("<string>{text}</string>")
}

fn escaped(text: &str) -> Result<String, String> {
    if text.chars().any(|c| c.is_control() || c == char::REPLACEMENT_CHARACTER) {
        return Err(format!("{text:?} has signs that the file cannot name"));
    }
    Ok(text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"))
}
