//! Which model will answer, as far as the config and the keys decide it.

use moltbot_config::Config;

use crate::check::Check;

/// Who names the model.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Choice {
    /// The config: `provider/model`, or the provider whose first model it is.
    Config(String),
    /// A key that is not in the config: where it is, such as a variable's name.
    Key(String),
    /// Neither. A server on this machine is looked for when the gateway starts.
    Nobody,
}

/// The model that the config names, if it does.
pub fn configured(config: &Config) -> Option<String> {
    let agents = &config.agents;
    let default = agents.list.iter().find(|agent| agent.default).or(agents.list.first());
    let own = default.and_then(|agent| agent.model.as_ref());
    if let Some(model) = own.or(agents.defaults.model.as_ref()).and_then(|choice| choice.primary()) {
        return Some(model.to_owned());
    }
    let mut providers = config.models.providers.iter();
    providers.find_map(|(name, provider)| Some(format!("{name}/{}", provider.models.first()?.id)))
}

/// Who names the model: the config, else the key that is to decide then, by where it is.
pub fn choice(config: &Config, key: Option<&str>) -> Choice {
    match (configured(config), key) {
        (Some(model), _) => Choice::Config(model),
        (None, Some(place)) => Choice::Key(place.to_owned()),
        (None, None) => Choice::Nobody,
    }
}

/// Whether a model will answer.
pub fn check(choice: &Choice) -> Check {
    const ID: &str = "model";
    match choice {
        Choice::Config(model) => Check::ok(ID, format!("the config names {model}")),
        Choice::Key(place) => Check::ok(ID, format!("the key in {place} decides")),
        Choice::Nobody => Check::warn(
            ID,
            "no model is named; a model server on this machine is looked for when the gateway starts",
            "set ANTHROPIC_API_KEY, OPENAI_API_KEY, GEMINI_API_KEY or OPENROUTER_API_KEY, start a local server such as Ollama, or run `moltbot config set agents.defaults.model '\"provider/model\"'`",
        ),
    }
}

#[cfg(test)]
mod tests {
    use moltbot_config::settings::{ModelChoice, ProviderConfig};

    use super::*;
    use crate::check::Level;

    #[test]
    fn the_config_wins_over_a_key_and_a_key_over_nothing() {
        let mut config = Config::default();
        assert_eq!(choice(&config, None), Choice::Nobody);
        assert_eq!(check(&Choice::Nobody).level, Level::Warn);
        assert_eq!(choice(&config, Some("OPENAI_API_KEY")), Choice::Key("OPENAI_API_KEY".into()));
        config.models.providers.insert("empty".into(), ProviderConfig::default());
        assert_eq!(configured(&config), None, "a provider without models names none");
        config.agents.defaults.model = Some(ModelChoice::One("a/b".into()));
        assert_eq!(choice(&config, Some("OPENAI_API_KEY")), Choice::Config("a/b".into()));
    }
}
