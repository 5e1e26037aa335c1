//! `moltbot allowance …`: what each used today, and what he may. Asks the gateway.

use moltbot_protocol::method::Method;
use moltbot_protocol::scope::Scope;
use serde_json::{Map, Value, json};

use crate::arguments::{Allowance, Limiting, OneHolder};
use crate::client::Connection;
use crate::exit::Exit;
use crate::home::Home;
use crate::output::{self, harmless};
use crate::serve;

/// Does what a command of `allowance` says.
pub(crate) fn run(home: &Home, command: &Allowance) -> anyhow::Result<Exit> {
    let (method, params, as_json) = match command {
        Allowance::List(facts) => (Method::AllowanceList, json!({}), facts.json),
        Allowance::Reset(OneHolder { who, json }) => (Method::AllowanceReset, json!({"who": who}), *json),
        Allowance::Set { holder: OneHolder { who, json }, limits } => {
            (Method::AllowanceSet, json!({"who": who, "limits": members(limits)}), *json)
        }
        Allowance::Show(OneHolder { who, json }) => (Method::AllowanceList, json!({"who": who}), *json),
    };
    let answer = serve::block_on(async {
        let mut connection = Connection::open(home, &[Scope::Admin, Scope::Pairing]).await?;
        let answer = connection.ask(method.name(), params).await?;
        connection.close().await;
        anyhow::Ok(answer)
    })?;
    if as_json {
        output::json(&answer)?;
    } else {
        told(&answer)?;
    }
    Ok(Exit::Done)
}

/// The limits that are named. What is no number is sent as it is: the gateway says what it may be.
fn members(limits: &Limiting) -> Map<String, Value> {
    let Limiting { cost, messages, tokens, turns, default: _ } = limits;
    let named = [("cost", cost), ("messages", messages), ("tokens", tokens), ("turns", turns)];
    let value = |text: &String| serde_json::from_str(text).unwrap_or_else(|_| Value::from(text.as_str()));
    named.into_iter().filter_map(|(name, text)| Some((name.to_owned(), value(text.as_ref()?)))).collect()
}

fn told(answer: &Value) -> anyhow::Result<()> {
    let day = answer.get("day").and_then(Value::as_str).unwrap_or("?");
    output::line(&format!("used on {} (a day begins at midnight UTC):", harmless(day)))?;
    for holder in answer.get("holders").and_then(Value::as_array).into_iter().flatten() {
        let who =
            harmless(holder.get("who").and_then(Value::as_str).unwrap_or("?")).replace(['\n', '\t'], " ");
        let state = holder.get("spent").and_then(Value::as_str);
        let state = state.map_or(String::new(), |measure| format!("  used up: {}", harmless(measure)));
        let number = |part: &str, name: &str| holder.get(part)?.get(name)?.as_u64();
        let counted = |name: &str| {
            let used = number("used", name).unwrap_or_default();
            number("limits", name).map_or(format!("{name} {used}"), |most| format!("{name} {used}/{most}"))
        };
        let used = dollars(number("used", "costMillionths").unwrap_or_default());
        let cost = number("limits", "costMillionths").map(dollars);
        let cost = cost.map_or(format!("cost {used}"), |most| format!("cost {used}/{most}"));
        let (messages, turns, tokens) = (counted("messages"), counted("turns"), counted("tokens"));
        let unpriced = match number("used", "unpricedTurns") {
            None | Some(0) => String::new(),
            Some(turns) => format!("  (no price is known for {turns} turns; of them only tokens count)"),
        };
        output::line(&format!("{who}: {messages}, {turns}, {tokens}, {cost}{state}{unpriced}"))?;
    }
    Ok(())
}

/// Millionths of a dollar, to the cent below.
fn dollars(millionths: u64) -> String {
    format!("${}.{:02}", millionths / 1_000_000, millionths / 10_000 % 100)
}
