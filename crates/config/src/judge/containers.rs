//! Settings of containers that would take a wall away, wherever in `agents` they stand: also while another backend is
//! chosen. A config that weakens containers must not begin to do so on the day they are used.

use std::path::PathBuf;

use secrecy::ExposeSecret as _;

use super::Judge;
use super::policies::GUIDE;
use crate::path::Step;
use crate::report::ConfigErrorKind;
use crate::settings::{Bind, forbidden_source, is_container_prefix};
use crate::substitution::expand;
use crate::tree::{Kind, Member, Node};

impl Judge<'_> {
    /// Judges `sandbox.docker` of all agents and of each.
    pub(super) fn containers(&mut self, root: &Node) {
        let key = |name: &str| Step::Key(name.to_owned());
        let mut holders = vec![vec![key("agents"), key("defaults")]];
        let list = [key("agents"), key("list")].iter().try_fold(root, |node, step| node.child(step));
        if let Some(Node { kind: Kind::List { items, .. }, .. }) = list {
            holders
                .extend((0..items.len()).map(|index| vec![key("agents"), key("list"), Step::Index(index)]));
        }
        for mut path in holders {
            path.extend([key("sandbox"), key("docker")]);
            let docker = path.iter().try_fold(root, |node, step| node.child(step));
            if let Some(Node { kind: Kind::Object { members, .. }, .. }) = docker {
                let before = std::mem::replace(&mut self.path.0, path);
                for member in members {
                    self.within(Step::Key(member.key.clone()), |judge| judge.container_setting(member));
                }
                self.path.0 = before;
            }
        }
    }

    fn container_setting(&mut self, member: &Member) {
        let node = &member.value;
        match member.key.as_str() {
            "apparmorProfile" | "seccompProfile" => self.each_text(node, |judge, node, text| {
                if fold(text) == "unconfined" {
                    judge.weaken(node, "it would take a wall away", "a profile that confines");
                }
            }),
            "binds" => self.each_text(node, Self::bind_source),
            "capDrop" => self.dropped_capabilities(node),
            "network" => self.each_text(node, |judge, node, text| {
                if text != "none" {
                    let why = "a container would reach what this machine reaches; there is no network but through \
                               moltbot's own proxy";
                    judge.weaken(node, why, "\"none\"");
                }
            }),
            "readOnlyRoot" if matches!(node.kind, Kind::Bool(false)) => {
                self.weaken(node, "what one command changes in the root would run in the next", "true");
            }
            "securityOpt" => self.each_text(node, |judge, node, text| {
                let option = fold(text);
                if option.contains("unconfined") || option.contains("disable") || option.contains("false") {
                    judge.weaken(node, "it would take a wall away", "an option that confines");
                }
            }),
            _ => {}
        }
    }

    fn dropped_capabilities(&mut self, node: &Node) {
        let Kind::List { items, .. } = &node.kind else { return };
        let is_all = |item: &Node| {
            matches!(&item.kind, Kind::Text(text)
                if expand(text, self.environment).is_ok_and(|text| text.expose().trim().eq_ignore_ascii_case("all")))
        };
        if !items.iter().any(is_all) {
            self.weaken(node, "a container would keep capabilities", "a list with \"ALL\"");
        }
    }

    fn bind_source(&mut self, node: &Node, text: &str) {
        // Another form is found by the judge of forms.
        let Some(bind) = Bind::parse(text) else { return };
        let home = self.folder("HOME");
        let state =
            self.folder("MOLTBOT_STATE_DIR").or_else(|| home.as_ref().map(|home| home.join(".moltbot")));
        let found = forbidden_source(&bind.source, home.as_deref(), state.as_deref());
        if let Some(why) = found {
            let because = format!("{} {}", bind.source.display(), why.because());
            self.weaken(node, &because, "a folder with nothing in it but what commands may see");
        }
    }

    fn folder(&self, variable: &str) -> Option<PathBuf> {
        let value = (self.environment)(variable)?;
        Some(PathBuf::from(value.expose_secret())).filter(|path| path.is_absolute())
    }

    fn each_text(&mut self, node: &Node, mut judge: impl FnMut(&mut Self, &Node, &str)) {
        match &node.kind {
            Kind::List { items, .. } => {
                for (index, item) in items.iter().enumerate() {
                    self.within(Step::Index(index), |inner| inner.text_in(item, &mut judge));
                }
            }
            _ => self.text_in(node, &mut judge),
        }
    }

    fn text_in(&mut self, node: &Node, judge: &mut impl FnMut(&mut Self, &Node, &str)) {
        if let Kind::Text(text) = &node.kind
            && let Ok(text) = expand(text, self.environment)
        {
            judge(self, node, text.expose());
        }
    }

    fn weaken(&mut self, node: &Node, why: &str, expected: &str) {
        let message = format!("{} is not accepted: {why}", self.show(node));
        let fix = Some(format!("correct it, or remove the setting: the default is safe; see {GUIDE}"));
        self.find(ConfigErrorKind::Refused, node, message, expected.to_owned(), fix);
    }
}

/// What is expected and what to do, when a text of a container does not have its form.
pub(super) fn misses_form(form: &str, text: &str) -> Option<(&'static str, &'static str)> {
    use crate::settings::{ContainerUser, MemorySize};
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
    let (fits, expected, fix) = match form {
        "absolute-path" => (
            text.starts_with('/') && !text.contains("://") && !text.chars().any(char::is_control),
            "an absolute path",
            "write it as \"/var/run/docker.sock\"; an engine of another machine is not served",
        ),
        "bind" => (
            Bind::parse(text).is_some(),
            "two absolute paths, and `ro` or `rw`; nothing where the container has its own things",
            "write it as \"/srv/data:/data:ro\"",
        ),
        "container-prefix" => (
            is_container_prefix(text),
            "1 to 22 letters, digits, '.', '_' and '-', beginning with a letter or digit",
            "write it as \"moltbot-sbx-\"",
        ),
        "container-user" => (
            ContainerUser::parse(text).is_some(),
            "a user and a group by number, and never root's",
            "write it as \"1000:1000\", or remove the setting: who owns the workspace is taken",
        ),
        "image" => (
            !text.is_empty() && text.len() <= 255 && text.chars().all(|c| is_name(c) || c == ':' || c == '@'),
            "the name or id of an image",
            "write it as \"moltbot-sandbox:bookworm-slim\"",
        ),
        "memory" => (
            MemorySize::parse(text).is_some(),
            "an amount of memory of at least 16 MiB",
            "write it as \"512m\" or \"2g\"",
        ),
        "profile-name" => (
            !text.is_empty() && text.len() <= 128 && text.chars().all(is_name),
            "the name of a profile",
            "write it as \"docker-default\"",
        ),
        "runtime" => (
            !text.is_empty() && text.len() <= 64 && text.chars().all(|c| is_name(c) && c != '/'),
            "the name of a runtime",
            "write it as \"runsc\"",
        ),
        _ => return None,
    };
    (!fits).then_some((expected, fix))
}

/// A text without case, spaces and marks.
fn fold(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}
