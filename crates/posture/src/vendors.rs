//! Who answers beyond this machine: providers of models, and chat networks.

use crate::check::Check;

/// How a try ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum VendorTrial {
    /// It takes us for who we are.
    Answers(String),
    /// It does not, or cannot be reached: why.
    Fails(String),
    /// It was not tried: why.
    Untried(String),
}

/// A provider of models, by its name in the config.
pub fn provider(name: &str, trial: VendorTrial) -> Check {
    const ID: &str = "model.provider";
    match trial {
        VendorTrial::Answers(how) => Check::ok(ID, format!("{name} answers: {how}")),
        VendorTrial::Fails(why) => Check::warn(
            ID,
            format!("{name} does not answer as it should: {why}"),
            format!(
                "look at the key (`moltbot secrets set models.providers.{name}.apiKey`), the address and the network, then `moltbot models test`"
            ),
        ),
        VendorTrial::Untried(why) => Check::ok(ID, format!("{name} was not asked: {why}")),
    }
}

/// An account on a chat network, such as `telegram:default`.
pub fn channel(place: &str, trial: VendorTrial) -> Check {
    const ID: &str = "channel";
    match trial {
        VendorTrial::Answers(how) => Check::ok(ID, format!("{place} {how}")),
        VendorTrial::Fails(why) => Check::warn(
            ID,
            format!("{place} does not work: {why}"),
            "correct the account's token or password and its address, and start the gateway anew",
        ),
        VendorTrial::Untried(why) => Check::ok(ID, format!("{place} was not tried: {why}")),
    }
}

/// That none of them could be asked.
pub fn vendors_unasked(why: &str) -> Check {
    Check::warn("vendors", format!("providers and chat networks were not asked: {why}"), "correct that first")
}
