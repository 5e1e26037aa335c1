//! `moltbot service …`: has the system's service manager start the gateway. Nothing is started here: no program of the
//! system is run, and what is left to be typed is said.

mod launchd;
mod unit;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use moltbot_config::limits;
use moltbot_config::settings::GatewayConfig;
use moltbot_policy::service::{ServiceAct, ServicePermit};
use moltbot_posture::audit::missing_in_unit;
use moltbot_vault::{OwnerFile, ServiceFiles, read_public};
use secrecy::zeroize::Zeroizing;
use serde_json::{Value, json};

use self::unit::{MARK, Unit};
use crate::arguments::{Facts, Service, ServiceInstall, ServicePrint};
use crate::book::{CommandBook, OWNER};
use crate::environment::{Environment, expanded};
use crate::exit::Exit;
use crate::home::{self, Home};
use crate::output::{self, harmless};

/// Where an owner's units are, below the home.
pub(super) const OWN_UNITS: &str = ".config/systemd/user";
/// What the gateway's unit is called.
pub(super) const UNIT: &str = "moltbot.service";
/// What the socket is called that is opened for it.
const SOCKET: &str = "moltbot.socket";
/// The largest list of users that is read, in bytes.
const USERS_BYTES: u64 = 4 * 1024 * 1024;

/// Does what the command says.
pub(crate) fn run(environment: Environment, command: &Service) -> anyhow::Result<Exit> {
    match command {
        Service::Install(options) => install(environment, options),
        Service::Print(options) => print(&environment, options),
        Service::Status(facts) => status(&environment, *facts),
        Service::Uninstall(facts) => uninstall(environment, *facts),
    }
}

fn install(environment: Environment, options: &ServiceInstall) -> anyhow::Result<Exit> {
    let (files, unit) = (files(&environment), own_unit(&environment, options.without_commands)?);
    let text = unit.text().map_err(|why| Exit::Failed.because(why))?;
    let [service, socket] = &files;
    if !options.force {
        files
            .iter()
            .try_for_each(|files| require_ours(files, "look at it, and use --force to replace it"))?;
    }
    let is_wanted = options.socket;
    let socket_text = is_wanted.then(|| port(&environment).map(unit::socket)).transpose()?;
    let home = Home::ensure(environment)?;
    if home.needs_passphrase()? {
        let message = "the root keys are wrapped by a passphrase, which nobody types when a service starts; see `moltbot secrets wrap --help`";
        return Err(Exit::Refused.because(message));
    }
    let book = CommandBook::open(&home)?;
    let write = |files: &ServiceFiles, text: &str| {
        let permit = book.record(permit(ServiceAct::Install, files))?;
        files.write(&permit, text).map_err(|error| home::failed(&error))
    };
    write(service, &text)?;
    match socket_text {
        Some(text) => write(socket, &text)?,
        None => remove(&book, socket)?,
    }
    book.close();
    let path = service.unit().display().to_string();
    let started = if is_wanted { "moltbot.socket moltbot.service" } else { "moltbot" };
    let next = ["systemctl --user daemon-reload".to_owned(), format!("systemctl --user restart {started}")];
    if options.json {
        let socket = is_wanted.then(|| socket.unit().display().to_string());
        output::json(&json!({"unit": path, "socket": socket, "next": next}))?;
    } else {
        output::line(&format!("{path} is written; it is started when you sign in. To start it now:"))?;
        next.iter().try_for_each(|line| output::line(&format!("  {line}")))?;
        output::line("To have it started without you: loginctl enable-linger")?;
    }
    Ok(Exit::Done)
}

fn uninstall(environment: Environment, facts: Facts) -> anyhow::Result<Exit> {
    let files = files(&environment);
    let [service, _] = &files;
    let path = service.unit().display().to_string();
    let mut is_there = false;
    for files in &files {
        require_ours(files, "remove it by hand")?;
        is_there |= files.text()?.is_some() || files.is_linked();
    }
    if !is_there {
        return Err(Exit::Failed.because(format!("there is no {path}")));
    }
    let home = Home::ensure(environment)?;
    let book = CommandBook::open(&home)?;
    files.iter().try_for_each(|files| remove(&book, files))?;
    book.close();
    let next = ["systemctl --user stop moltbot", "systemctl --user daemon-reload"];
    if facts.json {
        output::json(&json!({"removed": path, "next": next}))?;
    } else {
        output::line(&format!("{path} is removed; what it has started goes on. To stop it:"))?;
        next.iter().try_for_each(|line| output::line(&format!("  {line}")))?;
    }
    Ok(Exit::Done)
}

/// Refuses what somebody else has written.
fn require_ours(files: &ServiceFiles, fix: &str) -> anyhow::Result<()> {
    if files.text()?.is_some_and(|found| !found.starts_with(MARK)) {
        let path = files.unit().display();
        return Err(Exit::Failed.because(format!("{path} is not of moltbot; {fix}")));
    }
    Ok(())
}

fn permit(act: ServiceAct, files: &ServiceFiles) -> ServicePermit {
    ServicePermit::for_owner(act, files.unit().display().to_string(), OWNER)
}

/// Takes away what is there.
fn remove(book: &CommandBook, files: &ServiceFiles) -> anyhow::Result<()> {
    if files.text()?.is_none() && !files.is_linked() {
        return Ok(());
    }
    let permit = book.record(permit(ServiceAct::Uninstall, files))?;
    files.remove(&permit).map_err(|error| home::failed(&error))
}

/// Prints the unit: the owner's, or that for a user of this machine whom the system's manager runs it as; or its socket; or what
/// macOS has instead.
fn print(environment: &Environment, options: &ServicePrint) -> anyhow::Result<Exit> {
    if options.socket {
        output::piece(&unit::socket(port(environment)?))?;
        return Ok(Exit::Done);
    }
    if options.launchd {
        let Unit { program, state, names_state, profile, .. } = own_unit(environment, true)?;
        let text = launchd::text(&program, names_state.then_some(state.as_path()), profile.as_deref());
        output::piece(&text.map_err(|why| Exit::Failed.because(why))?)?;
        return Ok(Exit::Done);
    }
    let unit = match &options.user {
        None => own_unit(environment, options.without_commands)?,
        Some(user) => {
            let home = home_of(user)?;
            let state = home.join(".moltbot");
            let runs_commands = !options.without_commands;
            let (profile, writable, names_state) = (None, Vec::new(), false);
            Unit {
                program: program()?,
                state,
                names_state,
                profile,
                user: Some(user.clone()),
                writable,
                runs_commands,
            }
        }
    };
    output::piece(&unit.text().map_err(|why| Exit::Failed.because(why))?)?;
    Ok(Exit::Done)
}

fn status(environment: &Environment, facts: Facts) -> anyhow::Result<Exit> {
    let [files, socket] = files(environment);
    let text = files.text()?;
    let missing = text.as_deref().map(missing_in_unit).unwrap_or_default();
    let as_written = |without| own_unit(environment, without).ok().and_then(|unit| unit.text().ok());
    let is_current = text.is_some() && [false, true].into_iter().any(|without| as_written(without) == text);
    let told = json!({
        "unit": files.unit().display().to_string(),
        "installed": text.is_some(),
        "startsByItself": files.is_linked(),
        "socket": socket.text()?.is_some() && socket.is_linked(),
        "current": is_current,
        "missing": missing,
    });
    if facts.json {
        output::json(&told)?;
    } else {
        print_status(&told)?;
    }
    Ok(if text.is_some() { Exit::Done } else { Exit::Failed })
}

fn print_status(told: &Value) -> anyhow::Result<()> {
    let is = |name: &str| told.get(name).and_then(Value::as_bool) == Some(true);
    let path = told.get("unit").and_then(Value::as_str).unwrap_or_default();
    if !is("installed") {
        output::line(&format!("there is no {}; write it with `moltbot service install`", harmless(path)))?;
        return Ok(());
    }
    output::line(&harmless(path))?;
    output::line(if is("startsByItself") {
        "starts when you sign in"
    } else {
        "is not started by itself: install it again"
    })?;
    if is("socket") {
        output::line("its socket is open while it starts anew")?;
    }
    if !is("current") {
        output::line("is not as this program would write it: `moltbot service install --force` does")?;
    }
    for missing in told.get("missing").and_then(Value::as_array).into_iter().flatten() {
        output::line(&format!("lacks {}", missing.as_str().unwrap_or_default()))?;
    }
    Ok(())
}

/// The unit and its socket.
fn files(environment: &Environment) -> [ServiceFiles; 2] {
    let folder = environment.home.join(OWN_UNITS);
    [(UNIT, "default.target"), (SOCKET, "sockets.target")]
        .map(|(name, wanted_by)| ServiceFiles::new(&folder, name, wanted_by))
}

/// The unit for this installation.
fn own_unit(environment: &Environment, without_commands: bool) -> anyhow::Result<Unit> {
    let state = environment.state_dir.clone();
    let config = environment.config_path.as_ref().filter(|path| !path.starts_with(&state));
    if let Some(config) = config {
        let message = format!("{} is outside of {}; move it there first", config.display(), state.display());
        return Err(Exit::Failed.because(message));
    }
    Ok(Unit {
        program: program()?,
        names_state: environment.own_folder().as_ref() != Some(&state),
        writable: workspaces(environment)?.into_iter().filter(|path| !path.starts_with(&state)).collect(),
        state,
        profile: environment.profile.clone(),
        user: None,
        runs_commands: !without_commands,
    })
}

fn program() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("this program's own file is not known")
}

/// The config as it is written; nothing when there is none.
fn config(environment: &Environment) -> anyhow::Result<Value> {
    let path = super::security::gather::config_path(environment);
    let bytes = OwnerFile::at(&path).look(limits::CONFIG_BYTES).map_err(|error| home::failed(&error))?;
    let Some(bytes) = bytes.map(Zeroizing::new) else { return Ok(Value::Null) };
    moltbot_config::value(&String::from_utf8_lossy(&bytes)).map_err(|errors| Exit::Config.because(errors))
}

/// Workspaces that the config names.
fn workspaces(environment: &Environment) -> anyhow::Result<Vec<PathBuf>> {
    let value = config(environment)?;
    let agents =
        value.pointer("/agents/list").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let all = value.pointer("/agents/defaults").into_iter().chain(agents);
    let named = all.filter_map(|agent| agent.get("workspace").and_then(Value::as_str));
    Ok(named.map(|path| expanded(path, &environment.home)).collect())
}

/// The port that the config names.
fn port(environment: &Environment) -> anyhow::Result<u16> {
    match config(environment)?.pointer("/gateway/port") {
        None => Ok(GatewayConfig::default().port),
        Some(written) => written
            .as_u64()
            .and_then(|port| u16::try_from(port).ok())
            .filter(|port| *port > 0)
            .ok_or_else(|| Exit::Config.because("gateway.port is no port; see `moltbot config validate`")),
    }
}

/// The home of a user of this machine.
fn home_of(user: &str) -> anyhow::Result<PathBuf> {
    let bytes = read_public(Path::new("/etc/passwd"), USERS_BYTES).map_err(|error| home::failed(&error))?;
    let users = String::from_utf8_lossy(&bytes).into_owned();
    let line = users.lines().find(|line| line.split(':').next() == Some(user));
    let home = line.and_then(|line| line.split(':').nth(5)).filter(|home| home.starts_with('/'));
    home.map(PathBuf::from)
        .ok_or_else(|| Exit::Usage.because(format!("there is no user {} here", harmless(user))))
}
